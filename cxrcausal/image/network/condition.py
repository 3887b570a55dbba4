"""The image's parents become one embedding, with two kinds of absence kept apart.

*Unknown*: the patient's value is not recorded, which the network reads. *Null*: the value is
withheld from the network, for guidance. They have an embedding each, for every attribute: an
unknown sex is information about how the radiograph came to be; a null one is none.
"""

import itertools
import math
from typing import final

import torch
from torch import Tensor, nn

from cxrcausal.errors import GraphError
from cxrcausal.graph import Variable
from cxrcausal.shapes import Attributes, Embedding, Keep, Time

__all__ = ["Condition", "FourierFeatures", "TimeEmbedding"]


@final
class FourierFeatures(nn.Module):
    """A number and its sines and cosines at octave frequencies, for slow and fast effects.

    Arguments:
        octaves: How many frequencies, from half a period over the unit interval upward.
    """

    def __init__(self, octaves: int = 5) -> None:
        super().__init__()
        self.register_buffer("frequency", math.pi * 2.0 ** torch.arange(octaves), persistent=False)

    @property
    def width(self) -> int:
        """The number of features."""
        return 1 + 2 * len(self.frequency)

    def forward(self, x: Tensor) -> Tensor:
        """Returns features (..., width) of numbers (...) scaled to the unit interval."""
        angle = x.unsqueeze(-1) * self.frequency
        return torch.cat([2 * x.unsqueeze(-1) - 1, angle.sin(), angle.cos()], dim=-1)


@final
class TimeEmbedding(nn.Module):
    """Flow time as sinusoids, then a two-layer network.

    Arguments:
        width: The width of the embedding.
        frequencies: The number of sinusoids.
    """

    def __init__(self, width: int, frequencies: int = 128) -> None:
        super().__init__()
        rate = torch.exp(-math.log(10_000.0) * torch.arange(frequencies) / frequencies)
        self.register_buffer("rate", 1000.0 * rate, persistent=False)
        self.net = nn.Sequential(
            nn.Linear(2 * frequencies, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, t: Time) -> Embedding:
        """Returns the embedding of each time in [0, 1]; the sinusoids are taken in float32."""
        angle = t.float()[:, None] * self.rate
        code = torch.cat([angle.cos(), angle.sin()], dim=-1)
        return self.net(code.to(self.net[0].weight.dtype))


@final
class Condition(nn.Module):
    """Each attribute's embedding, concatenated and projected, plus time's.

    Arguments:
        attributes: The image's parents, in the graph's order.
        width: The width of the network.
        embedding: The width of one attribute's embedding.
    """

    def __init__(self, attributes: tuple[Variable, ...], width: int, embedding: int = 64) -> None:
        super().__init__()
        self.attributes = attributes
        self.continuous = [i for i, v in enumerate(attributes) if not v.is_discrete]
        # One table for all: an attribute's levels (none if continuous), then unknown, then null.
        levels = [len(v.levels) for v in attributes]
        offset = list(itertools.accumulate((count + 2 for count in levels), initial=0))
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.register_buffer("offset", torch.tensor(offset[:-1]), persistent=False)
        self.table = nn.Embedding(offset[-1], embedding)
        nn.init.normal_(self.table.weight, std=0.5)
        bounds = [_bounds(attributes[i]) for i in self.continuous]
        self.register_buffer("low", torch.tensor([b[0] for b in bounds]), persistent=False)
        self.register_buffer(
            "extent", torch.tensor([b[1] - b[0] for b in bounds]), persistent=False
        )
        self.fourier = FourierFeatures()
        self.curves = nn.ModuleList(
            nn.Sequential(
                nn.Linear(self.fourier.width, embedding),
                nn.SiLU(),
                nn.Linear(embedding, embedding),
            )
            for _ in self.continuous
        )
        self.project = nn.Linear(len(attributes) * embedding, width)
        self.time = TimeEmbedding(width)

    def forward(self, t: Time, parents: Attributes, keep: Keep) -> Embedding:
        """Returns one vector per patient.

        Arguments:
            t: Flow time.
            parents: Level index or value; NaN is unknown.
            keep: False where the attribute is null.
        """
        unknown = parents.isnan()
        level = torch.where(unknown, 0.0, parents).long().clamp(min=0)
        code = torch.where(unknown, self.levels, level)
        code = torch.where(keep, code, self.levels + 1) + self.offset
        if self.continuous:
            # The level of a known continuous value is no row of the table: look up unknown's
            # instead.
            known = (keep & ~unknown)[:, self.continuous]
            fallback = (self.offset + self.levels)[self.continuous]
            code[:, self.continuous] = torch.where(known, fallback, code[:, self.continuous])
        embedded = self.table(code)
        for column, index in enumerate(self.continuous):
            x = torch.where(unknown[:, index], 0.0, parents[:, index])
            x = ((x - self.low[column]) / self.extent[column]).to(embedded.dtype)
            curve = self.curves[column](self.fourier(x))
            known = (keep & ~unknown)[:, index, None]
            embedded[:, index] = torch.where(known, curve, embedded[:, index])
        return self.project(embedded.flatten(1)) + self.time(t)

    def extra_repr(self) -> str:
        """Says which attributes."""
        return ", ".join(v.name for v in self.attributes)


def _bounds(variable: Variable) -> tuple[float, float]:
    """Returns the bounds of a continuous attribute: its sinusoids need a unit interval.

    Raises:
        GraphError: If the graph gives none.
    """
    if variable.bounds is None:
        raise GraphError(
            f"{variable.name!r} is a continuous parent of the image without bounds, so its values "
            "have no scale; add `bounds: [low, high]` to it in the graph"
        )
    return variable.bounds
