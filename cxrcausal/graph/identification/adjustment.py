r"""What to adjust for: back-door and front-door sets, or why there is none.

A set :math:`Z` of recorded variables is a back-door set for the effect of :math:`x` on :math:`y`
if nothing in it descends from a node on a proper causal path, and if it blocks, together with the
selection :math:`S` on which the data are conditioned already, every other path. Then

.. math:: p(y \mid do(x)) = \sum_z p(y \mid x, z) \, p(z),

for the data at hand, and for everybody if moreover :math:`y \perp S \mid x` once the arrows into
:math:`x` are cut, and no cause that leads to the selection has an open back-door path (type 1 of
Correa and Bareinboim): else :math:`p(z)` is that of the selected alone. A front-door set carries
the whole effect, shares no open back-door path with :math:`x`, and none with :math:`y` that
:math:`x` leaves open:

.. math:: p(y \mid do(x)) = \sum_m p(m \mid x) \sum_{x'} p(y \mid m, x') \, p(x').

References:
    | Complete Graphical Characterization and Construction of Adjustment Sets in Markov Equivalence
    | Classes of Ancestral Graphs (Perković et al., 2018), https://jmlr.org/papers/v18/16-319.html
    | Causal Effect Identification by Adjustment under Confounding and Selection Biases
    | (Correa and Bareinboim, 2017), https://doi.org/10.1609/aaai.v31i1.11060
    | Finding and Listing Front-door Adjustment Sets
    | (Jeong et al., 2022), https://arxiv.org/abs/2210.05816
    | Efficient enumeration of minimal separators (Shen and Liang, 1997; Berry et al., 1999)
"""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from cxrcausal.errors import GraphError
from cxrcausal.graph.identification.paths import (
    causal_nodes,
    children_of,
    open_path,
    proper_back_door,
    without_heads,
    without_tails,
)
from cxrcausal.graph.identification.separation import Adjacency, ancestors_of, connected

if TYPE_CHECKING:
    from cxrcausal.graph.dag import CausalGraph

__all__ = ["AdjustmentSets", "adjustment_sets", "check_effect", "minimal_separators"]

TRIES = 4096
"""How many candidate front-door sets are looked at."""


@final
@dataclass(frozen=True)
class AdjustmentSets:
    """The minimal sets that identify an effect by adjustment; false if there is none.

    Arguments:
        x: The causes.
        y: The effects.
        back_door: Minimal back-door sets, smallest first; ``((),)`` means that nothing need be
            adjusted for.
        front_door: Minimal front-door sets, smallest first.
        why: Why there is no back-door set, and in the same words why there is no front-door set;
            or that `x` does not cause `y`. Empty if there is nothing to explain.
        complete: Whether these are all of the minimal sets.
    """

    x: tuple[str, ...]
    y: tuple[str, ...]
    back_door: tuple[tuple[str, ...], ...] = ()
    front_door: tuple[tuple[str, ...], ...] = ()
    why: str = ""
    complete: bool = True

    def __bool__(self) -> bool:
        return bool(self.back_door or self.front_door)

    def __str__(self) -> str:
        lines = [f"effect of {', '.join(self.x)} on {', '.join(self.y)}"]
        for title, sets in (("back-door", self.back_door), ("front-door", self.front_door)):
            lines += [f"  {title}: {{{', '.join(one)}}}" for one in sets]
        if not self.complete:
            lines.append("  (there are more)")
        return "\n".join([*lines, *([f"  {self.why}"] if self.why else [])])


def adjustment_sets(
    graph: "CausalGraph",
    x: Sequence[str],
    y: Sequence[str],
    *,
    selection: bool = True,
    most: int = 100,
) -> AdjustmentSets:
    """Returns the minimal back-door and front-door sets for the effect of `x` on `y`.

    Declared hidden causes cannot be adjusted for, and the radiograph is not offered.

    Arguments:
        graph: The graph.
        x: The causes, all set at once.
        y: The effects.
        selection: False asks as if nobody had been selected.
        most: The most sets of either kind.

    Raises:
        GraphError: If `x` or `y` is empty, they overlap, or `most` is below 1.
    """
    check_effect(x, y, most)
    parents = graph._all_parents()
    order = graph.topological_order
    selected = [v for v in parents if v.startswith("selection:")] if selection else []
    if not causal_nodes(parents, x, y):
        why = (
            f"{' and '.join(x)} does not cause {' and '.join(y)} in this graph: the effect is none"
        )
    else:
        why = ""

    reason = _moved_by_selection(parents, x, y, selected)
    found: list[tuple[str, ...]] = []
    front: list[tuple[str, ...]] = []
    all_found = True
    if not reason:
        forbidden = ancestors_of(children_of(parents), causal_nodes(parents, x, y))
        allowed = [v for v in order if v not in forbidden and v not in x and v not in y]
        back_door = proper_back_door(parents, x, y)
        sets = minimal_separators(back_door, x, y, allowed, selected)
        found = list(itertools.islice(sets, most + 1))
        all_found = len(found) <= most
        around = ancestors_of(back_door, [*x, *y, *selected])
        held = [*(v for v in allowed if v in around), *selected]
        reason = f"no recorded variables block {open_path(back_door, x, y, held)}"
        front, front_complete = _front_door(parents, x, y, order, selected, most)
        all_found = all_found and front_complete
    if not found and not why:
        why = reason + ("" if front else "; no front-door set either")
    place = {v: i for i, v in enumerate(order)}
    ordered = [tuple(sorted(z, key=place.__getitem__)) for z in found[:most]]
    ordered.sort(key=lambda z: (len(z), [place[v] for v in z]))
    return AdjustmentSets(tuple(x), tuple(y), tuple(ordered), tuple(front), why, all_found)


def _moved_by_selection(
    parents: Adjacency, x: Sequence[str], y: Sequence[str], selected: Sequence[str]
) -> str:
    """Returns why no adjustment gives the effect among all from data of the selected; or ""."""
    mutilated = without_heads(parents, x)
    moved = connected(mutilated, y, x) & set(selected)
    if moved:
        path = open_path(mutilated, y, moved, x)
        return f"selection reaches the effect even under do({', '.join(x)}): {path}"
    leading = [v for v in x if v in ancestors_of(parents, selected)]
    path = open_path(without_tails(parents, x), leading, y, ()) if leading else None
    if path:
        return f"{path} is open, and selection depends on {path.split()[0]}"
    return ""


def check_effect(x: Sequence[str], y: Sequence[str], most: int = 1) -> None:
    """Raises a `GraphError` if there is no such question as the effect of `x` on `y`."""
    both = [v for v in x if v in y]
    if both:
        raise GraphError(f"an effect is of one thing on another, but {both[0]!r} is both x and y")
    if not x or not y:
        raise GraphError(f"an effect needs a cause and an effect; found x={list(x)}, y={list(y)}")
    if most < 1:
        raise GraphError(f"most is {most}; ask for at least 1 set")


def minimal_separators(
    parents: Adjacency,
    x: Collection[str],
    y: Collection[str],
    allowed: Collection[str],
    held: Collection[str] = (),
) -> Iterator[tuple[str, ...]]:
    """Yields every minimal subset of `allowed` that, with `held`, separates `x` from `y`.

    With the ancestors of all three moralised, d-separation is separation in an undirected graph;
    nodes that nobody may hold are taken out, their neighbours joined. The minimal separators
    between two nodes form a lattice, walked from the side of `x`: the walk reaches all of them.

    Arguments:
        parents: Each node's parents.
        x: One set of nodes.
        y: The other.
        allowed: What may be conditioned on.
        held: What is conditioned on in any case (selections).
    """
    links = _moral(parents, x, y, allowed, held)
    if _Y in links[_X]:
        return

    def towards(near: frozenset[str]) -> frozenset[str]:
        """Returns the separator that cuts what lies beyond `near` off from it."""
        rim = {n for v in near for n in links[v]} - near
        far = _component(links, _Y, near | rim)
        return frozenset(n for v in far for n in links[v]) - far

    first = towards(frozenset({_X}))
    seen, todo = {first}, [first]
    for separator in todo:  # grows while it is walked through
        yield tuple(separator)
        near = _component(links, _X, separator)
        for v in separator:
            if v not in links[_Y]:
                further = towards(frozenset(near | {v}))
                if further not in seen:
                    seen.add(further)
                    todo.append(further)


_X, _Y = "<x>", "<y>"


def _moral(
    parents: Adjacency,
    x: Collection[str],
    y: Collection[str],
    allowed: Collection[str],
    held: Collection[str],
) -> dict[str, set[str]]:
    """Returns the links among `allowed`, x as one node and y as one node."""
    around = ancestors_of(parents, [*x, *y, *held])
    named = {v: _X if v in x else _Y if v in y else v for v in around}
    links: dict[str, set[str]] = {n: set() for n in named.values()}
    for v in around:
        family = {named[n] for n in (v, *parents[v])}
        for n in family:
            links[n] |= family - {n}
    for v in held:
        _take_out(links, v, join=False)
    for v in [n for n in links if n not in (_X, _Y) and n not in allowed]:
        _take_out(links, v, join=True)
    return links


def _take_out(links: dict[str, set[str]], node: str, *, join: bool) -> None:
    around = links.pop(node)
    for n in around:
        links[n].discard(node)
        if join:
            links[n] |= around - {n}


def _component(links: Mapping[str, set[str]], start: str, without: Collection[str]) -> set[str]:
    found, todo = {start}, [start]
    while todo:
        new = links[todo.pop()] - found - set(without)
        found |= new
        todo += new
    return found


def _front_door(
    parents: Adjacency,
    x: Sequence[str],
    y: Sequence[str],
    order: Sequence[str],
    selected: Sequence[str],
    most: int,
) -> tuple[list[tuple[str, ...]], bool]:
    """Returns minimal front-door sets, smallest first, and whether these are all."""
    if not causal_nodes(parents, x, y) or any(v in parents[w] for v in x for w in y):
        return [], True
    tails_cut = without_tails(parents, x)
    reached = connected(tails_cut, x, ())  # by a back-door path
    widest = [v for v in order if v not in reached and v not in y]
    while True:  # each test opens more paths once a member is gone, so what is left is the widest
        open_ones = connected(without_tails(parents, widest), y, x)
        kept = [v for v in widest if v not in open_ones]
        if kept == widest:
            break
        widest = kept
    if selected:  # the distribution of x, m and y must be everybody's, not that of the selected
        apart = connected(parents, selected, ())
        if not apart.isdisjoint([*x, *y]):
            return [], True
        widest = [v for v in widest if v not in apart]
    if not _intercepts(parents, widest, x, y):
        return [], True
    found: list[tuple[str, ...]] = []
    tries = 0
    for size in range(1, len(widest) + 1):
        for some in itertools.combinations(widest, size):
            if any(set(one) <= set(some) for one in found):
                continue
            tries += 1
            if len(found) >= most or tries > TRIES:
                return found or [tuple(widest)], False
            if _intercepts(parents, some, x, y) and connected(
                without_tails(parents, some), y, x
            ).isdisjoint(some):
                found.append(some)
    return found, True


def _intercepts(
    parents: Adjacency, m: Collection[str], x: Collection[str], y: Collection[str]
) -> bool:
    """Returns whether every causal path from `x` to `y` meets `m`."""
    return not causal_nodes(without_heads(parents, m), x, y)
