r"""Levels without an order: the largest of Gumbel-perturbed logits, abducted exactly.

The level is :math:`\arg\max_k (l_k + G_k)` with one standard Gumbel per level. Given that level
:math:`i` won, the maximum is :math:`Z \sim \mathrm{Gumbel}(\log\sum_k e^{l_k})`, whichever level
it was, and the others are Gumbels truncated at :math:`Z`. (Truncating at a draw of the winner's
own distribution instead, as reference implementations do, changes levels under no intervention at
all.) The distribution of the counterfactual level has a closed form. With factual probabilities
:math:`p`, counterfactual ones :math:`q` and :math:`r = q/p`:

.. math::
    P(x = i, x^* = j) = p_i q_j \int_{r_i}^{r_j}
        \frac{da}{\big(a \sum_{r_k \le a} p_k + \sum_{r_k > a} q_k\big)^2} \quad (r_j > r_i),
    \qquad P(x = x^* = i) = \frac{1}{\sum_k \max(p_k / p_i, q_k / q_i)}

and zero where :math:`r_j \le r_i`, :math:`j \neq i` (counterfactual stability). Between two
neighbouring ratios :math:`a_0 < a_1` both sums are constants :math:`A, B`, and the integral is
:math:`(a_1 - a_0) / ((a_0 A + B)(a_1 A + B))`.

References:
    | Counterfactual Off-Policy Evaluation with Gumbel-Max Structural Causal Models
    | (Oberst and Sontag, 2019), https://arxiv.org/abs/1905.05824
    | A* Sampling
    | (Maddison, Tarlow and Minka, 2014), https://arxiv.org/abs/1411.0030
"""

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from cxrcausal.graph.variable import Variable
from cxrcausal.scm.mechanism.base import Parents
from cxrcausal.scm.mechanism.conditioner import Conditioner
from cxrcausal.scm.mechanism.configuration import Configurations, TableCache
from cxrcausal.scm.mechanism.regression import Regression

__all__ = ["GumbelMechanism", "gumbel_transition"]

_MARGIN = 1e-11  # by how much a loser stays below the winner: far above rounding
_LEAST_LOGIT = -60.0  # a level that the fit never observed is all but impossible
_LEAST_EXPONENTIAL = 2.0**-55


def gumbel_transition(i: Tensor, log_p: Tensor, log_q: Tensor) -> Tensor:
    """Returns the distribution of the counterfactual level under the Gumbel-max coupling.

    Arguments:
        i: Factual levels (*batch), int64.
        log_p: Factual log-probabilities (*batch, levels).
        log_q: Counterfactual log-probabilities (*batch, levels).

    Returns:
        Probabilities (*batch, levels) that sum to one.
    """
    log_p, log_q, i = torch.broadcast_tensors(log_p, log_q, i[..., None])
    i = i[..., :1]
    log_r = log_q - log_p
    ratio, order = log_r.sort(-1)
    ratio = ratio.exp()
    below = log_p.exp().gather(-1, order).cumsum(-1)[..., :-1]
    above = log_q.exp().gather(-1, order).flip(-1).cumsum(-1).flip(-1)[..., 1:]
    a, b = ratio[..., :-1], ratio[..., 1:]
    step = (b - a) / ((a * below + above) * (b * below + above))
    reached = torch.nn.functional.pad(step.cumsum(-1), (1, 0))
    integral = torch.empty_like(reached).scatter(-1, order, reached)
    rises = (integral - integral.gather(-1, i)).clamp(min=0.0)
    moved = torch.where(log_r > log_r.gather(-1, i), log_q.exp() * rises, 0.0)
    p_i, q_i = log_p.gather(-1, i), log_q.gather(-1, i)
    kept = -torch.maximum(log_p, log_q - q_i + p_i).logsumexp(-1, keepdim=True)
    share = moved.scatter(-1, i, kept.exp())
    return share / share.sum(-1, keepdim=True)


@final
class GumbelMechanism(Regression):
    r"""A nominal variable: :math:`x = \arg\max_k (l_k(\mathrm{pa}) + u_k)` with Gumbel noise.

    Arguments:
        variable: A variable with levels.
        parents: The variables that the mechanism reads.
        hidden: The widths of the residual network's hidden layers.
    """

    offset: Tensor
    levels: Tensor

    def __init__(
        self, variable: Variable, parents: tuple[Variable, ...], hidden: tuple[int, ...] = ()
    ) -> None:
        super().__init__(variable, parents)
        levels = len(variable.levels)
        self.conditioner = Conditioner(parents, levels, hidden)
        self.register_buffer("offset", torch.zeros(levels, dtype=torch.float64))
        self.register_buffer("levels", torch.arange(levels, dtype=torch.float64), False)
        self._tables = TableCache()

    def config(self) -> dict[str, Any]:
        """Returns what `from_config` needs to build it again, as JSON."""
        return {"hidden": list(self.conditioner.hidden)}

    @classmethod
    def from_config(
        cls, variable: Variable, parents: tuple[Variable, ...], config: Mapping[str, Any]
    ) -> "GumbelMechanism":
        """Builds the mechanism that `config` describes, its weights still to be loaded."""
        return cls(variable, parents, tuple(config["hidden"]))

    def start_at(self, x: Tensor, weights: Tensor, possible: Tensor | None = None) -> None:
        """Makes all-zero coefficients mean the shares of levels; those without a row get e^-60.

        A level that other rows have, in `possible` and not in `x`, counts half a row.
        """
        counts = torch.zeros_like(self.offset).index_add_(0, x.to(torch.int64), weights)
        if possible is not None:
            elsewhere = (counts == 0) & torch.isin(self.levels, possible.to(self.levels.device))
            counts = torch.where(elsewhere, 0.5, counts)
        share = counts.log() - counts.sum().log()
        self.offset.copy_(share.clamp(min=2 * _LEAST_LOGIT))

    @property
    def noise_size(self) -> int:
        """How many exogenous numbers a row needs: one per level."""
        return len(self.levels)

    @property
    def support(self) -> Tensor:
        """The indices (levels,) of the levels."""
        return self.levels

    def log_prob_given(self, x: Tensor, theta: Tensor) -> Tensor:
        """Returns log p (rows,) of values (rows,) under coefficients (rows, levels)."""
        return self._log_masses(theta).gather(-1, x.to(torch.int64)[:, None]).squeeze(-1)

    def log_prob(self, x: Tensor, pa: Parents) -> Tensor:
        r"""Returns :math:`\log p(x \mid \mathrm{pa})`, the mass of the level."""
        configurations = self._configurations(pa)
        flat = self._tables.get(self, configurations, "log_masses", self._log_masses).flatten()
        return flat[configurations.index * self.noise_size + x.to(torch.int64)]

    def log_probs(self, pa: Parents) -> Tensor:
        """Returns log-probabilities (*batch, levels) of every level."""
        configurations = self._configurations(pa)
        return self._tables.get(self, configurations, "log_masses", self._log_masses)[
            configurations.index
        ]

    def prior(self, uniform: Tensor) -> Tensor:
        """Returns standard Gumbel noise (*batch, levels) from uniforms of that shape."""
        return -_exponential(uniform).log()

    def predict(self, u: Tensor, pa: Parents) -> Tensor:
        """Returns the level (*batch) whose logit plus noise (*batch, levels) is largest."""
        return (self.log_probs(pa) + u).argmax(-1).to(torch.float64)

    def abduct(self, x: Tensor, pa: Parents, uniform: Tensor) -> Tensor:
        """Returns Gumbels (*batch, levels) given which of them won, drawn from the top down."""
        log_p = self.log_probs(pa)  # normalised, so that the maximum is a standard Gumbel
        i = x.to(torch.int64)[..., None]
        log_p, exponential, i = torch.broadcast_tensors(log_p, _exponential(uniform), i)
        i = i[..., :1]
        top = -exponential.gather(-1, i).log()
        noise = -(exponential + (log_p - top).exp()).log()
        noise = torch.minimum(noise, top - _MARGIN - log_p)
        return noise.scatter(-1, i, top - log_p.gather(-1, i))

    def transition(self, x: Tensor, pa: Parents, pa_star: Parents) -> Tensor:
        r"""Returns :math:`P(x^* \mid x, \mathrm{pa}, \mathrm{pa}^*)`, see `gumbel_transition`."""
        return gumbel_transition(x.to(torch.int64), self.log_probs(pa), self.log_probs(pa_star))

    def _log_masses(self, theta: Tensor) -> Tensor:
        """Returns log-probabilities (rows, levels), none below e^-60."""
        return (theta + self.offset).log_softmax(-1).clamp(min=_LEAST_LOGIT)

    def _configurations(self, pa: Parents) -> Configurations:
        """Returns the parents' distinct configurations and each row's number among them."""
        return Configurations.of(self.parents, pa, self.levels.device)


def _exponential(uniform: Tensor) -> Tensor:
    """Returns standard exponentials −log u, kept above zero."""
    return -uniform.log().clamp(max=-_LEAST_EXPONENTIAL)
