"""The graph in other languages: networkx, the DOT of Graphviz, the flowcharts of Mermaid."""

import json
from typing import TYPE_CHECKING

import networkx as nx

from cxrcausal.errors import CxrCausalError
from cxrcausal.graph.edge import IMAGE

if TYPE_CHECKING:
    import pgmpy.base

    from cxrcausal.graph.dag import CausalGraph

__all__ = ["to_dot", "to_dowhy", "to_mermaid", "to_networkx", "to_pgmpy"]


def to_networkx(graph: "CausalGraph", *, hidden: bool = False) -> "nx.DiGraph[str]":
    """Returns a new `networkx.DiGraph`; the caller may change it.

    Arguments:
        graph: The graph.
        hidden: Whether hidden causes and selections become nodes too, with roles of these names.

    Returns:
        Nodes carry `role`, and where they are variables `kind`, `levels` (separated by bars) and
        `unit`; arrows carry `kind` and `rationale`. All of it is text, so that GML and GraphML can
        be written.
    """
    result: nx.DiGraph[str] = nx.DiGraph(name=graph.name)
    for name, variable in graph.variables.items():
        result.add_node(
            name,
            role=variable.role,
            kind=variable.kind,
            levels="|".join(variable.levels),
            unit=variable.unit or "",
        )
    if graph.has_image:
        result.add_node(IMAGE, role=IMAGE)
    for e in (*graph.edges, *(graph.edge(v, IMAGE) for v in graph.image_parents)):
        result.add_edge(e.source, e.target, kind=e.kind or "", rationale=e.rationale or "")
    if hidden:
        for s in graph.selection:
            result.add_node(s.name, role="selection")
            result.add_edges_from((v, s.name) for v in s.caused_by)
        for h in graph.hidden:
            result.add_node(h.name, role="hidden")
            result.add_edges_from((h.name, v) for v in h.touches)
    return result


def to_dowhy(graph: "CausalGraph") -> "nx.DiGraph[str]":
    """Returns the metadata's arrows as DoWhy's `CausalModel` and `gcm` read them.

    Returns:
        A new `networkx.DiGraph` of the variables and of the hidden causes, each of which is marked
        by ``observed`` (``yes`` or ``no``). The image and the selection are left out: DoWhy has no
        columns for the one and no notion of the other.
    """
    result = to_networkx(graph, hidden=True)
    result.remove_nodes_from([IMAGE, *(s.name for s in graph.selection)])
    for name, attributes in result.nodes.items():
        attributes["observed"] = "yes" if name in graph.variables else "no"
    return result


def to_pgmpy(graph: "CausalGraph") -> "pgmpy.base.DAG":
    """Returns the metadata's arrows as a `pgmpy.base.DAG`, hidden causes as its latents.

    Raises:
        CxrCausalError: If pgmpy is not installed.
    """
    try:
        from pgmpy.base import DAG
    except ImportError as error:
        raise CxrCausalError("to_pgmpy needs pgmpy: python -m pip install pgmpy") from error
    known = to_dowhy(graph)
    result = DAG(known.edges, latents={h.name for h in graph.hidden})
    result.add_nodes_from(set(known) - set(result))  # what has no arrow
    return result


def to_dot(graph: "CausalGraph") -> str:
    """Returns the graph in DOT; hidden causes and selections are dashed."""
    quote = json.dumps  # DOT's quoted strings escape as JSON's do
    lines = [f"digraph {quote(graph.name)} {{", "  node [shape=box, style=rounded];"]
    lines += [f"  {quote(name)};" for name in graph.variables]
    if graph.has_image:
        lines.append(f"  {quote(IMAGE)} [shape=box, style=filled];")
    for e in graph.edges:
        label = f" [tooltip={quote(e.rationale)}]" if e.rationale else ""
        lines.append(f"  {quote(e.source)} -> {quote(e.target)}{label};")
    lines += [f"  {quote(v)} -> {quote(IMAGE)};" for v in graph.image_parents]
    for s in graph.selection:
        lines.append(f"  {quote(s.name)} [shape=doublecircle, style=dashed];")
        lines += [f"  {quote(v)} -> {quote(s.name)} [style=dashed];" for v in s.caused_by]
    for h in graph.hidden:
        lines.append(f"  {quote(h.name)} [shape=ellipse, style=dashed];")
        lines += [f"  {quote(h.name)} -> {quote(v)} [style=dashed];" for v in h.touches]
    return "\n".join([*lines, "}"]) + "\n"


def to_mermaid(graph: "CausalGraph") -> str:
    """Returns the graph as a Mermaid flowchart; arrows of hidden causes and selections are dotted.

    Nodes are called by number, since Mermaid reserves words such as `end`.
    """
    nodes = [*graph.variables, *([IMAGE] if graph.has_image else [])]
    nodes += [s.name for s in graph.selection] + [h.name for h in graph.hidden]
    key = {name: f"n{i}" for i, name in enumerate(nodes)}
    shape = dict.fromkeys(nodes, ("[", "]"))
    shape |= {s.name: ("[[", "]]") for s in graph.selection}
    shape |= {h.name: ("([", "])") for h in graph.hidden}
    lines = ["flowchart TD"]
    for name in nodes:
        before, after = shape[name]
        lines.append(f'  {key[name]}{before}"{name.replace(chr(34), "#quot;")}"{after}')
    lines += [f"  {key[e.source]} --> {key[e.target]}" for e in graph.edges]
    lines += [f"  {key[v]} --> {key[IMAGE]}" for v in graph.image_parents]
    for s in graph.selection:
        lines += [f"  {key[v]} -.-> {key[s.name]}" for v in s.caused_by]
    for h in graph.hidden:
        lines += [f"  {key[h.name]} -.-> {key[v]}" for v in h.touches]
    return "\n".join(lines) + "\n"
