"""What an effect rests on: the data and the graph, the coupling of worlds, or nothing at all.

An average effect may follow from data once the graph is granted (`CausalGraph.identifiable`), and is
then this figure if nothing hidden ties what the SCM sums over. Among patients alike in something it
is identified apart: a cause that is hidden may tie the outcome to what they are alike in. A
nested effect follows if no *district*, a group of variables tied by hidden causes, is asked to hear
of two values of the cause at once (Shpitser), and each district's factor follows from data. What
asks of two worlds of one patient never does: it rests on how the mechanisms couple their levels.
What the graph says cannot be is zero by construction, and no figure.

References:
    | Counterfactual Graphical Models for Longitudinal Mediation Analysis with Unobserved Confounding
    | (Shpitser, 2013), https://doi.org/10.1111/cogs.12058
    | Effects of Treatment on the Treated: Identification and Generalization
    | (Shpitser and Pearl, 2009), https://arxiv.org/abs/1205.2615
    | Identification of Conditional Interventional Distributions
    | (Shpitser and Pearl, 2006), https://arxiv.org/abs/1206.6876
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, final

from cxrcausal.counterfactual.worlds import Copy, Worlds
from cxrcausal.errors import summarise
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.graph.mixed import MixedGraph
from cxrcausal.graph.paths import without_tails
from cxrcausal.graph.separation import connected

__all__ = [
    "Basis",
    "Claim",
    "claim_of_nested",
    "claim_of_total",
    "claim_of_treated",
    "is_spurious",
    "recorded",
]

Basis = Literal["data", "model", "coupling", "construction"]
"""What a figure rests on."""

_WORDS = {
    "data": "follows from data, the graph granted",
    "model": "a claim of the model, which data do not decide",
    "coupling": "a claim of the model: it rests on how its mechanisms couple worlds",
    "construction": "zero by construction",
}


@final
@dataclass(frozen=True)
class Claim:
    """What an effect rests on; true if it follows from data.

    Arguments:
        basis: `data` (identified, the graph granted), `model` (not identified), `coupling` (no
            data could identify it) or `construction` (the graph leaves no such path).
        why: The reason.
    """

    basis: Basis
    why: str

    def __bool__(self) -> bool:
        return self.basis == "data"

    def __str__(self) -> str:
        return f"{_WORDS[self.basis]} ({self.why})"


def recorded(graph: CausalGraph, worlds: Worlds) -> CausalGraph:
    """Returns the graph over what the fit observed: what nobody recorded is a hidden cause."""
    if len(worlds.parents) == len(graph.variables):
        return graph
    return graph.project(tuple(worlds.parents))


def claim_of_total(graph: CausalGraph, worlds: Worlds, given: Iterable[str] = ()) -> Claim:
    """Returns what the average effect of the cause on the outcome rests on.

    Arguments:
        graph: The graph over what is recorded.
        worlds: Between which variables.
        given: Among patients alike in what; that has an identification of its own.
    """
    alike = tuple(given)
    lost = [v for v in alike if v not in graph.variables]
    if lost:
        return Claim("model", f"the fit never observed {summarise(lost)}")
    found = graph.identifiable(worlds.cause, worlds.outcome, alike)
    if not found:
        return Claim("model", found.why)
    return _granted(graph, worlds, found.why, causes=False, given=alike)


def claim_of_treated(graph: CausalGraph, worlds: Worlds) -> Claim:
    """Returns what the effect among those with one value of the cause rests on.

    Enough is a back-door set, or a cause of two levels whose average effect is identified.
    """
    found = graph.identifiable(worlds.cause, worlds.outcome)
    if not found:
        return Claim("model", found.why)
    sets = graph.adjustment_sets(worlds.cause, worlds.outcome, most=1)
    if not sets.back_door and graph.variables[worlds.cause].kind != "binary":
        return Claim("model", f"no back-door set, and {worlds.cause} is not of two levels")
    return _granted(graph, worlds, found.why, causes=True)


def claim_of_nested(graph: CausalGraph, worlds: Worlds, outcomes: Iterable[Copy]) -> Claim:
    """Returns what a nested effect rests on (Shpitser's recanting district)."""
    left = _relevant(graph, worlds)
    left = left.within([v for v in left.order if v != worlds.cause])
    for outcome in outcomes:
        heard: dict[str, set[float]] = {}
        for name, copies in worlds.needed([outcome]).items():
            values = {copy.heard(worlds.cause) for copy in copies}
            heard[name] = {v for v in values if v is not None}
        for district in left.districts():
            tied = [v for v in district if heard.get(v)]
            twice = [v for v in tied if len(heard[v]) > 1]
            if twice:
                why = f"{twice[0]} would have to hear of both values of {worlds.cause}"
                return Claim("coupling", why)
            if len(set().union(*(heard[v] for v in tied))) > 1:
                both = f"{', '.join(tied)} hear of different values of {worlds.cause}"
                return Claim("model", f"{both}, and hidden causes tie them")
    if graph.hidden or graph.selection:
        for district in left.districts():
            rest = [v for v in (worlds.cause, *left.order) if v not in district]
            found = graph.identifiable(rest, district)
            if not found:
                return Claim("model", found.why)
    why = "no variable has to hear of both values"
    return _granted(graph, worlds, why, causes=False)


def _granted(
    graph: CausalGraph, worlds: Worlds, why: str, *, causes: bool, given: Iterable[str] = ()
) -> Claim:
    """Returns that an identified effect follows from data, if the SCM's formula is the one that does.

    The SCM takes every arrow below the cause as it is seen, as if nothing hidden tied its ends. An
    effect that data tell by another formula (the front door) it does not compute.

    Arguments:
        graph: The graph over what is recorded.
        worlds: Between which variables.
        why: How the effect is identified.
        causes: Whether the distribution of the cause given its own causes enters too.
        given: What patients are alike in.
    """
    relevant = _relevant(graph, worlds, given)
    ours = {*worlds.moved, *([worlds.cause] if causes else [])}
    for name in relevant.order:
        tied = sorted(relevant.district(name) - {name})
        if name in ours and tied:
            words = f"hidden causes tie {name} to {summarise(tied)}, which the SCM does not count"
            return Claim("model", f"{words}; data could tell it: {why}")
    selected = [v for v in graph._all_parents() if v.startswith("selection:")]
    reached = connected(graph._all_parents(), selected, ()) if selected else set()
    if not reached.isdisjoint(relevant.order):
        words = "selection reaches what is summed over, which the SCM does not count"
        return Claim("model", f"{words}; data could tell it: {why}")
    return Claim("data", why)


def _relevant(graph: CausalGraph, worlds: Worlds, given: Iterable[str] = ()) -> MixedGraph:
    """Returns the mixed graph over the outcome, what patients are alike in, and their ancestors."""
    whole = MixedGraph.over(graph._all_parents(), graph.topological_order)
    return whole.within(whole.ancestors([worlds.outcome, *given]))


def is_spurious(worlds: Worlds) -> bool:
    """Whether anything but the causal paths ties the cause to the outcome in the fitted model."""
    cut = without_tails(worlds.parents, [worlds.cause])
    return worlds.outcome in connected(cut, [worlds.cause], ())
