"""`cxrcausal train`: an image model from a recipe and lists of radiographs."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer

from cxrcausal.cli.app import app
from cxrcausal.data import Shards, read_image_lists, read_shards
from cxrcausal.errors import OptionError
from cxrcausal.evaluation import image_grid
from cxrcausal.image import ImageFlow, list_recipes, load_recipe
from cxrcausal.image.training.trainer import Precision
from cxrcausal.pretrained import pretrained_folder
from cxrcausal.pretraining import train_image_model

__all__ = ["train"]

SAMPLES = 16


@app.command()
def train(
    images: Annotated[
        list[Path],
        typer.Option(
            help="A list of radiographs beside its images, repeatable, finest first; or a folder "
            "of shards."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder of the model, its logs and its state.")],
    recipe: Annotated[
        str, typer.Option(help=f"A file, or one of: {', '.join(list_recipes())}.")
    ] = "radit-tiny",
    dataset: Annotated[
        str | None, typer.Option(help="Only radiographs of this data set, as NIH.")
    ] = None,
    num_images: Annotated[
        int | None, typer.Option(min=1, help="Images shown in all; else the recipe's.")
    ] = None,
    num_steps: Annotated[int | None, typer.Option(min=1, help="Stop after as many.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop after as many minutes.")] = None,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between saved states.")] = 1000,
    compile: Annotated[bool, typer.Option(help="Compile the network first.")] = False,
    precision: Annotated[
        Precision, typer.Option(help="float32, bfloat16, or auto: bfloat16 where it is faster.")
    ] = "auto",
    start: Annotated[
        str | None,
        typer.Option(help="Begin from this model's weights: a shipped name, a folder."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda:0, …")] = "auto",
) -> None:
    """Trains an image model; a run that was stopped goes on where its state was saved.

    At every saved state the folder receives held-out losses and nats (held_out.csv) and free
    samples under parents of the lists (samples/).
    """
    declared = load_recipe(recipe)
    if num_images is not None:
        declared = replace(declared, training=replace(declared.training, num_images=num_images))
    shards = _shards(images, dataset)
    table = (
        read_image_lists(images, graph=declared.graph, dataset=dataset)
        if shards is None
        else shards.table
    )

    def draw(mechanism: ImageFlow, step: int) -> None:
        _draw_samples(mechanism, table, output / "samples" / f"{step:07d}.png")

    train_image_model(
        declared,
        table if shards is None else shards,
        output,
        num_steps=num_steps,
        minutes=minutes,
        device=device,
        compile=compile,
        precision=precision,
        start=None if start is None else pretrained_folder(start),
        save_every=save_every,
        on_save=draw,
    )
    typer.echo(f"wrote the image model to {output}")


def _shards(images: list[Path], dataset: str | None) -> Shards | None:
    """Returns the shards of a folder, if it is one; only those of a data set, if one is named.

    Raises:
        OptionError: If there is more beside a folder, or no radiograph is of that data set.
    """
    folders = [path for path in images if path.is_dir()]
    if not folders:
        return None
    if len(images) > 1:
        raise OptionError(f"--images {str(folders[0])!r} is a folder of shards; give it alone")
    shards = read_shards(folders[0])
    if dataset is None:
        return shards
    rows = (shards.table["dataset"].astype(object) == dataset).to_numpy(bool)
    if not rows.any():
        found = sorted(shards.table["dataset"].dropna().astype(str).unique())
        raise OptionError(f"no radiograph is of dataset {dataset!r}; the shards have: {found}")
    return Shards(shards.images[torch.tensor(rows)], shards.table[rows].reset_index(drop=True))


def _draw_samples(mechanism: ImageFlow, table: pd.DataFrame, path: Path) -> None:
    """Draws free samples under the parents of rows spread over the table, the same every time."""
    count = min(SAMPLES, len(table))
    rows = table.iloc[torch.linspace(0, len(table) - 1, count).long().tolist()]
    parents = mechanism.encode(rows)[0]
    noise = mechanism.prior(np.arange(count), seed=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = mechanism.predict(noise, parents).cpu()
    image_grid({f"{i}": samples[i : i + 8] for i in range(0, count, 8)}).savefig(path)
