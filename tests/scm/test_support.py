"""Where an intervention leaves the support of the data, that is said once, with counts."""

import logging

import numpy as np
import pandas as pd

from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm import FlowSCM, scale


def test_support_by_source(caplog):
    """One warning per call names what the row's own source never saw, with counts."""
    source = Variable("source", "nominal", ("A", "B"), role="context")
    age = Variable("age", "continuous", bounds=(0.0, 99.0), resolution=1.0, unit="years")
    view = Variable("view", "nominal", ("PA", "AP"))
    graph = CausalGraph([source, age, view], [("source", "age"), ("source", "view")])
    draw = np.random.default_rng(0)
    table = pd.DataFrame({"source": ["A", "B"] * 100, "age": draw.integers(20, 60, 200)})
    table["age"] = table["age"].astype(float) + 20.0 * (table["source"] == "B")
    table["view"] = np.where(table["source"] == "A", "PA", draw.choice(["PA", "AP"], 200))
    scm = FlowSCM(graph, hidden=()).fit(table, progress=False)
    assert scm._fitted.observed_by["source"]["A"]["view"] == ("PA",)
    with caplog.at_level(logging.WARNING, logger="cxrcausal"):
        scm.counterfactual(table.head(10), {"view": "AP", "age": 25.0}, seed=0)
    assert len(caplog.records) == 1
    assert "view=AP in 5 row(s) of source=A, where the fit never observed it" in caplog.text
    assert "'age' in 5 row(s) of source=B, outside its 4" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="cxrcausal"):
        scm.counterfactual(table.head(10), {"view": "AP", "source": "B"}, seed=0)
        scm.counterfactual(table.head(10), {"age": 45.0}, seed=0)
    assert not caplog.records


def test_a_move_below_the_resolution(caplog):
    """Nothing moves, and that is said."""
    age = Variable("age", "continuous", bounds=(0.0, 99.0), resolution=1.0, unit="years")
    table = pd.DataFrame({"age": np.random.default_rng(0).integers(20, 60, 100).astype(float)})
    scm = FlowSCM(CausalGraph([age], []), hidden=()).fit(table, progress=False)
    with caplog.at_level(logging.WARNING, logger="cxrcausal"):
        world = scm.counterfactual(table, {"age": scale(1.001)}, seed=0)
    assert "'age' in 100 row(s), steps of 1" in caplog.text
    assert world.equals(table)
