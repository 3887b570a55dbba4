"""A table as whole numbers: the values seen of each variable, and the patterns that rows share.

Most rows of a metadata table are alike: a few thousand combinations of sex, view and findings make
up hundreds of thousands of radiographs. What depends on the combination alone is computed once for
each.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
import pandas as pd

from cxrcausal.errors import TableError
from cxrcausal.graph.absent import absent_variables
from cxrcausal.graph.value import normalise, not_allowed
from cxrcausal.patients import Groups, patient_codes

if TYPE_CHECKING:
    from cxrcausal.graph.dag import CausalGraph

__all__ = ["Cells", "Column", "Patterns"]

logger = logging.getLogger("cxrcausal")

BINS = 10
"""Into so many bins of equal size a continuous variable is cut to compare like with like."""
KNOTS = (0.05, 0.275, 0.5, 0.725, 0.95)
"""Quantiles at which a smooth function of a continuous variable may bend (Harrell, 2015)."""


@final
@dataclass(frozen=True)
class Column:
    """One variable's values, each as the index of a distinct value.

    Arguments:
        code: The index in `values`, by row; -1 where unknown.
        values: The distinct values seen, ascending; of a discrete variable, indices of its levels.
        continuous: Whether the values are numbers rather than levels.
    """

    code: np.ndarray
    values: np.ndarray
    continuous: bool

    def features(self) -> np.ndarray:
        """Returns what a regression reads of each distinct value, (values, features).

        Levels beyond the first seen are indicators; a continuous variable is a restricted cubic
        spline, linear outside its outermost knots.
        """
        if not self.continuous:
            return np.eye(len(self.values))[:, 1:]
        known = self.code[self.code >= 0]
        x = self.scaled()
        t = np.unique(np.quantile(x[known], KNOTS)) if len(known) else x
        parts = [x]
        if len(t) > 2:
            last, before = t[-1], t[-2]
            for k in t[:-2]:
                bend = np.clip(x - k, 0, None) ** 3
                bend -= np.clip(x - before, 0, None) ** 3 * (last - k) / (last - before)
                bend += np.clip(x - last, 0, None) ** 3 * (before - k) / (last - before)
                parts.append(bend / (last - t[0]) ** 2)
        return np.stack(parts, axis=1)

    def scaled(self) -> np.ndarray:
        """Returns the distinct values of a continuous variable with mean 0 and variance 1."""
        known = self.values[self.code[self.code >= 0]]
        spread = float(known.std()) if len(known) else 0.0
        return (self.values - (known.mean() if len(known) else 0.0)) / (spread or 1.0)

    def bins(self) -> np.ndarray:
        """Returns a coarse class of each distinct value: itself, or its quantile bin."""
        if not self.continuous:
            return np.arange(len(self.values))
        known = self.code[self.code >= 0]
        share = np.cumsum(np.bincount(known, minlength=len(self.values))) / max(len(known), 1)
        return np.minimum((share * BINS).astype(int), BINS - 1)


@final
@dataclass(frozen=True)
class Patterns:
    """The combinations of values of several variables, and what a regression reads of them.

    Arguments:
        code: The index of each row's combination; -1 where one of the variables is unknown.
        design: (patterns, 1 + features), the first column being 1.
        coarse: Each pattern's class, continuous variables cut into bins.
    """

    code: np.ndarray
    design: np.ndarray
    coarse: np.ndarray


@final
class Cells:
    """A table's variables and patients as indices.

    Arguments:
        table: One row per radiograph, the graph's variables among its columns.
        graph: The graph; its image is not looked for.
        groups: The column of patients, or one label per row, or None if each row is its own.
        what: What to call the table in an error.

    Raises:
        TableError: If an absent column seems to be there under another name, none is a variable at
            all, a value is not allowed, or a row has no patient.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        graph: "CausalGraph",
        groups: Groups,
        what: str = "table",
    ) -> None:
        if not isinstance(table, pd.DataFrame):
            raise TableError(f"{what}: expected a pandas DataFrame; found {type(table).__name__}")
        if not len(table):
            raise TableError(f"{what}: it has no rows")
        present = [str(c) for c in table.columns]
        repeated = [name for name in graph.variables if present.count(name) > 1]
        if repeated:
            raise TableError(f"{what}: column {repeated[0]!r} is there more than once")
        absent = absent_variables(table, graph, graph.variables, what)
        if absent:
            logger.warning("%s: no column for %s; unknown in all rows", what, ", ".join(absent))
            table = table.assign(**dict.fromkeys(absent, np.nan))
        self.rows = len(table)
        self.columns: dict[str, Column] = {}
        for name, variable in graph.variables.items():
            numbers, bad = normalise(table[name], variable)
            if bad.any():
                raise not_allowed(table[name], bad, variable, what)
            code, values = pd.factorize(numbers, sort=True)
            self.columns[name] = Column(code, np.asarray(values), not variable.is_discrete)
        self.group = patient_codes(groups, table, what)
        self._last: tuple[tuple[str, ...], Patterns] | None = None

    def add_any(self, name: str, of: Sequence[str]) -> str:
        """Adds the binary variable *any of these is positive*, and returns its name.

        One that is known to be positive decides; otherwise an unknown one leaves it unknown.
        """
        if name not in self.columns:
            codes = [self.columns[v] for v in of]
            positive = np.zeros(self.rows, dtype=bool)
            unknown = np.zeros(self.rows, dtype=bool)
            for c in codes:
                at = np.append(c.values == 1, False)  # the appended one answers for code -1
                positive |= at[c.code]
                unknown |= c.code < 0
            number = np.where(positive, 1.0, np.where(unknown, np.nan, 0.0))
            code, values = pd.factorize(number, sort=True)
            self.columns[name] = Column(code, np.asarray(values), continuous=False)
        return name

    def patterns(self, names: Sequence[str]) -> Patterns:
        """Returns the combinations of the named variables."""
        key = tuple(names)
        if self._last is None or self._last[0] != key:  # a row's code is wide: keep one of them
            self._last = key, self._combine([self.columns[n] for n in key])
        return self._last[1]

    def _combine(self, columns: Sequence[Column]) -> Patterns:
        row_code = _mixed([c.code for c in columns], [len(c.values) for c in columns], self.rows)
        known = row_code >= 0
        code = np.full(self.rows, -1, dtype=np.int64)
        code[known] = pd.factorize(row_code[known])[0]
        count = int(code.max(initial=-1)) + 1
        first = np.zeros(count, dtype=np.int64)
        first[code[known]] = np.flatnonzero(known)
        parts = [np.ones((count, 1))]
        coarse = np.zeros(count, dtype=np.int64)
        for c in columns:
            parts.append(c.features()[c.code[first]])
            coarse = coarse * (BINS if c.continuous else max(len(c.values), 1))
            coarse = coarse + c.bins()[c.code[first]]
            coarse = pd.factorize(coarse)[0]
        return Patterns(code, np.concatenate(parts, axis=1), coarse)


def _mixed(codes: Sequence[np.ndarray], sizes: Sequence[int], rows: int) -> np.ndarray:
    """Returns one number per combination of codes, -1 where one of them is -1."""
    total = np.zeros(rows, dtype=np.int64)
    span = 1
    for code, size in zip(codes, sizes, strict=True):
        if span > 2**40:  # keep clear of overflow
            known = total >= 0
            total[known] = pd.factorize(total[known])[0]
            span = int(total.max(initial=0)) + 1
        total = np.where((total < 0) | (code < 0), -1, total * max(size, 1) + code)
        span *= max(size, 1)
    return total
