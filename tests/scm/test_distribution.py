"""Counterfactual distributions against paper and plain enumeration."""

import logging

import numpy as np
import pandas as pd
import pytest
from closed_form import COMPLETE, LinearMechanism, binary, brute_force, clinic, table_of, table_scm

from cxrcausal.errors import GraphError, UnobservedError
from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm import FlowSCM, distribution, shift

SCM = clinic()


def probabilities(known, do, of, scm=SCM, **options):
    """The library's answer for one row."""
    return scm.counterfactual_probability(table_of(scm, known), do, of, **options).iloc[0]


@pytest.mark.parametrize(("p0", "p1"), [(0.2, 0.5), (0.1, 0.1), (0.6, 0.3)])
def test_monotone_binary_pair(p0, p1):
    """P(Y_{x=1}=1 | x=0, y=0) = (p1 - p0) / (1 - p0) where x raises y, else 0 (Pearl 2009,
    9.2).
    """
    x, y = binary("x"), binary("y")
    scm = table_scm([x, y], [("x", "y")], [[0.5, 0.5], [[1 - p0, p0], [1 - p1, p1]]])
    found = probabilities({"x": 0.0, "y": 0.0}, {"x": "positive"}, "y", scm)
    assert found["positive"] == pytest.approx(max(0.0, (p1 - p0) / (1 - p0)), abs=1e-12)
    kept = probabilities({"x": 0.0, "y": 1.0}, {"x": "positive"}, "y", scm)
    assert kept["positive"] == pytest.approx(min(1.0, p1 / p0), abs=1e-12)


def test_ordinal_overlap():
    """Level 1 of (.2, .5, .3) is u in (.2, .7]; under (.4, .2, .4) that is .4, .4 and .2 of it."""
    x = binary("x")
    y = Variable("y", "ordinal", ("low", "mid", "high"))
    tables = [[0.5, 0.5], [[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]]]
    scm = table_scm([x, y], [("x", "y")], tables)
    found = probabilities({"x": 0.0, "y": 1.0}, {"x": "positive"}, "y", scm)
    np.testing.assert_allclose(found, [0.4, 0.4, 0.2], atol=1e-12)


@pytest.mark.parametrize("of", ["sex", "age", "view", "edema", "severity", "effusion"])
@pytest.mark.parametrize(
    ("unknown", "do"),
    [
        ((), {"sex": 0.0}),
        ((), {"edema": 1.0, "sex": 0.0}),
        (("sex",), {"edema": 1.0}),  # an unknown confounder
        (("severity",), {"edema": 1.0}),  # an unknown mediator
        (("edema",), {"edema": 1.0}),  # do on the unknown cell itself
        (("edema", "severity", "age"), {"sex": 0.0}),
        (("effusion", "sex"), {"edema": 1.0}),
        (("age",), {"age": 20.0}),
        (("sex", "age", "edema", "severity"), {"severity": 0.0}),
        (("sex", "age", "view", "edema", "severity", "effusion"), {"edema": 1.0}),
    ],
    ids=lambda x: "-".join(x) or "complete",
)
def test_against_enumeration(unknown, do, of):
    """One elimination gives what counting every world gives, with and without unknown cells."""
    known = {v: x for v, x in COMPLETE.items() if v not in unknown}
    levels = {
        v: SCM.graph.variables[v].levels[int(x)] if SCM.graph.variables[v].is_discrete else x
        for v, x in do.items()
    }
    found = probabilities(known, levels, of)
    np.testing.assert_allclose(found, brute_force(SCM, known, do, of), atol=1e-10)


@pytest.mark.parametrize("known", [COMPLETE, {v: x for v, x in COMPLETE.items() if v != "age"}])
def test_shift_of_a_known_and_of_an_unknown_cell(known):
    """The unknown age moves from wherever it may be, stopping at the bounds."""
    found = probabilities(known, {"age": shift(20)}, "edema", clip=True)
    expected = brute_force(SCM, known, {"age": lambda age: min(age + 20, 60.0)}, "edema")
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_draws_stand_in_for_too_large_a_sum(monkeypatch):
    """Then the standard error is said, and holds."""
    known = {"age": 40.0, "effusion": 1.0}
    exact = probabilities(known, {"edema": "positive"}, "effusion")
    monkeypatch.setattr(distribution, "MOST_ENTRIES", 2)
    rows = table_of(SCM, known)
    drawn = SCM.counterfactual_probability(
        rows, {"edema": "positive"}, "effusion", num_samples=5000, seed=0
    )
    error = drawn.attrs["standard_error"]
    assert 0 < error < 0.01
    assert not drawn.attrs["exact"]
    np.testing.assert_allclose(drawn.iloc[0], exact, atol=5 * error)


@pytest.mark.parametrize("draws", [1, 5, 100])
def test_draws_that_all_agree_are_not_certain(monkeypatch, draws):
    """They leave room for a level that none of them showed."""
    x, y = binary("x"), binary("y")
    tables = [[0.5, 0.5], [[1 - 1e-9, 1e-9], [1 - 1e-6, 1e-6]]]
    scm = table_scm([x, y], [("x", "y")], tables)
    monkeypatch.setattr(distribution, "MOST_ENTRIES", 0)
    row = table_of(scm, {"x": 0.0, "y": 0.0})
    found = scm.counterfactual_probability(row, {"x": 1}, "y", num_samples=draws, seed=0)
    assert found.iloc[0].tolist() == pytest.approx([1.0, 0.0])
    error = found.attrs["standard_error"]
    assert error == pytest.approx(np.sqrt((draws + 1) / (draws + 2) ** 2 / draws))
    assert not found.attrs["exact"]


def test_exact_answers_say_so():
    """Probabilities of a row sum to one, and the standard error is zero."""
    found = SCM.counterfactual_probability(table_of(SCM, {"age": 30.0}, 3), {"sex": 0}, "severity")
    assert found.shape == (3, 3)
    assert found.columns.tolist() == ["none", "mild", "severe"]
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-12)
    assert found.attrs == {"standard_error": 0.0, "exact": True}


def test_columns_of_a_grid_are_its_values():
    """Ages are asked about by the year, or whatever their grain is."""
    assert probabilities({}, {}, "age").index.tolist() == [20, 30, 40, 50, 60]


def test_agrees_with_draws():
    """Many counterfactuals of a row have the distribution that is computed."""
    known = {"age": 40.0, "effusion": 1.0, "view": 2.0}
    do = {"edema": "positive"}
    drawn = SCM.counterfactual(table_of(SCM, known), do, num_samples=20_000, seed=3, impute=True)
    for of in ("severity", "effusion", "sex"):
        share = drawn[of].value_counts(normalize=True, sort=False)
        np.testing.assert_allclose(share, probabilities(known, do, of), atol=0.02)


def primer():
    """X ~ U, H = .5 X + U, Y = .7 X + .4 H + U (Pearl, Glymour and Jewell 2016, section 4.2.3)."""
    variables = [Variable(n, "continuous") for n in ("encouragement", "homework", "score")]
    x, h, y = variables
    graph = CausalGraph(
        variables,
        [("encouragement", "homework"), ("encouragement", "score"), ("homework", "score")],
    )
    return FlowSCM.from_mechanisms(
        graph,
        {
            "encouragement": LinearMechanism(x, ()),
            "homework": LinearMechanism(h, (x,), [0.5]),
            "score": LinearMechanism(y, (x, h), [0.7, 0.4]),
        },
    )


def test_joe():
    """Joe would have scored 1.90 had he doubled his homework; a distribution if it is unknown."""
    joe = pd.DataFrame({"encouragement": [0.5], "homework": [1.0], "score": [1.5]})
    found = primer().counterfactual_probability(joe, {"homework": 2.0}, "score").iloc[0]
    np.testing.assert_allclose(found, 1.90, atol=1e-12)
    assert found.index.tolist() == [0.05, 0.25, 0.5, 0.75, 0.95]


def test_quantiles_of_a_continuum():
    """Score given encouragement alone, under do(homework=2): N(.35 + .8, 1)."""
    row = pd.DataFrame({"encouragement": [0.5], "homework": [np.nan], "score": [np.nan]})
    found = primer().counterfactual_probability(row, {"homework": 2.0}, "score").iloc[0]
    expected = 1.15 + np.array([-1.6449, -0.6745, 0.0, 0.6745, 1.6449])
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_a_sum_over_quantile_cells_is_not_called_exact(monkeypatch):
    """An unknown continuum that matters is summed over cells; one that does not, or is known, is
    not.
    """
    scm, do = primer(), {"homework": 2.0}
    joe = pd.DataFrame({"encouragement": [0.5], "homework": [1.0], "score": [1.5]})
    exact = scm.counterfactual_probability(joe, do, "score").attrs
    assert exact == {"standard_error": 0.0, "exact": True}
    lacking = joe.assign(score=np.nan)
    cells = scm.counterfactual_probability(lacking, do, "score").attrs
    assert cells == {"standard_error": 0.0, "exact": False}
    both = scm.counterfactual_probability(pd.concat([joe, lacking]), do, "score").attrs
    assert not both["exact"]
    assert scm.counterfactual_probability(lacking, do, "homework").attrs["exact"]
    monkeypatch.setattr(distribution, "MOST_ENTRIES", 0)
    once = scm.counterfactual_probability(lacking, do, "score", num_samples=1, seed=0).attrs
    assert once == {"standard_error": np.inf, "exact": False}


def test_deterministic_chain():
    """X1 = 2 X0, X2 = .5 X0, X3 = .5 X2 plus noise: (1, 3, 3, 4) under do(X2 = 2) is (1, 3, 2,
    3.5).
    """
    variables = [Variable(f"x{i}", "continuous") for i in range(4)]
    a, b, c, d = variables
    graph = CausalGraph(variables, [("x0", "x1"), ("x0", "x2"), ("x2", "x3")])
    scm = FlowSCM.from_mechanisms(
        graph,
        {
            "x0": LinearMechanism(a, (), scale=0.1),
            "x1": LinearMechanism(b, (a,), [2.0], scale=0.1),
            "x2": LinearMechanism(c, (a,), [0.5], scale=0.1),
            "x3": LinearMechanism(d, (c,), [0.5], scale=0.1),
        },
    )
    row = pd.DataFrame([[1.0, 3.0, 3.0, 4.0]], columns=["x0", "x1", "x2", "x3"])
    found = scm.counterfactual(row, {"x2": 2.0}, seed=0)
    np.testing.assert_allclose(found.iloc[0], [1.0, 3.0, 2.0, 3.5], atol=1e-12)


def test_what_cannot_be_asked():
    """A name that is not there, and a variable that the fit never saw."""
    with pytest.raises(GraphError, match=r"'efusion' is not in graph 'clinic'; did you mean"):
        probabilities({}, {}, "efusion")
    some = {v: SCM.mechanisms[v] for v in ("sex", "age", "view")}
    part = FlowSCM.from_mechanisms(SCM.graph, some)
    with pytest.raises(UnobservedError, match="'effusion' was never observed in the fit"):
        probabilities({}, {}, "effusion", part)


def test_what_does_not_descend(caplog):
    """Asking for the effect on a cause is answered, with a warning."""
    with caplog.at_level(logging.WARNING, logger="cxrcausal"):
        found = probabilities(COMPLETE, {"edema": "positive"}, "age")
    assert found[40] == 1.0
    assert "'age' does not descend from 'edema'" in caplog.text
