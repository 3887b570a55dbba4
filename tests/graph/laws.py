"""Small causal models with all probabilities written out: what is seen, and what would follow.

Every node of a graph, hidden causes and selections included, is binary, with a random conditional
law given its parents. Tables are arrays with one axis per node.
"""

import itertools

import numpy as np

from cxrcausal.graph import CausalGraph
from cxrcausal.graph.identification.estimand import Conditional, Product, Ratio, Sum


class Law:
    """The joint law of a graph's recorded variables under random mechanisms."""

    def __init__(self, graph: CausalGraph, seed: int) -> None:
        network = graph.to_networkx(hidden=True)
        draw = np.random.default_rng(seed)
        self.nodes = list(network.nodes)
        self.seen = [v for v in self.nodes if v in graph.variables]
        self.selected = [s.name for s in graph.selection]
        self.parents = {v: list(network.predecessors(v)) for v in self.nodes}
        self.chance = {v: draw.uniform(0.1, 0.9, 2 ** len(pa)) for v, pa in self.parents.items()}

    def joint(self, do=(), selected=False) -> np.ndarray:
        """Returns p(seen), or p(the others | do(x)) for every value of x along the axes of x."""
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
        gone = tuple(i for i, v in enumerate(self.nodes) if v not in self.seen)
        total = total.sum(axis=gone)
        return total / total.sum() if selected else total

    def effect(self, x, y) -> np.ndarray:
        """Returns p(y | do(x)) with axes (*x, *y)."""
        return self.marginal(self.joint(do=x), [*x, *y])

    def marginal(self, joint, names) -> np.ndarray:
        rest = tuple(i for i, v in enumerate(self.seen) if v not in names)
        kept = [v for v in self.seen if v in names]
        return joint.sum(axis=rest).transpose([kept.index(n) for n in names])

    def evaluate(self, formula, joint, names, seed=0) -> np.ndarray:
        """Returns a formula's value for every value of `names`; other free names are arbitrary."""
        draw = np.random.default_rng(seed)
        whole = _value(formula, self, joint)
        index = tuple(
            slice(None) if v in names else draw.integers(whole.shape[i])
            for i, v in enumerate(self.seen)
        )
        kept = [v for v in self.seen if v in names]
        result = np.broadcast_to(whole[index], (2,) * len(kept))
        return result.transpose([kept.index(n) for n in names])


def _value(formula, law, joint):
    """Returns the value with one axis per seen variable, of length 1 where it does not matter."""
    match formula:
        case Conditional(head, given):
            rest = tuple(i for i, v in enumerate(law.seen) if v not in (*head, *given))
            both = joint.sum(axis=rest, keepdims=True)
            over = tuple(law.seen.index(v) for v in head)
            return both / both.sum(axis=over, keepdims=True)
        case Product(terms):
            total = np.ones((1,) * len(law.seen))
            for term in terms:
                total = total * _value(term, law, joint)
            return total
        case Ratio(above, below):
            return _value(above, law, joint) / _value(below, law, joint)
        case Sum(over, of):
            total = _value(of, law, joint)
            for v in over:
                axis = law.seen.index(v)
                repeats = 2 // total.shape[axis]
                total = repeats * total.sum(axis=axis, keepdims=True)
            return total


def subsets(names):
    names = list(names)
    return itertools.chain.from_iterable(
        itertools.combinations(names, n) for n in range(len(names) + 1)
    )
