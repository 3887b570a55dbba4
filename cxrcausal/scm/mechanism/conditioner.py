r"""Parents as numbers, and the small network that reads them.

Every mechanism here is an arbitrary function of its parents up to a handful of coefficients
:math:`\theta(\mathrm{pa})`: one logit, one logit per level, or the coefficients of a monotone
flow. The network is a logistic regression (one indicator per level, a natural cubic spline of
every continuous parent) plus a residual whose last layer starts at zero, so that a node can never
start below the regression that a statistician would have fitted. Arithmetic is in float64
throughout, whatever precision the weights were stored in.

References:
    | The Elements of Statistical Learning, section 5.2.1 (natural cubic splines)
    | (Hastie, Tibshirani and Friedman, 2009), https://doi.org/10.1007/978-0-387-84858-7
"""

import itertools
import math
from typing import cast, final

import torch
from torch import Tensor, nn

from cxrcausal.graph.variable import Variable
from cxrcausal.scm.mechanism.base import Parents

__all__ = ["Conditioner", "ParentFeatures", "SkipNetwork"]

_KNOT_QUANTILES = {
    6: (0.02, 0.2, 0.4, 0.6, 0.8, 0.98),
    10: (0.0, 0.005, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 0.995, 1.0),
}
"""Where the knots of a spline lie, by their number: six for a regression that always bends;
ten, from end to end of the data, for one that bends only where that predicts better."""
_LEAST_SPREAD = {6: 1e-9, 10: 1e-13}
"""The variance, of the largest, that a whitened column has at least; a straight line is
exact to its root."""


@final
class ParentFeatures(nn.Module):
    """Turns parents into numbers: an indicator per level but the first, a spline per number.

    The spline columns are centred and whitened on the rows of the fit, so that a weak
    penalty weighs them alike; beyond the data they go on in a straight line.

    Arguments:
        parents: The variables to read.
        knots: The number of knots of each spline, 6 or 10.
    """

    knots: Tensor
    centre: Tensor
    whitening: Tensor

    def __init__(self, parents: tuple[Variable, ...], knots: int = 6) -> None:
        super().__init__()
        self.parents = parents
        self.quantiles = _KNOT_QUANTILES[knots]
        continuous = sum(not p.is_discrete for p in parents)
        size = knots
        ends = [p.bounds or (-2.0, 2.0) for p in parents if not p.is_discrete]
        positions = [torch.linspace(a, b, size, dtype=torch.float64) for a, b in ends]
        self.register_buffer(
            "knots", torch.stack(positions) if positions else torch.zeros(0, size)
        )
        self.register_buffer("centre", torch.zeros(continuous, size - 1, dtype=torch.float64))
        eye = torch.eye(size - 1, dtype=torch.float64).repeat(continuous, 1, 1)
        self.register_buffer("whitening", eye)
        self.double()

    @property
    def width(self) -> int:
        """How many columns the parents become."""
        spline = len(self.quantiles) - 1
        return sum(len(p.levels) - 1 if p.is_discrete else spline for p in self.parents)

    @torch.no_grad()
    def calibrate(self, pa: Parents, weights: Tensor) -> None:
        """Sets knots, centres and whitening from rows (rows,) that count `weights` times."""
        share = weights / weights.sum()
        for c, variable in enumerate(p for p in self.parents if not p.is_discrete):
            value = pa[variable.name]
            ordered, order = value.sort()
            reached = share[order].cumsum(0)
            wanted = torch.tensor(self.quantiles, dtype=torch.float64) * reached[-1]
            at = torch.searchsorted(reached, wanted).clamp(max=len(ordered) - 1)
            knots = ordered[at]
            if (knots.diff() <= 0).any():
                low, high = float(ordered[0]), float(ordered[-1])
                high = high if high > low else low + 1.0
                knots = torch.linspace(low, high, len(knots), dtype=torch.float64)
            self.knots[c] = knots
            basis = _natural_spline(value, knots)
            self.centre[c] = share @ basis
            centred = basis - self.centre[c]
            spread, axes = torch.linalg.eigh(centred.mT @ (share[:, None] * centred))
            least = _LEAST_SPREAD[len(self.quantiles)]
            kept = spread > least * spread[-1].clamp(min=1e-300)
            scale = torch.where(kept, spread.clamp(min=1e-300).rsqrt(), 0.0)
            self.whitening[c] = axes * scale

    @torch.no_grad()
    def straight(self) -> Tensor:
        """Returns the projection (width, width) of weights onto straight lines in every number.

        Weights of levels are left as they are.
        """
        blocks, c = [], 0
        for variable in self.parents:
            if variable.is_discrete:
                blocks.append(torch.eye(len(variable.levels) - 1, dtype=torch.float64))
                continue
            # Columns are basis @ whitening, the first basis function is the number itself.
            whitening = self.whitening[c].to(torch.float64)
            lengths = whitening.square().sum(0)
            line = torch.where(lengths > 0, whitening[0] / lengths.clamp(min=1e-300), 0.0)
            norm = line.square().sum().clamp(min=1e-300)
            blocks.append(torch.outer(line, line) / norm)
            c += 1
        return torch.block_diag(*blocks) if blocks else torch.zeros(0, 0, dtype=torch.float64)

    def forward(self, pa: Parents) -> Tensor:
        """Returns the columns (rows, width) of parents (rows,); one row without parents."""
        if not self.parents:
            return self.knots.new_zeros(1, 0)
        columns, c = [], 0
        for variable in self.parents:
            value = pa[variable.name]
            if variable.is_discrete:
                levels = torch.arange(1, len(variable.levels), device=value.device)
                columns.append((value[:, None] == levels).to(torch.float64))
            else:
                basis = _natural_spline(value.to(torch.float64), self.knots[c]) - self.centre[c]
                columns.append(basis @ self.whitening[c])
                c += 1
        return torch.cat(columns, -1)


def _natural_spline(x: Tensor, knots: Tensor) -> Tensor:
    """Returns the natural cubic spline basis (rows, knots − 1), without its constant."""
    low, span = knots[0], knots[-1] - knots[0]
    z, t = (x - low) / span, (knots - low) / span
    cubes = (z[:, None] - t).clamp(min=0.0) ** 3
    d = (cubes[:, :-1] - cubes[:, -1:]) / (t[-1] - t[:-1])
    return torch.cat((z[:, None], d[:, :-1] - d[:, -1:]), -1)


@final
class SkipNetwork(nn.Module):
    """A linear map plus, where `hidden` is not empty, a residual network that starts at zero.

    Arguments:
        inputs: The number of columns.
        outputs: The number of coefficients.
        hidden: The widths of the residual's hidden layers; empty for the linear map alone.
    """

    def __init__(self, inputs: int, outputs: int, hidden: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.linear = _Linear(inputs, outputs)
        widths = (inputs, *hidden, outputs) if hidden else ()
        self.residual = nn.ModuleList(_Linear(i, o) for i, o in itertools.pairwise(widths))

    @property
    def layers(self) -> list["_Linear"]:
        """The layers of the residual, empty for none."""
        return [cast(_Linear, layer) for layer in self.residual]

    @property
    def hidden(self) -> tuple[int, ...]:
        """The widths of the residual's hidden layers, empty for none."""
        return tuple(len(layer.bias) for layer in self.layers[:-1])

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Draws the residual's hidden layers; its last layer is set to zero."""
        for layer in self.layers[:-1]:
            bound = math.sqrt(3.0 / max(layer.weight.shape[1], 1))
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.bias.uniform_(-0.5, 0.5, generator=generator)
        for layer in self.layers[-1:]:
            layer.weight.zero_()
            layer.bias.zero_()

    def forward(self, columns: Tensor) -> Tensor:
        """Returns coefficients (rows, outputs) of columns (rows, inputs)."""
        out, hidden = self.linear(columns), columns
        for layer in self.layers[:-1]:
            hidden = torch.tanh(layer(hidden))  # levels off outside the data
        return out + self.layers[-1](hidden) if self.layers else out


@final
class _Linear(nn.Module):
    """A linear map that starts at zero, without touching the global random state."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros(outputs, dtype=torch.float64))

    def forward(self, columns: Tensor) -> Tensor:
        """Returns (rows, outputs) of columns (rows, inputs)."""
        return nn.functional.linear(columns, self.weight, self.bias)


def _is_saturated(parents: tuple[Variable, ...]) -> bool:
    """Whether a linear map of the features is already every function of the parents."""
    return not parents or (len(parents) == 1 and parents[0].is_discrete)


@final
class Conditioner(nn.Module):
    r"""Carries parents to the coefficients of a mechanism, :math:`\theta(\mathrm{pa})`.

    Arguments:
        parents: The variables to read.
        outputs: The number of coefficients.
        hidden: The widths of the residual network's hidden layers; empty for none.
        knots: The number of knots of the splines of continuous parents, 6 or 10.
    """

    def __init__(
        self,
        parents: tuple[Variable, ...],
        outputs: int,
        hidden: tuple[int, ...] = (),
        knots: int = 6,
    ) -> None:
        super().__init__()
        self.parents = parents
        self.outputs = outputs
        self.features = ParentFeatures(parents, knots)
        hidden = () if _is_saturated(parents) else tuple(hidden)
        self.network = SkipNetwork(self.features.width, outputs, hidden)

    @property
    def hidden(self) -> tuple[int, ...]:
        """The widths of the residual network's hidden layers, empty for none."""
        return self.network.hidden

    @property
    def knots(self) -> int:
        """The number of knots of the splines of continuous parents."""
        return len(self.features.quantiles)

    def forward(self, pa: Parents) -> Tensor:
        """Returns coefficients (rows, outputs) of parents given as (rows,)."""
        return self.network(self.features(pa))
