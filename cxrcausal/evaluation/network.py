r"""What a predictor sees with: two networks from image to features that err in different ways.

Whether a counterfactual shows what was asked should not depend on who reads it. A residual network
sees texture in small neighbourhoods, a transformer compares places far apart; what both read in an
image is more likely to be there.

References:
    | Deep Residual Learning for Image Recognition
    | (He et al., 2016), https://arxiv.org/abs/1512.03385
    | Group Normalization (Wu and He, 2018), https://arxiv.org/abs/1803.08494
    | An Image is Worth 16x16 Words (Dosovitskiy et al., 2021), https://arxiv.org/abs/2010.11929
    | Early Convolutions Help Transformers See Better
    | (Xiao et al., 2021), https://arxiv.org/abs/2106.14881
"""

from typing import Literal, final, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cxrcausal.errors import ImageError, nearest, summarise
from cxrcausal.shapes import Features, Image

__all__ = ["Architecture", "ResidualNetwork", "TransformerNetwork", "block_mean", "build_network"]

Architecture = Literal["residual", "transformer"]

_STEM = 8  # a token of the transformer is 8 × 8 pixels


def block_mean(images: Image, size: int) -> Tensor:
    """Returns images of that side, each pixel the mean of a block; so resolutions compare.

    Arguments:
        images: (batch, channel, height, width), square.
        size: The side to bring them to.

    Raises:
        ImageError: If the images are not square, or their side is no multiple of `size`.

    Example:
        >>> block_mean(torch.arange(16.0).view(1, 1, 4, 4), 2).flatten().tolist()
        [2.5, 4.5, 10.5, 12.5]
    """
    height, width = images.shape[-2:]
    if height != width or height % size:
        raise ImageError(
            f"images are {height} × {width} pixels; squares with a side that is a multiple of "
            f"{size} are averaged to {size} × {size}"
        )
    return images if height == size else F.avg_pool2d(images, height // size)


class _Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut, normalised first; `stride` 2 halves the image."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm_1 = nn.GroupNorm(8, inputs)
        self.conv_1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm_2 = nn.GroupNorm(8, outputs)
        self.conv_2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False) if stride > 1 else nn.Identity()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_1(F.silu(self.norm_1(x)))
        h = self.conv_2(F.silu(self.norm_2(h)))
        return h + self.shortcut(F.avg_pool2d(x, 2) if self.stride > 1 else x)


@final
class ResidualNetwork(nn.Module):
    """Four residual stages after a 5×5 convolution of stride 2, averaged over the image.

    Arguments:
        size: Side of the images, a multiple of 16.
        channels: Their channels.
        width: Channels of the first stage; the four have 1, 2, 4 and 8 times as many.
    """

    def __init__(self, size: int, channels: int, width: int) -> None:
        super().__init__()
        self.features = 8 * width
        self.stem = nn.Conv2d(channels, width, 5, 2, 2, bias=False)
        self.blocks = nn.Sequential(
            _Block(width, width, 1),
            _Block(width, 2 * width, 2),
            _Block(2 * width, 4 * width, 2),
            _Block(4 * width, 8 * width, 2),
        )
        self.norm = nn.GroupNorm(8, 8 * width)
        self.to(memory_format=torch.channels_last)  # the faster one on a CPU

    def forward(self, images: Image) -> Features:
        """Returns features (batch, 8 width) of standardised images."""
        x = self.blocks(self.stem(images.contiguous(memory_format=torch.channels_last)))
        return F.silu(self.norm(x)).mean(dim=(2, 3))


class _Attention(nn.Module):
    """Self-attention and a feed-forward part, each beside a shortcut and normalised first."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 3 * width)
        self.down = nn.Linear(3 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm_1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.out(h)
        return x + self.down(F.gelu(self.up(self.norm_2(x))))


@final
class TransformerNetwork(nn.Module):
    """A small vision transformer on tokens of 8×8 pixels, which three convolutions make.

    Arguments:
        size: Side of the images, a multiple of 16.
        channels: Their channels.
        width: A sixth of the width of a token, a multiple of 8.
        depth: How many blocks.
    """

    def __init__(self, size: int, channels: int, width: int, depth: int = 4) -> None:
        super().__init__()
        self.features = 6 * width
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 4, 4, bias=False),
            nn.GroupNorm(8, width),
            nn.GELU(),
            nn.Conv2d(width, 2 * width, 3, 1, 1, bias=False),
            nn.GroupNorm(8, 2 * width),
            nn.GELU(),
            nn.Conv2d(2 * width, 6 * width, 3, 2, 1),
        ).to(memory_format=torch.channels_last)
        self.place = nn.Parameter(0.02 * torch.randn((size // _STEM) ** 2, 6 * width))
        self.blocks = nn.Sequential(*(_Attention(6 * width, width // 8) for _ in range(depth)))
        self.norm = nn.LayerNorm(6 * width)

    def forward(self, images: Image) -> Features:
        """Returns features (batch, 6 width) of standardised images."""
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        x = self.blocks(x.flatten(2).transpose(1, 2) + self.place)
        return self.norm(x).mean(dim=1)


def build_network(
    architecture: Architecture, size: int, channels: int, width: int
) -> ResidualNetwork | TransformerNetwork:
    """Returns a network of that name, its weights from torch's global generator.

    Arguments:
        architecture: `residual` or `transformer`.
        size: Side of the images.
        channels: Their channels.
        width: Channels of the first layer.

    Raises:
        ImageError: If there is none of that name, or size or width do not suit it.
    """
    if architecture not in get_args(Architecture):
        raise ImageError(
            f"architecture {architecture!r} is unknown"
            f"{nearest(architecture, get_args(Architecture)) or '.'} Allowed: "
            f"{summarise(get_args(Architecture))}"
        )
    if size % 16 or width % 8:
        raise ImageError(f"size {size} must be a multiple of 16, and width {width} of 8")
    network = ResidualNetwork if architecture == "residual" else TransformerNetwork
    return network(size, channels, width)
