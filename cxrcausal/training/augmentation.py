"""Small random changes of training images, such as a radiographer makes too."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from cxrcausal.shapes import Image

__all__ = ["Augmentation", "augment"]


@final
@dataclass(frozen=True)
class Augmentation:
    """Small random changes that a radiographer makes too; never a flip: the heart has a side.

    A radiograph that is turned, shifted or scaled is interpolated, which takes a fifth of the
    power of its finest scale (64×64 and 128×128 alike). A generative model of such radiographs is
    one of blurred radiographs: its noise then keeps, of a sharp one, what the blur took, and with
    it the view. So recipes of image models should move nothing, as `radit-tiny` and `radit-small`.

    Arguments:
        rotation: Largest rotation, in degrees.
        shift: Largest shift in each axis, as a fraction of the side.
        scale: Largest change of scale, as a fraction.
        contrast: Largest change of contrast about the radiograph's mean, as a fraction.
    """

    rotation: float = 2.0
    shift: float = 0.03
    scale: float = 0.03
    contrast: float = 0.05

    @property
    def moves(self) -> bool:
        """Whether radiographs are turned, shifted or scaled, and so interpolated."""
        return bool(self.rotation or self.shift or self.scale)


def augment(images: Image, recipe: Augmentation, generator: Generator) -> Image:
    """Returns each radiograph slightly turned, shifted, scaled, of other contrast; in [0, 1].

    Arguments:
        images: Radiographs (batch, channel, height, width) in [0, 1].
        recipe: By how much, at most.
        generator: The source of the draws, on the CPU.
    """
    batch = len(images)

    def symmetric(*shape: int) -> Tensor:
        return 2 * torch.rand(shape, generator=generator) - 1

    moved = images
    if recipe.moves:
        moved = _moved(images, recipe, symmetric)
    gain = 1 + recipe.contrast * symmetric(batch, 1, 1, 1)
    mean = moved.mean(dim=(1, 2, 3), keepdim=True)
    return ((moved - mean) * gain + mean).clamp(0, 1)


def _moved(images: Image, recipe: Augmentation, symmetric: Callable[..., Tensor]) -> Image:
    """Returns each radiograph slightly turned, shifted and scaled."""
    batch = len(images)
    angle = math.radians(recipe.rotation) * symmetric(batch)
    scale = 1 + recipe.scale * symmetric(batch)
    shift = 2 * recipe.shift * symmetric(batch, 2)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], dim=1)
    grid = F.affine_grid(rows.view(batch, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bicubic", padding_mode="border", align_corners=False)
