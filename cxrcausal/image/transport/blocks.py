r"""Blocks of an image as sums of waves: orthonormal transforms, so volumes and distances stay.

Two kinds. *Cosines*, :math:`\cos(\pi i (y + \tfrac12) / b) \cos(\pi j (x + \tfrac12) / b)`, need
no jump at the block's border, but cannot tell a wave from its mirror image. *Oriented* waves,
:math:`\mathrm{cas}(2 \pi (i y + j x) / b)` with :math:`\mathrm{cas} = \cos + \sin`, run in one
direction each, as the ribs of one side do.

References:
    | Discrete Cosine Transform (Ahmed, Natarajan and Rao, 1974), IEEE Transactions on Computers 23
    | Discrete Hartley Transform (Bracewell, 1983), Journal of the Optical Society of America 73
"""

import math
from dataclasses import dataclass
from typing import Literal, final, get_args

import torch
from einops import rearrange
from torch import Tensor

from cxrcausal.errors import ImageError
from cxrcausal.shapes import Noise

__all__ = ["BlockWaves", "Kind"]

Kind = Literal["cosine", "oriented"]


@final
@dataclass(frozen=True)
class BlockWaves:
    """Coefficients of square blocks, and back.

    Arguments:
        image_shape: Channels, height and width of the images.
        kind: `cosine` or `oriented`.
        block: The side of a block in pixels; it divides height and width.
        offset: How far down and to the right the first block starts, in pixels; blocks that leave
            the image go on at its other side.

    Raises:
        ImageError: If there is no such kind, or the images have no whole blocks.
    """

    image_shape: tuple[int, int, int]
    kind: Kind
    block: int
    offset: int = 0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ImageError(
                f"blocks of {self.kind!r} waves; allowed: {', '.join(get_args(Kind))}"
            )
        _, height, width = self.image_shape
        if self.block < 1 or height % self.block or width % self.block:
            raise ImageError(
                f"images of {height} by {width} pixels have no whole blocks of side {self.block}; "
                "give a divisor of both sides"
            )

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Channels, blocks downward and across, waves downward and across in each."""
        channels, height, width = self.image_shape
        return channels, height // self.block, width // self.block, self.block, self.block

    def forward(self, x: Noise) -> Tensor:
        """Returns the coefficients (batch, channel, down, across, i, j) of each block.

        Arguments:
            x: Images, (batch, channel, height, width).
        """
        moved = x.roll((-self.offset, -self.offset), dims=(-2, -1))
        d, a = self.shape[1:3]
        blocks = rearrange(moved, "n c (d i) (a j) -> n c d a i j", d=d, a=a)
        waves = _cosines(self.block).to(x)
        if self.kind == "cosine":
            return waves @ blocks @ waves.T
        return _oriented(blocks)

    def inverse(self, coefficients: Tensor) -> Noise:
        """Returns the images whose coefficients these are."""
        waves = _cosines(self.block).to(coefficients)
        if self.kind == "cosine":
            blocks = waves.T @ coefficients @ waves
        else:
            blocks = _oriented(coefficients)
        moved = rearrange(blocks, "n c d a i j -> n c (d i) (a j)")
        return moved.roll((self.offset, self.offset), dims=(-2, -1))

    def waves(self, x: Tensor) -> Tensor:
        """Returns the cosine transform over the grid of blocks, (..., down, across, i, j)."""
        down, across = (_cosines(n).to(x) for n in self.shape[1:3])
        return torch.einsum("yd,xa,...daij->...yxij", down, across, x)

    def unwaves(self, x: Tensor) -> Tensor:
        """Returns what `waves` was taken of."""
        down, across = (_cosines(n).to(x) for n in self.shape[1:3])
        return torch.einsum("yd,xa,...yxij->...daij", down, across, x)

    def rings(self, number: int = 8) -> Tensor:
        """Returns which ring of frequency over the grid each of `waves` is in, (coefficients,).

        Ring 0 is the mean over all blocks; the last holds what changes from block to block.
        """
        _, d, a, *_ = self.shape
        down, across = torch.arange(d) / d, torch.arange(a) / a
        radius = (down[:, None].square() + across[None, :].square()).sqrt()
        ring = (radius * number).round().clamp(max=number - 1).long()
        return ring[None, :, :, None, None].expand(self.shape).flatten()


def _cosines(size: int) -> Tensor:
    """Returns the orthonormal transform (size, size), float64; its rows are the waves."""
    at = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    number = torch.arange(size, dtype=torch.float64)[:, None]
    wave = math.sqrt(2 / size) * (math.pi * number * at).cos()
    wave[0] /= math.sqrt(2)
    return wave


def _oriented(blocks: Tensor) -> Tensor:
    """Returns the Hartley transform of blocks (..., block, block), which is its own inverse."""
    side = blocks.shape[-1]
    index = torch.arange(side, dtype=torch.float64)
    angle = 2 * math.pi * index[:, None] * index / side
    cos, sin = angle.cos().to(blocks), angle.sin().to(blocks)
    # cas(a + b) = cos a (cos b + sin b) + sin a (cos b - sin b)
    return (cos @ blocks @ (cos + sin) + sin @ blocks @ (cos - sin)) / side
