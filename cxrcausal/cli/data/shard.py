"""`cxrcausal data shard`: radiographs decoded once, as shards with their table."""

from pathlib import Path
from typing import Annotated

import typer

from cxrcausal.cli.data.group import data
from cxrcausal.data import list_sources, read_table, shard_images

__all__ = ["shard"]


@data.command()
def shard(
    table: Annotated[
        Path, typer.Argument(metavar="LIST", help="A list of radiographs beside its images.")
    ],
    output: Annotated[Path, typer.Option(help="Folder of the shards and their table.")],
    size: Annotated[int, typer.Option(min=1, max=4096, help="Side of the squares in pixels.")],
    bits: Annotated[int, typer.Option(help="Depth of the grey values: 8 or 16.")] = 8,
    shard_size: Annotated[int, typer.Option(min=1, help="Radiographs per shard.")] = 1000,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that decode; else one per core.")
    ] = None,
    source: Annotated[
        str, typer.Option(help=f"The list's layout: {', '.join(list_sources())}.")
    ] = "image_list",
    images: Annotated[
        Path | None, typer.Option(help="Folder of the radiographs; else the list's own.")
    ] = None,
    graph: Annotated[str, typer.Option(help="A shipped graph or a YAML file.")] = "cxr19",
) -> None:
    """Decodes each radiograph once, to webdataset shards; a run that was stopped goes on.

    Files that cannot be read are listed with the reason in quarantine.csv and stop nothing.
    """
    rows = read_table(
        table, source=source, graph=graph, images=table.parent if images is None else images
    )
    quarantine = shard_images(
        rows, output, size, bits=bits, shard_size=shard_size, workers=workers
    )
    typer.echo(
        f"wrote {len(rows) - len(quarantine)} radiographs to {output}; {len(quarantine)} are in "
        f"quarantine.csv"
    )
