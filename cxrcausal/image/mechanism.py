r"""The mechanism that paints: the radiograph as a function of its parents and of its own noise.

:math:`x = f(u, \mathrm{pa})` is the flow from noise (t = 0) to image (t = 1) under the velocity
that the network gives for these parents. The same integral runs both ways:
`predict = integrate(u, 0 → 1)`, `abduct = integrate(x, 1 → 0)`. Unlike a one-dimensional flow,
this map is one of many with the same conditional distribution; that a patient's noise stays the
same between worlds is an assumption.

What training left of the parents in the noise, a `NoiseTransport` may take up: then
:math:`x = f(T_\mathrm{pa}(z), \mathrm{pa})`, and the noise is :math:`z`.
"""

import dataclasses
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, final

import pandas as pd
import torch
from torch import Tensor

from cxrcausal.errors import (
    GraphError,
    ImageError,
    InterventionError,
    NotFittedError,
    RecipeError,
    nearest,
    summarise,
)
from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.image.batched import BatchedFlow, in_batches
from cxrcausal.image.checkpoint import save_image_mechanism
from cxrcausal.image.guidance import Branches, Groups, Guidance
from cxrcausal.image.network.registry import build_network
from cxrcausal.image.recipe import ImageRecipe
from cxrcausal.image.solver import Solver
from cxrcausal.image.transport import NoiseTransport
from cxrcausal.scm.table import encode
from cxrcausal.shapes import Attributes, Context, Image, Keep, Noise, Time, Velocity

__all__ = ["Observed", "RectifiedFlow"]

Observed = Mapping[str, Any]
"""What training observed of each attribute: its levels, or a continuous one's (low, high)."""


_COLOURS = 3

logger = logging.getLogger("cxrcausal")


@final
class RectifiedFlow(BatchedFlow):
    """A rectified flow from Gaussian noise to the radiograph, given its parents in the graph.

    Arguments:
        graph: The causal graph; its `image_parents` are the attributes, in that order.
        recipe: Network, path and solver.
        observed: What training saw of each attribute; filled in by training.
        transport: The map from N(0, I) to the noise that the flow starts from; the identity if
            None. `fit_transport` finds one, after training: it is of these weights.

    Raises:
        ImageError: If the graph has no image, or the transport is of another shape.
        GraphError: If a continuous parent of the image has no bounds, or `observed` holds what is
            no level and no range of an attribute.
        RecipeError: If the recipe is of latents: this version has no Rad-VAE to make and decode
            them.
    """

    transport: NoiseTransport | None
    provenance: dict[str, Any]
    """What is known of the training of these weights, kept with them."""

    def __init__(
        self,
        graph: CausalGraph,
        recipe: ImageRecipe,
        observed: Observed | None = None,
        transport: NoiseTransport | None = None,
    ) -> None:
        super().__init__()
        if not graph.image_parents:
            raise ImageError(f"graph {graph.name!r} declares no image, so nothing paints one")
        if recipe.network.channels > _COLOURS:
            raise RecipeError(
                f"recipe {recipe.name!r} has {recipe.network.channels} channels: it is of Rad-VAE "
                "latents, and the Rad-VAE is not in this version; a mechanism paints pixels, "
                f"with 1 or {_COLOURS} channels, as 'radit-tiny' does"
            )
        self.graph = graph
        self.recipe = recipe
        self.path = recipe.path
        self.observed: dict[str, Any] = dict(observed or {})
        _check_observed(self.observed, self.attributes)
        self.network = build_network(recipe.network, self.attributes)
        self.transport = transport
        self.provenance = {}
        if transport is not None and (
            transport.image_shape != self.image_shape or transport.attributes != self.attributes
        ):
            raise ImageError(
                f"the transport is of noise {transport.image_shape} given "
                f"{summarise([v.name for v in transport.attributes])}; this mechanism's is "
                f"{self.image_shape} given {summarise(graph.image_parents)}"
            )

    @property
    def attributes(self) -> tuple[Variable, ...]:
        """The image's parents, in the graph's order."""
        return tuple(self.graph.variables[name] for name in self.graph.image_parents)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images."""
        network = self.recipe.network
        return (network.channels, network.size, network.size)

    @property
    def device(self) -> torch.device:
        """Where the network lives."""
        return next(self.parameters()).device

    def encode(self, table: pd.DataFrame) -> tuple[Attributes, dict[str, tuple]]:
        """Returns the parents of each row as the network reads them, and what it never saw.

        A level that training never saw enters as unknown: its embedding is noise.

        Arguments:
            table: Rows with the graph's columns; an absent column is unknown throughout.

        Returns:
            The attributes (batch, attributes), and per variable the unseen levels that occurred.

        Raises:
            NotFittedError: If it is not known what training saw.
            TableError: If the table holds a value that the graph does not allow.
        """
        if not self.observed:
            raise NotFittedError(
                "the image mechanism does not know what training observed, so every level would "
                "enter as unknown; train it with Trainer, load it with load_image_mechanism, or "
                "give `observed`"
            )
        values = encode(table, self.graph)
        parents = torch.stack([values[v.name] for v in self.attributes], dim=1).float()
        unobserved: dict[str, tuple] = {}
        for column, variable in enumerate(self.attributes):
            if not variable.is_discrete:
                continue
            known = self.observed.get(variable.name, ())
            level = parents[:, column]
            for index, name in enumerate(variable.levels):
                if name not in known and bool((level == index).any()):
                    unobserved[variable.name] = (*unobserved.get(variable.name, ()), name)
                    parents[level == index, column] = torch.nan
        return parents.to(self.device), unobserved

    @property
    def guidance(self) -> Guidance:
        """The guidance that its recipe recommends."""
        return self.recipe.guidance

    def velocity(
        self, x: Image, t: Time, parents: Attributes, keep: Keep, context: Context | None = None
    ) -> Velocity:
        """Returns dx/dt at `x`, in the flow's own scale."""
        return self.path.velocity(self.network(x, t, parents, keep, context), x, t)

    def guided_velocity(
        self,
        x: Image,
        t: Tensor,
        parents: Attributes,
        branches: Branches,
        context: Context | None = None,
    ) -> Velocity:
        """Returns the weighted sum of the branches' velocities, computed in one forward pass."""
        count, batch = branches.weight.shape
        given = None if context is None else context.repeat(count, 1, 1, 1)
        out = self.velocity(
            x.repeat(count, 1, 1, 1),
            t.expand(count * batch),
            parents.repeat(count, 1),
            branches.keep.flatten(0, 1),
            given,
        )
        weight = branches.weight.to(out.dtype)[:, :, None, None, None]
        return (out.unflatten(0, (count, batch)) * weight).sum(dim=0)

    def to_noise(
        self,
        images: Tensor,
        parents: Attributes,
        *,
        context: Context | None = None,
        solver: Solver | int | None = None,
    ) -> Noise:
        """Returns the noise of one batch, of whatever range: what `abduct` does to each.

        Arguments:
            images: As the flow models them, before scaling.
            parents: Their parents.
            context: The images that are given, where the network reads any.
            solver: How to integrate.
        """
        x = self.path.scale(images.to(self.device, self.dtype))
        u = self._integrate(x, parents, None, context, solver, backward=True)
        return u if self.transport is None else self.transport.abduct(u, parents)

    def from_noise(
        self,
        noise: Noise,
        parents: Attributes,
        *,
        context: Context | None = None,
        guidance: Guidance | None = None,
        groups: tuple[Keep, Keep, Keep] | None = None,
        solver: Solver | int | None = None,
    ) -> Tensor:
        """Returns what one batch of noise becomes, not clamped: what `predict` does to each.

        Arguments:
            noise: The noise.
            parents: The parents.
            context: The images that are given, where the network reads any.
            guidance: How strongly each group of parents is imposed; needs `groups`.
            groups: Which parents were set, changed, or stayed.
            solver: How to integrate.

        Raises:
            InterventionError: As `predict`.
        """
        if not isinstance(guidance, Guidance | None):
            raise InterventionError(
                f"guidance is {guidance!r}; give a Guidance, as Guidance('nested', intervened=2.0)"
            )
        branches = None
        if guidance is not None and groups is not None and guidance.form != "none":
            branches = guidance.branches(Groups(*groups), self.graph.image_parents)
        u = noise.to(self.device, self.dtype)
        if self.transport is not None:
            u = self.transport.predict(u, parents)
        x = self._integrate(u, parents, branches, context, solver, backward=False)
        return self.path.unscale(x)

    def fit_transport(
        self,
        images: Tensor,
        parents: Attributes,
        patients: Iterable[object],
        *,
        context: Context | None = None,
        solver: Solver | int | None = None,
        batch_size: int | None = 32,
        seed: int = 0,
        progress: bool | None = False,
    ) -> "RectifiedFlow":
        """Finds the transport of the noise of these radiographs, and returns itself.

        A transport that it had is replaced.

        Arguments:
            images: Radiographs of training patients, (batch, channel, height, width), in [0, 1].
            parents: Their parents, from `encode`.
            patients: The patient of each row.
            context: The images that are given, where the network reads any; `images` are then
                detail, of whatever range.
            solver: How to abduct: the recipe's way if left out.
            batch_size: How many are abducted at once; all if None.
            seed: Decides which patients are left out together in cross-validation.
            progress: Whether to show progress bars; on a terminal only if None.

        Raises:
            ImageError: As `abduct` and `NoiseTransport.fit`.
            TableError: As `NoiseTransport.fit`.
        """
        if context is None:
            self.check_images(images)

        def part(rows: slice) -> Tensor:
            given = None if context is None else context[rows]
            return self.to_noise(images[rows], parents[rows], context=given, solver=solver)

        before, self.transport = self.transport, None
        try:
            noise = in_batches(part, images, batch_size, "abduct", progress)
            found = NoiseTransport(self.attributes, self.image_shape)
            self.transport = found.fit(noise, parents, patients, seed=seed, progress=progress).to(
                self.device, self.dtype
            )
        except BaseException:
            self.transport = before
            raise
        return self

    def drop_transport(self) -> None:
        """Leaves the flow without its transport, as when the weights that it was of change."""
        if self.transport is not None:
            logger.info("the mechanism's transport is of its old weights and is dropped")
        self.transport = None

    @property
    def dtype(self) -> torch.dtype:
        """The network's floating-point type."""
        return next(self.parameters()).dtype

    def forward(
        self,
        images: Image,
        parents: Attributes,
        keep: Keep,
        t: Time,
        noise: Noise,
        context: Context | None = None,
    ) -> Tensor:
        """Returns the training loss per patient (batch,): mean squared error of the velocity."""
        x = self.path.scale(images)
        x_t = self.path.between(noise, x, t)
        error = self.velocity(x_t, t, parents, keep, context) - self.path.target(noise, x, t)
        return error.square().flatten(1).mean(dim=1)

    def _integrate(
        self,
        x: Tensor,
        parents: Attributes,
        branches: Branches | None,
        context: Context | None,
        solver: Solver | int | None,
        *,
        backward: bool,
    ) -> Tensor:
        keep = torch.ones_like(parents, dtype=torch.bool)
        context = None if context is None else context.to(self.device, self.dtype)

        def field(state: Tensor, t: Tensor) -> Tensor:
            if branches is None:
                return self.velocity(state, t.expand(len(state)), parents, keep, context)
            return self.guided_velocity(state, t, parents, branches, context)

        with torch.no_grad():
            return self._solver(solver).integrate(field, x, backward=backward)

    def _solver(self, solver: Solver | int | None) -> Solver:
        if isinstance(solver, Solver):
            return solver
        own = self.recipe.solver
        return own if solver is None else dataclasses.replace(own, num_steps=solver)

    def describe(self, solver: Solver | int | None = None) -> dict[str, Any]:
        """Returns what provenance is to say of an answer computed with that solver."""
        said = {"recipe": self.recipe.name, "solver": dataclasses.asdict(self._solver(solver))}
        return said if self.transport is None else said | {"transport": repr(self.transport)}

    def save(self, folder: str | Path, **options: Any) -> Path:  # noqa: ANN401
        """Writes the mechanism into a folder, as `save_image_mechanism` does."""
        return save_image_mechanism(self, folder, **options)


def _check_observed(observed: Observed, attributes: tuple[Variable, ...]) -> None:
    """Refuses what training cannot have seen: a level that enters as known must have an embedding.

    Raises:
        GraphError: Names the attribute, what was found and what is allowed.
    """
    by_name = {variable.name: variable for variable in attributes}
    for name, values in observed.items():
        if name not in by_name:
            raise GraphError(
                f"observed names {name!r}, which is no parent of the "
                f"image{nearest(name, by_name) or '.'} It has: {', '.join(by_name)}"
            )
        if not by_name[name].has_part(values):
            raise GraphError(
                f"what training saw of {name!r} is {values!r}; allowed: "
                f"{by_name[name].describe_part()}"
            )
