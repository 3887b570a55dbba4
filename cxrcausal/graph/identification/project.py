"""The latent projection: what remains of a graph when some of its variables are not observed.

A variable that nobody observes is taken out in two steps that leave the distribution of the others
as it was: its parents become parents of its children, and it becomes a root, a hidden cause of its
children. With one child it is then part of that child's own noise; with several it leaves them
confounded, and stays in the result as a `HiddenCause` of its name. A hidden cause may touch more
than two nodes: it is kept whole, since three pairwise causes allow less than one cause of three.

References:
    | Graphs for margins of Bayesian networks
    | (Evans, 2016), https://doi.org/10.1111/sjos.12194
    | Causality (Pearl, 2009), definition 2.6.1
"""

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING

from cxrcausal.graph.edge import IMAGE, Edge, HiddenCause, Selection
from cxrcausal.graph.variable import Variable

if TYPE_CHECKING:
    from cxrcausal.graph.dag import CausalGraph

__all__ = ["latent_projection"]


def latent_projection(graph: "CausalGraph", observed: Iterable[str]) -> "CausalGraph":
    """Returns the graph over `observed`, in which every d-separation among them is as it was.

    Arguments:
        graph: The graph; its hidden causes and selections are kept.
        observed: The variables that stay, in any order, and `image` if the radiograph stays.

    Returns:
        A graph of the same name. A variable taken out that had several children is among its
        `hidden`. A definition of which a finding was taken out is an ordinary variable now.

    Raises:
        GraphError: If a name is not in the graph.
    """
    kept = set(observed)
    for name in kept:
        graph.parents(name)  # raises the graph's own error on an unknown name
    edges = {(e.source, e.target): e for e in graph.edges}
    for v in graph.image_parents if IMAGE in kept else ():
        edges[v, IMAGE] = graph.edge(v, IMAGE)
    for s in graph.selection:
        edges |= {(v, s.name): Edge(v, s.name) for v in s.caused_by}
    hidden = {h.name: h for h in graph.hidden}
    if IMAGE not in kept:
        hidden = {n: _moved(h, IMAGE, ()) for n, h in hidden.items()}

    for gone in (v for v in graph.topological_order if v not in kept):
        causes = [e for (_, target), e in edges.items() if target == gone]
        effects = [e for (source, _), e in edges.items() if source == gone]
        for cause in causes:
            for effect in effects:
                edges.setdefault((cause.source, effect.target), _through(cause, effect))
        edges = {pair: e for pair, e in edges.items() if gone not in pair}
        targets = [e.target for e in effects]
        hidden = {n: _moved(h, gone, targets) for n, h in hidden.items()}
        hidden[gone] = HiddenCause(
            gone, tuple(targets), f"not observed here, a cause of {', '.join(targets)}"
        )

    several = 2
    confounders = [h for h in hidden.values() if len(h.touches) >= several]
    selection = [
        Selection(s.name, tuple(a for a, b in edges if b == s.name), s.rationale)
        for s in graph.selection
    ]
    reached = {n for h in confounders for n in h.touches}
    selection = [s for s in selection if s.caused_by or s.name in reached]
    arrows = [e for e in edges.values() if e.target in graph.variables]
    return type(graph)(
        [_redefined(graph, v, arrows) for v in graph.variables.values() if v.name in kept],
        arrows,
        name=graph.name,
        version=graph.version,
        hidden=confounders,
        selection=selection,
        image_parents=[a for a, b in edges if b == IMAGE] if IMAGE in kept else None,
        image_rationale=graph.image_rationale if IMAGE in kept else None,
    )


def _moved(cause: HiddenCause, gone: str, targets: Iterable[str]) -> HiddenCause:
    """Returns the hidden cause with the effects of `gone` in its place."""
    if gone not in cause.touches:
        return cause
    touches = dict.fromkeys([*(n for n in cause.touches if n != gone), *targets])
    return dataclasses.replace(cause, touches=tuple(touches))


def _through(cause: Edge, effect: Edge) -> Edge:
    """Returns the arrow that stands for a path of two."""
    kind = cause.kind if cause.kind == effect.kind else "other"
    return Edge(cause.source, effect.target, kind, None, f"through {cause.target}")


def _redefined(graph: "CausalGraph", variable: Variable, arrows: list[Edge]) -> Variable:
    """Returns the variable, no longer a definition if what it is defined by is gone."""
    if not variable.is_definition:
        return variable
    now = {e.source for e in arrows if e.target == variable.name}
    before = set(graph.parents(variable.name))
    lost = any(graph.variables[v].kind == "binary" for v in before - now)
    strange = any(graph.variables[v].kind in ("binary", "continuous") for v in now - before)
    return dataclasses.replace(variable, mechanism=None) if lost or strange else variable
