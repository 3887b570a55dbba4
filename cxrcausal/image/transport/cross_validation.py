"""Layers of a transport are fitted one on the other, each as strongly as unseen patients bear.

For every layer the shrinkage of its means, then that of its log-scales, is the one under which
patients who were left out are likeliest. Within each fold the layers before were fitted without
those patients too, so the nats that are reported are of patients whom no weight has seen.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from cxrcausal.image.transport.blocks import BlockWaves
from cxrcausal.image.transport.regression import Regression

__all__ = ["SHRINKAGES", "Chosen", "Layer", "Rows", "fit_layers"]

SHRINKAGES = (1.0, 3.0, 10.0, math.inf)

_MOST = 4.0  # no parents scale a coefficient by more than e^4
_CHUNK = 512  # rows at a time


@final
@dataclass(frozen=True)
class Layer:
    """An affine map of the coefficients of blocks, given features of the parents.

    Arguments:
        blocks: The transform.
        mean: Weights of the means, (features, coefficients), float32.
        log_scale: Weights of the log-scales, the same.
    """

    blocks: BlockWaves
    mean: Tensor
    log_scale: Tensor

    def moments(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and log-scale of each row's coefficients, (rows, coefficients) both."""
        return features @ self.mean, (features @ self.log_scale).clamp(-_MOST, _MOST)

    def undo(self, noise: Tensor, features: Tensor) -> Tensor:
        """Returns the standardised noise, (rows, channel, height, width)."""
        mean, log_scale = (part.unflatten(1, self.blocks.shape) for part in self.moments(features))
        z = (self.blocks.forward(noise) - mean) * (-log_scale).exp()
        return self.blocks.inverse(z)

    def apply(self, noise: Tensor, features: Tensor) -> Tensor:
        """Returns the noise of which `undo` made this one, (rows, channel, height, width)."""
        mean, log_scale = (part.unflatten(1, self.blocks.shape) for part in self.moments(features))
        c = mean + log_scale.exp() * self.blocks.forward(noise)
        return self.blocks.inverse(c)

    def nats(self, coefficients: Tensor, features: Tensor) -> Tensor:
        """Returns by how much the layer raises the log-density of each row, (rows,) float64."""
        parts = []
        for c, f in zip(coefficients.split(_CHUNK), features.split(_CHUNK), strict=True):
            mean, log_scale = self.moments(f)
            z = (c - mean) * (-log_scale).exp()
            parts.append(((c.square() - z.square()) / 2 - log_scale).double().sum(dim=1))
        return torch.cat(parts)


@final
@dataclass(frozen=True)
class Rows:
    """Noise and features of the rows of a fit.

    Arguments:
        noise: Standard normal but for what is to be found, (rows, channel, height, width).
        features: Of the parents, the first of them 1, (rows, features).
        parent: The parent that each feature is of, numbers from 0, (features,).
        fold: Which rows are left out together, numbers from 0, (rows,).
    """

    noise: Tensor
    features: Tensor
    parent: Tensor
    fold: np.ndarray

    def coefficients(self, blocks: BlockWaves, layers: Sequence[Layer]) -> Tensor:
        """Returns what these layers leave of each row, in blocks, (rows, coefficients)."""
        parts = []
        for x, f in zip(self.noise.split(_CHUNK), self.features.split(_CHUNK), strict=True):
            for layer in layers:
                x = layer.undo(x, f)
            parts.append(blocks.forward(x).flatten(1))
        return torch.cat(parts)


@final
@dataclass(frozen=True)
class Chosen:
    """A layer, and how it was chosen.

    Arguments:
        layer: Fitted to all rows.
        shrinkage: Of its means and of its log-scales.
        nats: What it gained of each row while that was left out, (rows,).
    """

    layer: Layer
    shrinkage: tuple[float, float]
    nats: np.ndarray


def fit_layers(
    rows: Rows,
    transforms: Sequence[BlockWaves],
    shrinkages: Sequence[float] = SHRINKAGES,
    progress: bool | None = False,
) -> list[Chosen]:
    """Returns the layers that gain, the one next to the flow first.

    Arguments:
        rows: What they are fitted to.
        transforms: The transform of each layer that is tried.
        shrinkages: Factors on the penalties that are tried; infinity leaves a part out.
        progress: Whether to show a progress bar; on a terminal only if None.
    """
    of_fold: list[list[Layer]] = [[] for _ in range(int(rows.fold.max()) + 1)]
    chosen: list[Chosen] = []
    with tqdm(
        transforms, desc="fit transport", unit="layer", leave=False,
        disable=None if progress is None else not progress,
    ) as bar:  # fmt: skip
        for blocks in bar:
            shrinkage, layers, nats = _choice(rows, blocks, of_fold, shrinkages)
            if all(map(math.isinf, shrinkage)) or not nats.sum() > 0:
                continue
            for before, layer in zip(of_fold, layers, strict=True):
                before.append(layer)
            c = rows.coefficients(blocks, [found.layer for found in chosen])
            to = Regression(blocks, c, rows.features, rows.parent)
            mean = to.mean(shrinkage[0])
            layer = Layer(blocks, mean, to.log_scale(mean, shrinkage[1]))
            chosen.append(Chosen(layer, shrinkage, nats))
    return chosen


def _choice(
    rows: Rows, blocks: BlockWaves, of_fold: list[list[Layer]], shrinkages: Sequence[float]
) -> tuple[tuple[float, float], list[Layer], np.ndarray]:
    """Returns the best shrinkages of a layer, the layer of each fold, and its nats (rows,)."""

    def means(to: Regression) -> list[Layer]:
        return [Layer(blocks, to.mean(s), to.nothing()) for s in shrinkages]

    of_mean = shrinkages[_best(rows, blocks, of_fold, means)[0]]

    def scales(to: Regression) -> list[Layer]:
        mean, found = to.mean(of_mean), None
        layers = []
        for s in shrinkages:  # one's weights are where the next one's begin
            found = to.log_scale(mean, s, found)
            layers.append(Layer(blocks, mean, found))
        return layers

    best, layers, nats = _best(rows, blocks, of_fold, scales)
    return (of_mean, shrinkages[best]), layers, nats


def _best(
    rows: Rows,
    blocks: BlockWaves,
    of_fold: list[list[Layer]],
    candidates: Callable[[Regression], list[Layer]],
) -> tuple[int, list[Layer], np.ndarray]:
    """Returns which candidate gains most, its layer in each fold, and its nats (rows,)."""
    layers: list[list[Layer]] = []
    nats: list[np.ndarray] = []
    for k, before in enumerate(of_fold):
        out = torch.from_numpy(rows.fold == k)
        c, f = rows.coefficients(blocks, before), rows.features
        tried = candidates(Regression(blocks, c[~out], f[~out], rows.parent))
        layers.append(tried)
        gained = np.zeros((len(tried), len(f)))
        gained[:, out] = torch.stack([layer.nats(c[out], f[out]) for layer in tried])
        nats.append(gained)
    total = np.sum(nats, axis=0)
    best = int(total.sum(axis=1).argmax())
    return best, [tried[best] for tried in layers], total[best]
