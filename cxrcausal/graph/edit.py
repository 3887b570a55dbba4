"""Changes of a graph: every one returns a new graph, and keeps the reasons of what stays."""

import dataclasses
from collections.abc import Collection
from typing import TYPE_CHECKING

from cxrcausal.errors import GraphError
from cxrcausal.graph.edge import IMAGE, Edge

if TYPE_CHECKING:
    from cxrcausal.graph.dag import CausalGraph

__all__ = ["mutilate", "with_edge", "without_edge"]


def mutilate(graph: "CausalGraph", cut: Collection[str]) -> "CausalGraph":
    """Returns the graph without the arrows into the nodes `cut`, those of hidden causes too.

    A hidden cause of which a single effect is left is that effect's own noise, and leaves the
    graph.
    """
    variables = [
        dataclasses.replace(v, mechanism=None) if v.name in cut else v
        for v in graph.variables.values()
    ]
    hidden = (
        dataclasses.replace(h, touches=tuple(n for n in h.touches if n not in cut))
        for h in graph.hidden
    )
    return graph._replace(
        variables=variables,
        edges=[e for e in graph.edges if e.target not in cut],
        hidden=[h for h in hidden if len(h.touches) > 1],
        image_parents=() if IMAGE in cut else graph._image_parents,
    )


def with_edge(graph: "CausalGraph", edge: Edge) -> "CausalGraph":
    """Returns the graph with one more arrow.

    The arrows into the radiograph share one rationale; that of a new one is added to it.

    Raises:
        GraphError: If an arrow into `image` has a kind or a source of its own.
    """
    graph._check(edge.source, edge.target)
    if edge.target != IMAGE:
        return graph._replace(edges=[*graph.edges, edge])
    if (edge.kind, edge.source_ref) != (None, None):
        raise GraphError(
            f"the arrow from {edge.source!r} into 'image' takes no kind or source_ref: the "
            "image's parents are a list with one rationale. Leave them out"
        )
    own = f"{edge.source}: {edge.rationale}" if edge.rationale else None
    reasons = [r for r in (graph.image_rationale, own) if r]
    return graph._replace(
        image_parents=[*graph.image_parents, edge.source],
        image_rationale="; ".join(reasons) or None,
    )


def without_edge(graph: "CausalGraph", source: str, target: str) -> "CausalGraph":
    """Returns the graph without one of its arrows."""
    gone = graph.edge(source, target)
    if target == IMAGE:
        return graph._replace(image_parents=[v for v in graph.image_parents if v != source])
    return graph._replace(edges=[e for e in graph.edges if e != gone])
