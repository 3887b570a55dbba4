"""The graph as a value: reading it, changing it, keeping it."""

import copy
import pickle

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_graphs import binary, graphs

from cxrcausal.errors import CxrCausalError, GraphError
from cxrcausal.graph import CausalGraph, Edge, HiddenCause, Selection, Variable, load_graph


@pytest.fixture
def minimal() -> CausalGraph:
    return load_graph("cxr-minimal")


def test_house_style_example(minimal):
    assert minimal.do("effusion").parents("effusion") == ()
    assert minimal.d_separated("view", "effusion")
    assert not minimal.d_separated("view", "effusion", given={"image"})
    with pytest.raises(GraphError) as caught:
        minimal.parents("efusion")
    assert str(caught.value) == (
        "'efusion' is not in graph 'cxr-minimal'; did you mean 'effusion'? "
        "It has: age, sex, view, effusion, image."
    )
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, CxrCausalError)


@pytest.mark.parametrize(
    "ask",
    [
        lambda g: g.parents("Age"),
        lambda g: g.children("Age"),
        lambda g: g.ancestors("Age"),
        lambda g: g.descendants("Age"),
        lambda g: g.markov_blanket("Age"),
        lambda g: g.edge("Age", "sex"),
        lambda g: g.do("Age"),
        lambda g: g.do({"Age": 3}),
        lambda g: g.d_separated("sex", "Age"),
        lambda g: g.d_separated("sex", "view", ["Age"]),
        lambda g: g.project(["sex", "Age"]),
        lambda g: g.with_edge("Age", "sex"),
        lambda g: g.without_edge("Age", "sex"),
        lambda g: g.draw(do=["Age"]),
    ],
)
def test_every_question_names_an_unknown_variable(minimal, ask):
    with pytest.raises(
        GraphError, match=r"'Age' is not in graph 'cxr-minimal'; did you mean 'age'"
    ):
        ask(minimal)


def test_unknown_name_without_a_near_one(minimal):
    with pytest.raises(
        GraphError, match=r"'zzz' is not in graph 'cxr-minimal'\. It has: age, sex"
    ):
        minimal.parents("zzz")
    with pytest.raises(GraphError, match="7 is not in graph"):
        minimal.parents(7)


def test_hidden_causes_and_selections_are_not_variables():
    graph = load_graph("cxr19-extended")
    with pytest.raises(
        GraphError, match=r"'acuity' is a hidden cause of graph .* no table records"
    ):
        graph.parents("acuity")
    with pytest.raises(GraphError, match="'imaged_and_mentioned' is a selection of graph"):
        graph.d_separated("age", "imaged_and_mentioned")


def test_reading(minimal):
    assert list(minimal.variables) == ["age", "sex", "view", "effusion"]
    assert minimal.variables["age"].unit == "years"
    assert minimal.image_parents == ("age", "sex", "view", "effusion")
    assert minimal.has_image
    assert minimal.children("age") == ("effusion",)
    assert minimal.children("age", image=True) == ("effusion", "image")
    assert minimal.descendants("effusion") == ()
    assert minimal.descendants("effusion", image=True) == ("image",)
    assert minimal.parents("image") == minimal.ancestors("image") == minimal.image_parents
    assert minimal.children("image", image=True) == minimal.descendants("image", image=True) == ()
    assert minimal.edge("age", "effusion").kind == "risk"
    assert "heart failure" in minimal.edge("age", "effusion").rationale
    assert minimal.edge("view", "image").rationale == minimal.image_rationale
    assert repr(minimal) == (
        f"CausalGraph('cxr-minimal', 4 variables, 2 edges, 4 into the image, "
        f"fingerprint {minimal.fingerprint})"
    )


def test_absent_edge(minimal):
    with pytest.raises(
        GraphError, match=r"no edge view -> effusion; the parents of 'effusion': age"
    ):
        minimal.edge("view", "effusion")
    with pytest.raises(GraphError, match=r"it points the other way, age -> effusion"):
        minimal.edge("effusion", "age")
    with pytest.raises(GraphError, match=r"no edge effusion -> view; the parents of 'view': none"):
        minimal.without_edge("effusion", "view")


@given(graphs(image=True))
def test_relatives_agree_with_networkx(graph):
    other = graph.to_networkx()
    metadata = other.subgraph(graph.variables)
    assert sorted(other.nodes) == sorted([*graph.variables, "image"])
    place = {v: i for i, v in enumerate(graph.topological_order)}
    for v in graph.variables:
        assert set(graph.parents(v)) == set(metadata.predecessors(v))
        assert set(graph.children(v)) == set(metadata.successors(v))
        assert set(graph.ancestors(v)) == nx.ancestors(metadata, v)
        assert set(graph.descendants(v)) == nx.descendants(metadata, v)
        assert set(graph.descendants(v, image=True)) == nx.descendants(other, v)
        for relatives in (graph.parents(v), graph.ancestors(v), graph.descendants(v)):
            assert list(relatives) == sorted(relatives, key=place.__getitem__)
    assert set(graph.ancestors("image")) == nx.ancestors(other, "image")


@given(graphs())
def test_topological_order(graph):
    """Causes come first, and ties keep the order in which the variables are listed."""
    listing = {v: i for i, v in enumerate(graph.variables)}
    expected = nx.lexicographical_topological_sort(graph.to_networkx(), key=listing.__getitem__)
    assert graph.topological_order == tuple(expected)


# --- change ------------------------------------------------------------------------------------


@given(graphs(unseen=True, image=True), st.data())
def test_do_cuts_what_points_into_it_and_nothing_else(graph, data):
    names = data.draw(st.lists(st.sampled_from([*graph.variables, "image"]), unique=True))
    cut = graph.do(*names)
    assert cut == graph.do(names) == graph.do(dict.fromkeys(names, "positive"))
    assert set(cut.edges) == {e for e in graph.edges if e.target not in names}
    assert set(cut.image_parents) == (set() if "image" in names else set(graph.image_parents))
    assert cut.has_image
    assert not any(set(h.touches) & set(names) for h in cut.hidden)
    kept = {h.name for h in graph.hidden if len(set(h.touches) - set(names)) > 1}
    assert {h.name for h in cut.hidden} == kept
    assert cut.selection == graph.selection
    assert graph.do() == graph


def test_do_on_a_definition_leaves_an_ordinary_variable():
    graph = load_graph("cxr19")
    cut = graph.do("no_finding")
    assert graph.variables["no_finding"].is_definition
    assert not cut.variables["no_finding"].is_definition
    assert cut.parents("no_finding") == ()


def test_edges_come_and_go(minimal):
    more = minimal.with_edge("age", "view", kind="care", rationale="frail", source_ref="me")
    assert more.edge("age", "view") == Edge("age", "view", "care", "me", "frail")
    assert minimal.parents("view") == ()
    assert more.without_edge("age", "view") == minimal
    blind = minimal.without_edge("view", "image")
    assert blind.image_parents == ("age", "sex", "effusion")
    assert blind.with_edge("view", "image").fingerprint == minimal.fingerprint
    with pytest.raises(GraphError, match="the arrows make a cycle: age -> effusion -> age"):
        minimal.with_edge("effusion", "age")
    with pytest.raises(GraphError, match="age -> effusion is declared twice"):
        minimal.with_edge("age", "effusion")
    with pytest.raises(GraphError, match="edge image -> age names the image"):
        minimal.with_edge("image", "age")
    with pytest.raises(GraphError, match="the image's parents repeat 'age'"):
        minimal.with_edge("age", "image")


# --- a value -----------------------------------------------------------------------------------


@given(graphs(unseen=True, image=True))
def test_pickles_copies_and_hashes(graph):
    again = pickle.loads(pickle.dumps(graph))
    assert again == graph
    assert hash(again) == hash(graph)
    assert again.fingerprint == graph.fingerprint
    assert copy.deepcopy(graph) is copy.copy(graph) is graph
    assert graph != "random"


def test_immutable(minimal):
    with pytest.raises(AttributeError, match=r"a CausalGraph is immutable.*'name'"):
        minimal.name = "other"
    with pytest.raises(AttributeError, match="immutable"):
        minimal._edges = {}
    with pytest.raises(AttributeError, match="immutable"):
        del minimal._name
    with pytest.raises(TypeError):
        minimal.variables["age"] = binary("age")
    minimal.to_networkx().remove_node("age")
    assert "age" in minimal.variables
    assert minimal.to_networkx().has_node("age")


def test_what_a_reader_cannot_see_changes_equality_and_not_the_fingerprint(minimal):
    worded = CausalGraph(
        minimal.variables.values(),
        [Edge(e.source, e.target, "disease", "ref", "other words") for e in minimal.edges[::-1]],
        name="renamed",
        version="9",
        image_parents=minimal.image_parents[::-1],
        image_rationale="other words",
    )
    assert worded.fingerprint == minimal.fingerprint
    assert worded != minimal
    assert worded.edges[0].target == "effusion"


def test_fingerprint_changes_with_what_is_said():
    a, b, c = binary("a"), binary("b"), binary("c")
    base = CausalGraph([a, b, c], [("a", "b")])
    others = [
        CausalGraph([a, b, c], []),
        CausalGraph([a, b, c], [("b", "a")]),
        CausalGraph([a, b, c], [("a", "b"), ("b", "c")]),
        CausalGraph([a, c, b], [("a", "b")]),
        CausalGraph([a, b], [("a", "b")]),
        CausalGraph([a, b, Variable("c", "ordinal", ("negative", "positive"))], [("a", "b")]),
        CausalGraph([a, b, Variable("c", "binary", ("positive", "negative"))], [("a", "b")]),
        CausalGraph([a, b, c], [("a", "b")], image_parents=[]),
        CausalGraph([a, b, c], [("a", "b")], image_parents=["a"]),
        CausalGraph([a, b, c], [("a", "b")], hidden=[HiddenCause("u", ("a", "c"))]),
        CausalGraph([a, b, c], [("a", "b")], hidden=[HiddenCause("u", ("a", "b", "c"))]),
        CausalGraph([a, b, c], [("a", "b")], selection=[Selection("s", ("a",))]),
        CausalGraph([a, b, c], [("a", "b")], selection=[Selection("s", ("a", "c"))]),
    ]
    prints = [graph.fingerprint for graph in (base, *others)]
    assert len(set(prints)) == len(prints)
    assert all(len(p) == 16 and int(p, 16) >= 0 for p in prints)
    named = CausalGraph([a, b, c], [("a", "b")], hidden=[HiddenCause("w", ("c", "a"), "why")])
    assert named.fingerprint == others[9].fingerprint


@given(graphs(unseen=True), st.data())
def test_fingerprint_ignores_the_order_of_arrows(graph, data):
    edges = data.draw(st.permutations(graph.edges))
    again = CausalGraph(
        graph.variables.values(),
        edges,
        hidden=data.draw(st.permutations(graph.hidden)),
        selection=data.draw(st.permutations(graph.selection)),
    )
    assert again.fingerprint == graph.fingerprint


# --- construction ------------------------------------------------------------------------------

A, B, C = binary("a"), binary("b"), binary("c")
AGE = Variable("age", "continuous", unit="years")


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: CausalGraph([A, A]), "variable 'a' is declared twice; keep one"),
        (lambda: CausalGraph([binary("image")]), "cannot be called 'image', it is the radiograph"),
        (lambda: CausalGraph([binary("patient_id")]), "cannot be called 'patient_id'"),
        (
            lambda: CausalGraph([binary("lung lesion")]),
            "'lung lesion' is not allowed; use letters",
        ),
        (
            lambda: CausalGraph([A, B], [("a", "c")]),
            "edge a -> c: to 'c' is not a variable. Allowed: a, b",
        ),
        (lambda: CausalGraph([A, B], [("x", "a")]), "edge x -> a: from 'x' is not a variable"),
        (lambda: CausalGraph([A], [("a", "a")]), "edge a -> a goes from a variable to itself"),
        (lambda: CausalGraph([A, B], [("a", "b"), ("a", "b")]), "edge a -> b is declared twice"),
        (
            lambda: CausalGraph([A], [("a", "image")]),
            "list the image's causes under image: parents",
        ),
        (
            lambda: CausalGraph([A, B], [Edge("a", "b", "disese")]),
            "edge a -> b has kind 'disese'; did you mean 'disease'? Allowed: context, risk",
        ),
        (
            lambda: CausalGraph([A, B, C], [("a", "b"), ("b", "c"), ("c", "a")]),
            "the arrows make a cycle: a -> b -> c -> a; a causal graph has none, so remove or "
            "turn one of these 3 arrows",
        ),
        (lambda: CausalGraph([A], image_parents=["b"]), "image parent 'b' is not a variable"),
        (lambda: CausalGraph([A], image_parents=["a", "a"]), "the image's parents repeat 'a'"),
        (
            lambda: CausalGraph([A, B], hidden=[HiddenCause("u", ("a", "image"))]),
            "hidden cause 'u' touches 'image' is not a variable",
        ),
        (
            lambda: CausalGraph([A, B], hidden=[HiddenCause("u", ("a",))]),
            "hidden cause 'u' touches 1 node; a common cause touches at least 2",
        ),
        (
            lambda: CausalGraph([A, B], hidden=[HiddenCause("u", ("a", "a"))]),
            "hidden cause 'u' touches 'a'; name each once",
        ),
        (
            lambda: CausalGraph([A, B], hidden=[HiddenCause("a", ("a", "b"))]),
            "hidden 'a' has the name of a variable",
        ),
        (
            lambda: CausalGraph([A, B], hidden=[HiddenCause("u", ("a", "b"))] * 2),
            "hidden 'u' has the name of another entry of hidden",
        ),
        (
            lambda: CausalGraph([A, B], selection=[Selection("s", ("x",))]),
            "selection 's' is caused_by 'x' is not a variable",
        ),
        (
            lambda: CausalGraph([A, B], selection=[Selection("s", ())]),
            "selection 's' is caused by nothing",
        ),
        (
            lambda: CausalGraph([Variable("a", "binary", ("n", "p"), mechanism="nor")]),
            "variable 'a' has mechanism: nor but no binary parent; add edges from the findings",
        ),
        (
            lambda: CausalGraph(
                [AGE, B, Variable("a", "binary", ("n", "p"), mechanism="nor")],
                [("age", "a"), ("b", "a")],
            ),
            "mechanism: nor and continuous parent 'age'; a definition reads binary findings",
        ),
    ],
)
def test_what_is_no_causal_graph(build, words):
    with pytest.raises(GraphError) as caught:
        build()
    assert words in str(caught.value)


def test_an_empty_graph_is_a_graph():
    graph = CausalGraph([])
    assert graph.topological_order == graph.edges == graph.implied_independencies() == ()
    assert not graph.has_image
    assert CausalGraph.from_yaml(graph.to_yaml()) == graph


@pytest.mark.parametrize("described", [{"kind": "sign"}, {"source_ref": "s"}])
def test_an_arrow_into_the_image_takes_no_kind_or_source(minimal, described):
    graph = minimal.without_edge("sex", "image")
    assert "sex" in graph.with_edge("sex", "image").parents("image")
    with pytest.raises(GraphError, match="'sex' into 'image' takes no kind or source_ref"):
        graph.with_edge("sex", "image", **described)
