r"""Paths: which of them carry an effect, and which of them carry an association that is none.

A *proper causal path* leads from a cause to an effect along the arrows and meets the causes only
at its beginning. The graph without the first arrows of these paths, the *proper back-door graph*,
holds whatever else associates the two.

References:
    | Complete Graphical Characterization and Construction of Adjustment Sets in Markov Equivalence
    | Classes of Ancestral Graphs (Perković et al., 2018), https://jmlr.org/papers/v18/16-319.html
    | Separators and adjustment sets in causal graphs
    | (van der Zander et al., 2019), https://doi.org/10.1016/j.artint.2018.12.006
"""

from collections.abc import Collection, Mapping

from cxrcausal.graph.identification.separation import Adjacency, ancestors_of

__all__ = [
    "causal_nodes",
    "children_of",
    "open_path",
    "proper_back_door",
    "without_heads",
    "without_tails",
]


def children_of(parents: Adjacency) -> dict[str, list[str]]:
    """Returns each node's children."""
    children: dict[str, list[str]] = {node: [] for node in parents}
    for node, causes in parents.items():
        for cause in causes:
            children[cause].append(node)
    return children


def without_heads(parents: Adjacency, cut: Collection[str]) -> dict[str, tuple[str, ...]]:
    r"""Returns :math:`G_{\overline{cut}}`: the graph without the arrows into the nodes `cut`."""
    return {v: () if v in cut else tuple(pa) for v, pa in parents.items()}


def without_tails(parents: Adjacency, cut: Collection[str]) -> dict[str, tuple[str, ...]]:
    r"""Returns :math:`G_{\underline{cut}}`: the graph without arrows out of the nodes `cut`."""
    return {v: tuple(p for p in pa if p not in cut) for v, pa in parents.items()}


def causal_nodes(parents: Adjacency, x: Collection[str], y: Collection[str]) -> set[str]:
    """Returns the nodes outside `x` that lie on a proper causal path from `x` to `y`."""
    mutilated = without_heads(parents, x)
    after = ancestors_of(children_of(mutilated), x) - set(x)
    return after & ancestors_of(without_tails(parents, x), y)


def proper_back_door(
    parents: Adjacency, x: Collection[str], y: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Returns the parents of each node in the proper back-door graph of `x` and `y`."""
    on = causal_nodes(parents, x, y)
    return {
        v: tuple(p for p in pa if p not in x) if v in on else tuple(pa)
        for v, pa in parents.items()
    }


def open_path(
    parents: Adjacency, x: Collection[str], y: Collection[str], given: Collection[str]
) -> str | None:
    """Returns a shortest path that is open between `x` and `y` given `given`, in words, or None.

    Arguments:
        parents: Each node's parents; hidden causes and selections are nodes with a prefix.
        x: Where it begins.
        y: Where it ends.
        given: What is conditioned on, disjoint from both.
    """
    children, held = children_of(parents), set(given)
    opened = ancestors_of(parents, held)
    came: dict[tuple[str, str], tuple[str, str] | None] = {(v, "up"): None for v in x}
    todo = list(came)
    for state in todo:  # grows while it is walked through: breadth first
        node, heading = state
        if node in y:
            return _spell(came, state)
        steps: list[tuple[str, str]] = []
        if node not in held:
            steps += [(child, "down") for child in children[node]]
        if (heading == "up" and node not in held) or (heading == "down" and node in opened):
            steps += [(parent, "up") for parent in parents[node]]
        for step in steps:
            if step not in came and step[0] not in x:
                came[step] = state
                todo.append(step)
    return None


def _spell(came: Mapping[tuple[str, str], tuple[str, str] | None], end: tuple[str, str]) -> str:
    """Returns the walk to `end` with its arrows."""
    said, state = _called(end[0]), end
    before = came[state]
    while before is not None:
        arrow = "→" if state[1] == "down" else "←"
        said = f"{_called(before[0])} {arrow} {said}"
        state, before = before, came[before]
    return said


def _called(node: str) -> str:
    """Returns a node's name, and what it is where nobody records it."""
    kind, _, name = node.rpartition(":")
    return {"hidden": f"{name} (hidden)", "selection": f"{name} (selected)"}.get(kind, name)
