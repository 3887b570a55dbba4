"""The graph as other causal packages read it; the packages themselves where they are installed."""

import itertools
import sys

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from cxrcausal.errors import CxrCausalError
from cxrcausal.graph import list_graphs, load_graph


@pytest.mark.parametrize("name", list_graphs())
def test_dowhy_reads_the_metadata_with_hidden_causes_marked(name):
    """The image and what selects are not among its nodes; d-separations are the graph's own."""
    graph = load_graph(name)
    network = graph.to_dowhy()
    marks = nx.get_node_attributes(network, "observed")
    assert {n for n, mark in marks.items() if mark == "yes"} == set(graph.variables)
    assert {n for n, mark in marks.items() if mark == "no"} == {h.name for h in graph.hidden}
    for variable in graph.variables:
        causes = {cause for cause in network.predecessors(variable) if marks[cause] == "yes"}
        assert causes == set(graph.parents(variable))


@pytest.mark.filterwarnings("ignore:.*assumed unobserved")  # the hidden causes, as they should be
@pytest.mark.parametrize("name", list_graphs())
def test_dowhy_itself_takes_the_graph(name):
    """It finds a back-door set where we do: not where a hidden cause is in the way."""
    dowhy = pytest.importorskip("dowhy", reason="DoWhy is a peer, in an environment of its own")
    graph = load_graph(name)
    rows = pd.DataFrame({v: np.arange(8.0) % 3 for v in graph.variables})
    below = [e for e in reversed(graph.edges) if graph.parents(e.source)]
    arrow = (below or graph.edges)[0]
    cause, outcome = arrow.source, arrow.target
    model = dowhy.CausalModel(rows, cause, outcome, graph=graph.to_dowhy())
    found = model.identify_effect(proceed_when_unidentifiable=True).get_backdoor_variables()
    behind = graph.to_dowhy()
    behind.remove_edges_from(list(behind.out_edges(cause)))
    blocked = nx.is_d_separator(behind, {cause}, {outcome}, set(found))
    assert blocked == bool(graph.adjustment_sets(cause, outcome))


@pytest.mark.parametrize("name", list_graphs())
def test_pgmpy_takes_the_graph_and_separates_alike(name):
    pytest.importorskip("pgmpy", reason="pgmpy is a peer, in an environment of its own")
    graph = load_graph(name)
    network = graph.to_pgmpy()
    assert network.latents == {h.name for h in graph.hidden}
    assert set(network.nodes) - network.latents == set(graph.variables)
    for one, other in itertools.combinations(graph.variables, 2):
        connected = network.is_dconnected(one, other, observed=["age"])
        if "age" not in (one, other) and not graph.selection:
            assert connected != graph.d_separated(one, other, given={"age"})


def test_without_pgmpy_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pgmpy.base", None)
    with pytest.raises(CxrCausalError, match="pip install pgmpy"):
        load_graph("cxr19").to_pgmpy()
