r"""Where the edges of an ordered variable with levels come from.

Only the pre-images of the level boundaries matter, an increasing sequence for each parent
configuration. `DirectEdges` takes that sequence as it is from a network of the parents;
`FlowEdges` carries fixed cuts back through a monotone flow. Both are exact, and with the same
edges they give the same likelihood and the same counterfactuals.
"""

import abc
from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from cxrcausal.graph.variable import Variable
from cxrcausal.scm.mechanism.conditioner import Conditioner
from cxrcausal.scm.mechanism.flow import MonotoneFlow
from cxrcausal.scm.mechanism.normal import log_interval
from cxrcausal.scm.mechanism.spline import flow_from_config

__all__ = ["DirectEdges", "EdgeSource", "FlowEdges", "edges_from_config"]

_MOST_LOGIT = 600.0  # a level of probability e^-600 still has a finite edge in float64
_LEAST_SHARE = (
    1e-10  # what every one of three or more levels keeps, so that it can be drawn inside
)


class EdgeSource(nn.Module, abc.ABC):
    """Where the edges come from: coefficients of the parents to ascending edges of the noise."""

    conditioner: Conditioner
    levels: int
    margin: float = 1e-11
    is_pointwise: bool = False
    """Whether it can tell a row's own ends (`ends`, `locate`) without all of the row's edges."""

    @property
    def map(self) -> MonotoneFlow | None:
        """The flow behind the edges; None if they come from none."""
        return None

    @abc.abstractmethod
    def edges(self, theta: Tensor) -> Tensor:
        """Returns ascending edges (rows, levels − 1) of coefficients (rows, outputs)."""

    @abc.abstractmethod
    def start_at(self, counts: Tensor, possible: Tensor | None = None) -> None:
        """Makes all-zero coefficients mean the shares (levels,) of the fit.

        Arguments:
            counts: How often each level (levels,) occurs; half a row is added to those that may.
            possible: Which levels (levels,) may occur at all; every one if None. What the fit
                never observed is not to be drawn.
        """

    @abc.abstractmethod
    def config(self) -> dict[str, Any]:
        """Returns what builds it again, as JSON."""

    def padded(self, theta: Tensor) -> Tensor:
        """Returns edges with their infinite ends (rows, levels + 1)."""
        return nn.functional.pad(
            nn.functional.pad(self.edges(theta), (1, 0), value=-torch.inf), (0, 1), value=torch.inf
        )

    def log_masses(self, theta: Tensor) -> Tensor:
        """Returns log-probabilities of all levels (rows, levels)."""
        padded = self.padded(theta)
        return log_interval(padded[:, :-1], padded[:, 1:])

    def ends(self, level: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the ends (rows,) of the noise of one level (rows,) each."""
        padded, level = self.padded(theta), level[:, None]
        return padded.gather(-1, level).squeeze(-1), padded.gather(-1, level + 1).squeeze(-1)

    def locate(self, noise: Tensor, theta: Tensor) -> Tensor:
        """Returns the level (rows,) in whose interval the noise (rows,) lies."""
        return (self.edges(theta) < noise[:, None]).sum(-1)

    def log_mass(self, level: Tensor, theta: Tensor) -> Tensor:
        """Returns log-probabilities (rows,) of one level (rows,) each: what training calls."""
        return self.log_masses(theta).gather(-1, level[:, None]).squeeze(-1)


@final
class DirectEdges(EdgeSource):
    r"""Edges as an arbitrary function of the parents: for two levels a logit, else a softmax.

    For two levels the edge is :math:`\Phi^{-1}(\sigma(-\theta))`; for more, the quantiles of the
    levels' probabilities summed from the nearer end, each of which keeps a share of at least
    1e-10.

    Arguments:
        parents: The variables to read.
        levels: The number of levels.
        hidden: The widths of the residual network's hidden layers.
    """

    offset: Tensor

    def __init__(
        self, parents: tuple[Variable, ...], levels: int, hidden: tuple[int, ...] = ()
    ) -> None:
        super().__init__()
        self.levels = levels
        self.conditioner = Conditioner(parents, 1 if levels == 2 else levels, hidden)
        outputs = self.conditioner.outputs
        self.register_buffer("offset", torch.zeros(outputs, dtype=torch.float64))

    def config(self) -> dict[str, Any]:
        """Returns what builds it again, as JSON."""
        return {"source": "direct", "hidden": list(self.conditioner.hidden)}

    def start_at(self, counts: Tensor, possible: Tensor | None = None) -> None:
        """Makes all-zero coefficients mean the marginal (levels,), half a row added to each level.

        An impossible level gets as little as edges can hold: e^-600 of two, 1e-10 of more.
        """
        share = (counts + 0.5).log()
        if possible is not None:
            share = torch.where(possible, share, share.max() - 2 * _MOST_LOGIT)
        self.offset.copy_(share.diff() if self.levels == 2 else share - share.logsumexp(0))

    def log_masses(self, theta: Tensor) -> Tensor:
        """Returns log-probabilities of all levels (rows, levels)."""
        theta = theta + self.offset
        if self.levels == 2:
            theta = theta.clamp(-_MOST_LOGIT, _MOST_LOGIT)
            return nn.functional.logsigmoid(torch.cat((-theta, theta), -1))
        share = theta.log_softmax(-1).exp()
        return (_LEAST_SHARE + (1 - self.levels * _LEAST_SHARE) * share).log()

    def edges(self, theta: Tensor) -> Tensor:
        """Returns ascending edges (rows, levels − 1) of coefficients (rows, outputs)."""
        if self.levels == 2:
            logit = (theta + self.offset).clamp(-_MOST_LOGIT, _MOST_LOGIT)
            return torch.copysign(torch.special.ndtri(torch.sigmoid(-logit.abs())), -logit)
        share = self.log_masses(theta).exp()
        below = share.cumsum(-1)[:, :-1]
        above = share.flip(-1).cumsum(-1).flip(-1)[:, 1:]
        nearer = torch.special.ndtri(torch.minimum(below, above))
        return torch.where(below < above, nearer, -nearer)


@final
class FlowEdges(EdgeSource):
    r"""Pre-images of fixed cuts under a monotone flow, :math:`e_k = T^{-1}(c_k; \mathrm{pa})`.

    The cuts stand where a standard normal has the marginal of the fit, so that the identity is the
    independent model, a spike (a top-coded age) is a wide interval, and what is left to learn is
    what the parents change.

    Arguments:
        parents: The variables to read.
        levels: The number of levels.
        flow: The flow, whose coefficients the parents give.
        hidden: The widths of the residual network's hidden layers.
        knots: The number of knots of the splines of continuous parents, see `features`.
    """

    cuts: Tensor
    is_pointwise = True
    margin = 1e-10  # a flow's rounding errors add up over its steps

    def __init__(
        self,
        parents: tuple[Variable, ...],
        levels: int,
        flow: MonotoneFlow,
        hidden: tuple[int, ...] = (),
        knots: int = 6,
    ) -> None:
        super().__init__()
        self.levels = levels
        self.flow = flow
        self.conditioner = Conditioner(parents, flow.outputs, hidden, knots)
        self.register_buffer("cuts", torch.linspace(-2, 2, levels - 1, dtype=torch.float64))

    def config(self) -> dict[str, Any]:
        """Returns what builds it again, as JSON."""
        network = {"hidden": list(self.conditioner.hidden), "knots": self.conditioner.knots}
        return {"source": "flow", **network, "flow": self.flow.config()}

    @property
    def map(self) -> MonotoneFlow:
        """The flow."""
        return self.flow

    def start_at(self, counts: Tensor, possible: Tensor | None = None) -> None:
        """Puts the cuts at the shares of levels, half a row added to each; 1e-10 if impossible."""
        share = counts + 0.5
        share = share / share.sum()
        if possible is not None:
            share = torch.where(possible, share, 0.0)
            share = _LEAST_SHARE + (1 - self.levels * _LEAST_SHARE) * share / share.sum()
        below, above = share.cumsum(0)[:-1], share.flip(0).cumsum(0).flip(0)[1:]
        nearer = torch.special.ndtri(torch.minimum(below, above))
        self.cuts.copy_(torch.where(below < above, nearer, -nearer))

    def edges(self, theta: Tensor) -> Tensor:
        """Returns ascending edges (rows, levels − 1) of coefficients (rows, outputs)."""
        return self.flow.inverse_map(self.cuts, theta[:, None, :])

    def ends(self, level: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the ends (rows,) of one level (rows,) each, without its other edges."""
        last = self.levels - 2
        around = torch.stack(((level - 1).clamp(min=0), level.clamp(max=last)), -1)
        a, b = self.flow.inverse_map(self.cuts[around], theta[:, None, :]).unbind(-1)
        return torch.where(level > 0, a, -torch.inf), torch.where(level <= last, b, torch.inf)

    def log_mass(self, level: Tensor, theta: Tensor) -> Tensor:
        """Returns log-probabilities (rows,) of one level (rows,) each: what training calls."""
        if self.levels <= 3:
            return super().log_mass(level, theta)
        return log_interval(*self.ends(level, theta))

    def locate(self, noise: Tensor, theta: Tensor) -> Tensor:
        """Returns the level (rows,) of noise (rows,): a guess forwards, settled by pre-images."""
        guess = self.flow.forward_map(noise, theta, exact=False)
        level = torch.searchsorted(self.cuts, guess.contiguous())
        while True:
            a, b = self.ends(level, theta)
            move = (noise > b).to(torch.int64) - (noise <= a).to(torch.int64)
            if not move.any():
                return level
            level = level + move


def edges_from_config(
    parents: tuple[Variable, ...], levels: int, config: Mapping[str, Any]
) -> EdgeSource:
    """Builds the source that `config` describes, its weights still to be loaded."""
    hidden = tuple(config["hidden"])
    if config["source"] == "direct":
        return DirectEdges(parents, levels, hidden)
    flow = flow_from_config(config["flow"])
    return FlowEdges(parents, levels, flow, hidden, config.get("knots", 6))
