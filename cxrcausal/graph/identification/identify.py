r"""What data can answer: the ID algorithm, with hidden common causes and selection counted.

The distribution after an intervention is a product of one factor per district of what is left
(see `factors`). Each is computed from the factor of the whole graph's district around it, or a
*hedge* stands in the way (Shpitser and Pearl): a c-forest over that district with another inside,
and then no formula exists at all.

Data from a selected part of the patients tell the factor of all causes of the selection only as
one, up to a constant. So the causes of the selection and the selection itself count as one
district, which may shrink but never loses the selection: what can be known in spite of that is
recovered by the recursion of Bareinboim and Tian, which is complete (Correa et al.), and nothing
else is. Every verdict assumes that the values summed over do occur (positivity).

References:
    | A General Identification Condition for Causal Effects
    | (Tian and Pearl, 2002), https://aaai.org/Papers/AAAI/2002/AAAI02-085.pdf
    | Identification of Joint Interventional Distributions in Recursive Semi-Markovian Causal
    | Models
    | (Shpitser and Pearl, 2006), https://aaai.org/Papers/AAAI/2006/AAAI06-191.pdf
    | Identifiability in Causal Bayesian Networks: A Sound and Complete Algorithm
    | (Huang and Valtorta, 2006), https://aaai.org/Papers/AAAI/2006/AAAI06-180.pdf
    | Recovering Causal Effects from Selection Bias
    | (Bareinboim and Tian, 2015), https://doi.org/10.1609/aaai.v29i1.9679
    | Identification of Causal Effects in the Presence of Selection Bias
    | (Correa, Tian and Bareinboim, 2019), https://doi.org/10.1609/aaai.v33i01.33012744
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from cxrcausal.graph.edge import IMAGE
from cxrcausal.graph.identification.adjustment import adjustment_sets, check_effect
from cxrcausal.graph.identification.estimand import Conditional, Formula, Product, Sum, free, spell
from cxrcausal.graph.identification.factors import Hedge, compose
from cxrcausal.graph.identification.mixed import MixedGraph
from cxrcausal.graph.identification.separation import connected

if TYPE_CHECKING:
    from cxrcausal.graph.dag import CausalGraph

__all__ = ["Hedge", "Identification", "identify"]


@final
@dataclass(frozen=True)
class Identification:
    """Whether an effect follows from the distribution of the data, and how; true if it does.

    Arguments:
        x: The causes.
        y: The effects.
        identified: The verdict. False is a proof: of a `hedge`, or of selection (as if all
            selections were one).
        estimand: The formula in words, None if not identified.
        formula: The same as a value.
        hedge: What stands in the way, None if nothing does or if it is selection.
        why: The verdict's reason.
        given: What is known of those whom the effect is asked of.
    """

    x: tuple[str, ...]
    y: tuple[str, ...]
    identified: bool
    estimand: str | None = None
    formula: Formula | None = None
    hedge: Hedge | None = None
    why: str = ""
    given: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.identified

    def __str__(self) -> str:
        after = ", ".join([f"do({', '.join(self.x)})", *self.given])
        effect = f"P({', '.join(self.y)} | {after})"
        if self.identified:
            return f"{effect} = {self.estimand}\n  {self.why}"
        return f"{effect} is not identified: {self.why}"


def identify(
    graph: "CausalGraph", x: Sequence[str], y: Sequence[str], *, selection: bool = True
) -> Identification:
    """Returns whether the effect of `x` on `y` can be computed from observational data, and how.

    Arguments:
        graph: The graph; its hidden causes count.
        x: The causes, all set at once.
        y: The effects.
        selection: Whether the data are those of the selected; False asks as if nobody had been.

    Raises:
        GraphError: If `x` or `y` is empty, or they overlap.
    """
    check_effect(x, y)
    parents = graph._all_parents()
    order = [*graph.topological_order, *([IMAGE] if graph.has_image else [])]
    x, y = tuple(x), tuple(y)
    whole = MixedGraph.over(parents, order)
    relevant = whole.within(whole.ancestors(y))
    left = relevant.within([v for v in relevant.order if v not in x])
    wanted = left.within(left.ancestors(y))

    formula, hedge = compose(relevant, wanted, y)
    if hedge is not None:
        causes = [v for v in hedge.forest if v in x]
        why = f"hidden causes tie {', '.join(causes)} to {', '.join(hedge.inner)}: {hedge}"
        return Identification(x, y, identified=False, hedge=hedge, why=why)
    why = "nothing hidden interferes" if not graph.hidden else "no hidden cause stands in the way"
    sets = adjustment_sets(graph, x, y, selection=selection, most=1)
    selected = [v for v in parents if v.startswith("selection:")] if selection else []
    biased = bool(selected) and not connected(parents, selected, ()).isdisjoint(relevant.order)
    if not biased and not set(x) & set(relevant.order):
        formula, why = Conditional(y), sets.why
    elif sets.back_door:  # the shortest formula there is
        formula = _adjusted(x, y, sets.back_door[0])
        why = sets.why or f"adjust for {', '.join(sets.back_door[0]) or 'nothing'}"
    elif biased:
        recovered = _recover(MixedGraph.over(parents, [*order, *selected]), selected, x, y)
        if recovered is None:
            names = ", ".join(s.name for s in graph.selection)
            why = f"selection ({names}) reaches what the formula needs, and none recovers it"
            return Identification(x, y, identified=False, why=f"{why}; {sets.why}")
        formula = recovered
        why = "every factor is the same among the selected as among all"
    arbitrary = [v for v in order if v in free(formula) - {*x, *y}]
    if arbitrary:
        why += f"; the same for every value of {', '.join(arbitrary)}"
    return Identification(x, y, True, spell(formula, order), formula, None, why)


def _adjusted(x: Sequence[str], y: Sequence[str], z: tuple[str, ...]) -> Formula:
    outcome = Conditional(tuple(y), (*x, *z))
    return Sum(z, Product((Conditional(z), outcome))) if z else outcome


def _recover(
    graph: MixedGraph, selected: Sequence[str], x: Sequence[str], y: Sequence[str]
) -> Formula | None:
    r"""Returns :math:`P(y \mid do(x))` from data of the selected; None if not identified.

    In an order that begins with the selection and its causes, all factors but theirs are products
    of conditionals among the selected (Bareinboim and Tian).
    """
    tied = graph.within(graph.ancestors([*y, *selected])).tie(graph.ancestors(selected))
    left = tied.within([v for v in tied.order if v not in x])
    formula, hedge = compose(tied, left.within(left.ancestors(y)), y, selected)
    return formula if hedge is None else None
