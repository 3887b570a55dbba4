"""What the joint model asks of an image mechanism; any class that answers will do."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.graph import CausalGraph, Variable

if TYPE_CHECKING:
    from cxrcausal.image.guidance import Guidance
    from cxrcausal.image.solver import Solver

__all__ = ["ImageMechanism"]


class ImageMechanism(Protocol):
    """The structural assignment of the image: from its parents and its own noise.

    Images are floats (batch, channel, height, width) in [0, 1]; noise has the shape that the
    mechanism likes, patients first; parents are what `encode` gives, (batch, attributes).
    """

    graph: CausalGraph
    observed: dict[str, Any]

    @property
    def attributes(self) -> tuple[Variable, ...]:
        """The image's parents, in the order of `encode`'s columns."""
        ...

    @property
    def guidance(self) -> "Guidance | None":
        """The guidance that is recommended for it; None where it needs none."""
        ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        ...

    @property
    def device(self) -> torch.device:
        """Where noise and parents live."""
        ...

    def to(self, device: torch.device, /) -> object:
        """Moves the mechanism."""
        ...

    def check_images(self, images: Tensor) -> None:
        """Raises ImageError unless these are images of this mechanism."""
        ...

    def encode(self, table: pd.DataFrame) -> tuple[Tensor, dict[str, tuple]]:
        """Returns parents, and the levels that occur but were never observed in training."""
        ...

    def abduct(
        self,
        images: Tensor,
        parents: Tensor,
        *,
        solver: "Solver | int | None" = None,
        batch_size: int | None = None,
        progress: bool | None = False,
    ) -> Tensor:
        """Returns the noise of these images.

        Arguments:
            images: The images, (batch, channel, height, width).
            parents: Their parents, (batch, attributes).
            solver: The solver, or its number of steps; the mechanism's own if None.
            batch_size: The number of images that are worked on at once; all if None.
            progress: Whether to show a progress bar.
        """
        ...

    def predict(
        self,
        noise: Tensor,
        parents: Tensor,
        *,
        guidance: "Guidance | None" = None,
        groups: tuple[Tensor, Tensor, Tensor] | None = None,
        solver: "Solver | int | None" = None,
        batch_size: int | None = None,
        progress: bool | None = False,
    ) -> Tensor:
        """Returns the images of this noise under these parents.

        Arguments:
            noise: The noise, patients first.
            parents: The parents, (batch, attributes).
            guidance: The strength with which changed parents are imposed; none if None.
            groups: The masks (batch, attributes) of parents that were set, followed and stayed.
            solver: The solver, or its number of steps; the mechanism's own if None.
            batch_size: The number of images that are worked on at once; all if None.
            progress: Whether to show a progress bar.
        """
        ...

    def prior(self, labels: np.ndarray, seed: int, draws: np.ndarray | int = 0) -> Tensor:
        """Returns fresh noise for each row label."""
        ...

    def describe(self, solver: "Solver | int | None" = None) -> Mapping[str, Any]:
        """Returns what provenance says of an answer with that solver, as JSON holds it."""
        ...

    def save(self, folder: str | Path, **options: Any) -> Path:  # noqa: ANN401
        """Writes the mechanism into a folder."""
        ...
