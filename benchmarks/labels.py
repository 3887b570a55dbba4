"""Every label that an effect is given, held against exact models with hidden causes and selection.

    python benchmarks/labels.py [--graphs 1000] [--most 5] [--seed 0] [--output FOLDER]

Two of three random graphs have selections, all may have hidden causes. Each gets models in which every variable, hidden cause and selection is written out as a
function of its causes and of noise with three values: so every world of every patient is known, and
which patients are selected. An SCM over the graph's own parents is fitted to the selected without
error (each mechanism is their conditional probability), now and then without one variable that nobody
recorded. It is asked for every effect there is of every cause on one outcome, and

- what is labelled `data` is to be the effect among all (TV: the difference among the selected),
- what is labelled `construction` is to be zero among all and among the selected,
- bounds that are said to follow from data are to be those of all,

to 1e-9. The SCM's figure on the distribution of the selected is computed here by summing its tables;
that this is the library's figure is checked on rows of equal weight. Writes JSON and markdown.
"""

import argparse
import datetime
import json
import platform
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import cxrcausal as cx
from cxrcausal.counterfactual import (
    Effect,
    ate,
    cate,
    causation,
    ctf_effects,
    ett,
    natural_effects,
    path_specific_effect,
)
from cxrcausal.files import atomic_path
from cxrcausal.scm import Mechanism

from latent_models import NoisyModel, random_graph  # isort: skip  (beside this one)

CLOSE = 1e-9
MODELS = 2
LEVELS = ("negative", "positive")
FEW = {"groups": None, "resamples": 2}
Hears = Mapping[str, int]
"""Which value of the cause each variable reads that reads it."""


class TableMechanism(Mechanism):
    """A binary variable by a table: the probability of its positive level, an axis per parent."""

    def __init__(self, variable, parents, positive: np.ndarray) -> None:
        super().__init__(variable, parents)
        self.register_buffer("positive", torch.as_tensor(np.asarray(positive)))
        self.register_buffer("levels", torch.arange(2, dtype=torch.float64))

    @property
    def noise_size(self) -> int:
        """One uniform decides."""
        return 1

    @property
    def support(self) -> torch.Tensor:
        """Negative and positive."""
        return self.levels

    def _chance(self, pa) -> torch.Tensor:
        if not self.parents:
            return self.positive
        return self.positive[torch.broadcast_tensors(*(pa[p.name].long() for p in self.parents))]

    def log_probs(self, pa) -> torch.Tensor:
        """Returns the log-probability of both levels."""
        chance = self._chance(pa)
        return torch.stack([1 - chance, chance], -1).log()

    def log_prob(self, x, pa) -> torch.Tensor:
        """Returns the log-probability of `x`."""
        chance = self._chance(pa)
        return torch.where(x > 0, chance, 1 - chance).log()

    def prior(self, uniform) -> torch.Tensor:
        """Returns the uniform itself."""
        return uniform

    def predict(self, u, pa) -> torch.Tensor:
        """Returns positive for the uniforms at the top."""
        return (u[..., 0] > 1 - self._chance(pa)).double()

    def abduct(self, x, pa, uniform) -> torch.Tensor:
        """Returns a uniform from the part that gives `x`."""
        chance = self._chance(pa)[..., None].expand(*x.shape, 1)
        low = torch.where(x[..., None] > 0, 1 - chance, torch.zeros_like(chance))
        width = torch.where(x[..., None] > 0, chance, 1 - chance)
        return low + width * uniform.clamp(1e-6, 1 - 1e-6)

    def transition(self, x, pa, pa_star) -> torch.Tensor:
        """Returns the probability of both levels under other parents, given `x` under these."""
        now, then = torch.broadcast_tensors(self._chance(pa), self._chance(pa_star), x)[:2]
        up = torch.where(
            x > 0, torch.minimum(now, then) / now, (then - now).clamp(min=0.0) / (1 - now)
        )
        return torch.stack([1 - up, up], -1)


@dataclass(frozen=True)
class Case:
    """A model, the variables that the fit observed, and one question's cause and outcome."""

    model: NoisyModel
    observed: tuple[str, ...]
    cause: str
    outcome: str

    @property
    def shown(self) -> np.ndarray:
        """Returns the distribution of what is observed among the selected."""
        return self.model.distribution(self.observed)

    def parents(self, name: str) -> tuple[str, ...]:
        """Returns what the fitted mechanism of a variable reads."""
        return tuple(p for p in self.model.graph.parents(name) if p in self.observed)

    def positive(self, name: str) -> np.ndarray:
        """Returns p(name = positive | parents) among the selected, one axis per parent."""
        kept = (*self.parents(name), name)
        both = self.shown.sum(tuple(i for i, v in enumerate(self.observed) if v not in kept))
        left = [v for v in self.observed if v in kept]
        both = both.transpose([left.index(v) for v in kept])
        return both[..., 1] / both.sum(-1)

    def moved(self) -> list[str]:
        """Returns what the cause reaches along fitted arrows and leads to the outcome."""
        below, above = {self.cause}, {self.outcome}
        order = [v for v in self.model.graph.topological_order if v in self.observed]
        for v in order:
            if below.intersection(self.parents(v)):
                below.add(v)
        for v in reversed(order):
            if any(v in self.parents(w) for w in above):
                above.add(v)
        return [v for v in order if v in below & above and v != self.cause]

    def weigh(self, rows: np.ndarray, value: int | None, given: Mapping[str, int]) -> np.ndarray:
        """Returns the SCM's weight of what the cause leaves alone, from weights of rows."""
        places = {v: i for i, v in enumerate(self.observed)}
        gone = tuple(places[v] for v in (self.cause, *self.moved()))
        weight = rows
        for v, level in given.items():
            weight = np.where(np.indices(rows.shape)[places[v]] == level, weight, 0.0)
        weight = weight.sum(gone, keepdims=True)
        if value is not None:
            alone = tuple(slice(1 if i in gone else None) for i in range(rows.ndim))
            weight = weight * self._table(self.cause, {}, value)[alone]
        return weight / weight.sum()

    def scm(self, weight: np.ndarray, hears: Hears) -> float:
        """Returns the SCM's probability of the outcome, summed over its tables."""
        total = weight
        places = {v: i for i, v in enumerate(self.observed)}
        grid = np.indices((2,) * len(self.observed))
        for v in self.moved():
            up = self._table(v, hears, 1)
            total = total * np.where(grid[places[v]] == 1, up, 1 - up)
        cause = places[self.cause]
        total = total.take([0], axis=cause) if total.shape[cause] > 1 else total
        return float(total.take(1, axis=places[self.outcome]).sum())

    def _table(self, name: str, hears: Hears, level: int) -> np.ndarray:
        """Returns the probability of a level for every value of what is observed."""
        grid = dict(zip(self.observed, np.indices((2,) * len(self.observed)), strict=True))
        if name in hears and self.cause in self.parents(name):
            grid[self.cause] = np.full_like(grid[self.cause], hears[name])
        table = self.positive(name)[tuple(grid[p] for p in self.parents(name))]
        table = np.broadcast_to(table, (2,) * len(self.observed))
        return table if level else 1 - table

    def fitted(self) -> cx.FlowSCM:
        """Returns the SCM whose mechanisms are the conditionals of the selected."""
        graph = self.model.graph
        mechanisms = {}
        for v in graph.topological_order:
            if v in self.observed:
                parents = tuple(graph.variables[p] for p in self.parents(v))
                mechanisms[v] = TableMechanism(graph.variables[v], parents, self.positive(v))
        return cx.FlowSCM.from_mechanisms(graph, mechanisms)

    def rows(self) -> pd.DataFrame:
        """Returns one row per configuration of what is observed."""
        codes = np.indices((2,) * len(self.observed)).reshape(len(self.observed), -1)
        levels = np.array(LEVELS)
        return pd.DataFrame({v: levels[codes[i]] for i, v in enumerate(self.observed)})


@dataclass(frozen=True)
class Held:
    """One effect of the library beside what it is to be.

    Arguments:
        effect: The library's answer on rows of equal weight.
        figure: The SCM's figure, by weights of rows; None if it asks of two worlds of one variable.
        truth: The effect in the model, by who is asked about (worlds that count).
        groups: Whether it is the difference of observed groups.
    """

    effect: Effect
    figure: Callable[[np.ndarray], float] | None
    truth: Callable[[np.ndarray], float]
    groups: bool = False


def effects(case: Case, rng: np.random.Generator) -> list[Held]:
    """Returns every effect of the cause on the outcome, with figure and truth."""
    scm, rows = case.fitted(), case.rows()
    model, x, y = case.model, case.cause, case.outcome
    moved = case.moved()
    spurious = is_tied(case)
    all_of = {v: {u: v for u in moved} for v in (0, 1)}
    mixed = {v: {u: v if u == y else 1 - v for u in moved} for v in (0, 1)}

    def scm_mean(hears: Hears, value: int | None = None, given: Mapping[str, int] | None = None):
        weighs = value if spurious else None
        return lambda rows: case.scm(case.weigh(rows, weighs, given or {}), hears)

    def true_mean(patients, value: int, otherwise: int | None = None):
        fixed = {} if otherwise is None else model.under({x: otherwise}, moved[:-1])
        return model.mean(patients, model.under({x: value, **fixed}, [y])[y])

    def among(value: int, patients):
        return patients * (model.values[x] == value)

    def less(one, other):
        return lambda argument: one(argument) - other(argument)

    te = Held(
        ate(scm, rows, x, y, **FEW),
        less(scm_mean(all_of[1]), scm_mean(all_of[0])),
        lambda p: true_mean(p, 1) - true_mean(p, 0),
    )
    found = [te]
    alone = [v for v in case.observed if v != x and v not in model.graph.descendants(x)]
    if alone:
        chosen = rng.choice(alone, rng.integers(1, 1 + min(2, len(alone))), replace=False)
        given = {v: int(rng.integers(2)) for v in chosen.tolist()}

        def alike(patients):
            for v, level in given.items():
                patients = patients * (model.values[v] == level)
            return patients

        found.append(
            Held(
                cate(scm, rows, x, y, {v: LEVELS[level] for v, level in given.items()}, **FEW),
                less(scm_mean(all_of[1], None, given), scm_mean(all_of[0], None, given)),
                lambda p: true_mean(alike(p), 1) - true_mean(alike(p), 0),
            )
        )
    found.append(
        Held(
            ett(scm, rows, x, y, **FEW),
            less(scm_mean(all_of[1], 1), scm_mean(all_of[0], 1)),
            lambda p: true_mean(among(1, p), 1) - true_mean(among(1, p), 0),
        )
    )
    natural = natural_effects(scm, rows, x, y, **FEW)
    m0, m1 = scm_mean(all_of[0]), scm_mean(all_of[1])
    d0, d1 = scm_mean(mixed[0]), scm_mean(mixed[1])  # the outcome hears one, the others the other
    found += [
        Held(natural.total, te.figure, te.truth),
        Held(natural.direct, less(d1, m0), lambda p: true_mean(p, 1, 0) - true_mean(p, 0)),
        Held(natural.indirect, less(d0, m0), lambda p: true_mean(p, 0, 1) - true_mean(p, 0)),
        Held(natural.reverse, less(d1, m1), lambda p: true_mean(p, 1, 0) - true_mean(p, 1)),
    ]
    found += paths(case, scm, rows, scm_mean, rng)
    ctf = ctf_effects(scm, rows, x, y, **FEW)
    y0_in0, y0_in1 = scm_mean(all_of[0], 0), scm_mean(all_of[0], 1)
    y1_in1, mixed_in1 = scm_mean(all_of[1], 1), scm_mean(mixed[0], 1)
    found += [
        Held(
            ctf.variation,
            less(y1_in1, y0_in0),
            lambda p: (
                model.mean(among(1, p), model.values[y]) - model.mean(among(0, p), model.values[y])
            ),
            groups=True,
        ),
        Held(
            ctf.direct,
            less(mixed_in1, y1_in1),
            lambda p: true_mean(among(1, p), 0, 1) - true_mean(among(1, p), 1),
        ),
        Held(
            ctf.indirect,
            less(mixed_in1, y0_in1),
            lambda p: true_mean(among(1, p), 0, 1) - true_mean(among(1, p), 0),
        ),
        Held(
            ctf.spurious,
            less(y0_in1, y0_in0),
            lambda p: true_mean(among(1, p), 0) - true_mean(among(0, p), 0),
        ),
    ]
    return found


def paths(case: Case, scm, rows, scm_mean, rng: np.random.Generator) -> list[Held]:
    """Returns the effect along some causal paths, where all of them are recorded."""
    graph, model, x, y = case.model.graph, case.model, case.cause, case.outcome
    if len(case.observed) < len(graph.variables):
        return []
    every = [[x]]
    done = []
    while every:
        path = every.pop()
        for v in graph.children(path[-1]):
            (done if v == y else every).append([*path, v])
    some = [p for p in done if rng.random() < 0.5]
    effect = path_specific_effect(scm, rows, x, y, paths=some, **FEW)
    hears: dict[str, set[bool]] = {}
    for p in done:
        hears.setdefault(p[1], set()).add(p in some)
    if any(len(h) > 1 for h in hears.values()):  # one variable in two worlds
        return [Held(effect, None, lambda p: np.nan)]
    along = {v: int(h.pop()) for v, h in hears.items()}
    before = dict.fromkeys(along, 0)
    return [
        Held(
            effect,
            lambda w: scm_mean(along)(w) - scm_mean(before)(w),
            lambda p: (
                model.mean(p, model.under({}, [y], {x: along})[y])
                - model.mean(p, model.under({}, [y], {x: before})[y])
            ),
        )
    ]


def is_tied(case: Case) -> bool:
    """Whether the SCM has a path between cause and outcome that is not causal, by its parents alone."""
    outside = {case.cause}  # ancestors of the cause
    while True:
        more = {p for v in outside for p in case.parents(v)} - outside
        if not more:
            break
        outside |= more
    reading = {p for v in case.moved() for p in case.parents(v)}
    reading -= {case.cause, *case.moved()}
    while True:
        more = {p for v in reading for p in case.parents(v)} - reading - {case.cause}
        if not more:
            break
        reading |= more
    return bool(outside & reading)


def bounds(case: Case, patients: np.ndarray) -> list[tuple[float, float]]:
    """Returns the bounds of PN, PS and PNS (Tian and Pearl) for the patients that count."""
    model, x, y = case.model, case.cause, case.outcome
    y1, y0 = (model.mean(patients, model.under({x: v}, [y])[y]) for v in (1, 0))
    seen_x, seen_y = model.values[x], model.values[y]
    xy, x_not = (model.mean(patients, seen_x * (seen_y == level)) for level in (1, 0))
    not_y, neither = (model.mean(patients, (1 - seen_x) * (seen_y == level)) for level in (1, 0))
    p = xy + not_y
    return [
        (max(0, (p - y0) / xy), min(1, (1 - y0 - neither) / xy)),
        (max(0, (y1 - p) / neither), min(1, (y1 - xy) / neither)),
        (
            max(0, y1 - y0, p - y0, y1 - p),
            min(y1, 1 - y0, xy + neither, y1 - y0 + x_not + not_y),
        ),
    ]


def scm_bounds(case: Case, rows: np.ndarray) -> list[tuple[float, float]]:
    """Returns the same from the SCM's tables."""
    moved = case.moved()
    hears = [dict.fromkeys(moved, v) for v in (0, 1)]
    places = {v: i for i, v in enumerate(case.observed)}
    share = [0.5, 0.5]
    weights = [case.weigh(rows, None, {})] * 2
    if is_tied(case):
        gone = tuple(places[v] for v in (case.cause, *moved))
        alone = rows.sum(gone, keepdims=True)
        both = [float((alone * case._table(case.cause, {}, v)).sum()) for v in (0, 1)]
        # what the cause does not change is counted once for each of its own values in the table
        share = [b / sum(both) for b in both]
        weights = [case.weigh(rows, v, {}) for v in (0, 1)]
    y_in = [
        [case.scm(weights[group], hears[v]) * share[group] for v in (0, 1)] for group in (0, 1)
    ]
    y0, y1 = y_in[0][0] + y_in[1][0], y_in[0][1] + y_in[1][1]
    xy, not_y = y_in[1][1], y_in[0][0]
    x_not, neither = share[1] - xy, share[0] - not_y
    p = xy + not_y
    return [
        (max(0, (p - y0) / xy), min(1, (1 - y0 - neither) / xy)),
        (max(0, (y1 - p) / neither), min(1, (y1 - xy) / neither)),
        (
            max(0, y1 - y0, p - y0, y1 - p),
            min(y1, 1 - y0, xy + neither, y1 - y0 + x_not + not_y),
        ),
    ]


def hold(case: Case, rng: np.random.Generator) -> Counter:
    """Returns what one question adds to the counts."""
    total: Counter = Counter(questions=1)
    shown, model = case.shown, case.model
    equal = np.full(shown.shape, 1 / shown.size)
    everybody, selected = model.weight, model.weight * model.selected
    for held in effects(case, rng):
        name, basis = held.effect.name.split(" (")[0], held.effect.claim.basis
        total["labels"] += 1
        total[f"{name}: {basis}"] += 1
        total[f"label {basis}"] += 1
        total["named formula"] += held.effect.claim.estimand is not None
        if held.figure is None:
            total["false label"] += basis in ("data", "construction")
            continue
        if basis in ("data", "model"):
            total["figures"] += 1
            total["false figure"] += abs(held.figure(equal) - held.effect.estimate) > CLOSE
        truth = held.truth(selected if held.groups else everybody)
        if basis == "data":
            false = abs(held.figure(shown) - truth) > CLOSE
        elif basis == "construction":
            false = max(abs(held.truth(w)) for w in (everybody, selected)) > CLOSE
        else:
            false = False
            total["model, and true"] += abs(held.figure(shown) - truth) <= CLOSE
        if false:
            total["false label"] += 1
            total[f"{name}: {basis}, false"] += 1
    pns = causation(case.fitted(), case.rows(), case.cause, case.outcome, **FEW)
    three = (pns.necessity, pns.sufficiency, pns.both)
    ours = scm_bounds(case, equal)
    total["figures"] += 3
    total["false figure"] += sum(
        np.abs(np.subtract(e.bounds, b)).max() > CLOSE for e, b in zip(three, ours, strict=True)
    )
    if "its bounds follow from data" in pns.both.statement:
        total["bounds said to follow from data"] += 3
        off = np.abs(np.subtract(scm_bounds(case, shown), bounds(case, everybody))).max(1)
        total["false bounds"] += int((off > CLOSE).sum())
    return total


def labels(graphs: int, most: int, seed: int) -> dict[str, int]:
    """Returns the counts over random graphs."""
    rng = np.random.default_rng(seed)
    total: Counter = Counter({"false label": 0, "false bounds": 0, "false figure": 0})
    for i in range(graphs + graphs // 2):
        graph = random_graph(rng, most, selected=i < graphs)
        total["graphs with selection" if i < graphs else "graphs without"] += 1
        names = rng.permutation(list(graph.variables)).tolist()
        pairs = [(x, y) for x in names for y in names if y in graph.descendants(x)]
        between = {(x, y): len({*graph.descendants(x)} & {*graph.ancestors(y)}) for x, y in pairs}
        pairs.sort(key=between.__getitem__)
        for x, y in dict.fromkeys(pairs[-1:] + pairs[:1]):  # most between them, and least
            others = [v for v in names if v not in (x, y)]
            lost = others[:1] if rng.random() < 0.25 and len(others) > 1 else []
            observed = tuple(v for v in names if v not in lost)
            for _ in range(MODELS):
                case = Case(NoisyModel(graph, rng), observed, x, y)
                if y in case.moved():
                    total.update(hold(case, rng))
    return {key: int(count) for key, count in total.items()}


def markdown(report: dict) -> str:
    """Returns the counts as tables."""
    found = report["counts"]
    lines = [
        "graphs with selection",
        "graphs without",
        "questions",
        "labels",
        "label data",
        "label construction",
    ]
    lines += ["label model", "label coupling", "false label", "named formula", "model, and true"]
    lines += ["bounds said to follow from data", "false bounds", "figures", "false figure"]
    names = sorted({key.split(": ")[0] for key in found if ": " in key})
    kinds = ("data", "construction", "model", "coupling")
    return "\n".join(
        [
            "Labels of effects (`python benchmarks/labels.py`): random graphs with hidden causes, "
            f"seed {report['seed']}, at most {report['most']} variables, {MODELS} exact "
            "models each.",
            "",
            "| | count |",
            "|---|---|",
            *(f"| {key} | {found.get(key, 0):,} |" for key in lines),
            "",
            "| effect | data | of these false | zero by construction | of these false | model | "
            "coupling |",
            "|---|---|---|---|---|---|---|",
            *(
                f"| {name} | "
                + " | ".join(
                    f"{found.get(f'{name}: {kind}', 0):,}"
                    + (
                        f" | {found.get(f'{name}: {kind}, false', 0):,}"
                        if kind in kinds[:2]
                        else ""
                    )
                    for kind in kinds
                )
                + " |"
                for name in names
            ),
            "",
            f"{report['date']}, Python {report['versions']['python']}, "
            f"numpy {report['versions']['numpy']}, {report['machine']}.",
        ]
    )


def main() -> None:
    """Asks, prints the counts, and writes them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graphs", type=int, default=1000)
    parser.add_argument("--most", type=int, default=5, help="variables of a graph")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path())
    given = parser.parse_args()
    report = {
        "date": datetime.date.today().isoformat(),
        "machine": platform.machine(),
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "seed": given.seed,
        "most": given.most,
        "counts": labels(given.graphs, given.most, given.seed),
    }
    given.output.mkdir(parents=True, exist_ok=True)
    with atomic_path(given.output / "labels.json") as path:
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    with atomic_path(given.output / "labels.md") as path:
        path.write_text(markdown(report) + "\n", encoding="utf-8")
    print(markdown(report))


if __name__ == "__main__":
    main()
