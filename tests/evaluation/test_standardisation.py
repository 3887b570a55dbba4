"""What real radiographs show of one parent, the others held, in a world where it is known."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from cxrcausal.errors import TableError
from cxrcausal.evaluation import PatientBootstrap, Standardised, flip, move, weighted_slope
from cxrcausal.graph import load_graph

GRAPH = load_graph("cxr19")
ROWS = 4000


@pytest.fixture(scope="module")
def confounded() -> tuple[pd.DataFrame, pd.DataFrame]:
    """AP patients are twenty years older and have more effusions: score = 2 AP + .1 age + 3 e."""
    rng = np.random.default_rng(0)
    ap = rng.random(ROWS) < 0.4
    age = rng.integers(20, 60, ROWS) + 20.0 * ap
    effusion = rng.random(ROWS) < np.where(ap, 0.5, 0.1)
    known = rng.random(ROWS) < 0.8  # of an unknown finding the score shows a half
    table = pd.DataFrame(
        {
            "view": np.where(ap, "AP", "PA"),
            "age": age,
            "pleural_effusion": pd.Series(np.where(effusion, "positive", "negative")).where(known),
        }
    )
    score = 2.0 * ap + 0.1 * age + 3.0 * np.where(known, effusion, 0.5)
    scores = {"view": score, "age": score, "pleural_effusion": score}
    return pd.DataFrame(scores), table


def test_a_regression_on_all_parents_undoes_the_confounding(confounded):
    scores, table = confounded
    one = np.ones((1, ROWS))
    plain = weighted_slope(scores["view"], (table["view"] == "AP").astype(float))(one)[0]
    assert plain > 4.5  # 2 of it is the view, 2 the age, the rest the effusions
    real = Standardised(scores, table, GRAPH)
    assert real.gap("view")(one)[0] == pytest.approx(2, abs=1e-4)
    assert real.gap("age")(one)[0] == pytest.approx(0.1 * table["age"].std(), rel=1e-3)
    assert real.change("view", flip(table, GRAPH, "view"))(one)[0] == pytest.approx(2, abs=1e-4)
    older = real.change("age", move(table, GRAPH, "age", +30))(one)[0]
    younger = real.change("age", move(table, GRAPH, "age", -10))(one)[0]
    assert (older, younger) == pytest.approx((3.0, 1.0), abs=1e-4)


def test_parents_that_follow_count(confounded):
    """AP, and its effusion with it: of 2 + 3 per radiograph that changes both."""
    scores, table = confounded
    question = flip(table, GRAPH, "view")
    follows = flip(question.table, GRAPH, "pleural_effusion")
    both = (table["view"] == "PA") & (table["pleural_effusion"] == "negative")
    question = dataclasses.replace(question, table=follows.table).of(both.to_numpy())
    change = Standardised(scores, table, GRAPH).change("view", question)
    assert change(np.ones((1, ROWS)))[0] == pytest.approx(5, abs=1e-4)


def test_every_resample_has_its_own_regression(confounded):
    scores, table = confounded
    noisy = scores + np.random.default_rng(1).normal(size=(ROWS, 1))
    real = Standardised(noisy, table, GRAPH)
    interval = PatientBootstrap(np.arange(ROWS), resamples=300).interval(real.gap("view"))
    assert interval.low < 2 < interval.high
    assert 0.05 < interval.high - interval.low < 0.4  # ± 2 / sqrt(4000 · .24 · about .7)


def test_what_no_radiograph_shows_has_no_effect(confounded):
    scores, table = confounded
    with pytest.raises(TableError, match="'sex' is no parent of the image that these rows show"):
        Standardised(scores.assign(sex=0.0), table, GRAPH).gap("sex")
    with pytest.raises(TableError, match="3 scores stand beside 4000 rows"):
        Standardised(scores.head(3), table, GRAPH)
