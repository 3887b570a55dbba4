r"""The law of a counterfactual cell: noise and unknown cells summed out.

Given complete rows, a counterfactual world is a Bayesian network over the affected variables whose
tables are the closed-form transitions :math:`P(x^*_v \mid x_v, \mathrm{pa}_v, \mathrm{pa}^*_v)`.
Unknown cells join it as axes with their own joint posterior, so that one elimination answers both.
That is exact for levels and grids; an unknown continuum is summed over `QUANTILES` cells. Only where
a table would be too large does a mean over draws stand in, with its standard error.

References:
    | Complete Identification Methods for the Causal Hierarchy, on twin and parallel worlds
    | (Shpitser and Pearl, 2008), https://www.jmlr.org/papers/v9/shpitser08a.html
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from cxrcausal.errors import TableError, summarise
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
from cxrcausal.scm.table import plain
from cxrcausal.scm.unknown.factor import Grid, cheapest, eliminate, joint_axes
from cxrcausal.scm.unknown.network import (
    Mechanisms,
    Network,
    Supports,
    Values,
    at,
    predict_along,
    quantile_noise,
)
from cxrcausal.scm.unknown.posterior import (
    BUDGET,
    Absence,
    absences,
    distinct_rows,
    families,
    fill_unknown,
)

__all__ = ["cell_scores", "counterfactual_law", "law_columns", "law_of_rows"]

logger = logging.getLogger("cxrcausal")

MOST_ENTRIES = 2**16
"""The most table entries per row of an exact sum; beyond it a mean over draws stands in."""

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""The quantiles that describe the law of a continuum."""


def law_columns(mechanism: Mechanism, of: str) -> pd.Index:
    """Returns what the columns of a law are: levels, grid values, or quantiles of a continuum."""
    variable = mechanism.variable
    if variable.is_discrete:
        return pd.Index(list(variable.levels), name=of)
    if variable.grid is not None:
        whole = all(float(value).is_integer() for value in variable.grid)
        return pd.Index([int(v) if whole else v for v in variable.grid], name=of)
    return pd.Index(LEVELS, name=f"{of} quantile")


def counterfactual_law(
    mechanisms: Mechanisms,
    supports: Supports,
    values: Values,
    settings: Mapping[str, Setting],
    of: str,
    index: pd.Index,
    draws: Draws,
) -> tuple[Tensor, float, bool]:
    """Returns the law of one variable in the world that is set, for every row.

    Arguments:
        mechanisms: The fitted mechanisms, causes before effects.
        supports: The values that each variable may have.
        values: Known values (rows,), NaN where unknown.
        settings: What is set.
        of: The variable asked about.
        index: The row labels, for errors.
        draws: The random numbers, used only where an exact sum would be too large.

    Returns:
        Probabilities (rows, levels), or quantiles (rows, `LEVELS`) of a continuum; the largest
        standard error of any entry, 0.0 where none is a mean over draws; and whether all entries
        are exact: neither that, nor a sum over the quantile cells of an unknown continuum.
    """
    columns = _column_values(mechanisms[of])
    width = len(LEVELS) if columns is None else len(columns)
    law = torch.zeros(len(index), width, dtype=torch.float64, device=values[of].device)
    worst, exact = 0.0, True
    for absence in absences(mechanisms, values):
        query = _Query(mechanisms, supports, settings, of, absence, index)
        rows = torch.from_numpy(absence.rows)
        kinds, place = query.kinds(values)
        largest = query.size(values, kinds[:1]) if query.is_summable else MOST_ENTRIES + 1
        if largest <= MOST_ENTRIES:
            step = max(1, BUDGET // largest)
            parts = [
                query.law(values, kinds[start : start + step], columns)
                for start in range(0, len(kinds), step)
            ]
            law[rows] = torch.cat(parts)[place]
            exact &= query.is_exact
            continue
        exact = False
        step = max(1, BUDGET // (draws.num_samples * len(mechanisms)))
        for some in rows.split(step):
            law[some], error = query.law_by_draws(values, some, columns, draws)
            worst = max(worst, error)
    return law, worst, exact


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
    """One question to the rows that lack the same cells."""

    def __init__(
        self,
        mechanisms: Mechanisms,
        supports: Supports,
        settings: Mapping[str, Setting],
        of: str,
        absence: Absence,
        index: pd.Index,
    ) -> None:
        self.mechanisms = mechanisms
        self.supports = supports
        self.settings = settings
        self.of = of
        self.index = index
        self.unknown = absence.unknown
        self.affected = affected_by(mechanisms, settings)
        self.world = world_of(mechanisms, settings)
        self.rows = absence.rows
        facts = self._facts()
        asked = set(absence.unknown) & facts
        for name in reversed(absence.barren):
            if name in asked:
                asked |= set(absence.unknown) & {p.name for p in mechanisms[name].parents}
        self.asked = asked
        cells = asked & set(absence.barren)
        for component in absence.components:
            if asked.intersection(component):
                cells.update(component)
        self.cells = cells
        read, self.told = families(mechanisms, cells, absence.unknown)
        self.known = [v for v in mechanisms if v in {*read, *facts} and v not in absence.unknown]

    @property
    def is_exact(self) -> bool:
        """Whether the sum over unknown cells is exact: no continuum in quantile cells is in it."""
        return all(self.supports[name] is not None for name in self.cells)

    def _facts(self) -> set[str]:
        """Returns whose factual values the answer reads."""
        facts, seen, todo = set[str](), set[str](), [self.of]
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            setting = self.settings.get(name)
            if setting is not None and not setting.reads_noise:
                if setting.reads_fact:
                    facts.add(name)
            elif name not in self.affected:
                facts.add(name)
            else:
                facts.update((name, *(p.name for p in self.mechanisms[name].parents)))
                todo += [p.name for p in self.world[name].parents]
        return facts

    @property
    def is_summable(self) -> bool:
        """Whether an exact answer exists: no law but a list of values, no replaced mechanism."""
        return all(setting.is_summable for setting in self.settings.values())

    def kinds(self, values: Values) -> tuple[Tensor, Tensor]:
        """Returns one row of each kind and the rows' places among them; a kind has one answer."""
        fixed = {
            f"do {name}": setting.values
            for name, setting in self.settings.items()
            if isinstance(setting, Fixed)
        }
        return distinct_rows({**values, **fixed}, [*self.known, *fixed], self.rows)

    def size(self, values: Values, rows: Tensor) -> int:
        """Returns the entries per row of the largest table that an exact answer needs."""
        network, target = self._network(values, rows)
        others = [axis for axis in network.axes if axis not in target.axes]
        _, largest = cheapest(network.factors, network.axes, others)
        return max(largest, math.prod(network.axes[axis] for axis in target.axes))

    def law(self, values: Values, rows: Tensor, columns: Tensor | None) -> Tensor:
        """Returns the exact law (rows, columns) of some rows."""
        network, target = self._network(values, rows)
        others = [axis for axis in network.axes if axis not in target.axes]
        order, _ = cheapest(network.factors, network.axes, others)
        _, left = eliminate(network.factors, network.axes, order)
        axes = joint_axes((target, *left), network.axes)
        shape = (len(rows), *(network.axes[axis] for axis in axes))
        value = target.along(axes).expand(shape).reshape(len(rows), -1)
        weight = torch.zeros_like(value)
        for grid in left:
            weight = weight + grid.along(axes).expand(shape).reshape(len(rows), -1)
        impossible = weight.amax(1) == -math.inf
        if bool(impossible.any()):
            raise TableError(
                f"row {plain(self.index[int(rows[impossible.cpu()][0])])!r} is impossible under the "
                f"fitted model: no values of {summarise(self.unknown, 20)} agree with what is known"
            )
        return _collect(value, weight.softmax(1), columns)

    def law_by_draws(
        self, values: Values, rows: Tensor, columns: Tensor | None, draws: Draws
    ) -> tuple[Tensor, float]:
        """Returns the law (rows, columns) as a mean over draws, and its largest standard error.

        Draws that all agree leave room for a level that none of them shows, so each level counts
        one draw of its own, and one against it, in the error (the rule of succession).
        """
        some = draws._replace(labels=draws.labels[rows.numpy()])
        index = self.index[rows.numpy()]
        here = {name: value[rows] for name, value in values.items()}
        filled = fill_unknown(
            self.mechanisms, self.supports, here, some, index, lambda unknown: self.asked
        )
        noise = abduct_noise(self.mechanisms, filled, some, self.affected)
        settings = {name: setting.take(rows) for name, setting in self.settings.items()}
        star = replay(self.mechanisms, filled, noise, settings)[self.of]
        value = star.reshape(len(rows), draws.num_samples)
        alike = torch.full_like(value, 1.0 / draws.num_samples)
        law = _collect(value, alike, columns)
        if columns is not None:
            share = (law * draws.num_samples + 1) / (draws.num_samples + 2)
            return law, float((share * (1 - share) / draws.num_samples).sqrt().max())
        if draws.num_samples == 1:
            return law, math.inf  # one draw of a continuum says nothing of its spread
        level = torch.tensor(LEVELS, dtype=law.dtype, device=law.device)
        spread = (level * (1 - level) / draws.num_samples).sqrt()
        low = value.quantile((level - spread).clamp(min=0.0), dim=1)
        high = value.quantile((level + spread).clamp(max=1.0), dim=1)
        return law, float((high - low).max() / 2)

    def _network(self, values: Values, rows: Tensor) -> tuple[Network, Grid]:
        """Returns the network of some rows, and the counterfactual value that is asked about."""
        here = {name: values[name][rows] for name in self.known}
        network = Network(self.mechanisms, self.supports, here, self.cells)
        for name in self.told:
            network.add_evidence(name)
        world: dict[str, Grid] = {}

        def star(name: str) -> Grid:
            if name not in world:
                world[name] = self._star(network, rows, name, star)
            return world[name]

        return network, star(self.of)

    def _star(
        self, network: Network, rows: Tensor, name: str, star: Callable[[str], Grid]
    ) -> Grid:
        """Returns the counterfactual value of a cell, its law being added to the network."""
        if name in self.settings:
            setting = self.settings[name].take(rows)
            if isinstance(setting, Drawn) and setting.listed is not None:
                support, log_probs = setting.listed
                network.factors.append(Grid.of((f"{name}*",), log_probs[None]))
                return network.add_axis(f"{name}*", support)
            if isinstance(setting, Fixed):
                return Grid.of((), setting.values.to(self.mechanisms[name].device))
            fact = network.cell(name)
            return Grid(fact.axes, lambda: setting.assign(fact.table, None, {}))
        x = network.cell(name)
        if name not in self.affected:
            return x
        mechanism, support = self.mechanisms[name], self.supports[name]
        pa, pa_star = network.parents(name, network.cell), network.parents(name, star)
        axes = joint_axes((x, *pa.values(), *pa_star.values()), network.axes)
        if support is None:
            return Grid(axes, lambda: _moved(mechanism, x, pa, pa_star, axes))
        value = network.add_axis(f"{name}*", support)
        keep = torch.searchsorted(mechanism.support, support)
        network.factors.append(
            Grid(
                (*axes, f"{name}*"),
                lambda: _transition(mechanism, x, pa, pa_star, axes)[..., keep].log(),
            )
        )
        return value


def _transition(
    mechanism: Mechanism,
    x: Grid,
    pa: Mapping[str, Grid],
    pa_star: Mapping[str, Grid],
    axes: Sequence[str],
) -> Tensor:
    """Returns the law (rows or 1, *sizes, levels) of the counterfactual value."""
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
        place = torch.searchsorted(columns, value.contiguous())
        law = torch.zeros(len(value), len(columns), dtype=value.dtype, device=value.device)
        return law.scatter_add(1, place, weight)
    ordered, order = value.sort(1)
    reached = weight.gather(1, order).cumsum(1)
    level = torch.tensor(LEVELS, dtype=value.dtype, device=value.device)
    wanted = (level * reached[:, -1:]).contiguous()
    at_level = torch.searchsorted(reached, wanted).clamp(max=value.shape[1] - 1)
    return ordered.gather(1, at_level)


def _column_values(mechanism: Mechanism) -> Tensor | None:
    """Returns the value that each column of a law stands for; None for a continuum."""
    variable, device = mechanism.variable, mechanism.device
    if variable.is_discrete:
        return torch.arange(len(variable.levels), dtype=torch.float64, device=device)
    if variable.grid is None:
        return None
    return torch.tensor(variable.grid, dtype=torch.float64, device=device)


def law_of_rows(
    graph: CausalGraph,
    fitted: Fitted,
    known: Evidence,
    do: Do | None,
    of: str,
    draws: Draws,
    *,
    clip: bool,
) -> pd.DataFrame:
    """Returns the law of one variable in each row: `FlowSCM.counterfactual_probability`."""
    settings = settings_of(graph, fitted, known.table, do, draws, clip)
    if of not in {*settings, *affected_by(fitted.mechanisms, settings)} and settings:
        logger.warning(
            "%r does not descend from %s: its counterfactual law is its factual one",
            of,
            summarise(settings),
        )
    law, error, exact = counterfactual_law(
        known.mechanisms, known.supports, known.values, settings, of, known.table.index, draws
    )
    columns = law_columns(fitted.mechanisms[of], of)
    result = pd.DataFrame(law.cpu().numpy(), index=known.table.index, columns=columns)
    result.attrs["standard_error"] = error
    result.attrs["exact"] = exact
    return result
