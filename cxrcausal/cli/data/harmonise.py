"""`cxrcausal data harmonise`: download folders and tables as one table of the graph's columns."""

from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
import typer

from cxrcausal.cli.data.group import data
from cxrcausal.data import join_tables, list_sources, read_table, with_unknown_level
from cxrcausal.data.parquet_file import write_parquet
from cxrcausal.files import atomic_path
from cxrcausal.graph import CausalGraph, load_graph

__all__ = ["harmonise"]

KINDS = (".csv", ".csv.gz", ".parquet")


@data.command()
def harmonise(
    inputs: Annotated[
        list[Path], typer.Argument(help="Download folders or tables; each its --source.")
    ],
    source: Annotated[
        list[str],
        typer.Option(
            help="Whose layout: a mapping (YAML) or one of "
            f"{', '.join(list_sources())}. Once for all inputs, or once for each."
        ),
    ],
    output: Annotated[Path, typer.Option(help=f"The table, one of {', '.join(KINDS)}.")],
    graph: Annotated[str, typer.Option(help="A shipped graph or a YAML file.")] = "cxr19",
    not_mentioned: Annotated[
        Literal["negative", "unknown"],
        typer.Option(help="What a finding is that a report does not mention."),
    ] = "negative",
    uncertain: Annotated[
        Literal["unknown", "negative", "positive", "likelihood"],
        typer.Option(help="What a finding is that a report calls uncertain."),
    ] = "unknown",
    unknown: Annotated[
        Literal["missing", "level"],
        typer.Option(help="What an unknown cell is: missing, or a level of its own."),
    ] = "missing",
    images: Annotated[
        Path | None, typer.Option(help="The folder of the images, if not the download folder.")
    ] = None,
) -> None:
    """Writes the sources' metadata as one table, and says what could not be taken as written."""
    if not output.name.lower().endswith(KINDS):
        raise typer.BadParameter(
            f"--output is {output.name!r}; it ends in one of {', '.join(KINDS)}"
        )
    if len(source) not in (1, len(inputs)):
        raise typer.BadParameter(
            f"--source is given {len(source)} times for {len(inputs)} inputs; give it once, or "
            "once for each input in the same order"
        )
    declared = load_graph(graph)
    if unknown == "level":
        declared = with_unknown_level(declared)
    tables = []
    names = source if len(source) == len(inputs) else source * len(inputs)
    for path, name in zip(inputs, names, strict=True):
        table = read_table(
            path,
            source=name,
            graph=declared,
            not_mentioned=not_mentioned,
            uncertain=uncertain,
            unknown=unknown,
            images=images,
        )
        _say(path, table)
        tables.append(table)
    _write(_together(tables, declared), output)
    rows = sum(map(len, tables))
    typer.echo(f"wrote {rows:,} rows to {output}")


def _say(path: Path, table: pd.DataFrame) -> None:
    """Prints how many rows and patients there are, what is unlabelled, and every note."""
    record = table.attrs["cxrcausal"]
    patients = f", {table['patient_id'].nunique():,} patients" if "patient_id" in table else ""
    typer.echo(f"{path} ({record['source']}): {len(table):,} rows{patients}")
    if record["never_labelled"]:
        typer.echo(f"  never labelled: {', '.join(record['never_labelled'])}")
    for reason, count in record["notes"].items():
        typer.echo(f"  {count:>9,}  {reason}")


def _together(tables: list[pd.DataFrame], graph: CausalGraph) -> pd.DataFrame:
    """Returns the tables one after the other, the graph's columns first."""
    if len(tables) == 1:
        return tables[0]
    whole = join_tables(tables)
    return whole[[*graph.variables, *(n for n in whole if n not in graph.variables)]]


def _write(table: pd.DataFrame, output: Path) -> None:
    """Writes the table as its name says, or leaves what stood there."""
    with atomic_path(output) as beside:
        if output.name.lower().endswith(".parquet"):
            write_parquet(table, beside)
        else:
            packed = "gzip" if output.name.lower().endswith(".gz") else None
            table.to_csv(beside, index=False, compression=packed)
