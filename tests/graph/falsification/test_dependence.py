"""The test of one pair against closed forms: mutual information, Mantel-Haenszel, least
squares."""

import numpy as np
import pandas as pd
import pytest
from random_graphs import binary

from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.graph.falsification.dependence import PairTest
from cxrcausal.graph.falsification.table import Cells

X, Y, Z = binary("x"), binary("y"), Variable("z", "nominal", ("a", "b", "c"))
AGE = Variable("age", "continuous", bounds=(0, 110), resolution=1)
GRAPH = CausalGraph([X, Y, Z, AGE])


def sample(rows=4000, seed=0):
    draw = np.random.default_rng(seed)
    z = draw.integers(3, size=rows)
    y = draw.random(rows) < 0.2 + 0.2 * z
    x = draw.random(rows) < 0.1 + 0.2 * z + 0.1 * y
    age = np.clip(np.round(40 + 8 * y + 5 * z + 12 * draw.normal(size=rows)), 0, 110)
    return pd.DataFrame({"x": x, "y": y, "z": np.array(["a", "b", "c"])[z], "age": age})


def test_alone_it_is_mutual_information():
    table = sample()
    found = PairTest(Cells(table, GRAPH, None)).test("x", "y", ())
    joint = pd.crosstab(table["x"], table["y"], normalize=True).to_numpy()
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    information = (joint * np.log(joint / apart)).sum()
    assert found.nats == pytest.approx(information - 1 / len(table), abs=1e-7)
    odds = joint[0, 0] * joint[1, 1] / (joint[0, 1] * joint[1, 0])
    assert found.log_odds == pytest.approx(np.log(odds), abs=1e-3)
    r = np.corrcoef(table["x"], table["y"])[0, 1]
    assert found.statistic == pytest.approx((len(table) - 1) * r**2)
    assert found.df == 1


def test_in_strata_it_is_mantel_haenszel():
    table = sample()
    found = PairTest(Cells(table, GRAPH, None)).test("x", "y", ("z",))
    score = variance = 0.0
    for _, part in table.groupby("z"):
        n, x, y = len(part), part["x"].sum(), part["y"].sum()
        score += (part["x"] & part["y"]).sum() - x * y / n
        variance += x * y * (n - x) * (n - y) / (n**2 * (n - 1))
    assert found.statistic == pytest.approx(score**2 / variance)


def test_of_a_continuous_variable_it_is_least_squares():
    table = sample()
    found = PairTest(Cells(table, GRAPH, None)).test("age", "y", ())
    r = np.corrcoef(table["age"], table["y"])[0, 1]
    assert found.nats == pytest.approx(-0.5 * np.log(1 - r**2) - 1 / len(table), abs=1e-6)
    assert np.isnan(found.log_odds)
    both = PairTest(Cells(table, GRAPH, None)).test("z", "age", ("y",))
    assert both.df == 8  # two levels of z, and a spline of four parts


def test_radiographs_twice_are_no_new_patients():
    """Every radiograph copied: the effect stays, and so does the p-value once patients are
    counted."""
    table = sample(1500).assign(patient_id=range(1500))
    twice = pd.concat([table, table])
    once = PairTest(Cells(table, GRAPH, "patient_id")).test("x", "y", ("z",))
    grouped = PairTest(Cells(twice, GRAPH, "patient_id")).test("x", "y", ("z",))
    naive = PairTest(Cells(twice, GRAPH, None)).test("x", "y", ("z",))
    assert grouped.statistic == pytest.approx(once.statistic, rel=0.05)
    assert naive.statistic == pytest.approx(2 * once.statistic, rel=0.01)
    assert grouped.nats == pytest.approx(once.nats, abs=0.1 / 1500)


def test_a_level_never_positive_is_no_proof():
    """Five joint positives expected and none seen is as likely as a Poisson zero, not 1e-80."""
    rows = 50_000
    x, y = np.zeros(rows, bool), np.zeros(rows, bool)
    x[:500], y[500:1000] = True, True
    table = pd.DataFrame({"x": x, "y": y, "z": "a", "age": 50.0, "patient_id": range(rows)})
    found = PairTest(Cells(table, GRAPH, "patient_id")).test("x", "y", ())
    assert 1e-3 < found.p < 0.1
    assert found.log_odds < -1


@pytest.mark.parametrize(
    ("change", "pair", "words"),
    [
        ({"y": False}, ("x", "y", ()), "y has a single value in these rows"),
        ({"y": [None] * 3990 + [True] * 10}, ("x", "y", ()), "fewer than 30 rows"),
        ({"y": lambda t: t["x"]}, ("x", "y", ("y",)), "z leaves nothing"),
    ],
)
def test_what_cannot_be_tested_says_why(change, pair, words):
    found = PairTest(Cells(sample().assign(**change), GRAPH, None)).test(*pair)
    assert words in found.note
    assert np.isnan(found.p)
    assert np.isnan(found.nats)
