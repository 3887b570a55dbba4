"""RadiT: the velocity of the rectified flow by a transformer over patches.

References:
    | RadiT (De Sousa Ribeiro, Stanley et al., 2026), https://arxiv.org/abs/2606.19460
    | Back to Basics: Let Denoising Generative Models Denoise
    | (Li and He, 2025; bottlenecked patches
    | and image prediction for large patches), https://arxiv.org/abs/2511.13720
"""

from typing import final

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from cxrcausal.errors import ImageError, RecipeError
from cxrcausal.graph import Variable
from cxrcausal.image.network.condition import Condition
from cxrcausal.image.network.layers import (
    Block,
    RMSNorm,
    full_precision,
    rotary_angles,
    rotary_tables,
    sincos_grid,
)
from cxrcausal.image.network.place import AffineVelocity, PlaceMaps
from cxrcausal.shapes import Attributes, Context, Image, Keep, Patches, Time, Velocity

__all__ = ["RadiT"]


@final
class RadiT(nn.Module):
    """A transformer that reads a noisy radiograph, its time and its parents, and gives a velocity.

    Arguments:
        attributes: The image's parents, in the graph's order.
        size: Height and width of the image (or latent), a multiple of `patch`.
        channels: 1 for grey, 3 for colour, more for latents.
        patch: Side of a patch.
        width: Token width, a multiple of 4 and of `heads`.
        depth: Number of blocks.
        heads: Number of attention heads.
        hidden: Gated width of the feed-forward layers.
        rank: Rank of each block's own modulation, beside the shared map.
        bottleneck: Width through which patches are embedded, for large pixel patches; 0 for none.
        embedding: Width of one attribute's embedding.
        context: Channels of an image that is given and read beside the noisy one; 0 for none.
        place_rank: How many maps over the patches the condition mixes, at either end; 0 for none,
            and no affine part of the velocity.
        gradient_checkpointing: Whether blocks are computed again in the backward pass, to save
            memory.

    Example:
        >>> from cxrcausal.graph import load_graph
        >>> graph = load_graph("cxr19")
        >>> attributes = tuple(graph.variables[name] for name in graph.image_parents)
        >>> net = RadiT(attributes, size=16, patch=8, width=32, depth=1, heads=2, rank=4)
        >>> x, t = torch.randn(2, 1, 16, 16), torch.rand(2)
        >>> parents = torch.full((2, len(attributes)), torch.nan)  # everything unknown
        >>> net(x, t, parents, torch.ones(2, len(attributes), dtype=torch.bool)).shape
        torch.Size([2, 1, 16, 16])
    """

    def __init__(
        self,
        attributes: tuple[Variable, ...],
        *,
        size: int,
        channels: int = 1,
        patch: int = 8,
        width: int = 192,
        depth: int = 6,
        heads: int = 3,
        hidden: int = 512,
        rank: int = 64,
        bottleneck: int = 0,
        embedding: int = 64,
        context: int = 0,
        place_rank: int = 0,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if size % patch:
            raise RecipeError(f"size {size} is not a multiple of patch {patch}")
        if width % heads or (width // heads) % 4:
            raise RecipeError(
                f"width {width} over {heads} heads gives heads of {width / heads:g}; "
                f"rotary positions in two axes need a multiple of 4"
            )
        self.size, self.channels, self.patch, self.context = size, channels, patch, context
        self.gradient_checkpointing = gradient_checkpointing
        pixels = channels * patch * patch
        read = pixels + context * patch * patch
        if bottleneck:
            self.embed = nn.Sequential(
                nn.Linear(read, bottleneck, bias=False), nn.Linear(bottleneck, width)
            )
        else:
            self.embed = nn.Linear(read, width)
        self.condition = Condition(attributes, width, embedding)
        self.modulation = nn.Linear(width, 6 * width)
        self.blocks = nn.ModuleList(Block(width, heads, hidden, rank) for _ in range(depth))
        self.norm = RMSNorm(width, affine=False)
        self.final_modulation = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, pixels)
        for layer in (self.modulation, self.final_modulation, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        side = size // patch
        self.places: PlaceMaps | None = None
        self.affine: AffineVelocity | None = None
        if place_rank:
            self.places = PlaceMaps(width, place_rank, side * side, width)
            self.affine = AffineVelocity(width, place_rank, side * side, channels, patch)
        angles = rotary_angles(side, side, width // heads)
        cos, sin = rotary_tables(angles)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.register_buffer("position", sincos_grid(side, side, width), persistent=False)

    def forward(
        self, x: Image, t: Time, parents: Attributes, keep: Keep, context: Context | None = None
    ) -> Velocity:
        """Returns the network's prediction at `x`, in the flow's own scale.

        Arguments:
            x: The noisy image.
            t: Its time.
            parents: Its parents.
            keep: Which of them it is conditioned on.
            context: The image that is given, where the network reads one.

        Raises:
            ImageError: If `x` or `context` has another shape than the network was built for.
        """
        patches = self._patches(x, self.channels, "images have")
        read = patches
        if self.context or context is not None:
            given = x[:, :0] if context is None else context
            read = torch.cat([patches, self._patches(given, self.context, "context has")], dim=-1)
        with full_precision(x.device):
            tokens = self.embed(read)
            tokens = tokens + self.position.to(tokens.dtype)
            condition = F.silu(self.condition(t, parents, keep))
            shared = self.modulation(condition)
            if self.places is not None:
                tokens = tokens + self.places(condition)
        for block in self.blocks:
            tokens = self._run(block, tokens, shared, condition)
        with full_precision(x.device):
            shift, scale = self.final_modulation(condition).unsqueeze(1).chunk(2, dim=-1)
            out = self.out(self.norm(tokens) * (1 + scale) + shift)
            if self.affine is not None:
                out = out + self.affine(patches, condition)
        return rearrange(
            out,
            "b (i j) (c p q) -> b c (i p) (j q)",
            i=self.size // self.patch,
            p=self.patch,
            q=self.patch,
        )

    def _patches(self, image: Tensor, channels: int, what: str) -> Patches:
        """Returns the patches of an image of that many channels, a patch's pixels in a row."""
        if image.shape[1:] != (channels, self.size, self.size):
            raise ImageError(
                f"{what} shape {tuple(image.shape)}; this network reads "
                f"(batch, {channels}, {self.size}, {self.size})"
            )
        return rearrange(image, "b c (i p) (j q) -> b (i j) (c p q)", p=self.patch, q=self.patch)

    def _run(self, block: nn.Module, tokens: Tensor, shared: Tensor, condition: Tensor) -> Tensor:
        if self.gradient_checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(
                block, tokens, shared, condition, self.cos, self.sin, use_reentrant=False
            )
        return block(tokens, shared, condition, self.cos, self.sin)

    def flops(self, tokens: int | None = None) -> int:
        """Returns the FLOP of one image's forward pass (multiply-adds count two), matmuls only.

        Arguments:
            tokens: The sequence length; that of the network's own size if left out.
        """
        n = tokens or (self.size // self.patch) ** 2
        width = self.modulation.in_features
        per_token = sum(
            p.numel()
            for b in self.blocks
            for k, p in b.named_parameters()
            if p.ndim > 1 and not k.startswith("modulation")
        ) + sum(p.numel() for m in (self.embed, self.out) for p in m.parameters() if p.ndim > 1)
        attention = len(self.blocks) * 2 * n * n * width
        once = sum(
            p.numel()
            for k, p in self.named_parameters()
            if p.ndim > 1
            and ("modulation" in k or k.startswith(("condition.", "places.", "affine.")))
            and "table" not in k
        )
        return 2 * (n * per_token + attention + once)
