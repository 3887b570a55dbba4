"""Each doubt of the SCM's sums is the graph's: lost arrows, hidden causes, selection."""

import pytest
from closed_form import TableMechanism, binary

from cxrcausal.effect.agreement import Agreement, is_spurious
from cxrcausal.effect.worlds import Worlds
from cxrcausal.graph import CausalGraph, HiddenCause, Selection


def agreement(arrows, *, fitted=None, hidden=(), selection=(), given=()):
    """The graph beside an SCM of the arrows that were fitted, for x on y."""
    edges = [tuple(arrow.split(">")) for arrow in arrows.split()]
    names = sorted({name for edge in edges for name in edge})
    graph = CausalGraph(
        [binary(name) for name in names],
        edges,
        hidden=[HiddenCause(f"u{i}", tuple(tied)) for i, tied in enumerate(hidden)],
        selection=[Selection(f"S{i}", tuple(on)) for i, on in enumerate(selection)],
    )
    read = edges if fitted is None else [tuple(arrow.split(">")) for arrow in fitted.split()]
    mechanisms = {}
    for name in graph.topological_order:
        parents = tuple(graph.variables[a] for a, b in read if b == name)
        table = 0.5
        for _ in (*parents, name):
            table = [table, table]
        mechanisms[name] = TableMechanism(graph.variables[name], parents, table)
    return Agreement(graph, Worlds(mechanisms, "x", "y"), given)


def test_a_complete_scm_of_an_unconfounded_pair_leaves_no_doubt():
    sound = agreement("z>x z>y x>y")
    assert sound.of_mechanisms() == sound.of_average() == sound.of_treated() == ""
    assert sound.of_groups() == sound.of_shares() == sound.lost() == ""
    assert not sound.is_selected()


def test_an_arrow_that_the_fit_lacks_is_named():
    lacking = agreement("x>y w>y", fitted="x>y")
    assert lacking.lost() == "'w' acts on y through what the fit never observed"
    assert lacking.of_mechanisms() == lacking.lost()


def test_hidden_causes_below_the_cause_are_named():
    tied = agreement("x>m m>y", hidden=["my"])
    assert "hidden causes tie m to 'y'" in tied.of_mechanisms()
    assert "hidden causes tie m to 'y'" in tied.of_average(nested=True)
    assert agreement("x>m m>y").of_average(nested=True) == ""


@pytest.mark.parametrize(
    ("selection", "doubt", "shares"),
    [
        ([], "", ""),
        (["y"], "selection depends on y", "selection reaches x"),
        (["x"], "", "selection reaches x"),
    ],
)
def test_selection_on_the_outcome_biases_it_and_on_the_cause_its_share(selection, doubt, shares):
    found = agreement("x>y", selection=selection)
    assert found.of_average().startswith(doubt)
    assert bool(found.of_average()) == bool(doubt)
    assert found.of_shares() == shares
    assert found.is_selected() == bool(selection)


@pytest.mark.parametrize(
    ("arrows", "options", "confounded"),
    [
        ("x>y", {}, False),
        ("z>x z>y x>y", {}, True),
        ("x>m m>y", {"hidden": ["xy"]}, True),
        ("x>y w>y", {"selection": ["xw"]}, True),
    ],
)
def test_cause_and_outcome_are_tied_by_more_than_causal_paths(arrows, options, confounded):
    """By a common cause, a hidden one, or a selection that depends on both sides."""
    assert agreement(arrows, **options).is_confounded() == confounded


def test_spurious_is_a_statement_about_the_fitted_model():
    assert is_spurious(agreement("z>x z>y x>y").worlds)
    assert not is_spurious(agreement("x>m m>y", hidden=["xy"]).worlds)
