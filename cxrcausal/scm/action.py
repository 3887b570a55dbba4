"""Step 2, action: what `do` sets each variable to, in every row.

A variable may be set to a level or number, to one value per row (an array, or a Series aligned on
the row labels), to its own factual value moved by `shift` or `scale`, to what a function says of
the factual rows, or to draws from a distribution (`stochastic`); or its mechanism is replaced by
another one, which then answers to the same noise. `resolve` understands all of them, refuses what
cannot be set, and leaves one `Setting` per variable.

References:
    | Causality, sections 3.2 and 7.1 (Pearl, 2009), https://doi.org/10.1017/CBO9780511803161
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.errors import InterventionError, UnobservedError, nearest, summarise
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.graph.value import GRID_TOLERANCE
from cxrcausal.graph.variable import Variable
from cxrcausal.randomness import label_words
from cxrcausal.scm.draws import Draws
from cxrcausal.scm.mechanism.base import Mechanism
from cxrcausal.scm.mechanism.definition import definition_parts
from cxrcausal.scm.setting import (
    Drawn,
    Fixed,
    Relative,
    Replaced,
    Setting,
    leaves_bounds,
    on_grid,
    outside_bounds,
    refuse_outside,
    world_of,
)
from cxrcausal.scm.stochastic import draw_values, is_distribution
from cxrcausal.scm.table import allowed_values, as_numbers, normalise, plain
from cxrcausal.scm.unknown.network import Mechanisms

__all__ = [
    "Do",
    "Observed",
    "Replace",
    "Scale",
    "Shift",
    "healthy",
    "resolve",
    "scale",
    "shift",
]

Do = Mapping[str, Any]
"""What is set: variable to level, number, array, Series, `Shift`, `Scale`, function of rows,
mapping from value to probability, `torch.distributions` object, or `Replace`."""

Observed = Mapping[str, tuple[str, ...] | tuple[float, float]]
"""What a fit observed: the levels of a discrete variable, the range of a continuous one. A
variable that it never observed is not a key."""


@final
@dataclass(frozen=True)
class Shift:
    """The factual value plus `amount`, in the variable's unit."""

    amount: float


@final
@dataclass(frozen=True)
class Scale:
    """The factual value times `factor`."""

    factor: float


@final
@dataclass(frozen=True, eq=False)
class Replace:
    """Another mechanism in place of the variable's own; the variable keeps its noise.

    A soft intervention: the view may be chosen as another source chooses it, by
    ``{"view": Replace(other_scm.mechanisms["view"])}``. The new mechanism assigns the same
    variable from noise of the same distribution, and may read any variable that is no effect of
    it.

    References:
        | Causality, section 3.2.3 (modified mechanisms)
        | (Pearl, 2009), https://doi.org/10.1017/CBO9780511803161
    """

    mechanism: Mechanism


def shift(amount: float) -> Shift:
    """Returns the intervention that adds `amount` (in the variable's unit) to the factual value.

    Arguments:
        amount: What is added, in the unit that the graph gives to the variable.

    Example:
        >>> shift(+20)
        Shift(amount=20.0)
    """
    return Shift(_finite(amount, "shift"))


def scale(factor: float) -> Scale:
    """Returns the intervention that multiplies the factual value by `factor`.

    Arguments:
        factor: What the factual value is multiplied by.
    """
    return Scale(_finite(factor, "scale"))


class _Model(Protocol):
    @property
    def graph(self) -> CausalGraph: ...
    @property
    def observed(self) -> Observed: ...


def healthy(of: CausalGraph | _Model) -> dict[str, str]:
    """Returns the intervention that makes every finding which a definition counts negative.

    This is what is meant by setting `no_finding` to positive, which is itself decided by them.

    Arguments:
        of: A graph, or a fitted SCM; of an SCM only the findings that its fit observed, since it
            refuses interventions on others.
    """
    graph, observed = (of, None) if isinstance(of, CausalGraph) else (of.graph, of.observed)
    do: dict[str, str] = {}
    for name, variable in graph.variables.items():
        if variable.is_definition:
            counted, _ = definition_parts([graph.variables[p] for p in graph.parents(name)])
            do |= {v.name: v.levels[0] for v in counted if observed is None or v.name in observed}
    return do


def resolve(
    do: Do | None,
    rows: pd.DataFrame,
    graph: CausalGraph,
    observed: Observed,
    *,
    clip: bool = False,
    draws: Draws | None = None,
    mechanisms: Mechanisms | None = None,
) -> dict[str, Setting]:
    """Returns what each intervened variable is set to, checked; {} for the null intervention.

    Arguments:
        do: The intervention.
        rows: The factual rows, canonical; what a Series is aligned on and a function reads.
        graph: The graph of the variables.
        observed: What the fit observed.
        clip: Whether the bounds clip a continuous value that leaves them instead of refusing it;
            needed to move an unknown value, some of whose draws would leave them.
        draws: The random numbers of what is drawn; one draw by position if None.
        mechanisms: The fitted mechanisms, which a replaced one must fit; none can be if None.

    Raises:
        InterventionError: On an unknown variable or level, a definition, a value that leaves the
            bounds or, moved from an unknown one, may leave them, an unknown value (NaN), values
            that do not fit the rows, a distribution that is none, or a mechanism that does not fit
            the graph.
        UnobservedError: On a variable or level that the fit never observed.
    """
    if do is None:
        return {}
    if not isinstance(do, Mapping):
        raise InterventionError(
            f"do is a mapping from variable to value, as in {{'sex': 'Male'}}; found "
            f"{type(do).__name__}"
        )
    draws = draws or Draws(0, label_words(pd.RangeIndex(len(rows))), 1)
    settings: dict[str, Setting] = {}
    for name, wanted in do.items():
        variable = _settable(name, do, graph, observed)
        if isinstance(wanted, Shift | Scale):
            settings[name] = _relative(variable, wanted, rows[name], clip=clip)
        elif isinstance(wanted, Replace):
            settings[name] = Replaced.of(variable, wanted.mechanism, graph, mechanisms or {})
        elif is_distribution(wanted):
            settings[name] = _drawn(variable, wanted, rows.index, observed, draws, clip=clip)
        else:
            settings[name] = _fixed(variable, wanted, rows, observed, clip=clip)
    world_of(mechanisms or {}, settings)  # refuses a variable that would cause itself
    return settings


def _settable(name: object, do: Do, graph: CausalGraph, observed: Observed) -> Variable:
    """Returns the variable of that name, if it may be set."""
    if name not in graph.variables:
        what = "is the radiograph" if name == "image" else "is not a variable"
        raise InterventionError(
            f"do sets {name!r}, which {what} of graph {graph.name!r}"
            f"{nearest(name, graph.variables) or '.'} It has: {', '.join(graph.variables)}"
        )
    variable = graph.variables[str(name)]
    if variable.is_definition:
        raise InterventionError(
            f"do sets {name!r}, which is a definition: its parents decide it. Set these instead; "
            f"do=cx.healthy(graph) makes every finding negative that it counts"
        )
    if name not in observed:
        findings = set(healthy(graph))
        raise UnobservedError(
            f"do sets {name!r}, which was never observed in the fit, so that its effects are "
            f"unknown; observed: {', '.join(observed)}"
            + (". cx.healthy(scm) leaves it out" if name in findings <= set(do) else "")
        )
    return variable


def _relative(
    variable: Variable, wanted: Shift | Scale, facts: pd.Series, *, clip: bool
) -> Relative:
    """Returns the setting that moves the factual values (rows,), known ones within the bounds."""
    if variable.is_discrete:
        raise InterventionError(
            f"{type(wanted).__name__.lower()} moves a continuous variable; {variable.name!r} is "
            f"{variable.kind} with levels {summarise(variable.levels, 10)}"
        )
    if isinstance(wanted, Scale):
        setting = Relative(variable, wanted.factor, 0.0)
    else:
        _refuse_off_grid(variable, wanted.amount)
        setting = Relative(variable, 1.0, wanted.amount)
    if clip:
        return setting
    unknown = facts.index[facts.isna()]
    if len(unknown) and setting.may_leave:
        raise InterventionError(
            f"do moves {variable.name!r} by {wanted} from a value that is unknown in "
            f"{len(unknown)} row(s), {summarise(unknown)}, so that it may leave what is "
            f"allowed, {allowed_values(variable)}. Give clip=True to clip it there, "
            f"make the value known, or leave these rows out"
        )
    refuse_outside(variable, setting.wanted(torch.tensor(facts.to_numpy())), facts.index)
    return setting


def _refuse_off_grid(variable: Variable, amount: float) -> None:
    """Refuses a move that the record cannot hold: .4 of a year would be none at all."""
    if variable.resolution is None:
        return
    steps = amount / variable.resolution
    if abs(steps - round(steps)) > GRID_TOLERANCE:
        raise InterventionError(
            f"do moves {variable.name!r} by {amount:g}, which is not a whole number of the steps "
            f"that it is recorded in; allowed: multiples of {variable.resolution:g} "
            f"{variable.unit or ''}"
        )


def _drawn(
    variable: Variable,
    wanted: object,
    index: pd.Index,
    observed: Observed,
    draws: Draws,
    *,
    clip: bool,
) -> Drawn:
    """Returns the setting of values that are drawn from a distribution."""
    values, listed = draw_values(variable, wanted, draws)
    labels = index if len(index) else pd.Index(["all"])
    if listed is not None:  # every value of the list, drawn or not
        every = labels[:1].repeat(len(listed[0]))
        _refuse_unobserved(variable, listed[0].numpy(), every, observed)
        if not clip:
            refuse_outside(variable, listed[0], every)
        listed = on_grid(variable, listed[0]), listed[1]
    else:
        each = index.repeat(draws.num_samples)
        _refuse_unobserved(variable, values.flatten().numpy(), each, observed)
    if not clip:
        refuse_outside(variable, values, index)
    clipped = int(outside_bounds(variable, values).any(1).sum())
    return Drawn(variable, on_grid(variable, values), listed, clipped)


def _fixed(
    variable: Variable,
    wanted: object,
    rows: pd.DataFrame,
    observed: Observed,
    *,
    clip: bool,
) -> Fixed:
    """Returns the setting of given values, one for all rows or one for each."""
    series, clipped = _series(variable.name, wanted, rows), 0
    if clip and variable.bounds is not None:
        numbers = pd.Series(as_numbers(series), index=series.index)
        within = numbers.clip(*variable.bounds)
        clipped = int((within != numbers).sum() - numbers.isna().sum())
        series = within.where(numbers.notna(), series)
    values, bad = normalise(series, variable)
    bad |= np.isnan(values)
    if bad.any():
        raise _refused(variable, series[bad])
    _refuse_unobserved(variable, values, series.index, observed)
    tensor = torch.from_numpy(values)
    if len(series) != len(rows):  # one value for all rows
        tensor, clipped = tensor.expand(len(rows)), clipped * len(rows)
    return Fixed(variable, tensor, clipped)


def _refuse_unobserved(
    variable: Variable, values: np.ndarray, index: pd.Index, observed: Observed
) -> None:
    """Refuses levels (rows,) that the fit never observed, naming the first row."""
    if not variable.is_discrete:
        return
    allowed = {variable.levels.index(str(level)) for level in observed[variable.name]}
    foreign = ~np.isin(values, sorted(allowed))
    if foreign.any():
        raise UnobservedError(
            f"do sets {variable.name!r} to {variable.levels[int(values[foreign][0])]!r} (row "
            f"{plain(index[foreign][0])!r}), a level that the fit never observed; observed: "
            f"{summarise(observed[variable.name], 10)}"
        )


def _series(name: str, wanted: object, rows: pd.DataFrame) -> pd.Series:
    """Returns the wanted values as a Series, of one row if all rows are set alike."""
    if callable(wanted):
        wanted = _ask(name, wanted, rows)
    if isinstance(wanted, pd.Series):
        if wanted.index.equals(rows.index):
            return wanted
        if not wanted.index.is_unique:
            raise InterventionError(
                f"do[{name!r}] is a Series with repeated labels; it cannot be aligned on the rows"
            )
        missing = rows.index[~rows.index.isin(wanted.index)]
        if len(missing):
            raise InterventionError(
                f"do[{name!r}] is a Series without a value for the rows {summarise(missing)}; a "
                f"Series is aligned on row labels, an array goes by position"
            )
        return wanted.reindex(rows.index)
    if isinstance(wanted, Tensor):
        wanted = wanted.detach().cpu().numpy()
    if isinstance(wanted, np.generic | np.ndarray) and wanted.ndim == 0:
        wanted = wanted.item()
    if isinstance(wanted, pd.Categorical | pd.Index | np.ndarray | list | tuple) or hasattr(
        wanted, "__array__"
    ):
        try:
            shape = np.shape(wanted)
        except ValueError:  # lists of unequal length, refused cell by cell
            shape = (len(wanted),)  # type: ignore[arg-type]
        if shape != (len(rows),):
            raise InterventionError(
                f"do[{name!r}] has shape {tuple(shape)}; one value per row is ({len(rows)},)"
            )
        return pd.Series(wanted, index=rows.index)
    return pd.Series([wanted], index=rows.index[:1] if len(rows) else pd.Index(["all"]))


def _ask(name: str, function: Callable[[pd.DataFrame], object], rows: pd.DataFrame) -> object:
    """Returns what a function says of the rows; an answer that is again a function is refused."""
    try:
        answer = function(rows.copy())
    except Exception as error:
        raise InterventionError(
            f"do[{name!r}] is a function that failed on the rows: {type(error).__name__}: {error}"
        ) from error
    if callable(answer) or isinstance(answer, Shift | Scale | Replace) or is_distribution(answer):
        raise InterventionError(
            f"do[{name!r}] is a function that returned {answer!r}; it returns values, one for all "
            f"rows or one for each"
        )
    return answer


def _refused(variable: Variable, bad: pd.Series) -> InterventionError:
    """Returns the error for values that cannot be set, naming the first row."""
    found = plain(bad.iloc[0])
    if pd.api.types.is_scalar(found) and pd.isna(found):
        return InterventionError(
            f"do[{variable.name!r}] is unknown (NaN) in the rows {summarise(bad.index)}; an "
            f"intervention sets a value: leave these rows out, or give one. "
            f"Allowed: {allowed_values(variable)}"
        )
    if variable.bounds is not None and isinstance(found, int | float | np.number):
        low, high = variable.bounds
        if not low <= found <= high:
            return leaves_bounds(variable, bad.index, float(found))
    return InterventionError(
        f"do sets {variable.name!r} to {found!r} (row {plain(bad.index[0])!r})"
        + (nearest(found, variable.levels) if isinstance(found, str) else "")
        + f" (allowed: {allowed_values(variable)})"
    )


def _finite(x: float, what: str) -> float:
    if isinstance(x, bool) or not isinstance(x, int | float | np.number) or not math.isfinite(x):
        raise InterventionError(f"{what} takes a finite number; found {x!r}")
    return float(x)
