"""Abduction, action, prediction on one model: metadata by the SCM, the radiograph by its mechanism.

The radiograph is one more variable of the causal graph. Its noise is abducted under the factual
parents, unguided; the SCM answers for the parents; the radiograph is then predicted from the same noise
under the counterfactual parents, guided where a parent changed.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.counterfactual.arguments import (
    as_images,
    check_count,
    guidance_record,
    plain_value,
)
from cxrcausal.counterfactual.image_mechanism import ImageMechanism
from cxrcausal.counterfactual.result import Counterfactual
from cxrcausal.counterfactual.round_trip import RoundTrip, round_trip_error
from cxrcausal.device import resolve_device
from cxrcausal.errors import CheckpointError, ImageError, UnobservedError, summarise
from cxrcausal.graph import CausalGraph
from cxrcausal.randomness import fresh_seed, label_words
from cxrcausal.scm import FlowSCM
from cxrcausal.scm.evidence import absent_words
from cxrcausal.scm.prediction import World, predict_rows
from cxrcausal.scm.table import complete_table
from cxrcausal.version import __version__

if TYPE_CHECKING:
    from cxrcausal.image.guidance import Guidance

__all__ = ["CounterfactualModel"]

logger = logging.getLogger("cxrcausal")


@final
class CounterfactualModel:
    """The joint model of metadata and radiograph.

    Arguments:
        scm: The fitted SCM of the metadata.
        image: The mechanism of the radiograph, or None for a model of metadata alone.
        name: What to call it in provenance.

    Raises:
        CheckpointError: If the two belong to different causal graphs.
    """

    def __init__(
        self, scm: FlowSCM, image: ImageMechanism | None = None, *, name: str = "unnamed"
    ) -> None:
        if image is not None and image.graph.fingerprint != scm.graph.fingerprint:
            raise CheckpointError(
                f"the SCM belongs to graph {scm.graph.name!r} ({scm.graph.fingerprint}), the image "
                f"mechanism to {image.graph.name!r} ({image.graph.fingerprint})"
            )
        self.scm = scm
        self.image = image
        self.name = name
        self._said: set[tuple[str, ...]] = set()
        self._round_trip: RoundTrip | None = None

    @property
    def graph(self) -> CausalGraph:
        """The causal graph that both parts share."""
        return self.scm.graph

    def to(self, device: str | torch.device) -> "CounterfactualModel":
        """Moves the image mechanism to a device, and returns the model; the SCM stays on the CPU.

        Arguments:
            device: `auto` (a GPU if there is one), `cpu`, `cuda:0`, …

        Raises:
            CxrCausalError: If there is no such device here.
        """
        found = resolve_device(device)
        if self.image is not None:
            self.image.to(found)
        return self

    def counterfactual(
        self,
        images: Tensor | np.ndarray | None,
        rows: pd.DataFrame,
        do: Mapping[str, Any] | None = None,
        *,
        guidance: "Guidance | Literal['recommended'] | None" = "recommended",
        num_steps: int | None = None,
        num_samples: int = 1,
        seed: int | None = None,
        impute: bool = False,
        clip: bool = False,
        unobserved: Literal["ignore", "error"] = "ignore",
        metadata_only: bool = False,
        batch_size: int = 64,
        progress: bool = False,
    ) -> Counterfactual:
        """Returns what would have been seen of these patients under the intervention.

        Arguments:
            images: Their radiographs in [0, 1], (batch, channel, height, width), lungs dark, as a tensor
                or an array of floats; may be None with `metadata_only`.
            rows: Their metadata; unknown cells are NaN, absent columns unknown throughout. Further
                columns are left alone, but one that seems to be an absent variable, mistyped.
            do: The intervention, as `FlowSCM.counterfactual` takes it; None is the null intervention.
            guidance: How strongly changed parents are imposed on the image; as the model's recipe
                recommends if left out, not at all if None.
            num_steps: Steps of the flow in each direction; the recipe's if left out.
            num_samples: Counterfactuals per patient (of what the data leave undecided).
            seed: Makes the answer a function of (seed, row label).
            impute: Whether unknown cells are given in the answer's table, as drawn. The radiograph is
                painted with them unknown all the same: what was drawn was not seen in it.
            clip: Whether to stop at a variable's bounds instead of refusing to leave them; the table's
                ``attrs["clipped"]`` counts the rows by variable.
            unobserved: Whether metadata that the fit never saw are ignored or an error.
            metadata_only: Whether to leave the radiographs out.
            batch_size: Radiographs at a time.
            progress: Whether to show a progress bar.

        Raises:
            ImageError: If images are absent, of the wrong shape or range, or as many as rows are not, or
                `batch_size` is no positive whole number.
            TableError: If rows hold a value that is not allowed, or a mistyped column.
            InterventionError: If `do` or the guidance is malformed.
            RecipeError: If `num_steps` is no positive whole number.
            UnobservedError: If `do` sets what the fit, or the image mechanism, never saw.
        """
        check_count(batch_size, "batch_size")
        if isinstance(guidance, str) and guidance == "recommended":
            guidance = None if metadata_only or self.image is None else self.image.guidance
        guided = guidance_record(guidance)
        do = {} if do is None else do
        rows = self._complete(rows)
        solved: dict[str, Any] = {}
        if not metadata_only:
            images = as_images(images)
            mechanism = self._check_images(images, rows)
            solved["image"] = mechanism.describe(num_steps)
        exogenous = self.scm.abduct(
            rows, num_samples=num_samples, seed=seed, unobserved=unobserved
        )
        # Painted from this world: what is unknown on both sides may change nothing in the image.
        world = predict_rows(self.scm, exogenous, do, clip=clip)
        shown = self.scm.predict(exogenous, do, impute=True, clip=clip) if impute else world.table
        variables = list(self.graph.variables)
        intervened = world.intervened().reindex(columns=variables, fill_value=False)
        descendants = world.descendants().reindex(columns=variables, fill_value=False)
        changed = intervened | descendants
        # An imputed table follows every path; the radiograph, painted without it, does not.
        blocked = self._blocked(world, changed & (not (impute and metadata_only)))
        provenance = {
            "synthetic": True,
            "do": {name: plain_value(value, rows.index) for name, value in do.items()},
            "clip": clip,
            "guidance": guided,
            "seed": exogenous.seed,
            "model": self.name,
            "graph": self.graph.name,
            "graph_fingerprint": self.graph.fingerprint,
            "cxrcausal": __version__,
            **solved,
        }
        pictures: tuple[Tensor | None, ...] = (None, None, None)
        foreign: dict[str, tuple] = {}
        error, lost = np.full(len(rows), np.nan), np.zeros(len(rows), bool)
        if not metadata_only:
            advice = "Ask with metadata_only=True for the metadata alone"
            foreign = self._unobserved(rows, world.table, do, advice)
            pictures = self._paint(
                images, rows, world.table, intervened, descendants,
                guidance, num_steps, batch_size, progress=progress,
            )  # fmt: skip
            error = round_trip_error(images, pictures[1])
            lost = self._warn_if_lost(rows, error, num_steps)
        return Counterfactual(
            factual=rows,
            table=shown,
            images=pictures[2],
            factual_images=None if metadata_only else images,
            reconstruction=pictures[1],
            noise=pictures[0],
            reconstruction_error=pd.Series(error, rows.index, name="reconstruction_error"),
            not_reconstructed=pd.Series(lost, rows.index, name="not_reconstructed"),
            exogenous=exogenous,
            intervened=intervened,
            descendants=descendants,
            invariant=~changed,
            unobserved=foreign,
            blocked=blocked,
            provenance=provenance,
        )

    def sample(
        self, n: int, do: Mapping[str, Any] | None = None, *, seed: int | None = None,
        num_steps: int | None = None, clip: bool = False, batch_size: int = 64,
    ) -> tuple[Tensor, pd.DataFrame]:  # fmt: skip
        """Returns `n` synthetic patients: radiographs (n, channel, height, width) and metadata.

        Arguments:
            n: How many.
            do: An intervention under which they are drawn.
            seed: Makes them a function of (seed, 0 … n-1).
            num_steps: Steps of the flow; the recipe's if left out.
            clip: Whether to stop at a variable's bounds instead of refusing to leave them.
            batch_size: Radiographs at a time.

        Raises:
            ImageError: If the model has no image mechanism, or `batch_size` is no positive whole number.
            InterventionError: If `do` is malformed.
            RecipeError: If `num_steps` is no positive whole number.
            UnobservedError: If `do` sets what the fit, or the image mechanism, never saw.
        """
        if self.image is None:
            raise ImageError(f"model {self.name!r} is of metadata alone; use model.scm.sample")
        check_count(batch_size, "batch_size")
        self.image.describe(num_steps)  # refuses what is no number of steps, before any work
        seed = fresh_seed() if seed is None else seed
        table = self.scm.sample(n, do, seed=seed, clip=clip)
        unobserved = self._unobserved(
            table, table, do or {}, "Use model.scm.sample for the metadata alone"
        )
        if unobserved:
            logger.warning(
                "painted as unknown, never observed by the image mechanism: %s", unobserved
            )
        if n == 0:
            return torch.empty(0, *self.image.image_shape), table
        parents, _ = self.image.encode(table)
        noise = self.image.prior(label_words(table.index), seed)
        images = self.image.predict(noise, parents, solver=num_steps, batch_size=batch_size)
        return images.cpu(), table

    def save(self, folder: str | Path, **image_options: Any) -> Path:  # noqa: ANN401
        """Writes both parts into one folder, and returns it; `load_pretrained(folder)` reads them.

        What an earlier save left there is replaced; its image mechanism goes if this model has none.

        Arguments:
            folder: Made if absent.
            image_options: What the image mechanism's `save` takes.
        """
        folder = Path(folder)
        self.scm.save(folder)
        if self.image is not None:
            self.image.save(folder, **image_options)
        else:
            (folder / "image.json").unlink(missing_ok=True)  # without it there is no image model
            (folder / "image.safetensors").unlink(missing_ok=True)
        return folder

    def __repr__(self) -> str:
        """Says the name, the graph and whether there is an image."""
        image = "metadata alone" if self.image is None else f"images {self.image.image_shape}"
        return f"CounterfactualModel({self.name!r}, graph={self.graph.name!r}, {image})"

    def _complete(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Returns the rows with every variable's column, saying once which are unknown throughout."""
        rows, absent = complete_table(rows, self.graph)
        lost = tuple(name for name in absent if name in self.scm.observed)
        if lost and lost not in self._said:
            self._said.add(lost)
            logger.warning(absent_words(lost))
        return rows

    def _check_images(self, images: Tensor | None, rows: pd.DataFrame) -> ImageMechanism:
        """Returns the mechanism that paints; refuses images that are not its own or not the rows'."""
        if self.image is None:
            raise ImageError(
                f"model {self.name!r} is of metadata alone; ask with metadata_only=True, images=None"
            )
        if images is None:
            raise ImageError("images is None; give radiographs, or ask with metadata_only=True")
        self.image.check_images(images)
        if len(images) != len(rows):
            raise ImageError(f"{len(images)} images stand beside {len(rows)} rows of metadata")
        return self.image

    def _blocked(self, world: World, changed: pd.DataFrame) -> pd.DataFrame:
        """Returns the changes that end in an unknown cell, one line each, in the order of the rows."""
        unknown = world.unknown(self.graph.variables)
        positions, paths = [np.empty(0, np.int64)], []
        for cause in self.graph.variables:
            for effect in self.graph.children(cause):
                if effect in world.settings or effect not in unknown:
                    continue
                stopped = changed[cause].to_numpy() & unknown[effect].to_numpy()
                positions.append(np.flatnonzero(stopped))
                paths += [(cause, effect)] * len(positions[-1])
        at = np.concatenate(positions)
        order = np.argsort(at, kind="stable")
        named = pd.DataFrame(paths, columns=["cause", "unknown"]).iloc[order]
        labels = pd.Series(changed.index.to_numpy()[at[order]], index=named.index)
        return named.assign(row=labels)[["row", "cause", "unknown"]].reset_index(drop=True)

    def _warn_if_lost(
        self, rows: pd.DataFrame, error: np.ndarray, num_steps: int | None
    ) -> np.ndarray:
        """Returns which radiographs (rows,) do not come back from their noise, and says so."""
        if self._round_trip is None or self._round_trip.image is not self.image:
            assert self.image is not None
            self._round_trip = RoundTrip(self.image, self.graph)
        lost = error > self._round_trip.most(error, num_steps)
        if lost.any():
            logger.warning(
                "%d radiograph(s) do not come back from their own noise, rows %s (mean error up to "
                "%.3f, the model's own images %.3f): negatives, other views or parts? Their "
                "counterfactuals differ from them by that error more than by the intervention",
                lost.sum(), summarise(rows.index[lost]), error[lost].max(),
                self._round_trip.own(num_steps),
            )  # fmt: skip
        return lost

    def _unobserved(
        self, rows: pd.DataFrame, table: pd.DataFrame, do: Mapping[str, Any], advice: str
    ) -> dict[str, tuple]:
        """Returns levels that the image mechanism never observed; refuses to set one, and adds `advice`.

        Raises:
            UnobservedError: If the intervention sets such a level.
        """
        assert self.image is not None
        unobserved = self.image.encode(rows)[1]
        for name, levels in self.image.encode(table)[1].items():
            if name in do:
                raise UnobservedError(
                    f"do sets {name!r} to {summarise(levels)}, which the image mechanism of "
                    f"{self.name!r} never observed; observed: {summarise(self.image.observed.get(name, ()))}. "
                    f"{advice}"
                )
            unobserved[name] = tuple(dict.fromkeys((*unobserved.get(name, ()), *levels)))
        self._warn_outside(table, do)
        return unobserved

    def _warn_outside(self, table: pd.DataFrame, do: Mapping[str, Any]) -> None:
        assert self.image is not None
        for variable in self.image.attributes:
            span = self.image.observed.get(variable.name)
            if variable.is_discrete or variable.name not in do or not span:
                continue
            outside = int(
                ((table[variable.name] < span[0]) | (table[variable.name] > span[1])).sum()
            )
            if outside:
                logger.warning(
                    "do sets %r outside what the image mechanism observed, [%g, %g], in %d row(s)",
                    variable.name, span[0], span[1], outside,
                )  # fmt: skip

    def _paint(
        self,
        images: Tensor,
        rows: pd.DataFrame,
        table: pd.DataFrame,
        intervened: pd.DataFrame,
        descendants: pd.DataFrame,
        guidance: "Guidance | None",
        num_steps: int | None,
        batch_size: int,
        *,
        progress: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns noise and reconstruction of each radiograph, and the counterfactual ones."""
        assert self.image is not None
        if rows.empty:
            return images, images, images  # none of each
        image = self.image
        read = [variable.name for variable in image.attributes]
        was_set = torch.tensor(intervened[read].to_numpy(), device=image.device)
        followed = torch.tensor(descendants[read].to_numpy(), device=image.device)
        before, after = image.encode(rows)[0], image.encode(table)[0]
        how: dict[str, Any] = {"solver": num_steps, "batch_size": batch_size, "progress": progress}
        noise = image.abduct(images, before, **how)
        reconstruction = image.predict(noise, before, **how)
        painted = image.predict(
            noise.repeat_interleave(len(table) // len(rows), dim=0),
            after,
            guidance=guidance,
            groups=(was_set, followed, ~(was_set | followed)),
            **how,
        )
        return noise.cpu(), reconstruction.cpu(), painted.cpu()
