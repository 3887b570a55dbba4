"""Latent projection: what is taken out leaves the distribution of what stays."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import binary, graphs, questions

from cxrcausal.graph import CausalGraph, HiddenCause, Selection, load_graph


@given(graphs(unseen=True, image=True), st.data())
@settings(max_examples=200)
def test_projection_keeps_every_separation(graph, data):
    kept = data.draw(st.lists(st.sampled_from(list(graph.variables)), min_size=2, unique=True))
    projected = graph.project([*kept, "image"])
    assert set(projected.variables) == set(kept)
    for _ in range(5):
        x, y, held = data.draw(questions(projected))
        held = [*held, *data.draw(st.sampled_from([[], ["image"]]))]
        for selection in (True, False):
            now = projected.d_separated(x, y, held, selection=selection)
            assert now == graph.d_separated(x, y, held, selection=selection)


@given(graphs(unseen=True), st.data())
def test_projection_keeps_ancestors(graph, data):
    kept = data.draw(st.lists(st.sampled_from(list(graph.variables)), min_size=1, unique=True))
    projected = graph.project(kept)
    for v in kept:
        assert set(projected.ancestors(v)) == set(graph.ancestors(v)) & set(kept)
    assert list(projected.variables) == [v for v in graph.variables if v in kept]


@given(graphs(unseen=True, image=True), st.data())
@settings(max_examples=50)
def test_projection_in_two_steps_says_the_same(graph, data):
    """Taking out one variable after another separates what taking out both at once does."""
    some = data.draw(st.lists(st.sampled_from(list(graph.variables)), min_size=2, unique=True))
    more = data.draw(st.sets(st.sampled_from(list(graph.variables)))) | set(some)
    at_once, in_steps = graph.project(some), graph.project(more).project(some)
    assert {(e.source, e.target) for e in at_once.edges} == {
        (e.source, e.target) for e in in_steps.edges
    }
    for _ in range(5):
        x, y, held = data.draw(questions(at_once))
        assert at_once.d_separated(x, y, held) == in_steps.d_separated(x, y, held)


def test_all_observed_is_the_graph_itself():
    graph = load_graph("cxr19-extended")
    assert graph.project([*graph.variables, "image"]) == graph
    assert not graph.project(graph.variables).has_image


def test_a_confounder_and_a_mediator():
    a, b, c = binary("a"), binary("b"), binary("c")
    fork = CausalGraph([a, b, c], [("b", "a"), ("b", "c")]).project(["a", "c"])
    assert fork.edges == ()
    assert [(h.name, h.touches) for h in fork.hidden] == [("b", ("a", "c"))]
    assert fork.hidden[0].rationale == "not observed here, a cause of a, c"
    chain = CausalGraph([a, b, c], [("a", "b"), ("b", "c")]).project(["a", "c"])
    assert [str(e) for e in chain.edges] == ["a -> c"]
    assert chain.edge("a", "c").rationale == "through b"
    assert chain.hidden == ()


def test_a_selection_stays_with_what_causes_it():
    a, b, c = binary("a"), binary("b"), binary("c")
    graph = CausalGraph(
        [a, b, c], [("a", "b"), ("b", "c")], selection=[Selection("s", ("b",), "why")]
    )
    projected = graph.project(["a", "c"])
    assert projected.selection == (Selection("s", ("a",), "why"),)
    assert set(projected.hidden[0].touches) == {"c", "s"}
    assert CausalGraph.from_yaml(projected.to_yaml()) == projected
    root = CausalGraph([a, b, c], [("b", "c")], selection=[Selection("s", ("b",))])
    assert root.project(["a", "c"]).selection == (Selection("s", ()),)
    assert not root.project(["a"]).selection  # nothing that is left touches it


def test_a_definition_ends_with_its_findings():
    graph = load_graph("cxr19")
    findings = graph.parents("no_finding")
    whole = graph.project(["no_finding", *findings])
    assert whole.variables["no_finding"].is_definition
    partly = graph.project(["no_finding", *findings[1:]])
    assert not partly.variables["no_finding"].is_definition


def test_hidden_causes_follow_the_children():
    a, b, c = binary("a"), binary("b"), binary("c")
    graph = CausalGraph([a, b, c], [("b", "c")], hidden=[HiddenCause("u", ("a", "b"), "why")])
    assert graph.project(["a", "c"]).hidden == (HiddenCause("u", ("a", "c"), "why"),)


@pytest.mark.parametrize("name", ["cxr19", "cxr19-extended"])
def test_without_race(name):
    """Neither shared table records race; the rest of the graph stays usable."""
    graph = load_graph(name)
    rest = [v for v in graph.variables if v != "race"]
    projected = graph.project([*rest, "image"])
    touched = next(h for h in projected.hidden if h.name == "race").touches
    assert set(touched) == set(graph.children("race", image=True))
