r"""Means and log-scales of noise, linear in the parents, each shrunk as far as the data ask.

The prior of the weights is Gaussian, with a variance :math:`\tau^2` for each parent and each ring
of spatial frequency over the grid of blocks, so that neighbouring blocks share an effect as far
as they agree. Given the variances, and noise of unit variance, the posterior mean is a ridge
regression,

.. math:: w = (\Phi^\top \Phi + \lambda \, \mathrm{diag}(1 / \tau^2))^{-1} \Phi^\top c,

whose matrix is the same for all coefficients of a ring. EM sets each :math:`\tau^2` to the mean
square that the posterior expects of its weights. Log-scales are found by Fisher scoring: with
:math:`r = c - m`, a step is the regression on the working response
:math:`s + \tfrac12 (r^2 e^{-2 s} - 1)`, of twice the information.

References:
    | Variances of the prior by EM: Maximum Likelihood from Incomplete Data via the EM Algorithm
    | (Dempster, Laird and Rubin, 1977), section 4.5
    | Fisher scoring of log-scales: Modelling Variance Heterogeneity in Normal Regression Using
    | GLIM (Aitkin, 1987), Applied Statistics 36
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from cxrcausal.image.transport.blocks import BlockWaves

__all__ = ["Regression"]

_EM_STEPS = 25
_SCORING_STEPS = 5  # half as many where a similar fit is known
_CHUNK = 512  # rows at a time: the squares of all coefficients of all rows would not fit
_LEAST = 1e-10  # the smallest variance of a prior


@final
@dataclass(frozen=True)
class Regression:
    """Rows to which weights are fitted.

    Arguments:
        blocks: The transform that gave the coefficients.
        coefficients: Of each row, (rows, coefficients).
        features: Of each row's parents, the first of them 1, (rows, features).
        parent: The parent that each feature is of, numbers from 0, (features,).
    """

    blocks: BlockWaves
    coefficients: Tensor
    features: Tensor
    parent: Tensor

    def mean(self, shrinkage: float) -> Tensor:
        """Returns the weights (features, coefficients) of the means, all scales taken as 1.

        Arguments:
            shrinkage: The factor on every penalty; zeros if infinite.
        """
        response = self.nothing().double()
        for f, c in self._chunks():
            response += f.T @ c
        return self._shrunk(response, 1.0, shrinkage)

    def log_scale(self, mean: Tensor, shrinkage: float, start: Tensor | None = None) -> Tensor:
        """Returns the weights (features, coefficients) of the log-scales around these means.

        Arguments:
            mean: The weights of the means.
            shrinkage: The factor on every penalty; zeros if infinite.
            start: Weights to begin with; the coefficients' overall scales if None.
        """
        if math.isinf(shrinkage):
            return self.nothing()
        weights = self._overall(mean) if start is None else start
        for _ in range(_SCORING_STEPS if start is None else _SCORING_STEPS // 2):
            response = 2 * (self._gram @ weights.double())
            for f, c in self._chunks():
                square = (c - f @ mean).square_().mul_((f @ (-2 * weights)).exp_())
                response += f.T @ square.sub_(1)
            weights = self._shrunk(response, 2.0, shrinkage)
        return weights

    def nothing(self) -> Tensor:
        """Returns weights that do nothing, (features, coefficients)."""
        return torch.zeros(self.features.shape[1], self.coefficients.shape[1])

    def _overall(self, mean: Tensor) -> Tensor:
        """Returns the log-scale of each coefficient whatever the parents are."""
        square = sum((c - f @ mean).square().double().sum(dim=0) for f, c in self._chunks())
        weights = self.nothing()
        weights[0] = (square / len(self.features)).clamp(min=1e-6).log() / 2
        return weights

    @property
    def _gram(self) -> Tensor:
        f = self.features.double()
        return f.T @ f

    def _chunks(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(self.features.split(_CHUNK), self.coefficients.split(_CHUNK), strict=True)

    def _shrunk(self, response: Tensor, information: float, shrinkage: float) -> Tensor:
        """Returns the weights' posterior means; `information` is that of one row."""
        if math.isinf(shrinkage):
            return self.nothing()
        response = self.blocks.waves(response.unflatten(1, self.blocks.shape)).flatten(1)
        gram, ring = information * self._gram, self.blocks.rings()
        of_ring = [ring == r for r in ring.unique()]
        parts = [response[:, where] for where in of_ring]
        square = torch.stack([part @ part.T / part.shape[1] for part in parts])
        penalty = 1 / self._variances(square, gram)
        matrix = gram + shrinkage * penalty.diag_embed()
        weights = torch.zeros_like(response)
        for where, part, to_invert in zip(of_ring, parts, matrix, strict=True):
            weights[:, where] = torch.linalg.solve(to_invert, part)
        return self.blocks.unwaves(weights.unflatten(1, self.blocks.shape)).flatten(1).float()

    def _variances(self, square: Tensor, gram: Tensor) -> Tensor:
        """Returns the prior's variance of the weights of each feature, (rings, features), by EM.

        Arguments:
            square: Mean over a ring's coefficients of the products of the features' responses,
                (rings, features, features).
            gram: The information of all rows, (features, features).
        """
        of_parent = torch.nn.functional.one_hot(self.parent).double()
        of_parent /= of_parent.sum(dim=0)
        variance = square.new_full(square.shape[:2], 1e-3)
        for _ in range(_EM_STEPS):
            spread = torch.linalg.inv(gram + (1 / variance).diag_embed())
            expected = (spread @ square @ spread + spread).diagonal(dim1=1, dim2=2)
            variance = (expected @ of_parent)[:, self.parent].clamp(min=_LEAST)
        return variance
