"""Random graphs for hypothesis: variables v0, v1, … with arrows from lower to higher numbers."""

import itertools

from hypothesis import strategies as st

from cxrcausal.graph import CausalGraph, Edge, HiddenCause, Selection, Variable


def binary(name: str) -> Variable:
    return Variable(name, "binary", ("negative", "positive"))


def graph_of(edges, hidden=(), selection=()):
    """A graph from arrows, the nodes that each hidden cause touches, and what selects."""
    names = dict.fromkeys(v for group in (*edges, *hidden, *selection) for v in group)
    return CausalGraph(
        [binary(n) for n in names],
        edges,
        hidden=[HiddenCause(f"u{i}", tuple(h)) for i, h in enumerate(hidden)],
        selection=[Selection(f"s{i}", tuple(s)) for i, s in enumerate(selection)],
    )


@st.composite
def graphs(draw, most: int = 7, unseen: bool = False, image: bool = False) -> CausalGraph:
    size = draw(st.integers(2, most))
    names = draw(st.permutations([f"v{i}" for i in range(size)]))  # file order is not causal order
    pairs = list(itertools.combinations([f"v{i}" for i in range(size)], 2))
    edges = draw(st.lists(st.sampled_from(pairs), unique=True))
    some = st.lists(st.sampled_from(names), min_size=2, unique=True, max_size=4)
    hidden, selection = [], []
    if unseen:
        touches = draw(st.lists(some, max_size=3))
        hidden = [HiddenCause(f"h{i}", tuple(t)) for i, t in enumerate(touches)]
        one = st.lists(st.sampled_from(names), min_size=1, unique=True, max_size=3)
        causes = draw(st.lists(one, max_size=2))
        selection = [Selection(f"s{i}", tuple(c)) for i, c in enumerate(causes)]
    shown = draw(st.lists(st.sampled_from(names), unique=True)) if image else None
    return CausalGraph(
        [binary(n) for n in names],
        [Edge(a, b) for a, b in edges],
        name="random",
        hidden=hidden,
        selection=selection,
        image_parents=shown,
    )


@st.composite
def questions(draw, graph: CausalGraph) -> tuple[str, str, list[str]]:
    x, y, *rest = draw(st.permutations(list(graph.variables)))
    return x, y, rest[: draw(st.integers(0, len(rest)))]
