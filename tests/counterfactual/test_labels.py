"""What an effect says that it rests on: the graph with its hidden causes and its selection."""

import pytest
from closed_form import TableMechanism, binary

from cxrcausal.counterfactual import ate, cate
from cxrcausal.graph import CausalGraph, HiddenCause, Selection
from cxrcausal.scm import FlowSCM

FEW = {"groups": None, "resamples": 20}


def scm_of(arrows, hidden=(), selection=(), unobserved=()):
    """An SCM over binary variables, each more likely the more of its parents are positive."""
    edges = [tuple(e.split(">")) for e in arrows.split()]
    names = sorted({v for e in edges for v in e} | {v for h in hidden for v in h if v.islower()})
    graph = CausalGraph(
        [binary(v) for v in names],
        edges,
        hidden=[HiddenCause(f"u{i}", tuple(h)) for i, h in enumerate(hidden)],
        selection=[Selection(f"S{i}", tuple(s)) for i, s in enumerate(selection)],
    )
    mechanisms = {}
    for v in graph.topological_order:
        if v not in unobserved:
            parents = tuple(graph.variables[p] for p in graph.parents(v) if p not in unobserved)
            mechanisms[v] = TableMechanism(graph.variables[v], parents, table(len(parents)))
    return FlowSCM.from_mechanisms(graph, mechanisms)


def table(parents):
    if not parents:
        return [0.6, 0.4]
    less, more = table(parents - 1), table(parents - 1)
    return [shifted(less, -0.1), shifted(more, 0.15)]


def shifted(values, by):
    if isinstance(values[0], float):
        return [values[0] - by, values[1] + by]
    return [shifted(v, by) for v in values]


def test_a_conditional_effect_has_a_verdict_of_its_own():
    """One figure for both strata, where a hidden cause ties them to the outcome, is the model's."""
    scm = scm_of("x>y", hidden=["zx", "zy"])
    rows = scm.sample(40, seed=0)
    assert ate(scm, rows, "x", "y", **FEW).identified
    strata = [cate(scm, rows, "x", "y", {"z": level}, **FEW) for level in ("negative", "positive")]
    assert strata[0].estimate == pytest.approx(strata[1].estimate)
    assert all(s.claim.basis == "model" and "hedge" in s.statement for s in strata)
    seen = scm_of("z>x z>y x>y")
    found = cate(seen, seen.sample(40, seed=0), "x", "y", {"z": "positive"}, **FEW)
    assert found.identified
    assert "P(" not in found.statement
