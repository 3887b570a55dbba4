r"""Posteriors of unknown continua by importance sampling, with what the answer is worth.

Elimination divides an unknown continuum into quantile cells, which is as good as exact for one or
two of them and impossible for many. Here unknown cells are drawn forward, causes first, and each
draw is weighed by how likely it makes the known cells after it:

.. math:: w \propto \prod_{v\ \mathrm{known}} p(x_v \mid \mathrm{pa}_v), \qquad
    \mathrm{ESS} = \Big(\sum_s w_s\Big)^2 \Big/ \sum_s w_s^2 .

An effective sample size far below the number of draws says that the known cells surprise the
model, and that more draws, or elimination, are needed.

References:
    | Weighing and Integrating Evidence for Stochastic Simulation in Bayesian Networks
    | (Fung and Chang, 1990), https://doi.org/10.1016/B978-0-444-88738-2.50023-3
    | Monte Carlo Strategies in Scientific Computing, section 2.5 (Liu, 2001), Springer
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import pandas as pd
import torch
from torch import Tensor

from cxrcausal.errors import TableError, nearest
from cxrcausal.scm.draws import Draws, draws_of
from cxrcausal.scm.table import plain
from cxrcausal.scm.unknown.network import Mechanisms, Values
from cxrcausal.scm.unknown.virtual_evidence import Likelihood

if TYPE_CHECKING:
    from cxrcausal.scm.model import FlowSCM

__all__ = ["WeightedDraws", "importance_posterior"]


@final
@dataclass(frozen=True, eq=False)
class WeightedDraws:
    """Draws of every cell of some rows, each with its weight.

    Arguments:
        index: The labels of the rows.
        values: By variable (rows, draws): what is known, and what was drawn for the rest.
        log_weights: Of the draws (rows, draws), not normalised.
    """

    index: pd.Index
    values: dict[str, Tensor]
    log_weights: Tensor

    @property
    def weights(self) -> Tensor:
        """The weights of the draws (rows, draws), each row's summing to one."""
        return self.log_weights.softmax(1)

    @property
    def effective_sample_size(self) -> pd.Series:
        """How many equally weighted draws each row's are worth (rows,), from 1 to their number."""
        return pd.Series(
            (1.0 / self.weights.square().sum(1)).cpu().numpy(),
            index=self.index,
            name="effective_sample_size",
        )

    @property
    def log_evidence(self) -> pd.DataFrame:
        """The log-probability of each row's known cells, with its standard error, (rows, 2)."""
        number = self.log_weights.shape[1]
        top = self.log_weights.amax(1, keepdim=True)
        weight = (self.log_weights - top).exp()
        mean = weight.mean(1)
        error = weight.std(1) / mean / number**0.5
        return self._frame(mean.log() + top.squeeze(1), error)

    def mean(self, name: str, function: Callable[[Tensor], Tensor] = lambda x: x) -> pd.DataFrame:
        """Returns the posterior mean of a function of a cell, with its standard error, (rows, 2).

        Arguments:
            name: The variable.
            function: Of its values (rows, draws), elementwise; the value itself if left out.

        Raises:
            TableError: If the variable was not drawn.
        """
        if name not in self.values:
            raise TableError(
                f"{name!r} is not among the drawn variables{nearest(name, self.values) or '.'} "
                f"They are: "
                f"{', '.join(self.values)}"
            )
        value, weight = function(self.values[name]).to(torch.float64), self.weights
        mean = (weight * value).sum(1)
        error = (weight.square() * (value - mean[:, None]).square()).sum(1).sqrt()
        return self._frame(mean, error)

    def _frame(self, estimate: Tensor, error: Tensor) -> pd.DataFrame:
        columns = {"estimate": estimate.cpu().numpy(), "standard_error": error.cpu().numpy()}
        return pd.DataFrame(columns, index=self.index)


@torch.no_grad()
def importance_posterior(
    scm: "FlowSCM",
    rows: pd.DataFrame,
    num_samples: int = 1000,
    seed: int | None = None,
    *,
    likelihood: Likelihood | None = None,
) -> WeightedDraws:
    """Draws the unknown cells of some rows given the known ones, by importance sampling.

    For any pattern of absence, and any number of unknown continua. Where `FlowSCM.abduct` answers,
    its draws are exact and better.

    Arguments:
        scm: A fitted SCM.
        rows: The factual rows.
        num_samples: How many draws each row gets.
        seed: Decides the draws, with row label, variable and draw; fresh if None.
        likelihood: Soft evidence on unknown cells, see `Likelihood`.

    Raises:
        TableError: If rows are not usable, or no draw of a row agrees with what is known.
    """
    known = scm._read(rows, "ignore", likelihood)
    draws = draws_of(known.index, seed, num_samples)
    values, weights = _forward(known.mechanisms, known.values, draws)
    lost = (weights == -torch.inf).all(1)
    if bool(lost.any()):
        label = known.index[int(lost.to(torch.int8).argmax())]
        raise TableError(
            f"row {plain(label)!r}: none of {num_samples} draws agrees with what is known; give "
            f"more draws, or use abduct, which is exact"
        )
    return WeightedDraws(known.index, {v: values[v] for v in scm.mechanisms}, weights)


def _forward(
    mechanisms: Mechanisms, values: Values, draws: Draws
) -> tuple[dict[str, Tensor], Tensor]:
    """Returns completed values (rows, draws), causes drawn first, and the log-weights of them."""
    shape = (len(draws.labels), draws.num_samples)
    drawn: dict[str, Tensor] = {}
    log_weight = torch.zeros(shape, dtype=torch.float64)
    for name, mechanism in mechanisms.items():
        fact = values[name][:, None].expand(shape)
        lacks = fact.isnan()
        pa = {p.name: drawn[p.name] for p in mechanism.parents}
        u = draws.uniform(f"{name} importance", size=mechanism.noise_size)
        noise = mechanism.prior(u.reshape(*shape, mechanism.noise_size).to(fact.device))
        drawn[name] = torch.where(lacks, mechanism.predict(noise, pa), fact)
        if not bool(lacks.all()):
            score = mechanism.log_prob(torch.where(lacks, drawn[name], fact), pa)
            log_weight = log_weight.to(score.device) + torch.where(lacks, 0.0, score)
    return drawn, log_weight
