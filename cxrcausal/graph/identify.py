r"""What data can answer: the ID algorithm, with hidden common causes and selection counted.

The law after an intervention is a product of one factor per district of what is left (Tian and
Pearl),

.. math:: p(y \mid do(x)) = \sum_{d \setminus y} \prod_i Q[D_i], \qquad D = An(y)_{G \setminus x},

and each :math:`Q[D_i]` is computed from the factor of the whole graph's district around it, or a
*hedge* stands in the way (Shpitser and Pearl): a c-forest over that district with another inside,
and then no formula exists at all. Data from a selected part of the patients give the factors of
those districts that neither hold an ancestor of the selection nor share a hidden cause with it
(Bareinboim and Tian); an effect that needs another is claimed only where adjustment recovers it
(see `adjustment`). Every verdict assumes that the values summed over do occur (positivity).

References:
    | A General Identification Condition for Causal Effects
    | (Tian and Pearl, 2002), https://aaai.org/Papers/AAAI/2002/AAAI02-085.pdf
    | Identification of Joint Interventional Distributions in Recursive Semi-Markovian Causal Models
    | (Shpitser and Pearl, 2006), https://aaai.org/Papers/AAAI/2006/AAAI06-191.pdf
    | Identifiability in Causal Bayesian Networks: A Sound and Complete Algorithm
    | (Huang and Valtorta, 2006), https://aaai.org/Papers/AAAI/2006/AAAI06-180.pdf
    | Recovering Causal Effects from Selection Bias
    | (Bareinboim and Tian, 2015), https://doi.org/10.1609/aaai.v29i1.9679
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from cxrcausal.graph.adjustment import adjustment_sets, check_effect
from cxrcausal.graph.edge import IMAGE
from cxrcausal.graph.estimand import (
    Conditional,
    Formula,
    Product,
    Ratio,
    Sum,
    free,
    spell,
    sum_out,
)
from cxrcausal.graph.mixed import MixedGraph
from cxrcausal.graph.separation import connected

if TYPE_CHECKING:
    from cxrcausal.graph.dag import CausalGraph

__all__ = ["Hedge", "Identification", "identify"]


@final
@dataclass(frozen=True)
class Hedge:
    """Why an effect has no formula: two models agree on all data and differ in the effect.

    Arguments:
        forest: The nodes of a c-forest: tied by hidden causes, all leading to its roots.
        inner: The nodes of a smaller one inside, with the same roots, that meets no cause.
    """

    forest: tuple[str, ...]
    inner: tuple[str, ...]

    def __str__(self) -> str:
        return f"hedge {{{', '.join(self.forest)}}} around {{{', '.join(self.inner)}}}"


@final
@dataclass(frozen=True)
class Identification:
    """Whether an effect follows from the law of the data, and how; true if it does.

    Arguments:
        x: The causes.
        y: The effects.
        identified: The verdict. False is a proof where `hedge` is given; otherwise selection
            stands in the way of every criterion tried here.
        estimand: The formula in words, None if not identified.
        formula: The same as a value.
        hedge: What stands in the way, None if nothing does or if it is selection.
        why: The verdict's reason.
    """

    x: tuple[str, ...]
    y: tuple[str, ...]
    identified: bool
    estimand: str | None = None
    formula: Formula | None = None
    hedge: Hedge | None = None
    why: str = ""

    def __bool__(self) -> bool:
        return self.identified

    def __str__(self) -> str:
        effect = f"P({', '.join(self.y)} | do({', '.join(self.x)}))"
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

    formula, hedge = _compose(relevant, relevant.districts(), wanted, y)
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
        recovered = _recover(MixedGraph.over(parents, [*order, *selected]), selected, wanted, y)
        if recovered is None:
            names = ", ".join(s.name for s in graph.selection)
            why = f"selection ({names}) reaches what the formula needs, and none recovers it here"
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


def _compose(
    graph: MixedGraph,
    districts: Sequence[Sequence[str]],
    wanted: MixedGraph,
    y: Sequence[str],
) -> tuple[Formula, Hedge | None]:
    """Returns the law of `y` from the factors of the graph's districts, or the hedge."""
    factors: list[Formula] = []
    for part in wanted.districts():
        around = next(d for d in districts if part[0] in d)
        known = Product(tuple(Conditional((v,), graph.pillow(v)) for v in around))
        found = _identify(graph, part, around, known)
        if isinstance(found, Hedge):
            return Product(()), found
        factors.append(found)
    terms = tuple(t for f in factors for t in (f.terms if isinstance(f, Product) else (f,)))
    return sum_out(Product(terms), [v for v in wanted.order if v not in y]), None


def _identify(
    graph: MixedGraph, part: Sequence[str], around: Sequence[str], known: Formula
) -> Formula | Hedge:
    """Returns the factor of `part`, given that of the district `around` it (Tian and Pearl)."""
    inner = graph.within(around)
    above = inner.ancestors(part)
    if above == set(part):
        return sum_out(known, [v for v in around if v not in above])
    if above == set(around):
        return Hedge(tuple(around), tuple(part))
    known = sum_out(known, [v for v in around if v not in above])
    smaller = inner.within(above)
    district = smaller.district(part[0])
    factors: list[Formula] = []
    for i, v in enumerate(smaller.order):
        if v in district:
            later = list(smaller.order[i + 1 :])
            factors.append(_ratio(sum_out(known, later), sum_out(known, [v, *later])))
    terms = tuple(t for f in factors for t in (f.terms if isinstance(f, Product) else (f,)))
    return _identify(smaller, part, [v for v in smaller.order if v in district], Product(terms))


def _ratio(above: Formula, below: Formula) -> Formula:
    """Returns the quotient, the factors that both share left out."""
    over: list[Formula] = list(above.terms) if isinstance(above, Product) else [above]
    under: list[Formula] = list(below.terms) if isinstance(below, Product) else [below]
    for term in list(over):
        if term in under:
            over.remove(term)
            under.remove(term)
    top = over[0] if len(over) == 1 else Product(tuple(over))
    if not under:
        return top
    return Ratio(top, under[0] if len(under) == 1 else Product(tuple(under)))


def _recover(
    graph: MixedGraph, selected: Sequence[str], wanted: MixedGraph, y: Sequence[str]
) -> Formula | None:
    """Returns the law of `y` from the data of the selected, or None if not recovered.

    In an order that begins with the selection and its ancestors, the factor of a district that
    meets none of them is a product of conditionals of the selected (Bareinboim and Tian).
    """
    tainted = graph.ancestors(selected)
    nodes = graph.ancestors([*y, *selected])
    first = [v for v in graph.order if v in tainted]
    rest = [v for v in graph.order if v in nodes and v not in tainted]
    ordered = MixedGraph((*first, *rest), graph.parents, graph.spouses).within(nodes)
    clean = [d for d in ordered.districts() if tainted.isdisjoint(d)]
    if any(all(v not in d for d in clean) for v in wanted.order):
        return None
    formula, hedge = _compose(ordered, clean, wanted, y)
    return formula if hedge is None else None
