"""What a graph claims of every pair of its variables, so that data can contradict it.

In causal order each variable is independent of those before it given its parents, unless they are
among its parents: the ordered local Markov property, from which every other independence of the
arrows follows (Lauritzen et al., 1990). So each pair makes one claim, an arrow that should be seen
given the other parents, or an independence. Hidden causes and selection excuse some of the latter.
"""

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

from cxrcausal.graph.edge import HiddenCause, Selection

if TYPE_CHECKING:
    from cxrcausal.graph.dag import CausalGraph

__all__ = ["Claim", "claims"]


@final
@dataclass(frozen=True)
class Claim:
    """What is claimed of one pair.

    Arguments:
        kind: `edge` (dependent given the other parents) or `independence`.
        x: The later of the two in causal order; of an edge, the effect.
        y: The earlier; of an edge, the cause.
        given: What is held.
        excused_by: The hidden causes and selections because of which the graph does not claim the
            independence that its arrows alone would.
    """

    kind: Literal["edge", "independence"]
    x: str
    y: str
    given: tuple[str, ...]
    excused_by: tuple[str, ...] = ()

    def __str__(self) -> str:
        given = f" | {', '.join(self.given)}" if self.given else ""
        return (
            f"{self.y} → {self.x}{given}" if self.kind == "edge" else f"{self.x} ⊥ {self.y}{given}"
        )


def claims(graph: "CausalGraph") -> tuple[Claim, ...]:
    """Returns one claim per pair of variables, in causal order."""
    arrows = graph._replace(hidden=(), selection=())
    unseen = [*graph.hidden, *graph.selection]
    rescued = {frozenset((s.x, y)): s.given for s in graph.implied_independencies() for y in s.y}
    found = []
    order = graph.topological_order
    for i, x in enumerate(order):
        parents = graph.parents(x)
        for y in order[:i]:
            if y in parents:
                given = tuple(v for v in parents if v != y)
                found.append(Claim("edge", x, y, given))
            elif not unseen or graph.d_separated(x, y, parents):
                found.append(Claim("independence", x, y, parents))
            elif frozenset((x, y)) in rescued:
                found.append(Claim("independence", x, y, rescued[frozenset((x, y))]))
            else:
                excuses = _excuses(arrows, graph, x, y, parents)
                found.append(Claim("independence", x, y, parents, excuses))
    return tuple(found)


def _excuses(
    arrows: "CausalGraph", graph: "CausalGraph", x: str, y: str, given: tuple[str, ...]
) -> tuple[str, ...]:
    """Returns the fewest hidden causes and selections that tie the pair: each that does alone."""
    unseen: list[HiddenCause | Selection] = [*graph.hidden, *graph.selection]
    for size in range(1, len(unseen) + 1):
        found: list[str] = []
        for some in itertools.combinations(unseen, size):
            selection = [s for s in some if isinstance(s, Selection)]
            names = {s.name for s in selection} | set(graph.variables) | {"image"}
            hidden = [_among(h, names) for h in some if isinstance(h, HiddenCause)]
            hidden = [h for h in hidden if len(h.touches) > 1]
            tied = arrows._replace(hidden=hidden, selection=_caused(selection, hidden))
            if not tied.d_separated(x, y, given):
                found += [s.name for s in some if s.name not in found]
        if found:
            return tuple(found)
    return ()


def _among(cause: HiddenCause, names: set[str]) -> HiddenCause:
    return HiddenCause(cause.name, tuple(n for n in cause.touches if n in names))


def _caused(selection: list[Selection], hidden: list[HiddenCause]) -> list[Selection]:
    touched = {n for h in hidden for n in h.touches}
    return [s for s in selection if s.caused_by or s.name in touched]
