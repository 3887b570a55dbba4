r"""A continuous variable recorded exactly: one monotone flow, abducted to a point.

The value is standardised by a fixed map, affine for a variable without bounds and the logit of its
position between them for one with bounds, so that no noise and no intervention on a parent can
lead outside. The standardised value is a monotone flow of one standard normal, with coefficients
from the parents; its inverse is the exogenous noise, and its slope the density.

References:
    | Deep Structural Causal Models for Tractable Counterfactual Inference
    | (Pawlowski et al., 2020), https://arxiv.org/abs/2006.06485
"""

import math
from collections.abc import Mapping
from typing import Any, NoReturn, final

import torch
from torch import Tensor

from cxrcausal.graph.variable import Variable
from cxrcausal.scm.mechanism.base import Parents
from cxrcausal.scm.mechanism.conditioner import Conditioner
from cxrcausal.scm.mechanism.configuration import Configurations, TableCache
from cxrcausal.scm.mechanism.flow import MonotoneFlow
from cxrcausal.scm.mechanism.normal import normal_noise
from cxrcausal.scm.mechanism.regression import Regression
from cxrcausal.scm.mechanism.spline import flow_from_config

__all__ = ["FlowMechanism"]

_INSIDE = 1e-9  # a value on a bound is read as this share of the range inside it


@final
class FlowMechanism(Regression):
    r"""A continuum: :math:`x = g(T(\varepsilon; \mathrm{pa}))` with a fixed increasing :math:`g`.

    Arguments:
        variable: A continuous variable without a resolution.
        parents: The variables that the mechanism reads.
        flow: The flow :math:`T`, whose coefficients the parents give.
        hidden: The widths of the residual network's hidden layers.
        knots: The number of knots of the splines of continuous parents, see `features`.
    """

    location: Tensor
    scale: Tensor

    def __init__(
        self,
        variable: Variable,
        parents: tuple[Variable, ...],
        flow: MonotoneFlow,
        hidden: tuple[int, ...] = (),
        knots: int = 6,
    ) -> None:
        super().__init__(variable, parents)
        self.flow = flow
        self.conditioner = Conditioner(parents, flow.outputs, hidden, knots)
        self.register_buffer("location", torch.zeros((), dtype=torch.float64))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        self._tables = TableCache()

    def config(self) -> dict[str, Any]:
        """Returns what `from_config` builds it again from, as JSON."""
        network = {"hidden": list(self.conditioner.hidden), "knots": self.conditioner.knots}
        return {**network, "flow": self.flow.config()}

    @classmethod
    def from_config(
        cls, variable: Variable, parents: tuple[Variable, ...], config: Mapping[str, Any]
    ) -> "FlowMechanism":
        """Builds the mechanism that `config` describes, its weights still to be loaded."""
        flow = flow_from_config(config["flow"])
        return cls(variable, parents, flow, tuple(config["hidden"]), config.get("knots", 6))

    def start_at(self, x: Tensor, weights: Tensor, possible: Tensor | None = None) -> None:
        """Sets the standardisation from values (cells,) and how often each occurs (cells,)."""
        share = weights / weights.sum()
        free, _ = self._free(x)
        self.location.copy_(share @ free)
        spread = (share @ (free - self.location).square()).sqrt()
        self.scale.copy_(spread if spread > 0 else torch.ones(()))

    @property
    def noise_size(self) -> int:
        """How many exogenous numbers a row needs: one."""
        return 1

    @property
    def support(self) -> None:
        """None: the values are a continuum."""
        return None

    @property
    def map(self) -> MonotoneFlow:
        """The flow, from the noise to standardised values."""
        return self.flow

    def score(self, x: Tensor) -> Tensor:
        """Returns standardised values (rows,), on which a regression may start."""
        return self._standardise(x)[0]

    def log_prob_given(self, x: Tensor, theta: Tensor) -> Tensor:
        """Returns log-densities (rows,) of values (rows,) under coefficients (rows, outputs)."""
        y, log_slope = self._standardise(x)
        eps, log_steepness = self.flow.inverse_and_log_slope(y, theta)
        return log_steepness + log_slope - 0.5 * (eps.square() + math.log(2 * math.pi))

    def log_prob(self, x: Tensor, pa: Parents) -> Tensor:
        r"""Returns :math:`\log p(x \mid \mathrm{pa})`, the density per unit of the variable."""
        theta = self._coefficients(pa)
        x, _ = torch.broadcast_tensors(x, theta[..., 0])
        return self.log_prob_given(x, theta)

    def log_probs(self, pa: Parents) -> NoReturn:
        """Raises TypeError: the values are a continuum."""
        raise TypeError(f"{self.variable.name!r} is a continuum: it has no list of values")

    def prior(self, uniform: Tensor) -> Tensor:
        """Returns standard normal noise (*batch, 1) from uniforms of that shape."""
        return normal_noise(uniform)

    def predict(self, u: Tensor, pa: Parents) -> Tensor:
        """Returns the value (*batch) that the noise (*batch, 1) stands for."""
        with torch.no_grad():
            y = self.flow.forward_map(u.squeeze(-1), self._coefficients(pa))
        free = self.location + self.scale * y
        if self.variable.bounds is None:
            return free
        low, high = self.variable.bounds
        return low + (high - low) * torch.sigmoid(free)

    def abduct(self, x: Tensor, pa: Parents, uniform: Tensor) -> Tensor:
        r"""Returns the one noise (*batch, 1) that gives `x`; `uniform` is not needed."""
        y, _ = self._standardise(x)
        return self.flow.inverse_map(y, self._coefficients(pa)).unsqueeze(-1)

    def transition(self, x: Tensor, pa: Parents, pa_star: Parents) -> NoReturn:
        """Raises TypeError: the values are a continuum."""
        raise TypeError(f"{self.variable.name!r} is a continuum: it has no table of transitions")

    def _coefficients(self, pa: Parents) -> Tensor:
        """Returns the flow's coefficients (*batch, outputs)."""
        configurations = Configurations.of(self.parents, pa, self.location.device)
        return self._tables.get(self, configurations, "theta", lambda theta: theta)[
            configurations.index
        ]

    def _standardise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns standardised values (*batch) and the log-slope of standardising them."""
        free, log_slope = self._free(x)
        return (free - self.location) / self.scale, log_slope - self.scale.log()

    def _free(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns values (*batch) that no bound limits, and the log-slope of freeing them."""
        if self.variable.bounds is None:
            return x, torch.zeros_like(x)
        low, high = self.variable.bounds
        share = ((x - low) / (high - low)).clamp(_INSIDE, 1 - _INSIDE)
        log_slope = -(share.log() + (-share).log1p()) - math.log(high - low)
        return torch.logit(share), log_slope
