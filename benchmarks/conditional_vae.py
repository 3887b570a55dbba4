r"""A conditional VAE with abduction, as deep structural causal models of images have it.

:math:`x = \mu(z, \mathrm{pa}) + \sigma(z, \mathrm{pa}) \, \varepsilon`: abduction takes the mean
of the posterior for z and then :math:`\varepsilon = (x - \mu) / \sigma`, prediction replays both
under other parents, so that the round trip is exact.

References:
    | Deep Structural Causal Models for Tractable Counterfactual Inference
    | (Pawlowski et al., 2020), https://arxiv.org/abs/2006.06485
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cxrcausal.graph import Variable


class Posterior(NamedTuple):
    """What is abducted: the latent's mean and the residual in standard deviations."""

    latent: Tensor
    residual: Tensor


class Block(nn.Module):
    """A convolution, a norm whose scale and shift the parents set, and SiLU.

    Arguments:
        inputs: Channels that come in.
        outputs: Channels that go out.
        told: The size of the parents' encoding.
        halve: Whether height and width halve or stay.
    """

    def __init__(self, inputs: int, outputs: int, told: int, *, halve: bool) -> None:
        super().__init__()
        kernel, stride = (4, 2) if halve else (3, 1)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, 1)
        self.norm = nn.GroupNorm(4, outputs)
        self.condition = nn.Linear(told, 2 * outputs)
        nn.init.zeros_(self.condition.weight)
        nn.init.zeros_(self.condition.bias)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """Returns features (batch, outputs, height, width) of features and parents."""
        scale, shift = self.condition(told)[:, :, None, None].chunk(2, 1)
        return F.silu(self.norm(self.conv(x)) * (1 + scale) + shift)


class ConditionalVAE(nn.Module):
    """A convolutional conditional VAE of square grey images.

    Arguments:
        attributes: The image's parents.
        size: Height and width, a multiple of 16.
        width: Channels at full resolution; they double at every halving.
        latent: The size of the latent.
    """

    def __init__(
        self, attributes: tuple[Variable, ...], size: int, width: int, latent: int = 64
    ) -> None:
        super().__init__()
        self.attributes = attributes
        self.latent = latent
        self.side = size // 16
        told = sum(len(v.levels) if v.is_discrete else 1 for v in attributes)
        channels = [width, 2 * width, 4 * width, 8 * width]
        down, inputs = [], 1
        for c in channels:
            down.append(Block(inputs, c, told, halve=True))
            inputs = c
        self.down = nn.ModuleList(down)
        flat = channels[-1] * self.side**2
        self.posterior = nn.Linear(flat + told, 2 * latent)
        self.start = nn.Linear(latent + told, flat)
        up = []
        for c in (*reversed(channels[:-1]), width):
            up.append(Block(inputs, c, told, halve=False))
            inputs = c
        self.up = nn.ModuleList(up)
        self.out = nn.Conv2d(inputs, 2, 3, 1, 1)

    def condition(self, parents: Tensor) -> Tensor:
        """Returns parents as numbers: an indicator per level, an age in half centuries."""
        columns = [
            F.one_hot(parents[:, i].long(), len(v.levels)).float()
            if v.is_discrete
            else (parents[:, i : i + 1] - 50) / 50
            for i, v in enumerate(self.attributes)
        ]
        return torch.cat(columns, 1)

    def encode(self, x: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and log standard deviation of the posterior of the latent."""
        for block in self.down:
            x = block(x, told)
        mean, log_std = self.posterior(torch.cat([x.flatten(1), told], 1)).chunk(2, 1)
        return mean, log_std.clamp(-6, 3)

    def decode(self, z: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and log standard deviation of every pixel."""
        h = self.start(torch.cat([z, told], 1)).unflatten(1, (-1, self.side, self.side))
        for block in self.up:
            h = block(F.interpolate(h, scale_factor=2), told)
        mean, log_std = self.out(h).chunk(2, 1)
        return 0.5 + mean, (log_std - 3.0).clamp(-6, 1)

    def forward(self, x: Tensor, parents: Tensor, noise: Tensor) -> Tensor:
        """Returns the negative evidence bound per image and pixel, in nats, up to a constant."""
        told = self.condition(parents)
        mean, log_std = self.encode(x, told)
        centre, spread = self.decode(mean + log_std.exp() * noise, told)
        fit = (spread + 0.5 * ((x - centre) / spread.exp()).square()).flatten(1).sum(1)
        kl = (0.5 * (mean.square() + (2 * log_std).exp() - 1) - log_std).sum(1)
        return (fit + kl) / x[0].numel()

    @torch.no_grad()
    def abduct(self, x: Tensor, parents: Tensor) -> Posterior:
        """Returns the posterior's mean and what is left of the image."""
        told = self.condition(parents)
        mean, _ = self.encode(x, told)
        centre, spread = self.decode(mean, told)
        return Posterior(mean, (x - centre) / spread.exp())

    @torch.no_grad()
    def predict(self, noise: Posterior, parents: Tensor) -> Tensor:
        """Returns the images of abducted noise under parents."""
        centre, spread = self.decode(noise.latent, self.condition(parents))
        return (centre + spread.exp() * noise.residual).clamp(0, 1)


def of_equal_size(attributes: tuple[Variable, ...], size: int, parameters: int) -> ConditionalVAE:
    """Returns the VAE whose number of parameters is nearest."""
    sized = {}
    with torch.device("meta"):
        for width in range(8, 129, 4):
            model = ConditionalVAE(attributes, size, width)
            sized[width] = abs(math.log(sum(p.numel() for p in model.parameters()) / parameters))
    return ConditionalVAE(attributes, size, min(sized, key=sized.__getitem__))
