r"""Effects among those alike in something: the IDC algorithm, with selection counted.

What is conditioned on may be set instead wherever nothing but its own effect ties it to the
outcome (rule 2 of the do-calculus). Of the rest the joint effect is needed (Shpitser and Pearl),

.. math:: p(y \mid do(x), z) = \frac{p(y, z \mid do(x))}{\sum_{y'} p(y', z \mid do(x))},

so an effect may be identified on average and not in strata, and the other way round. Where the
outcome does not depend on selection once :math:`x` is set and :math:`z` is known, the same may be
asked among the selected alone, whose share then cancels in the quotient.

References:
    | Identification of Conditional Interventional Distributions
    | (Shpitser and Pearl, 2006), https://arxiv.org/abs/1206.6876
"""

import dataclasses
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from cxrcausal.errors import GraphError
from cxrcausal.graph.edge import IMAGE
from cxrcausal.graph.identification.estimand import Conditional, Formula, free, spell, sum_out
from cxrcausal.graph.identification.factors import compose, ratio
from cxrcausal.graph.identification.identify import Identification, identify
from cxrcausal.graph.identification.mixed import MixedGraph
from cxrcausal.graph.identification.paths import without_heads, without_tails
from cxrcausal.graph.identification.separation import Adjacency, connected

if TYPE_CHECKING:
    from cxrcausal.graph.dag import CausalGraph

__all__ = ["identify_given"]


def identify_given(
    graph: "CausalGraph",
    x: Sequence[str],
    y: Sequence[str],
    given: Sequence[str],
    *,
    selection: bool = True,
) -> Identification:
    """Returns whether the effect of `x` on `y` among those alike in `given` follows from data.

    Without selection the verdict is a proof either way; under selection only that it does follow.

    Arguments:
        graph: The graph; its hidden causes count.
        x: The causes, all set at once.
        y: The effects.
        given: What is known of those asked about; it may be an effect of `x`.
        selection: Whether the data are those of the selected; False asks as if nobody had been.

    Raises:
        GraphError: If `x` or `y` is empty, or two of the three overlap.
    """
    both = [v for v in given if v in x or v in y]
    if both:
        raise GraphError(
            f"an effect is asked among those alike in something else, but {both[0]!r} is given "
            f"and is a cause or an effect too"
        )
    x, y, given = tuple(x), tuple(y), tuple(dict.fromkeys(given))
    parents = graph._all_parents()
    selected = [v for v in parents if v.startswith("selection:")] if selection else []
    order = [*graph.topological_order, *([IMAGE] if graph.has_image else [])]
    moved = _exchanged(parents, x, y, given)
    rest = tuple(v for v in given if v not in moved)
    joint = identify(graph, (*x, *moved), (*y, *rest), selection=selection)
    formula: Formula | None
    if _nothing_else(parents, x, y, given, selected):
        formula, why = Conditional(y, (*x, *given)), "nothing but the effect ties them there"
    elif joint.formula is not None:
        formula, why = joint.formula, joint.why.split("; the same for")[0]
        if rest:
            formula = ratio(formula, sum_out(formula, y))
            why = f"the effect on {', '.join((*y, *rest))} together follows"
    elif selected and joint.hedge is None:
        whole = MixedGraph.over(parents, [*order, *selected])
        found = _among_selected(whole, parents, (*x, *moved), y, rest, selected)
        formula, why = found, "among the selected it is what it is among all"
    else:
        formula, why = None, joint.why
    if formula is None:
        return dataclasses.replace(joint, x=x, y=y, given=given)
    arbitrary = [v for v in order if v in free(formula) - {*x, *y, *given}]
    if arbitrary:
        why += f"; the same for every value of {', '.join(arbitrary)}"
    return Identification(x, y, True, spell(formula, order), formula, None, why, given)


def _exchanged(
    parents: Adjacency,
    x: Sequence[str],
    y: Sequence[str],
    given: Sequence[str],
    held: Collection[str] = (),
) -> tuple[str, ...]:
    """Returns which of `given` may be set instead (rule 2), `held` being conditioned on too."""
    moved: list[str] = []
    rest = list(given)
    for _ in given:
        for z in rest:
            others = {*x, *moved, *held, *(v for v in rest if v != z)}
            cut = without_tails(without_heads(parents, [*x, *moved]), [z])
            if z not in connected(cut, y, others):
                moved.append(z)
                rest.remove(z)
                break
    return tuple(moved)


def _nothing_else(
    parents: Adjacency,
    x: Sequence[str],
    y: Sequence[str],
    given: Sequence[str],
    selected: Sequence[str],
) -> bool:
    """Returns whether the effect is the plain conditional, among the selected too."""
    behind = connected(without_tails(parents, x), y, {*given, *selected})
    moved = connected(without_heads(parents, x), y, {*x, *given})
    return behind.isdisjoint(x) and moved.isdisjoint(selected)


def _among_selected(
    graph: MixedGraph,
    parents: Adjacency,
    x: Sequence[str],
    y: Sequence[str],
    given: Sequence[str],
    selected: Sequence[str],
) -> Formula | None:
    """Returns the effect among the selected, if it is that among all and follows; else None."""
    mutilated = without_heads(parents, x)
    if not connected(mutilated, y, {*x, *given}).isdisjoint(selected):
        return None
    more = _exchanged(parents, x, y, given, selected)
    asked = (*y, *(v for v in given if v not in more), *selected)
    tied = graph.within(graph.ancestors(asked)).tie(graph.ancestors(selected))
    left = tied.within([v for v in tied.order if v not in x and v not in more])
    formula, hedge = compose(tied, left.within(left.ancestors(asked)), asked, selected)
    return None if hedge is not None else ratio(formula, sum_out(formula, y))
