"""`cxrcausal fit`: an SCM of a table of patients, scored on those that it did not see."""

import json
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import typer

from cxrcausal.cli.app import app
from cxrcausal.data import list_sources, read_table, split_by_patient
from cxrcausal.errors import TableError
from cxrcausal.graph import CausalGraph, load_graph
from cxrcausal.scm import FlowSCM

__all__ = ["fit"]


@app.command()
def fit(
    table: Annotated[
        list[Path], typer.Option(help="A table of patients, or a download folder; repeatable.")
    ],
    output: Annotated[Path, typer.Option(help="The folder of the SCM.")],
    source: Annotated[
        list[str] | None,
        typer.Option(
            help=f"The layout of each table, in order: {', '.join(list_sources())}, or a mapping."
        ),
    ] = None,
    graph: Annotated[str, typer.Option(help="A shipped graph or a YAML file.")] = "cxr19",
    missing: Annotated[
        Literal["available", "em"], typer.Option(help="What unknown cells are for the fit.")
    ] = "available",
    everyone: Annotated[
        bool, typer.Option("--all", help="Fit test patients too, and score nobody.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
    seed: Annotated[int, typer.Option(help="Makes the fit repeatable.")] = 0,
) -> None:
    """Fits every mechanism of the graph, and says what it knows of test patients.

    Test patients follow from a hash of the patient's id; they are left out of the fit. The folder
    is what load_pretrained, counterfactual --model and sample --model take.
    """
    loaded = load_graph(graph)
    rows = _read(table, source or ["graph"], loaded)
    test = pd.Series(False, rows.index) if everyone else _is_test(rows)
    scm = FlowSCM(loaded).fit(
        rows[~test], groups="patient_id" if "patient_id" in rows else None,
        missing=missing, seed=seed,
    )  # fmt: skip
    scm.save(output)
    scores = _scores(scm, rows[~test], rows[test]) if test.any() else None
    if as_json:
        said = {
            "graph": loaded.fingerprint,
            "fitted": int((~test).sum()),
            "scored": int(test.sum()),
            "variables": [] if scores is None else json.loads(scores.to_json(orient="records")),
        }
        typer.echo(json.dumps(said, indent=1))
        return
    if scores is not None:
        typer.echo(scores.round(4).to_string(index=False))
    typer.echo(f"fitted {int((~test).sum())} rows, scored {int(test.sum())}; wrote {output}")


def _read(tables: list[Path], sources: list[str], graph: CausalGraph) -> pd.DataFrame:
    """Returns the tables one below the other.

    Raises:
        TableError: If there are neither one source nor one of each table, or no rows.
    """
    if len(sources) not in (1, len(tables)):
        raise TableError(
            f"{len(sources)} sources are given of {len(tables)} tables; give one, or one of each"
        )
    each = sources if len(sources) == len(tables) else sources * len(tables)
    read = [read_table(path, name, graph) for path, name in zip(tables, each, strict=True)]
    rows = pd.concat(read, ignore_index=True)
    if rows.empty:
        raise TableError("the tables have no rows, so there is nobody to learn from")
    return rows


def _is_test(rows: pd.DataFrame) -> pd.Series:
    """Returns which rows are of test patients.

    Raises:
        TableError: If nobody says whose the rows are, or all are of test patients.
    """
    if "patient_id" not in rows or rows["patient_id"].isna().any():
        raise TableError(
            "no column 'patient_id' says whose every row is, so no patients can be kept for "
            "testing; name it, or fit all rows with --all"
        )
    test = split_by_patient(rows) == "test"
    if test.all():
        raise TableError("all rows are of test patients; fit them with --all")
    return test


def _scores(scm: FlowSCM, train: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    """Returns the log-probability of test cells given their parents, beside that of frequencies.

    Frequencies are of the fitted rows, half a row added to each value; a variable that nobody
    knows has no line.
    """
    scores = scm.score(test, per_variable=True)
    assert isinstance(scores, pd.DataFrame)
    lines = []
    for name in scores:
        known = scores[name].notna()
        if known.any():
            count = train[name].value_counts()
            share = (count + 0.5) / (count.sum() + 0.5 * len(count))
            rare = 0.5 / (count.sum() + 0.5 * len(count))
            seen = test.loc[known, name].map(share).astype(float).fillna(rare)
            frequencies = float(np.log(seen).mean())
            nats = float(scores[name].mean())
            lines.append(
                {
                    "variable": name,
                    "rows": int(known.sum()),
                    "log_prob": nats,
                    "frequencies": frequencies,
                    "gain": nats - frequencies,
                }
            )
    return pd.DataFrame(lines)
