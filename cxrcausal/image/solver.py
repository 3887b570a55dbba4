r"""The flow, run in both directions on one time grid.

Prediction integrates :math:`dx/dt = v(x, t)` from noise (t = 0) to image (t = 1), abduction
backward. Both walk the same grid, dense near the image end where the velocity changes fastest:
:math:`t_i = 1 - (1 - i/n)^\gamma`.

References:
    | Solving Ordinary Differential Equations I
    | (Hairer, Nørsett and Wanner, 1993), sections II.1 and III.1
    | torchdiffeq (Chen, 2018), https://github.com/rtqichen/torchdiffeq
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal, final, get_args

import torch
from torch import Tensor

from cxrcausal.errors import RecipeError, nearest, summarise

__all__ = ["Field", "Method", "Solver"]

Field = Callable[[Tensor, Tensor], Tensor]
"""A velocity field: state and a scalar time give a velocity of the state's shape."""

Method = Literal["euler", "midpoint", "heun", "rk4", "adams", "dopri5"]

_EVALUATIONS = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}


@final
@dataclass(frozen=True)
class Solver:
    """How the flow's equation is solved.

    Arguments:
        method: `euler`, `midpoint`, `heun`, `rk4` (fixed steps of order 1, 2, 2, 4), `adams`
            (two-step Adams-Bashforth with variable steps, order 2, one evaluation per step, its
            first step by Heun), or `dopri5` (adaptive, by torchdiffeq).
        num_steps: The number of steps of a fixed-step method.
        density: The exponent γ of the grid; 1 is uniform, above 1 is dense near the image.
        tolerance: The relative and absolute tolerance of `dopri5`.

    Raises:
        RecipeError: If the method is unknown, or a number is not one or not positive.
    """

    method: Method = "heun"
    num_steps: int = 12
    density: float = 1.7
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise RecipeError(
                f"solver method {self.method!r} is "
                f"unknown{nearest(self.method, get_args(Method)) or '.'} Allowed: "
                f"{summarise(get_args(Method), 9)}"
            )
        steps = self.num_steps
        if not isinstance(steps, Integral) or isinstance(steps, bool) or steps < 1:
            raise RecipeError(f"num_steps {steps!r} must be a whole number, at least 1")
        for name in ("density", "tolerance"):
            number = getattr(self, name)
            if not isinstance(number, Real) or not 0 < number < math.inf:
                raise RecipeError(f"{name} {number!r} must be a positive, finite number")
            object.__setattr__(self, name, float(number))
        object.__setattr__(self, "num_steps", int(steps))  # provenance is JSON: no numpy numbers

    @property
    def evaluations(self) -> int | None:
        """Velocity evaluations in one direction; None where the method adapts."""
        if self.method == "adams":
            return self.num_steps + 1
        per_step = _EVALUATIONS.get(self.method)
        return None if per_step is None else per_step * self.num_steps

    def grid(self) -> Tensor:
        """Returns the times (num_steps + 1,) from 0 to 1, float64."""
        s = torch.linspace(0, 1, self.num_steps + 1, dtype=torch.float64)
        return 1 - (1 - s) ** self.density

    def integrate(self, field: Field, x: Tensor, *, backward: bool = False) -> Tensor:
        """Returns the state at the other end: the image from noise, or the noise if `backward`.

        Arguments:
            field: The velocity.
            x: The state at the start.
            backward: Whether to walk from t = 1 to t = 0.
        """
        times = self.grid().to(x.device)
        if backward:
            times = times.flip(0)
        if self.method == "dopri5":
            from torchdiffeq import odeint

            ends = times[[0, -1]].to(x.dtype)
            path = odeint(
                lambda t, y: field(y, t), x, ends, rtol=self.tolerance, atol=self.tolerance
            )
            return path[-1]
        times = times.to(x.dtype)
        if self.method == "adams":
            return _adams(field, x, times)
        step = {"euler": _euler, "midpoint": _midpoint, "heun": _heun, "rk4": _rk4}[self.method]
        for start, end in itertools.pairwise(times):
            x = step(field, x, start, end)
        return x


def _euler(field: Field, x: Tensor, start: Tensor, end: Tensor) -> Tensor:
    return x + (end - start) * field(x, start)


def _midpoint(field: Field, x: Tensor, start: Tensor, end: Tensor) -> Tensor:
    h = end - start
    return x + h * field(x + h / 2 * field(x, start), start + h / 2)


def _heun(field: Field, x: Tensor, start: Tensor, end: Tensor) -> Tensor:
    h = end - start
    first = field(x, start)
    return x + h / 2 * (first + field(x + h * first, end))


def _rk4(field: Field, x: Tensor, start: Tensor, end: Tensor) -> Tensor:
    h = end - start
    middle = start + h / 2
    k1 = field(x, start)
    k2 = field(x + h / 2 * k1, middle)
    k3 = field(x + h / 2 * k2, middle)
    k4 = field(x + h * k3, end)
    return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def _adams(field: Field, x: Tensor, times: Tensor) -> Tensor:
    """Two-step Adams-Bashforth on unequal steps: half the evaluations of Heun per step."""
    h = times[1] - times[0]
    previous = field(x, times[0])
    x = x + h / 2 * (previous + field(x + h * previous, times[1]))
    for i in range(1, len(times) - 1):
        last, h = h, times[i + 1] - times[i]
        slope = field(x, times[i])
        x = x + h * (slope + h / (2 * last) * (slope - previous))
        previous = slope
    return x
