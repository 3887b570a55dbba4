"""Counterfactual rows per second of the SCM beside DoWhy's gcm, on the same real rows and graph,
in one run.

    python benchmarks/scm_speed.py --data FOLDER [--rows 10000] [--rounds 5] [--output FILE.json]

FOLDER holds `metadata/nih_train.csv.gz` and `metadata/chexpert_metadata.csv.gz`. The question is
do(sex), DataFrame in and DataFrame out.
DoWhy is asked twice: with findings as categories, where it fits classifiers (and cannot abduct
their noise), and as 0/1 integers, where it answers with values that are neither. Rounds alternate,
and the ratio is taken within each round; both use the threads that OMP_NUM_THREADS allows. DoWhy
lives in an environment of its own (`benchmarks/requirements-peers.txt`); without it our own figure
is printed alone.

The shipped SCM `cxr19-public` is asked the same of CheXpert test rows with the unknown cells that
they have, with 30 % of their cells removed at random, and of rows without any; the times that the
answer takes longer than that of complete rows are taken within each round too.
"""

import argparse
import json
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import cxrcausal as cx
from cxrcausal.data import split_by_patient
from cxrcausal.files import atomic_path

REMOVED = 0.3


def read_rows(data, rows):
    """Returns training rows and `rows` complete test rows of NIH, on the variables that NIH
    records.
    """
    graph = cx.load_graph("cxr19")
    table = cx.read_table(data / "metadata" / "nih_train.csv.gz", source="nih", graph=graph)
    part = split_by_patient(table)
    names = [n for n in graph.variables if table[n].notna().any() and n != "dataset"]
    complete = table[table[names].notna().all(axis=1)]
    test = complete[part[complete.index] == "test"].head(rows)
    return graph, names, complete[part[complete.index] != "test"], test


def seconds(asks, rounds):
    """Returns the seconds of each round by name, the questions asked in turn; a first round does
    not count.
    """
    times = {name: [] for name in asks}
    for counts in [False] + [True] * rounds:
        for name, ask in asks.items():
            start = time.perf_counter()
            ask()
            if counts:
                times[name].append(time.perf_counter() - start)
    return times


def ours(graph, train, test):
    """Returns the question and our figures; composition is checked with the keep-the-factual
    shortcut off.
    """
    start = time.perf_counter()
    scm = cx.FlowSCM(graph).fit(train, groups="patient_id", seed=0)
    fitted = time.perf_counter() - start

    def ask():
        return scm.counterfactual(test, {"sex": "Male"}, seed=0)

    answer = ask()
    same = scm.predict(scm.abduct(test, seed=0), keep=False)
    names = list(scm.mechanisms)
    return ask, {
        "fit_s": round(fitted, 1),
        "valid_rows": float(answer[names].notna().all(axis=1).mean()),
        "composition": float(
            (same[names].astype(str) == test[names].astype(str)).all(axis=1).mean()
        ),
    }


def unknown_cells(data, rows, rounds):
    """Returns figures of the shipped SCM on CheXpert rows that lack cells, and on complete."""
    scm = cx.load_pretrained("cxr19-public").scm
    path = data / "metadata" / "chexpert_metadata.csv.gz"
    table = cx.read_table(path, source="chexpert", graph=scm.graph)
    table = table[split_by_patient(table) == "test"].reset_index(drop=True)
    names = list(scm.mechanisms)
    own = table.head(rows)
    draw = np.random.default_rng(0)
    lost = {v: own[v].mask(draw.random(len(own)) < REMOVED) for v in scm.graph.variables}
    tables = {
        "complete": table[table[names].notna().all(axis=1)].head(rows),
        "their own": own,
        "30 % removed": own.assign(**lost),
    }
    times = seconds(
        {
            name: lambda some=some: scm.counterfactual(some, {"sex": "Male"}, seed=0)
            for name, some in tables.items()
        },
        rounds,
    )
    report = {}
    for name, some in tables.items():
        pairs = zip(times[name], times["complete"], strict=True)
        per_row = len(tables["complete"]) / len(some)
        report[name] = {
            "rows": len(some),
            "unknown": round(float(some[names].isna().to_numpy().mean()), 4),
            "patterns": len(some[names].isna().drop_duplicates()),
            "rows_per_s": round(len(some) / statistics.median(times[name])),
            "times_slower_than_complete": round(
                statistics.median(per_row * a / b for a, b in pairs), 1
            ),
        }
    return report


def dowhy(graph, names, train, test, integers):
    """Returns the question to DoWhy (None if it does not answer) and its figures, or its error in
    words.
    """
    from dowhy import gcm

    def recode(table):
        frame = table[names].reset_index(drop=True)
        for name in names:
            if graph.variables[name].is_discrete:
                codes = frame[name].cat.codes
                frame[name] = codes.astype(int) if integers else frame[name].astype(str)
        return frame

    fit_on, asked = recode(train), recode(test)
    directed = graph.to_networkx().subgraph(names).copy()
    model = gcm.InvertibleStructuralCausalModel(directed)
    gcm.auto.assign_causal_mechanisms(model, fit_on)
    start = time.perf_counter()
    gcm.fit(model, fit_on)
    figures = {"fit_s": round(time.perf_counter() - start, 1)}
    male = 1 if integers else "Male"

    def ask():
        return gcm.counterfactual_samples(model, {"sex": lambda _: male}, observed_data=asked)

    try:
        answer = ask()
    except Exception as error:  # whatever a peer raises is its answer, and is printed as such
        return None, figures | {"answer": f"none: {type(error).__name__}: {error}"}
    binary = [n for n in names if graph.variables[n].kind == "binary"]
    valid = np.isin(answer[binary].to_numpy(), [0, 1]).all(axis=1).mean()
    return ask, figures | {"valid_rows": float(valid)}


def main():
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="where the figures are kept too, as JSON")
    args = parser.parse_args()

    graph, names, train, test = read_rows(args.data, args.rows)
    report = {"rows": len(test), "threads": torch.get_num_threads(), "pandas": pd.__version__}
    asks = {}
    asks["cxrcausal"], report["cxrcausal"] = ours(graph, train, test)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peer's own
        try:
            import dowhy as module
        except ImportError:
            report["dowhy"] = "absent: install benchmarks/requirements-peers.txt"
        else:
            report["dowhy_version"] = module.__version__
            for integers in (True, False):
                key = "dowhy gcm, findings as " + ("0/1" if integers else "categories")
                asks[key], report[key] = dowhy(graph, names, train, test, integers)
        times = seconds({name: ask for name, ask in asks.items() if ask is not None}, args.rounds)
    for name, taken in times.items():
        report[name]["rows_per_s"] = round(len(test) / statistics.median(taken))
        if name != "cxrcausal":
            ratios = [a / b for a, b in zip(taken, times["cxrcausal"], strict=True)]
            report[name]["times_slower_than_cxrcausal"] = {
                "median": round(statistics.median(ratios), 2),
                "least": round(min(ratios), 2),
                "most": round(max(ratios), 2),
            }
    report["unknown cells"] = unknown_cells(args.data, args.rows, args.rounds)
    if args.output is not None:
        with atomic_path(args.output) as path:
            path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
