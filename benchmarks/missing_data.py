"""Fitting with unknown cells by EM beside fitting on the rows where they are known, in one run.

    python benchmarks/missing_data.py --data FOLDER [--output FILE.json]

FOLDER holds `metadata/nih_train.csv.gz` and `metadata/chexpert_metadata.csv.gz`. Three parts, each
in a process of its own, whose peak memory is recorded:

- *random*: rows of one source in which all that it labels is known, 30 % of their cells removed at
  random; fitted both ways on training patients, scored on complete rows of test patients and on
  these rows with 30 % of the cells removed as well
- *pooled*: NIH and CheXpert together, which record different columns; fitted both ways on training
  patients, scored on the test patients of each source
- *everything*: EM on all rows of both sources, test patients included, for time and memory alone

Scores are mean nats per row of the log-probability of all known cells, unknown ones summed out;
behind a gain stands its standard error by patient. Beside them stands the product of marginals, in
the pooled part those of the source's own training rows.
"""

import argparse
import json
import multiprocessing
import os
import platform
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from cxrcausal.data import read_table, split_by_patient
from cxrcausal.files import atomic_path
from cxrcausal.graph import CausalGraph, load_graph
from cxrcausal.scm import FlowSCM

FILES = {"nih": "nih_train.csv.gz", "chexpert": "chexpert_metadata.csv.gz"}
NAMES = {"nih": "NIH", "chexpert": "CheXpert"}
REMOVED = 0.3
FITS = ("available", "em")
PARTS = ("random", "pooled", "everything")


def read(given: argparse.Namespace, source: str, graph: CausalGraph) -> pd.DataFrame:
    """Returns the table of a source, of some of its patients if so asked."""
    table = read_table(given.data / "metadata" / FILES[source], source, graph)
    if given.patients:
        table = table[table["patient_id"].isin(table["patient_id"].unique()[: given.patients])]
    return table.reset_index(drop=True)


def removed(table: pd.DataFrame, graph: CausalGraph, seed: int) -> pd.DataFrame:
    """Returns the table with a share of its cells removed at random."""
    draw = np.random.default_rng(seed)
    lost = {v: table[v].mask(draw.random(len(table)) < REMOVED) for v in graph.variables}
    return table.assign(**lost)


def difference(one: pd.Series, two: pd.Series, patient: pd.Series) -> tuple[float, float]:
    """Returns the mean of two minus one, and its standard error by patient."""
    gain = two - one
    mean = float(gain.mean())
    sums = (gain - mean).groupby(patient.to_numpy()).sum()
    return mean, float(np.sqrt((sums**2).sum()) / len(gain))


def marginals(train: pd.DataFrame, test: pd.DataFrame, graph: CausalGraph) -> float:
    """Returns mean nats per row of the product of the training rows' marginals, half a row
    added.
    """
    total = np.zeros(len(test))
    for name, variable in graph.variables.items():
        if train[name].isna().all():
            continue
        levels: list[Any] = (
            [level for level in variable.levels if (train[name] == level).any()]
            if variable.is_discrete
            else list(variable.grid or ())
        )
        counts = train[name].value_counts().reindex(levels, fill_value=0).astype(float) + 0.5
        share = np.log(counts / counts.sum())
        chance = test[name].astype(object).map(share.to_dict())
        total += chance.astype(float).fillna(0.0).to_numpy()
    return float(total.mean())


def compare(
    graph: CausalGraph,
    train: pd.DataFrame,
    tests: dict[str, pd.DataFrame],
    beside: dict[str, float],
    title: str,
) -> list[dict]:
    """Returns one line of figures per test table, both fits in it."""
    scores, seconds = {}, {}
    for missing in FITS:
        start = time.perf_counter()
        scm = FlowSCM(graph).fit(train, groups="patient_id", missing=missing)
        seconds[missing] = time.perf_counter() - start
        scores[missing] = {name: scm.log_prob(test) for name, test in tests.items()}
    lines = []
    for name, test in tests.items():
        one, two = (scores[missing][name] for missing in FITS)
        gain, error = difference(one, two, test["patient_id"])
        lines.append(
            {
                "table": title,
                "graph": graph.name,
                "train_rows": len(train),
                "test": name,
                "test_rows": len(test),
                "test_patients": int(test["patient_id"].nunique()),
                "marginals": beside[name],
                "available": float(one.mean()),
                "em": float(two.mean()),
                "gain": gain,
                "standard_error": error,
                "seconds": seconds,
            }
        )
    return lines


def at_random(given: argparse.Namespace) -> list[dict]:
    """Returns the lines of the tables with cells removed at random."""
    lines = []
    for graph in map(load_graph, given.random_graphs):
        for source in FILES:
            table = read(given, source, graph)
            labelled = [v for v in graph.variables if table[v].notna().any()]
            table = table[table[labelled].notna().all(axis=1)].reset_index(drop=True)
            part = split_by_patient(table)
            whole = table[part == "train"].head(given.rows)
            complete = table[part == "test"].head(given.rows)
            tests = {"complete": complete, "30 % removed": removed(complete, graph, seed=2)}
            beside = {name: marginals(whole, test, graph) for name, test in tests.items()}
            title = f"{NAMES[source]}, 30 % of cells removed"
            lines += compare(graph, removed(whole, graph, seed=1), tests, beside, title)
    return lines


def pooled(given: argparse.Namespace) -> list[dict]:
    """Returns the lines of two sources that record different columns."""
    lines = []
    for graph in map(load_graph, given.graphs):
        tables = {source: read(given, source, graph) for source in FILES}
        both = pd.concat(tables.values(), ignore_index=True)
        train = both[split_by_patient(both) != "test"]
        tests, beside = {}, {}
        for source, table in tables.items():
            part = split_by_patient(table)
            tests[NAMES[source]] = table[part == "test"]
            own = marginals(table[part != "test"], table[part == "test"], graph)
            share = float((train["dataset"] == table["dataset"].iloc[0]).mean())
            beside[NAMES[source]] = own + float(np.log(share))
        lines += compare(graph, train, tests, beside, "NIH and CheXpert pooled")
    return lines


def everything(given: argparse.Namespace) -> list[dict]:
    """Returns what EM on all rows takes."""
    lines = []
    for graph in map(load_graph, given.graphs):
        both = pd.concat([read(given, source, graph) for source in FILES], ignore_index=True)
        start, busy = time.perf_counter(), time.process_time()
        FlowSCM(graph).fit(both, groups="patient_id", missing="em")
        lines.append(
            {
                "table": "all rows of NIH and CheXpert",
                "graph": graph.name,
                "train_rows": len(both),
                "unknown": float(both[list(graph.variables)].isna().to_numpy().mean()),
                "seconds": {"em": time.perf_counter() - start},
                "cpu_seconds": time.process_time() - busy,
                "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
            }
        )
    return lines


def work(part: str, given: argparse.Namespace) -> dict:
    """Returns the lines of one part, and the most memory that its process held."""
    torch.set_num_threads(given.threads)
    lines = {"random": at_random, "pooled": pooled, "everything": everything}[part](given)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    return {"part": part, "lines": lines, "peak_gib": peak}


def markdown(report: dict) -> str:
    """Returns the figures as two tables."""
    text = [
        "Mean log-probability of all known cells of a row, in nats, on test patients "
        "(`python benchmarks/missing_data.py --data FOLDER`).\n",
        "| table | graph | rows fitted | scored on | rows | marginals | available rows | EM | "
        "gain (s.e. by patient) | fit, s (available / EM) |",
        "|" + "---|" * 10,
    ]
    timed = ["| table | graph | rows | cells unknown | EM fit, s | CPU, s | peak memory, GiB |"]
    timed.append("|" + "---|" * 7)
    for part in report["parts"]:
        for line in part["lines"]:
            if part["part"] == "everything":
                timed.append(
                    f"| {line['table']} | {line['graph']} | {line['train_rows']:,} | "
                    f"{line['unknown']:.1%} | {line['seconds']['em']:.0f} | "
                    f"{line['cpu_seconds']:.0f} | {line['peak_gib']:.2f} |"
                )
                continue
            text.append(
                f"| {line['table']} | {line['graph']} | {line['train_rows']:,} | {line['test']} | "
                f"{line['test_rows']:,} | {line['marginals']:.4f} | {line['available']:.4f} | "
                f"{line['em']:.4f} | {line['gain']:+.4f} ({line['standard_error']:.4f}) | "
                f"{line['seconds']['available']:.0f} / {line['seconds']['em']:.0f} |"
            )
    machine = report["machine"]
    timed.append(f"\n{machine['cores']} cores, {machine['threads']} thread(s) of torch.")
    return "\n".join([*text, "", *timed]) + "\n"


def main() -> None:
    """Runs the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds metadata/")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--graphs", nargs="+", default=["cxr19", "cxr19-extended"])
    parser.add_argument(
        "--random-graphs", nargs="+", default=["cxr19"], help="graphs of the random part: slow"
    )
    parser.add_argument(
        "--rows", type=int, default=20_000, help="the most rows of a random table's two sides"
    )
    parser.add_argument(
        "--patients", type=int, help="only so many patients per source: a quick look"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, default=Path("missing_data.json"))
    given = parser.parse_args()
    report = {
        "parts": [],
        "machine": {"cores": os.cpu_count(), "threads": given.threads},
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    for part in given.parts:
        fresh = multiprocessing.get_context("spawn")  # whose memory is its own
        with ProcessPoolExecutor(max_workers=1, mp_context=fresh) as process:
            report["parts"].append(process.submit(work, part, given).result())
        with atomic_path(given.output) as path:
            path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    with atomic_path(given.output.with_suffix(".md")) as path:
        path.write_text(markdown(report), encoding="utf-8")
    print(markdown(report))


if __name__ == "__main__":
    main()
