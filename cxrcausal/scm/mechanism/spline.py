r"""A monotone rational-quadratic spline of one number, on zuko.

.. math:: \varepsilon = S\big((y - a_0) \, e^{-a_1}\big)

where the location :math:`a_0`, the log-scale :math:`a_1` and the knots of :math:`S` come from the
parents; outside ±6 the spline is the identity, so the tails are affine. One network call and no
solver: the fast alternative to the continuous-time flow behind the same interface.

References:
    | Neural Spline Flows
    | (Durkan et al., 2019), https://arxiv.org/abs/1906.04032
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast, final

import torch
from torch import Tensor

from cxrcausal.scm.mechanism.flow import (
    ContinuousFlow,
    LocatedFlow,
    MonotoneFlow,
    solve_increasing,
)

if TYPE_CHECKING:
    from zuko.transforms import MonotonicRQSTransform

__all__ = ["SplineFlow", "flow_from_config"]

_BOUND = 6.0
_MOST_LOG_SCALE = 6.0


@final
class SplineFlow(MonotoneFlow):
    """A conditional affine map followed by a rational-quadratic spline.

    Arguments:
        bins: The number of bins between −6 and 6.
    """

    is_located = True

    def __init__(self, bins: int = 16) -> None:
        super().__init__()
        self.bins = bins
        self.outputs = 2 + 3 * bins - 1

    def config(self) -> dict[str, Any]:
        """Returns what `flow_from_config` builds it again from, as JSON."""
        return {"family": "nsf", "bins": self.bins}

    def inverse_map(self, y: Tensor, theta: Tensor) -> Tensor:
        r"""Returns :math:`\varepsilon = T^{-1}(y)` (*batch)."""
        spline, a0, a1 = self._pieces(theta)
        return cast(Tensor, spline((y - a0) * torch.exp(-a1)))

    def inverse_and_log_slope(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        r"""Returns :math:`T^{-1}(y)` and :math:`\log dT^{-1}/dy`, both (*batch)."""
        spline, a0, a1 = self._pieces(theta)
        eps, log_slope = spline.call_and_ladj((y - a0) * torch.exp(-a1))
        return eps, log_slope - a1

    def forward_map(self, eps: Tensor, theta: Tensor, *, exact: bool = True) -> Tensor:
        r"""Returns :math:`y = T(\varepsilon)` (*batch), in closed form and then polished."""
        spline, a0, a1 = self._pieces(theta)
        guess = a0 + torch.exp(a1) * cast(Tensor, spline.inv(eps))
        if not exact:
            return guess
        eps = eps.expand(guess.shape)
        return solve_increasing(lambda y: self.inverse_and_log_slope(y, theta), eps, guess)

    def _pieces(self, theta: Tensor) -> tuple["MonotonicRQSTransform", Tensor, Tensor]:
        """Returns the spline, the location and the bounded log-scale of coefficients."""
        a0, a1 = theta[..., 0], theta[..., 1]
        widths, heights, slopes = theta[..., 2:].split((self.bins, self.bins, self.bins - 1), -1)
        from zuko.transforms import MonotonicRQSTransform  # a second, for those who have splines

        spline = MonotonicRQSTransform(widths, heights, slopes, bound=_BOUND)
        return spline, a0, _MOST_LOG_SCALE * torch.tanh(a1 / _MOST_LOG_SCALE)


def flow_from_config(config: Mapping[str, Any]) -> MonotoneFlow:
    """Builds the flow of any family that its `config` describes."""
    if config["family"] == "nsf":
        return SplineFlow(config["bins"])
    if config["family"] == "located cnf":
        return LocatedFlow(config["bumps"], config["steepest"])
    return ContinuousFlow(config["bumps"], config["steepest"])
