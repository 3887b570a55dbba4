r"""What the condition does at a fixed place: maps over the patches, mixed by the condition.

Adaptive modulation is the same at every patch, so a parent's effect at one place (the border of a
film, the base of a lung) would have to travel through attention. Here it has its own way: a few
maps over the patches, learnt once, whose mixture the condition decides.

At the image's end the same mixture gives an *affine* velocity. If the radiographs of equal parents
were Gaussian with mean :math:`m` and standard deviation :math:`s` in each coefficient of a cosine
transform, the flow's velocity would be

.. math:: v(x_t, t) = m + \frac{t s^2 - (1 - t)}{t^2 s^2 + (1 - t)^2} (x_t - t\, m),

affine in :math:`x_t`. `AffineVelocity` carries that part, so that the transformer, whose norms
forget the size of what they read, is left with what is not Gaussian.

References:
    | Elucidating the Design Space of Diffusion-Based Generative Models
    | (Karras et al., 2022; the skip path), https://arxiv.org/abs/2206.00364
"""

import math
from typing import final

import torch
from torch import Tensor, nn

from cxrcausal.shapes import Embedding, Patches

__all__ = ["AffineVelocity", "PlaceMaps", "cosine_basis"]


@final
class PlaceMaps(nn.Module):
    """A few maps over the patches, mixed by the condition; zero at initialisation.

    Arguments:
        width: The width of the condition.
        rank: The number of maps.
        tokens: The number of patches.
        features: What a map holds at each patch.
    """

    def __init__(self, width: int, rank: int, tokens: int, features: int) -> None:
        super().__init__()
        self.mixture = nn.Linear(width, rank)
        self.maps = nn.Parameter(torch.randn(rank, tokens, features) / math.sqrt(rank))
        nn.init.zeros_(self.mixture.weight)
        nn.init.zeros_(self.mixture.bias)

    def forward(self, condition: Embedding) -> Patches:
        """Returns the mixture of maps (batch, tokens, features) that each condition asks for."""
        mixed = self.mixture(condition) @ self.maps.flatten(1)
        return mixed.unflatten(1, self.maps.shape[1:])


def cosine_basis(side: int) -> Tensor:
    """Returns the orthonormal cosine transform (side², side²) of a square, a frequency a row.

    Its rows stand in the order of (vertical, horizontal) frequency.
    """
    place = (torch.arange(side, dtype=torch.float64) + 0.5) * math.pi / side
    line = torch.cos(torch.arange(side, dtype=torch.float64)[:, None] * place)
    line *= math.sqrt(2 / side)
    line[0] /= math.sqrt(2)
    return torch.kron(line, line).float()


@final
class AffineVelocity(nn.Module):
    """A velocity that is affine in the noisy patches, by frequency, place and condition.

    Arguments:
        width: The width of the condition.
        rank: The number of maps over the patches.
        tokens: The number of patches.
        channels: The image's channels.
        patch: The side of a patch.
    """

    def __init__(self, width: int, rank: int, tokens: int, channels: int, patch: int) -> None:
        super().__init__()
        features = channels * patch * patch
        self.channels = channels
        self.everywhere = nn.Linear(width, 2 * features)
        self.places = PlaceMaps(width, rank, tokens, 2 * features)
        self.register_buffer("basis", cosine_basis(patch), persistent=False)
        nn.init.zeros_(self.everywhere.weight)
        nn.init.zeros_(self.everywhere.bias)

    def forward(self, patches: Patches, condition: Embedding) -> Patches:
        """Returns the velocity of each patch (batch, tokens, channels · patch²)."""
        total = self.everywhere(condition)[:, None] + self.places(condition)
        shift, gain = total.chunk(2, dim=-1)
        basis = self.basis.to(patches.dtype)
        spectrum = (patches.unflatten(-1, (self.channels, -1)) @ basis.T).flatten(-2)
        return ((shift + gain * spectrum).unflatten(-1, (self.channels, -1)) @ basis).flatten(-2)
