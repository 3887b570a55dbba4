"""`cxrcausal evaluate`: one page on what an image model does on radiographs it has not seen."""

from pathlib import Path
from typing import Annotated

import typer

from cxrcausal.cli.app import app
from cxrcausal.cli.radiographs import listed_radiographs
from cxrcausal.data import read_images
from cxrcausal.device import resolve_device
from cxrcausal.evaluation import Predictor, assess
from cxrcausal.image import load_image_mechanism
from cxrcausal.pretrained import pretrained_folder

__all__ = ["evaluate"]


@app.command()
def evaluate(
    model: Annotated[str, typer.Option(help="A shipped model, or the folder of an image model.")],
    images: Annotated[
        list[Path],
        typer.Option(help="A list of radiographs beside its images; repeatable, finest first."),
    ],
    output: Annotated[Path, typer.Option(help="The page to write, as report.html.")],
    dataset: Annotated[
        str | None, typer.Option(help="Only radiographs of this data set, as NIH.")
    ] = None,
    predictor: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of a predictor that reads the answers; repeatable."),
    ] = None,
    limit: Annotated[int, typer.Option(min=2, help="At most so many test radiographs.")] = 200,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda:0, …")] = "auto",
) -> None:
    """Measures an image model on the test patients of the lists, whom no training may have seen.

    Predictors are what Predictor.save wrote; without any, interventions are drawn, not measured.
    """
    folder = pretrained_folder(model)
    mechanism = load_image_mechanism(folder).to(resolve_device(device))
    table = listed_radiographs(images, mechanism.graph, dataset=dataset, limit=limit)
    page = assess(
        mechanism,
        read_images(table["image"], size=mechanism.image_shape[-1]),
        table,
        {path.name: Predictor.load(path) for path in predictor or []},
        title=f"Image model {folder.name}",
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    page.save(output)
    typer.echo(f"wrote {output}")
