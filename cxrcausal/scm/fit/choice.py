r"""One mechanism fitted to its rows by maximum likelihood, starting from logistic regression.

Rows that agree in the variable and in all its parents are counted once with their number as weight,
so a table of binary findings shrinks a hundredfold. The linear part of the network is then fitted to
convergence by L-BFGS with a whisper of penalty: that is the logistic regression of a statistician.
A residual network follows, stopped at its best round on patients that were set aside, and kept only
where it predicts these same patients better by more than one and a half standard errors; then both
are fitted again on all rows. The round being chosen on them, that gain is somewhat optimistic: a
kept residual can predict new patients a little worse than the regression alone.

Numbers, exact ones and those on a grid, are fitted from least squares upwards, see `located`: on at
most 100,000 distinct rows, drawn at random, and on 20,000 where the flow's shape depends on the parents.
Everything is deterministic under the seed, and the global random state is left alone.
"""

import copy
import hashlib
import logging
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from cxrcausal.errors import OptionError, nearest, summarise
from cxrcausal.gradients import with_gradients
from cxrcausal.graph.variable import Variable
from cxrcausal.randomness import as_seed
from cxrcausal.scm.fit.atoms import against_a_continuum
from cxrcausal.scm.fit.located import fit_located, improve_located, is_located
from cxrcausal.scm.fit.rows import Cells
from cxrcausal.scm.mechanism.base import Mechanism
from cxrcausal.scm.mechanism.configuration import level_count
from cxrcausal.scm.mechanism.continuous import FlowMechanism
from cxrcausal.scm.mechanism.definition import LogicMechanism
from cxrcausal.scm.mechanism.flow import ContinuousFlow, LocatedFlow, MonotoneFlow
from cxrcausal.scm.mechanism.interval import IntervalMechanism
from cxrcausal.scm.mechanism.nominal import GumbelMechanism
from cxrcausal.scm.mechanism.registry import FAMILIES, MECHANISMS, fit_own
from cxrcausal.scm.mechanism.spline import SplineFlow
from cxrcausal.scm.mechanism.thresholds import DirectEdges, FlowEdges

__all__ = [
    "MECHANISMS",
    "Coupling",
    "Family",
    "check_options",
    "effort_of",
    "fit_mechanism",
    "improve_mechanism",
    "resolve_family",
]

Family = Literal["auto", "direct", "cnf", "nsf"] | str
"""A family of the package, or one that was registered, see `register.register_mechanism`."""
OURS = ("auto", "direct", "cnf", "nsf")
Coupling = Literal["gumbel", "ordered"]

_Conditioned = FlowMechanism | IntervalMechanism | GumbelMechanism

_log = logging.getLogger("cxrcausal")
_LEAST_GAIN = 1e-6  # nats per row
_ITERATIONS = 10  # of L-BFGS between two looks at the validation patients
_FEW_CELLS = 1000  # on which a finer flow costs no time
_BATCH = 8192  # cells whose loss is computed at a time


def check_options(family: object, coupling: object, hidden: object = ()) -> tuple[int, ...]:
    """Returns the widths of hidden layers as a tuple, once they and the two words are allowed.

    Raises:
        OptionError: If there is no such family or coupling, or a width is not a whole number above 0.
    """
    for what, word, allowed in (
        ("family", family, (*OURS, *FAMILIES)),
        ("coupling", coupling, get_args(Coupling)),
    ):
        if word not in allowed:
            raise OptionError(
                f"{word!r} is not a {what} of mechanisms{nearest(word, allowed) or '.'} "
                f"Allowed: {summarise(allowed)}"
            )
    try:
        widths = tuple(operator.index(width) for width in hidden)  # type: ignore[attr-defined]
    except TypeError as error:
        raise OptionError(
            f"hidden is {hidden!r}; give the widths of the hidden layers, as in (32, 32), or ()"
        ) from error
    if any(width < 1 for width in widths):
        raise OptionError(f"hidden is {hidden!r}; a layer has at least 1 unit")
    # The very tuple that was given: scikit-learn's `clone` asks whether it comes back.
    is_plain = isinstance(hidden, tuple) and all(type(width) is int for width in hidden)
    return hidden if is_plain else widths  # type: ignore[return-value]


def resolve_family(
    variable: Variable, family: Family = "auto", coupling: Coupling = "gumbel"
) -> str:
    """Returns the family that a variable gets when `family` is asked for.

    `direct` exists for every variable with levels or a grid, `cnf` for every ordered one, `nsf` for
    continuous ones. Where the family does not exist for the variable's kind, the kind's own default
    stands in, so that one word can be given for a whole graph: `cnf` for continuous variables,
    `direct` for the others. A registered family is for the variables that it says it serves.

    Raises:
        OptionError: If there is no such family or coupling.
    """
    check_options(family, coupling)
    if family in FAMILIES:
        if not variable.is_definition and FAMILIES[family].serves(variable):
            return family
        family = "auto"
    if variable.kind == "continuous":
        has_no_grid = variable.grid is None
        return "cnf" if family == "auto" or (family == "direct" and has_no_grid) else family
    ordered = variable.is_ordered or coupling == "ordered"
    return "cnf" if family == "cnf" and ordered and not variable.is_definition else "direct"


@with_gradients
def fit_mechanism(
    variable: Variable,
    parents: tuple[Variable, ...],
    values: Mapping[str, Tensor],
    groups: np.ndarray | None = None,
    *,
    family: Family = "auto",
    coupling: Coupling = "gumbel",
    seed: int = 0,
    weights: np.ndarray | None = None,
    validation: float = 0.2,
    hidden: tuple[int, ...] = (32, 32),
    most_rounds: int = 40,
) -> Mechanism:
    """Fits one mechanism on the rows where the variable and all its parents are known.

    Families with a flow (`cnf`, `nsf`) use at most 100,000 distinct rows of them, drawn at random
    under the seed; a log line says where that leaves some out. A warning says where a variable is
    declared a continuum and its values are not one, see `atoms`.

    Arguments:
        variable: The variable that is assigned.
        parents: The variables that the mechanism reads.
        values: Values (rows,) of all of them by name, NaN where unknown.
        groups: What each row belongs to (patients); rows of one group stay on one side of the
            validation split. Without it each row is its own group.
        family: `direct`, `cnf` or `nsf`, or a registered one; `auto` chooses by kind, see
            `resolve_family`.
        coupling: Of a nominal variable, `gumbel` or `ordered` (an order is assumed).
        seed: Decides the validation patients and the residual's first weights.
        weights: How often each row counts (rows,); once if left out.
        validation: The share of groups set aside for early stopping.
        hidden: The widths of the residual network; empty for none.
        most_rounds: The most rounds, of ten L-BFGS iterations, that train the residual network.

    Returns:
        The fitted mechanism, in evaluation mode, its parameters frozen.

    Raises:
        TableError: If no row has the variable and all its parents known.
        OptionError: If there is no such family or coupling, or the seed is not a whole number.
    """
    seed, hidden = as_seed(seed), check_options(family, coupling, hidden)
    family = resolve_family(variable, family, coupling)
    x = values[variable.name]
    weight = torch.ones(len(x), dtype=torch.float64)
    if weights is not None:
        weight = torch.as_tensor(np.asarray(weights, np.float64))
    if variable.is_definition:
        mechanism = LogicMechanism(variable, parents)
        mechanism.fit_rates(x, {p.name: values[p.name] for p in parents}, weight)
        return mechanism.eval().requires_grad_(False)
    if family in FAMILIES:
        return fit_own(FAMILIES[family], variable, parents, values, weight, seed)
    if against := against_a_continuum(variable, x):
        _log.warning("%s", against)
    cells = Cells.gather(variable, parents, values, weight, groups, validation, seed)
    mechanism = _build(variable, parents, family, coupling, hidden, cells, x)
    _fit_by_stages(mechanism, cells, _generator(seed, variable.name), most_rounds)
    return mechanism.eval().requires_grad_(False)


@with_gradients
def improve_mechanism(
    mechanism: Mechanism,
    x: Tensor,
    pa: Mapping[str, Tensor],
    weights: Tensor,
    possible: Tensor | None = None,
    iterations: int = _ITERATIONS,
) -> None:
    """Raises the likelihood of weighted cells from where a fitted mechanism stands, in place.

    Arguments:
        mechanism: A mechanism that `fit_mechanism` returned.
        x: Values of its variable (cells,), all known.
        pa: Values of its parents (cells,) by name.
        weights: How often each cell counts (cells,); expected counts need not be whole numbers.
        possible: The values that the fit has seen of the variable, those of other patients
            included; no other is to be drawn. All if None.
        iterations: The most iterations of L-BFGS. A maximum that is known in closed form (rates of
            a definition, shares of a variable without parents) is taken at once.
    """
    if isinstance(mechanism, LogicMechanism):
        mechanism.fit_rates(x, pa, weights)
    elif isinstance(mechanism, IntervalMechanism) and not mechanism.parents:
        index = mechanism.index(x)
        counts = _counts(mechanism.source.levels, index, weights)
        may = None if possible is None else torch.isin(mechanism.grid, possible.cpu())
        mechanism.source.start_at(counts, may)
    elif isinstance(mechanism, GumbelMechanism) and not mechanism.parents:
        mechanism.start_at(_counts(mechanism.noise_size, x.to(torch.int64), weights))
    elif isinstance(mechanism, FlowMechanism | IntervalMechanism | GumbelMechanism):
        columns = mechanism.conditioner.features(pa).expand(len(x), -1)
        if is_located(mechanism):
            mechanism.requires_grad_(True)
            improve_located(mechanism, x, columns, weights, iterations)
            mechanism.requires_grad_(False)
            return
        effort = replace(effort_of(mechanism), cells=_NETWORK.cells)
        mechanism.requires_grad_(True)
        _Descent(mechanism, x, columns, weights, effort, _generator(0, "")).run(iterations)
        mechanism.requires_grad_(False)


def _counts(levels: int, index: Tensor, weights: Tensor) -> Tensor:
    """Returns how often each level (levels,) occurs."""
    return torch.zeros(levels, dtype=torch.float64).index_add_(0, index, weights)


def _build(
    variable: Variable,
    parents: tuple[Variable, ...],
    family: str,
    coupling: Coupling,
    hidden: tuple[int, ...],
    cells: Cells,
    x: Tensor,
) -> _Conditioned:
    """Returns the mechanism of the variable's kind, started at the marginal of its rows.

    A level that no row of the table has (`x`: rows with unknown parents included) is impossible.
    """
    if variable.kind == "nominal" and coupling == "gumbel":
        mechanism = GumbelMechanism(variable, parents, hidden)
        counts = cells.counts(mechanism.noise_size, cells.x.to(torch.int64))
        elsewhere = (counts == 0) & torch.isin(mechanism.levels, x.cpu())
        mechanism.start_at(torch.where(elsewhere, 0.5, counts))
        return mechanism
    levels = level_count(variable)
    if levels is None:
        flow = SplineFlow() if family == "nsf" else LocatedFlow()
        mechanism = FlowMechanism(variable, parents, flow, hidden, knots=10)
        mechanism.start_at(cells.x, cells.total)
        return mechanism
    if family == "direct":
        source = DirectEdges(parents, levels, hidden)
    elif family == "nsf":
        source = FlowEdges(parents, levels, SplineFlow(bins=24), hidden, knots=10)
    elif variable.is_discrete:
        source = FlowEdges(parents, levels, ContinuousFlow(bumps=min(2 * levels - 2, 8)), hidden)
    else:
        # Ages of few kinds of patients are few cells, and have spikes to be learnt.
        flow = LocatedFlow(24, 8.0) if len(cells.x) <= _FEW_CELLS else LocatedFlow()
        source = FlowEdges(parents, levels, flow, hidden, knots=10)
    mechanism = IntervalMechanism(variable, parents, source)
    possible = None
    if variable.is_discrete:  # a grid's values stand between their neighbours, seen or not
        possible = torch.isin(mechanism.grid, x.cpu())
    source.start_at(cells.counts(levels, mechanism.index(cells.x)), possible)
    return mechanism


@dataclass(frozen=True)
class _Effort:
    """How much work a mechanism is worth: a flow is dear to evaluate, and more flexible.

    Arguments:
        penalty: Of half the squared weights of the network, against the summed loss.
        linear: The most iterations of the linear part.
        cells: The most cells that it is fitted on.
        patience: How many rounds without a better validation loss end the residual's training.
    """

    penalty: float = 0.5
    linear: int = 300
    cells: int = 10_000_000
    patience: int = 4


_NETWORK = _Effort()
_FLOW = _Effort(penalty=10.0, linear=60, cells=20_000, patience=1)
_LEVEL_FLOW = replace(_FLOW, penalty=50.0)  # few edges have many coefficients to share


def _fit_by_stages(
    mechanism: _Conditioned, cells: Cells, generator: torch.Generator, most_rounds: int
) -> None:
    """Fits the linear part, tries the residual on validation patients, fits what is kept on all."""
    if mechanism.support is not None and not mechanism.parents:
        mechanism.conditioner.features.calibrate(cells.pa, cells.total)
        return  # it starts at its marginal, which is the maximum
    if is_located(mechanism):
        fit_located(mechanism, cells, generator, most_rounds)
        return
    conditioner = mechanism.conditioner
    conditioner.features.calibrate(cells.pa, cells.total)
    columns = conditioner.features(cells.pa).expand(len(cells.x), -1)
    network = conditioner.network
    effort = effort_of(mechanism)
    most = effort.linear
    if len(cells.x) > effort.cells:
        _log.info(
            "%s: its flow is fitted on %d of %d distinct rows, drawn at random",
            mechanism.variable.name, effort.cells, len(cells.x),
        )  # fmt: skip
    if not conditioner.hidden or not cells.held.any():
        network.residual = torch.nn.ModuleList()
        _Descent(mechanism, cells.x, columns, cells.total, effort, generator).run(most)
        return
    residual, network.residual = network.residual, torch.nn.ModuleList()
    _Descent(mechanism, cells.x, columns, cells.train, effort, generator).run(most)
    before = _losses(mechanism, cells.x, columns)
    start = copy.deepcopy(mechanism.state_dict())

    network.residual = residual
    network.initialise(generator)
    first = copy.deepcopy(residual.state_dict())
    rounds = _train_watched(mechanism, cells, columns, effort, generator, most_rounds)
    gain, error = cells.gain(before, _losses(mechanism, cells.x, columns))
    kept = gain > 1.5 * error and gain > _LEAST_GAIN
    _log.debug(
        "%s: residual %s after %d rounds, validation gain %.5f nats (standard error %.5f)",
        mechanism.variable.name, "kept" if kept else "dropped", rounds, gain, error,
    )  # fmt: skip
    network.residual = torch.nn.ModuleList()
    mechanism.load_state_dict(start)
    _Descent(mechanism, cells.x, columns, cells.total, effort, generator).run(most)
    if kept:
        residual.load_state_dict(first)
        network.residual = residual
        descent = _Descent(mechanism, cells.x, columns, cells.total, effort, generator)
        descent.run(rounds * _ITERATIONS)


def effort_of(mechanism: _Conditioned) -> _Effort:
    """Returns how much work a mechanism is worth."""
    if not any(isinstance(module, MonotoneFlow) for module in mechanism.modules()):
        return _NETWORK
    return _FLOW if mechanism.variable.kind == "continuous" else _LEVEL_FLOW


@torch.no_grad()
def _losses(mechanism: _Conditioned, x: Tensor, columns: Tensor) -> Tensor:
    """Returns the loss of every cell (cells,) in nats."""
    parts = zip(x.split(_BATCH), columns.split(_BATCH), strict=True)
    network = mechanism.conditioner.network
    return torch.cat([-mechanism.log_prob_given(a, network(b)) for a, b in parts])


def _train_watched(
    mechanism: _Conditioned,
    cells: Cells,
    columns: Tensor,
    effort: _Effort,
    generator: torch.Generator,
    most_rounds: int,
) -> int:
    """Trains on the training patients, returns to the best round on the others, and its number."""
    held = torch.nonzero(cells.held > 0).squeeze(-1)
    descent = _Descent(mechanism, cells.x, columns, cells.train, effort, generator)
    best, best_round, best_state = math.inf, 0, copy.deepcopy(mechanism.state_dict())
    for number in range(most_rounds + 1):
        if number:
            descent.run(_ITERATIONS)
        loss = float(_losses(mechanism, cells.x[held], columns[held]) @ cells.held[held])
        if loss < best:
            best, best_round = loss, number
            best_state = copy.deepcopy(mechanism.state_dict())
        elif number - best_round >= effort.patience:
            break
    mechanism.load_state_dict(best_state)
    return best_round


class _Descent:
    """Minimises the penalised loss of weighted cells by L-BFGS, all cells at a time.

    Adam on batches of cells whose weights differ a thousandfold is noisier than most effects here
    are large; the exact gradient of all cells costs milliseconds.
    """

    def __init__(
        self,
        mechanism: _Conditioned,
        x: Tensor,
        columns: Tensor,
        weight: Tensor,
        effort: _Effort,
        generator: torch.Generator,
    ) -> None:
        used = torch.nonzero(weight > 0).squeeze(-1)
        if len(used) > effort.cells:
            used = used[torch.randperm(len(used), generator=generator)[: effort.cells]]
        self.mechanism, self.x, self.columns = mechanism, x[used], columns[used]
        self.share = weight[used] / weight[used].sum()
        self.penalty = effort.penalty / weight[used].sum()
        self.optimiser = torch.optim.LBFGS(
            [p for p in mechanism.parameters() if p.numel()],
            history_size=20,
            line_search_fn="strong_wolfe",
            tolerance_grad=1e-8,
            tolerance_change=1e-11,
        )

    def run(self, iterations: int) -> None:
        """Goes on for so many iterations, or until it has converged."""
        self.optimiser.param_groups[0].update(max_iter=iterations, max_eval=2 * iterations)
        if iterations:
            self.optimiser.step(self._loss)

    @torch.enable_grad()
    def _loss(self) -> Tensor:
        self.optimiser.zero_grad()
        theta = self.mechanism.conditioner.network(self.columns)
        nats = -self.mechanism.log_prob_given(self.x, theta) @ self.share
        loss = nats + self.penalty * _half_square(self.mechanism)
        loss.backward()
        return loss.detach()


def _half_square(mechanism: _Conditioned) -> Tensor:
    """Returns half the sum of the network's squared weights: a whisper of penalty."""
    weights = mechanism.conditioner.network.parameters()
    return 0.5 * sum((w.square().sum() for w in weights), torch.zeros((), dtype=torch.float64))


def _generator(seed: int, name: str) -> torch.Generator:
    """Returns a generator for one variable, independent of the others' and of the global one."""
    word = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(word, "little") >> 1)
