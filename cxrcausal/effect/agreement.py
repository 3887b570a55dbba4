r"""Whether the SCM's sums are the figures that they are meant for, by the graph.

An SCM that is fitted as well as can be to the patients at hand has :math:`p_S(v \mid pa_v)` in
each of its mechanisms, :math:`S` being the selection that let these patients in, and averages over
what the cause does not reach as it is among them. With :math:`Z` what its mechanisms below the
cause read of that, its figure of an outcome under :math:`do(x)` is

.. math:: \sum_z p_S(z) \prod_v p_S(v \mid pa_v).

It is the effect among all if every mechanism is (nothing hidden ties :math:`v` to anything else
that matters, and selection does not depend on it given its parents), and if :math:`p_S(z) = p(z)`;
among those alike in :math:`w`, if :math:`p_S(z \mid w) = p(z \mid w)`. Of an average it is enough
that the product is the outcome's distribution given :math:`x` and :math:`z`, and that these
adjust. All of that is read from the graph with its hidden causes and its selection, never from the
fitted parents alone. Each method returns the first reason for doubt, or "".

References:
    | A General Identification Condition for Causal Effects
    | (Tian and Pearl, 2002), https://aaai.org/Papers/AAAI/2002/AAAI02-085.pdf
    | Complete Identification Methods for the Causal Hierarchy, on twin networks
    | (Shpitser and Pearl, 2008), https://www.jmlr.org/papers/v9/shpitser08a.html
"""

from collections.abc import Collection, Iterable
from typing import final

from cxrcausal.effect.worlds import Worlds
from cxrcausal.errors import summarise
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.graph.identification.mixed import MixedGraph
from cxrcausal.graph.identification.paths import (
    causal_nodes,
    children_of,
    without_heads,
    without_tails,
)
from cxrcausal.graph.identification.separation import ancestors_of, connected

__all__ = ["Agreement", "is_spurious"]


@final
class Agreement:
    """What the graph says of the SCM's sums for one cause and one outcome.

    Arguments:
        graph: The graph over what the fit observed; what nobody recorded is a hidden cause there.
        worlds: The copies of what lies between cause and outcome in the SCM.
        given: The variables that patients are alike in.
        pooled: Whether they are alike only in that these lie in a range, or are one of several
            levels.
    """

    def __init__(
        self,
        graph: CausalGraph,
        worlds: Worlds,
        given: Iterable[str] = (),
        *,
        pooled: bool = False,
    ) -> None:
        self.graph, self.worlds = graph, worlds
        self.given, self.pooled = tuple(given), pooled
        self.parents = graph._all_parents()
        self.selected = [v for v in self.parents if v.startswith("selection:")]
        inside = {worlds.cause, *worlds.moved}
        self.read = {p for v in worlds.moved for p in worlds.parents[v]} - inside

    def relevant(self) -> MixedGraph:
        """Returns the mixed graph over outcome and `given`, with their ancestors."""
        whole = MixedGraph.over(self.parents, self.graph.topological_order)
        return whole.within(whole.ancestors([self.worlds.outcome, *self.given]))

    def is_selected(self) -> bool:
        """Whether selection reaches anything that leads to the outcome."""
        return self._reach(self.relevant().order, ())

    def lost(self) -> str:
        """Whether the fit lacks an arrow below the cause, through what it never observed."""
        between = causal_nodes(self.parents, [self.worlds.cause], [self.worlds.outcome])
        for v in self.graph.topological_order:
            missing = set(self.graph.parents(v)) - set(self.worlds.parents[v])
            if v in between and missing:
                named = summarise(sorted(missing))
                return f"{named} acts on {v} through what the fit never observed"
        return ""

    def of_mechanisms(self) -> str:
        """Whether each mechanism below the cause is what it would be under an intervention."""
        lost = self.lost()
        if lost:
            return lost
        relevant = self.relevant()
        for v in relevant.order:
            tied = sorted(relevant.district(v) - {v})
            if v in self.worlds.moved and tied:
                return f"hidden causes tie {v} to {summarise(tied)}, which the SCM does not count"
        for v in self.worlds.moved:
            if self._reach([v], self.worlds.parents[v]):
                return f"selection depends on {v}, which the SCM does not count"
        return ""

    def of_average(self, *, nested: bool = False) -> str:
        """Whether the SCM's average under an intervention is that among all.

        Arguments:
            nested: Whether variables read different values of the cause.
        """
        doubt = self.of_mechanisms()
        if doubt and (nested or not self._adjusts({*self.read, *self.given})):
            return doubt
        if self.pooled and self.read:
            biased = self._reach({*self.read, *self.given}, ())
        else:
            biased = self._reach(self.read - set(self.given), self.given)
        words = "selection reaches what is averaged over, which the SCM does not count"
        return words if biased else ""

    def of_treated(self, *, nested: bool = False) -> str:
        """Whether the SCM's average among those with a value of the cause is theirs among all.

        Arguments:
            nested: Whether variables read different values of the cause.
        """
        cause = self.worlds.cause
        doubt = self.of_mechanisms()
        if doubt and (nested or not self._adjusts(self.read)):
            return doubt
        if self._reach(self.read, [cause]):
            return "selection reaches what is averaged over, which the SCM does not count"
        return self._of_cause(self.read)

    def of_shares(self) -> str:
        """Whether each value of the cause is as frequent among the selected as among all."""
        cause = self.worlds.cause
        return f"selection reaches {cause}" if self._reach([cause], ()) else ""

    def of_groups(self) -> str:
        """Whether the SCM's outcome of those with one value of the cause is theirs in the data.

        So it is if the SCM has every dependence among cause, outcome, what lies between and what
        these read.
        """
        cause = self.worlds.cause
        before = self.read | (
            set(self.worlds.parents[cause]) if is_spurious(self.worlds) else set()
        )
        doubt = self._of_cause(before)
        if doubt:
            return doubt
        return self._of_outcome(before)

    def is_confounded(self) -> bool:
        """Whether the cause is informative of the outcome under an intervention on it.

        Among all, or among the selected: in the graph of the two worlds side by side, which share
        what the cause does not reach and every variable's noise.
        """
        cause, outcome = self.worlds.cause, self.worlds.outcome
        reached = ancestors_of(children_of(self.parents), [cause]) - {cause}
        twin: dict[str, tuple[str, ...]] = {f"noise:{v}": () for v in reached}
        twin |= {v: tuple(pa) for v, pa in self.parents.items()}
        for v in reached:
            read = [f"{p}*" if p in reached else p for p in self.parents[v] if p != cause]
            twin[f"{v}*"] = (*read, f"noise:{v}")
            twin[v] = (*twin[v], f"noise:{v}")
        return any(f"{outcome}*" in connected(twin, [cause], s) for s in ((), self.selected))

    def _adjusts(self, known: Collection[str]) -> bool:
        """Whether the SCM has the outcome given the cause and `known`, and these adjust."""
        cause, outcome = self.worlds.cause, self.worlds.outcome
        # Also what changes with the cause where the SCM has no path to it.
        changed = ancestors_of(children_of(self.parents), [cause])
        if not changed.isdisjoint(known) or self._of_outcome(known):
            return False
        cut = without_tails(self.parents, [cause])
        for selected in ((), self.selected):
            if cause in connected(cut, [outcome], {*known, *selected}):
                return False
        mutilated = without_heads(self.parents, [cause])
        moved = connected(mutilated, [outcome], {*known, cause})
        return moved.isdisjoint(self.selected)

    def _of_outcome(self, known: Collection[str]) -> str:
        """Whether the SCM has the distribution of the cause's descendants given it and `known`."""
        before = {*known, self.worlds.cause}
        for v in self.worlds.moved:
            own = self.worlds.parents[v]
            tied = self._tied(v, before - set(own), own)
            if tied:
                return f"{v} depends on {summarise(tied)} in the data, and not in the SCM"
            before.add(v)
        return ""

    def _reach(self, names: Collection[str], given: Collection[str]) -> bool:
        """Whether selection depends on `names` given `given`."""
        if not self.selected or not names:
            return False
        return not connected(self.parents, names, given).isdisjoint(self.selected)

    def _tied(self, name: str, others: Collection[str], given: Collection[str]) -> list[str]:
        """Returns which of `others` depend on `name` given `given`, among the selected."""
        found = connected(self.parents, [name], {*given, *self.selected})
        return sorted(found.intersection(others))

    def _of_cause(self, others: Collection[str]) -> str:
        """Whether the SCM has what ties the cause to `others`, which it does not reach."""
        cause = self.worlds.cause
        own = self.worlds.parents[cause] if is_spurious(self.worlds) else ()
        tied = self._tied(cause, set(others) - set(own), own)
        return (
            f"{cause} depends on {summarise(tied)} in the data, and not in the SCM" if tied else ""
        )


def is_spurious(worlds: Worlds) -> bool:
    """Whether anything but the causal paths ties the cause to the outcome in the fitted model.

    That is how the SCM weights patients, and no statement about data: see
    `Agreement.is_confounded`.
    """
    cut = without_tails(worlds.parents, [worlds.cause])
    return worlds.outcome in connected(cut, [worlds.cause], ())
