"""Adjustment sets against the textbook, against all subsets, and against exact models."""

import itertools

import networkx as nx
import numpy as np
import pytest
from distributions import Distribution, subsets
from hypothesis import given, settings
from random_graphs import graph_of, graphs

from cxrcausal.errors import GraphError
from cxrcausal.graph import load_graph
from cxrcausal.graph.identification.estimand import Conditional, Product, Sum


def is_adjustment_set(graph, x, y, z):
    """The criterion by its words, on networkx's separation and all simple paths."""
    network = graph.to_networkx(hidden=True)
    causal = [p for p in nx.all_simple_paths(network, x, y)]
    inner = {v for path in causal for v in path[1:]}
    forbidden = set().union(*(nx.descendants(network, v) | {v} for v in inner))
    if forbidden & set(z):
        return False
    selected = {s.name for s in graph.selection}
    cut = network.copy()
    cut.remove_edges_from([(path[0], path[1]) for path in causal])
    if not nx.is_d_separator(cut, {x}, {y}, {*z, *selected}):
        return False
    if not selected:
        return True
    mutilated = network.copy()
    mutilated.remove_edges_from(list(network.in_edges(x)))
    if not nx.is_d_separator(mutilated, {y}, selected, {x}):
        return False
    tailless = network.copy()
    tailless.remove_edges_from(list(network.out_edges(x)))
    return not selected & nx.descendants(network, x) or nx.is_d_separator(
        tailless, {x}, {y}, set()
    )


def is_front_door(graph, x, y, m):
    """Pearl's three conditions (2009, definition 3.3.3), and a selection that leaves them
    alone."""
    network = graph.to_networkx(hidden=True)
    paths = list(nx.all_simple_paths(network, x, y))
    if not paths or any(not set(m) & set(path) for path in paths):
        return False
    cut = network.copy()
    cut.remove_edges_from(list(network.out_edges(x)))
    if not nx.is_d_separator(cut, {x}, set(m), set()):
        return False
    cut = network.copy()
    cut.remove_edges_from([e for v in m for e in network.out_edges(v)])
    if not nx.is_d_separator(cut, set(m), {y}, {x}):
        return False
    selected = {s.name for s in graph.selection}
    return not selected or nx.is_d_separator(network, selected, {x, y, *m}, set())


def minimal(sets):
    sets = [frozenset(s) for s in sets]
    return {s for s in sets if not any(t < s for t in sets)}


@given(graphs(most=6, unseen=True))
@settings(max_examples=80)
def test_all_minimal_sets_and_no_others(graph):
    for x, y in itertools.permutations(list(graph.variables)[:3], 2):
        found = graph.adjustment_sets(x, y)
        rest = [v for v in graph.variables if v not in (x, y)]
        valid = [z for z in subsets(rest) if is_adjustment_set(graph, x, y, z)]
        assert {frozenset(z) for z in found.back_door} == minimal(valid)
        doors = [m for m in subsets(rest) if m and is_front_door(graph, x, y, m)]
        assert {frozenset(m) for m in found.front_door} == minimal(doors)
        assert found.complete
        assert bool(found) == bool(valid or doors)
        assert found.why or found.back_door
        assert list(map(len, found.back_door)) == sorted(map(len, found.back_door))


@given(graphs(most=5, unseen=True))
@settings(max_examples=60)
def test_adjusting_the_selected_gives_the_effect_among_all(graph):
    """Both formulas, evaluated on the data of the selected, give p(y | do(x)) (Correa, 2017)."""
    model = Distribution(graph, seed=1)
    joint = model.joint(selected=True)
    for x, y in itertools.permutations(list(graph.variables)[:3], 2):
        found = graph.adjustment_sets(x, y)
        for z in found.back_door:
            formula = Sum(z, Product((Conditional(z), Conditional((y,), (x, *z)))))
            formula = formula if z else Conditional((y,), (x,))
            value = model.evaluate(formula, joint, [x, y])
            np.testing.assert_allclose(value, model.effect([x], [y]), atol=1e-12)
        for m in found.front_door:
            inner = Sum((x,), Product((Conditional((y,), (x, *m)), Conditional((x,)))))
            formula = Sum(m, Product((Conditional(m, (x,)), inner)))
            value = model.evaluate(formula, joint, [x, y])
            np.testing.assert_allclose(value, model.effect([x], [y]), atol=1e-12)


def test_several_causes_at_once():
    """Two treatments in a row: what adjusts for each alone need not adjust for both."""
    graph = graph_of([("x1", "z"), ("z", "x2"), ("x2", "y"), ("x1", "y")], [("z", "y")])
    assert not graph.adjustment_sets(["x1", "x2"], "y").back_door  # z is affected by x1, and opens
    assert graph.adjustment_sets("x2", "y").back_door == (("z",),)
    open_to_all = graph_of([("c", "x1"), ("c", "y"), ("x1", "y"), ("x2", "y"), ("c", "x2")])
    assert open_to_all.adjustment_sets(["x1", "x2"], "y").back_door == (("c",),)


def test_smoking_and_tar():
    """Pearl's front door (2009, figure 3.5)."""
    graph = graph_of([("smoking", "tar"), ("tar", "cancer")], [("smoking", "cancer")])
    found = graph.adjustment_sets("smoking", "cancer")
    assert found.back_door == ()
    assert found.front_door == (("tar",),)
    assert found.why == "no recorded variables block smoking ← u0 (hidden) → cancer"
    assert "front-door: {tar}" in str(found)


def test_m_bias():
    """A collider before the treatment is best left alone; once it is adjusted for, one side
    too."""
    graph = graph_of([("a", "m"), ("b", "m"), ("a", "x"), ("b", "y"), ("x", "y")])
    assert graph.adjustment_sets("x", "y").back_door == ((),)
    hidden = graph_of([("x", "y")], [("x", "m"), ("m", "y")])
    assert hidden.adjustment_sets("x", "y").back_door == ((),)


def test_an_instrument_adjusts_for_nothing():
    graph = graph_of([("z", "x"), ("x", "y")], [("x", "y")])
    found = graph.adjustment_sets("x", "y")
    assert not found
    assert "x ← u0 (hidden) → y; no front-door set either" in found.why
    assert graph.adjustment_sets("z", "y").back_door == ((),)


def test_selection_on_the_effect_and_on_the_cause():
    on_effect = graph_of([("x", "y")], selection=[("y",)])
    found = on_effect.adjustment_sets("x", "y")
    assert not found
    assert "selection reaches the effect even under do(x): y → s0 (selected)" in found.why
    assert on_effect.adjustment_sets("x", "y", selection=False).back_door == ((),)
    on_cause = graph_of([("x", "y")], selection=[("x",)])
    assert on_cause.adjustment_sets("x", "y").back_door == ((),)


def test_selection_that_depends_on_a_confounded_cause():
    """Among the selected the confounder is not distributed as among all (Correa, 2017, clause
    d)."""
    tied = graph_of([("a", "c"), ("b", "c")], [("a", "b")], [("a",)])
    found = tied.adjustment_sets("a", "c")
    assert not found
    assert "a ← u0 (hidden) → b → c is open, and selection depends on a" in found.why
    assert not tied.identifiable("a", "c")
    assert tied.adjustment_sets("b", "c").back_door == ()
    assert tied.adjustment_sets(["a", "b"], "c").back_door == ((),)
    assert tied.adjustment_sets("a", "c", selection=False).back_door == (("b",),)
    seen = graph_of([("w", "x"), ("w", "y"), ("x", "y")], selection=[("x",)])
    assert not seen.adjustment_sets("x", "y")


def test_an_effect_that_is_none():
    found = load_graph("cxr19").adjustment_sets("age", "view")
    assert found.back_door == ((),)
    assert "age does not cause view" in found.why


def test_shipped_graphs():
    published = load_graph("cxr19").adjustment_sets("cardiomegaly", "pleural_effusion")
    assert ("age", "sex") in published.back_door
    extended = load_graph("cxr19-extended").adjustment_sets("cardiomegaly", "pleural_effusion")
    assert not extended
    assert "imaged_and_mentioned (selected)" in extended.why
    image = load_graph("cxr19").adjustment_sets("cardiomegaly", "image")
    assert ("age", "sex", "race") in image.back_door


def test_at_most_so_many():
    pairs = [(f"a{i}", f"b{i}") for i in range(6)]
    edges = [e for a, b in pairs for e in ((a, "x"), (a, b), (b, "y"))]
    graph = graph_of([("x", "y"), *edges])
    everything = graph.adjustment_sets("x", "y")
    assert len(everything.back_door) == 2**6
    assert everything.complete
    few = graph.adjustment_sets("x", "y", most=5)
    assert len(few.back_door) == 5
    assert not few.complete
    assert "there are more" in str(few)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda g: g.adjustment_sets("age", "age"), "'age' is both x and y"),
        (lambda g: g.adjustment_sets([], "age"), "needs a cause and an effect"),
        (lambda g: g.adjustment_sets("sex", "age", most=0), "most is 0"),
        (lambda g: g.adjustment_sets("sex", "agee"), "did you mean 'age'"),
    ],
)
def test_what_is_no_question(ask, words):
    with pytest.raises(GraphError, match=words):
        ask(load_graph("cxr-minimal"))
