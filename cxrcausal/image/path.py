r"""The straight path from noise to image, and what a network learns of it.

The convention, stated once: :math:`x_t = (1 - t)\, u + t\, x` with noise
:math:`u \sim \mathcal N(0, I)` at :math:`t = 0` and the image at :math:`t = 1`; the velocity is
:math:`v = x - u`.

References:
    | Flow Straight and Fast (Liu et al., 2022), https://arxiv.org/abs/2209.03003
    | Flow Matching for Generative Modeling (Lipman et al., 2022), https://arxiv.org/abs/2210.02747
    | Scaling Rectified Flow Transformers
    | (Esser et al., 2024; logit-normal times), https://arxiv.org/abs/2403.03206
"""

from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Generator, Tensor

from cxrcausal.errors import RecipeError
from cxrcausal.shapes import Image, Noise, Time, Velocity

__all__ = ["RectifiedPath"]


@final
@dataclass(frozen=True)
class RectifiedPath:
    """The path of a rectified flow, the distribution of its times, and the network's target.

    Arguments:
        prediction: `v`, the network gives the velocity; `x`, it gives the image (for large
            patches).
        time_mean: Mean of logit(t) in training.
        time_std: Standard deviation of logit(t) in training.
        late_share: The share of times drawn from a second such distribution, near the image, where
            the parents are worth most and few other times fall.
        late_mean: Its mean of logit(t).
        late_std: Its standard deviation of logit(t).
        mean: What is subtracted from pixels in [0, 1] before the flow sees them.
        std: What they are divided by then.
    """

    prediction: Literal["v", "x"] = "v"
    time_mean: float = -0.2
    time_std: float = 1.0
    late_share: float = 0.0
    late_mean: float = 2.5
    late_std: float = 0.7
    mean: float = 0.5
    std: float = 0.5

    def scale(self, image: Image) -> Image:
        """Returns pixels in [0, 1] in the flow's own scale."""
        return (image - self.mean) / self.std

    def unscale(self, x: Image) -> Image:
        """Returns the flow's own scale as pixels, not clamped."""
        return x * self.std + self.mean

    def __post_init__(self) -> None:
        if not 0.0 <= self.late_share <= 1.0:
            raise RecipeError(f"late_share is {self.late_share:g}; a share lies in [0, 1]")

    def times(self, batch: int, generator: Generator) -> Time:
        """Returns training times (batch,)."""
        return self.times_at(torch.rand(batch, generator=generator))

    def times_at(self, place: Tensor) -> Time:
        """Returns the times at which numbers in [0, 1] stand, uniform numbers becoming training's.

        Both parts of the mixture are logit-normal; the late part takes the numbers at the end.
        """
        early = 1 - self.late_share
        late = place >= early
        share = torch.where(
            late, (place - early) / max(self.late_share, 1e-9), place / max(early, 1e-9)
        )
        logit = torch.special.ndtri(share.double().clamp(0, 1))
        mean = torch.where(late, self.late_mean, self.time_mean)
        std = torch.where(late, self.late_std, self.time_std)
        return torch.sigmoid(mean + std * logit).float()

    def between(self, noise: Noise, image: Image, t: Time) -> Image:
        """Returns :math:`x_t` in the flow's own scale."""
        t = _column(t)
        return (1 - t) * noise + t * image

    def target(self, noise: Noise, image: Image, t: Time) -> Velocity:
        """Returns the velocity to learn, or the one that an image prediction means.

        Both sides hold t below .98 then, so that an exact network has no loss.
        """
        if self.prediction == "v":
            return image - noise
        return self.velocity(image, self.between(noise, image, t), t)

    def velocity(self, output: Tensor, x_t: Image, t: Time) -> Velocity:
        """Returns the velocity that the network's output means at `x_t`.

        With `prediction="x"` an error of the output is multiplied by 1 / (1 - t); t is held below
        .98, as its authors do, so that the image end stays finite.
        """
        if self.prediction == "v":
            return output
        return (output - x_t) / (1 - _column(t)).clamp(min=0.02)


def _column(t: Time) -> Tensor:
    return t[:, None, None, None]
