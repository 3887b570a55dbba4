"""What is known of some rows, read once and then worked on in chunks of rows."""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.errors import UnobservedError
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.scm.fitted import Fitted
from cxrcausal.scm.table import complete_table, encode
from cxrcausal.scm.unknown.network import Mechanisms, Shared, Supports, Values
from cxrcausal.scm.unknown.virtual_evidence import Likelihood, read_likelihood

__all__ = ["BATCH", "Chunk", "Evidence", "absent_words", "chunks", "read_evidence"]

BATCH = 2**16
"""How many rows times draws are in memory at once unless a caller says otherwise."""


class Chunk(NamedTuple):
    """Some consecutive rows.

    Arguments:
        start: The position of the first.
        stop: The position after the last.
    """

    start: int
    stop: int

    @property
    def rows(self) -> slice:
        """The positions of the rows."""
        return slice(self.start, self.stop)


@final
@dataclass(frozen=True)
class Evidence:
    """What is known of some rows, and the mechanisms under which it says something of the rest.

    Arguments:
        mechanisms: The fitted mechanisms, causes before effects, and children that soft evidence
            speaks through.
        supports: The values (levels,) that each of their variables may have; None: a continuum.
        values: Values (rows,) of the observed variables and of soft evidence, NaN where unknown.
        table: The rows in canonical form; their labels alone where nothing else is asked of them.
        unobserved: How many rows hold evidence that the fit never observed, by `variable` or
            `variable=level`; it reads as unknown.
        absent: The variables of the fit for which the rows had no column; unknown throughout.
        plans: How components of unknown cells are summed out, once that is found; parts share it.
        grids: The tables that sums over unknown cells have in common; parts share them.
    """

    mechanisms: Mechanisms = field(repr=False)
    supports: Supports = field(repr=False)
    values: Values = field(repr=False)
    table: pd.DataFrame
    unobserved: dict[str, int] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    plans: dict[object, Any] = field(default_factory=dict, repr=False)
    grids: Shared = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls, mechanisms: Mechanisms, supports: Supports, values: Values, index: pd.Index
    ) -> "Evidence":
        """Returns what values (rows,) say of rows that have these labels."""
        return cls(mechanisms, supports, values, pd.DataFrame(index=index))

    @property
    def index(self) -> pd.Index:
        """The labels of the rows."""
        return self.table.index

    @property
    def device(self) -> torch.device:
        """Where the values are."""
        return next(iter(self.values.values())).device

    def remarks(self, names: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yields what to say once of the evidence on some variables: topic and words.

        Arguments:
            names: The variables with a mechanism.
        """
        if self.unobserved:
            words = f"evidence that the fit never observed is ignored: {self._ignored}"
            yield f"unobserved {sorted(self.unobserved)}", words
        if self.absent:
            yield f"absent {self.absent}", absent_words(self.absent)
        if any(bool(self.values[name].isnan().any()) for name in names):
            yield (
                "missing",
                "unknown cells are drawn or summed out given the known ones, assuming that they "
                "are missing at random; radiographs are not used as evidence for them",
            )

    @property
    def _ignored(self) -> str:
        return ", ".join(f"{word} ({count} rows)" for word, count in self.unobserved.items())

    def part(self, chunk: Chunk) -> "Evidence":
        """Returns what is known of some consecutive rows."""
        values = {name: x[chunk.rows] for name, x in self.values.items()}
        return dataclasses.replace(self, values=values, table=self.table.iloc[chunk.rows])

    def take(self, rows: Tensor) -> "Evidence":
        """Returns what is known of the rows at some positions, their labels alone of the table."""
        values, index = self.values_at(rows.numpy()), self.index[rows.numpy()]
        return Evidence.of(self.mechanisms, self.supports, values, index)

    def values_at(self, rows: np.ndarray) -> dict[str, Tensor]:
        """Returns the values of the rows at some positions."""
        at = torch.from_numpy(rows).to(self.device)
        return {name: x[at] for name, x in self.values.items()}


def read_evidence(
    rows: pd.DataFrame,
    graph: CausalGraph,
    fitted: Fitted,
    likelihood: Likelihood | None = None,
    unobserved: Literal["ignore", "error"] = "ignore",
) -> Evidence:
    """Returns what is known of the rows as the user gives them.

    Arguments:
        rows: The rows as the user gives them.
        graph: The graph.
        fitted: The fit; what it never observed (a variable, or a level of one) reads as unknown.
        likelihood: Soft evidence, see `Likelihood`.
        unobserved: Whether evidence that the fit never observed is ignored or an error.

    Raises:
        UnobservedError: On evidence that the fit never observed, if that is asked for.
        TableError: If a column seems to be a variable under another name, none is a variable at
            all, a value is not allowed, or soft evidence is malformed.
    """
    table, absent = complete_table(rows, graph, columns=fitted.mechanisms)
    attrs, table.attrs = table.attrs, {}  # pandas copies them with every column that is looked at
    ignored = {
        name: int(table[name].notna().sum())
        for name in graph.variables
        if name not in fitted.mechanisms and name in table.columns
    }
    values: dict[str, Tensor] = {}
    supports, device = dict(fitted.supports), fitted.device
    for name, x in encode(table, graph, fitted.mechanisms).items():
        x, variable = x.to(device), graph.variables[name]
        support = supports[name]
        if support is not None and len(support) < len(variable.levels):
            foreign = ~torch.isin(x, support) & ~x.isnan()
            for level in x[foreign].unique():
                ignored[f"{name}={variable.levels[int(level)]}"] = int((x == level).sum())
            x = torch.where(foreign, torch.nan, x)
        values[name] = x
    table.attrs = attrs
    children, said = read_likelihood(likelihood, table.index, graph.variables, fitted.observed)
    values |= {name: x.to(device) for name, x in said.items()}
    mechanisms = {**fitted.mechanisms, **children}
    ignored = {word: count for word, count in ignored.items() if count}
    evidence = Evidence(
        mechanisms, supports | dict.fromkeys(children), values, table, ignored, absent
    )
    if ignored and unobserved == "error":
        raise UnobservedError(f"the fit never observed {evidence._ignored}")
    return evidence


def absent_words(absent: Iterable[str]) -> str:
    """Returns what is said of rows that have no column for some variables."""
    return f"the rows have no column for {', '.join(absent)}, unknown in all of them"


def chunks(
    rows: int, size: int, what: str = "rows", progress: bool | None = False
) -> Iterator[Chunk]:
    """Yields chunks of rows, one empty chunk if there are none.

    Arguments:
        rows: How many rows there are.
        size: How many are worked on at once.
        what: What the progress bar calls the work.
        progress: Whether to show a progress bar; on a terminal only, and only if the work takes
            longer than a second, if None.
    """
    from tqdm.auto import tqdm

    step = max(1, size)
    with tqdm(
        total=rows, desc=what, unit="row", unit_scale=True, leave=False,
        delay=0.0 if progress else 1.0, disable=None if progress is None else not progress,
    ) as bar:  # fmt: skip
        for start in range(0, max(rows, 1), step):
            chunk = Chunk(start, min(start + step, rows))
            yield chunk
            bar.update(chunk.stop - chunk.start)
