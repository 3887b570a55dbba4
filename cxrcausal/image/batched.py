"""What a flow of images does with many radiographs: checks, batches, and draws of noise.

A flow says how one batch becomes noise and noise an image; the rest is the same for all.
"""

import abc
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from cxrcausal.errors import ImageError
from cxrcausal.image.guidance import Groups, Guidance
from cxrcausal.image.solver import Solver
from cxrcausal.randomness import as_seed, fresh_seed, label_words, normal
from cxrcausal.shapes import Attributes, Image, Keep, Noise

__all__ = ["BatchedFlow", "in_batches"]


class BatchedFlow(nn.Module, abc.ABC):
    """A flow between noise and radiographs of one shape, standard normal in every pixel."""

    @property
    @abc.abstractmethod
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images."""

    @property
    @abc.abstractmethod
    def device(self) -> torch.device:
        """Where the networks live."""

    @abc.abstractmethod
    def encode(self, table: pd.DataFrame) -> tuple[Attributes, dict[str, tuple]]:
        """Returns the parents of each row, and per variable the levels that were never seen."""

    @abc.abstractmethod
    def to_noise(
        self, images: Tensor, parents: Attributes, *, solver: Solver | int | None = None
    ) -> Noise:
        """Returns the noise of one batch, of whatever range: what `abduct` does to each."""

    @abc.abstractmethod
    def from_noise(
        self,
        noise: Noise,
        parents: Attributes,
        *,
        guidance: Guidance | None = None,
        groups: tuple[Keep, Keep, Keep] | None = None,
        solver: Solver | int | None = None,
    ) -> Tensor:
        """Returns what one batch of noise becomes, not clamped: what `predict` does to each."""

    def abduct(
        self,
        images: Tensor,
        parents: Attributes,
        *,
        solver: Solver | int | None = None,
        batch_size: int | None = None,
        progress: bool | None = False,
    ) -> Noise:
        """Returns the noise from which these radiographs came, by the flow run backward, unguided.

        Where there is a transport, the noise is z of x = f(T(z, parents), parents).

        Arguments:
            images: Radiographs in [0, 1], (batch, channel, height, width).
            parents: Their factual parents, from `encode`.
            solver: How to integrate: the recipe's way if left out, with that many steps if a
                number.
            batch_size: How many are worked on at once; all if None.
            progress: Whether to show a progress bar; on a terminal only if None.

        Returns:
            The noise (batch, channel, height, width), on the images' device.

        Raises:
            ImageError: If the images have another shape or range.
            RecipeError: If the number of steps is no positive whole number.
        """
        self.check_images(images)

        def part(rows: slice) -> Tensor:
            return self.to_noise(images[rows], parents[rows], solver=solver)

        return in_batches(part, images, batch_size, "abduct", progress)

    def predict(
        self,
        noise: Noise,
        parents: Attributes,
        *,
        guidance: Guidance | None = None,
        groups: tuple[Keep, Keep, Keep] | None = None,
        solver: Solver | int | None = None,
        batch_size: int | None = None,
        progress: bool | None = False,
    ) -> Image:
        """Returns the radiographs that this noise gives under these parents, in [0, 1].

        Only the result is clamped to [0, 1], never the flow on its way. A transport is applied
        once, for these parents, whatever the guidance.

        Arguments:
            noise: Exogenous noise, (batch, channel, height, width).
            parents: The parents, factual or counterfactual, from `encode`.
            guidance: How strongly each group of parents is imposed; needs `groups`.
            groups: Which parents were set, changed, or stayed, as `Groups`.
            solver: How to integrate: the recipe's way if left out, with that many steps if a
                number.
            batch_size: How many are worked on at once; all if None.
            progress: Whether to show a progress bar; on a terminal only if None.

        Raises:
            InterventionError: If the guidance is none, or weighs what is no parent of the image.
            RecipeError: If the number of steps is no positive whole number.
        """

        def part(rows: slice) -> Tensor:
            some = None if groups is None else Groups(*(group[rows] for group in groups))
            image = self.from_noise(
                noise[rows], parents[rows], guidance=guidance, groups=some, solver=solver
            )
            return image.clamp(0, 1)

        return in_batches(part, noise, batch_size, "predict", progress)

    def prior(self, labels: np.ndarray, seed: int, draws: np.ndarray | int = 0) -> Noise:
        """Returns fresh noise for each row label, a function of (seed, label, draw) alone."""
        channels, height, width = self.image_shape
        flat = normal(seed, labels, "image", draws, channels * height * width)
        return flat.float().view(-1, channels, height, width).to(self.device)

    def sample(
        self,
        table: pd.DataFrame,
        *,
        seed: int | None = None,
        solver: Solver | int | None = None,
        batch_size: int | None = 64,
        progress: bool | None = False,
    ) -> Image:
        """Returns a synthetic radiograph of each row's metadata, in [0, 1], without guidance.

        Arguments:
            table: Rows with the graph's columns; an absent column is unknown throughout.
            seed: The seed that makes each a function of (seed, row label); drawn if None, and then
                labels may repeat.
            solver: How to integrate: the recipe's way if left out, with that many steps if a
                number.
            batch_size: How many are painted at once; all if None.
            progress: Whether to show a progress bar; on a terminal only if None.

        Raises:
            NotFittedError: As `encode`.
            OptionError: If the seed is no whole number.
            RecipeError: If the number of steps is no positive whole number.
            TableError: If the table holds a value that the graph does not allow, or a seed is
                given and a row label repeats.
        """
        parents, _ = self.encode(table)
        index = pd.RangeIndex(len(table)) if seed is None else table.index
        seed = fresh_seed() if seed is None else as_seed(seed)
        noise = self.prior(label_words(index), seed)
        return self.predict(
            noise, parents, solver=solver, batch_size=batch_size, progress=progress
        )

    def check_images(self, images: Tensor) -> None:
        """Refuses what is not a batch of radiographs of this mechanism's shape in [0, 1].

        Raises:
            ImageError: Says what was found and what is allowed.
        """
        _check_images(images, self.image_shape)


def _check_images(images: Tensor, shape: tuple[int, int, int]) -> None:
    """Refuses what is not a batch of radiographs of that shape in [0, 1].

    Raises:
        ImageError: Says what was found and what is allowed.
    """
    allowed = "(batch, " + ", ".join(map(str, shape)) + ")"
    if not isinstance(images, Tensor):
        raise ImageError(
            f"images are a {type(images).__name__}; give a tensor {allowed}, as "
            f"read_images(paths, size={shape[-1]}) does"
        )
    if images.ndim != 4 or tuple(images.shape[1:]) != shape:
        raise ImageError(
            f"images have shape {tuple(images.shape)}; this model reads {allowed}, "
            f"as read_image(path, size={shape[-1]}) gives them"
        )
    if not images.is_floating_point():
        raise ImageError(f"images are {images.dtype}; they must be floats in [0, 1]")
    if images.numel():
        low, high = float(images.detach().min()), float(images.detach().max())
        if not (low >= -1e-4 and high <= 1 + 1e-4):  # also refuses NaN
            raise ImageError(
                f"image values span [{low:g}, {high:g}]; they must lie in [0, 1], lungs dark"
            )


def in_batches(
    part: Callable[[slice], Tensor],
    x: Tensor,
    size: int | None,
    what: str,
    progress: bool | None,
) -> Tensor:
    """Returns what `part` gives of consecutive rows of `x`, as one batch on the device of `x`."""
    from tqdm.auto import tqdm

    step = max(1, len(x) if size is None else size)
    starts = range(0, max(len(x), 1), step)
    with tqdm(
        starts, desc=what, unit="batch", leave=False,
        disable=None if progress is None else not progress,
    ) as bar:  # fmt: skip
        parts = [part(slice(start, start + step)).to(x.device) for start in bar]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
