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

from cxrcausal.image.transport.blocks import BlockCosines
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
        offset: Where the first block starts, in pixels down and to the right.
        mean: Weights of the means, (features, coefficients), float32.
        log_scale: Weights of the log-scales, the same.
    """

    offset: int
    mean: Tensor
    log_scale: Tensor

    def moments(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and log-scale of each row's coefficients, (rows, coefficients) both."""
        return features @ self.mean, (features @ self.log_scale).clamp(-_MOST, _MOST)

    def undo(self, blocks: BlockCosines, noise: Tensor, features: Tensor) -> Tensor:
        """Returns the standardised noise, (rows, channel, height, width)."""
        mean, log_scale = (part.unflatten(1, blocks.shape) for part in self.moments(features))
        z = (blocks.forward(noise, self.offset) - mean) * (-log_scale).exp()
        return blocks.inverse(z, self.offset)

    def apply(self, blocks: BlockCosines, noise: Tensor, features: Tensor) -> Tensor:
        """Returns the noise of which `undo` made this one, (rows, channel, height, width)."""
        mean, log_scale = (part.unflatten(1, blocks.shape) for part in self.moments(features))
        c = mean + log_scale.exp() * blocks.forward(noise, self.offset)
        return blocks.inverse(c, self.offset)

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

    def coefficients(self, blocks: BlockCosines, layers: Sequence[Layer], offset: int) -> Tensor:
        """Returns what these layers leave of each row, in blocks, (rows, coefficients)."""
        parts = []
        for x, f in zip(self.noise.split(_CHUNK), self.features.split(_CHUNK), strict=True):
            for layer in layers:
                x = layer.undo(blocks, x, f)
            parts.append(blocks.forward(x, offset).flatten(1))
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
    blocks: BlockCosines,
    offsets: Sequence[int],
    shrinkages: Sequence[float] = SHRINKAGES,
    progress: bool | None = False,
) -> list[Chosen]:
    """Returns the layers that gain, the one next to the flow first.

    Arguments:
        rows: What they are fitted to.
        blocks: The transform.
        offsets: The offset of each layer that is tried.
        shrinkages: Factors on the penalties that are tried; infinity leaves a part out.
        progress: Whether to show a progress bar; on a terminal only if None.
    """
    of_fold: list[list[Layer]] = [[] for _ in range(int(rows.fold.max()) + 1)]
    chosen: list[Chosen] = []
    with tqdm(
        total=2 * len(offsets), desc="fit transport", unit="part", leave=False,
        disable=None if progress is None else not progress,
    ) as bar:  # fmt: skip
        for offset in offsets:

            def means(to: Regression, offset: int = offset) -> list[Layer]:
                return [Layer(offset, to.mean(s), to.nothing()) for s in shrinkages]

            of_mean, _, _ = _best(rows, blocks, of_fold, offset, means)
            bar.update()

            def both(
                to: Regression, offset: int = offset, of_mean: float = shrinkages[of_mean]
            ) -> list[Layer]:
                mean, parts = to.mean(of_mean), [None]
                for s in shrinkages:  # one's weights are where the next one's begin
                    parts.append(to.log_scale(mean, s, parts[-1]))
                return [Layer(offset, mean, part) for part in parts[1:]]

            of_scale, layers, nats = _best(rows, blocks, of_fold, offset, both)
            bar.update()
            shrinkage = (shrinkages[of_mean], shrinkages[of_scale])
            if all(map(math.isinf, shrinkage)) or not nats.sum() > 0:
                break
            for before, layer in zip(of_fold, layers, strict=True):
                before.append(layer)
            before = [found.layer for found in chosen]
            to = Regression(
                blocks, rows.coefficients(blocks, before, offset), rows.features, rows.parent
            )
            mean = to.mean(shrinkage[0])
            chosen.append(
                Chosen(Layer(offset, mean, to.log_scale(mean, shrinkage[1])), shrinkage, nats)
            )
    return chosen


def _best(
    rows: Rows,
    blocks: BlockCosines,
    of_fold: list[list[Layer]],
    offset: int,
    candidates: Callable[[Regression], list[Layer]],
) -> tuple[int, list[Layer], np.ndarray]:
    """Returns which candidate gains most, its layer in each fold, and its nats (rows,)."""
    layers, nats = [], []
    for k, before in enumerate(of_fold):
        out = torch.from_numpy(rows.fold == k)
        c, f = rows.coefficients(blocks, before, offset), rows.features
        tried = candidates(Regression(blocks, c[~out], f[~out], rows.parent))
        layers.append(tried)
        gained = np.full((len(tried), len(f)), 0.0)
        gained[:, out] = [layer.nats(c[out], f[out]) for layer in tried]
        nats.append(gained)
    of_candidate = np.sum(nats, axis=0)
    best = int(of_candidate.sum(axis=1).argmax())
    return best, [tried[best] for tried in layers], of_candidate[best]
