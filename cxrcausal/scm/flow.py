r"""Monotone maps of one number, and a continuous variable that is one.

An exogenous :math:`\varepsilon \sim N(0, 1)` is carried to a standardised value :math:`y` by a
conditional continuous-time flow

.. math:: \frac{dy}{d\tau} = v(y, \tau; \mathrm{pa}), \qquad y(0) = \varepsilon, \quad y(1) = y .

In one dimension trajectories cannot cross, so :math:`T(\varepsilon; \mathrm{pa}) = y(1)` is strictly
increasing: it is the conditional quantile map, the optimal-transport map, and the only monotone
counterfactual transport. The velocity is linear plus a sum of bumps in its slope, with coefficients
from the parents; its slope is bounded by construction, and the Runge-Kutta step is short enough
against that bound for the *computed* map to be strictly increasing too, not only the exact one.

The likelihood needs the inverse, so the inverse, computed backwards, is what defines the map; the
forward map is solved for it by Newton steps inside a bracket, started from the forward solution.

References:
    | Neural Ordinary Differential Equations
    | (Chen et al., 2018), https://arxiv.org/abs/1806.07366
    | Counterfactual Identifiability via Dynamic Optimal Transport
    | (De Sousa Ribeiro et al., 2025), https://arxiv.org/abs/2510.08294
"""

import abc
import logging
import math
from collections.abc import Callable
from typing import Any, cast, final

import torch
from torch import Tensor, nn

__all__ = ["ContinuousFlow", "MonotoneFlow", "solve_increasing"]

logger = logging.getLogger("cxrcausal")

_SAFE_STEP = 0.5  # slope bound times step; the 3/8-rule map provably ascends up to 0.59


class MonotoneFlow(nn.Module, abc.ABC):
    r"""A strictly increasing map :math:`y = T(\varepsilon)` with coefficients for each row.

    All-zero coefficients are the identity. `outputs` is the number of coefficients; in every method
    they come as (*batch, outputs) and broadcast against the numbers (*batch).
    """

    outputs: int

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
        r"""Returns :math:`y = T(\varepsilon)` (*batch), by the ODE and Newton steps on the inverse."""
        eps = _broadcast(eps, theta)
        guess = self._solve(self._velocity(theta, slope=False), eps, (0.0, 1.0))
        if not exact:
            return guess
        return solve_increasing(lambda y: self.inverse_and_log_slope(y, theta), eps, guess)

    def _solve(self, velocity: Callable, state: Tensor, span: tuple[float, float]) -> Tensor:
        """Integrates over flow time in `steps` equal steps of the fourth-order 3/8 rule."""
        options = {"step_size": 1 / self.steps}
        from torchdiffeq import odeint  # half a second, for those who solve

        path = odeint(velocity, state, state.new_tensor(span), method="rk4", options=options)
        return cast(Tensor, path)[-1]

    def _velocity(self, theta: Tensor, *, slope: bool) -> Callable[[Tensor, Tensor], Tensor]:
        """Returns dy/dτ as a function of (τ, y); with `slope`, of y and its tangent stacked."""
        w = self.log_sharpness.exp()
        a0, a1 = theta[..., 0], theta[..., 1]
        s0, s1, c0, c1 = theta[..., 2:].unflatten(-1, (4, self.bumps)).unbind(-2)
        shift0 = s0 - w * self.centres
        worst = torch.maximum(c0.abs(), (c0 + c1).abs())
        total = a1.abs() + (worst * w).sum(-1) + 1e-12
        bound = self.steepest * torch.tanh(total / self.steepest) / total
        a1, c0, c1 = a1 * bound, c0 * bound[..., None], c1 * bound[..., None]

        def velocity(time: Tensor, state: Tensor) -> Tensor:
            y = state[0] if slope else state
            height = c0 + time * c1
            wave = torch.tanh(w * y[..., None] + (shift0 + time * s1))
            value = a0 + a1 * y + (height * wave).sum(-1)
            if not slope:
                return value
            steepness = a1 + (height * w * (1 - wave * wave)).sum(-1)
            return torch.stack((value, steepness * state[1]))

        return velocity


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
