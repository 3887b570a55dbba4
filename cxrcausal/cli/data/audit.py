"""`cxrcausal data audit`: what to mend, to look at and to know before a collection is used."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from cxrcausal.cli.data.group import data
from cxrcausal.data import audit_images, audit_table, list_sources, read_table, write_audit
from cxrcausal.data.table import find_source

__all__ = ["audit"]

SPLITS = ("split", "fold", "subset", "partition")


@data.command()
def audit(
    table: Annotated[Path, typer.Argument(help="A table of a source, or a list of radiographs.")],
    output: Annotated[Path, typer.Option(help="The page to write, as report.html.")],
    source: Annotated[
        str, typer.Option(help=f"The table's layout: {', '.join(list_sources())}.")
    ] = "image_list",
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of the radiographs; for lists, else the list's own."),
    ] = None,
    pixels: Annotated[
        bool, typer.Option(help="Look at the radiographs too, where they are known.")
    ] = True,
    split: Annotated[
        str | None, typer.Option(help="Column of the table's own split; else one so named.")
    ] = None,
    graph: Annotated[str, typer.Option(help="A shipped graph or a YAML file.")] = "cxr19",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that decode; else one per core.")
    ] = None,
) -> None:
    """Audits a table, and the radiographs that it names; writes a page, and JSON beside it.

    Unknown cells, prevalences, contradictions, patients on both sides of a split; radiographs that
    are unreadable, flat, turned, inverted or there twice.
    """
    origin = find_source(source)
    # A source that publishes a split gives it as `split`; another one's column is carried along.
    kept = split if split is not None or "split" in origin.columns else _split_column(table)
    rows = read_table(
        table, source=origin, graph=graph, images=images, keep=() if kept is None else kept
    )
    split = kept if kept is not None else "split" if "split" in rows.columns else None
    found = audit_table(rows, graph, split=split)
    beside = images is not None or table.is_dir() or origin.images_beside
    if pixels and beside and "image" in rows.columns and rows["image"].notna().any():
        found += audit_images(rows, split=split, workers=workers)
    numbers = write_audit(found, output, rows, title=f"Audit of {table.name}")
    for finding in found.findings:
        if finding.weight != "know":
            typer.echo(f"{finding.weight}: {finding.said}")
    typer.echo(f"wrote {output} and {numbers}")


def _split_column(table: Path) -> str | None:
    """Returns the column that is named as a split is, if the table has one."""
    try:
        header = pd.read_csv(table, nrows=0).columns
    except (OSError, ValueError):
        return None  # which reading the table says in words
    return next((str(name) for name in header if str(name).lower() in SPLITS), None)
