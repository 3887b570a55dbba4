"""Which unknown cells a question needs, given which evidence, and how they are summed out.

An unknown cell matters if the question reads it, if it is a cause of a barren cell that matters,
or if it hangs together with one that matters given what is known. What is known of their children
is the evidence. The sum takes the cheapest order that is found, and is refused, or left to draws,
where a table would have more than `MOST_ENTRIES` entries per row.
"""

from collections.abc import Collection, Iterable
from typing import NoReturn, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.errors import TableError, summarise
from cxrcausal.scm.evidence import Evidence
from cxrcausal.scm.table import plain
from cxrcausal.scm.unknown.factor import Grid, cheapest, eliminate, joint_axes
from cxrcausal.scm.unknown.network import Network
from cxrcausal.scm.unknown.pattern import Absence, distinct_rows

__all__ = [
    "BUDGET",
    "MOST_ENTRIES",
    "Elimination",
    "largest_table",
    "refuse_impossible",
    "summed",
    "sums",
]

MOST_ENTRIES = 2**20
"""The most table entries per row of an exact sum."""

BUDGET = 2**22
"""How many table entries are held at once: rows are taken in chunks that keep to it."""


@final
class Elimination:
    """The sum over unknown cells in rows that lack the same ones.

    Arguments:
        known: What is known of the rows.
        cells: The unknown cells that matter, causes before effects.
        conditioned: The known variables that have one of them as a parent: their evidence.
        read: The known variables whose values the answer depends on.
    """

    def __init__(
        self,
        known: Evidence,
        cells: tuple[str, ...],
        conditioned: tuple[str, ...],
        read: tuple[str, ...] = (),
    ) -> None:
        self.known, self.cells, self.conditioned, self.read = known, cells, conditioned, read

    @classmethod
    def of(cls, known: Evidence, absence: Absence, facts: Collection[str]) -> "Elimination":
        """Returns the sum that a question needs.

        Arguments:
            known: What is known of the rows.
            absence: What the rows lack.
            facts: The variables whose factual values the question reads.
        """
        unknown, mechanisms = set(absence.unknown), known.mechanisms
        needed = unknown.intersection(facts)
        for name in reversed(absence.barren):
            if name in needed:
                needed.update(p.name for p in mechanisms[name].parents if p.name in unknown)
        cells = needed.intersection(absence.barren)
        for component in absence.components:
            if needed.intersection(component):
                cells.update(component)
        read, conditioned = set(facts), list[str]()
        for name, mechanism in mechanisms.items():
            parents = {p.name for p in mechanism.parents}
            if name in cells:
                read |= parents
            elif name not in unknown and cells & parents:
                read |= {name, *parents}
                conditioned.append(name)
        return cls(
            known,
            tuple(name for name in mechanisms if name in cells),
            tuple(conditioned),
            tuple(name for name in mechanisms if name in read - unknown),
        )

    @property
    def is_exact(self) -> bool:
        """Whether no continuum is summed over in quantile cells."""
        return all(self.known.supports[name] is not None for name in self.cells)

    def distinct(
        self, rows: np.ndarray, beside: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Returns one row of each that have one answer, and each row's place, see `distinct_rows`.

        Arguments:
            rows: The positions of the rows.
            beside: What else (rows,) an answer depends on, by name.
        """
        beside = beside or {}
        return distinct_rows({**self.known.values, **beside}, [*self.read, *beside], rows)

    def skeleton(self) -> Network:
        """Returns the network's axes and factors, of no rows."""
        return self._network({})

    def network(self, rows: Tensor) -> Network:
        """Returns the factual world of some rows, conditioned on what is known of them."""
        return self._network({name: self.known.values[name][rows] for name in self.read})

    def refuse(self, largest: int, rows: np.ndarray) -> NoReturn:
        """Says that the sum is too large to be exact.

        Raises:
            TableError: Naming the pattern of absence and its first row.
        """
        raise TableError(
            f"row {plain(self.known.index[rows[0]])!r} and {len(rows) - 1} more lack "
            f"{summarise(self.cells, 20)}: their joint posterior needs a table of {largest:,} "
            f"entries per row, above the limit of {MOST_ENTRIES:,}; make more of these known"
        )

    def _network(self, values: dict[str, Tensor]) -> Network:
        network = Network(self.known.mechanisms, self.known.supports, values, self.cells)
        for name in self.conditioned:
            network.add_evidence(name)
        return network


def sums(
    known: Evidence, groups: Iterable[Absence], facts: Collection[str]
) -> list[tuple[Elimination, np.ndarray]]:
    """Returns the sums that a question needs, each with the rows (rows,) that it answers.

    Rows that lack different cells have one sum if they lack the same of those that matter.

    Arguments:
        known: What is known of the rows.
        groups: The rows by what they lack.
        facts: The variables whose factual values the question reads.
    """
    alike: dict[tuple[tuple[str, ...], ...], tuple[Elimination, list[np.ndarray]]] = {}
    for absence in groups:
        one = Elimination.of(known, absence, facts)
        key = one.cells, one.conditioned, one.read
        alike.setdefault(key, (one, []))[1].append(absence.rows)
    return [(one, np.sort(np.concatenate(rows))) for one, rows in alike.values()]


def largest_table(network: Network, kept: Grid) -> int:
    """Returns the entries per row of the largest table when all but `kept` is summed out."""
    scopes = [grid.axes for grid in network.factors.values()]
    names = network.axes.keys() - set(kept.axes)
    return max(cheapest([*scopes, kept.axes], network.axes, names)[1], 1)


def summed(network: Network, kept: Grid, rows: int) -> tuple[Tensor, Tensor]:
    """Returns what a cell may be, and how likely that is with what is known, the rest summed.

    Arguments:
        network: The network of some rows.
        kept: The cell.
        rows: How many rows there are.

    Returns:
        Values and log-weights (rows, points).
    """
    grids = network.factors.values()
    names = network.axes.keys() - set(kept.axes)
    order, _ = cheapest([grid.axes for grid in grids], network.axes, names)
    left = eliminate(grids, network.axes, order)
    axes = joint_axes((kept, *left), network.axes)
    shape = (rows, *(network.axes[axis] for axis in axes))
    value = kept.along(axes).expand(shape).reshape(rows, -1)
    weight = torch.zeros(shape, dtype=torch.float64, device=value.device)
    for grid in left:
        weight = weight + grid.along(axes)
    return value, weight.reshape(rows, -1)


def refuse_impossible(
    log_weight: Tensor, rows: Tensor, index: pd.Index, cells: Iterable[str]
) -> None:
    """Refuses rows that have no weight.

    Arguments:
        log_weight: Of what is known in each row (rows,).
        rows: Their positions (rows,).
        index: The labels of all rows.
        cells: What is unknown in them.

    Raises:
        TableError: Naming the first row.
    """
    impossible = ~torch.isfinite(log_weight).cpu()
    if bool(impossible.any()):
        labels = index[rows.cpu()[impossible].numpy()]
        raise TableError(
            f"row {plain(labels[0])!r} and {len(labels) - 1} more are impossible under the fitted "
            f"model: no values of {summarise(cells, 20)} agree with what is known"
        )
