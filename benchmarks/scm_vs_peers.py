"""The flow SCM beside DoWhy's gcm, causalflows, pgmpy and tramdag: the same real rows, the same
graph, in one run.

    python benchmarks/scm_vs_peers.py --data FOLDER [--rows 10000] [--rounds 5] [--output FOLDER]

FOLDER holds `metadata/nih_train.csv.gz`; the graph is `cxr19` on the variables that NIH records,
the rows those in which all of them are known, split by patient. Each model lives in a process of
its own, so that its peak memory is its own; they are fitted and asked in turn, one at a time, and
rounds alternate: ratios are taken within a round.

- *log-likelihood*: mean nats per held-out row, age as a probability per whole year; of causalflows
  a lower bound
- *fit*: seconds
- *interventional, counterfactual*: rows per second of do(sex := Male), DataFrame in and out
- *valid*: rows of both answers, and of do(edema := positive), in which every value is one that the
  variable can have
- *composition*: factual rows that come back under no intervention, shortcuts off
- *agreement*: rows in which two draws of do(sex) agree; how much of an answer is chance
- *where*: mean difference of each cell's log-probability, given its causes, with its standard
  error by patient
- *memory*: the process's peak, data and libraries included

What a peer raises is its answer. Writes JSON and markdown. The peers live in an environment of
their own (`benchmarks/requirements-peers.txt`); without them our own line stands alone.
"""

import argparse
import json
import multiprocessing
import platform
import resource
import statistics
import time
import warnings
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

import cxrcausal as cx
from cxrcausal.data import split_by_patient
from cxrcausal.files import atomic_path
from cxrcausal.scm import decode, encode

from peers import PEERS, Table  # isort: skip  (beside this one)
from peers_table import OURS, fastest_valid  # isort: skip

GRAPH = "cxr19"


class Ours:
    """This library, its rows as it gives them to everyone: categories by name."""

    def fit(self, data):
        """Fits the SCM."""
        self.graph = cx.load_graph(GRAPH)
        train = data["train"]
        frame = self._words(train)
        frame["patient_id"] = data["patients"]
        for name in self.graph.variables:
            if name not in frame:
                frame[name] = np.nan
        self.names = list(train)
        self.scm = cx.FlowSCM(self.graph).fit(frame, groups="patient_id", progress=False)

    def prepare(self, rows):
        """Returns rows as a user has them."""
        frame = self._words(rows)
        for name in self.graph.variables:
            if name not in frame:
                frame[name] = np.nan
        return frame

    def _words(self, rows):
        import torch

        return decode({n: torch.tensor(rows[n].to_numpy()) for n in rows}, self.graph, rows.index)

    def numbers(self, answer):
        """Returns an answer as numbers, NaN where it is unknown."""
        return pd.DataFrame(
            {n: x.numpy() for n, x in encode(answer, self.graph, self.names).items()}
        )

    def log_prob(self, rows):
        """Returns the log-probability of each row."""
        return self.log_probs(rows).sum(axis=1).to_numpy()

    def log_probs(self, rows):
        """Returns the log-probability of each cell, given its causes."""
        return self.scm.score(rows)[self.names].reset_index(drop=True)

    def counterfactual(self, rows, name, value, seed=0):
        """Returns the rows under do(name := value)."""
        level = self.graph.variables[name].levels[int(value)]
        return self.scm.counterfactual(rows, {name: level}, seed=seed)

    def interventional(self, n, name, value):
        """Returns new rows under do(name := value)."""
        return self.scm.sample(n, {name: self.graph.variables[name].levels[int(value)]}, seed=0)

    def null(self, rows):
        """Returns the rows abducted and predicted anew, nothing kept."""
        return self.scm.predict(self.scm.abduct(rows, seed=0), keep=False)


class Peer:
    """A peer of `peers.py`."""

    def __init__(self, label):
        self.model = PEERS[label]()

    def fit(self, data):
        """Fits it."""
        self.model.fit(Table(data["train"], data["parents"], data["levels"], frozenset({"age"})))

    def prepare(self, rows):
        """Returns the rows as they are."""
        return rows

    def numbers(self, answer):
        """Returns the answer as it is."""
        return answer.reset_index(drop=True)

    def __getattr__(self, name):
        return getattr(self.model, name)


def worker(label, data, pipe):
    """Fits a model and answers what it is asked, until it is asked nothing."""
    warnings.simplefilter("ignore")
    model = Ours() if label == OURS else Peer(label)
    pipe.recv()
    start = time.perf_counter()
    pipe.send(attempt(lambda: model.fit(data)) | {"seconds": time.perf_counter() - start})
    rows = None
    while True:
        ask = pipe.recv()
        if ask is None:
            break
        if rows is None:
            rows = model.prepare(data["test"])
        pipe.send(answer_to(ask, model, rows, data))
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def attempt(function) -> dict:
    """Returns what a function gives, or the words of what it raises."""
    try:
        return {"value": function()}
    except Exception as error:  # whatever a peer raises is its answer
        return {"error": f"{type(error).__name__}: {error}"[:200]}


def answer_to(ask, model, rows, data) -> dict:
    """Returns one figure, or seconds, for one question."""
    n = len(rows)
    calls = {
        "counterfactual": lambda: model.counterfactual(rows, "sex", 1.0),
        "interventional": lambda: model.interventional(n, "sex", 1.0),
    }
    if ask in calls:
        start = time.perf_counter()
        found = attempt(calls[ask])
        return {"seconds": time.perf_counter() - start} if "value" in found else found
    if ask == "log_prob":
        return attempt(lambda: float(np.mean(model.log_prob(rows))))
    if ask == "log_prob by variable":
        if not hasattr(model if isinstance(model, Ours) else model.model, "log_probs"):
            return {"error": "it scores whole rows"}
        return attempt(lambda: model.log_probs(rows))
    if ask == "composition":
        return attempt(lambda: same(model.numbers(model.null(rows)), data["test"]))
    if ask == "agreement":
        return attempt(lambda: agreement(model, rows))
    if ask == "valid counterfactual":
        return attempt(lambda: valid(model.numbers(calls["counterfactual"]()), data["levels"]))
    if ask == "valid interventional":
        return attempt(lambda: valid(model.numbers(calls["interventional"]()), data["levels"]))
    return attempt(
        lambda: valid(model.numbers(model.counterfactual(rows, "edema", 1.0)), data["levels"])
    )


def agreement(model, rows) -> float:
    """Returns the share of rows in which two draws of one counterfactual agree."""
    if isinstance(model, Ours):
        pair = [model.counterfactual(rows, "sex", 1.0, seed=seed) for seed in (1, 2)]
    else:
        inner = model.model
        if hasattr(inner, "draw"):
            inner.draw = 2
        pair = [model.counterfactual(rows, "sex", 1.0)]
        if hasattr(inner, "draw"):
            inner.draw = 3
        pair.append(model.counterfactual(rows, "sex", 1.0))
    first, second = (model.numbers(answer) for answer in pair)
    return same(first, second)


def same(a, b) -> float:
    """Returns the share of rows that agree in every cell."""
    return float(
        np.isclose(a.to_numpy(float), b[list(a)].to_numpy(float), atol=1e-6).all(1).mean()
    )


def valid(answer, levels) -> float:
    """Returns the share of rows whose every value is one that the variable can have."""
    fine = np.ones(len(answer), bool)
    for name, count in levels.items():
        x = answer[name].to_numpy(float)
        allowed = np.arange(count) if count else np.arange(111)
        fine &= np.isin(x, allowed)
    return float(fine.mean())


def read_rows(folder: Path, rows: int, patients: int | None):
    """Returns training and test rows as numbers, the graph's parents and levels."""
    graph = cx.load_graph(GRAPH)
    table = cx.read_table(folder / "metadata" / "nih_train.csv.gz", source="nih", graph=graph)
    if patients:
        table = table[table["patient_id"].isin(table["patient_id"].unique()[:patients])]
    part = split_by_patient(table)
    names = [n for n in graph.topological_order if n in table and n in graph.variables]
    names = [n for n in names if table[n].notna().any() and n != "dataset"]
    complete = table[table[names].notna().all(axis=1)]
    numbers = pd.DataFrame({n: x.numpy() for n, x in encode(complete, graph, names).items()})
    seen = {n: len(graph.variables[n].levels) for n in names}
    test = (part[complete.index] == "test").to_numpy()
    return {
        "train": numbers[~test].reset_index(drop=True),
        "patients": complete["patient_id"].to_numpy()[~test],
        "test": numbers[test].head(rows).reset_index(drop=True),
        "test_patients": complete["patient_id"].to_numpy()[test][:rows],
        "parents": {n: tuple(p for p in graph.parents(n) if p in names) for n in names},
        "levels": seen,
    }


def main() -> None:
    """Runs every model, prints the table, and writes it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--patients", type=int, help="only so many: a quick look")
    parser.add_argument("--models", nargs="+", default=[OURS, *PEERS])
    parser.add_argument("--note", default="", help="what a reader should know of the machine")
    parser.add_argument("--output", type=Path, default=Path("."))
    args = parser.parse_args()
    data = read_rows(args.data, args.rows, args.patients)
    context = multiprocessing.get_context("spawn")
    pipes, processes, report = {}, {}, {}
    for label in args.models:
        pipes[label], end = context.Pipe()
        processes[label] = context.Process(target=worker, args=(label, data, end), daemon=True)
        processes[label].start()
        pipes[label].send("fit")
        found = pipes[label].recv()
        report[label] = {"fit_s": round(found.pop("seconds"), 1)} | found
        report[label].pop("value", None)
        print(label, report[label], flush=True)
    cells = {}
    for label, pipe in pipes.items():
        if "error" not in report[label]:
            pipe.send("log_prob by variable")
            found = pipe.recv()
            if "value" in found:
                cells[label] = found["value"]
    if OURS in cells:
        for label, other in cells.items():
            if label != OURS:
                ahead = differences(cells[OURS] - other[list(cells[OURS])], data["test_patients"])
                report[label]["ours ahead, nats"] = ahead
    questions = "log_prob, composition, agreement, valid counterfactual, valid interventional"
    for ask in (*questions.split(", "), "valid do(edema)"):
        for label, pipe in pipes.items():
            if "error" not in report[label]:
                pipe.send(ask)
                found = pipe.recv()
                report[label][ask] = found.get("value", found.get("error"))
                print(label, ask, report[label][ask], flush=True)
    for ask in ("interventional", "counterfactual"):
        times: dict[str, list[float]] = {label: [] for label in pipes}
        for counts in [False] + [True] * args.rounds:
            for label, pipe in pipes.items():
                if "error" in report[label]:
                    continue
                pipe.send(ask)
                found = pipe.recv()
                if "seconds" not in found:
                    report[label][f"{ask} rows/s"] = found["error"]
                elif counts:
                    times[label].append(found["seconds"])
        for label, taken in times.items():
            if taken:
                report[label][f"{ask} rows/s"] = round(
                    len(data["test"]) / statistics.median(taken)
                )
            if taken and times.get(OURS) and label != OURS:
                ratios = [a / b for a, b in zip(taken, times[OURS], strict=True)]
                report[label][f"{ask}: times slower"] = [
                    round(f(ratios), 2) for f in (min, statistics.median, max)
                ]
    for label, pipe in pipes.items():
        pipe.send(None)
        report[label]["peak_gib"] = round(pipe.recv(), 2)
        processes[label].join()
    whole = {
        "rows": {"train": len(data["train"]), "test": len(data["test"])},
        "variables": len(data["levels"]),
        "edges": sum(map(len, data["parents"].values())),
        "threads": __import__("torch").get_num_threads(),
        "versions": versions(),
        "date": date.today().isoformat(),
        "data": "nih_train.csv.gz",
        "note": args.note,
        "models": report,
    }
    args.output.mkdir(parents=True, exist_ok=True)
    for name, text in (("json", json.dumps(whole, indent=1)), ("md", markdown(whole))):
        with atomic_path(args.output / f"scm_vs_peers.{name}") as path:
            path.write_text(text + "\n", encoding="utf-8")
    print(markdown(whole))


def differences(cells: pd.DataFrame, patients: np.ndarray) -> dict[str, list[float]]:
    """Returns mean and standard error by patient of differences (rows, variables), and of whole
    rows.
    """
    code, _ = pd.factorize(patients)
    found = {}
    for name, x in [("whole row", cells.sum(axis=1)), *cells.items()]:
        mean = float(x.mean())
        error = np.sqrt((np.bincount(code, x - mean) ** 2).sum()) / len(x)
        found[name] = [round(mean, 6), round(float(error), 6)]
    return found


def where(report: dict[str, dict]) -> list[str]:
    """Returns, per peer that scores cells, in which variables the largest differences lie."""
    lines = []
    for label, figures in report.items():
        ahead = dict(figures.get("ours ahead, nats", {}))
        if not ahead:
            continue
        mean, error = ahead.pop("whole row")
        most = sorted(ahead, key=lambda name: -abs(ahead[name][0]))[:4]
        parts = ", ".join(f"{n} {ahead[n][0]:+.4f} ({ahead[n][1]:.4f})" for n in most)
        lines.append(
            f"{OURS} minus {label}, nats per row (standard error by patient): {mean:+.4f} "
            f"({error:.4f}); most of it in {parts}"
        )
    return lines


def fastest(report: dict[str, dict]) -> str:
    """Returns the ratio against the fastest peer all of whose answers are valid, in words."""
    found = fastest_valid(report)
    if found is None:
        return "no peer here answers for rows with valid values alone"
    label, middle = found
    low, _, high = report[label]["counterfactual: times slower"]
    return (
        f"the fastest peer all of whose answers are valid is {label}: "
        f"{report[label]['counterfactual rows/s']:,} counterfactual rows/s, {middle:g} times "
        f"slower than {OURS} ({low:g} to {high:g})"
    )


def versions() -> dict[str, str]:
    """Returns the version of every library that is here."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in ("cxrcausal", "dowhy", "causalflows", "pgmpy", "tramdag", "torch", "pandas"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def markdown(whole: dict) -> str:
    """Returns the figures as one table, a model a row."""
    asks = {
        "log_prob": "held-out nats per row",
        "fit_s": "fit, s",
        "interventional rows/s": "interventional rows/s",
        "counterfactual rows/s": "counterfactual rows/s",
        "counterfactual: times slower": "times slower (least, median, most)",
        "valid counterfactual": "valid, do(sex)",
        "valid do(edema)": "valid, do(edema)",
        "valid interventional": "valid, sampled",
        "composition": "composition",
        "agreement": "two draws agree",
        "peak_gib": "peak GiB",
    }
    out = [
        f"{whole['rows']['train']:,} rows fitted, {whole['rows']['test']:,} asked; "
        f"{whole['variables']} variables, {whole['edges']} edges of {whole['data']}; threads "
        f"{whole['threads']}; {whole['date']}; "
        + ", ".join(f"{k} {v}" for k, v in whole["versions"].items()),
        "",
        "| model | " + " | ".join(asks.values()) + " |",
        "|---|" + "---|" * len(asks),
    ]
    for label, figures in whole["models"].items():
        cells = [cell(key, figures.get(key)) for key in asks]
        out.append(f"| {label} | " + " | ".join(cells) + " |")
    said = {
        f"{label}, {key}: {value}"
        for label, figures in whole["models"].items()
        for key, value in figures.items()
        if isinstance(value, str)
    }
    first = [whole["note"]] if whole.get("note") else []
    notes = [*first, fastest(whole["models"]), *where(whole["models"]), *sorted(said)]
    return "\n".join([*out, "", *(f"- {line}" for line in notes)])


def cell(key: str, value) -> str:
    """Returns one figure as text."""
    if value is None or isinstance(value, str):
        return "none" if isinstance(value, str) else "–"
    if isinstance(value, list):
        return ", ".join(f"{x:g}" for x in value)
    if key == "log_prob":
        return f"{value:.4f}"
    if key.startswith("valid") or key in ("composition", "agreement"):
        return f"{value:.2%}"
    return f"{value:,}"


if __name__ == "__main__":
    main()
