"""Whether two graphs say the same, and where they differ."""

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from cxrcausal.graph.edge import IMAGE, Edge

if TYPE_CHECKING:
    from cxrcausal.graph.dag import CausalGraph

__all__ = ["GraphDiff", "fingerprint"]


def fingerprint(graph: "CausalGraph") -> str:
    """Returns 16 hex digits of the SHA-256 of what the graph *says*.

    That is: the variables with all that is declared of them, the arrows, what hidden causes touch,
    what selection depends on, and what the radiograph shows. Names and versions of the graph,
    names of hidden causes and selections, kinds and rationales of arrows and the order in which
    arrows are listed are left out. The order of the variables counts, because it decides the order
    of parents, and so which weight of a fitted mechanism meets which parent.
    """
    selected = {s.name: f"selection {sorted(s.caused_by)}" for s in graph.selection}
    content = {
        "format": 1,
        "variables": [[name, variable.to_dict()] for name, variable in graph.variables.items()],
        "edges": sorted([e.source, e.target] for e in graph.edges),
        "hidden": sorted(sorted(selected.get(n, n) for n in h.touches) for h in graph.hidden),
        "selection": sorted(selected.values()),
        "image": sorted(graph.image_parents) if graph.has_image else None,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@final
@dataclass(frozen=True)
class GraphDiff:
    """What turns one graph into another; false if nothing does.

    Arguments:
        added: Arrows of the second graph only, those into the image included.
        removed: Arrows of the first graph only.
        reversed: Arrows of the second graph that point the other way in the first.
        changed: Everything else, one sentence each: variables, hidden causes, selections.
    """

    added: tuple[Edge, ...] = ()
    removed: tuple[Edge, ...] = ()
    reversed: tuple[Edge, ...] = ()
    changed: tuple[str, ...] = ()

    @classmethod
    def between(cls, first: "CausalGraph", second: "CausalGraph") -> "GraphDiff":
        """Returns what turns `first` into `second`."""
        old, new = _arrows(first), _arrows(second)
        turned = {
            (a, b) for a, b in new if (a, b) not in old and (b, a) in old and (b, a) not in new
        }
        gone = {(b, a) for a, b in turned}
        return cls(
            added=tuple(e for pair, e in new.items() if pair not in old and pair not in turned),
            removed=tuple(e for pair, e in old.items() if pair not in new and pair not in gone),
            reversed=tuple(e for pair, e in new.items() if pair in turned),
            changed=tuple(_other_changes(first, second)),
        )

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.reversed or self.changed)

    def __str__(self) -> str:
        lines = [
            f"{len(self.added)} added, {len(self.removed)} removed, {len(self.reversed)} reversed"
        ]
        signs = (("+", self.added), ("-", self.removed), ("~", self.reversed))
        for sign, edges in signs:
            for e in edges:
                was = f"  (was {e.target} -> {e.source})" if sign == "~" else ""
                lines.append(f"{sign} {e}{was}{f'  {e.rationale}' if e.rationale else ''}")
        return "\n".join([*lines, *(f"* {sentence}" for sentence in self.changed)])


def _arrows(graph: "CausalGraph") -> dict[tuple[str, str], Edge]:
    shown = [graph.edge(v, IMAGE) for v in graph.image_parents]
    return {(e.source, e.target): e for e in (*graph.edges, *shown)}


def _other_changes(first: "CausalGraph", second: "CausalGraph") -> list[str]:
    said = []
    for name in dict.fromkeys([*first.variables, *second.variables]):
        old, new = first.variables.get(name), second.variables.get(name)
        if old is None or new is None:
            said.append(f"variable {name} {'added' if old is None else 'removed'}")
        elif old != new:
            was, now = old.to_dict(), new.to_dict()
            keys = [k for k in dict.fromkeys([*was, *now]) if was.get(k) != now.get(k)]
            pairs = ", ".join(f"{k} {was.get(k)} -> {now.get(k)}" for k in keys)
            said.append(f"variable {name}: {pairs}")
    common = set(first.variables) & set(second.variables)
    if [n for n in first.variables if n in common] != [n for n in second.variables if n in common]:
        said.append("the variables are in another order")
    if first.has_image != second.has_image:
        said.append(f"image {'added' if second.has_image else 'removed'}")
    for what, old_all, new_all in (
        ("hidden cause", _reach(first, "hidden"), _reach(second, "hidden")),
        ("selection", _reach(first, "selection"), _reach(second, "selection")),
    ):
        for name in dict.fromkeys([*old_all, *new_all]):
            if name not in new_all:
                said.append(f"{what} {name} removed")
            elif name not in old_all:
                said.append(f"{what} {name} added: {', '.join(sorted(new_all[name]))}")
            elif old_all[name] != new_all[name]:
                more = sorted(new_all[name] - old_all[name])
                less = sorted(old_all[name] - new_all[name])
                signed = [*(f"+{n}" for n in more), *(f"-{n}" for n in less)]
                said.append(f"{what} {name}: {', '.join(signed)}")
    return said


def _reach(graph: "CausalGraph", section: str) -> dict[str, frozenset[str]]:
    if section == "hidden":
        return {h.name: frozenset(h.touches) for h in graph.hidden}
    return {s.name: frozenset(s.caused_by) for s in graph.selection}
