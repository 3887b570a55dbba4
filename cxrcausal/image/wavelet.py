r"""The radiograph in two scales: its 2×2 mean by one flow, what finer pixels add by another.

An orthonormal Haar transform splits an image into its low band :math:`\ell` (twice the 2×2 mean)
and three bands of detail :math:`d`. Given the parents,

.. math:: p(x \mid \mathrm{pa}) = p(\ell \mid \mathrm{pa}) \, p(d \mid \ell, \mathrm{pa}),

so the structural assignment has two steps, each a rectified flow on a quarter of the tokens that
the whole image would need: :math:`\ell = f(u_\ell, \mathrm{pa})`, then :math:`d = g(u_d, \ell,
\mathrm{pa})`. Both are run backward in abduction. The transform is orthonormal, so the two noises,
put together by its inverse, are standard normal in every pixel again: one noise, of the image's
shape. A counterfactual's low band is the coarse model's, so what is known of that model holds here
at half the size; and a better coarse model needs no new training of the detail, which learns from
real means.

References:
    | Wavelet Flow: Fast Training of High Resolution Normalizing Flows
    | (Yu, Derpanis and Brubaker, 2020), https://arxiv.org/abs/2010.13821
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Union, final

import pandas as pd
import torch
from torch import Tensor

from cxrcausal.errors import RecipeError
from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.image.batched import BatchedFlow
from cxrcausal.image.checkpoint import save_image_mechanism
from cxrcausal.image.guidance import Guidance
from cxrcausal.image.mechanism import RectifiedFlow
from cxrcausal.image.path import RectifiedPath
from cxrcausal.image.recipe import ImageRecipe
from cxrcausal.image.solver import Solver
from cxrcausal.shapes import Attributes, Image, Keep, Noise, Time

__all__ = ["WaveletFlow", "haar", "inverse_haar"]

COARSE = "coarse"
"""The folder, within that of a model, which holds the model of its means."""


def haar(image: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the low band (batch, c, h/2, w/2) and the detail (batch, 3 c, h/2, w/2) of an image.

    The detail of a channel is its differences from left to right, from top to bottom, and both.
    """
    quads = image.unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2)).movedim(-3, -2).flatten(-2)
    bands = quads @ _basis(image).T
    return bands[..., 0], bands[..., 1:].movedim(-1, 2).flatten(1, 2)


def inverse_haar(low: Tensor, detail: Tensor) -> Tensor:
    """Returns the image (batch, c, 2 h, 2 w) of a low band and a detail."""
    bands = torch.cat([low[..., None], detail.unflatten(1, (-1, 3)).movedim(2, -1)], dim=-1)
    quads = bands @ _basis(low)
    return quads.unflatten(-1, (2, 2)).movedim(-2, -3).flatten(-2).flatten(-3, -2)


def _basis(like: Tensor) -> Tensor:
    """Returns the orthonormal Haar transform of a 2×2 square, a band a row."""
    rows = [[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]
    return torch.tensor(rows, dtype=like.dtype, device=like.device) / 2


@final
class WaveletFlow(BatchedFlow):
    """A flow of an image's 2×2 mean, and one of its detail given that mean.

    Arguments:
        coarse: The mechanism of the mean, trained; it is not trained further here. It may be
            a `WaveletFlow` itself, of a mean of means.
        detail: The flow of the three bands of detail, whose network reads the mean as context.
            Training moves this one.

    Raises:
        RecipeError: If the two are of other graphs, or their shapes do not meet.
    """

    def __init__(self, coarse: Union[RectifiedFlow, "WaveletFlow"], detail: RectifiedFlow) -> None:
        super().__init__()
        channels, size, _ = coarse.image_shape
        read = (detail.image_shape, detail.recipe.network.context)
        if read != ((3 * channels, size, size), channels):
            raise RecipeError(
                f"recipe {detail.recipe.name!r} is of detail {detail.image_shape} given "
                f"{detail.recipe.network.context} channels; over a coarse image "
                f"{coarse.image_shape} it has to be {(3 * channels, size, size)} given {channels}"
            )
        if coarse.graph.fingerprint != detail.graph.fingerprint:
            raise RecipeError(
                f"the coarse model is of graph {coarse.graph.name!r} ({coarse.graph.fingerprint}),"
                f" the detail of {detail.graph.name!r} ({detail.graph.fingerprint})"
            )
        self.coarse = coarse.requires_grad_(False)
        self.detail = detail

    @property
    def graph(self) -> CausalGraph:
        """The causal graph of both."""
        return self.detail.graph

    @property
    def recipe(self) -> ImageRecipe:
        """The recipe of the detail, and so of what training moves."""
        return self.detail.recipe

    @property
    def path(self) -> RectifiedPath:
        """The path of the detail's flow, in which training draws times."""
        return self.detail.path

    @property
    def provenance(self) -> dict[str, Any]:
        """What is known of the detail's training."""
        return self.detail.provenance

    @provenance.setter
    def provenance(self, known: dict[str, Any]) -> None:
        self.detail.provenance = known

    @property
    def observed(self) -> dict[str, Any]:
        """What the detail's training observed of each attribute."""
        return self.detail.observed

    @observed.setter
    def observed(self, observed: dict[str, Any]) -> None:
        self.detail.observed = observed

    @property
    def attributes(self) -> tuple[Variable, ...]:
        """The image's parents, in the graph's order."""
        return self.detail.attributes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images."""
        channels, height, width = self.coarse.image_shape
        return (channels, 2 * height, 2 * width)

    @property
    def device(self) -> torch.device:
        """Where the networks live."""
        return self.detail.device

    @property
    def guidance(self) -> Guidance:
        """The guidance that the recipe recommends, for both scales."""
        return self.recipe.guidance

    def encode(self, table: pd.DataFrame) -> tuple[Attributes, dict[str, tuple]]:
        """Returns the parents of each row, and what either flow never saw, which is unknown.

        Raises:
            NotFittedError: As `RectifiedFlow.encode`.
            TableError: As `RectifiedFlow.encode`.
        """
        coarse, unobserved = self.coarse.encode(table)
        parents, of_detail = self.detail.encode(table)
        for name, levels in of_detail.items():
            unobserved[name] = tuple(dict.fromkeys((*unobserved.get(name, ()), *levels)))
        return torch.where(coarse.isnan(), coarse, parents), unobserved

    def forward(
        self, images: Image, parents: Attributes, keep: Keep, t: Time, noise: Noise
    ) -> Tensor:
        """Returns the training loss of the detail per patient (batch,).

        It is a mean over the image's pixels, of which the detail is three in four, so that a bound
        in nats counts what it should.
        """
        low, detail = haar(images)
        loss = self.detail(detail, parents, keep, t, haar(noise)[1], _context(low))
        return 0.75 * loss

    def to_noise(
        self, images: Tensor, parents: Attributes, *, solver: Solver | int | None = None
    ) -> Noise:
        """Returns the noise of one batch: of its mean, then of its detail given the mean."""
        low, detail = haar(images.to(self.device))
        u = self.coarse.to_noise(low / 2, parents, solver=solver)
        given = _context(low)
        return inverse_haar(u, self.detail.to_noise(detail, parents, context=given, solver=solver))

    def from_noise(
        self,
        noise: Noise,
        parents: Attributes,
        *,
        guidance: Guidance | None = None,
        groups: tuple[Keep, Keep, Keep] | None = None,
        solver: Solver | int | None = None,
    ) -> Tensor:
        """Returns what one batch of noise becomes, not clamped: the mean, then its detail.

        Raises:
            InterventionError: As `predict`.
        """
        u, of_detail = haar(noise.to(self.device))
        how: dict[str, Any] = {"guidance": guidance, "groups": groups, "solver": solver}
        low = 2 * self.coarse.from_noise(u, parents, **how)
        detail = self.detail.from_noise(of_detail, parents, context=_context(low), **how)
        return inverse_haar(low, detail)

    def fit_transport(
        self,
        images: Tensor,
        parents: Attributes,
        patients: Iterable[object],
        **options: Any,  # noqa: ANN401
    ) -> "WaveletFlow":
        """Finds the transports of the noise of both scales, and returns itself.

        Arguments:
            images: Radiographs of training patients, in [0, 1].
            parents: Their parents, from `encode`.
            patients: The patient of each row.
            options: Further arguments of `RectifiedFlow.fit_transport`.

        Raises:
            ImageError: As `RectifiedFlow.fit_transport`.
            TableError: As `RectifiedFlow.fit_transport`.
        """
        self.check_images(images)
        people = list(patients)
        low, detail = haar(images)
        self.coarse.fit_transport(low / 2, parents, people, **options)
        self.detail.fit_transport(detail, parents, people, context=_context(low), **options)
        return self

    def drop_transport(self) -> None:
        """Leaves the detail without its transport, which was of old weights."""
        self.detail.drop_transport()

    def describe(self, solver: Solver | int | None = None) -> dict[str, Any]:
        """Returns what provenance is to say of an answer computed with that solver."""
        return self.detail.describe(solver) | {COARSE: self.coarse.describe(solver)}

    def save(self, folder: str | Path, **options: Any) -> Path:  # noqa: ANN401
        """Writes the detail as `save_image_mechanism` does, the coarse model in a folder beside.

        The coarse model comes first, so that a folder whose detail is new is whole.
        """
        dtype = options.get("dtype", torch.float32)
        self.coarse.save(Path(folder) / COARSE, dtype=dtype)
        return save_image_mechanism(self.detail, folder, kind=type(self).__name__, **options)


def _context(low: Tensor) -> Tensor:
    """Returns the mean that a low band is of, as the network of the detail reads it."""
    return low - 1  # the mean is low / 2, in [0, 1]
