"""Simple data of one's own: counterfactuals beside least squares on the same rows, and the time of
a fit.

    python benchmarks/own_graphs.py [--rows 4000] [--seeds 10] [--family cnf] [--output FOLDER]

- *Joe* (Pearl's primer, 4.2.3): encouragement X, homework H = .5 X + U, score Y = .7 X + .4 H + U.
  He had X = .5, H = 1, Y = 1.5; with H = 2 he would have had 1.90.
- *Linear, Gaussian*: three graphs of linear equations with normal noise, one in units that differ
  a thousandfold. Root mean square over questions (every variable with children at its 10th, 50th
  and 90th percentile), 500 rows and descendants, in units of each descendant's noise. Least
  squares is the model that made these data: nothing beats it.
- *Time*: a table of six variables (sex, age in whole years, a severity, a count on a grid of 41
  levels, one of 200 levels, an exact number), every mechanism's own seconds, by the clock and of
  the processor.

Writes JSON and markdown.
"""

import argparse
import json
import platform
import time
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import cxrcausal as cx
from cxrcausal.files import atomic_path
from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm import encode, fit_mechanism

from ground_truth import ROOT, Ours, Truth, numbers, questions  # isort: skip  (beside this one)
from peers import Table  # isort: skip

JOE = {"x1": 0.5, "x2": 1.0, "x3": 1.5}
WOULD = 1.90
LINEAR = {
    "joe": (
        numbers(
            "joe",
            ROOT,
            ((1,), lambda x, u: 0.5 * x[1] + u),
            ((1, 2), lambda x, u: 0.7 * x[1] + 0.4 * x[2] + u),
        ),
        {"x1": 1.0, "x2": 1.0, "x3": 1.0},
    ),
    "diamond": (
        numbers(
            "diamond",
            ROOT,
            ((1,), lambda x, u: 2 * x[1] + 0.5 * u),
            ((1,), lambda x, u: -x[1] + 2 * u),
            ((2, 3), lambda x, u: x[2] + 0.3 * x[3] + 1 + u),
        ),
        {"x1": 1.0, "x2": 0.5, "x3": 2.0, "x4": 1.0},
    ),
    "units": (
        numbers(
            "units",
            ((), lambda x, u: 60 + 10 * u),
            ((1,), lambda x, u: 0.001 * x[1] + 0.005 * u),
            ((1, 2), lambda x, u: 2 * x[1] + 3000 * x[2] + 20 * u),
            ((2, 3), lambda x, u: 5000 * x[2] - x[3] + 30 * u),
        ),
        {"x1": 10.0, "x2": 0.005, "x3": 20.0, "x4": 30.0},
    ),
}
"""The truth, and the standard deviation of each variable's noise."""


class LeastSquares:
    """The model that made the data: linear equations, their coefficients by least squares."""

    def fit(self, table: Table) -> "LeastSquares":
        """Fits every equation."""
        self.parents, self.weights = table.parents, {}
        for name, reads in table.parents.items():
            design = self._design(table.rows, reads)
            self.weights[name] = np.linalg.lstsq(design, table.rows[name].to_numpy(), rcond=None)[
                0
            ]
        return self

    def _design(self, rows: pd.DataFrame, reads: tuple[str, ...]) -> np.ndarray:
        return np.column_stack([np.ones(len(rows)), *(rows[p] for p in reads)])

    def counterfactual(self, rows: pd.DataFrame, name: str, value: float) -> pd.DataFrame:
        """Returns the rows under do(name := value)."""
        world = rows.copy()
        for v, reads in self.parents.items():
            change = self._design(world, reads) - self._design(rows, reads)
            world[v] = value if v == name else rows[v] + change @ self.weights[v]
        return world


def scaled_error(truth: Truth, spread: dict[str, float], model, rows, noise) -> float:
    """Returns the RMSE over questions, rows and descendants, in standard deviations of the
    noise.
    """
    squares = []
    for name, value in questions(truth, rows):
        answer = model.counterfactual(rows, name, value)
        exact = truth.answer(noise, {name: value})
        squares += [
            float((((answer[v] - exact[v]) / spread[v]) ** 2).mean())
            for v in truth.descendants(name)
        ]
    return float(np.sqrt(np.mean(squares)))


def accuracy(rows: int, seeds: int, family: str) -> list[dict]:
    """Returns one line per graph and seed."""
    lines = []
    for name, (truth, spread) in LINEAR.items():
        for seed in range(seeds):
            train, _ = truth.draw(rows, seed)
            asked, noise = truth.draw(500, 1000 + seed)
            table = Table(train, truth.parents, dict.fromkeys(train, 0))
            start = time.perf_counter()
            ours = Ours(family).fit(table, truth)
            seconds = time.perf_counter() - start
            models = {"ours": ours, "ols": LeastSquares().fit(table)}
            line = {"graph": name, "seed": seed, "fit_s": round(seconds, 2)}
            for label, model in models.items():
                line[label] = scaled_error(truth, spread, model, asked, noise)
            if name == "joe":
                joe = pd.DataFrame([JOE])
                for label, model in models.items():
                    answer = model.counterfactual(joe, "x2", 2.0)
                    line[f"joe {label}"] = float(answer["x3"].iloc[0])
            lines.append(line)
            print(json.dumps(line), flush=True)
    return lines


SEX = Variable("sex", "binary", ("Female", "Male"))
AGE = Variable("age", "continuous", unit="years", bounds=(0.0, 110.0), resolution=1.0)
SEVERITY = Variable("severity", "continuous")
VISITS = Variable("visits", "continuous", bounds=(0.0, 40.0), resolution=1.0)
CELLS = Variable("cells", "continuous", bounds=(0.0, 199.0), resolution=1.0)
DOSE = Variable("dose", "continuous")
CLINIC = CausalGraph(
    (SEX, AGE, SEVERITY, VISITS, CELLS, DOSE),
    [
        ("sex", "age"), ("age", "severity"), ("sex", "severity"), ("age", "visits"),
        ("severity", "visits"), ("sex", "visits"), ("severity", "cells"), ("age", "cells"),
        ("severity", "dose"), ("visits", "dose"), ("sex", "dose"),
    ],
    name="clinic",
)  # fmt: skip


def clinic(rows: int, seed: int) -> pd.DataFrame:
    """Returns patients: two counts that depend on an exact number, and a dose that spreads more in
    men.
    """
    draw = np.random.default_rng(seed)
    male = draw.random(rows) < 0.5
    age = np.clip(np.round(55 + 5 * male + 15 * draw.normal(size=rows)), 0, 110)
    severity = 0.02 * (age - 50) + 0.3 * male + draw.normal(size=rows)
    visits = draw.poisson(np.exp(0.5 + 0.5 * severity + 0.01 * (age - 50))).clip(max=40)
    cells = draw.negative_binomial(5, 1 / (1 + np.exp(2.2 + 0.3 * severity) / 5)).clip(max=199)
    dose = 2 + severity + 0.1 * visits + (0.5 + 0.3 * male) * draw.normal(size=rows)
    return pd.DataFrame(
        {
            "sex": np.where(male, "Male", "Female"),
            "age": age,
            "severity": severity,
            "visits": visits.astype(float),
            "cells": cells.astype(float),
            "dose": dose,
        }
    )


def timed(rows: int, family: str) -> list[dict]:
    """Returns seconds, held-out nats and parents of every mechanism of the clinic."""
    train, test = (encode(clinic(n, seed), CLINIC) for n, seed in ((rows, 0), (5 * rows, 1)))
    torch.optim.LBFGS([torch.nn.Parameter(torch.zeros(1))])  # imports that are not of a fit
    lines = []
    for name in CLINIC.topological_order:
        parents = tuple(CLINIC.variables[p] for p in CLINIC.parents(name))
        start, busy = time.perf_counter(), time.process_time()
        mechanism = fit_mechanism(CLINIC.variables[name], parents, train, family=family)
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        x, pa = test[name], {p.name: test[p.name] for p in parents}
        with torch.no_grad():
            nats = float(mechanism.log_prob(x, pa).mean())
        lines.append(
            {
                "variable": name, "parents": len(parents), "fit_s": round(seconds, 2),
                "cpu_s": round(busy, 2), "nats": nats,
            }
        )  # fmt: skip
        print(json.dumps(lines[-1]), flush=True)
    return lines


def markdown(report: dict) -> str:
    """Returns the figures as two tables."""
    frame = pd.DataFrame(report["accuracy"])
    out = [
        f"{report['rows']:,} rows, {report['seeds']} seeds, family `{report['family']}`; "
        f"{report['machine']}; torch {report['torch']}, {report['threads']} thread(s); "
        f"cxrcausal {report['version']}; {report['date']}",
        "",
        "| graph | RMSE, SD of the noise | least squares | ratio, median (most) | fit, s |",
        "|---|---|---|---|---|",
    ]
    for name, some in frame.groupby("graph", sort=False):
        ratio = some["ours"] / some["ols"]
        out.append(
            f"| {name} | {some['ours'].mean():.4f} | {some['ols'].mean():.4f} | "
            f"{ratio.median():.2f} ({ratio.max():.2f}) | {some['fit_s'].mean():.1f} |"
        )
    joe = frame.dropna(subset=["joe ours"])
    gap = (joe["joe ours"] - joe["joe ols"]).abs()
    out += [
        "",
        f"Joe, 1.90 by the book: {joe['joe ours'].mean():.3f} on average, least squares "
        f"{joe['joe ols'].mean():.3f}; furthest from least squares on the same rows "
        f"{gap.max():.4f}.",
        "",
        "| variable | parents | fit, s | of a processor | held-out nats |",
        "|---|---|---|---|---|",
        *(
            f"| {t['variable']} | {t['parents']} | {t['fit_s']:.2f} | {t['cpu_s']:.2f} | "
            f"{t['nats']:.4f} |"
            for t in report["time"]
        ),
        f"| all | | {sum(t['fit_s'] for t in report['time']):.2f} | "
        f"{sum(t['cpu_s'] for t in report['time']):.2f} | |",
    ]
    if report.get("before"):
        out += ["", *_earlier(report["before"])]
    if report.get("note"):
        out += ["", report["note"]]
    return "\n".join(out)


def _earlier(before: dict) -> list[str]:
    """Returns what an earlier version gave, in two sentences."""
    frame = pd.DataFrame(before["accuracy"])
    gap = (frame["joe ours"] - frame["joe ols"]).abs()
    seconds = ", ".join(
        f"{t['variable']} {t['fit_s']:.0f} s ({t['nats']:.4f})" for t in before["time"]
    )
    return [
        f"Before ({before['version']}): joe, {len(frame)} seeds, RMSE {frame['ours'].mean():.3f} "
        f"where least squares has {frame['ols'].mean():.3f}; Joe up to {gap.max():.2f} from least "
        "squares.",
        f"Fit and held-out nats of the same table: {seconds}.",
    ]


def main() -> None:
    """Runs both, prints the tables, and writes them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--family", default="auto")
    parser.add_argument("--before", type=Path, help="JSON of an earlier version's run, to tell of")
    parser.add_argument("--note", default="", help="what a reader should know of the machine")
    parser.add_argument("--output", type=Path, default=Path("."))
    args = parser.parse_args()
    report = {
        "rows": args.rows,
        "seeds": args.seeds,
        "family": args.family,
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "version": cx.__version__,
        "date": date.today().isoformat(),
        "note": args.note,
        "before": json.loads(args.before.read_text()) if args.before else None,
        "time": timed(args.rows, args.family),
        "accuracy": accuracy(args.rows, args.seeds, args.family),
    }
    args.output.mkdir(parents=True, exist_ok=True)
    text = markdown(report)
    for name, body in (("json", json.dumps(report, indent=1)), ("md", text)):
        with atomic_path(args.output / f"own_graphs.{name}") as path:
            path.write_text(body + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
