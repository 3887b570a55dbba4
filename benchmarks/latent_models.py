"""Random graphs with hidden causes and selection, and models of them with everything written out.

What a graph's verdicts are held against. Nothing here reads the library's reasoning: the recursion
of Bareinboim and Tian (2015) is written as in the paper, over sets of names, and every model is
enumerated with its hidden causes and its selection, so that what the selected show and what an
intervention would do are both exact.
"""

import argparse
import datetime
import json
import platform
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from cxrcausal.files import atomic_path
from cxrcausal.graph import CausalGraph, HiddenCause, Selection, Variable
from cxrcausal.graph.identification.estimand import Conditional, Formula, Product, Ratio, Sum

NOISE = 3
"""How many values the noise of a variable has."""


def random_graph(
    rng: np.random.Generator, most: int = 6, fewest: int = 3, *, selected: bool = True
) -> CausalGraph:
    """Returns a graph of binary variables v0, v1, … with hidden causes and one or two selections.

    Arguments:
        rng: Where it comes from.
        most: The most variables.
        fewest: The fewest.
        selected: Whether there are selections.
    """
    names = [f"v{i}" for i in range(rng.integers(fewest, most + 1))]
    share = rng.uniform(0.2, 0.7)
    edges = [pair for pair in combinations(names, 2) if rng.random() < share]
    selection = [
        Selection(f"s{i}", tuple(rng.choice(names, rng.integers(1, 3), replace=False).tolist()))
        for i in range(1 + (rng.random() < 0.3) if selected else 0)
    ]
    nodes = [*names, *(s.name for s in selection)]
    hidden = [
        HiddenCause(f"h{i}", tuple(rng.choice(nodes, rng.integers(2, 4), replace=False).tolist()))
        for i in range(rng.integers(0, 4))
    ]
    order = rng.permutation(names).tolist()  # the order of a file is not the causal one
    return CausalGraph(
        [Variable(v, "binary", ("negative", "positive")) for v in order],
        edges,
        name="random",
        hidden=hidden,
        selection=selection,
    )


class LatentModel:
    """A graph's nodes, hidden causes and selections included, binary, with random probabilities.

    Arguments:
        graph: The graph.
        rng: Where the probabilities come from.
    """

    def __init__(self, graph: CausalGraph, rng: np.random.Generator) -> None:
        network = graph.to_networkx(hidden=True)
        self.nodes = list(network.nodes)
        self.recorded = [v for v in self.nodes if v in graph.variables]
        self.selected = [s.name for s in graph.selection]
        self.parents = {v: list(network.predecessors(v)) for v in self.nodes}
        self.chance = {v: rng.uniform(0.1, 0.9, 2 ** len(p)) for v, p in self.parents.items()}

    def distribution(self, do: tuple[str, ...] = (), selected: bool = False) -> np.ndarray:
        """Returns p(recorded), or p(the others | do) for every value of what is set, one axis
        each.
        """
        total = np.ones((2,) * len(self.nodes))
        grid = dict(zip(self.nodes, np.indices(total.shape), strict=True))
        for v in self.nodes:
            if v not in do:
                code = sum((grid[p] << i for i, p in enumerate(self.parents[v])), 0 * grid[v])
                positive = self.chance[v][code]
                total = total * np.where(grid[v] == 1, positive, 1 - positive)
        for s in self.selected if selected else ():
            total = total * grid[s]
        gone = tuple(i for i, v in enumerate(self.nodes) if v not in self.recorded)
        total = total.sum(axis=gone)
        return total / total.sum() if selected else total

    def effect(self, x: tuple[str, ...], y: tuple[str, ...], given: tuple[str, ...] = ()):
        """Returns p(y | do(x), given) among all, one axis per recorded variable."""
        kept = {*x, *y, *given}
        rest = tuple(i for i, v in enumerate(self.recorded) if v not in kept)
        both = self.distribution(x).sum(axis=rest, keepdims=True)
        over = tuple(self.recorded.index(v) for v in y)
        return both / both.sum(axis=over, keepdims=True)

    def error(
        self,
        formula: Formula,
        x: tuple[str, ...],
        y: tuple[str, ...],
        given: tuple[str, ...] = (),
        selected: bool = True,
    ) -> float:
        """Returns how far a formula, read on the data, is from the effect among all."""
        claimed = value_of(formula, self.distribution(selected=selected), self.recorded)
        return float(np.abs(claimed - self.effect(x, y, given)).max())


def value_of(formula: Formula, data: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Returns a formula's value on the distribution of `names`, one axis each, 1 long if it is no
    part.
    """
    match formula:
        case Conditional(head, given):
            rest = [i for i, v in enumerate(names) if v not in (*head, *given)]
            both = data.sum(axis=tuple(rest), keepdims=True)
            return both / both.sum(axis=tuple(names.index(v) for v in head), keepdims=True)
        case Product(terms):
            total = np.ones((1,) * len(names))
            for term in terms:
                total = total * value_of(term, data, names)
            return total
        case Ratio(above, below):
            return value_of(above, data, names) / value_of(below, data, names)
        case Sum(over, of):
            total = value_of(of, data, names)
            for v in over:
                axis = names.index(v)
                repeats = 2 // total.shape[axis]
                total = repeats * total.sum(axis=axis, keepdims=True)
            return total


class NoisyModel:
    """A graph's nodes as functions of their causes and of noise: every world is known.

    Arguments:
        graph: The graph.
        rng: Where functions and probabilities come from.

    Attributes:
        weight: How probable each world is (worlds,): a value of each hidden cause and each noise.
        values: Each node's value in each world.
        selected: Whether it is selected in each world.
    """

    def __init__(self, graph: CausalGraph, rng: np.random.Generator) -> None:
        self.graph = graph
        network = graph.to_networkx(hidden=True)
        hidden = {h.name for h in graph.hidden}
        order = [*hidden, *graph.topological_order, *(s.name for s in graph.selection)]
        self.order = [v for v in order if v not in hidden]
        self.parents = {v: list(network.predecessors(v)) for v in self.order}
        sizes = [2 if v in hidden else NOISE for v in order]
        grid = np.indices(sizes).reshape(len(order), -1)
        self.noise = dict(zip(order, grid, strict=True))
        self.weight = np.ones(grid.shape[1])
        for v, size in zip(order, sizes, strict=True):
            share = rng.uniform(0.5, 1.5, size)
            self.weight *= (share / share.sum())[self.noise[v]]
        # Positive under one or two of the three noises, so that every value occurs.
        patterns = np.array([p for p in np.ndindex((2,) * NOISE) if 0 < sum(p) < NOISE])
        self.tables = {
            v: patterns[rng.integers(len(patterns), size=2 ** len(pa))]
            for v, pa in self.parents.items()
        }
        self.hidden = {h: self.noise[h] for h in hidden}
        self.values = self.under({}, self.order)
        self.selected = np.ones(len(self.weight))
        for s in graph.selection:
            self.selected *= self.values[s.name]

    def under(
        self,
        do: "dict[str, int | np.ndarray]",
        asked: "list[str]",
        reads: "dict[str, dict[str, int]] | None" = None,
    ) -> "dict[str, np.ndarray]":
        """Returns the values of `asked` in every world, had some nodes been set.

        Arguments:
            do: What is set, to one value or to one in each world.
            asked: The nodes.
            reads: Of a cause, which value each node reads that reads it.
        """
        found = dict(self.hidden)
        for v in self.order:
            if v in do:
                found[v] = np.broadcast_to(do[v], self.weight.shape)
                continue
            code = np.zeros(len(self.weight), dtype=int)
            for i, p in enumerate(self.parents[v]):
                other = (reads or {}).get(p, {})
                code |= (np.full_like(code, other[v]) if v in other else found[p]) << i
            found[v] = self.tables[v][code, self.noise[v]]
        return {v: found[v] for v in asked}

    def mean(self, patients: np.ndarray, value: np.ndarray) -> float:
        """Returns the mean of a value over worlds, by how much each counts."""
        return float(patients @ value / patients.sum())

    def distribution(self, names: tuple[str, ...]) -> np.ndarray:
        """Returns the distribution of `names` among the selected, one axis each."""
        total = np.zeros((2,) * len(names))
        weight = self.weight * self.selected
        np.add.at(total, tuple(self.values[v] for v in names), weight)
        return total / weight.sum()


def recovers(graph: CausalGraph, x: tuple[str, ...], y: tuple[str, ...]) -> bool:
    """Returns whether the recursion RC recovers p(y | do(x)) from data of the selected."""
    network = graph.to_networkx(hidden=True)
    hidden = {h.name for h in graph.hidden}
    nodes = set(network.nodes) - hidden
    ends = [set(network.successors(h)) for h in hidden]
    selection = {s.name for s in graph.selection}

    def above(names: set[str], among: set[str]) -> set[str]:
        found = names & among
        while True:
            more = {p for v in found for p in network.predecessors(v) if p in among} - found
            if not more:
                return found
            found = found | more

    def components(among: set[str]) -> list[set[str]]:
        groups = [{v} for v in among]
        for tied in (e & among for e in ends):
            joined = [g for g in groups if g & tied]
            groups = [g for g in groups if not g & tied]
            groups += [set().union(*joined)] if joined else []
        return groups

    def identify(part: set[str], around: set[str]) -> bool:
        needed = above(part, around)
        if needed == part:
            return True
        if needed == around:
            return False
        return identify(part, next(c for c in components(needed) if part <= c))

    def recover(part: set[str], among: set[str]) -> bool:
        among = above(part | selection, among)
        causes = above(selection, among)
        clean = [c for c in components(among) if not c & causes]
        if not clean:
            return False
        for group in clean:
            if part <= group:
                return identify(part, group)
        return recover(part, among.difference(*clean))

    wanted = above(set(y), nodes - set(x))
    return all(recover(part, nodes) for part in components(wanted))


def publish(
    name: str,
    about: str,
    most: int,
    count: Callable[[int, int, int], dict[str, int]],
    markdown: Callable[[dict], str],
) -> None:
    """Reads a script's options, counts, prints the counts, and writes them as JSON and markdown.

    Arguments:
        name: The name of both files.
        about: What the script does, for its help.
        most: How many variables a graph has at most, unless asked otherwise.
        count: Returns the counts from the number of graphs, `most` and the seed.
        markdown: Returns a report as markdown.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--graphs", type=int, default=1000)
    parser.add_argument("--most", type=int, default=most, help="variables of a graph")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path())
    given = parser.parse_args()
    report = {
        "date": datetime.date.today().isoformat(),
        "machine": platform.machine(),
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "seed": given.seed,
        "most": given.most,
        "counts": count(given.graphs, given.most, given.seed),
    }
    given.output.mkdir(parents=True, exist_ok=True)
    with atomic_path(given.output / f"{name}.json") as path:
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    with atomic_path(given.output / f"{name}.md") as path:
        path.write_text(markdown(report) + "\n", encoding="utf-8")
    print(markdown(report))
