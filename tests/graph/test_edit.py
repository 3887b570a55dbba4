"""Edits return new graphs, and keep the reasons of what stays and of what is added."""

from hypothesis import given
from random_graphs import binary, graphs

from cxrcausal.graph import CausalGraph, Edge, HiddenCause, load_graph


def test_the_reasons_of_what_stays():
    graph = load_graph("cxr19-extended")
    changed = graph.do("edema").with_edge("sex", "consolidation", kind="risk", rationale="asked")
    changed = changed.without_edge("pneumonia", "consolidation")
    assert changed.edge("sex", "consolidation").rationale == "asked"
    kept = [e for e in graph.edges if e.target != "edema"]
    kept = [e for e in kept if (e.source, e.target) != ("pneumonia", "consolidation")]
    assert [e for e in changed.edges if e.source != "sex" or e.target != "consolidation"] == kept
    assert changed.selection == graph.selection
    assert [h.rationale for h in changed.hidden] == [h.rationale for h in graph.hidden]
    assert changed.image_rationale == graph.image_rationale


def test_an_arrow_into_the_image_brings_its_reason():
    graph = load_graph("cxr19").with_edge(
        "no_finding", "image", rationale="burnt into the radiograph"
    )
    assert graph.image_rationale.endswith("adds nothing; no_finding: burnt into the radiograph")
    assert "no_finding" in graph.image_parents
    bare = CausalGraph([binary("a")], image_parents=())
    assert bare.with_edge("a", "image").image_rationale is None


def test_what_do_leaves_of_a_hidden_cause():
    names = "abc"
    graph = CausalGraph([binary(n) for n in names], hidden=[HiddenCause("u", tuple(names), "why")])
    assert graph.do("a").hidden == (HiddenCause("u", ("b", "c"), "why"),)
    assert graph.do("a", "b").hidden == ()


@given(graphs(unseen=True, image=True))
def test_adding_what_was_taken_gives_the_graph_back(graph):
    for e in graph.edges:
        again = graph.without_edge(e.source, e.target).with_edge(e.source, e.target)
        assert again == graph
        assert again.edge(e.source, e.target) == Edge(e.source, e.target)
