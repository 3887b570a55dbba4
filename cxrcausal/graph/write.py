"""Graph files: YAML out, in the form in which the shipped files are written, one thing a line.

What is written reads back as an equal graph (`CausalGraph.from_yaml`). Arrows with the same kind,
reference and rationale share an entry, as a person would write them. Comments are not kept.
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from cxrcausal.files import atomic_path
from cxrcausal.graph.edge import Edge

if TYPE_CHECKING:
    from cxrcausal.graph.dag import CausalGraph

__all__ = ["to_yaml"]


def to_yaml(graph: "CausalGraph", path: "str | PathLike[str] | None" = None) -> str:
    """Returns the graph as the text of a graph file.

    Arguments:
        graph: The graph.
        path: Where to write it as well, in UTF-8; an existing file is replaced at once or not at
            all.
    """
    lines = [f"name: {_flow(graph.name)}"]
    if graph.version is not None:
        lines.append(f"version: {_flow(graph.version)}")
    lines.append("variables:")
    width = max((len(_flow(name)) for name in graph.variables), default=0) + 1
    for name, variable in graph.variables.items():
        lines.append(f"  {_flow(name) + ':':<{width}} {_flow(variable.to_dict())}")
    if not graph.variables:
        lines[-1] += " {}"
    if graph.edges:
        lines += ["edges:", *(f"  - {_flow(entry)}" for entry in _grouped(graph.edges))]
    for section, entries, verb in (
        ("hidden", [(h.name, h.touches, h.rationale) for h in graph.hidden], "touches"),
        ("selection", [(s.name, s.caused_by, s.rationale) for s in graph.selection], "caused_by"),
    ):
        lines += [f"{section}:"] if entries else []
        for name, nodes, rationale in entries:
            entry = {"name": name, verb: list(nodes), "rationale": rationale}
            lines.append(f"  - {_flow(_present(entry))}")
    if graph.has_image:
        lines += ["image:", f"  parents: {_flow(list(graph.image_parents))}"]
        if graph.image_rationale is not None:
            lines.append(f"  rationale: {_flow(graph.image_rationale)}")
    text = "\n".join(lines) + "\n"
    if path is not None:
        with atomic_path(Path(path)) as beside:
            beside.write_text(text, encoding="utf-8")
    return text


def _grouped(edges: Sequence[Edge]) -> list[dict[str, Any]]:
    """Returns the entries of `edges:`, arrows that share an argument being together."""
    groups: dict[tuple[str | None, ...], list[Edge]] = {}
    for e in edges:
        groups.setdefault((e.kind, e.source_ref, e.rationale), []).append(e)
    entries: list[dict[str, Any]] = []
    for (kind, reference, rationale), group in groups.items():
        causes = list(dict.fromkeys(e.source for e in group))
        effects = {c: [e.target for e in group if e.source == c] for c in causes}
        first = effects[causes[0]]
        if all(set(effects[c]) == set(first) for c in causes):
            blocks = [(causes, first)]
        else:
            blocks = [([c], effects[c]) for c in causes]
        for sources, targets in blocks:
            entry = {
                "from": sources[0] if len(sources) == 1 else sources,
                "to": targets[0] if len(targets) == 1 else targets,
                "kind": kind,
                "source": reference,
                "rationale": rationale,
            }
            entries.append(_present(entry))
    return entries


def _present(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if value is not None}


def _flow(value: Any) -> str:  # noqa: ANN401, whatever YAML can say
    """Returns the value on one line of YAML, numbers without a needless `.0`."""
    text = yaml.safe_dump(
        _plain(value),
        default_flow_style=True,
        sort_keys=False,
        allow_unicode=True,
        width=float("inf"),
    )
    return text.removesuffix("...\n").strip()


def _plain(value: Any) -> Any:  # noqa: ANN401, whatever YAML can say
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value
