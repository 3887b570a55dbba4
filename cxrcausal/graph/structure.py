"""What makes a causal graph well formed, checked once for files and for graphs built in Python.

Each check names the node or arrow at fault, what was found, what is allowed and the nearest name.
A `Locate` function says where in a file the declaration stands; a graph built in Python has none.
"""

import heapq
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from cxrcausal.errors import GraphError, nearest, summarise
from cxrcausal.graph.edge import EDGE_KINDS, IMAGE, Edge, HiddenCause, Selection
from cxrcausal.graph.variable import Variable

if TYPE_CHECKING:
    from cxrcausal.graph.dag import CausalGraph

__all__ = [
    "Locate",
    "check_structure",
    "find_cycle",
    "nowhere",
    "topological_order",
    "unknown_name",
]

Locate = Callable[[str, int | str], str]
"""Maps ("edges", 3) or ("variables", "age") to a prefix such as ``"graph.yaml, line 12: "``."""

RESERVED = {IMAGE: "it is the radiograph itself", "patient_id": "it is the column of patients"}


def nowhere(section: str, item: int | str) -> str:
    """Returns the empty prefix of a graph that was built in Python."""
    return ""


def check_structure(
    variables: Mapping[str, Variable],
    edges: Sequence[Edge],
    hidden: Sequence[HiddenCause],
    selection: Sequence[Selection],
    image_parents: Sequence[str],
    *,
    has_image: bool,
    locate: Locate = nowhere,
) -> None:
    """Raises a `GraphError` at the first thing that keeps the parts from being a causal graph.

    Raises:
        GraphError: On a reserved or malformed name, an arrow or hidden cause or selection that
            names an unknown node, a repeated arrow, an arrow from a node to itself or out of the
            image, a cycle, or a definition without findings to define it.
    """
    for name in variables:
        _check_variable_name(name, locate("variables", name))
    _check_edges(variables, edges, locate)
    for name in image_parents:
        _known(name, variables, f"{locate('image', name)}image parent")
    _check_repeats(image_parents, f"{locate('image', 0)}the image's parents repeat")
    _check_unseen(variables, hidden, selection, has_image=has_image, locate=locate)
    cycle = find_cycle(variables, edges)
    if cycle is not None:
        arrows = list(itertools.pairwise(cycle))
        last = max(i for i, e in enumerate(edges) if (e.source, e.target) in arrows)
        raise GraphError(
            f"{locate('edges', last)}the arrows make a cycle: {' -> '.join(cycle)}; a causal "
            f"graph has none, so remove or turn one of these {len(arrows)} arrows"
        )
    _check_definitions(variables, edges, locate)


def find_cycle(nodes: Iterable[str], edges: Iterable[Edge]) -> list[str] | None:
    """Returns the nodes of one directed cycle, the first repeated at its end, or None."""
    children: dict[str, list[str]] = {node: [] for node in nodes}
    for edge in edges:
        children[edge.source].append(edge.target)
    finished: set[str] = set()
    for root in children:
        if root in finished:
            continue
        path, walks = [root], [iter(children[root])]
        while path:
            step = next(walks[-1], None)
            if step is None:
                finished.add(path.pop())
                walks.pop()
            elif step in path:
                return [*path[path.index(step) :], step]
            elif step not in finished:
                path.append(step)
                walks.append(iter(children[step]))
    return None


def topological_order(names: Sequence[str], edges: Sequence[Edge]) -> tuple[str, ...]:
    """Returns the names, causes first; among those free to come next, the first listed.

    The edges must be acyclic (`find_cycle`).
    """
    place = {v: i for i, v in enumerate(names)}
    waits = dict.fromkeys(names, 0)
    for e in edges:
        waits[e.target] += 1
    free = [place[v] for v in names if not waits[v]]
    heapq.heapify(free)
    order: list[str] = []
    while free:
        v = names[heapq.heappop(free)]
        order.append(v)
        for e in edges:
            if e.source == v:
                waits[e.target] -= 1
                if not waits[e.target]:
                    heapq.heappush(free, place[e.target])
    return tuple(order)


def unknown_name(graph: "CausalGraph", name: object) -> GraphError:
    """Returns the error that `name` is no node of `graph`, to be raised."""
    allowed = [*graph.variables, *([IMAGE] if graph.has_image else [])]
    unseen = {h.name: "a hidden cause" for h in graph.hidden}
    unseen |= {s.name: "a selection" for s in graph.selection}
    if isinstance(name, str) and name in unseen:
        said = f"{name!r} is {unseen[name]} of graph {graph.name!r}, which no table records."
    else:
        said = f"{name!r} is not in graph {graph.name!r}{nearest(name, allowed) or '.'}"
    return GraphError(f"{said} It has: {', '.join(allowed)}.")


def _check_variable_name(name: str, at: str) -> None:
    if name in RESERVED:
        raise GraphError(
            f"{at}a variable cannot be called {name!r}, {RESERVED[name]}; choose another"
        )
    if not name.isidentifier():
        raise GraphError(
            f"{at}variable name {name!r} is not allowed; use letters, digits and underscores, "
            f"beginning with a letter"
        )


def _known(name: str, allowed: Iterable[str], at: str) -> None:
    allowed = list(allowed)
    if name not in allowed:
        hint = nearest(name, allowed) or "."
        raise GraphError(f"{at} {name!r} is not a variable{hint} Allowed: {', '.join(allowed)}.")


def _check_repeats(names: Sequence[str], at: str) -> None:
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        raise GraphError(f"{at} {summarise(repeated)}; name each once")


def _check_edges(variables: Mapping[str, Variable], edges: Sequence[Edge], locate: Locate) -> None:
    seen: set[tuple[str, str]] = set()
    for i, edge in enumerate(edges):
        at = locate("edges", i)
        if edge.target == IMAGE or edge.source == IMAGE:
            raise GraphError(
                f"{at}edge {edge} names the image; list the image's causes under image: parents, "
                f"and note that the image causes none of the variables"
            )
        _known(edge.source, variables, f"{at}edge {edge}: from")
        _known(edge.target, variables, f"{at}edge {edge}: to")
        if edge.source == edge.target:
            raise GraphError(f"{at}edge {edge} goes from a variable to itself; remove it")
        if (edge.source, edge.target) in seen:
            raise GraphError(f"{at}edge {edge} is declared twice; keep one")
        if edge.kind is not None and edge.kind not in EDGE_KINDS:
            raise GraphError(
                f"{at}edge {edge} has kind {edge.kind!r}{nearest(edge.kind, EDGE_KINDS) or '.'} "
                f"Allowed: {', '.join(EDGE_KINDS)}."
            )
        seen.add((edge.source, edge.target))


def _check_unseen(
    variables: Mapping[str, Variable],
    hidden: Sequence[HiddenCause],
    selection: Sequence[Selection],
    *,
    has_image: bool,
    locate: Locate,
) -> None:
    taken = {name: "a variable" for name in variables} | {IMAGE: "the image"}
    declared = [("selection", i, s.name) for i, s in enumerate(selection)]
    declared += [("hidden", i, h.name) for i, h in enumerate(hidden)]
    for section, i, name in declared:
        if name in taken:
            raise GraphError(
                f"{locate(section, i)}{section} {name!r} has the name of {taken[name]}; choose "
                f"another"
            )
        taken[name] = f"another entry of {section}"
    touchable = [*variables, *([IMAGE] if has_image else []), *(s.name for s in selection)]
    fewest = 2
    for i, cause in enumerate(hidden):
        at = f"{locate('hidden', i)}hidden cause {cause.name!r}"
        for name in cause.touches:
            _known(name, touchable, f"{at} touches")
        _check_repeats(cause.touches, f"{at} touches")
        if len(cause.touches) < fewest:
            raise GraphError(
                f"{at} touches {len(cause.touches)} node; a common cause touches at least 2, and "
                f"one that touches a single node is that node's own noise"
            )
    for i, entry in enumerate(selection):
        at = f"{locate('selection', i)}selection {entry.name!r}"
        for name in entry.caused_by:
            _known(name, variables, f"{at} is caused_by")
        _check_repeats(entry.caused_by, f"{at} is caused_by")
        if not entry.caused_by and not any(entry.name in h.touches for h in hidden):
            raise GraphError(f"{at} is caused by nothing; name the variables under caused_by")


def _check_definitions(
    variables: Mapping[str, Variable], edges: Sequence[Edge], locate: Locate
) -> None:
    for name, variable in variables.items():
        if not variable.is_definition:
            continue
        kinds = {e.source: variables[e.source].kind for e in edges if e.target == name}
        at = f"{locate('variables', name)}variable {name!r} has mechanism: {variable.mechanism}"
        if "binary" not in kinds.values():
            raise GraphError(
                f"{at} but no binary parent; add edges from the findings that decide it, or leave "
                f"mechanism out"
            )
        continua = [parent for parent, kind in kinds.items() if kind == "continuous"]
        if continua:
            raise GraphError(
                f"{at} and continuous parent {summarise(continua)}; a definition reads binary "
                f"findings, and its rates may differ by discrete context only"
            )
