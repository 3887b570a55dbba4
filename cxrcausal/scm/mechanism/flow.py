r"""Monotone maps of one number, and a continuous variable that is one.

An exogenous :math:`\varepsilon \sim N(0, 1)` is carried to a standardised value :math:`y` by a
conditional continuous-time flow

.. math:: \frac{dy}{d\tau} = v(y, \tau; \mathrm{pa}), \qquad y(0) = \varepsilon, \quad y(1) = y .

In one dimension trajectories cannot cross, so :math:`T(\varepsilon; \mathrm{pa}) = y(1)` is
strictly increasing: it is the conditional quantile map, the optimal-transport map, and the only
monotone counterfactual transport. The velocity is linear plus a sum of bumps in its slope, with
coefficients from the parents; its slope is bounded by construction, and the Runge-Kutta step is
short enough against that bound for the *computed* map to be strictly increasing too, not only the
exact one.

The likelihood needs the inverse, so the inverse, computed backwards, is what defines the map; the
forward map is solved for it by Newton steps inside a bracket, started from the forward solution.

References:
    | Neural Ordinary Differential Equations
    | (Chen et al., 2018), https://arxiv.org/abs/1806.07366
    | Counterfactual Identifiability via Dynamic Optimal Transport
    | (De Sousa Ribeiro et al., 2025), https://arxiv.org/abs/2510.08294
"""

import abc
import contextlib
import logging
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

__all__ = ["ContinuousFlow", "LocatedFlow", "MonotoneFlow", "solve_increasing"]

logger = logging.getLogger("cxrcausal")

_MOST_LOG_SCALE = 12.0  # of a residual against the variable's own spread
_END = 12.0  # where a table of the flow ends; its bumps lie well within
_NODES = 64  # of the table, for each bump
_SAFE_STEP = 0.5  # slope bound times step; the 3/8-rule map provably ascends up to 0.59


class MonotoneFlow(nn.Module, abc.ABC):
    r"""A strictly increasing map :math:`y = T(\varepsilon)` with coefficients for each row.

    All-zero coefficients are the identity. `outputs` is the number of coefficients; in every
    method they come as (*batch, outputs) and broadcast against the numbers (*batch).
    """

    outputs: int
    is_located: bool = False
    """Whether the first two coefficients are location and log-scale, and the others the shape."""

    @abc.abstractmethod
    def inverse_and_log_slope(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        r"""Returns :math:`T^{-1}(y)` and :math:`\log dT^{-1}/dy`, both (*batch)."""

    @abc.abstractmethod
    def inverse_map(self, y: Tensor, theta: Tensor) -> Tensor:
        r"""Returns :math:`\varepsilon = T^{-1}(y)` (*batch)."""

    @abc.abstractmethod
    def forward_map(self, eps: Tensor, theta: Tensor, *, exact: bool = True) -> Tensor:
        r"""Returns :math:`y = T(\varepsilon)` (*batch).

        Arguments:
            eps: Exogenous numbers (*batch).
            theta: Coefficients (*batch, outputs).
            exact: Whether to agree with `inverse_map` to rounding; otherwise a guess will do.
        """

    @abc.abstractmethod
    def config(self) -> dict[str, Any]:
        """Returns what `flow_from_config` builds it again from, as JSON."""

    @contextlib.contextmanager
    def solved(self, how: "Solution") -> Iterator[None]:
        """Has the map solved in another way within a block; a flow in closed form has only one."""
        yield


Solution = Literal["rows", "table", "none"]
"""How a flow is solved while it is fitted: for every row; once for all rows, which share the shape
of the first, in a table; or not at all, the shape being the identity."""


@final
class ContinuousFlow(MonotoneFlow):
    r"""A conditional continuous-time flow of one number, with a bounded slope.

    .. math:: v(y, \tau) = a_0 + a_1 y + \sum_j c_j(\tau)
              \tanh\!\big(w_j (y - m_j) + s_j(\tau)\big)

    where :math:`a_0, a_1` and the ends of the lines :math:`c_j(\tau), s_j(\tau)` come from the
    parents and :math:`m_j, w_j` are shared. The slope of :math:`v` stays within ±`steepest`, so
    that the map's own slope lies in :math:`e^{\pm\mathrm{steepest}}`; its tails are affine.

    Arguments:
        bumps: The number of hyperbolic tangents.
        steepest: The bound on the velocity's slope; the solver takes twice as many steps.
    """

    def __init__(self, bumps: int = 8, steepest: float = 4.0) -> None:
        super().__init__()
        self.bumps = bumps
        self.steepest = steepest
        self.steps = math.ceil(steepest / _SAFE_STEP)
        self.outputs = 2 + 4 * bumps
        centres = torch.linspace(-3.0, 3.0, bumps, dtype=torch.float64)
        self.centres = nn.Parameter(centres)
        width = 6.0 / max(bumps - 1, 1)
        sharpness = torch.full((bumps,), math.log(max(1.0, 0.8 / width)), dtype=torch.float64)
        self.log_sharpness = nn.Parameter(sharpness)

    def config(self) -> dict[str, Any]:
        """Returns what `flow_from_config` builds it again from, as JSON."""
        return {"family": "cnf", "bumps": self.bumps, "steepest": self.steepest}

    def inverse_map(self, y: Tensor, theta: Tensor) -> Tensor:
        r"""Returns :math:`\varepsilon = T^{-1}(y)` (*batch), by the ODE run backwards."""
        velocity = self._velocity(theta, slope=False)
        return self._solve(velocity, _broadcast(y, theta), (1.0, 0.0))

    def inverse_and_log_slope(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        r"""Returns :math:`T^{-1}(y)` and :math:`\log dT^{-1}/dy`, both (*batch).

        The tangent is carried along by the same steps, so it is the derivative of the computed
        map, and the density integrates to one.
        """
        y = _broadcast(y, theta)
        both = torch.stack((y, torch.ones_like(y)))
        eps, tangent = self._solve(self._velocity(theta, slope=True), both, (1.0, 0.0))
        return eps, tangent.log()

    def forward_map(self, eps: Tensor, theta: Tensor, *, exact: bool = True) -> Tensor:
        r"""Returns :math:`y = T(\varepsilon)` (*batch): the ODE, then Newton on the inverse."""
        eps = _broadcast(eps, theta)
        guess = self._solve(self._velocity(theta, slope=False), eps, (0.0, 1.0))
        if not exact:
            return guess
        return solve_increasing(lambda y: self.inverse_and_log_slope(y, theta), eps, guess)

    def _solve(
        self,
        velocity: Callable[[float, Tensor], Tensor],
        state: Tensor,
        span: tuple[float, float],
    ) -> Tensor:
        """Integrates over flow time in `steps` equal steps of the fourth-order 3/8 rule.

        Written out, since torchdiffeq's steps agree to rounding and cost up to 1.4 times as much
        for few rows (`benchmarks/solver_choice.py --numbers`).
        """
        start, end = span
        h = (end - start) / self.steps
        for i in range(self.steps):
            t = start + i * h
            k1 = velocity(t, state)
            k2 = velocity(t + h / 3, state + h * k1 / 3)
            k3 = velocity(t + 2 * h / 3, state + h * (k2 - k1 / 3))
            k4 = velocity(t + h, state + h * (k1 - k2 + k3))
            state = state + (k1 + 3 * (k2 + k3) + k4) * (h / 8)
        return state

    def _velocity(self, theta: Tensor, *, slope: bool) -> Callable[[float, Tensor], Tensor]:
        """Returns dy/dτ as a function of (τ, y); with `slope`, of y and its tangent stacked."""
        w = self.log_sharpness.exp()
        a0, a1 = theta[..., 0], theta[..., 1]
        s0, s1, c0, c1 = theta[..., 2:].unflatten(-1, (4, self.bumps)).unbind(-2)
        shift0 = s0 - w * self.centres
        worst = torch.maximum(c0.abs(), (c0 + c1).abs())
        total = a1.abs() + (worst * w).sum(-1) + 1e-12
        bound = self.steepest * torch.tanh(total / self.steepest) / total
        a1, c0, c1 = a1 * bound, c0 * bound[..., None], c1 * bound[..., None]

        def velocity(time: float, state: Tensor) -> Tensor:
            y = state[0] if slope else state
            height = c0 + time * c1
            wave = torch.tanh(w * y[..., None] + (shift0 + time * s1))
            value = a0 + a1 * y + (height * wave).sum(-1)
            if not slope:
                return value
            steepness = a1 + (height * w * (1 - wave * wave)).sum(-1)
            return torch.stack((value, steepness * state[1]))

        return velocity


@final
class LocatedFlow(MonotoneFlow):
    r"""A continuous-time flow of the noise, then a location and a scale in closed form.

    .. math:: y = \mu + e^{\varsigma} \, S(\varepsilon)

    The linear part of the velocity is solved by hand: location :math:`\mu` and log-scale
    :math:`\varsigma` are the first two coefficients, and the flow :math:`S` keeps the bumps. With
    the bumps at zero it is the regression with normal noise, however steep, and no equation is
    solved. Where the bumps are the same in every row, one table of :math:`S^{-1}` serves all rows
    of a fit.

    Arguments:
        bumps: The number of hyperbolic tangents of :math:`S`.
        steepest: The bound on the slope of its velocity.
    """

    is_located = True

    def __init__(self, bumps: int = 8, steepest: float = 4.0) -> None:
        super().__init__()
        self.shape = ContinuousFlow(bumps, steepest)
        self.outputs = self.shape.outputs
        self._how: Solution = "rows"

    def config(self) -> dict[str, Any]:
        """Returns what `flow_from_config` builds it again from, as JSON."""
        return {**self.shape.config(), "family": "located cnf"}

    @contextlib.contextmanager
    def solved(self, how: Solution) -> Iterator[None]:
        """Has :math:`S` solved in another way within a block."""
        before, self._how = self._how, how
        try:
            yield
        finally:
            self._how = before

    def inverse_map(self, y: Tensor, theta: Tensor) -> Tensor:
        r"""Returns :math:`\varepsilon = T^{-1}(y)` (*batch)."""
        location, log_scale, bumps = self._pieces(theta)
        z = (y - location) * torch.exp(-log_scale)
        if bumps is None:
            return z
        if self._how == "table":
            return self._from_table(z, bumps)[0]
        return self.shape.inverse_map(z, bumps)

    def inverse_and_log_slope(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        r"""Returns :math:`T^{-1}(y)` and :math:`\log dT^{-1}/dy`, both (*batch)."""
        location, log_scale, bumps = self._pieces(theta)
        z = (y - location) * torch.exp(-log_scale)
        if bumps is None:
            return z, (-log_scale).expand(z.shape)
        if self._how == "table":
            eps, slope = self._from_table(z, bumps)
            return eps, slope.log() - log_scale
        eps, log_slope = self.shape.inverse_and_log_slope(z, bumps)
        return eps, log_slope - log_scale

    def forward_map(self, eps: Tensor, theta: Tensor, *, exact: bool = True) -> Tensor:
        r"""Returns :math:`y = T(\varepsilon)` (*batch)."""
        location, log_scale, bumps = self._pieces(theta)
        z = eps if bumps is None else self.shape.forward_map(eps, bumps, exact=exact)
        return location + torch.exp(log_scale) * z

    def _pieces(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Returns location, bounded log-scale, and the shape's coefficients if not normal."""
        location, log_scale = theta[..., 0], theta[..., 1]
        log_scale = _MOST_LOG_SCALE * torch.tanh(log_scale / _MOST_LOG_SCALE)
        bumps = theta[..., 2:]
        if self._how == "none" or (self._how == "rows" and not bool(bumps.any())):
            if not (self._how == "rows" and bumps.requires_grad):
                return location, log_scale, None
        return location, log_scale, nn.functional.pad(bumps, (2, 0))

    def _from_table(self, z: Tensor, bumps: Tensor) -> tuple[Tensor, Tensor]:
        """Returns S⁻¹ of the first row's shape and its slope (*batch), interpolated between nodes.

        Cubic Hermite between nodes where value and slope are solved, straight lines beyond: the
        slope is the derivative of the interpolant, so that its density integrates to one.
        """
        first = bumps.flatten(0, -2)[0]
        cells = _NODES * self.shape.bumps
        nodes = torch.linspace(-_END, _END, cells + 1, dtype=z.dtype, device=z.device)
        value, log_slope = self.shape.inverse_and_log_slope(nodes, first)
        width = 2 * _END / cells
        slope = log_slope.exp() * width
        inside = z.clamp(-_END, _END)
        at = ((inside + _END) / width).to(torch.int64).clamp(max=cells - 1)
        t = (inside - nodes[at]) / width
        rise, a, b = value[at + 1] - value[at], slope[at], slope[at + 1]
        bend, twist = 3 * rise - 2 * a - b, a + b - 2 * rise
        eps = value[at] + t * (a + t * (bend + t * twist))
        steepness = (a + t * (2 * bend + 3 * t * twist)) / width
        return eps + steepness * (z - inside), steepness.clamp(min=1e-12)


def solve_increasing(
    function: Callable[[Tensor], tuple[Tensor, Tensor]],
    target: Tensor,
    guess: Tensor,
    tolerance: float = 1e-13,
    most: int = 100,
) -> Tensor:
    """Solves f(y) = target for a strictly increasing f, by Newton steps inside a bracket.

    Arguments:
        function: Returns f(y) and log f'(y), elementwise.
        target: What f should be (*batch).
        guess: Where to start (*batch).
        tolerance: The largest error in f, relative to 1 + |target|.
        most: The most evaluations.

    Returns:
        The solution (*batch): where f is within the tolerance, or as near as rounding lets it
        come. A warning says how many are neither after `most` evaluations.
    """
    y = guess
    low, high = torch.full_like(y, -torch.inf), torch.full_like(y, torch.inf)
    best, least = y, torch.full_like(y, torch.inf)
    for _ in range(most):
        value, log_slope = function(y)
        error = value - target
        better = error.abs() < least
        best, least = torch.where(better, y, best), torch.where(better, error.abs(), least)
        if (least <= tolerance * (1 + target.abs())).all():
            break
        low, high = torch.where(error < 0, y, low), torch.where(error > 0, y, high)
        newton = y - error * torch.exp(-log_slope)
        inside = (newton > low) & (newton < high)
        halfway = torch.where(
            low.isinf(), high - 1, torch.where(high.isinf(), low + 1, (low + high) / 2)
        )
        following = torch.where(inside, newton, halfway)
        if torch.equal(following, y):
            break
        y = following
    else:
        missed = ~(least <= tolerance * (1 + target.abs()))
        if bool(missed.any()):
            logger.warning(
                "a monotone map was not solved in %d of %d places after %d evaluations; the "
                "largest error left is %.1e",
                int(missed.sum()),
                missed.numel(),
                most,
                float(least[missed].max()),
            )
    return best


def _broadcast(numbers: Tensor, theta: Tensor) -> Tensor:
    """Returns the numbers expanded to the batch that they share with the coefficients."""
    return numbers.expand(torch.broadcast_shapes(numbers.shape, theta.shape[:-1]))
