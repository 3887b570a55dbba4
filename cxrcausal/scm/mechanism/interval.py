r"""Ordered levels as intervals of one standard normal, abducted exactly.

A binary or ordinal variable, and a continuous one that is recorded on a grid (age in whole years),
is a standard normal :math:`\varepsilon` cut at edges :math:`e_1 < \dots < e_{K-1}` that move
with the parents: level :math:`k` is :math:`e_k < \varepsilon \le e_{k+1}`, its probability
:math:`\Phi(e_{k+1}) - \Phi(e_k)`. Observing a level leaves a truncated normal, so abduction is
exact and training is maximum likelihood: no dequantisation noise, no bound. The edges are a
function of the parents as it is (`DirectEdges`) or the pre-images of fixed cuts under a monotone
flow (`FlowEdges`); nothing here depends on which. The lowest and the highest level are open
intervals.

Edges computed in batches of another size differ in their last bits. Draws therefore keep a margin
from the edges, far above rounding and far below anything that data can tell, so that predicting
from abducted noise gives back the very level in every row.

References:
    | Deep Structural Causal Models for Tractable Counterfactual Inference
    | (Pawlowski et al., 2020), https://arxiv.org/abs/2006.06485
    | Probabilities of Causation: Bounds and Identification
    | (Tian and Pearl, 2000), https://doi.org/10.1023/A:1018912507879
"""

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from cxrcausal.graph.variable import Variable
from cxrcausal.scm.mechanism.base import Parents
from cxrcausal.scm.mechanism.conditioner import Conditioner
from cxrcausal.scm.mechanism.configuration import Configurations, TableCache, level_count
from cxrcausal.scm.mechanism.flow import MonotoneFlow
from cxrcausal.scm.mechanism.normal import draw_inside, log_interval, normal_noise, overlap
from cxrcausal.scm.mechanism.regression import Regression
from cxrcausal.scm.mechanism.thresholds import EdgeSource, edges_from_config

__all__ = ["IntervalMechanism"]

_EDGES_PER_ROW = 4  # a row needs two ends, and a guess when it is predicted


@final
class IntervalMechanism(Regression):
    r"""An ordered variable with levels: :math:`x = k` where :math:`e_k < \varepsilon \le e_{k+1}`.

    Arguments:
        variable: A binary or ordinal variable, or a continuous one with a resolution; a nominal
            one whose levels are taken in the order in which they are declared.
        parents: The variables that the mechanism reads.
        source: Where its edges come from, with the same parents and number of levels.

    Example:
        >>> from cxrcausal.scm.mechanism.thresholds import DirectEdges
        >>> sex = Variable("sex", "binary", ("Female", "Male"))
        >>> effusion = Variable("effusion", "binary", ("negative", "positive"))
        >>> mechanism = IntervalMechanism(effusion, (sex,), DirectEdges((sex,), 2))
        >>> pa = {"sex": torch.tensor([0.0, 1.0]).double()}
        >>> u = mechanism.abduct(torch.ones(2).double(), pa, torch.full((2, 1), 0.3).double())
        >>> mechanism.predict(u, pa).tolist()
        [1.0, 1.0]
    """

    grid: Tensor

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
        self._tables = TableCache()

    def config(self) -> dict[str, Any]:
        """Returns what `from_config` builds it again from, as JSON."""
        return self.source.config()

    @classmethod
    def from_config(
        cls, variable: Variable, parents: tuple[Variable, ...], config: Mapping[str, Any]
    ) -> "IntervalMechanism":
        """Builds the mechanism that `config` describes, its weights still to be loaded."""
        return cls(
            variable,
            parents,
            edges_from_config(parents, len(variable.grid or variable.levels), config),
        )

    def start_at(self, x: Tensor, weights: Tensor, possible: Tensor | None = None) -> None:
        """Makes all-zero coefficients mean the shares of levels, see `EdgeSource.start_at`."""
        counts = torch.zeros_like(self.grid).index_add_(0, self.index(x), weights)
        observed = (
            None if possible is None else torch.isin(self.grid, possible.to(self.grid.device))
        )
        self.source.start_at(counts, observed)

    @property
    def conditioner(self) -> Conditioner:  # type: ignore[override]
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

    @property
    def map(self) -> MonotoneFlow | None:
        """The flow behind the edges; None if they come from none."""
        return self.source.map

    def score(self, x: Tensor) -> Tensor:
        """Returns normal scores (rows,) of values, on which a regression may start."""
        nothing = torch.zeros(1, self.conditioner.outputs, dtype=torch.float64)
        cuts = nn.functional.pad(self.source.edges(nothing.to(x.device))[0], (1, 1))
        cuts[0], cuts[-1] = cuts[1] - 1, cuts[-2] + 1
        level = self.index(x)
        return (cuts[level] + cuts[level + 1]) / 2

    def log_prob_given(self, x: Tensor, theta: Tensor) -> Tensor:
        """Returns log p (rows,) of values (rows,) under coefficients (rows, outputs)."""
        return self.source.log_mass(self.index(x), theta)

    def log_prob(self, x: Tensor, pa: Parents) -> Tensor:
        r"""Returns :math:`\log p(x \mid \mathrm{pa})`, the mass of the level."""
        configurations, level = self._configurations(pa), self.index(x)
        if self._is_sparse(configurations, level):
            return log_interval(*self._ends(configurations, level))
        return self._log_masses(configurations).flatten()[
            configurations.index * self.source.levels + level
        ]

    def log_probs(self, pa: Parents) -> Tensor:
        """Returns log-probabilities (*batch, levels) of every value in `support`."""
        configurations = self._configurations(pa)
        return self._log_masses(configurations)[configurations.index]

    def prior(self, uniform: Tensor) -> Tensor:
        """Returns standard normal noise (*batch, 1) from uniforms of that shape."""
        return normal_noise(uniform)

    def predict(self, u: Tensor, pa: Parents) -> Tensor:
        """Returns the level (*batch) between whose edges the noise (*batch, 1) lies."""
        configurations, noise = self._configurations(pa), u.squeeze(-1)
        if not self._is_sparse(configurations, noise):
            return self.grid[_locate(noise, self._padded(configurations), configurations.index)]
        noise, index = torch.broadcast_tensors(noise, configurations.index)
        theta = self.conditioner(configurations.parents)
        level = self.source.locate(noise.flatten(), theta[index.flatten()])
        return self.grid[level.reshape(index.shape)]

    def abduct(self, x: Tensor, pa: Parents, uniform: Tensor) -> Tensor:
        r"""Returns :math:`\varepsilon` (*batch, 1), a normal truncated to the interval of `x`."""
        a, b = self.interval(x, pa)
        return draw_inside(a, b, uniform.squeeze(-1), self.source.margin).unsqueeze(-1)

    def transition(self, x: Tensor, pa: Parents, pa_star: Parents) -> Tensor:
        r"""Returns :math:`P(x^* \mid x, \mathrm{pa}, \mathrm{pa}^*)`: how intervals overlap."""
        a, b = self.interval(x, pa)
        configurations = self._configurations(pa_star)
        return overlap(a, b, self._padded(configurations)[configurations.index])

    def interval(self, x: Tensor, pa: Parents) -> tuple[Tensor, Tensor]:
        """Returns the ends (*batch) of the noise that gives `x` under `pa`, infinite if open."""
        configurations, level = self._configurations(pa), self.index(x)
        if self._is_sparse(configurations, level):
            return self._ends(configurations, level)
        flat, at = (
            self._padded(configurations).flatten(),
            configurations.index * (self.source.levels + 1) + level,
        )
        return flat[at], flat[at + 1]

    def index(self, x: Tensor) -> Tensor:
        """Returns the positions of values in `support`, as int64."""
        if self.variable.bounds is None or self.variable.resolution is None:
            return x.to(torch.int64)
        return ((x - self.variable.bounds[0]) / self.variable.resolution).round().to(torch.int64)

    def _configurations(self, pa: Parents) -> Configurations:
        """Returns the parents' distinct configurations and each row's number among them."""
        return Configurations.of(self.parents, pa, self.grid.device)

    def _padded(self, configurations: Configurations) -> Tensor:
        """Returns each configuration's edges with infinite ends (configurations, levels + 1)."""
        return self._tables.get(self, configurations, "padded", self.source.padded)

    def _log_masses(self, configurations: Configurations) -> Tensor:
        """Returns each configuration's log-probabilities (configurations, levels)."""
        return self._tables.get(self, configurations, "log_masses", self.source.log_masses)

    def _is_sparse(self, configurations: Configurations, rows: Tensor) -> bool:
        """Whether the rows' own edges are fewer than all edges of all configurations."""
        count = torch.broadcast_shapes(configurations.index.shape, rows.shape).numel()
        edges = configurations.count * (self.source.levels - 1)
        return (
            self.source.is_pointwise
            and not configurations.is_every
            and edges > _EDGES_PER_ROW * count
        )

    def _ends(self, configurations: Configurations, level: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the ends (*batch) of the rows' own levels (*batch)."""
        level, index = torch.broadcast_tensors(level, configurations.index)
        theta = self.conditioner(configurations.parents)
        a, b = self.source.ends(level.flatten(), theta[index.flatten()])
        return a.reshape(index.shape), b.reshape(index.shape)


def _locate(noise: Tensor, padded: Tensor, index: Tensor) -> Tensor:
    """Returns how many edges lie strictly below the noise, by bisection in each row's own."""
    levels = padded.shape[-1] - 1
    flat, start = padded.flatten(), index * (levels + 1)
    if levels == 2:
        return (noise > flat[start + 1]).to(torch.int64)
    noise, start = torch.broadcast_tensors(noise, start)
    low, high = torch.zeros_like(start), torch.full_like(start, levels)
    for _ in range((levels - 1).bit_length()):
        middle = (low + high) // 2  # edge `low` is always below the noise, edge `high` never
        below = flat[start + middle] < noise
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return low
