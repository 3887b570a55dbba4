"""Unknown as a level of its own, for those who reproduce models that have one."""

import pandas as pd
import pytest

from cxrcausal.data import read_table, unknown_as_level, with_unknown_level
from cxrcausal.errors import TableError
from cxrcausal.graph import CausalGraph, Variable, load_graph
from cxrcausal.scm import FlowSCM

GRAPH = load_graph("cxr-minimal")


def test_the_graph_has_the_level_wherever_it_has_levels():
    graph = load_graph("cxr19")
    wider = with_unknown_level(graph)
    assert set(wider.variables) == set(graph.variables)
    assert wider.edges == graph.edges
    assert wider.image_parents == graph.image_parents
    for name, variable in graph.variables.items():
        if variable.is_discrete:
            assert wider.variables[name].levels == (*variable.levels, "unknown")
            assert wider.variables[name].kind == "nominal"
        else:
            assert wider.variables[name] == variable
    assert not wider.variables["no_finding"].is_definition
    again = with_unknown_level(wider)
    assert again.variables == wider.variables


def test_known_cells_stay_and_the_input_is_not_modified():
    wider = with_unknown_level(GRAPH)
    rows = pd.DataFrame(
        {
            "age": [40.0, None],
            "sex": ["Male", None],
            "view": [None, "PA"],
            "effusion": ["positive", None],
        },
        index=["a", "b"],
    )
    before = rows.copy(deep=True)
    table = read_table(rows, source="graph", graph=wider, unknown="level")
    assert table["sex"].tolist() == ["Male", "unknown"]
    assert table["view"].tolist() == ["unknown", "PA"]
    assert table["age"].isna().tolist() == [False, True]
    assert table.attrs["cxrcausal"]["graph"] == "cxr-minimal-unknown"
    pd.testing.assert_frame_equal(rows, before)
    missing = read_table(rows, source="graph", graph=wider)
    assert missing["sex"].isna().tolist() == [False, True]


def test_a_graph_without_such_a_level_is_refused():
    table = read_table(pd.DataFrame({"sex": ["Male"]}), source="graph", graph=GRAPH)
    with pytest.raises(TableError, match=r"no variable with the level 'unknown'; give with_unkno"):
        unknown_as_level(table, GRAPH)
    with pytest.raises(TableError, match=r"unknown='levle' is not known; did you mean 'level'\?"):
        read_table(table, source="graph", graph=GRAPH, unknown="levle")


def test_a_model_of_it_can_be_fitted():
    sex = Variable("sex", "binary", ("Female", "Male"))
    view = Variable("view", "nominal", ("PA", "AP"))
    wider = with_unknown_level(CausalGraph([sex, view], [("sex", "view")]))
    rows = pd.DataFrame({"sex": ["Male", "Female", None] * 40, "view": ["PA", None, "AP"] * 40})
    table = read_table(rows, source="graph", graph=wider, unknown="level")
    scm = FlowSCM(wider).fit(table)
    world = scm.counterfactual(table.iloc[:3], do={"view": "unknown"}, seed=0)
    assert world["view"].tolist() == ["unknown"] * 3
