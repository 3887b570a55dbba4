r"""What one variable is set to in every row, once it is understood and allowed.

An intervention puts another assignment in the place of :math:`x := f(u, \mathrm{pa})`: a value
(`Fixed`), the factual value moved (`Relative`), a draw from a distribution (`Drawn`), or another
mechanism that answers to the same noise (`Replaced`). Each is a `Setting`, and each assigns.

References:
    | Causality, sections 3.2.1 and 3.2.3 (Pearl, 2009), https://doi.org/10.1017/CBO9780511803161
"""

import abc
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import ClassVar, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.errors import InterventionError, summarise
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.graph.variable import Variable
from cxrcausal.scm.mechanism.base import Mechanism, Parents, predict_known
from cxrcausal.scm.table import allowed_values, plain
from cxrcausal.scm.unknown.network import Mechanisms

__all__ = [
    "Drawn",
    "Fixed",
    "Relative",
    "Replaced",
    "Setting",
    "leaves_bounds",
    "on_grid",
    "outside_bounds",
    "refuse_outside",
    "world_of",
]


@dataclass(frozen=True, eq=False)
class Setting(abc.ABC):
    """The assignment that an intervention puts in the place of a variable's own.

    Arguments:
        variable: The variable that is set.
    """

    variable: Variable

    reads_fact: ClassVar[bool] = False
    """Whether the factual value decides the new one, so that an unknown one has to be drawn."""

    reads_noise: ClassVar[bool] = False
    """Whether the variable's own noise decides the new value, as it does without intervention."""

    @property
    def is_known(self) -> bool:
        """Whether the new value is known where nothing is known of the row."""
        return not (self.reads_fact or self.reads_noise)

    @abc.abstractmethod
    def assign(self, x: Tensor, u: Tensor | None, pa: Parents) -> Tensor:
        """Returns the variable's value (rows * draws,) in the world that is set.

        Arguments:
            x: The factual value (rows * draws,), by row and then by draw; NaN if it is not needed.
            u: The variable's noise (rows * draws, numbers); None unless `reads_noise`.
            pa: The values (rows * draws,) of its parents in the world that is set.
        """

    @abc.abstractmethod
    def wanted(self, x: Tensor) -> Tensor:
        """Returns the value asked for (rows,) or (rows, draws), before clipping; NaN if unknown.

        Arguments:
            x: The factual value (rows,), NaN where unknown.
        """

    @property
    def is_summable(self) -> bool:
        """Whether the values that it may assign are listed, so that an exact sum may hold them."""
        return True

    def clipped_rows(self, x: Tensor) -> int:
        """Returns in how many rows of factual values `x` (rows,) the bounds clip a value."""
        return 0

    def rounded_rows(self, x: Tensor) -> int:
        """Returns in how many rows of factual values `x` (rows,) rounding undoes a move."""
        return 0

    def take(self, rows: slice | Tensor) -> "Setting":
        """Returns the setting of a subset of the rows."""
        return self


@final
@dataclass(frozen=True, eq=False)
class Fixed(Setting):
    """A value for each row, whatever it was.

    Arguments:
        variable: The variable that is set.
        values: The value of each row (rows,), within bounds.
        clipped: In how many rows the bounds clipped what was asked for.
    """

    values: Tensor
    clipped: int = 0

    def assign(self, x: Tensor, u: Tensor | None, pa: Parents) -> Tensor:
        """Returns the value of its row in every draw."""
        return self.values.to(x.device).repeat_interleave(len(x) // max(1, len(self.values)))

    def wanted(self, x: Tensor) -> Tensor:
        """Returns the values (rows,)."""
        return self.values.to(x.device)

    def clipped_rows(self, x: Tensor) -> int:
        """Returns in how many rows the bounds clipped what was asked for."""
        return self.clipped

    def take(self, rows: slice | Tensor) -> "Fixed":
        """Returns the setting of a subset of the rows."""
        return dataclasses.replace(self, values=self.values[rows])


@final
@dataclass(frozen=True, eq=False)
class Relative(Setting):
    """The factual value moved, `factor` x + `offset`, rounded to the variable's resolution.

    Arguments:
        variable: The continuous variable that is set.
        factor: What the factual value is multiplied by.
        offset: What is added, in the variable's unit.
    """

    factor: float
    offset: float

    reads_fact: ClassVar[bool] = True

    def assign(self, x: Tensor, u: Tensor | None, pa: Parents) -> Tensor:
        """Returns the moved value; where the bounds are left, they clip it."""
        return on_grid(self.variable, self.wanted(x))

    def wanted(self, x: Tensor) -> Tensor:
        """Returns the moved value before it is rounded and clipped."""
        return self.factor * x + self.offset

    def clipped_rows(self, x: Tensor) -> int:
        """Returns in how many rows the bounds clip the moved value."""
        return int(outside_bounds(self.variable, self.wanted(x)).sum())

    def rounded_rows(self, x: Tensor) -> int:
        """Returns in how many rows the move is below half a step of the resolution."""
        if self.variable.resolution is None:
            return 0
        move = self.wanted(x) - x
        return int(((move != 0) & (move.abs() < self.variable.resolution / 2)).sum())

    @property
    def may_leave(self) -> bool:
        """Whether it takes some value within the bounds out of them."""
        ends = torch.tensor(self.variable.bounds or (), dtype=torch.float64)
        return bool(outside_bounds(self.variable, self.wanted(ends)).any())


@final
@dataclass(frozen=True, eq=False)
class Drawn(Setting):
    """A value drawn from a distribution, apart from everything else of the row.

    Arguments:
        variable: The variable that is set.
        values: The value of each row and draw (rows, draws), within bounds.
        listed: The values (k,) and log-probabilities (k,) of the distribution, where it is one
            short list for all rows.
        clipped: In how many rows the bounds clipped what was drawn.
    """

    values: Tensor
    listed: tuple[Tensor, Tensor] | None = None
    clipped: int = 0

    def assign(self, x: Tensor, u: Tensor | None, pa: Parents) -> Tensor:
        """Returns the value of each row and draw."""
        return self.values.to(x.device).reshape(-1)

    def wanted(self, x: Tensor) -> Tensor:
        """Returns the values (rows, draws)."""
        return self.values.to(x.device)

    @property
    def is_summable(self) -> bool:
        """Whether the distribution is a short list."""
        return self.listed is not None

    def clipped_rows(self, x: Tensor) -> int:
        """Returns in how many rows the bounds clipped what was drawn."""
        return self.clipped

    def take(self, rows: slice | Tensor) -> "Drawn":
        """Returns the setting of a subset of the rows."""
        return dataclasses.replace(self, values=self.values[rows])


@final
@dataclass(frozen=True, eq=False)
class Replaced(Setting):
    """Another mechanism's answer to the variable's own noise.

    Arguments:
        variable: The variable whose mechanism is replaced.
        mechanism: What takes its place.
    """

    mechanism: Mechanism

    reads_noise: ClassVar[bool] = True

    @classmethod
    def of(
        cls, variable: Variable, mechanism: object, graph: CausalGraph, mechanisms: Mechanisms
    ) -> "Replaced":
        """Returns the setting, if the mechanism can stand in the place of the variable's own.

        Arguments:
            variable: The variable whose mechanism is replaced.
            mechanism: What shall take its place.
            graph: The graph of the variables.
            mechanisms: The fitted mechanisms.

        Raises:
            InterventionError: If it is no mechanism, assigns another variable, reads what is not
                there, or answers to noise of another distribution.
        """
        own = mechanisms.get(variable.name)
        if not isinstance(mechanism, Mechanism) or own is None:
            raise InterventionError(
                f"do[{variable.name!r}] replaces a mechanism by {type(mechanism).__name__}; "
                f"Replace takes a Mechanism"
            )
        if mechanism.variable != variable:
            raise InterventionError(
                f"do[{variable.name!r}] replaces its mechanism by one that assigns "
                f"{mechanism.variable.name!r}, {allowed_values(mechanism.variable)}; it must "
                f"assign {variable.name!r}, {allowed_values(variable)}"
            )
        strange = [p.name for p in mechanism.parents if graph.variables.get(p.name) != p]
        strange += [p.name for p in mechanism.parents if p.name not in mechanisms]
        if strange:
            raise InterventionError(
                f"do[{variable.name!r}] replaces its mechanism by one that reads "
                f"{summarise(dict.fromkeys(strange))}, which this SCM does not have in that form; "
                f"it has: {', '.join(mechanisms)}"
            )
        probe = torch.linspace(0.1, 0.9, own.noise_size, dtype=torch.float64)[None]
        if mechanism.noise_size != own.noise_size or not torch.allclose(
            own.prior(probe.to(own.device)).cpu(),
            mechanism.prior(probe.to(mechanism.device)).cpu(),
        ):
            raise InterventionError(
                f"do[{variable.name!r}] replaces a {type(own).__name__} by a "
                f"{type(mechanism).__name__}, which answers to noise of another distribution; the "
                f"variable keeps its noise, so both must share one"
            )
        return cls(variable, mechanism)

    def assign(self, x: Tensor, u: Tensor | None, pa: Parents) -> Tensor:
        """Returns what the other mechanism says where its inputs are known, `x` elsewhere."""
        assert u is not None
        return predict_known(self.mechanism, u, pa, otherwise=x)

    def wanted(self, x: Tensor) -> Tensor:
        """Returns NaN: no value is asked for."""
        return torch.full_like(x, torch.nan)

    @property
    def is_summable(self) -> bool:
        """No: how the two mechanisms' values go together is not tabulated."""
        return False


def world_of(mechanisms: Mechanisms, settings: Mapping[str, Setting]) -> Mechanisms:
    """Returns the mechanisms of the world that is set, causes before effects.

    A replaced mechanism may read what the old one did not, so the order may be another one.

    Raises:
        InterventionError: If a variable would cause itself.
    """
    replaced = {v: new.mechanism for v, new in settings.items() if isinstance(new, Replaced)}
    if not replaced:
        return mechanisms
    world = {**mechanisms, **replaced}
    causes = {name: [p.name for p in mechanism.parents] for name, mechanism in world.items()}
    try:
        return {name: world[name] for name in TopologicalSorter(causes).static_order()}
    except CycleError as error:
        raise InterventionError(
            f"do replaces the mechanism of {summarise(replaced)} so that a variable causes "
            f"itself: {' -> '.join(error.args[1])}"
        ) from error


def outside_bounds(variable: Variable, values: Tensor) -> Tensor:
    """Returns which values leave the variable's bounds."""
    if variable.bounds is None:
        return torch.zeros_like(values, dtype=torch.bool)
    low, high = variable.bounds
    return (values < low) | (values > high)


def on_grid(variable: Variable, values: Tensor) -> Tensor:
    """Returns values clipped at the variable's bounds, the nearest that its resolution records."""
    if variable.bounds is None:
        return values
    low, high = variable.bounds
    step = variable.resolution
    if step is not None:
        values = low + ((values - low) / step).round() * step
        high = low + math.floor((high - low) / step + 1e-9) * step
    return values.clamp(low, high)


def refuse_outside(variable: Variable, values: Tensor, index: pd.Index) -> None:
    """Refuses values (rows, ...) that leave the variable's bounds.

    Raises:
        InterventionError: Names the rows, of which the labels (rows,) are `index`.
    """
    outside = outside_bounds(variable, values)
    if bool(outside.any()):
        rows = np.flatnonzero(outside.reshape(len(values), -1).any(1).cpu().numpy())
        raise leaves_bounds(variable, index[rows], values[outside][0].item())


def leaves_bounds(variable: Variable, index: pd.Index, worst: float) -> InterventionError:
    """Returns the error for an intervention that leaves the bounds in the given rows."""
    return InterventionError(
        f"do takes {variable.name!r} out of bounds in {len(index)} row(s), {summarise(index)}: "
        f"{worst:g} in row {plain(index[0])!r}. Allowed: {allowed_values(variable)}; clip=True "
        f"clips it there"
    )
