"""Every label that an effect is given, held against exact models with hidden causes and selection.

    python benchmarks/labels.py [--graphs 1000] [--most 5] [--seed 0] [--output FOLDER]

Two of three random graphs have selections, all may have hidden causes. Each gets models in which
every variable, hidden cause and selection is written out as a function of its causes and of noise
with three values: so every world of every patient is known, and which patients are selected. An
SCM over the graph's own parents is fitted to the selected without error (each mechanism is their
conditional probability), now and then without one variable that nobody recorded. It is asked for
every effect there is of every cause on one outcome, and

- what is labelled `data` is to be the effect among all (TV: the difference among the selected),
- what is labelled `construction` is to be zero among all and among the selected,
- a formula that a label names as identifying is to give the effect among all,
- bounds that are said to follow from data are to be those of all,

to 1e-9. The SCM's figure on the distribution of the selected is computed here by summing its
tables; that this is the library's figure is checked on rows of equal weight. Writes JSON and
markdown.
"""

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cxrcausal.effect import (
    Effect,
    ate,
    cate,
    causation,
    ctf_effects,
    ett,
    natural_effects,
    path_specific_effect,
)
from cxrcausal.graph.identification.estimand import Conditional, Product

from exact_scm import LEVELS, Case, bounds, is_tied, scm_bounds  # isort: skip  (beside this one)
from latent_models import NoisyModel, publish, random_graph  # isort: skip

CLOSE = 1e-9
MODELS = 2
Figure = Callable[[np.ndarray], float]
"""From how much each row, or each patient, counts."""
FEW = {"groups": None, "resamples": 2}


@dataclass(frozen=True)
class Held:
    """One effect of the library beside what it is to be.

    Arguments:
        effect: The library's answer on rows of equal weight.
        figure: The SCM's figure, by weights of rows; None if it asks of two worlds of one
            variable.
        truth: The effect in the model, by who is asked about (worlds that count).
        groups: Whether it is the difference of observed groups.
        named: The effect by the formula that a label names, read on the data of the selected.
    """

    effect: Effect
    figure: Figure | None
    truth: Figure
    groups: bool = False
    named: Callable[[], float] | None = None


class Asked:
    """What is asked of one case: the SCM's figures by weights of rows, the truth by patients.

    Arguments:
        case: The case.
        rng: What is chosen at random.
    """

    def __init__(self, case: Case, rng: np.random.Generator) -> None:
        self.case, self.model, self.rng = case, case.model, rng
        self.scm, self.rows, self.moved = case.fitted(), case.rows(), case.moved()
        self.spurious = is_tied(case)
        y = case.outcome
        self.all_of = {v: dict.fromkeys(self.moved, v) for v in (0, 1)}
        self.mixed = {v: {u: v if u == y else 1 - v for u in self.moved} for v in (0, 1)}

    def ask(self, question: Callable, *more, **options):
        """Returns the library's answer on rows of equal weight."""
        return question(
            self.scm, self.rows, self.case.cause, self.case.outcome, *more, **FEW, **options
        )

    def figure(self, reads, value: int | None = None, given=None) -> Figure:
        """Returns the SCM's mean where variables read that, among those with a value."""
        weighs = value if self.spurious else None
        return lambda rows: self.case.scm(self.case.weigh(rows, weighs, given or {}), reads)

    def truth(self, value: int, otherwise: int | None = None, among: int | None = None) -> Figure:
        """Returns the true mean under a value, what lies between being as under another."""
        x, y, model = self.case.cause, self.case.outcome, self.model

        def mean(patients: np.ndarray) -> float:
            if among is not None:
                patients = patients * (model.values[x] == among)
            fixed = {} if otherwise is None else model.under({x: otherwise}, self.moved[:-1])
            return model.mean(patients, model.under({x: value, **fixed}, [y])[y])

        return mean

    def by_formula(self, given: dict[str, int]) -> float:
        """Returns the effect by the formula that identifies it."""
        case = self.case
        formula = case.recorded().identifiable(case.cause, case.outcome, list(given)).formula
        where = {**given, case.outcome: 1}
        return case.at(formula, {**where, case.cause: 1}) - case.at(
            formula, {**where, case.cause: 0}
        )

    def by_formula_of_treated(self) -> float:
        """Returns the effect among the treated by a back-door set, or by what the average
        leaves.
        """
        case, x, y = self.case, self.case.cause, self.case.outcome
        graph = case.recorded()
        sets = graph.adjustment_sets(x, y, most=1).back_door
        seen = case.at(Conditional((y,), (x,)), {x: 1, y: 1})
        if sets and not set(sets[0]) & set(graph.descendants(x)):
            shares = Conditional(sets[0], (x,)) if sets[0] else Product(())
            outcome = Conditional((y,), (x, *sets[0]))
            without = sum(
                case.at(shares, {**row, x: 1}) * case.at(outcome, {**row, x: 0, y: 1})
                for values in itertools.product((0, 1), repeat=len(sets[0]))
                for row in [dict(zip(sets[0], values, strict=True))]
            )
            return seen - without
        average = case.at(graph.identifiable(x, y).formula, {x: 0, y: 1})
        both = case.at(Conditional((x, y)), {x: 0, y: 1})
        return seen - (average - both) / case.at(Conditional((x,)), {x: 1})

    def effects(self) -> list[Held]:
        """Returns every effect of the cause on the outcome."""
        return [*self.totals(), *self.natural(), *self.paths(), *self.disparity()]

    def totals(self) -> list[Held]:
        """Returns ATE, CATE and ETT."""
        all_of = self.all_of
        found = [
            Held(
                self.ask(ate),
                less(self.figure(all_of[1]), self.figure(all_of[0])),
                less(self.truth(1), self.truth(0)),
                named=lambda: self.by_formula({}),
            )
        ]
        graph, x, rng = self.model.graph, self.case.cause, self.rng
        alone = [v for v in self.case.observed if v != x and v not in graph.descendants(x)]
        if alone:
            chosen = rng.choice(alone, rng.integers(1, 1 + min(2, len(alone))), replace=False)
            given = {v: int(rng.integers(2)) for v in chosen.tolist()}
            levels: dict[str, object] = {v: LEVELS[level] for v, level in given.items()}
            if rng.random() < 0.25:  # alike in one variable only in that it has one of two levels
                pooled = str(chosen[0])
                del given[pooled]
                levels[pooled] = list(LEVELS)

            def alike(mean: Figure) -> Figure:
                values = self.model.values
                known = np.all([values[v] == level for v, level in given.items()], axis=0)
                return lambda patients: mean(patients * known)

            found.append(
                Held(
                    self.ask(cate, levels),
                    less(self.figure(all_of[1], None, given), self.figure(all_of[0], None, given)),
                    less(alike(self.truth(1)), alike(self.truth(0))),
                    named=None if len(given) < len(levels) else lambda: self.by_formula(given),
                )
            )
        treated = Held(
            self.ask(ett),
            less(self.figure(all_of[1], 1), self.figure(all_of[0], 1)),
            less(self.truth(1, among=1), self.truth(0, among=1)),
            named=self.by_formula_of_treated,
        )
        return [*found, treated]

    def natural(self) -> list[Held]:
        """Returns the natural effects."""
        found, truth = self.ask(natural_effects), self.truth
        m0, m1 = self.figure(self.all_of[0]), self.figure(self.all_of[1])
        d0, d1 = self.figure(self.mixed[0]), self.figure(self.mixed[1])
        mixed, case = self.mixed, self.case

        def by(reads, plain: int) -> Callable[[], float]:
            return lambda: case.by_factors(reads) - case.by_factors(self.all_of[plain])

        return [
            Held(
                found.total,
                less(m1, m0),
                less(truth(1), truth(0)),
                named=lambda: self.by_formula({}),
            ),
            Held(found.direct, less(d1, m0), less(truth(1, 0), truth(0)), named=by(mixed[1], 0)),
            Held(found.indirect, less(d0, m0), less(truth(0, 1), truth(0)), named=by(mixed[0], 0)),
            Held(found.reverse, less(d1, m1), less(truth(1, 0), truth(1)), named=by(mixed[1], 1)),
        ]

    def disparity(self) -> list[Held]:
        """Returns the parts of the difference between groups."""
        found, truth = self.ask(ctf_effects), self.truth
        model, seen = self.model, self.model.values[self.case.outcome]
        in0, in1 = (self.model.values[self.case.cause] == v for v in (0, 1))
        y0_in0, y0_in1 = self.figure(self.all_of[0], 0), self.figure(self.all_of[0], 1)
        y1_in1, mixed_in1 = self.figure(self.all_of[1], 1), self.figure(self.mixed[0], 1)
        mixed = truth(0, 1, among=1)
        return [
            Held(
                found.variation,
                less(y1_in1, y0_in0),
                lambda p: model.mean(p * in1, seen) - model.mean(p * in0, seen),
                groups=True,
            ),
            Held(found.direct, less(mixed_in1, y1_in1), less(mixed, truth(1, among=1))),
            Held(found.indirect, less(mixed_in1, y0_in1), less(mixed, truth(0, among=1))),
            Held(found.spurious, less(y0_in1, y0_in0), less(truth(0, among=1), truth(0, among=0))),
        ]

    def paths(self) -> list[Held]:
        """Returns the effect along some causal paths, where all of them are recorded."""
        graph, model, x, y = self.model.graph, self.model, self.case.cause, self.case.outcome
        if len(self.case.observed) < len(graph.variables):
            return []
        every, done = [[x]], []
        while every:
            path = every.pop()
            for v in graph.children(path[-1]):
                (done if v == y else every).append([*path, v])
        some = [p for p in done if self.rng.random() < 0.5]
        effect = self.ask(path_specific_effect, paths=some)
        reads: dict[str, set[bool]] = {}
        for p in done:
            reads.setdefault(p[1], set()).add(p in some)
        if any(len(h) > 1 for h in reads.values()):  # one variable in two worlds
            return [Held(effect, None, lambda p: np.nan)]
        along = {v: int(h.pop()) for v, h in reads.items()}
        before = dict.fromkeys(along, 0)
        after, without = (model.under({}, [y], {x: h})[y] for h in (along, before))
        return [
            Held(
                effect,
                less(self.figure(along), self.figure(before)),
                lambda p: model.mean(p, after) - model.mean(p, without),
                named=lambda: self.case.by_factors(along) - self.case.by_factors(before),
            )
        ]


def less(one: Figure, other: Figure) -> Figure:
    """Returns the difference of two figures."""
    return lambda argument: one(argument) - other(argument)


def hold(case: Case, rng: np.random.Generator) -> Counter:
    """Returns what one question adds to the counts."""
    total: Counter = Counter(questions=1)
    shown, model = case.shown, case.model
    equal = np.full(shown.shape, 1 / shown.size)
    everybody, selected = model.weight, model.weight * model.selected
    for held in Asked(case, rng).effects():
        name, basis = held.effect.name.split(" (")[0], held.effect.claim.basis
        total["labels"] += 1
        total[f"{name}: {basis}"] += 1
        total[f"label {basis}"] += 1
        if held.effect.claim.estimand is not None and held.named is not None:
            total["formula named"] += 1
            total["false formula"] += abs(held.named() - held.truth(everybody)) > CLOSE
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
    total: Counter = Counter(
        dict.fromkeys(("false label", "false bounds", "false figure", "false formula"), 0)
    )
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
    lines += ["label model", "label coupling", "false label"]
    lines += ["formula named", "false formula", "model, and true"]
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


if __name__ == "__main__":
    publish("labels", __doc__.splitlines()[0], 5, labels, markdown)
