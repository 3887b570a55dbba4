r"""A definition with noise: *no finding* is positive where none of its findings is, nearly always.

The variable has two rates, :math:`P(1 \mid \text{none positive})` and
:math:`P(1 \mid \text{any positive})`, estimated per level of any discrete context among the
parents (the source whose labelling pipeline it is). A known positive finding decides, whatever
else is unknown; where none is known to be positive and some are unknown, the answer is NaN. Its
noise is that of a binary interval, so abduction and counterfactuals are exact in the same way.

References:
    | CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert Comparison
    | (Irvin et al., 2019), https://arxiv.org/abs/1901.07031
"""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from cxrcausal.errors import GraphError
from cxrcausal.graph.variable import Variable
from cxrcausal.scm.mechanism.base import Mechanism, Parents
from cxrcausal.scm.mechanism.normal import draw_inside, normal_noise, overlap

__all__ = ["LogicMechanism", "definition_parts"]

_CONTEXT_ROLES = ("context", "demographic", "acquisition")


def definition_parts(
    parents: Sequence[Variable],
) -> tuple[tuple[Variable, ...], tuple[Variable, ...]]:
    """Returns the findings that a `nor` definition counts, and the context that moves its rates.

    A binary parent is counted, unless its role is context, demographic or acquisition.

    Raises:
        GraphError: If a parent is continuous.
    """
    for parent in parents:
        if not parent.is_discrete:
            raise GraphError(
                f"a definition reads findings and discrete context; its parent {parent.name!r} is "
                f"continuous. Remove that arrow"
            )
    counted = tuple(p for p in parents if p.kind == "binary" and p.role not in _CONTEXT_ROLES)
    return counted, tuple(p for p in parents if p not in counted)


@final
class LogicMechanism(Mechanism):
    """A `nor` definition with two rates per context; accepts unknown (NaN) parents.

    Arguments:
        variable: The binary variable that is defined.
        parents: Its findings, and any discrete context.
    """

    rates: Tensor
    levels: Tensor

    def __init__(self, variable: Variable, parents: tuple[Variable, ...]) -> None:
        super().__init__(variable, parents)
        self.counted, self.context = definition_parts(parents)
        contexts = 1
        for parent in self.context:
            contexts *= len(parent.levels)
        self.register_buffer("rates", torch.full((contexts, 2), 0.5, dtype=torch.float64))
        self.register_buffer("levels", torch.arange(2, dtype=torch.float64), False)

    @torch.no_grad()
    def fit_in_closed_form(
        self, x: Tensor, pa: Parents, weights: Tensor, possible: Tensor | None = None
    ) -> bool:
        """Sets the rates from cells (cells,) that count `weights` times.

        A cell whose unknown parents leave the rate open says nothing. Jeffreys' half row of each
        level over all contexts; each context is then smoothed by one row at the overall rate, so
        that a context without rows takes that rate. A level that no row has is impossible.
        """
        anything, context = self._state(pa, x)
        usable = ~(x.isnan() | anything.isnan() | context.isnan())
        state = (context * 2 + anything)[usable].to(torch.int64)
        rows = torch.zeros(self.rates.numel(), dtype=torch.float64)
        ones = rows.clone()
        rows.index_add_(0, state, weights[usable])
        ones.index_add_(0, state, (weights * x)[usable])
        rows, ones = rows.reshape(-1, 2), ones.reshape(-1, 2)
        overall = (ones.sum(0) + 0.5) / (rows.sum(0) + 1.0)
        smoothed = (ones + overall) / (rows + 1.0)
        self.rates.copy_(smoothed if self.context else overall[None])
        observed = x[~x.isnan() & (weights > 0)].unique()
        if len(observed) == 1:
            self.rates.fill_(observed.item())
        return True

    def moved_tensors(self) -> list[Tensor]:
        """The rates."""
        return [self.rates]

    @property
    def noise_size(self) -> int:
        """How many exogenous numbers a row needs: one."""
        return 1

    @property
    def support(self) -> Tensor:
        """The indices (2,) of the levels."""
        return self.levels

    def log_prob(self, x: Tensor, pa: Parents) -> Tensor:
        r"""Returns :math:`\log p(x \mid \mathrm{pa})`; NaN where unknown parents leave it open."""
        rate = self._rate(pa, x)
        return torch.where(x > 0, rate.log(), (-rate).log1p())

    def log_probs(self, pa: Parents) -> Tensor:
        """Returns log-probabilities (*batch, 2); NaN where unknown parents leave them open."""
        rate = self._rate(pa)
        return torch.stack(((-rate).log1p(), rate.log()), -1)

    def prior(self, uniform: Tensor) -> Tensor:
        """Returns standard normal noise (*batch, 1) from uniforms of that shape."""
        return normal_noise(uniform)

    def predict(self, u: Tensor, pa: Parents) -> Tensor:
        """Returns whether the noise (*batch, 1) exceeds the edge; NaN where that is open."""
        noise = u.squeeze(-1)
        edge = self._edge(pa, noise)
        return torch.where(edge.isnan(), edge, (noise > edge).to(torch.float64))

    def abduct(self, x: Tensor, pa: Parents, uniform: Tensor) -> Tensor:
        """Returns the noise (*batch, 1), normal and truncated to its side of the edge."""
        a, b = self._interval(x, pa)
        return draw_inside(a, b, uniform.squeeze(-1)).unsqueeze(-1)

    def transition(self, x: Tensor, pa: Parents, pa_star: Parents) -> Tensor:
        r"""Returns :math:`P(x^* \mid x, \mathrm{pa}, \mathrm{pa}^*)`: how intervals overlap."""
        a, b = self._interval(x, pa)
        edge = self._edge(pa_star, a)
        infinite = torch.full_like(edge, torch.inf)
        share = overlap(a, b, torch.stack((-infinite, edge, infinite), -1))
        return torch.where((a.isnan() | b.isnan() | edge.isnan())[..., None], torch.nan, share)

    def _interval(self, x: Tensor, pa: Parents) -> tuple[Tensor, Tensor]:
        """Returns the ends (*batch) of the noise that gives `x`."""
        edge = self._edge(pa, x)
        open_end = torch.where(edge.isnan(), edge, torch.inf)
        return torch.where(x > 0, edge, -open_end), torch.where(x > 0, open_end, edge)

    def _edge(self, pa: Parents, like: Tensor) -> Tensor:
        """Returns the edge (*batch) below which the variable is negative."""
        edges = -torch.special.ndtri(self.rates)
        return self._read(edges, pa, like)

    def _rate(self, pa: Parents, like: Tensor | None = None) -> Tensor:
        """Returns the rate (*batch) at which the variable is positive."""
        return self._read(self.rates, pa, like)

    def _read(self, table: Tensor, pa: Parents, like: Tensor | None = None) -> Tensor:
        """Returns the entry of a table (contexts, 2) for each row, NaN where it is open."""
        anything, context = self._state(pa, like)
        state = context * 2 + anything
        entry = table.flatten()[state.nan_to_num(0.0).to(torch.int64)]
        return torch.where(state.isnan(), torch.nan, entry)

    def _state(self, pa: Parents, like: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Returns whether any finding is positive, and the context's number, NaN where unknown."""
        zero = torch.zeros_like(like) if like is not None else self.rates.new_zeros(())
        total, known = zero, zero
        for parent in self.counted:
            total = total + pa[parent.name]  # NaN as soon as one is unknown
            known = known + pa[parent.name].nan_to_num(0.0)
        anything = torch.where(known > 0, 1.0, total)
        context = zero
        for parent in self.context:
            context = context * len(parent.levels) + pa[parent.name]
        return anything, context
