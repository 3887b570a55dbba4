"""`cxrcausal sample`: synthetic patients, as a table or with their radiographs."""

from pathlib import Path
from typing import Annotated

import typer

from cxrcausal.cli.app import app, read_assignments, read_interventions
from cxrcausal.counterfactual.result import save_synthetic
from cxrcausal.evaluation import image_grid
from cxrcausal.files import atomic_path
from cxrcausal.pretrained import load_pretrained
from cxrcausal.version import __version__

__all__ = ["sample"]

SHOWN = 64


@app.command()
def sample(
    output: Annotated[
        Path, typer.Option(help="A CSV file of metadata alone, or a folder for radiographs too.")
    ],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Patients.")] = 16,
    do: Annotated[
        list[str] | None,
        typer.Option(help="The intervention under which they are drawn: sex=Male, age=40."),
    ] = None,
    model: Annotated[str, typer.Option(help="A shipped model or a folder.")] = "cxr19-small",
    seed: Annotated[int, typer.Option(help="Makes the patients repeatable.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda:0, …")] = "auto",
) -> None:
    """Draws patients who never lived, under an intervention if one is given.

    A folder receives patients.csv, a PNG each, and a grid of the first 64.
    """
    loaded = load_pretrained(model, device=device)
    asked = read_interventions(read_assignments(do or [], "--do"), loaded.graph)
    if output.suffix.lower() == ".csv":
        table = loaded.scm.sample(count, asked, seed=seed)
        with atomic_path(output) as beside:
            table.to_csv(beside, index=False)
        typer.echo(f"wrote {count} patients to {output}")
        return
    images, table = loaded.sample(count, asked, seed=seed)
    output.mkdir(parents=True, exist_ok=True)
    names = [f"patient_{number:06d}.png" for number in range(count)]
    for number, (name, image) in enumerate(zip(names, images, strict=True)):
        provenance = {
            "model": loaded.name,
            "graph": loaded.graph.fingerprint,
            "do": {key: str(value) for key, value in asked.items()},
            "seed": seed,
            "row": number,
            "version": __version__,
        }
        save_synthetic(image, output / name, provenance)
    rows = {f"{at * 8}": part for at, part in enumerate(images[:SHOWN].split(8))}
    image_grid(rows).savefig(output / "grid.png", dpi=100)
    with atomic_path(output / "patients.csv") as beside:
        table.assign(image=names).to_csv(beside, index=False)
    typer.echo(f"wrote {count} patients and their radiographs to {output}")
