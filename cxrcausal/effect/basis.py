"""What an effect rests on: the data and the graph, the coupling of worlds, or nothing at all.

An average effect may follow from data once the graph is granted (`CausalGraph.identifiable`), and
is then this figure if the SCM's sums are those that identify it (`Agreement`). Among patients
alike in something it is identified apart: a hidden cause may tie the outcome to what they are
alike in. A nested effect follows if no *district*, a group of variables tied by hidden causes, is
asked to read two values of the cause at once (Shpitser), and each district's factor follows from
data. What asks of two worlds of one patient never does: it rests on how the mechanisms couple
their levels. What the graph says cannot be is zero by construction, and no figure. An effect that
data identify by another formula is named with it, and stays a claim of the model: that formula is
not computed here.

References:
    | Counterfactual Graphical Models for Longitudinal Mediation Analysis with Unobserved
    | Confounding (Shpitser, 2013), https://doi.org/10.1111/cogs.12058
    | Effects of Treatment on the Treated: Identification and Generalization
    | (Shpitser and Pearl, 2009), https://arxiv.org/abs/1205.2615
    | Identification of Conditional Interventional Distributions
    | (Shpitser and Pearl, 2006), https://arxiv.org/abs/1206.6876
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, final

from cxrcausal.effect.agreement import Agreement
from cxrcausal.effect.worlds import Copy, Worlds
from cxrcausal.errors import summarise
from cxrcausal.graph.dag import CausalGraph

__all__ = [
    "Basis",
    "Claim",
    "claim_of_groups",
    "claim_of_nested",
    "claim_of_total",
    "claim_of_treated",
    "claim_of_zero",
    "recorded",
]

Basis = Literal["data", "model", "coupling", "construction"]
"""What a figure rests on."""

_WORDS = {
    "data": "follows from data, the graph granted",
    "model": "a claim of the model, not shown to follow from data",
    "coupling": "a claim of the model: it rests on how its mechanisms couple worlds",
    "construction": "zero by construction",
}


@final
@dataclass(frozen=True)
class Claim:
    """What an effect rests on; true if it follows from data.

    Arguments:
        basis: `data` (identified, the graph granted, and by the sums that are taken here), `model`
            (not identified, or by another formula), `coupling` (no data could identify it) or
            `construction` (the graph leaves no such path).
        why: The reason for that.
        estimand: The formula that identifies the outcome under the intervention, where data could
            identify a claim of the model; it is not computed here.
    """

    basis: Basis
    why: str
    estimand: str | None = None

    def __bool__(self) -> bool:
        return self.basis == "data"

    def __str__(self) -> str:
        if self.estimand is not None:
            return (
                f"the model's claim; data identify it by {self.estimand}, "
                f"which is not computed here ({self.why})"
            )
        return f"{_WORDS[self.basis]} ({self.why})"


def recorded(graph: CausalGraph, worlds: Worlds) -> CausalGraph:
    """Returns the graph over what the fit observed: what nobody recorded is a hidden cause."""
    if len(worlds.parents) == len(graph.variables):
        return graph
    return graph.project(tuple(worlds.parents))


def claim_of_total(
    graph: CausalGraph, worlds: Worlds, given: Iterable[str] = (), *, pooled: bool = False
) -> Claim:
    """Returns what the average effect of the cause on the outcome rests on.

    Arguments:
        graph: The graph over what is recorded.
        worlds: The copies of what lies between cause and outcome.
        given: The variables that patients are alike in; that has an identification of its own.
        pooled: Whether they are alike only in that these lie in a range, or are one of several
            levels.
    """
    alike = tuple(given)
    lost = [v for v in alike if v not in graph.variables]
    if lost:
        return Claim("model", f"the fit never observed {summarise(lost)}")
    doubt = Agreement(graph, worlds, alike, pooled=pooled).of_average()
    found = graph.identifiable(worlds.cause, worlds.outcome, alike)
    if not doubt:  # which identifies it, also where no search of a formula finds it
        return Claim("data", found.why if found else "what the SCM sums is the same among all")
    if not found:
        return Claim("model", found.why)
    strata = " in each stratum" if pooled else ""
    return Claim("model", doubt, f"{found.estimand}{strata}")


def claim_of_treated(graph: CausalGraph, worlds: Worlds) -> Claim:
    """Returns what the outcome under one value of the cause rests on, among those with another."""
    agreement = Agreement(graph, worlds)
    doubt = agreement.of_treated()
    if not doubt:
        return Claim("data", "what ties the cause to the outcome is averaged over as in these")
    if not agreement.is_confounded():
        return claim_of_total(graph, worlds)
    found = graph.identifiable(worlds.cause, worlds.outcome)
    if not found:
        return Claim("model", found.why)
    return Claim("model", doubt, _among_treated(graph, worlds, agreement, found.estimand or ""))


def _among_treated(
    graph: CausalGraph, worlds: Worlds, agreement: Agreement, average: str
) -> str | None:
    """Returns a formula of the outcome under x among those with x′, where one is known.

    By a back-door set that the cause does not change, or of a cause of two levels by what the
    average and those with x leave (Shpitser and Pearl).
    """
    x, y = worlds.cause, worlds.outcome
    if agreement.is_selected():
        return None
    sets = graph.adjustment_sets(x, y, most=1).back_door
    if sets and not set(sets[0]) & set(graph.descendants(x)):
        z = ", ".join(sets[0])
        return f"Σ_{{{z}}} P({z} | {x}′) P({y} | {x}, {z})" if z else f"P({y} | {x})"
    if graph.variables[x].kind == "binary":
        asked = f"P({y} | do({x}))"
        return f"[{asked} − P({x}, {y})] / P({x}′) with {asked} = {average}"
    return None


def claim_of_groups(graph: CausalGraph, worlds: Worlds) -> Claim:
    """Returns what the SCM's difference between groups, by their value of the cause, rests on."""
    doubt = Agreement(graph, worlds).of_groups()
    if doubt:
        return Claim("model", f"{doubt}; the observed difference stands beside it")
    return Claim("data", "a difference of observed groups")


def claim_of_zero(graph: CausalGraph, worlds: Worlds, why: str) -> Claim:
    """Returns that the SCM has no path that could carry an effect, and whether the graph has none.

    Arguments:
        graph: The graph over what is recorded.
        worlds: The copies of what lies between cause and outcome.
        why: The reason why the SCM has none.
    """
    lost = Agreement(graph, worlds).lost()
    if lost:
        return Claim("model", f"{why} in the SCM, but {lost}")
    return Claim("construction", why)


def claim_of_nested(
    graph: CausalGraph, worlds: Worlds, outcomes: Iterable[Copy], *, treated: bool = False
) -> Claim:
    """Returns what a nested effect rests on (Shpitser's recanting district).

    Arguments:
        graph: The graph over what is recorded.
        worlds: The copies of what lies between cause and outcome.
        outcomes: The copies of the outcome that are asked for.
        treated: Whether the effect is among those with one value of the cause.
    """
    agreement = Agreement(graph, worlds)
    relevant = agreement.relevant()
    left = relevant.within([v for v in relevant.order if v != worlds.cause])
    for outcome in outcomes:
        read: dict[str, set[float]] = {}
        for name, copies in worlds.needed([outcome]).items():
            values = {copy.value_read(worlds.cause) for copy in copies}
            read[name] = {v for v in values if v is not None}
        for district in left.districts():
            tied = [v for v in district if read.get(v)]
            twice = [v for v in tied if len(read[v]) > 1]
            if twice:
                why = f"{twice[0]} would have to read both values of {worlds.cause}"
                return Claim("coupling", why)
            if len(set().union(*(read[v] for v in tied))) > 1:
                both = f"{', '.join(tied)} read different values of {worlds.cause}"
                return Claim("model", f"{both}, and hidden causes tie them")
    several = len(worlds.moved) > 1
    of_effect = agreement.of_treated if treated else agreement.of_average
    doubt = of_effect(nested=several)
    if not doubt:
        return Claim("data", "no variable has to read both values")
    if treated or agreement.lost():
        return Claim("model", doubt)
    factors = []
    for district in left.districts():
        rest = [v for v in (worlds.cause, *left.order) if v not in district]
        found = graph.identifiable(rest, district)
        if not found:
            return Claim("model", found.why)
        factors.append(f"[{found.estimand}]")
    summed = ", ".join(v for v in left.order if v != worlds.outcome)
    formula = (f"Σ_{{{summed}}} " if summed else "") + " ".join(factors)
    return Claim("model", doubt, f"{formula} with {worlds.cause} in each factor as it reads it")
