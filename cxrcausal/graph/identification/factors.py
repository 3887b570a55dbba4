r"""The factors that a distribution is made of, one per district, and how one is got from another.

With hidden causes the distribution of what is recorded is a product of *factors*, one per district
(a group that chains of hidden causes tie). So is the distribution after an intervention, of what
is left (Tian and Pearl),

.. math:: p(y \mid do(x)) = \sum_{d \setminus y} \prod_i Q[D_i], \qquad D = An(y)_{G \setminus x}.

From the factor of a district follow those of parts of it: what leads to no more than a part is
summed out, and what is then no longer tied to the part is divided out. Where neither is possible,
a hedge is found.

Data of the selected tell the factor of one district, which holds the selection and all of its
causes, up to a constant. It may not be summed over the selection, since the others are not there:
the selection is an *anchor* (the recursion of Bareinboim and Tian).

References:
    | A General Identification Condition for Causal Effects
    | (Tian and Pearl, 2002), https://aaai.org/Papers/AAAI/2002/AAAI02-085.pdf
    | Recovering Causal Effects from Selection Bias
    | (Bareinboim and Tian, 2015), https://doi.org/10.1609/aaai.v29i1.9679
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import final

from cxrcausal.graph.identification.estimand import Conditional, Formula, Product, Ratio, sum_out
from cxrcausal.graph.identification.mixed import MixedGraph

__all__ = ["Hedge", "compose", "ratio"]


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


def compose(
    graph: MixedGraph, wanted: MixedGraph, y: Sequence[str], anchor: Collection[str] = ()
) -> tuple[Formula, Hedge | None]:
    """Returns the distribution of `y` from the factors of the graph's districts, or the hedge.

    Arguments:
        graph: The graph of the data; with an anchor, all causes of the anchor are one district.
        wanted: What is left of it after the intervention, as far as it leads to `y`.
        y: What is asked for.
        anchor: Selections, each of which has one value in the data. If `y` names them, what is
            returned is the distribution up to a constant.
    """
    first = graph.ancestors(anchor) if anchor else set()
    order = [v for v in graph.order if v in first], [v for v in graph.order if v not in first]
    graph = MixedGraph((*order[0], *order[1]), graph.parents, graph.spouses)
    districts = graph.districts()
    factors: list[Formula] = []
    for part in wanted.districts():
        around = next(d for d in districts if part[0] in d)
        known = Product(
            tuple(
                Conditional((v,), tuple(p for p in graph.pillow(v) if p not in anchor))
                for v in around
                if v not in anchor
            )
        )
        found = _factor(graph, part, around, known, anchor)
        if isinstance(found, Hedge):
            return Product(()), found
        factors.append(found)
    summed = [v for v in wanted.order if v not in y and v not in anchor]
    return sum_out(_product(factors), summed), None


def _factor(
    graph: MixedGraph,
    part: Sequence[str],
    around: Sequence[str],
    known: Formula,
    anchor: Collection[str],
) -> Formula | Hedge:
    """Returns the factor of `part`, given that of the district `around` it, or the hedge."""
    inner = graph.within(around)
    above = inner.ancestors([*part, *(v for v in anchor if v in around)])
    known = sum_out(known, [v for v in around if v not in above])
    if above == set(part):
        return known
    smaller = inner.within(above)
    district = smaller.district(part[0])
    if district == set(around):
        return Hedge(tuple(around), tuple(part))
    factors: list[Formula] = []
    for i, v in enumerate(smaller.order):
        if v in district and v not in anchor:
            later = [w for w in smaller.order[i + 1 :] if w not in anchor]
            factors.append(ratio(sum_out(known, later), sum_out(known, [v, *later])))
    left = [v for v in smaller.order if v in district]
    return _factor(smaller, part, left, _product(factors), anchor)


def _product(factors: Sequence[Formula]) -> Product:
    return Product(
        tuple(t for f in factors for t in (f.terms if isinstance(f, Product) else (f,)))
    )


def ratio(above: Formula, below: Formula) -> Formula:
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
