r"""The distribution of a counterfactual cell: noise and unknown cells summed out.

Given complete rows, a counterfactual world is a Bayesian network over the affected variables whose
tables are the closed-form transitions :math:`P(x^*_v \mid x_v, \mathrm{pa}_v, \mathrm{pa}^*_v)`.
Unknown cells join it as axes with their own joint posterior, so that one elimination answers both.
That is exact for levels and grids; an unknown continuum is summed over `QUANTILES` cells. Only
where a table would be too large does a mean over draws stand in, with its standard error.

References:
    | Complete Identification Methods for the Causal Hierarchy, on twin and parallel worlds
    | (Shpitser and Pearl, 2008), https://www.jmlr.org/papers/v9/shpitser08a.html
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.errors import summarise
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.scm.abduction import abduct_noise
from cxrcausal.scm.action import Do
from cxrcausal.scm.draws import Draws
from cxrcausal.scm.evidence import Evidence
from cxrcausal.scm.fitted import Fitted
from cxrcausal.scm.mechanism.base import Mechanism
from cxrcausal.scm.prediction import replay, settings_of
from cxrcausal.scm.reach import affected_by
from cxrcausal.scm.setting import Drawn, Fixed, Setting, world_of
from cxrcausal.scm.unknown.elimination import (
    BUDGET,
    MOST_ENTRIES,
    Elimination,
    largest_table,
    refuse_impossible,
    summed,
    sums,
)
from cxrcausal.scm.unknown.factor import Grid, joint_axes
from cxrcausal.scm.unknown.network import (
    Mechanisms,
    Network,
    Values,
    at,
    predict_along,
    quantile_noise,
)
from cxrcausal.scm.unknown.pattern import absences
from cxrcausal.scm.unknown.posterior import fill_unknown, only

__all__ = [
    "cell_scores",
    "counterfactual_distribution",
    "distribution_columns",
    "distribution_of_rows",
]

logger = logging.getLogger("cxrcausal")

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""The quantiles that describe the distribution of a continuum."""


def distribution_columns(mechanism: Mechanism, of: str) -> pd.Index:
    """Returns what the columns of a distribution are: levels, grid values, or quantiles."""
    variable = mechanism.variable
    if variable.is_discrete:
        return pd.Index(list(variable.levels), name=of)
    if variable.grid is not None:
        whole = all(float(value).is_integer() for value in variable.grid)
        return pd.Index([int(v) if whole else v for v in variable.grid], name=of)
    return pd.Index(LEVELS, name=f"{of} quantile")


def counterfactual_distribution(
    known: Evidence, settings: Mapping[str, Setting], of: str, draws: Draws
) -> tuple[Tensor, float, bool]:
    """Returns the distribution of one variable in the world that is set, for every row.

    Arguments:
        known: What is known of the rows.
        settings: What is set.
        of: The variable asked about.
        draws: The random numbers, used only where an exact sum would be too large.

    Returns:
        Probabilities (rows, levels), or quantiles (rows, `LEVELS`) of a continuum; the largest
        standard error of any entry, 0.0 where none is a mean over draws; and whether all entries
        are exact: neither that, nor a sum over the quantile cells of an unknown continuum.
    """
    columns = _column_values(known.mechanisms[of])
    width = len(LEVELS) if columns is None else len(columns)
    found = torch.zeros(len(known.index), width, dtype=torch.float64, device=known.device)
    worst, exact = 0.0, True
    query = _Query(known, settings, of)
    for one, positions in sums(known, absences(known.mechanisms, known.values), query.facts):
        rows = torch.from_numpy(positions)
        unique, inverse = query.distinct(one, positions)
        largest = query.size(one, unique[:1]) if query.is_summable else MOST_ENTRIES + 1
        if largest <= MOST_ENTRIES:
            parts = [query.by_sum(one, subset, columns) for subset in unique.split(_step(largest))]
            found[rows] = torch.cat(parts)[inverse]
            exact &= one.is_exact
            continue
        exact = False
        for subset in rows.split(_step(draws.num_samples * len(known.mechanisms))):
            found[subset], error = query.by_draws(subset, columns, draws)
            worst = max(worst, error)
    return found, worst, exact


def _step(entries: int) -> int:
    """Returns how many rows of so many table entries are taken at once."""
    return max(1, BUDGET // entries)


def cell_scores(mechanisms: Mechanisms, values: Values) -> dict[str, Tensor]:
    """Returns log p(value | parents) (rows,) of every cell by variable, NaN where that is open."""
    scores = {}
    for name, mechanism in mechanisms.items():
        pa = {p.name: values[p.name] for p in mechanism.parents}
        ready = ~values[name].isnan()
        if not mechanism.variable.is_definition:  # which a known positive decides all the same
            ready &= ~torch.stack([values[name], *pa.values()]).isnan().any(0)
        at = ready.nonzero().squeeze(1)
        score = torch.full_like(values[name], torch.nan)
        score[at] = mechanism.log_prob(values[name][at], {p: x[at] for p, x in pa.items()})
        scores[name] = score
    return scores


class _Query:
    """One question, whatever the rows lack."""

    def __init__(self, known: Evidence, settings: Mapping[str, Setting], of: str) -> None:
        self.known, self.settings, self.of = known, settings, of
        self.affected = affected_by(known.mechanisms, settings)
        self.world = world_of(known.mechanisms, settings)
        self.facts = self._facts()

    def _facts(self) -> set[str]:
        """Returns whose factual values the answer reads."""
        facts, read, todo = set[str](), set[str](), [self.of]
        while todo:
            name = todo.pop()
            if name in read:
                continue
            read.add(name)
            setting = self.settings.get(name)
            if setting is not None and not setting.reads_noise:
                if setting.reads_fact:
                    facts.add(name)
            elif name not in self.affected:
                facts.add(name)
            else:
                facts.update((name, *(p.name for p in self.known.mechanisms[name].parents)))
                todo += [p.name for p in self.world[name].parents]
        return facts

    @property
    def is_summable(self) -> bool:
        """Whether an exact answer exists: nothing replaced, draws from lists of values alone."""
        return all(setting.is_summable for setting in self.settings.values())

    def distinct(self, one: Elimination, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Returns one row of each that have one answer, and the rows' places among them."""
        fixed = {
            f"do {name}": setting.values
            for name, setting in self.settings.items()
            if isinstance(setting, Fixed)
        }
        return one.distinct(rows, fixed)

    def size(self, one: Elimination, rows: Tensor) -> int:
        """Returns the entries per row of the largest table that an exact answer needs."""
        return largest_table(*self._network(one, rows))

    def by_sum(self, one: Elimination, rows: Tensor, columns: Tensor | None) -> Tensor:
        """Returns the exact distribution (rows, columns) in some rows."""
        value, weight = summed(*self._network(one, rows), len(rows))
        refuse_impossible(weight.amax(1), rows, self.known.index, one.cells)
        return _collect(value, weight.softmax(1), columns)

    def by_draws(self, rows: Tensor, columns: Tensor | None, draws: Draws) -> tuple[Tensor, float]:
        """Returns the distribution (rows, columns) as a mean over draws, and its largest error.

        That is one standard error. Draws that all agree leave room for a level that none of them
        shows, so each level counts one draw of its own, and one against it, in the error (the
        rule of succession).
        """
        here, drawn = self.known.take(rows), draws.take(rows.numpy())
        mechanisms = here.mechanisms
        filled = fill_unknown(here, drawn, only(self.facts))
        noise = abduct_noise(mechanisms, filled, drawn, self.affected)
        settings = {name: setting.take(rows) for name, setting in self.settings.items()}
        star = replay(mechanisms, filled, noise, settings)[self.of]
        value = star.reshape(len(rows), draws.num_samples)
        alike = torch.full_like(value, 1.0 / draws.num_samples)
        found = _collect(value, alike, columns)
        if columns is not None:
            share = (found * draws.num_samples + 1) / (draws.num_samples + 2)
            return found, float((share * (1 - share) / draws.num_samples).sqrt().max())
        if draws.num_samples == 1:
            return found, math.inf  # one draw of a continuum says nothing of its spread
        level = torch.tensor(LEVELS, dtype=found.dtype, device=found.device)
        spread = (level * (1 - level) / draws.num_samples).sqrt()
        low = value.quantile((level - spread).clamp(min=0.0), dim=1)
        high = value.quantile((level + spread).clamp(max=1.0), dim=1)
        return found, float((high - low).max() / 2)

    def _network(self, one: Elimination, rows: Tensor) -> tuple[Network, Grid]:
        """Returns the network of some rows, and the counterfactual value that is asked about."""
        network = one.network(rows)
        world: dict[str, Grid] = {}

        def star(name: str) -> Grid:
            if name not in world:
                world[name] = self._star(network, rows, name, star)
            return world[name]

        return network, star(self.of)

    def _star(
        self, network: Network, rows: Tensor, name: str, star: Callable[[str], Grid]
    ) -> Grid:
        """Returns the counterfactual value of a cell, and adds its distribution to the network."""
        if name in self.settings:
            setting = self.settings[name].take(rows)
            if isinstance(setting, Drawn) and setting.listed is not None:
                support, log_probs = setting.listed
                network.factors[f"{name}*"] = Grid.of((f"{name}*",), log_probs[None])
                return network.add_axis(f"{name}*", support)
            if isinstance(setting, Fixed):
                return Grid.of((), setting.values.to(self.known.device))
            fact = network.cell(name)
            return Grid(fact.axes, lambda: setting.assign(fact.table, None, {}))
        x = network.cell(name)
        if name not in self.affected:
            return x
        mechanism, support = self.known.mechanisms[name], self.known.supports[name]
        pa, pa_star = network.parents(name, network.cell), network.parents(name, star)
        axes = joint_axes((x, *pa.values(), *pa_star.values()), network.axes)
        if support is None:
            return Grid(axes, lambda: _moved(mechanism, x, pa, pa_star, axes))
        value = network.add_axis(f"{name}*", support)
        keep = torch.searchsorted(mechanism.support, support)
        network.factors[f"{name}*"] = Grid(
            (*axes, f"{name}*"),
            lambda: _transition(mechanism, x, pa, pa_star, axes)[..., keep].log(),
        )
        return value


def _transition(
    mechanism: Mechanism,
    x: Grid,
    pa: Mapping[str, Grid],
    pa_star: Mapping[str, Grid],
    axes: Sequence[str],
) -> Tensor:
    """Returns the distribution (rows or 1, *sizes, levels) of the counterfactual value."""
    value, now, then = x.along(axes), at(pa, axes), at(pa_star, axes)
    shapes = [t.shape for t in (*now.values(), *then.values())]
    batch = torch.broadcast_shapes(value.shape, *shapes)
    return mechanism.transition(
        value.expand(batch),
        {name: t.expand(batch) for name, t in now.items()},
        {name: t.expand(batch) for name, t in then.items()},
    )


def _moved(
    mechanism: Mechanism,
    x: Grid,
    pa: Mapping[str, Grid],
    pa_star: Mapping[str, Grid],
    axes: Sequence[str],
) -> Tensor:
    """Returns the counterfactual value (rows or 1, *sizes) of a continuum: its noise is unique."""
    name = mechanism.variable.name
    if name in x.axes:  # unknown: the axis is one over its noise
        noise = quantile_noise(mechanism)
        shape = [1] * (len(axes) + 2)
        shape[1 + axes.index(name)], shape[-1] = noise.shape
        return predict_along(mechanism, noise.reshape(shape), pa_star, axes)
    now = at(pa, axes)
    batch = torch.broadcast_shapes(x.along(axes).shape, *(t.shape for t in now.values()))
    middle = torch.full((*batch, mechanism.noise_size), 0.5, dtype=torch.float64).to(
        mechanism.device
    )
    noise = mechanism.abduct(
        x.along(axes).expand(batch), {p: t.expand(batch) for p, t in now.items()}, middle
    )
    return predict_along(mechanism, noise, pa_star, axes)


def _collect(value: Tensor, weight: Tensor, columns: Tensor | None) -> Tensor:
    """Returns weighted values (rows, points) as probabilities of columns, or as quantiles."""
    if columns is not None:
        column = torch.searchsorted(columns, value.contiguous())
        found = torch.zeros(len(value), len(columns), dtype=value.dtype, device=value.device)
        return found.scatter_add(1, column, weight)
    ordered, order = value.sort(1)
    reached = weight.gather(1, order).cumsum(1)
    level = torch.tensor(LEVELS, dtype=value.dtype, device=value.device)
    wanted = (level * reached[:, -1:]).contiguous()
    at_level = torch.searchsorted(reached, wanted).clamp(max=value.shape[1] - 1)
    return ordered.gather(1, at_level)


def _column_values(mechanism: Mechanism) -> Tensor | None:
    """Returns the value that each column of a distribution stands for; None for a continuum."""
    variable, device = mechanism.variable, mechanism.device
    if variable.is_discrete:
        return torch.arange(len(variable.levels), dtype=torch.float64, device=device)
    if variable.grid is None:
        return None
    return torch.tensor(variable.grid, dtype=torch.float64, device=device)


def distribution_of_rows(
    graph: CausalGraph,
    fitted: Fitted,
    known: Evidence,
    do: Do | None,
    of: str,
    draws: Draws,
    *,
    clip: bool,
) -> pd.DataFrame:
    """Returns the distribution of one variable: `FlowSCM.counterfactual_probability`."""
    settings = settings_of(graph, fitted, known.table, do, draws, clip)
    if of not in {*settings, *affected_by(fitted.mechanisms, settings)} and settings:
        logger.warning(
            "%r does not descend from %s: its counterfactual distribution is its factual one",
            of,
            summarise(settings),
        )
    found, error, exact = counterfactual_distribution(known, settings, of, draws)
    columns = distribution_columns(fitted.mechanisms[of], of)
    result = pd.DataFrame(found.cpu().numpy(), index=known.index, columns=columns)
    result.attrs["standard_error"] = error
    result.attrs["exact"] = exact
    return result
