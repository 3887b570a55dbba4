"""Whether a radiograph comes back from its own noise; else its counterfactual says little.

Abduction and prediction under the same parents should return the radiograph. A negative, another
body part or one on its side does not: what was abducted from it stands for another image, and the
counterfactual differs from the radiograph by the flow's own error more than by the intervention.
How much error is the solver's own is measured on images that the model painted itself.
"""

import math

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.counterfactual.image_mechanism import ImageMechanism
from cxrcausal.graph import CausalGraph
from cxrcausal.randomness import label_words

__all__ = ["RoundTrip", "round_trip_error"]

FLOOR = 0.01
"""An error below this share of the grey scale is never far worse than the model's own."""
TIMES = 4.0
"""The multiple of the model's own error that is far worse; 2 % of radiographs reach it."""
SAMPLES = 8


def round_trip_error(images: Tensor, reconstruction: Tensor) -> np.ndarray:
    """Returns the mean absolute error (batch,) of images (batch, channel, height, width)."""
    difference = (reconstruction.cpu() - images.cpu()).abs().flatten(1)
    return difference.mean(1).double().numpy()


class RoundTrip:
    """A model's own round-trip error, measured once for each solver, when it is first needed.

    Arguments:
        image: The image mechanism.
        graph: The causal graph of the mechanism.
    """

    def __init__(self, image: ImageMechanism, graph: CausalGraph) -> None:
        self.image = image
        self.graph = graph
        self._own: dict[str, float] = {}

    def own(self, num_steps: int | None) -> float:
        """Returns the mean error over images that the mechanism paints of unknown parents."""
        solver = str(self.image.describe(num_steps))
        if solver not in self._own:
            index = pd.RangeIndex(SAMPLES)
            unknown = pd.DataFrame(math.nan, index, list(self.graph.variables))
            parents, _ = self.image.encode(unknown)
            with torch.no_grad():
                noise = self.image.prior(label_words(index), 0)
                painted = self.image.predict(noise, parents, solver=num_steps).clamp(0, 1)
                u = self.image.abduct(painted, parents, solver=num_steps)
                again = self.image.predict(u, parents, solver=num_steps)
            self._own[solver] = float(round_trip_error(painted, again).mean())
        return self._own[solver]

    def most(self, error: np.ndarray, num_steps: int | None) -> float:
        """Returns the error up to which a radiograph counts as having come back.

        Arguments:
            error: The errors (batch,); where all are small the model's own need not be measured.
            num_steps: The number of the solver's steps; the recipe's if None.
        """
        if not (error > FLOOR).any():
            return FLOOR
        return max(FLOOR, TIMES * self.own(num_steps))
