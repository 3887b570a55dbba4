"""Soft evidence against plain enumeration, and what it may not be."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from closed_form import COMPLETE, clinic, table_of, worlds

from cxrcausal.errors import TableError, UnobservedError
from cxrcausal.scm import FlowSCM

SCM = clinic()
KNOWN = {"effusion": 1.0, "age": 30.0}
RATIO = 3.5
STAGES = (0.5, 1.0, 4.0)


def said(rows, ratio=RATIO, stages=STAGES):
    """What is written of edema (a ratio) and of severity (one number per level) in all rows."""
    levels = SCM.graph.variables["severity"].levels
    return {
        "edema": pd.Series(ratio, index=rows.index),
        "severity": pd.DataFrame([stages] * len(rows), columns=levels, index=rows.index),
    }


def weighed(known):
    """Every world with its joint weight, what was written counted as a likelihood."""
    for world, p in worlds(SCM, known):
        yield world, p * (RATIO if world["edema"] else 1.0) * STAGES[int(world["severity"])]


@pytest.mark.parametrize("known", [KNOWN, {}, {"edema": 1.0}, COMPLETE], ids=str)
def test_log_prob(known):
    """The likelihood of what is known and of what was written, as given."""
    rows = table_of(SCM, known)
    total = sum(p for _, p in weighed(known))
    found = SCM.log_prob(rows, likelihood=said(rows)).item()
    assert found == pytest.approx(np.log(total), abs=1e-12)


def test_draws_follow_the_posterior():
    """Joint frequencies of the unknown cells agree with enumeration."""
    n = 20_000
    rows = table_of(SCM, KNOWN)
    noise = SCM.abduct(rows, num_samples=n, seed=1, likelihood=said(rows))
    assert set(noise.values) == set(SCM.mechanisms)
    names = ("sex", "edema", "severity")
    joint = dict.fromkeys(itertools.product((0.0, 1.0), (0.0, 1.0), (0.0, 1.0, 2.0)), 0.0)
    for world, p in weighed(KNOWN):
        joint[tuple(float(world[v]) for v in names)] += p
    total = sum(joint.values())
    drawn = torch.stack([noise.values[v] for v in names], 1).tolist()
    for cell, p in joint.items():
        share = sum(tuple(row) == cell for row in drawn) / n
        assert share == pytest.approx(p / total, abs=5 * np.sqrt(0.25 / n))


def test_counterfactual_probability():
    """It shifts what is believed of a mediator, and with it the counterfactual distribution."""
    rows = table_of(SCM, KNOWN)
    do = {"sex": "Male"}
    found = SCM.counterfactual_probability(rows, do, of="effusion", likelihood=said(rows))
    expected, total = np.zeros(2), 0.0
    for world, p in weighed(KNOWN):
        complete = table_of(SCM, world)
        joint = SCM.counterfactual_probability(complete, do, of="effusion").to_numpy()[0]
        expected, total = expected + p * joint, total + p
    np.testing.assert_allclose(found.to_numpy()[0], expected / total, atol=1e-12)


def test_counterfactuals_take_it_into_account():
    """Overwhelming evidence is as good as knowing."""
    rows = table_of(SCM, KNOWN, 50)
    sure = {"edema": pd.Series(1e12, index=rows.index)}
    do = {"sex": "Male"}
    world = SCM.counterfactual(rows, do, seed=0, likelihood=sure, impute=True)
    facts = SCM.abduct(rows, seed=0, likelihood=sure).values["edema"]
    assert (facts == 1.0).all()
    assert world.columns.tolist() == rows.columns.tolist()


def test_nothing_written_changes_nothing():
    """NaN, equal likelihoods, and no likelihood at all are the same."""
    rows = table_of(SCM, KNOWN)
    plain = SCM.log_prob(rows).item()
    for ratio in (np.nan, 1.0):
        found = SCM.log_prob(rows, likelihood={"edema": pd.Series(ratio, index=rows.index)})
        assert found.item() == plain


def test_it_goes_by_label():
    """A Series may hold more rows, in another order."""
    rows = table_of(SCM, KNOWN, 2).set_axis(["a", "b"])
    given = {"edema": pd.Series({"c": 9.0, "b": RATIO, "a": np.nan})}
    found = SCM.log_prob(rows, likelihood=given)
    assert found["a"] == SCM.log_prob(rows)["a"]
    assert found["b"] != found["a"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"edma": pd.Series([1.0])}, "'edma', which is not a variable.*did you mean 'edema'"),
        ({"age": pd.Series([1.0])}, "soft evidence is about levels, and 'age' is continuous"),
        (
            {"severity": pd.Series([1.0])},
            "a ratio speaks of two levels, and it has 'none', 'mild'",
        ),
        ({"edema": pd.DataFrame({"positive": [1.0]})}, "one column for each level.*found .'posit"),
        ({"edema": pd.Series([-1.0])}, "row 0: found .'negative': 1.0, 'positive': -1.0"),
        ({"edema": pd.Series([np.inf])}, "finite numbers from 0"),
        ({"edema": pd.Series([1.0], index=[7])}, "lacks the rows 0"),
        (
            {"edema": pd.DataFrame({"negative": [0.0], "positive": [0.0]})},
            "not all 0",
        ),
        (
            {"edema": pd.DataFrame({"negative": [1.0], "positive": [np.nan]})},
            "NaN for all levels where nothing was written",
        ),
    ],
)
def test_what_is_no_likelihood(given, words):
    """The message names the variable, the row, what was found and what is allowed."""
    with pytest.raises(TableError, match=words):
        SCM.log_prob(table_of(SCM, KNOWN), likelihood=given)


def test_of_what_the_fit_never_saw():
    """Nothing can be learnt of it from words."""
    seen = {name: m for name, m in SCM.mechanisms.items() if name != "effusion"}
    scm = FlowSCM.from_mechanisms(SCM.graph, seen)
    rows = table_of(SCM, KNOWN)
    with pytest.raises(UnobservedError, match="'effusion', which was never observed"):
        scm.log_prob(rows, likelihood={"effusion": pd.Series([2.0])})
