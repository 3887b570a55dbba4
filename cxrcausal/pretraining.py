"""A recipe and a table of radiographs become an image model in a folder."""

import datetime
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from cxrcausal.data import Shards, read_images, split_by_patient
from cxrcausal.device import resolve_device
from cxrcausal.errors import ImageError, TableError
from cxrcausal.graph import load_graph
from cxrcausal.image.loading import ImageFlow, build_image_mechanism
from cxrcausal.image.recipe import ImageRecipe
from cxrcausal.image.training.trainer import Precision, Trainer, grey
from cxrcausal.image.training.warm_start import warm_start
from cxrcausal.pretrained import pretrained_folder

__all__ = ["VALIDATION", "train_image_model"]

VALIDATION = (0.36, 0.39)
"""The patients of the held-out loss; those of (.39, .44) train too: nothing is chosen by them."""

logger = logging.getLogger("cxrcausal")


def train_image_model(
    recipe: ImageRecipe,
    table: pd.DataFrame | Shards,
    output: str | Path,
    *,
    num_steps: int | None = None,
    minutes: float | None = None,
    device: str = "auto",
    compile: bool = False,
    precision: Precision = "auto",
    start: str | Path | None = None,
    save_every: int = 1000,
    on_save: Callable[[ImageFlow, int], object] | None = None,
    progress: bool = True,
) -> ImageFlow:
    """Trains an image model on the radiographs that a table names, and saves it.

    Test patients are left out; a few validation patients serve the held-out loss. A run that was
    stopped goes on from its last saved state in `output`.

    Arguments:
        recipe: Network, flow and training.
        table: Rows with the graph's columns, `patient_id` and `image`, as `read_image_lists`
            returns; or shards, whose radiographs stay as compact as they were stored.
        output: The folder of the model, its logs and its state.
        num_steps: Stop after that many further steps.
        minutes: Stop after that many minutes of steps.
        device: `auto`, `cpu` or `cuda:0`.
        compile: Whether to compile the network first (`torch.compile`).
        precision: As `Trainer`; one that is faster here if left out.
        start: The folder of a model whose weights training begins from (`warm_start`); random
            ones if left out. A run that goes on from its own state does not read it again.
        save_every: Steps between two saved states.
        on_save: Called after each of them with the averaged weights and the step.
        progress: Whether to show a progress bar.

    Returns:
        The mechanism with its averaged weights, which `output` holds in half precision.

    Raises:
        TableError: If a column is absent, or nobody is left to train on.
        ImageError: If a radiograph cannot be read, or shards are of another size than the recipe.
        CheckpointError: If `output` holds the state of other data or another recipe, or the
            weights of `start` do not fit.
    """
    shards, table = (table, table.table) if isinstance(table, Shards) else (None, table)
    if shards is not None and shards.images.shape[-1] != recipe.image_size:
        raise ImageError(
            f"the shards are of {shards.images.shape[-1]} pixels, and recipe {recipe.name!r} is "
            f"of {recipe.image_size}; write them with --size {recipe.image_size}"
        )
    part = split_by_patient(table, validation=VALIDATION)
    if not (part == "train").any():
        raise TableError(f"none of {len(table)} radiographs is of a patient to train on")
    known = (part != "test").to_numpy()
    table, part = table[known], part[known]
    held = (part == "validation").to_numpy()

    torch.manual_seed(recipe.training.seed)  # the network's first weights
    mechanism = build_image_mechanism(recipe, load_graph(recipe.graph), pretrained_folder)
    started_from = None if start is None else warm_start(mechanism, start)
    images: Tensor
    if shards is None:
        images = read_images(table["image"], size=recipe.image_size)
    else:
        images = shards.images[torch.tensor(known)]
    logger.info("%d radiographs to train on, %d held out", (~held).sum(), held.sum())
    trainer = Trainer(
        mechanism.to(resolve_device(device)),
        images[torch.tensor(~held)],
        table[~held],
        output,
        held_out=(grey(images[torch.tensor(held)]), table[held]) if held.any() else None,
        compile=compile,
        precision=precision,
    )
    mechanism = trainer.run(
        num_steps=num_steps,
        minutes=minutes,
        save_every=save_every,
        on_save=on_save,
        progress=progress,
    )
    training = {"radiographs": int((~held).sum()), **_known(trainer)}
    if started_from is not None:
        training["started_from"] = started_from
    mechanism.save(output, training=training, dtype=torch.float16)
    logger.info("saved %s", Path(output))
    return mechanism


def _known(trainer: Trainer) -> dict[str, Any]:
    """Returns what is to be known of a training, beside its radiographs."""
    return {
        "precision": trainer.precision,
        "images_shown": trainer.step * trainer.recipe.batch_size,
        "images_fingerprint": trainer.fingerprint,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "torch": torch.__version__,
    }
