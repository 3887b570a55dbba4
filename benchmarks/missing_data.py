"""Fitting with unknown cells by EM beside fitting on the rows where they are known, in one run.

    python benchmarks/missing_data.py --data ../shared/data/metadata [--rows 20000] [--output FILE.json]

Two tables, each fitted both ways on training patients and scored on test patients:

- *at random*: NIH rows of which 30 % of the cells are removed at random (graph cxr19); scored on
  the complete test rows and on test rows with 30 % removed as well
- *pooled*: NIH and CheXpert together (graph cxr19-extended), which record different columns; scored
  on the test rows of each, beside the marginals of the source's own training rows

Scores are mean nats per row of the log-probability of all known cells, unknown ones summed out;
behind a difference stands its standard error by patient. With `--everything` the pooled table is
fitted once more on all of its rows, test patients included, for time and memory alone.
"""

import argparse
import json
import logging
import os
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cxrcausal.data import read_table, split_by_patient
from cxrcausal.graph import load_graph
from cxrcausal.scm import FlowSCM

FILES = {"nih": "nih_train.csv.gz", "chexpert": "chexpert_metadata.csv.gz"}
REMOVED = 0.3
FITS = ("available", "em")


def read(folder: Path, source: str, graph, patients: float) -> pd.DataFrame:
    """Returns the table of a source, of a share of its patients."""
    table = read_table(folder / FILES[source], source, graph)
    if patients < 1.0:
        names = table["patient_id"].unique()
        kept = np.random.default_rng(0).random(len(names)) < patients
        table = table[table["patient_id"].isin(names[kept])]
    return table


def removed(table: pd.DataFrame, graph, seed: int) -> pd.DataFrame:
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


def marginals(train: pd.DataFrame, test: pd.DataFrame, graph) -> float:
    """Returns mean nats per row of the product of the training rows' marginals, half a row added."""
    total = np.zeros(len(test))
    for name, variable in graph.variables.items():
        if name == "dataset" or train[name].isna().all():
            continue
        if variable.is_discrete:
            levels = [level for level in variable.levels if (train[name] == level).any()]
        else:
            levels = list(variable.grid)
        counts = train[name].value_counts().reindex(levels, fill_value=0).astype(float) + 0.5
        share = np.log(counts / counts.sum())
        told = test[name].astype(object).map(share.to_dict())
        total += told.astype(float).fillna(0.0).to_numpy()
    return float(total.mean())


def compare(train: pd.DataFrame, tests: dict[str, pd.DataFrame], graph) -> tuple[dict, dict]:
    """Returns each fit's test scores by row, and the seconds that each fit took."""
    scores, seconds = {}, {}
    for missing in FITS:
        start = time.perf_counter()
        scm = FlowSCM(graph).fit(train, groups="patient_id", missing=missing)
        seconds[missing] = round(time.perf_counter() - start, 1)
        scores[missing] = {name: scm.log_prob(test) for name, test in tests.items()}
    return scores, seconds


def show(title: str, scores: dict, seconds: dict, tests: dict, beside: dict) -> list[dict]:
    """Prints and returns one line per test table."""
    print(f"\n{title}: available {seconds['available']} s, em {seconds['em']} s")
    print(f"{'test rows':24}{'rows':>8}{'available':>11}{'em':>11}{'gain':>9} ± s.e.   marginals")
    lines = []
    for name, test in tests.items():
        one, two = (scores[fit][name] for fit in FITS)
        gain, error = difference(one, two, test["patient_id"])
        marginal = beside.get(name)
        lines.append(
            {"table": title, "test": name, "rows": len(test), "available": float(one.mean()),
             "em": float(two.mean()), "gain": gain, "standard_error": error,
             "marginals": marginal, "seconds": seconds}
        )  # fmt: skip
        print(
            f"{name:24}{len(test):>8}{one.mean():>11.4f}{two.mean():>11.4f}{gain:>+9.4f} "
            f"± {error:.4f}" + (f"{marginal:>11.4f}" if marginal is not None else "")
        )
    return lines


def at_random(folder: Path, rows: int) -> list[dict]:
    """Returns the lines of the table with cells removed at random."""
    graph = load_graph("cxr19")
    table = read(folder, "nih", graph, 1.0)
    part = split_by_patient(table)
    train = removed(table[part == "train"].iloc[:rows], graph, seed=1)
    complete = table[part == "test"].iloc[:rows]
    tests = {"complete": complete, "30 % removed": removed(complete, graph, seed=2)}
    scores, seconds = compare(train, tests, graph)
    title = f"30 % of cells of {len(train):,} NIH rows removed at random"
    return show(title, scores, seconds, tests, {})


def pooled(folder: Path, patients: float, everything: bool) -> list[dict]:
    """Returns the lines of two sources that record different columns."""
    graph = load_graph("cxr19-extended")
    tables = {source: read(folder, source, graph, patients) for source in FILES}
    both = pd.concat(tables.values(), ignore_index=True)
    train = both[split_by_patient(both) != "test"]
    parts = {source: split_by_patient(table) for source, table in tables.items()}
    tests = {source: table[parts[source] == "test"] for source, table in tables.items()}
    beside = {
        source: marginals(table[parts[source] != "test"], tests[source], graph)
        + float(np.log((train["dataset"] == table["dataset"].iloc[0]).mean()))
        for source, table in tables.items()
    }
    scores, seconds = compare(train, tests, graph)
    lines = show(f"{len(train):,} rows of NIH and CheXpert", scores, seconds, tests, beside)
    if everything:
        start, busy = time.perf_counter(), time.process_time()
        FlowSCM(graph).fit(both, groups="patient_id", missing="em")
        lines.append(
            {"table": "everything", "rows": len(both), "seconds": time.perf_counter() - start,
             "cpu_seconds": time.process_time() - busy, "threads": torch.get_num_threads()}
        )  # fmt: skip
        print("\nall rows:", lines[-1])
    return lines


def main() -> None:
    """Runs both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the metadata tables")
    parser.add_argument("--rows", type=int, default=20_000, help="NIH rows of the random table")
    parser.add_argument("--patients", type=float, default=1.0, help="share of pooled patients")
    parser.add_argument("--only", choices=("random", "pooled"), help="one of the two tables")
    parser.add_argument("--everything", action="store_true", help="fit all rows, timed")
    parser.add_argument("--output", type=Path, help="where to write the figures as JSON")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)9.0f ms  %(message)s")
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    lines = []
    if given.only != "pooled":
        lines += at_random(given.data, given.rows)
    if given.only != "random":
        lines += pooled(given.data, given.patients, given.everything)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"\npeak memory {peak:.2f} GiB, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    )
    if given.output:
        given.output.write_text(json.dumps({"lines": lines, "peak_gib": peak}, indent=1))


if __name__ == "__main__":
    main()
