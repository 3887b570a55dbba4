"""`cxrcausal counterfactual`: counterfactual radiographs of a table of patients."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from cxrcausal.cli.app import app, read_assignments, read_interventions, read_values
from cxrcausal.counterfactual import CounterfactualModel
from cxrcausal.data import (
    list_sources,
    read_images,
    read_table,
    save_synthetic_dicom,
    save_synthetic_dicoms,
)
from cxrcausal.errors import OptionError, TableError
from cxrcausal.image import Guidance
from cxrcausal.pretrained import load_pretrained

__all__ = ["counterfactual"]

_WEIGHTS = ("form", "intervened", "descendants", "invariant")


@app.command()
def counterfactual(
    table: Annotated[Path, typer.Option(help="A table with the graph's columns, and `image`.")],
    do: Annotated[
        list[str],
        typer.Option(
            help="The intervention, repeatable: sex=Male; age=40 (set), age=+20 (add), age=*1.1."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            help="Folder for images, tables and provenance; NAME.dcm for one DICOM image alone."
        ),
    ],
    source: Annotated[
        str, typer.Option(help=f"The table's layout: {', '.join(list_sources())}.")
    ] = "graph",
    images: Annotated[
        Path | None, typer.Option(help="Folder of the radiographs; else the table's own.")
    ] = None,
    model: Annotated[str, typer.Option(help="A shipped model or a folder.")] = "cxr19-small",
    form: Annotated[
        str | None,
        typer.Option(help="none, cfg, decoupled, anchored, nested; else as the model recommends."),
    ] = None,
    intervened: Annotated[
        float | None,
        typer.Option("--intervened", "--weight", help="Guidance weight of what is set."),
    ] = None,
    descendants: Annotated[
        float | None, typer.Option(help="Guidance weight of what changed because of it.")
    ] = None,
    invariant: Annotated[float | None, typer.Option(help="Guidance weight of the rest.")] = None,
    own: Annotated[
        list[str] | None,
        typer.Option(help="Own weight of one parent where it is set: pleural_effusion=2."),
    ] = None,
    num_samples: Annotated[int, typer.Option(min=1, help="Counterfactuals per patient.")] = 1,
    num_steps: Annotated[int | None, typer.Option(min=1, help="Steps of the flow.")] = None,
    impute: Annotated[bool, typer.Option(help="Show unknown cells as drawn.")] = False,
    clip: Annotated[bool, typer.Option(help="Stop at a variable's bounds.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first rows.")] = None,
    metadata_only: Annotated[bool, typer.Option(help="Leave the radiographs out.")] = False,
    dicom: Annotated[bool, typer.Option(help="Write DICOM images beside the PNGs.")] = False,
    mark: Annotated[bool, typer.Option(help="Burn SYNTHETIC into the DICOM images.")] = True,
    seed: Annotated[int, typer.Option(help="Makes the answer repeatable.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda:0, …")] = "auto",
) -> None:
    """Answers one intervention for every row; writes PNG or DICOM, CSV and provenance."""
    pairs = read_assignments(do, "--do")
    loaded = load_pretrained(model, device=device)
    folder = table.parent if images is None else images
    rows = read_table(table, source=source, graph=loaded.graph, images=folder)
    rows = rows if limit is None else rows.head(limit)
    if rows.empty:
        raise TableError(f"{str(table)!r} has no rows, so there is nobody to ask about")
    with_images = not metadata_only and loaded.image is not None
    _check_dicom(output, len(rows) * num_samples if with_images else 0, dicom=dicom)
    radiographs = guidance = None
    if with_images:
        assert loaded.image is not None
        weights = (form, intervened, descendants, invariant)
        guidance = _guidance(loaded, dict(zip(_WEIGHTS, weights, strict=True)), own)
        radiographs = read_images(_paths(rows), size=loaded.image.image_shape[-1])
    answer = loaded.counterfactual(
        radiographs,
        rows,
        read_interventions(pairs, loaded.graph),
        guidance=guidance,
        num_steps=num_steps,
        num_samples=num_samples,
        seed=seed,
        impute=impute,
        clip=clip,
        metadata_only=not with_images,
        progress=True,
    )
    if output.suffix.lower() == ".dcm":
        assert answer.images is not None
        save_synthetic_dicom(answer.images[0], output, answer.provenance_of(0), mark=mark)
        typer.echo(f"wrote the counterfactual to {output}")
        return
    answer.save(output)
    if dicom:
        assert answer.images is not None
        asked = [answer.provenance_of(position) for position in range(len(answer.images))]
        save_synthetic_dicoms(answer.images, output, asked, num_samples=num_samples, mark=mark)
    if with_images:
        answer.plot(output / "figure.png")
    typer.echo(f"wrote {len(answer.table)} counterfactuals to {output}")


def _check_dicom(output: Path, images: int, *, dicom: bool) -> None:
    """Refuses, before any work, DICOM of an answer without images, and several in one file."""
    one = output.suffix.lower() == ".dcm"
    if (one or dicom) and not images:
        raise OptionError("a DICOM file holds a radiograph; this answer is of metadata alone")
    if one and images != 1:
        raise OptionError(
            f"{str(output)!r} is one image, and {images} are asked for; give a folder and "
            "--dicom, or ask for one with --limit 1"
        )


def _guidance(
    model: CounterfactualModel, given: dict[str, Any], own: list[str] | None
) -> Guidance | None:
    """Returns the model's own guidance with what is given in its stead; None without images.

    The recipe's weights of single parents go with its form and its one weight: who gives another
    means it of every parent.
    """
    if model.image is None:
        return None
    given = {name: value for name, value in given.items() if value is not None}
    if given.keys() & {"form", "intervened"}:
        given["own"] = {}
    if own:
        given["own"] = read_values(read_assignments(own, "--own"), model.graph)
    return replace(model.image.guidance or Guidance("none"), **given)


def _paths(rows: pd.DataFrame) -> list[str]:
    """Returns the file of each row's radiograph."""
    advice = "or leave the radiographs out with --metadata-only"
    if "image" not in rows.columns:
        raise TableError(
            f"the table has no column 'image', which names each row's radiograph; add it, {advice}"
        )
    absent = rows.index[rows["image"].isna()]
    if len(absent):
        raise TableError(
            f"column 'image', row {absent[0]}: no radiograph is named ({len(absent)} such "
            f"row(s)); name it, {advice}"
        )
    return rows["image"].tolist()
