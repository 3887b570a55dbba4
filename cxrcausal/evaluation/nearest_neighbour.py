r"""Did the model learn radiographs by heart? Samples beside their nearest training radiographs.

A sample that lies nearer to a training radiograph than other patients' radiographs do is suspect.
The yardstick is the distance of held-out real radiographs to *their* nearest training radiographs,
in pixels and in the features of a predictor, which do not mind grain or a small shift.

References:
    | Extracting Training Data from Diffusion Models
    | (Carlini et al., 2023), https://arxiv.org/abs/2301.13188
"""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from cxrcausal.errors import ImageError
from cxrcausal.evaluation.predictor import Predictor

__all__ = ["Memorisation", "Neighbours", "memorisation", "nearest_neighbours"]


@final
@dataclass(frozen=True)
class Neighbours:
    """The nearest training radiograph of each image.

    Arguments:
        distance: How far it is, (images,).
        ratio: That over the distance to the second nearest, (images,); a copy stands out by a
            small one.
        index: Which training radiograph it is, (images,).
    """

    distance: np.ndarray
    ratio: np.ndarray
    index: np.ndarray


@final
@dataclass(frozen=True)
class Memorisation:
    """Samples beside held-out radiographs, in one space.

    Arguments:
        samples: The samples' nearest training radiographs.
        held_out: Those of real radiographs of other patients.
        suspect: Share of the samples nearer to a training radiograph than 99 % of the held-out
            radiographs are; one in a hundred where nothing is memorised.
        copied: How many samples lie nearer than every held-out radiograph does, by half of that
            distance.
    """

    samples: Neighbours
    held_out: Neighbours
    suspect: float
    copied: int

    def summary(self) -> dict[str, float]:
        """Returns the figures that a report shows."""
        return {
            "samples": len(self.samples.distance),
            "sample_median": float(np.median(self.samples.distance)),
            "sample_nearest": float(self.samples.distance.min()),
            "sample_ratio_lowest": float(self.samples.ratio.min()),
            "held_out_median": float(np.median(self.held_out.distance)),
            "held_out_nearest": float(self.held_out.distance.min()),
            "held_out_ratio_lowest": float(self.held_out.ratio.min()),
            "suspect": self.suspect,
            "copied": self.copied,
        }


def memorisation(
    samples: Tensor, training: Tensor, held_out: Tensor, predictor: Predictor | None = None
) -> Memorisation:
    """Compares samples with the radiographs that the model was trained on.

    Arguments:
        samples: Images that the model painted from fresh noise, (samples, channel, height, width).
        training: The radiographs that it was trained on, (radiographs, channel, height, width).
        held_out: Real radiographs of other patients, likewise.
        predictor: Measures distance in its features; root mean squared difference of pixels if
            left out.

    Raises:
        ImageError: If there are fewer than two training radiographs, no samples or no held-out
            radiographs.
    """
    if len(training) < 2 or not len(samples) or not len(held_out):
        raise ImageError(
            f"{len(samples)} samples, {len(training)} training and {len(held_out)} held-out "
            "radiographs make no comparison; give at least one, two and one"
        )
    parts = (samples, training, held_out)
    if predictor is None:
        a, b, c = (x.flatten(1) / x[0].numel() ** 0.5 for x in parts)
    else:
        a, b, c = (predictor.embed(x) for x in parts)
        spread = b.std(dim=0).clamp(min=1e-8)  # every feature counts alike
        a, b, c = a / spread, b / spread, c / spread
    of_samples, of_held_out = nearest_neighbours(a, b), nearest_neighbours(c, b)
    limit = np.quantile(of_held_out.distance, 0.01)
    copied = of_samples.distance < of_held_out.distance.min() / 2
    return Memorisation(
        of_samples, of_held_out, float((of_samples.distance < limit).mean()), int(copied.sum())
    )


def nearest_neighbours(points: Tensor, among: Tensor) -> Neighbours:
    """Returns the nearest of `among` (n, features) for each of `points` (m, features)."""
    distance, index = [], []
    for part in points.float().split(256):
        # By differences: the product of matrices loses the small distances that matter here.
        far = torch.cdist(part, among.float(), compute_mode="donot_use_mm_for_euclid_dist")
        found = far.topk(2, dim=1, largest=False)
        distance.append(found.values)
        index.append(found.indices[:, 0])
    d = torch.cat(distance).double().numpy()
    return Neighbours(d[:, 0], d[:, 0] / np.maximum(d[:, 1], 1e-12), torch.cat(index).numpy())
