"""The graphs that ship: facts about the published one, reasons in the extended one."""

import pytest

from cxrcausal.graph import EDGE_KINDS, list_graphs, load_graph

LABELS = {
    "cardiomegaly",
    "edema",
    "pleural_other",
    "pneumonia",
    "fracture",
    "pneumothorax",
    "enlarged_cardiomediastinum",
    "consolidation",
    "pleural_effusion",
    "support_devices",
    "atelectasis",
    "lung_opacity",
    "lung_lesion",
    "no_finding",
}


def test_names():
    assert {"cxr19", "cxr19-extended", "cxr-minimal"} <= set(list_graphs())


@pytest.mark.parametrize("name", list_graphs())
def test_every_graph_says_what_it_is_and_why(name):
    graph = load_graph(name)
    assert graph.name == name
    assert float(graph.version) >= 1
    for edge in graph.edges:
        assert edge.kind in EDGE_KINDS
        assert edge.rationale
    assert all(cause.rationale for cause in (*graph.hidden, *graph.selection))
    assert graph.image_rationale
    assert all(v.role for v in graph.variables.values())


def test_the_published_graph_has_29_arrows():
    """arXiv 2606.19460: 16 variables are drawn; dataset and view act on the image alone."""
    graph = load_graph("cxr19")
    published = [e for e in graph.edges if e.source_ref == "published"]
    assert len(published) == 29
    drawn = {e.source for e in published} | {e.target for e in published}
    assert len(drawn) == 16
    assert {e.source_ref for e in graph.edges} == {"published", "definition"}
    for outside in ("dataset", "view"):
        assert graph.parents(outside) == ()
        assert graph.children(outside, image=True) == ("image",)
    assert not {"dataset", "view", "no_finding"} & drawn


@pytest.mark.parametrize("name", ["cxr19", "cxr19-extended"])
def test_nineteen_variables(name):
    graph = load_graph(name)
    assert set(graph.variables) == LABELS | {"dataset", "age", "sex", "race", "view"}
    assert graph.variables == load_graph("cxr19").variables
    assert set(graph.image_parents) == set(graph.variables) - {"no_finding"}
    definition = set(graph.parents("no_finding")) - {"dataset"}
    assert definition == LABELS - {"no_finding", "support_devices"}


def test_the_extended_graph_keeps_the_published_arrows_or_turns_them():
    published = [e for e in load_graph("cxr19").edges if e.source_ref == "published"]
    pairs = {(e.source, e.target) for e in load_graph("cxr19-extended").edges}
    turned = [e for e in published if (e.source, e.target) not in pairs]
    assert all((e.target, e.source) in pairs for e in turned)
    assert len(turned) == 2


def test_dataset_is_a_context_of_everything_in_the_extended_graph():
    graph = load_graph("cxr19-extended")
    assert graph.parents("dataset") == ()
    assert set(graph.children("dataset")) == set(graph.variables) - {"dataset"}
    assert set(graph.hidden[0].touches) <= set(graph.variables)
