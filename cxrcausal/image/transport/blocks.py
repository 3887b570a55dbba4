"""The cosine transform of blocks of an image: orthonormal, so volumes and distances stay.

References:
    | Discrete Cosine Transform (Ahmed, Natarajan and Rao, 1974), IEEE Transactions on Computers 23
"""

import math
from typing import final

import torch
from einops import rearrange
from torch import Tensor

from cxrcausal.errors import ImageError
from cxrcausal.shapes import Noise

__all__ = ["BlockCosines"]


@final
class BlockCosines:
    """Coefficients of square blocks, and back.

    Arguments:
        image_shape: Channels, height and width of the images.
        block: The side of a block in pixels; it divides height and width.

    Raises:
        ImageError: If it does not.
    """

    def __init__(self, image_shape: tuple[int, int, int], block: int) -> None:
        channels, height, width = image_shape
        if block < 1 or height % block or width % block:
            raise ImageError(
                f"images of {height} by {width} pixels have no whole blocks of side {block}; give "
                "a divisor of both sides"
            )
        self.block = block
        self.shape = (channels, height // block, width // block, block, block)

    def forward(self, x: Noise, offset: int = 0) -> Tensor:
        """Returns the coefficients of each block.

        Arguments:
            x: Images, (batch, channel, height, width).
            offset: How far down and to the right the first block starts, in pixels; blocks that
                leave the image go on at its other side.

        Returns:
            Coefficients (batch, channel, down, across, i, j): the block's place, and the halves of
            a wave that fit into it downward and across.
        """
        moved = x.roll((-offset, -offset), dims=(-2, -1))
        d, a = self.shape[1:3]
        blocks = rearrange(moved, "n c (d i) (a j) -> n c d a i j", d=d, a=a)
        cosines = _cosines(self.block).to(x)
        return cosines @ blocks @ cosines.T

    def inverse(self, coefficients: Tensor, offset: int = 0) -> Noise:
        """Returns the images of these coefficients, as `forward` of the same offset gives them."""
        cosines = _cosines(self.block).to(coefficients)
        blocks = cosines.T @ coefficients @ cosines
        moved = rearrange(blocks, "n c d a i j -> n c (d i) (a j)")
        return moved.roll((offset, offset), dims=(-2, -1))

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
