"""d-separation against networkx, and the laws of the local Markov basis."""

import itertools

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import binary, graphs, questions

from cxrcausal.errors import GraphError
from cxrcausal.graph import CausalGraph, HiddenCause, Independence, Selection, load_graph


def asked_of_networkx(graph, x, y, given, selection=True):
    selected = [s.name for s in graph.selection] if selection else []
    other = graph.to_networkx(hidden=True)
    return nx.is_d_separator(other, set(x), set(y), {*given, *selected})


@given(graphs(unseen=True), st.data())
@settings(max_examples=200)
def test_agrees_with_networkx(graph, data):
    """Hidden causes are never given, selections always are, unless asked about everybody."""
    x, y, held = data.draw(questions(graph))
    assert graph.d_separated(x, y, held) == asked_of_networkx(graph, [x], [y], held)
    everybody = graph.d_separated(x, y, held, selection=False)
    assert everybody == asked_of_networkx(graph, [x], [y], held, selection=False)


@given(graphs(image=True), st.data())
def test_sets_and_the_image(graph, data):
    nodes = data.draw(st.permutations([*graph.variables, "image"]))
    cut = sorted(data.draw(st.lists(st.integers(1, len(nodes)), min_size=2, max_size=2)))
    x, y, held = nodes[: cut[0]], nodes[cut[0] : cut[1]], nodes[cut[1] :]
    if y:
        assert graph.d_separated(x, set(y), tuple(held)) == asked_of_networkx(graph, x, y, held)
        assert graph.d_separated(x, y, held) == graph.d_separated(y, x, held)


@given(graphs())
def test_local_markov_property(graph):
    """Each variable is independent of its non-descendants given its parents (Pearl, 1988)."""
    basis = {statement.x: statement for statement in graph.implied_independencies()}
    for v in graph.variables:
        rest = set(graph.variables) - {v, *graph.parents(v), *graph.descendants(v)}
        assert (v in basis) == bool(rest)
        if rest:
            assert set(basis[v].y) == rest
            assert basis[v].given == graph.parents(v)
            assert graph.d_separated(v, rest, graph.parents(v))


@given(graphs(most=5, unseen=True))
@settings(max_examples=60)
def test_the_basis_holds_and_misses_no_separable_pair(graph):
    """With hidden causes and selection: sound, and every pair that some set separates is in it."""
    basis = graph.implied_independencies()
    for s in basis:
        assert graph.d_separated(s.x, s.y, s.given)
    said = {frozenset((s.x, y)) for s in basis for y in s.y}
    for x, y in itertools.combinations(graph.variables, 2):
        rest = [v for v in graph.variables if v not in (x, y)]
        subsets = itertools.chain.from_iterable(
            itertools.combinations(rest, n) for n in range(len(rest) + 1)
        )
        assert (frozenset((x, y)) in said) == any(graph.d_separated(x, y, z) for z in subsets)


@given(graphs(most=6, unseen=True, image=True), st.booleans())
@settings(max_examples=100)
def test_markov_blanket_shields_and_is_smallest(graph, image):
    nodes = [*graph.variables, *(["image"] if image else [])]
    for v in nodes:
        blanket = graph.markov_blanket(v, image=image)
        rest = [n for n in nodes if n != v and n not in blanket]
        assert not rest or graph.d_separated(v, rest, blanket)
        for member in blanket:
            others = [n for n in nodes if n not in (v, member)]
            assert not graph.d_separated(v, member, others)


def test_markov_blanket_of_the_textbook():
    graph = load_graph("cxr-minimal")
    assert graph.markov_blanket("age") == ("sex", "effusion")
    assert graph.markov_blanket("view") == ()
    assert graph.markov_blanket("view", image=True) == ("age", "sex", "effusion", "image")
    assert graph.markov_blanket("image") == graph.image_parents


def test_hidden_cause_and_selection_count():
    a, b, c = binary("a"), binary("b"), binary("c")
    confounded = CausalGraph([a, b, c], hidden=[HiddenCause("u", ("a", "b"))])
    assert not confounded.d_separated("a", "b")
    assert confounded.d_separated("a", "c")
    selected = CausalGraph([a, b, c], selection=[Selection("s", ("a", "b"))])
    assert not selected.d_separated("a", "b")  # Berkson
    assert selected.d_separated("a", "b", selection=False)
    assert len(selected.implied_independencies(selection=False)) == 3
    assert [str(s) for s in selected.implied_independencies()] == ["a ⊥ c", "b ⊥ c", "c ⊥ a, b"]


def test_sets_must_be_disjoint():
    graph = load_graph("cxr-minimal")
    for arguments, words in [
        (("age", "age"), "'age' is both in x and in y"),
        (("age", "sex", "age"), "'age' is both in x and in given"),
        (("age", {"sex", "view"}, ["view"]), "'view' is both in y and in given"),
    ]:
        with pytest.raises(GraphError, match=words):
            graph.d_separated(*arguments)


def test_a_statement_reads_as_one():
    assert str(Independence("a", ("b", "c"), ("d",))) == "a ⊥ b, c | d"
    assert str(Independence("a", ("b",))) == "a ⊥ b"
