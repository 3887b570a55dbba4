r"""Which mechanism a variable gets, and its fit to the rows where it and its parents are known.

The kind of a variable and the family that is asked for choose the mechanism; `maximum_likelihood`
fits it. Numbers, exact ones and those on a grid, are fitted from least squares upwards, see
`located`: on at most 100,000 distinct rows, drawn at random, and on 20,000 where the flow's shape
depends on the parents. Everything is deterministic under the seed, and the global random state is
left alone.
"""

import logging
import operator
from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from cxrcausal.errors import OptionError, nearest, summarise
from cxrcausal.gradients import with_gradients
from cxrcausal.graph.variable import Variable
from cxrcausal.randomness import as_seed
from cxrcausal.scm.fit.atoms import against_a_continuum
from cxrcausal.scm.fit.maximum_likelihood import ITERATIONS, fit_by_stages, generator_of, improve
from cxrcausal.scm.fit.rows import Cells
from cxrcausal.scm.mechanism.base import Mechanism
from cxrcausal.scm.mechanism.configuration import level_count
from cxrcausal.scm.mechanism.continuous import FlowMechanism
from cxrcausal.scm.mechanism.definition import LogicMechanism
from cxrcausal.scm.mechanism.flow import ContinuousFlow, LocatedFlow
from cxrcausal.scm.mechanism.interval import IntervalMechanism
from cxrcausal.scm.mechanism.nominal import GumbelMechanism
from cxrcausal.scm.mechanism.registry import FAMILIES, MECHANISMS, fit_own
from cxrcausal.scm.mechanism.regression import Regression
from cxrcausal.scm.mechanism.spline import SplineFlow
from cxrcausal.scm.mechanism.thresholds import DirectEdges, EdgeSource, FlowEdges

__all__ = [
    "MECHANISMS",
    "Coupling",
    "Family",
    "check_options",
    "fit_mechanism",
    "improve_mechanism",
    "resolve_family",
]

Family = Literal["auto", "direct", "cnf", "nsf"] | str
"""A family of the package, or one that was registered, see `registry.register_mechanism`."""
OURS = ("auto", "direct", "cnf", "nsf")
Coupling = Literal["gumbel", "ordered"]

_log = logging.getLogger("cxrcausal")
_FEW_CELLS = 1000  # on which a finer flow costs no time


def check_options(family: object, coupling: object, hidden: object = ()) -> tuple[int, ...]:
    """Returns the widths of hidden layers as a tuple, once they and the two words are allowed.

    Raises:
        OptionError: If there is no such family or coupling, or a width is not a whole number above
            0.
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

    `direct` exists for every variable with levels or a grid, `cnf` for every ordered one, `nsf`
    for continuous ones. Where the family does not exist for the variable's kind, the kind's own
    default stands in, so that one word can be given for a whole graph: `cnf` for continuous
    variables, `direct` for the others. A registered family is for the variables that it says it
    serves.

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
        definition = LogicMechanism(variable, parents)
        definition.fit_in_closed_form(x, {p.name: values[p.name] for p in parents}, weight)
        return definition.eval().requires_grad_(False)
    if family in FAMILIES:
        return fit_own(FAMILIES[family], variable, parents, values, weight, seed)
    if against := against_a_continuum(variable, x):
        _log.warning("%s", against)
    cells = Cells.gather(variable, parents, values, weight, groups, validation, seed)
    mechanism = _build(variable, parents, family, coupling, hidden, few=len(cells.x) <= _FEW_CELLS)
    # A level that no row has, those with unknown parents included, is not to be drawn; the values
    # of a grid stand between their neighbours.
    mechanism.start_at(cells.x, cells.total, x if variable.is_discrete else None)
    fit_by_stages(mechanism, cells, generator_of(seed, variable.name), most_rounds)
    return mechanism.eval().requires_grad_(False)


@with_gradients
def improve_mechanism(
    mechanism: Mechanism,
    x: Tensor,
    pa: Mapping[str, Tensor],
    weights: Tensor,
    possible: Tensor | None = None,
    iterations: int = ITERATIONS,
) -> None:
    """Raises the likelihood of weighted cells from where a fitted mechanism stands, in place.

    Arguments:
        mechanism: A mechanism that `fit_mechanism` returned.
        x: Values of its variable (cells,), all known.
        pa: Values of its parents (cells,) by name.
        weights: How often each cell counts (cells,); expected counts need not be whole numbers.
        possible: The values that the fit observed of the variable, those of other patients
            included; no other is to be drawn. All if None.
        iterations: The most iterations of L-BFGS. A maximum that is known in closed form (rates of
            a definition, shares of a variable without parents) is taken at once.
    """
    if mechanism.fit_in_closed_form(x, pa, weights, possible):
        return
    if isinstance(mechanism, Regression):
        mechanism.requires_grad_(True)
        improve(mechanism, x, pa, weights, iterations)
        mechanism.requires_grad_(False)


def _build(
    variable: Variable,
    parents: tuple[Variable, ...],
    family: str,
    coupling: Coupling,
    hidden: tuple[int, ...],
    *,
    few: bool,
) -> Regression:
    """Returns the mechanism of the variable's kind, all of its coefficients zero.

    Arguments:
        variable: The variable that is assigned.
        parents: The variables that the mechanism reads.
        family: `direct`, `cnf` or `nsf`.
        coupling: Of a nominal variable.
        hidden: The widths of the residual network.
        few: Whether there are few distinct rows, on which a finer flow costs no time.
    """
    if variable.kind == "nominal" and coupling == "gumbel":
        return GumbelMechanism(variable, parents, hidden)
    levels = level_count(variable)
    if levels is None:
        flow = SplineFlow() if family == "nsf" else LocatedFlow()
        return FlowMechanism(variable, parents, flow, hidden, knots=10)
    source: EdgeSource
    if family == "direct":
        source = DirectEdges(parents, levels, hidden)
    elif family == "nsf":
        source = FlowEdges(parents, levels, SplineFlow(bins=24), hidden, knots=10)
    elif variable.is_discrete:
        source = FlowEdges(parents, levels, ContinuousFlow(bumps=min(2 * levels - 2, 8)), hidden)
    else:
        # Ages of few kinds of patients are few cells, and have spikes to be learnt.
        flow = LocatedFlow(24, 8.0) if few else LocatedFlow()
        source = FlowEdges(parents, levels, flow, hidden, knots=10)
    return IntervalMechanism(variable, parents, source)
