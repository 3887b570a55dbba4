r"""What a graph says about data: d-separation, and the independencies that it implies.

A path is open given a set :math:`Z` if each of its colliders has a descendant in :math:`Z` (itself
included) and no other node of it is in :math:`Z`. Declared hidden causes are nodes that nobody can
condition on; a declared selection is a node on which every data set has been conditioned already.
The functions here read plain adjacency, so that they serve any graph.

References:
    | Bayes-Ball: The Rational Pastime
    | (Shachter, 1998), https://arxiv.org/abs/1301.7412
    | Markov properties for acyclic directed mixed graphs
    | (Richardson, 2003), https://doi.org/10.1111/1467-9469.00323
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import final

__all__ = [
    "Independence",
    "ancestors_of",
    "connected",
    "local_markov",
    "markov_blanket",
    "shrink_separator",
]

Adjacency = Mapping[str, Collection[str]]
"""Each node's parents."""


@final
@dataclass(frozen=True)
class Independence:
    r"""One statement :math:`x \perp y \mid z` that a graph implies.

    Arguments:
        x: A variable.
        y: The variables that it is independent of, jointly.
        given: What is conditioned on.
    """

    x: str
    y: tuple[str, ...]
    given: tuple[str, ...] = ()

    def __str__(self) -> str:
        given = f" | {', '.join(self.given)}" if self.given else ""
        return f"{self.x} ⊥ {', '.join(self.y)}{given}"


def ancestors_of(parents: Adjacency, nodes: Collection[str]) -> set[str]:
    """Returns `nodes` and all of their ancestors."""
    found, todo = set(nodes), list(nodes)
    while todo:
        for parent in parents[todo.pop()]:
            if parent not in found:
                found.add(parent)
                todo.append(parent)
    return found


def connected(parents: Adjacency, x: Collection[str], given: Collection[str]) -> set[str]:
    """Returns every node outside `given` to which an open path leads from `x`, `x` included.

    Arguments:
        parents: Each node's parents, hidden causes and selections among the nodes.
        x: Where the paths begin.
        given: What is conditioned on, selections among them; disjoint from `x`.
    """
    children: dict[str, list[str]] = {node: [] for node in parents}
    for node, causes in parents.items():
        for cause in causes:
            children[cause].append(node)
    given = set(given)
    opened = ancestors_of(parents, given)  # a collider passes iff it, or a descendant, is given
    todo = [(node, "up") for node in x]  # as if each were entered from a child
    seen: set[tuple[str, str]] = set()
    while todo:
        state = todo.pop()
        if state in seen:
            continue
        seen.add(state)
        node, heading = state
        if heading == "up" and node not in given:
            todo += [(parent, "up") for parent in parents[node]]
            todo += [(child, "down") for child in children[node]]
        elif heading == "down":
            if node not in given:
                todo += [(child, "down") for child in children[node]]
            if node in opened:
                todo += [(parent, "up") for parent in parents[node]]
    return {node for node, _ in seen} - given


def markov_blanket(parents: Adjacency, name: str, hidden: Collection[str] = ()) -> set[str]:
    """Returns the nodes that `name` reaches along paths on which every inner node is a collider.

    These are the paths that stay open when all else is given: they lead to its parents, to its
    children and to its children's parents, where hidden causes join heads: the *district* of a
    node is all that a chain of hidden causes ties to it.

    Arguments:
        parents: Each node's parents, hidden causes among the nodes.
        name: The node.
        hidden: The nodes that are hidden causes; they are passed through and not returned.
    """
    unseen = set(hidden)

    def district(node: str) -> set[str]:
        found, todo = {node}, [node]
        while todo:
            causes = unseen.intersection(parents[todo.pop()])
            joined = {v for v, pa in parents.items() if causes.intersection(pa)} - found
            found |= joined
            todo += joined
        return found

    heads = [name, *(v for v, pa in parents.items() if name in pa)]
    tied = set().union(*(district(v) for v in heads))
    tied |= {cause for v in tied for cause in parents[v]}
    return tied - unseen - {name}


def shrink_separator(
    parents: Adjacency, x: str, y: str, given: Sequence[str], always: Collection[str] = ()
) -> tuple[str, ...] | None:
    """Returns a subset of `given` that separates `x` from `y` and of which no member can go.

    Arguments:
        parents: Each node's parents.
        x: One node.
        y: The other.
        given: A candidate separator.
        always: What is conditioned on in any case (selections).

    Returns:
        None if `given` does not separate the two.
    """
    kept = list(given)
    if y in connected(parents, [x], {*kept, *always}):
        return None
    for node in given:
        fewer = [k for k in kept if k != node]
        if y not in connected(parents, [x], {*fewer, *always}):
            kept = fewer
    return tuple(kept)


def local_markov(
    parents: Adjacency, order: Sequence[str], selection: Collection[str] = ()
) -> tuple[Independence, ...]:
    r"""Returns the local Markov basis: each against its non-descendants given its parents.

    Without hidden causes and selection every other conditional independence of the graph follows
    from these. With them, the basis keeps what still holds given the parents, and adds, for a pair
    of non-adjacent variables that the parents do not separate, a separator that does, if one
    exists: then the ancestors of the two (and of the selection) are one.

    Arguments:
        parents: Each node's parents; nodes outside `order` are hidden causes and selections.
        order: The observed variables in topological order.
        selection: Nodes on which the data have been conditioned already.
    """
    basis: list[Independence] = []
    paired: set[frozenset[str]] = set()
    for x in order:
        given = tuple(v for v in order if v in parents[x])
        others = [
            v for v in order if v != x and v not in given and x not in ancestors_of(parents, [v])
        ]
        reached = connected(parents, [x], {*given, *selection})
        apart = tuple(v for v in others if v not in reached)
        paired |= {frozenset((x, v)) for v in apart}
        if apart:
            basis.append(Independence(x, apart, given))
    for i, x in enumerate(order):
        for y in order[:i]:
            if y in parents[x] or frozenset((x, y)) in paired:
                continue
            around = ancestors_of(parents, [x, y, *selection])
            candidate = [v for v in order if v in around and v not in (x, y)]
            separator = shrink_separator(parents, x, y, candidate, selection)
            if separator is not None:
                basis.append(Independence(x, (y,), separator))
    return tuple(basis)
