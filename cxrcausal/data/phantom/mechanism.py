r"""The phantom as an image mechanism whose abduction is exact.

Noise has the image's shape, standard normal in every pixel. The first pixels of the top row are
the film's unexposed edge: their grain is the individual anatomy, :math:`a = u_{edge}`. The rest of
the image is rendered from anatomy and parents, with its own grain:

.. math:: x_{edge} = c + \sigma u_{edge}, \qquad
    x_{rest} = m(a, \mathrm{pa}) + s(a, \mathrm{pa}) \, u_{rest}.

So an image tells its anatomy, and then all of its grain, in closed form, whatever the parents: the
map is one-to-one for each of them, and its density is known.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.data.phantom.anatomy import TRAITS, Body
from cxrcausal.data.phantom.film import FLOOR, LOW, develop
from cxrcausal.data.phantom.frontal import frontal
from cxrcausal.data.phantom.lateral import lateral
from cxrcausal.data.phantom.primitives import grid
from cxrcausal.errors import ImageError, TableError
from cxrcausal.graph import CausalGraph, Variable, load_graph
from cxrcausal.randomness import normal
from cxrcausal.scm.table import encode
from cxrcausal.shapes import Attributes, Image, Noise

__all__ = ["PhantomMechanism"]

BATCH = 64

EDGE = LOW / 2
"""The grey level of the unexposed edge."""


@final
class PhantomMechanism:
    """Renders radiographs from parents and noise, and finds the noise of an image exactly.

    Every parent has to be known. `race` has no visual effect.

    Arguments:
        size: Height and width of the images, at least 32.

    Raises:
        ImageError: If the size is too small for the film's edge to hold the anatomy.
    """

    guidance = None

    def __init__(self, size: int = 64) -> None:
        if size < 32:
            raise ImageError(f"a phantom is at least 32 pixels wide; found {size}")
        self.size = size
        self.graph: CausalGraph = load_graph("cxr19")
        self._device = torch.device("cpu")
        self.observed: dict[str, Any] = {
            v.name: list(v.levels) if v.is_discrete else list(v.bounds or ())
            for v in self.attributes
        }

    @property
    def attributes(self) -> tuple[Variable, ...]:
        """The image's parents, in the graph's order."""
        return tuple(self.graph.variables[name] for name in self.graph.image_parents)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """One channel, height and width."""
        return (1, self.size, self.size)

    @property
    def device(self) -> torch.device:
        """Where it renders."""
        return self._device

    def to(self, device: torch.device | str) -> "PhantomMechanism":
        """Renders on another device from now on, and returns itself."""
        self._device = torch.device(device)
        return self

    def encode(self, table: pd.DataFrame) -> tuple[Attributes, dict[str, tuple]]:
        """Returns the parents of each row; no level is unobserved.

        Raises:
            TableError: If the table holds a value that the graph does not allow.
        """
        values = encode(table, self.graph)
        return torch.stack([values[v.name] for v in self.attributes], 1).float().to(
            self.device
        ), {}

    def check_images(self, images: Tensor) -> None:
        """Refuses what is not a batch of images of this size.

        Raises:
            ImageError: Says what was found and what is allowed.
        """
        if not isinstance(images, Tensor) or tuple(images.shape[1:]) != self.image_shape:
            found = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise ImageError(f"images are {found}; this phantom has (batch, *{self.image_shape})")
        if not bool(images.isfinite().all()):
            raise ImageError("images hold what is no finite number")

    def abduct(self, images: Image, parents: Attributes, **options: Any) -> Noise:  # noqa: ANN401
        """Returns the noise of images, in closed form.

        Arguments:
            images: Phantoms (batch, 1, size, size); others have a noise too, which is not normal.
            parents: Their parents (batch, attributes), from `encode`.
            options: `batch_size`; `solver` and `progress` are of no use here.

        Raises:
            ImageError: If the images have another shape.
            TableError: If a parent is unknown.
        """
        self.check_images(images)
        parts = []
        for x, pa in self._parts(images, parents, options):
            traits = (x[:, 0, 0, : len(TRAITS)] - EDGE) / FLOOR
            mean, grain = self.render(traits, pa)
            parts.append(((x[:, 0] - mean) / grain)[:, None])
        return torch.cat(parts).to(images.device)

    def predict(self, noise: Noise, parents: Attributes, **options: Any) -> Image:  # noqa: ANN401
        """Returns the images of noise under parents; the same noise, the same person.

        Arguments:
            noise: (batch, 1, size, size), standard normal.
            parents: (batch, attributes), from `encode`.
            options: As `abduct`; guidance has nothing to strengthen.

        Raises:
            TableError: If a parent is unknown.
        """
        parts = []
        for u, pa in self._parts(noise, parents, options):
            mean, grain = self.render(u[:, 0, 0, : len(TRAITS)], pa)
            parts.append((mean + grain * u[:, 0])[:, None])
        return torch.cat(parts).to(noise.device)

    def render(self, traits: Tensor, parents: Attributes) -> tuple[Tensor, Tensor]:
        """Returns the image without grain and the grain's size (batch, size, size).

        Arguments:
            traits: Individual anatomy (batch, traits), standard normal.
            parents: (batch, attributes), all known.

        Raises:
            TableError: If a parent is unknown.
        """
        if bool(parents.isnan().any()):
            column = int(parents.isnan().any(0).nonzero()[0])
            raise TableError(
                f"column {self.attributes[column].name!r} is unknown in a row; a phantom is drawn "
                f"from known parents"
            )
        body = Body.of(traits.to(self.device), parents.to(self.device), self.attributes)
        x, y = grid(self.size, traits)
        beside = body.is_level("view", "LATERAL").flatten() > 0
        attenuation = traits.new_zeros(len(traits), self.size, self.size)
        for draw, some in ((frontal, ~beside), (lateral, beside)):
            if bool(some.any()):
                attenuation[some] = draw(body.rows(some), x.to(self.device), y.to(self.device))
        mean, grain = develop(attenuation, body)
        mean[:, 0], grain[:, 0] = EDGE, FLOOR
        return mean, grain

    def log_prob(self, images: Image, parents: Attributes) -> Tensor:
        """Returns the exact log-density (batch,) of images given their parents, in nats.

        Raises:
            ImageError: As `abduct`.
            TableError: As `abduct`.
        """
        self.check_images(images)
        traits = (images[:, 0, 0, : len(TRAITS)] - EDGE) / FLOOR
        mean, grain = self.render(traits, parents)
        density = torch.distributions.Normal(mean.double(), grain.double())
        return density.log_prob(images[:, 0].double()).flatten(1).sum(1)

    def prior(self, labels: np.ndarray, seed: int, draws: np.ndarray | int = 0) -> Noise:
        """Returns fresh noise for each row label, a function of (seed, label, draw) alone."""
        flat = normal(seed, labels, "image", draws, self.size * self.size)
        return flat.float().view(-1, *self.image_shape).to(self.device)

    def describe(self, solver: object = None) -> Mapping[str, Any]:
        """Returns what provenance says of an answer: that it is of a phantom."""
        return {"phantom": self.size}

    def save(self, folder: str | Path, **options: Any) -> Path:  # noqa: ANN401
        """Refuses: a phantom is code, and has no weights to save.

        Raises:
            ImageError: Always.
        """
        raise ImageError(f"a phantom has no weights to save into {folder}; build it by its size")

    def _parts(
        self, x: Tensor, parents: Tensor, options: Mapping[str, Any]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields batches of images or noise with their parents."""
        step = options.get("batch_size") or BATCH
        for start in range(0, max(len(x), 1), step):
            part = slice(start, start + step)
            yield x[part].to(self.device), parents[part]
