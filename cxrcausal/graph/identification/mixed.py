"""The graph over what is recorded: arrows, and a two-headed arc for each hidden common cause.

Pairwise arcs are all that identification looks at; what a hidden cause of three variables says
beyond them (see `project`) are inequalities, which identify nothing.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import final

from cxrcausal.graph.identification.separation import Adjacency, ancestors_of

__all__ = ["MixedGraph"]


@final
@dataclass(frozen=True)
class MixedGraph:
    """An acyclic directed mixed graph.

    Arguments:
        order: The nodes, causes before effects.
        parents: Each node's parents.
        spouses: The nodes that share a hidden cause with each node.
    """

    order: tuple[str, ...]
    parents: Mapping[str, frozenset[str]]
    spouses: Mapping[str, frozenset[str]]

    @classmethod
    def over(cls, parents: Adjacency, order: Iterable[str]) -> "MixedGraph":
        """Returns the mixed graph over `order`; other nodes of `parents` must be hidden roots."""
        nodes = tuple(order)
        seen = set(nodes)
        hidden = {v: {p for p in parents[v] if p not in seen} for v in nodes}
        return cls(
            nodes,
            {v: frozenset(p for p in parents[v] if p in seen) for v in nodes},
            {v: frozenset(w for w in nodes if w != v and hidden[v] & hidden[w]) for v in nodes},
        )

    def within(self, nodes: Collection[str]) -> "MixedGraph":
        """Returns the part of the graph among `nodes`."""
        kept = frozenset(nodes)
        return MixedGraph(
            tuple(v for v in self.order if v in kept),
            {v: self.parents[v] & kept for v in self.order if v in kept},
            {v: self.spouses[v] & kept for v in self.order if v in kept},
        )

    def tie(self, nodes: Collection[str]) -> "MixedGraph":
        """Returns the graph with a two-headed arc between every two of `nodes`."""
        tied = frozenset(nodes) & set(self.order)
        spouses = {v: s | (tied - {v}) if v in tied else s for v, s in self.spouses.items()}
        return MixedGraph(self.order, self.parents, spouses)

    def ancestors(self, nodes: Collection[str]) -> set[str]:
        """Returns `nodes` and all of their ancestors."""
        return ancestors_of(self.parents, nodes)

    def district(self, node: str) -> set[str]:
        """Returns all that chains of two-headed arcs tie to `node`, itself included."""
        return ancestors_of(self.spouses, [node])

    def districts(self) -> tuple[tuple[str, ...], ...]:
        """Returns the districts (c-components), each in causal order, by their first nodes."""
        found = {frozenset(self.district(v)) for v in self.order}
        listed = [tuple(v for v in self.order if v in d) for d in found]
        return tuple(sorted(listed, key=lambda d: self.order.index(d[0])))

    def pillow(self, node: str) -> tuple[str, ...]:
        """Returns what, among the nodes before `node`, makes the others before it irrelevant.

        The rest of its district there, and the parents of these (Richardson, 2003).
        """
        before = self.within(self.order[: self.order.index(node) + 1])
        tied = before.district(node)
        around = tied.union(*(before.parents[v] for v in tied)) - {node}
        return tuple(v for v in self.order if v in around)
