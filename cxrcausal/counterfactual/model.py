"""Abduction, action and prediction on one model of metadata and radiograph.

The radiograph is one more variable of the causal graph. Its noise is abducted under the factual
parents, unguided; the SCM answers for the parents; the radiograph is then predicted from the same
noise under the counterfactual parents, guided where a parent changed.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
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
from cxrcausal.scm.exogenous import Exogenous
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
        name: The name of the model in provenance.

    Raises:
        CheckpointError: If the two belong to different causal graphs.
    """

    def __init__(
        self, scm: FlowSCM, image: ImageMechanism | None = None, *, name: str = "unnamed"
    ) -> None:
        if image is not None and image.graph.fingerprint != scm.graph.fingerprint:
            raise CheckpointError(
                f"the SCM belongs to graph {scm.graph.name!r} ({scm.graph.fingerprint}), "
                f"the image mechanism to {image.graph.name!r} ({image.graph.fingerprint})"
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
        """Returns what would have been observed of these patients under the intervention.

        Arguments:
            images: Their radiographs in [0, 1], (batch, channel, height, width), lungs dark, as a
                tensor or an array of floats; may be None with `metadata_only`.
            rows: Their metadata; unknown cells are NaN, absent columns unknown throughout. Further
                columns are left alone, but one that seems to be an absent variable, mistyped.
            do: The intervention, as `FlowSCM.counterfactual` takes it; None is the null
                intervention.
            guidance: The strength with which changed parents are imposed on the image; the
                recipe's if left out, none if None.
            num_steps: The number of steps of the flow in each direction; the recipe's if None.
            num_samples: The number of counterfactuals per patient, who differ in what the data
                leave undecided.
            seed: The seed that makes the answer a function of (seed, row label); drawn if None.
            impute: Whether unknown cells are given in the answer's table, as drawn. The radiograph
                is painted with them unknown all the same: what is drawn is not observed in it.
            clip: Whether the bounds clip a value that leaves them instead of refusing it; the
                table's ``attrs["clipped"]`` counts the rows by variable.
            unobserved: Whether metadata that the fit never observed are ignored or an error.
            metadata_only: Whether to leave the radiographs out.
            batch_size: The number of radiographs that are worked on at a time.
            progress: Whether to show a progress bar.

        Raises:
            ImageError: If images are absent, of the wrong shape or range, or as many as rows are
                not, or `batch_size` is no positive whole number.
            TableError: If rows hold a value that is not allowed, or a mistyped column.
            InterventionError: If `do` or the guidance is malformed.
            RecipeError: If `num_steps` is no positive whole number.
            UnobservedError: If `do` sets what the fit, or the image mechanism, never observed.
        """
        check_count(batch_size, "batch_size")
        if isinstance(guidance, str) and guidance == "recommended":
            guidance = None if metadata_only or self.image is None else self.image.guidance
        do = {} if do is None else do
        rows = self._complete(rows)
        provenance = self._provenance(do, rows.index, guidance, clip=clip)
        if not metadata_only:
            images = as_images(images)
            provenance["image"] = self._check_images(images, rows).describe(num_steps)
        exogenous = self.scm.abduct(
            rows, num_samples=num_samples, seed=seed, unobserved=unobserved
        )
        provenance["seed"] = exogenous.seed
        # Painted from this world: what is unknown on both sides may change nothing in the image.
        world = predict_rows(self.scm, exogenous, do, impute=impute, clip=clip)
        # An imputed table follows every path; the radiograph, painted without it, does not.
        blocks = not (impute and metadata_only)
        answer = self._of_metadata(rows, exogenous, world, provenance, blocks=blocks)
        if metadata_only:
            return answer
        how = {"solver": num_steps, "batch_size": batch_size, "progress": progress}
        return self._painted(answer, images, world, guidance, how)

    def sample(
        self, n: int, do: Mapping[str, Any] | None = None, *, seed: int | None = None,
        num_steps: int | None = None, clip: bool = False, batch_size: int = 64,
    ) -> tuple[Tensor, pd.DataFrame]:  # fmt: skip
        """Returns `n` synthetic patients: radiographs (n, channel, height, width) and metadata.

        Arguments:
            n: The number of patients.
            do: The intervention under which they are drawn.
            seed: The seed that makes them a function of (seed, 0 … n-1); drawn if None.
            num_steps: The number of steps of the flow; the recipe's if None.
            clip: Whether the bounds clip a value that leaves them instead of refusing it.
            batch_size: The number of radiographs that are painted at a time.

        Raises:
            ImageError: If the model has no image mechanism, or `batch_size` is no positive whole
                number.
            InterventionError: If `do` is malformed.
            RecipeError: If `num_steps` is no positive whole number.
            UnobservedError: If `do` sets what the fit, or the image mechanism, never observed.
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

        What an earlier save left there is replaced; its image mechanism goes if this model has
        none.

        Arguments:
            folder: The folder, made if absent.
            image_options: The options of the image mechanism's `save`.
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
        """Returns the rows with every variable's column, and says once which were absent."""
        rows, absent = complete_table(rows, self.graph)
        lost = tuple(name for name in absent if name in self.scm.observed)
        if lost and lost not in self._said:
            self._said.add(lost)
            logger.warning(absent_words(lost))
        return rows

    def _check_images(self, images: Tensor | None, rows: pd.DataFrame) -> ImageMechanism:
        """Returns the image mechanism; refuses images that are not its own or not the rows'."""
        if self.image is None:
            raise ImageError(
                f"model {self.name!r} is of metadata alone; ask with metadata_only=True, "
                f"images=None"
            )
        if images is None:
            raise ImageError("images is None; give radiographs, or ask with metadata_only=True")
        self.image.check_images(images)
        if len(images) != len(rows):
            raise ImageError(f"{len(images)} images stand beside {len(rows)} rows of metadata")
        return self.image

    def _provenance(
        self,
        do: Mapping[str, Any],
        index: pd.Index,
        guidance: "Guidance | None",
        *,
        clip: bool,
    ) -> dict[str, Any]:
        """Returns what was asked and of which model, as JSON holds it; the seed comes later."""
        return {
            "synthetic": True,
            "do": {name: plain_value(value, index) for name, value in do.items()},
            "clip": clip,
            "guidance": guidance_record(guidance),
            "seed": None,
            "model": self.name,
            "graph": self.graph.name,
            "graph_fingerprint": self.graph.fingerprint,
            "cxrcausal": __version__,
        }

    def _of_metadata(
        self,
        rows: pd.DataFrame,
        exogenous: Exogenous,
        world: World,
        provenance: dict[str, Any],
        *,
        blocks: bool,
    ) -> Counterfactual:
        """Returns the answer without its radiographs.

        Arguments:
            rows: The factual metadata.
            exogenous: The abducted noise of the metadata.
            world: The counterfactual metadata, unknown where the factual ones are.
            provenance: The question and the model, as JSON holds them.
            blocks: Whether an unknown cell ends a path.
        """
        variables = list(self.graph.variables)
        intervened = world.intervened().reindex(columns=variables, fill_value=False)
        descendants = world.descendants().reindex(columns=variables, fill_value=False)
        changed = intervened | descendants
        return Counterfactual(
            factual=rows,
            table=world.shown,
            images=None,
            factual_images=None,
            reconstruction=None,
            noise=None,
            reconstruction_error=pd.Series(math.nan, rows.index, name="reconstruction_error"),
            not_reconstructed=pd.Series(False, rows.index, name="not_reconstructed"),
            exogenous=exogenous,
            intervened=intervened,
            descendants=descendants,
            invariant=~changed,
            unobserved={},
            blocked=self._blocked(world, changed & blocks),
            provenance=provenance,
        )

    def _blocked(self, world: World, changed: pd.DataFrame) -> pd.DataFrame:
        """Returns the changes that end in an unknown cell, one line each, in the rows' order."""
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
                "%d radiograph(s) do not come back from their own noise, rows %s (mean error up "
                "to %.3f, the model's own images %.3f): negatives, other views or parts? Their "
                "counterfactuals differ from them by that error more than by the intervention",
                lost.sum(), summarise(rows.index[lost]), error[lost].max(),
                self._round_trip.own(num_steps),
            )  # fmt: skip
        return lost

    def _unobserved(
        self, rows: pd.DataFrame, table: pd.DataFrame, do: Mapping[str, Any], advice: str
    ) -> dict[str, tuple]:
        """Returns levels that the image mechanism never observed; refuses to set one.

        Arguments:
            rows: The factual metadata.
            table: The counterfactual metadata.
            do: The intervention.
            advice: The sentence that ends the refusal.

        Raises:
            UnobservedError: If the intervention sets such a level.
        """
        assert self.image is not None
        unobserved = self.image.encode(rows)[1]
        for name, levels in self.image.encode(table)[1].items():
            if name in do:
                known = summarise(self.image.observed.get(name, ()))
                raise UnobservedError(
                    f"do sets {name!r} to {summarise(levels)}, which the image mechanism of "
                    f"{self.name!r} never observed; observed: {known}. {advice}"
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

    def _painted(
        self,
        answer: Counterfactual,
        images: Tensor,
        world: World,
        guidance: "Guidance | None",
        how: Mapping[str, Any],
    ) -> Counterfactual:
        """Returns an answer of metadata with its radiographs.

        Arguments:
            answer: The answer of metadata alone.
            images: The factual radiographs, (batch, channel, height, width) in [0, 1].
            world: The counterfactual metadata that they are painted from.
            guidance: The strength with which changed parents are imposed; none if None.
            how: The options of abduction and prediction, `solver` among them.
        """
        assert self.image is not None
        rows = answer.factual
        advice = "Ask with metadata_only=True for the metadata alone"
        unobserved = self._unobserved(rows, world.table, world.settings, advice)
        noise = reconstruction = painted = images  # none of each, if there are no rows
        if len(rows):
            image = self.image
            read = [variable.name for variable in image.attributes]
            was_set = torch.tensor(answer.intervened[read].to_numpy(), device=image.device)
            followed = torch.tensor(answer.descendants[read].to_numpy(), device=image.device)
            before, after = image.encode(rows)[0], image.encode(world.table)[0]
            noise = image.abduct(images, before, **how)
            reconstruction = image.predict(noise, before, **how)
            painted = image.predict(
                noise.repeat_interleave(len(world.table) // len(rows), dim=0),
                after,
                guidance=guidance,
                groups=(was_set, followed, ~(was_set | followed)),
                **how,
            )
        noise, reconstruction, painted = noise.cpu(), reconstruction.cpu(), painted.cpu()
        error = round_trip_error(images, reconstruction)
        lost = self._warn_if_lost(rows, error, how["solver"])
        return replace(
            answer,
            images=painted,
            factual_images=images,
            reconstruction=reconstruction,
            noise=noise,
            reconstruction_error=pd.Series(error, rows.index, name="reconstruction_error"),
            not_reconstructed=pd.Series(lost, rows.index, name="not_reconstructed"),
            unobserved=unobserved,
        )
