r"""Every way in which rows can be completed, and how likely each is: the E-step of EM.

Rows that agree in every cell count once. An unknown cell without a known descendant tells its
mechanism nothing beyond what that mechanism says already, so it stays unknown and its family is
left out of that row; each combination of the other unknown cells is one completion, with the
posterior probability

.. math::
    w = p(x_\mathrm{unknown} \mid x_\mathrm{known}) \propto \prod_v p(x_v \mid \mathrm{pa}_v).

Completions that agree in a variable and its parents are one *cell* of that mechanism. The cells
are found once; what changes from one iteration to the next is a table lookup and a sum. A row with
too many completions to keep is represented by draws from the same joint posterior: stratified ones
of its completions where these can be listed, else by elimination (`posterior.fill_unknown`).

References:
    | Maximum Likelihood from Incomplete Data via the EM Algorithm
    | (Dempster, Laird and Rubin, 1977), https://doi.org/10.1111/j.2517-6161.1977.tb01600.x
    | A Monte Carlo Implementation of the EM Algorithm
    | (Wei and Tanner, 1990), https://doi.org/10.1080/01621459.1990.10474930
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.randomness import label_words, uniform
from cxrcausal.scm.draws import Draws
from cxrcausal.scm.evidence import Evidence
from cxrcausal.scm.mechanism.base import Mechanism
from cxrcausal.scm.unknown.network import Mechanisms, Supports, Values
from cxrcausal.scm.unknown.pattern import distinct_rows, informed_cells, lacking_cells
from cxrcausal.scm.unknown.posterior import fill_unknown, log_evidence

__all__ = ["Expectation", "ExpectationStep", "FamilyCells", "Patterns"]

MOST_KEPT = 128
"""The most completions of one row that are listed and weighted exactly; beyond it, draws."""

MOST_LISTED = 2**14
"""The most completions of one row that are listed in order to draw from them."""

CHUNK = 2**19
"""How many completions are listed at once where they are only drawn from."""


@final
@dataclass(frozen=True)
class Patterns:
    """The distinct rows of a table, with how often each occurs.

    Arguments:
        values: Values (patterns,) by variable, NaN where unknown.
        count: How often each occurs (patterns,).
        index: The label of the first row of each, which decides its draws.
    """

    values: dict[str, Tensor]
    count: Tensor
    index: pd.Index

    @classmethod
    def of(cls, values: Values, rows: np.ndarray, index: pd.Index) -> "Patterns":
        """Returns the distinct ones among some rows.

        Arguments:
            values: Values of all rows by variable.
            rows: The positions of the rows to look at.
            index: The labels of all rows.
        """
        unique, inverse = distinct_rows(values, values, rows)
        count = torch.bincount(inverse, minlength=len(unique)).to(torch.float64)
        return cls({name: x[unique] for name, x in values.items()}, count, index[unique.numpy()])

    def take(self, rows: Tensor) -> "Patterns":
        """Returns the patterns at some positions."""
        values = {name: x[rows] for name, x in self.values.items()}
        return Patterns(values, self.count[rows], self.index[rows.numpy()])


class FamilyCells(NamedTuple):
    """The distinct values of a variable and its parents, and the cell of each completion.

    Arguments:
        x: Values of the variable (cells,).
        pa: Values of the parents (cells,) by name.
        cell: The cell of each completion; the number of cells where the family is not complete.
    """

    x: Tensor
    pa: dict[str, Tensor]
    cell: Tensor

    @classmethod
    def of(cls, mechanism: Mechanism, values: Values) -> "FamilyCells":
        """Returns the cells of one mechanism among some completions."""
        names = [mechanism.variable.name, *(p.name for p in mechanism.parents)]
        ready = ~torch.stack([values[name].isnan() for name in names]).any(0)
        rows = ready.nonzero().squeeze(1).numpy()
        unique, code = distinct_rows(values, names, rows)
        cell = torch.full((len(ready),), len(unique), dtype=torch.int32)
        cell[torch.from_numpy(rows)] = code.to(torch.int32)
        x, *pa = (values[name][unique] for name in names)
        return cls(x, dict(zip(names[1:], pa, strict=True)), cell)

    def log_prob(self, mechanism: Mechanism) -> Tensor:
        """Returns the log-probability of each completion's cell (completions,), 0 without one."""
        if not len(self.x):
            return torch.zeros(len(self.cell), dtype=torch.float64)
        score = mechanism.log_prob(self.x, self.pa)
        return torch.cat((score, score.new_zeros(1)))[self.cell]

    def weigh(self, weight: Tensor) -> Tensor:
        """Returns the summed weights (cells,) of completions (completions,)."""
        return torch.bincount(self.cell, weight, len(self.x) + 1)[:-1]


@final
@dataclass(frozen=True)
class Expectation:
    """What is expected of the unknown cells under the current mechanisms.

    Arguments:
        parts: By variable, the cells of its family in portions: values, parents, weights.
    """

    parts: dict[str, list[tuple[Tensor, dict[str, Tensor], Tensor]]]

    def cells(self, name: str) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Returns the cells of one variable's family.

        Returns:
            Values of the variable (cells,), of its parents (cells,) by name, and how often each
            cell is expected to occur (cells,).
        """
        parts = self.parts[name]
        if len(parts) == 1:
            return parts[0]
        pa = {parent: torch.cat([part[1][parent] for part in parts]) for parent in parts[0][1]}
        return torch.cat([part[0] for part in parts]), pa, torch.cat([part[2] for part in parts])


@final
class ExpectationStep:
    """Computes expectations of the same patterns under one set of mechanisms after another.

    Arguments:
        mechanisms: Any mechanisms of the graph, causes before effects; only their variables and
            parents matter here.
        supports: The values that each variable may have.
        patterns: The distinct rows.
        seed: Of the draws, with row label, variable and draw; the same in every iteration, so that
            the iterations have a fixed point.
        num_samples: How many draws stand for a row with too many completions.
    """

    def __init__(
        self,
        mechanisms: Mechanisms,
        supports: Supports,
        patterns: Patterns,
        seed: int,
        num_samples: int = 32,
    ) -> None:
        self.supports, self.patterns = supports, patterns
        self.seed, self.num_samples = seed, num_samples
        self.informed = informed_cells(mechanisms, lacking_cells(mechanisms, patterns.values))
        number = _completions_per_row(supports, self.informed, len(patterns.count))
        self.few = (number <= MOST_KEPT).nonzero().squeeze(1)
        self.listed = ((number > MOST_KEPT) & (number <= MOST_LISTED)).nonzero().squeeze(1)
        self.many = (number > MOST_LISTED).nonzero().squeeze(1)
        self.number = number
        self.row, values = _list(mechanisms, supports, patterns.values, self.informed, self.few)
        self.families = {name: FamilyCells.of(m, values) for name, m in mechanisms.items()}

    def expect(self, mechanisms: Mechanisms) -> Expectation:
        """Returns the cells of every family with their expected counts."""
        total = self._log_weights(mechanisms)
        evidence = _log_sum(total, self.row, len(self.patterns.count))
        weight = (total - evidence[self.row]).exp().nan_to_num(0.0) * self.patterns.count[self.row]
        parts = {
            name: [(family.x, family.pa, family.weigh(weight))]
            for name, family in self.families.items()
        }
        for rows, values in self._drawn(mechanisms):
            share = self.patterns.count[rows] / self.num_samples
            share = share.repeat_interleave(self.num_samples)
            for name, mechanism in mechanisms.items():
                family = FamilyCells.of(mechanism, values)
                parts[name].append((family.x, family.pa, family.weigh(share)))
        return Expectation(parts)

    def log_evidence(self, mechanisms: Mechanisms) -> Tensor:
        """Returns the log-probability of each pattern's known cells (patterns,)."""
        evidence = _log_sum(self._log_weights(mechanisms), self.row, len(self.patterns.count))
        for rows in _portions(self.listed, self.number[self.listed]):
            row, _, total = self._listed(mechanisms, rows)
            evidence[rows] = _log_sum(total, row, len(rows))
        if len(self.many):
            evidence[self.many] = log_evidence(self._many(mechanisms))
        return evidence

    def _log_weights(self, mechanisms: Mechanisms) -> Tensor:
        """Returns the joint log-probability of each listed completion (completions,)."""
        total = torch.zeros(len(self.row), dtype=torch.float64)
        for name, family in self.families.items():
            total += family.log_prob(mechanisms[name])
        return total

    def _listed(
        self, mechanisms: Mechanisms, rows: Tensor
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Returns all completions of some rows: places among them, values and log-weights."""
        row, values = _list(mechanisms, self.supports, self.patterns.values, self.informed, rows)
        total = torch.zeros(len(row), dtype=torch.float64)
        for name, mechanism in mechanisms.items():
            pa = {p.name: values[p.name] for p in mechanism.parents}
            ready = ~torch.stack([values[name], *pa.values()]).isnan().any(0)
            x, pa = values[name][ready], {p: value[ready] for p, value in pa.items()}
            total[ready] += mechanism.log_prob(x, pa)
        return torch.searchsorted(rows, row), values, total

    def _drawn(self, mechanisms: Mechanisms) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """Yields positions (rows,) and their completed values (rows * num_samples,)."""
        for rows in _portions(self.listed, self.number[self.listed]):
            yield rows, self._draw_listed(mechanisms, rows)
        if len(self.many):
            known = self._many(mechanisms)
            draws = Draws(self.seed, label_words(known.index), self.num_samples)
            informed = {name: cells[self.many] for name, cells in self.informed.items()}
            yield self.many, fill_unknown(known, draws, lambda lacks: informed)

    def _many(self, mechanisms: Mechanisms) -> Evidence:
        """Returns what is known of the rows whose completions are too many to be listed."""
        part = self.patterns.take(self.many)
        return Evidence.of(mechanisms, self.supports, part.values, part.index)

    def _draw_listed(self, mechanisms: Mechanisms, rows: Tensor) -> dict[str, Tensor]:
        """Returns draws (rows * num_samples,) from the listed completions of some rows."""
        row, values, total = self._listed(mechanisms, rows)
        evidence = _log_sum(total, row, len(rows))
        reached = (total - evidence[row]).exp().cumsum(0)  # each row adds one
        last = torch.bincount(row, minlength=len(rows)).cumsum(0) - 1
        ends = reached[last]
        starts = torch.cat((ends.new_zeros(1), ends[:-1]))
        words = label_words(self.patterns.index[rows.numpy()]).repeat(self.num_samples)
        draw = np.tile(np.arange(self.num_samples), len(rows))
        u = uniform(self.seed, words, "completion", draw)  # one in each stratum of the posterior
        u = (torch.from_numpy(draw)[:, None] + u).reshape(len(rows), -1) / self.num_samples
        wanted = starts[:, None] + u * (ends - starts)[:, None]
        chosen = torch.searchsorted(reached, wanted).minimum(last[:, None]).flatten()
        return {name: x[chosen] for name, x in values.items()}


def _completions_per_row(supports: Supports, informed: dict[str, Tensor], rows: int) -> Tensor:
    """Returns how many completions each row has (rows,); infinite with an unknown continuum."""
    number = torch.ones(rows, dtype=torch.float64)
    for name, lacks in informed.items():
        support = supports[name]
        number[lacks] *= torch.inf if support is None else len(support)
    return number


def _list(
    mechanisms: Mechanisms,
    supports: Supports,
    values: Values,
    informed: dict[str, Tensor],
    rows: Tensor,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns every completion of some rows: which row it is of (ascending), and its values."""
    at = rows
    levels: dict[str, Tensor] = {}
    for name in informed:
        lacks, support = informed[name], supports[name]
        if support is None or not bool(lacks[at].any()):
            continue
        size = torch.where(lacks[at], len(support), 1)
        again = torch.arange(len(at)).repeat_interleave(size)
        first = size.cumsum(0) - size
        position = torch.arange(len(again)) - first[again]
        at = at[again]
        levels = {n: x[again] for n, x in levels.items()}
        levels[name] = torch.where(lacks[at], support.cpu()[position], values[name][at])
    return at, {n: levels[n] if n in levels else values[n][at] for n in mechanisms}


def _log_sum(total: Tensor, row: Tensor, rows: int) -> Tensor:
    """Returns the log of summed exponentials by row (rows,); -inf where all of them are zero."""
    top = torch.full((rows,), -torch.inf, dtype=total.dtype)
    top = top.scatter_reduce(0, row, total, "amax")
    top = torch.where(top.isfinite(), top, 0.0)
    sums = torch.zeros(rows, dtype=total.dtype).index_add_(0, row, (total - top[row]).exp())
    return sums.log() + top


def _portions(rows: Tensor, number: Tensor) -> Iterator[Tensor]:
    """Yields rows in chunks that keep to so many completions."""
    if len(rows):
        chunk = (number.cumsum(0) // CHUNK).to(torch.int64)
        _, sizes = torch.unique_consecutive(chunk, return_counts=True)
        yield from rows.split(sizes.tolist())
