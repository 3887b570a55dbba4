r"""What each part of a decomposition rests on: the radiograph as one more variable of the graph.

A score is a function of the radiograph, and the radiograph has parents: with it as the outcome,
the parts of a difference of scores are nested counterfactuals like those of the metadata, and the
same rules say which of them data identify (`cxrcausal.effect.basis`). A part that holds some
mediators and moves others that cause them asks of two worlds of one patient, which no data show.
"""

import dataclasses
from collections.abc import Collection, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, final

from cxrcausal.effect.agreement import Agreement
from cxrcausal.effect.basis import (
    Claim,
    claim_of_nested,
    claim_of_treated,
    recorded,
)
from cxrcausal.effect.worlds import Copy, Worlds
from cxrcausal.errors import UnobservedError, summarise
from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.graph.edge import IMAGE
from cxrcausal.scm.reach import descendants_of

if TYPE_CHECKING:
    from cxrcausal.counterfactual import CounterfactualModel

__all__ = ["Paths"]

_GUIDED = "guided radiographs are not the mechanism's own; of unguided ones it"


@final
class Paths:
    """The ways from a protected attribute into the radiograph, by the kind of the last variable.

    The kind of a variable is its role in the graph; kinds are ordered by their first mediator,
    causes before effects, and those without one come last.

    Arguments:
        model: The joint model.
        attribute: The protected attribute, a parent of the image.
        guided: Whether guidance imposes changes more strongly than the mechanism does.

    Raises:
        UnobservedError: If the SCM never observed the attribute.
    """

    def __init__(self, model: "CounterfactualModel", attribute: str, *, guided: bool) -> None:
        assert model.image is not None
        self.attribute, self.guided = attribute, guided
        mechanisms = model.scm.mechanisms
        if attribute not in mechanisms:
            raise UnobservedError(
                f"the SCM never observed {attribute!r}, so it cannot say what follows from it; "
                f"observed: {summarise(mechanisms, 20)}"
            )
        graph, observed = model.graph, model.image.observed
        follow = set(descendants_of(mechanisms, [attribute]))
        below = set(graph.descendants(attribute))
        shown = [v for v in graph.topological_order if v in graph.image_parents and v != attribute]
        painted = {v.name for v in model.image.attributes if len(observed.get(v.name) or ()) > 1}
        self.by_kind: dict[str, tuple[str, ...]] = {}
        self.others: dict[str, tuple[str, ...]] = {}
        self._lost: dict[str, str] = {}
        for kind in dict.fromkeys([_kind(graph, v) for v in shown if v in follow & painted]):
            of_kind = [v for v in shown if _kind(graph, v) == kind]
            self.by_kind[kind] = tuple(v for v in of_kind if v in follow & painted)
        for kind in dict.fromkeys(_kind(graph, v) for v in shown):
            of_kind = [v for v in shown if _kind(graph, v) == kind]
            if kind not in self.by_kind:
                self.others[kind] = tuple(of_kind)
            lost = [v for v in of_kind if v in below - (follow & painted)]
            self._lost[kind] = _words_of_lost(lost, painted)
        seen = tuple(v for v in model.image.attributes if v.name in {*mechanisms} & painted)
        self._node = _new_name(graph)
        self._mechanisms: Any = {**mechanisms, self._node: SimpleNamespace(parents=seen)}
        self._worlds = Worlds(self._mechanisms, attribute, self._node)
        self._graph = recorded(_with_radiograph(graph, self._node), self._worlds)

    def direct(self) -> Claim:
        """Returns what the effect of the attribute in the image alone rests on."""
        return self._nested(self._copy(1.0, ()))

    def total(self) -> Claim:
        """Returns what the effect of the attribute with all that follows rests on."""
        return self._unless_guided(claim_of_treated(self._graph, self._worlds))

    def indirect(self, kind: str) -> Claim:
        """Returns what the part that arrives through a kind of mediators rests on."""
        lost = self._lost[kind]
        if kind in self.others:
            named = summarise(self.others[kind], 20)
            why = f"no causal path leads from {self.attribute} to {named}"
            return Claim("model", lost) if lost else Claim("construction", why)
        if lost:
            return Claim("model", lost)
        kinds = list(self.by_kind)
        after = [v for k in kinds[: kinds.index(kind) + 1] for v in self.by_kind[k]]
        own = self.by_kind[kind]
        before = [v for v in after if v not in own]
        return self._nested(self._copy(1.0, before), self._copy(1.0, after), self._copy(0.0, own))

    def spurious(self) -> Claim:
        """Returns what the part that goes with the attribute but not from it rests on."""
        if Agreement(self._graph, self._worlds).is_confounded():
            return self._unless_guided(claim_of_treated(self._graph, self._worlds))
        only = f"only causal paths tie {self.attribute} to the radiograph"
        guidance = ", guidance" if self.guided else ""
        otherwise = f"another figure is chance{guidance}, or an error of model or graph"
        return Claim("construction", f"{only}; {otherwise}")

    def _nested(self, *copies: Copy) -> Claim:
        claim = claim_of_nested(self._graph, self._worlds, copies, treated=True)
        return self._unless_guided(claim)

    def _unless_guided(self, claim: Claim) -> Claim:
        if self.guided and claim:
            return Claim("model", f"{_GUIDED} follows from data: {claim.why}")
        return claim

    def _copy(self, own: float, moved: Collection[str]) -> Copy:
        """Returns the radiograph in a world between the two, 0.0 the one here and 1.0 the other.

        Arguments:
            own: In which of them the attribute is.
            moved: The mediators that are as in the other; the rest are as here.
        """
        reads = {self.attribute: Copy(self.attribute, value=own)}
        for parent in self._worlds.parents[self._node]:
            if parent in self._worlds.moved:
                worlds = Worlds(self._mechanisms, self.attribute, parent)
                reads[parent] = worlds.under(float(parent in moved))
        return Copy(self._node, reads)


def _kind(graph: CausalGraph, name: str) -> str:
    return graph.variables[name].role or "other"


def _words_of_lost(names: Sequence[str], painted: Collection[str]) -> str:
    """Returns where in the parts that is what mediators carry which some model never observed."""
    held = [name for name in names if name in painted]
    blind = [name for name in names if name not in painted]
    words = []
    if held:
        words.append(
            f"no path of the SCM leads to {summarise(held, 20)}, held as they are: what they "
            "carry is in no part"
        )
    if blind:
        words.append(
            f"the image mechanism never observed {summarise(blind, 20)} vary: what they carry "
            "counts as direct"
        )
    return "; ".join(words)


def _new_name(graph: CausalGraph) -> str:
    taken = {*graph.variables, *(h.name for h in graph.hidden), *(s.name for s in graph.selection)}
    name = "radiograph"
    while name in taken:
        name += "_"
    return name


def _with_radiograph(graph: CausalGraph, node: str) -> CausalGraph:
    """Returns the graph with the radiograph as a variable, which its hidden causes touch too."""
    return CausalGraph(
        [*graph.variables.values(), Variable(node, "continuous")],
        [*graph.edges, *((parent, node) for parent in graph.image_parents)],
        name=graph.name,
        hidden=[
            dataclasses.replace(h, touches=tuple(node if t == IMAGE else t for t in h.touches))
            for h in graph.hidden
        ],
        selection=graph.selection,
    )
