"""What turns one graph into another."""

from hypothesis import given
from random_graphs import binary, graphs

from cxrcausal.graph import CausalGraph, HiddenCause, Selection, Variable, load_graph

A, B, C = binary("a"), binary("b"), binary("c")


@given(graphs(unseen=True, image=True))
def test_a_graph_does_not_differ_from_itself(graph):
    assert not graph.diff(graph)
    assert str(graph.diff(graph)) == "0 added, 0 removed, 0 reversed"


@given(graphs(most=5), graphs(most=5))
def test_a_difference_is_a_difference_of_fingerprints(first, second):
    assert bool(first.diff(second)) == (first.fingerprint != second.fingerprint)
    forth, back = first.diff(second), second.diff(first)
    assert set(forth.added) == set(back.removed)
    assert len(forth.reversed) == len(back.reversed)


def test_arrows():
    first = CausalGraph([A, B, C], [("a", "b"), ("b", "c")], image_parents=["a"])
    second = CausalGraph([A, B, C], [("b", "a"), ("a", "c")], image_parents=["b"])
    diff = first.diff(second)
    assert [str(e) for e in diff.added] == ["a -> c", "b -> image"]
    assert [str(e) for e in diff.removed] == ["b -> c", "a -> image"]
    assert [str(e) for e in diff.reversed] == ["b -> a"]
    assert "~ b -> a  (was a -> b)" in str(diff)


def test_everything_else():
    ordinal = Variable("a", "ordinal", ("negative", "positive"))
    first = CausalGraph(
        [A, B, C], hidden=[HiddenCause("u", ("a", "b")), HiddenCause("gone", ("a", "b"))]
    )
    second = CausalGraph(
        [ordinal, binary("d"), B],
        hidden=[HiddenCause("u", ("a", "d"))],
        selection=[Selection("s", ("b",))],
        image_parents=[],
    )
    assert first.diff(second).changed == (
        "variable a: kind binary -> ordinal",
        "variable c removed",
        "variable d added",
        "image added",
        "hidden cause u: +d, -b",
        "hidden cause gone removed",
        "selection s added: b",
    )
    turned = CausalGraph([B, A, C])
    assert CausalGraph([A, B, C]).diff(turned).changed == ("the variables are in another order",)


def test_extended_reverses_two_published_arrows():
    diff = load_graph("cxr19").diff(load_graph("cxr19-extended"))
    assert {str(e) for e in diff.reversed} == {
        "pleural_effusion -> pleural_other",
        "lung_lesion -> lung_opacity",
    }
    assert diff.removed == ()
    assert str(diff).startswith(f"{len(diff.added)} added, 0 removed, 2 reversed")
