r"""Counterfactuals of SCMs whose answers are known, by this library and by its peers on the same
rows.

    python benchmarks/ground_truth.py [--rows 20000] [--only chain-nlin ...] [--no-peers]
        [--output FOLDER]

Every model is fitted to `--rows` rows that an SCM made, and asked do(x_i) on 2,000 others for
every variable that has children: a number at its 10th, 50th and 90th percentile, a discrete one at
every level.

- Numbers: the root mean square, over questions, rows and descendants, of the distance from the
  known answer, in raw units. The first six are CausalNF's.
- Levels: the answer is a distribution over levels given what was seen. Per question and factual
  configuration of the set variable, its effects and their causes, the answered shares are held
  against the known distribution (total variation, 20,000 rows). What is no level counts as error.

`mediated` and `nominal` are the cases behind probabilities of causation: the known distribution is
that of the monotone and of the Gumbel-max coupling.
`triangle-mixed` is that of tramdag's authors, an
ordinal outcome of two numbers. pgmpy answers no counterfactual of a row and is not asked. Writes
JSON and markdown.
"""

import argparse
import contextlib
import json
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import ndtri

import cxrcausal as cx
from cxrcausal.files import atomic_path
from cxrcausal.graph import CausalGraph, Variable

from peers import PEERS, Table  # isort: skip  (beside this one)

ASKED = 2000
LAW_ROWS = 20_000
PERCENTILES = (10, 50, 90)
Noise = dict[str, np.ndarray]
Equation = Callable[[dict[str, np.ndarray], np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Truth:
    """An SCM that is known: variables, what each reads, and its equation of (values, noise)."""

    name: str
    variables: tuple[Variable, ...]
    parents: dict[str, tuple[str, ...]]
    equations: dict[str, Equation]
    noise: Callable[[np.random.Generator, int, str], np.ndarray] = field(
        default=lambda draw, n, name: draw.normal(size=n)
    )

    @property
    def graph(self) -> CausalGraph:
        """The graph that every model is given."""
        edges = [(p, v) for v, pa in self.parents.items() for p in pa]
        return CausalGraph(self.variables, edges, name=self.name.replace("-", "_"))

    def draw(self, n: int, seed: int) -> tuple[pd.DataFrame, Noise]:
        """Returns rows and the noise that made them."""
        draw = np.random.default_rng(seed)
        noise = {v.name: self.noise(draw, n, v.name) for v in self.variables}
        return self.answer(noise), noise

    def answer(self, noise: Noise, do: dict[str, float] | None = None) -> pd.DataFrame:
        """Returns the world in which `do` is set."""
        values: dict[str, np.ndarray] = {}
        for v in self.variables:
            u = noise[v.name]
            set_to = (do or {}).get(v.name)
            values[v.name] = (
                self.equations[v.name](values, u)
                if set_to is None
                else np.full(len(u), float(set_to))
            )
        return pd.DataFrame(values)

    def descendants(self, name: str) -> list[str]:
        """Returns what follows from a variable, in order."""
        found = {name}
        for v, pa in self.parents.items():
            if found & set(pa):
                found.add(v)
        return [v.name for v in self.variables if v.name in found - {name}]


# --- CausalNF's


def softplus(x):
    """Returns log(1 + e^x)."""
    return np.logaddexp(0, x)


def layer(a, b):
    """Returns CausalNF's two-argument layer."""
    return softplus(a + 1) + softplus(0.5 + b) - 3


def laplace(loc, u):
    """Returns a Laplace quantile of scale .6."""
    t = u - 0.5
    return loc - 0.6 * np.sign(t) * np.log1p(-2 * abs(t))


def numbers(name, *equations, noise=None):
    """Returns the truth of equations f(x, u), x being the values so far, x[1] the first; with what
    each reads.
    """
    names = [f"x{i}" for i in range(1, len(equations) + 1)]
    parents = {
        n: tuple(f"x{j}" for j in reads) for n, (reads, _) in zip(names, equations, strict=True)
    }

    def named(f):
        return lambda values, u: f({int(k[1:]): v for k, v in values.items()}, u)

    variables = tuple(Variable(n, "continuous") for n in names)
    made = {n: named(f) for n, (_, f) in zip(names, equations, strict=True)}
    return Truth(name, variables, parents, made, **({"noise": noise} if noise else {}))


ROOT = ((), lambda x, u: u)
CAUSAL_NF = [
    numbers(
        "chain-nlin",
        ROOT,
        ((1,), lambda x, u: np.exp(x[1] / 2) + u / 4),
        ((2,), lambda x, u: (x[2] - 5) ** 3 / 15 + u),
    ),
    numbers(
        "triangle-nlin",
        ROOT,
        ((1,), lambda x, u: 2 * x[1] ** 2 + u),
        ((1, 2), lambda x, u: 20 / (1 + np.exp(np.clip(-(x[2] ** 2) + x[1], -500, 500))) + u),
    ),
    numbers(
        "fork-nlin",
        ROOT,
        ROOT,
        ((1, 2), lambda x, u: 4 / (1 + np.exp(-x[1] - x[2])) - x[2] ** 2 + u / 2),
        ((3,), lambda x, u: 20 / (1 + np.exp(np.clip(x[3] ** 2 / 2 - x[3], -500, 500))) + u),
    ),
    numbers(
        "collider-lin",
        ROOT,
        ((), lambda x, u: 2 - u),
        ((1, 2), lambda x, u: 0.25 * x[2] - 0.5 * x[1] + 0.5 * u),
    ),
    numbers(
        "simpson-nlin",
        ROOT,
        ((1,), lambda x, u: softplus(1 - x[1]) + np.sqrt(3 / 20) * u),
        ((1, 2), lambda x, u: np.tanh(2 * x[2]) + 1.5 * x[1] - 1 + np.tanh(u)),
        ((3,), lambda x, u: (x[3] - 4) / 5 + 3 + u / np.sqrt(10)),
    ),
    numbers(
        "large-backdoor",
        ((), lambda x, u: softplus(1.8 * u) - 1),
        ((1,), lambda x, u: 0.25 * u + 1.5 * layer(x[1], 0)),
        ((1,), lambda x, u: layer(x[1], u)),
        ((2,), lambda x, u: layer(x[2], u)),
        ((3,), lambda x, u: layer(x[3], u)),
        ((4,), lambda x, u: layer(x[4], u)),
        ((5,), lambda x, u: layer(x[5], u)),
        ((6,), lambda x, u: 0.3 * u + softplus(x[6] + 1) - 1),
        ((7, 8), lambda x, u: laplace(2 - softplus((1.3 * x[7] + x[8]) / 3 + 1), u)),
        noise=lambda draw, n, name: draw.uniform(size=n),
    ),
]

# --- levels: monotone in one normal, or the largest of Gumbel-perturbed logits

LEVELS = ("negative", "positive")


def threshold(edges):
    """Returns the equation of an ordered variable: how many edges, rising, lie below the noise."""
    return lambda x, u: sum((u > e).astype(float) for e in edges(x))


def logistic(z):
    """Returns 1 / (1 + e^-z)."""
    return 1 / (1 + np.exp(-z))


def finding(reads, logit):
    """Returns parents and equation of a binary variable with the given logit."""
    return reads, threshold(lambda x: [ndtri(logistic(-logit(x)))])


def labelled(name, spec, noise=None):
    """Returns the truth of variables given with parents and equation."""
    parents = {v.name: reads for v, (reads, _) in spec}
    made = {v.name: f for v, (_, f) in spec}
    extra = {"noise": noise} if noise else {}
    return Truth(name, tuple(v for v, _ in spec), parents, made, **extra)


def binary(name):
    """Returns a binary variable."""
    return Variable(name, "binary", LEVELS)


def gumbels(draw, n, name):
    """Returns Gumbel noise for `view`, three numbers a row; normal noise for the others."""
    return draw.gumbel(size=(n, 3)) if name == "view" else draw.normal(size=n)


STAGE = Variable("stage", "ordinal", ("none", "mild", "moderate", "severe"))
VIEW = Variable("view", "nominal", ("PA", "AP", "LATERAL"))
AGE = Variable("age", "continuous", bounds=(0.0, 100.0), resolution=1.0, unit="years")
DOSE = Variable("dose", "continuous")
LABELLED = [
    labelled(
        "binary",
        [
            (binary("a"), finding((), lambda x: np.float64(-0.5))),
            (binary("b"), finding(("a",), lambda x: -1 + 1.5 * x["a"])),
            (binary("c"), finding(("a", "b"), lambda x: -2 + x["a"] + 1.2 * x["b"])),
        ],
    ),
    labelled(
        "ordinal",
        [
            (binary("a"), finding((), lambda x: np.float64(0.2))),
            (
                STAGE,
                (
                    ("a",),
                    threshold(lambda x: [-0.2 - 0.7 * x["a"], 0.6 - 0.5 * x["a"], 1.5 - x["a"]]),
                ),
            ),
            (binary("c"), finding(("stage",), lambda x: -2 + 1.1 * x["stage"])),
        ],
    ),
    labelled(
        "nominal",
        [
            (binary("a"), finding((), lambda x: np.float64(0.0))),
            (
                VIEW,
                (
                    ("a",),
                    lambda x, u: (
                        np.log(np.where(x["a"][:, None] > 0, [0.2, 0.5, 0.3], [0.5, 0.3, 0.2])) + u
                    ).argmax(1).astype(float),
                ),
            ),
            (
                binary("c"),
                finding(("view",), lambda x: np.array([-1.5, 0.0, 1.0])[x["view"].astype(int)]),
            ),
        ],
        noise=gumbels,
    ),
    labelled(
        "mediated",
        [
            (binary("a"), finding((), lambda x: np.float64(0.0))),
            (binary("m"), finding(("a",), lambda x: -1 + 2 * x["a"])),
            (binary("c"), finding(("a", "m"), lambda x: -1.5 + 0.5 * x["a"] + 1.8 * x["m"])),
        ],
    ),
    labelled(
        "mixed",
        [
            (binary("a"), finding((), lambda x: np.float64(0.3))),
            (AGE, (("a",), lambda x, u: np.clip(np.round(50 + 8 * x["a"] + 12 * u), 0, 100))),
            (
                STAGE,
                (
                    ("age",),
                    threshold(lambda x: [e - 0.02 * (x["age"] - 50) for e in (0, 0.9, 1.8)]),
                ),
            ),
            (
                DOSE,
                (
                    ("a", "stage"),
                    lambda x, u: 2 + x["stage"] + 0.5 * x["a"] + (0.5 + 0.2 * x["a"]) * u,
                ),
            ),
        ],
    ),
]  # fmt: skip
# --- the triangle of TRAM-DAGs (Sick and Dürr, 2025, https://arxiv.org/abs/2503.16206, section
# 6.2)


def triangle_noise(draw, n, name):
    """Returns what `x1`'s two bumps are drawn from (n, 3), or logistic noise (n,)."""
    if name == "x1":
        return np.column_stack([draw.uniform(size=n), draw.normal(size=(n, 2))])
    return draw.logistic(size=n)


def triangle_mixed(name, f):
    """Returns the triangle whose third variable is ordinal, with the effect `f` of the second on
    it.
    """
    cuts = (-2.0, 0.42, 1.02)
    return labelled(
        name,
        [
            (
                Variable("x1", "continuous"),
                (
                    (),
                    lambda x, u: np.where(
                        u[:, 0] < 0.5, 0.25 + 0.1 * u[:, 1], 0.73 + 0.05 * u[:, 2]
                    ),
                ),
            ),
            (Variable("x2", "continuous"), (("x1",), lambda x, u: (u - 2 * x["x1"]) / 5)),
            (
                Variable("x3", "ordinal", ("first", "second", "third", "fourth")),
                (
                    ("x1", "x2"),
                    threshold(lambda x: [c + 0.2 * x["x1"] + f(x["x2"]) for c in cuts]),
                ),
            ),
        ],
        noise=triangle_noise,
    )  # fmt: skip


TRIANGLES = [
    triangle_mixed("triangle-mixed", lambda x: -0.3 * x),
    triangle_mixed("triangle-mixed-exp", lambda x: 0.5 * np.exp(x)),
]
TRUTHS = {t.name: t for t in (*CAUSAL_NF, *LABELLED, *TRIANGLES)}


# --- the models


class Ours:
    """This library, by family."""

    def __init__(self, family: str = "auto"):
        self.family = family

    def fit(self, table: Table, truth: Truth):
        """Fits the SCM."""
        self.truth = truth
        self.scm = cx.FlowSCM(truth.graph, family=self.family)
        self.scm.fit(self._in(table.rows), progress=False)
        return self

    def _in(self, rows: pd.DataFrame) -> pd.DataFrame:
        frame = rows.copy()
        for v in self.truth.variables:
            if v.is_discrete:
                frame[v.name] = pd.Categorical.from_codes(frame[v.name].astype(int), v.levels)
        return frame

    def counterfactual(self, rows: pd.DataFrame, name: str, value: float) -> pd.DataFrame:
        """Returns the rows under do(name := value), as numbers."""
        variable = self.scm.graph.variables[name]
        level = variable.levels[int(value)] if variable.is_discrete else value
        world = self.scm.counterfactual(self._in(rows), {name: level}, seed=5)
        for v in self.truth.variables:
            if v.is_discrete:
                world[v.name] = world[v.name].cat.codes.astype(float)
        return world


def questions(truth: Truth, rows: pd.DataFrame):
    """Yields variable and value of every question."""
    for v in truth.variables:
        if not truth.descendants(v.name):
            continue
        if v.is_discrete:
            for level in range(len(v.levels)):
                yield v.name, float(level)
        else:
            for q in PERCENTILES:
                value = np.percentile(rows[v.name], q)
                yield v.name, float(np.round(value) if v.resolution else value)


def errors(truth: Truth, model, rows: pd.DataFrame, noise: Noise, seed: int) -> dict[str, float]:
    """Returns RMSE of numbers, distance of distributions of levels, and how many are none."""
    squares, distances, valid = [], [], []
    for name, value in questions(truth, rows):
        answer = model.counterfactual(rows, name, value)
        exact = truth.answer(noise, {name: value})
        allowed = np.ones(len(rows), bool)
        for v in truth.variables:
            if v.is_discrete:
                allowed &= np.isin(answer[v.name], range(len(v.levels)))
            elif v.bounds:
                allowed &= answer[v.name].between(*v.bounds) & (answer[v.name] % v.resolution == 0)
        valid.append(allowed.mean())
        for effect in truth.descendants(name):
            v = truth.graph.variables[effect]
            if not v.is_discrete and v.resolution is None:
                squares.append(float(((answer[effect] - exact[effect]) ** 2).mean()))
            elif v.is_discrete:
                distances.append(_distance(truth, rows, answer, exact, name, effect))
    result = {"valid_rows": float(np.mean(valid))}
    if squares:
        result["rmse"] = float(np.sqrt(np.mean(squares)))
    if distances:
        result["total_variation"] = float(np.mean(distances))
    return result


def _distance(truth, rows, answer, exact, name, effect) -> float:
    """Returns the mean total variation between answered and known shares, by factual
    configuration.

    Both are shares of the same rows, so a model that is right differs by the chance of its draws
    alone.
    """
    discrete = [v.name for v in truth.variables if v.is_discrete]
    code = pd.factorize(pd.MultiIndex.from_frame(rows[discrete]))[0]
    levels = len(truth.graph.variables[effect].levels)
    size = np.bincount(code)
    distance = np.zeros(len(size))
    for k in range(levels):
        a = np.bincount(code, answer[effect] == k) / size
        b = np.bincount(code, exact[effect] == k) / size
        distance += abs(a - b)
    lost = 1 - np.bincount(code, np.isin(answer[effect], range(levels))) / size
    return float((size * (distance + lost)).sum() / (2 * size.sum()))


def main() -> None:
    """Fits, asks, prints the table, and writes it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--only", nargs="+", choices=TRUTHS, default=list(TRUTHS))
    parser.add_argument("--families", nargs="+", default=["cnf", "nsf"])
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("."))
    parser.add_argument("--note", default="", help="what a reader should know of the run")
    args = parser.parse_args()
    lines = answered(args)
    for name in args.only:
        truth = TRUTHS[name]
        train, _ = truth.draw(args.rows, 0)
        is_numbers = all(not v.is_discrete for v in truth.variables)
        asked, noise = truth.draw(min(ASKED if is_numbers else LAW_ROWS, args.rows), 1)
        levels = {v.name: len(v.levels) for v in truth.variables}
        whole = frozenset(v.name for v in truth.variables if v.resolution is not None)
        table = Table(train, truth.parents, levels, whole)
        families = (
            args.families if any(v.kind == "continuous" for v in truth.variables) else ["auto"]
        )
        models = {f"cxrcausal {f}".replace(" auto", ""): Ours(f) for f in families}
        if not args.no_peers:
            models |= {
                k: make()
                for k, make in PEERS.items()
                if k != "pgmpy" and not (is_numbers and k == "DoWhy gcm, categories")
            }
        for label, model in models.items():
            line = {"scm": name, "model": label}
            start = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the peers' own
                try:
                    model.fit(table, truth) if isinstance(model, Ours) else model.fit(table)
                    line["fit_s"] = round(time.perf_counter() - start, 1)
                    line |= errors(truth, model, asked, noise, 2)
                except Exception as error:  # whatever a peer raises is its answer
                    if isinstance(model, Ours):
                        raise
                    line["answer"] = f"none: {type(error).__name__}: {error}"[:160]
            lines.append(line)
            print(json.dumps(line), flush=True)
            write(lines, args)
    print(markdown(lines))


def markdown(lines: list[dict]) -> str:
    """Returns errors as one table: a row per SCM, a column per model."""
    frame = pd.DataFrame(lines)
    models = list(dict.fromkeys(frame["model"]))
    out = ["| SCM | error | " + " | ".join(models) + " |", "|---|---|" + "---|" * len(models)]
    for scm in dict.fromkeys(frame["scm"]):
        for key, word in (("rmse", "RMSE"), ("total_variation", "total variation")):
            own = frame[frame["scm"] == scm].set_index("model")
            if key not in own or own[key].isna().all():
                continue
            cells = []
            for m in models:
                value = own[key].get(m, np.nan)
                bad = own["valid_rows"].get(m, 1.0) < 1
                cell = "–" if np.isnan(value) else f"{value:.4f}"
                cells.append(f"{cell} ({own['valid_rows'][m]:.0%} valid)" if bad else cell)
            out.append(f"| {scm} | {word} | " + " | ".join(cells) + " |")
    return "\n".join(out)


def answered(args) -> list[dict]:
    """Returns what an earlier run has written of the SCMs that are not asked now."""
    file = args.output / "ground_truth.json"
    if not file.exists():
        return []
    report = json.loads(file.read_text(encoding="utf-8"))
    if report["rows"] != args.rows:
        return []
    return [line for line in report["lines"] if line["scm"] not in args.only]


def write(lines: list[dict], args) -> None:
    """Writes what is known so far, SCMs in the order of `TRUTHS`."""
    order = list(TRUTHS)
    lines = sorted(lines, key=lambda line: order.index(line["scm"]))
    report = {
        "rows": args.rows,
        "threads": torch.get_num_threads(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "versions": versions(),
        "date": date.today().isoformat(),
        "note": args.note,
        "lines": lines,
    }
    args.output.mkdir(parents=True, exist_ok=True)
    with atomic_path(args.output / "ground_truth.json") as path:
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    with atomic_path(args.output / "ground_truth.md") as path:
        note = f"\n{args.note}\n" if args.note else ""
        path.write_text(f"{about(report)}\n\n{markdown(lines)}\n{note}", encoding="utf-8")


def about(report: dict) -> str:
    """Returns how the figures came about, in one line."""
    known = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return (
        f"{report['rows']:,} simulated rows fitted; {report['threads']} thread(s), "
        f"{report['machine']}; {known}; {report['date']}"
    )


def versions() -> dict[str, str]:
    """Returns the version of every library that is here."""
    found = {}
    for name in ("cxrcausal", "dowhy", "causalflows", "tramdag", "torch"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


if __name__ == "__main__":
    main()
