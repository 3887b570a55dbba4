"""Small causal models with all probabilities written out: what is observed, and what would follow.

Every node of a graph, hidden causes and selections included, is binary, with a random conditional
distribution given its parents. Tables are arrays with one axis per node.
"""

import itertools

import numpy as np

from cxrcausal.graph import CausalGraph
from cxrcausal.graph.identification.estimand import Conditional, Product, Ratio, Sum


class Distribution:
    """The joint distribution of a graph's recorded variables under random mechanisms."""

    def __init__(self, graph: CausalGraph, seed: int) -> None:
        network = graph.to_networkx(hidden=True)
        draw = np.random.default_rng(seed)
        self.nodes = list(network.nodes)
        self.observed = [v for v in self.nodes if v in graph.variables]
        self.selected = [s.name for s in graph.selection]
        self.parents = {v: list(network.predecessors(v)) for v in self.nodes}
        self.chance = {v: draw.uniform(0.1, 0.9, 2 ** len(pa)) for v, pa in self.parents.items()}

    def joint(self, do=(), selected=False) -> np.ndarray:
        """Returns p(observed), or p(the others | do(x)) for every value of x along its axes."""
        total = np.ones((2,) * len(self.nodes))
        grid = dict(zip(self.nodes, np.indices(total.shape), strict=True))
        for v in self.nodes:
            if v not in do:
                code = sum((grid[p] << i for i, p in enumerate(self.parents[v])), 0 * grid[v])
                total = total * np.where(
                    grid[v] == 1, self.chance[v][code], 1 - self.chance[v][code]
                )
        if selected:
            for s in self.selected:
                total = total.take([1], axis=self.nodes.index(s))
        gone = tuple(i for i, v in enumerate(self.nodes) if v not in self.observed)
        total = total.sum(axis=gone)
        return total / total.sum() if selected else total

    def effect(self, x, y) -> np.ndarray:
        """Returns p(y | do(x)) with axes (*x, *y)."""
        return self.marginal(self.joint(do=x), [*x, *y])

    def marginal(self, joint, names) -> np.ndarray:
        rest = tuple(i for i, v in enumerate(self.observed) if v not in names)
        kept = [v for v in self.observed if v in names]
        return joint.sum(axis=rest).transpose([kept.index(n) for n in names])

    def evaluate(self, formula, joint, names, seed=0) -> np.ndarray:
        """Returns a formula's value for every value of `names`; other free names are arbitrary."""
        draw = np.random.default_rng(seed)
        whole = _value(formula, self, joint)
        index = tuple(
            slice(None) if v in names else draw.integers(whole.shape[i])
            for i, v in enumerate(self.observed)
        )
        kept = [v for v in self.observed if v in names]
        result = np.broadcast_to(whole[index], (2,) * len(kept))
        return result.transpose([kept.index(n) for n in names])


def _value(formula, model, joint):
    """Returns the value with one axis per observed variable, of length 1 where none matters."""
    match formula:
        case Conditional(head, given):
            rest = tuple(i for i, v in enumerate(model.observed) if v not in (*head, *given))
            both = joint.sum(axis=rest, keepdims=True)
            over = tuple(model.observed.index(v) for v in head)
            return both / both.sum(axis=over, keepdims=True)
        case Product(terms):
            total = np.ones((1,) * len(model.observed))
            for term in terms:
                total = total * _value(term, model, joint)
            return total
        case Ratio(above, below):
            return _value(above, model, joint) / _value(below, model, joint)
        case Sum(over, of):
            total = _value(of, model, joint)
            for v in over:
                axis = model.observed.index(v)
                repeats = 2 // total.shape[axis]
                total = repeats * total.sum(axis=axis, keepdims=True)
            return total


def subsets(names):
    names = list(names)
    return itertools.chain.from_iterable(
        itertools.combinations(names, n) for n in range(len(names) + 1)
    )
