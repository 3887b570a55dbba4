r"""Ordered levels as intervals of one standard normal, abducted exactly.

A binary or ordinal variable, and a continuous one that is recorded on a grid (age in whole years),
is a standard normal :math:`\varepsilon` seen through edges :math:`e_1 < \dots < e_{K-1}` that move
with the parents: level :math:`k` is :math:`e_k < \varepsilon \le e_{k+1}`, its probability
:math:`\Phi(e_{k+1}) - \Phi(e_k)`. Observing a level leaves a truncated normal, so abduction is exact
and training is maximum likelihood: no dequantisation noise, no bound. Two interchangeable sources
of edges stand here: `DirectEdges`, a function of the parents as it is, and `FlowEdges`, the
pre-images of fixed cuts under a monotone flow. The lowest and the highest level are open intervals.

Edges computed in batches of another size differ in their last bits. Draws therefore keep a margin
from the edges, far above rounding and far below anything that data can tell, so that predicting
from abducted noise gives back the very level in every row.

References:
    | Deep Structural Causal Models for Tractable Counterfactual Inference
    | (Pawlowski et al., 2020), https://arxiv.org/abs/2006.06485
    | Probabilities of Causation: Bounds and Identification
    | (Tian and Pearl, 2000), https://doi.org/10.1023/A:1018912507879
"""

import abc
from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from cxrcausal.graph.variable import Variable
from cxrcausal.scm.features import Conditioner, distinct_parents, level_count
from cxrcausal.scm.mechanism import Mechanism, Parents

__all__ = [
    "DirectEdges",
    "EdgeSource",
    "IntervalMechanism",
    "draw_inside",
    "log_interval",
    "overlap",
]

_MOST_LOGIT = 600.0  # a level of probability e^-600 still has a finite edge in float64
_LEAST_SHARE = (
    1e-10  # what every one of three or more levels keeps, so that it can be drawn inside
)
_MARGIN = 1e-11
_FAR = 38.0  # Φ(−38) is the last that float64 can hold


@final
class IntervalMechanism(Mechanism):
    r"""An ordered variable with levels: :math:`x = k` where :math:`e_k < \varepsilon \le e_{k+1}`.

    Arguments:
        variable: A binary or ordinal variable, or a continuous one with a resolution; a nominal
            one whose levels are taken in the order in which they are declared.
        parents: The variables that the mechanism reads.
        source: Where its edges come from, with the same parents and number of levels.

    Example:
        >>> sex = Variable("sex", "binary", ("Female", "Male"))
        >>> effusion = Variable("effusion", "binary", ("negative", "positive"))
        >>> mechanism = IntervalMechanism(effusion, (sex,), DirectEdges((sex,), 2))
        >>> pa = {"sex": torch.tensor([0.0, 1.0]).double()}
        >>> u = mechanism.abduct(torch.ones(2).double(), pa, torch.full((2, 1), 0.3).double())
        >>> mechanism.predict(u, pa).tolist()
        [1.0, 1.0]
    """

    def __init__(
        self, variable: Variable, parents: tuple[Variable, ...], source: EdgeSource
    ) -> None:
        super().__init__(variable, parents)
        count = level_count(variable)
        if count is None or count != source.levels:
            raise ValueError(
                f"{variable.name!r} has {count or 'a continuum of'} values, its edges "
                f"{source.levels} levels; they must agree"
            )
        self.source = source
        grid = variable.grid or range(count)
        self.register_buffer("grid", torch.tensor(list(grid), dtype=torch.float64), False)

    def config(self) -> dict[str, Any]:
        """Returns what `from_config` needs to build it again, as JSON."""
        return self.source.config()

    @classmethod
    def from_config(
        cls, variable: Variable, parents: tuple[Variable, ...], config: Mapping[str, Any]
    ) -> "IntervalMechanism":
        """Builds the mechanism that `config` describes, its weights still to be loaded."""
        hidden = tuple(config["hidden"])
        return cls(variable, parents, DirectEdges(parents, level_count(variable), hidden))

    @property
    def conditioner(self) -> Conditioner:
        """What reads the parents."""
        return self.source.conditioner

    @property
    def noise_size(self) -> int:
        """How many exogenous numbers a row needs: one."""
        return 1

    @property
    def support(self) -> Tensor:
        """The values (levels,) that the variable can take, ascending."""
        return self.grid

    def log_prob_given(self, x: Tensor, theta: Tensor) -> Tensor:
        """Returns log-probabilities (rows,) of values (rows,) under coefficients (rows, outputs)."""
        return self.source.log_mass(self.index(x), theta)

    def log_prob(self, x: Tensor, pa: Parents) -> Tensor:
        r"""Returns :math:`\log p(x \mid \mathrm{pa})`, the mass of the level."""
        table, place = self._table(pa, self.source.log_masses)
        return table.flatten()[place * self.source.levels + self.index(x)]

    def log_probs(self, pa: Parents) -> Tensor:
        """Returns log-probabilities (*batch, levels) of every value in `support`."""
        table, place = self._table(pa, self.source.log_masses)
        return table[place]

    def prior(self, uniform: Tensor) -> Tensor:
        """Returns standard normal noise (*batch, 1) from uniforms of that shape."""
        return torch.special.ndtri(uniform).clamp(-_FAR, _FAR)

    def predict(self, u: Tensor, pa: Parents) -> Tensor:
        """Returns the level (*batch) between whose edges the noise (*batch, 1) lies."""
        table, place = self._table(pa, self.source.padded)
        return self.grid[_locate(u.squeeze(-1), table, place)]

    def abduct(self, x: Tensor, pa: Parents, uniform: Tensor) -> Tensor:
        r"""Returns :math:`\varepsilon` (*batch, 1), normal and truncated to the interval of `x`."""
        a, b = self.interval(x, pa)
        return draw_inside(a, b, uniform.squeeze(-1), self.source.margin).unsqueeze(-1)

    def transition(self, x: Tensor, pa: Parents, pa_star: Parents) -> Tensor:
        r"""Returns :math:`P(x^* = j \mid x, \mathrm{pa}, \mathrm{pa}^*)`: how the intervals overlap."""
        a, b = self.interval(x, pa)
        table, place = self._table(pa_star, self.source.padded)
        return overlap(a, b, table[place])

    def interval(self, x: Tensor, pa: Parents) -> tuple[Tensor, Tensor]:
        """Returns the ends (*batch) of the noise that gives `x` under `pa`; open ends are infinite."""
        table, place = self._table(pa, self.source.padded)
        at = place * (self.source.levels + 1) + self.index(x)
        flat = table.flatten()
        return flat[at], flat[at + 1]

    def index(self, x: Tensor) -> Tensor:
        """Returns the places of values in `support`, as int64."""
        if self.variable.is_discrete:
            return x.to(torch.int64)
        return ((x - self.variable.bounds[0]) / self.variable.resolution).round().to(torch.int64)

    def _table(self, pa: Parents, function: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Returns `function` of each parent configuration (configurations, …) and rows' places."""
        distinct, place = distinct_parents(self.parents, pa, sort=self.source.dear)
        return function(self.conditioner(distinct)), place.to(self.grid.device)


def _locate(noise: Tensor, padded: Tensor, place: Tensor) -> Tensor:
    """Returns how many edges lie strictly below the noise, by bisection in each row's own edges."""
    levels = padded.shape[-1] - 1
    flat, start = padded.flatten(), place * (levels + 1)
    if levels == 2:
        return (noise > flat[start + 1]).to(torch.int64)
    noise, start = torch.broadcast_tensors(noise, start)
    low = torch.zeros_like(start)  # edge `low` is below the noise, edge `high` is not
    high = torch.full_like(start, levels)
    for _ in range(levels.bit_length()):
        middle = (low + high) // 2
        below = (flat[start + middle] < noise) & (middle > low)
        done = high - low <= 1
        low = torch.where(below & ~done, middle, low)
        high = torch.where(below | done, high, middle)
    return low
