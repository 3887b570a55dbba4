"""An SCM fitted without error to the selected of an exact model, and its sums without the library.

The mechanisms are the conditionals of the selected given the graph's own parents, in tables. What
the library makes of them is asked of `Case.fitted`; what it is to make of them is summed here.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

import cxrcausal as cx
from cxrcausal.graph import CausalGraph
from cxrcausal.graph.identification.estimand import Formula
from cxrcausal.scm import Mechanism

from latent_models import NoisyModel, value_of  # isort: skip  (beside this one)

LEVELS = ("negative", "positive")
Reads = Mapping[str, int]
"""Which value of the cause each variable reads that reads it."""


class TableMechanism(Mechanism):
    """A binary variable by a table: the probability of its positive level, an axis per parent."""

    def __init__(self, variable, parents, positive: np.ndarray) -> None:
        super().__init__(variable, parents)
        self.register_buffer("positive", torch.as_tensor(np.asarray(positive)))
        self.register_buffer("levels", torch.arange(2, dtype=torch.float64))

    @property
    def noise_size(self) -> int:
        """One uniform decides."""
        return 1

    @property
    def support(self) -> torch.Tensor:
        """Negative and positive."""
        return self.levels

    def _chance(self, pa) -> torch.Tensor:
        if not self.parents:
            return self.positive
        return self.positive[torch.broadcast_tensors(*(pa[p.name].long() for p in self.parents))]

    def log_probs(self, pa) -> torch.Tensor:
        """Returns the log-probability of both levels."""
        chance = self._chance(pa)
        return torch.stack([1 - chance, chance], -1).log()

    def log_prob(self, x, pa) -> torch.Tensor:
        """Returns the log-probability of `x`."""
        chance = self._chance(pa)
        return torch.where(x > 0, chance, 1 - chance).log()

    def prior(self, uniform) -> torch.Tensor:
        """Returns the uniform itself."""
        return uniform

    def predict(self, u, pa) -> torch.Tensor:
        """Returns positive for the uniforms at the top."""
        return (u[..., 0] > 1 - self._chance(pa)).double()

    def abduct(self, x, pa, uniform) -> torch.Tensor:
        """Returns a uniform from the part that gives `x`."""
        chance = self._chance(pa)[..., None].expand(*x.shape, 1)
        low = torch.where(x[..., None] > 0, 1 - chance, torch.zeros_like(chance))
        width = torch.where(x[..., None] > 0, chance, 1 - chance)
        return low + width * uniform.clamp(1e-6, 1 - 1e-6)

    def transition(self, x, pa, pa_star) -> torch.Tensor:
        """Returns the probability of both levels under other parents, given `x` under these."""
        now, then = torch.broadcast_tensors(self._chance(pa), self._chance(pa_star), x)[:2]
        up = torch.where(
            x > 0, torch.minimum(now, then) / now, (then - now).clamp(min=0.0) / (1 - now)
        )
        return torch.stack([1 - up, up], -1)


@dataclass(frozen=True)
class Case:
    """A model, the variables that the fit observed, and one question's cause and outcome."""

    model: NoisyModel
    observed: tuple[str, ...]
    cause: str
    outcome: str

    @property
    def shown(self) -> np.ndarray:
        """Returns the distribution of what is observed among the selected."""
        return self.model.distribution(self.observed)

    def parents(self, name: str) -> tuple[str, ...]:
        """Returns what the fitted mechanism of a variable reads."""
        return tuple(p for p in self.model.graph.parents(name) if p in self.observed)

    def positive(self, name: str) -> np.ndarray:
        """Returns p(name = positive | parents) among the selected, one axis per parent."""
        kept = (*self.parents(name), name)
        both = self.shown.sum(tuple(i for i, v in enumerate(self.observed) if v not in kept))
        left = [v for v in self.observed if v in kept]
        both = both.transpose([left.index(v) for v in kept])
        return both[..., 1] / both.sum(-1)

    def moved(self) -> list[str]:
        """Returns what the cause reaches along fitted arrows and leads to the outcome."""
        below, above = {self.cause}, {self.outcome}
        order = [v for v in self.model.graph.topological_order if v in self.observed]
        for v in order:
            if below.intersection(self.parents(v)):
                below.add(v)
        for v in reversed(order):
            if any(v in self.parents(w) for w in above):
                above.add(v)
        return [v for v in order if v in below & above and v != self.cause]

    def weigh(self, rows: np.ndarray, value: int | None, given: Mapping[str, int]) -> np.ndarray:
        """Returns the SCM's weight of what the cause leaves alone, from weights of rows."""
        places = {v: i for i, v in enumerate(self.observed)}
        gone = tuple(places[v] for v in (self.cause, *self.moved()))
        weight = rows
        for v, level in given.items():
            weight = np.where(np.indices(rows.shape)[places[v]] == level, weight, 0.0)
        weight = weight.sum(gone, keepdims=True)
        if value is not None:
            alone = tuple(slice(1 if i in gone else None) for i in range(rows.ndim))
            weight = weight * self._table(self.cause, {}, value)[alone]
        return weight / weight.sum()

    def scm(self, weight: np.ndarray, reads: Reads) -> float:
        """Returns the SCM's probability of the outcome, summed over its tables."""
        total = weight
        places = {v: i for i, v in enumerate(self.observed)}
        grid = np.indices((2,) * len(self.observed))
        for v in self.moved():
            up = self._table(v, reads, 1)
            total = total * np.where(grid[places[v]] == 1, up, 1 - up)
        cause = places[self.cause]
        total = total.take([0], axis=cause) if total.shape[cause] > 1 else total
        return float(total.take(1, axis=places[self.outcome]).sum())

    def _table(self, name: str, reads: Reads, level: int) -> np.ndarray:
        """Returns the probability of a level for every value of what is observed."""
        grid = dict(zip(self.observed, np.indices((2,) * len(self.observed)), strict=True))
        if name in reads and self.cause in self.parents(name):
            grid[self.cause] = np.full_like(grid[self.cause], reads[name])
        table = self.positive(name)[tuple(grid[p] for p in self.parents(name))]
        table = np.broadcast_to(table, (2,) * len(self.observed))
        return table if level else 1 - table

    def recorded(self) -> CausalGraph:
        """Returns the graph over what the fit observed."""
        graph = self.model.graph
        return (
            graph if len(self.observed) == len(graph.variables) else graph.project(self.observed)
        )

    def at(self, formula: Formula, where: Mapping[str, int]) -> float:
        """Returns a formula's value on the data, at 0 of what is not said."""
        value = value_of(formula, self.shown, self.observed)
        places = (where.get(v, 0) for v in self.observed)
        return float(value[tuple(min(p, n - 1) for p, n in zip(places, value.shape, strict=True))])

    def by_factors(self, reads: Reads) -> float:
        """Returns the outcome's probability by the formulas of the districts.

        Each takes the value of the cause that its variables read, so a nested effect is identified
        where no district reads two values (Shpitser, 2013).
        """
        graph, x = self.recorded(), self.cause
        left = [v for v in graph.ancestors(self.outcome) if v != x] + [self.outcome]
        groups = [{v} for v in left]
        for tied in (set(h.touches) & set(left) for h in graph.hidden):
            joined = [g for g in groups if g & tied]
            groups = [g for g in groups if not g & tied]
            groups += [set().union(*joined)] if joined else []
        factors = []
        for group in groups:
            rest = [v for v in (x, *left) if v not in group]
            found = graph.identifiable(rest, [v for v in left if v in group])
            read = {reads[v] for v in group if x in graph.parents(v)}
            factors.append((found.formula, read.pop() if read else 0))
        return sum(
            math.prod(self.at(f, {**dict(zip(left, row, strict=True)), x: h}) for f, h in factors)
            for row in itertools.product((0, 1), repeat=len(left))
            if row[-1] == 1
        )

    def fitted(self) -> cx.FlowSCM:
        """Returns the SCM whose mechanisms are the conditionals of the selected."""
        graph = self.model.graph
        mechanisms = {}
        for v in graph.topological_order:
            if v in self.observed:
                parents = tuple(graph.variables[p] for p in self.parents(v))
                mechanisms[v] = TableMechanism(graph.variables[v], parents, self.positive(v))
        return cx.FlowSCM.from_mechanisms(graph, mechanisms)

    def rows(self) -> pd.DataFrame:
        """Returns one row per configuration of what is observed."""
        codes = np.indices((2,) * len(self.observed)).reshape(len(self.observed), -1)
        levels = np.array(LEVELS)
        return pd.DataFrame({v: levels[codes[i]] for i, v in enumerate(self.observed)})


def is_tied(case: Case) -> bool:
    """Whether the SCM has a path between cause and outcome that is not causal, by its parents
    alone.
    """
    outside = {case.cause}  # ancestors of the cause
    while True:
        more = {p for v in outside for p in case.parents(v)} - outside
        if not more:
            break
        outside |= more
    reading = {p for v in case.moved() for p in case.parents(v)}
    reading -= {case.cause, *case.moved()}
    while True:
        more = {p for v in reading for p in case.parents(v)} - reading - {case.cause}
        if not more:
            break
        reading |= more
    return bool(outside & reading)


def bounds(case: Case, patients: np.ndarray) -> list[tuple[float, float]]:
    """Returns the bounds of PN, PS and PNS (Tian and Pearl) for the patients that count."""
    model, x, y = case.model, case.cause, case.outcome
    y1, y0 = (model.mean(patients, model.under({x: v}, [y])[y]) for v in (1, 0))
    seen_x, seen_y = model.values[x], model.values[y]
    xy, x_not = (model.mean(patients, seen_x * (seen_y == level)) for level in (1, 0))
    not_y, neither = (model.mean(patients, (1 - seen_x) * (seen_y == level)) for level in (1, 0))
    p = xy + not_y
    return [
        (max(0, (p - y0) / xy), min(1, (1 - y0 - neither) / xy)),
        (max(0, (y1 - p) / neither), min(1, (y1 - xy) / neither)),
        (
            max(0, y1 - y0, p - y0, y1 - p),
            min(y1, 1 - y0, xy + neither, y1 - y0 + x_not + not_y),
        ),
    ]


def scm_bounds(case: Case, rows: np.ndarray) -> list[tuple[float, float]]:
    """Returns the same from the SCM's tables."""
    moved = case.moved()
    reads = [dict.fromkeys(moved, v) for v in (0, 1)]
    places = {v: i for i, v in enumerate(case.observed)}
    share = [0.5, 0.5]
    weights = [case.weigh(rows, None, {})] * 2
    if is_tied(case):
        gone = tuple(places[v] for v in (case.cause, *moved))
        alone = rows.sum(gone, keepdims=True)
        both = [float((alone * case._table(case.cause, {}, v)).sum()) for v in (0, 1)]
        # what the cause does not change is counted once for each of its own values in the table
        share = [b / sum(both) for b in both]
        weights = [case.weigh(rows, v, {}) for v in (0, 1)]
    y_in = [
        [case.scm(weights[group], reads[v]) * share[group] for v in (0, 1)] for group in (0, 1)
    ]
    y0, y1 = y_in[0][0] + y_in[1][0], y_in[0][1] + y_in[1][1]
    xy, not_y = y_in[1][1], y_in[0][0]
    x_not, neither = share[1] - xy, share[0] - not_y
    p = xy + not_y
    return [
        (max(0, (p - y0) / xy), min(1, (1 - y0 - neither) / xy)),
        (max(0, (y1 - p) / neither), min(1, (y1 - xy) / neither)),
        (
            max(0, y1 - y0, p - y0, y1 - p),
            min(y1, 1 - y0, xy + neither, y1 - y0 + x_not + not_y),
        ),
    ]
