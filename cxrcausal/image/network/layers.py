r"""The parts of a velocity network's block: norms, rotary attention, SwiGLU, and modulation.

One modulation map is shared by all blocks; each block adds a table of its own and a low-rank
delta. Full adaptive modulation per block would hold 44 % more parameters at XL for almost no
compute.

References:
    | Scalable Diffusion Models with Transformers
    | (Peebles and Xie, 2023), https://arxiv.org/abs/2212.09748
    | GLU Variants Improve Transformer (Shazeer, 2020), https://arxiv.org/abs/2002.05202
    | Scaling Vision Transformers to 22 Billion Parameters
    | (Dehghani et al., 2023; QK-norm), https://arxiv.org/abs/2302.05442
    | RoFormer (Su et al., 2021), https://arxiv.org/abs/2104.09864
"""

import contextlib
import math
from typing import Any, final

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from cxrcausal.shapes import Embedding, Tokens

__all__ = [
    "Attention",
    "Block",
    "Modulation",
    "RMSNorm",
    "SwiGLU",
    "full_precision",
    "rotary_angles",
    "rotary_tables",
    "sincos_grid",
]


def full_precision(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Returns a context in which the weights' own type is used, whatever autocast says outside.

    Of a network in bfloat16 the embedding, the modulation, the residual stream and the output keep
    it: what is added up over blocks, and what is subtracted from noise, must not be rounded.
    """
    if not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


@final
class RMSNorm(nn.Module):
    """Divides by the root mean square of the last axis, in float32 whatever the input; no bias.

    Arguments:
        width: The size of the last axis.
        affine: Whether a learned scale follows; modulated norms bring their own.
    """

    def __init__(self, width: int, *, affine: bool = True) -> None:
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.ones(width)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Returns `x` (..., width) with unit root mean square, scaled."""
        exact = x.float()
        # The length in one kernel: F.rms_norm is four of them on a CPU, over all of `x`.
        square = torch.linalg.vector_norm(exact, dim=-1, keepdim=True).square()
        normed = (exact * torch.rsqrt(square / self.width + 1e-6)).to(x.dtype)
        return normed if self.weight is None else normed * self.weight.to(x.dtype)

    def extra_repr(self) -> str:
        """Says the width."""
        return f"{self.width}, affine={self.weight is not None}"


def sincos_grid(rows: int, columns: int, width: int) -> Tensor:
    """Returns fixed sine and cosine codes (rows·columns, width) of where a patch stands.

    Rotary attention alone knows only relative positions; anatomy has absolute ones (the heart lies
    left of the middle).
    """
    quarter = width // 4
    frequency = torch.exp(-math.log(10_000.0) * torch.arange(quarter) / quarter)
    row = torch.arange(rows).repeat_interleave(columns)[:, None] * frequency
    column = torch.arange(columns).repeat(rows)[:, None] * frequency
    code = torch.cat([row.sin(), row.cos(), column.sin(), column.cos()], dim=-1)
    return F.pad(code, (0, width - code.shape[-1]))


def rotary_angles(rows: int, columns: int, head: int) -> Tensor:
    """Returns rotation angles (rows·columns, head / 2), half by row and half by column."""
    quarter = head // 4
    frequency = torch.exp(-math.log(100.0) * torch.arange(quarter) / quarter)
    row = torch.arange(rows).repeat_interleave(columns)[:, None] * frequency
    column = torch.arange(columns).repeat(rows)[:, None] * frequency
    angles = torch.cat([row, column], dim=-1)
    return F.pad(angles, (0, head // 2 - angles.shape[-1]))


def rotary_tables(angles: Tensor) -> tuple[Tensor, Tensor]:
    """Returns (cos, cos) and (-sin, sin) of angles (tokens, head / 2), (tokens, head) each.

    So both halves of a head are rotated in one product each, in place of four of halves.
    """
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates the pairs (x_i, x_{i + head/2}) of queries or keys by `rotary_tables`."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin)


@final
class Attention(nn.Module):
    """Multi-head self-attention with normalised queries and keys, rotated by position.

    Arguments:
        width: The token width, a multiple of `heads`.
        heads: The number of heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.query_norm = RMSNorm(width // heads)
        self.key_norm = RMSNorm(width // heads)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tokens, cos: Tensor, sin: Tensor) -> Tokens:
        """Returns what each token gathers; `cos` and `sin` (tokens, head) are `rotary_tables`."""
        q, k, v = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.heads)
        cos, sin = cos.to(v.dtype), sin.to(v.dtype)
        q = _rotate(self.query_norm(q), cos, sin)
        k = _rotate(self.key_norm(k), cos, sin)
        return self.out(rearrange(F.scaled_dot_product_attention(q, k, v), "b h n d -> b n (h d)"))


@final
class SwiGLU(nn.Module):
    """Feed-forward layer with a gated hidden width.

    Arguments:
        width: The token width.
        hidden: The gated width, about 8/3 of `width` to match an ungated layer of four times it.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tokens) -> Tokens:
        """Returns each token transformed on its own."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


@final
class Modulation(nn.Module):
    """A block's own part of the adaptive modulation, added to the map that all blocks share.

    Arguments:
        width: The token width.
        rank: The rank of the block's own map; 0 leaves only its table.
    """

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.rank = rank
        self.table = nn.Parameter(torch.zeros(6 * width))
        if rank:
            self.down = nn.Linear(width, rank, bias=False)
            self.up = nn.Linear(rank, 6 * width, bias=False)
            nn.init.zeros_(self.up.weight)

    def forward(self, shared: Tensor, condition: Embedding) -> tuple[Tensor, ...]:
        """Returns shift, scale, gate of attention and of feed-forward, (batch, 1, width) each."""
        total = shared + self.table
        if self.rank:
            with full_precision(total.device):
                total = total + self.up(self.down(condition))
        return total.unsqueeze(1).chunk(6, dim=-1)


@final
class Block(nn.Module):
    """One pre-norm transformer block, modulated by the condition; the identity at initialisation.

    Arguments:
        width: The token width.
        heads: The number of heads.
        hidden: The gated width of the feed-forward layer.
        rank: The rank of the block's own modulation.
    """

    def __init__(self, width: int, heads: int, hidden: int, rank: int) -> None:
        super().__init__()
        self.norm_attention = RMSNorm(width, affine=False)
        self.attention = Attention(width, heads)
        self.norm_feed = RMSNorm(width, affine=False)
        self.feed = SwiGLU(width, hidden)
        self.modulation = Modulation(width, rank)

    def forward(
        self, x: Tokens, shared: Tensor, condition: Embedding, cos: Tensor, sin: Tensor
    ) -> Tokens:
        """Returns the tokens after attention and feed-forward, each gated by the condition."""
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = self.modulation(shared, condition)
        attended = self.attention(self.norm_attention(x) * (1 + scale_a) + shift_a, cos, sin)
        x = x + gate_a * attended
        return x + gate_f * self.feed(self.norm_feed(x) * (1 + scale_f) + shift_f)
