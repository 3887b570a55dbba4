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
from cxrcausal.scm.prediction import action_of, replay
from cxrcausal.scm.reach import affected_by
from cxrcausal.scm.setting import Drawn, Fixed, Setting, world_of
from cxrcausal.scm.unknown.contraction import (
    BUDGET,
    Part,
    Plan,
    contractions,
    values_kept,
)
from cxrcausal.scm.unknown.elimination import (
    MOST_ENTRIES,
    Elimination,
    refuse_impossible,
    sums,
)
from cxrcausal.scm.unknown.factor import Grid, Rows, joint_axes
from cxrcausal.scm.unknown.network import (
    Mechanisms,
    Network,
    Values,
    at,
    predict_along,
    quantile_noise,
    reads_of,
)
from cxrcausal.scm.unknown.posterior import fill_unknown, only
from cxrcausal.scm.unknown.tables import Tables

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
    query = _Query(known, settings, of)
    asked = sums(known, query.tables, query.facts, query.fixed)
    plans = [query.plan(one) for one in asked.each]
    parts = [
        Part(plan, rows, number)
        for number, (plan, rows) in enumerate(zip(plans, asked.rows, strict=True))
        if plan is not None
    ]
    answers = torch.zeros(sum(map(len, asked.rows)), width, dtype=torch.float64)
    for chunk in contractions(query.tables, parts):
        for part, total, share in chunk.answers():
            at_rows, cells = torch.from_numpy(part.rows), asked.each[part.number].cells
            refuse_impossible(torch.from_numpy(total), at_rows, known.index, cells)
            value = np.broadcast_to(values_kept(query.tables, part), share.shape)
            first = asked.starts[part.number] + part.start
            answers[first : first + len(share)] = _collect(
                torch.tensor(value), torch.from_numpy(share), columns
            )
    found, worst = answers[torch.from_numpy(asked.place)].to(known.device), 0.0
    for number, plan in enumerate(plans):
        if plan is None:
            rows = torch.from_numpy(np.flatnonzero(asked.of_row == number))
            step = max(1, BUDGET // (draws.num_samples * len(known.mechanisms)))
            for subset in rows.split(step):
                found[subset], error = query.by_draws(subset, columns, draws)
                worst = max(worst, error)
    exact = None not in plans and all(one.is_exact for one in asked.each)
    return found, worst, exact


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
        self.fixed = [f"do {name}" for name, s in settings.items() if isinstance(s, Fixed)]
        set_to = self._set()
        self.supports = {label: x[~x.isnan()].unique() for label, x in set_to.items()}
        self.tables = Tables(known.mechanisms, {**known.values, **set_to})

    def _set(self) -> dict[str, Tensor]:
        """Returns the values (rows,) that are set, by label, NaN where they are open."""
        return {
            f"do {name}": setting.assign(self.known.values[name], None, {})
            for name, setting in self.settings.items()
            if setting.is_summable and not setting.reads_noise and not isinstance(setting, Drawn)
        }

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

    def plan(self, one: Elimination) -> Plan | None:
        """Returns how the answer is summed exactly; None if that takes too large a table."""
        if not self.is_summable:
            return None
        plan = Plan.of(*self._network(one))
        return plan if plan.largest <= MOST_ENTRIES else None

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

    def _network(self, one: Elimination) -> tuple[Network, Grid]:
        """Returns the network of the rows, and the counterfactual value that is asked about."""
        network = one.network()
        world: dict[str, Grid] = {}

        def star(name: str) -> Grid:
            if name not in world:
                world[name] = self._star(network, name, star)
            return world[name]

        return network, star(self.of)

    def _star(self, network: Network, name: str, star: Callable[[str], Grid]) -> Grid:
        """Returns the counterfactual value of a cell, and adds its distribution to the network."""
        if name in self.settings:
            return self._set_cell(network, name)
        x = network.cell(name)
        if name not in self.affected:
            return x
        support = self.known.supports[name]
        pa, pa_star = network.parents(name, network.cell), network.parents(name, star)
        if support is None:
            return _moved(name, x, pa, pa_star, network)
        return _add_transition(network, name, x, pa, pa_star, support)

    def _set_cell(self, network: Network, name: str) -> Grid:
        """Returns a cell that is set, and adds what it is drawn from to the network."""
        setting = self.settings[name]
        if isinstance(setting, Drawn) and setting.listed is not None:
            support, log_probs = setting.listed
            value = network.add_axis(f"{name}*", support)
            network.factors[f"{name}*"] = Grid.of(value.axes, log_probs[None])
            return value
        label, fact = f"do {name}", network.cell(name)
        if isinstance(setting, Fixed) or not fact.axes:
            return network.read(label, self.supports[label])
        return Grid(
            fact.axes,
            lambda rows: setting.assign(fact.table(rows), None, {}),
            fact.reads,
            label=label,
        )


def _add_transition(
    network: Network,
    name: str,
    x: Grid,
    pa: Mapping[str, Grid],
    pa_star: Mapping[str, Grid],
    support: Tensor,
) -> Grid:
    """Adds the distribution of a counterfactual value to a network, and returns the value.

    Arguments:
        network: The network.
        name: The variable.
        x: Its factual value.
        pa: Its factual parents.
        pa_star: Its counterfactual parents.
        support: The values (levels,) that it may have.
    """
    all_values, count = network.mechanisms[name].support, len(pa)
    assert all_values is not None
    keep = torch.searchsorted(all_values, support)

    def function(mechanisms: Mechanisms, values: Sequence[Tensor]) -> Tensor:
        value, *parents = torch.broadcast_tensors(*values)
        now, then = parents[:count], parents[count:]
        found = mechanisms[name].transition(
            value, dict(zip(pa, now, strict=True)), dict(zip(pa_star, then, strict=True))
        )
        return found[..., keep].log()

    own = network.add_axis(f"{name}*", support)
    cells = (x, *pa.values(), *pa_star.values())
    network.factors[f"{name}*"] = network.family(
        ("transition", name), (name,), cells, function, own
    )
    return own


def _moved(
    name: str,
    x: Grid,
    pa: Mapping[str, Grid],
    pa_star: Mapping[str, Grid],
    network: Network,
) -> Grid:
    """Returns the counterfactual value of a continuum: its noise is unique."""
    cells = (x, *pa.values(), *pa_star.values())
    axes = joint_axes(cells, network.axes)

    def make(rows: Rows) -> Tensor:
        mechanism = rows.mechanisms[name]
        if name in x.axes:  # unknown: the axis is one over its noise
            noise = quantile_noise(mechanism)
            shape = [1] * (len(axes) + 2)
            shape[1 + axes.index(name)], shape[-1] = noise.shape
            return predict_along(mechanism, noise.reshape(shape), pa_star, axes, rows)
        value, *parents = torch.broadcast_tensors(
            x.along(axes, rows), *at(pa, axes, rows).values()
        )
        middle = torch.full((*value.shape, mechanism.noise_size), 0.5, dtype=torch.float64)
        noise = mechanism.abduct(
            value, dict(zip(pa, parents, strict=True)), middle.to(mechanism.device)
        )
        return predict_along(mechanism, noise, pa_star, axes, rows)

    return Grid(axes, make, reads_of(cells))


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
    settings = action_of(graph, fitted, known.table, do, draws, clip).settings
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
