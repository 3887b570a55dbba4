"""An absent column is unknown wherever rows are taken, unless it only stands there under another
name.
"""

import numpy as np
import pandas as pd
import pytest
import torch
from simulated import GRAPH, patients

from cxrcausal.errors import InterventionError, TableError
from cxrcausal.scm import FlowSCM, scale, shift

TABLE = patients(400, seed=0, unknown=0.03)
ROWS = patients(12, seed=1, always=["pressure"])
FEW = ROWS[["pressure", "edema", "age"]]
EDEMA = {"edema": "positive"}

QUESTIONS = {
    "log_prob": lambda scm, rows: scm.log_prob(rows),
    "score": lambda scm, rows: scm.score(rows),
    "predict": lambda scm, rows: scm.predict(scm.abduct(rows, seed=0), {"sex": "Male"}),
    "counterfactual": lambda scm, rows: scm.counterfactual(rows, {"sex": "Male"}, seed=0),
    "samples": lambda scm, rows: scm.counterfactual(rows, {"sex": "Male"}, num_samples=2, seed=0),
    "imputed": lambda scm, rows: scm.counterfactual(rows, EDEMA, seed=0, impute=True),
    "probability": lambda scm, rows: scm.counterfactual_probability(
        rows, {"sex": "Male"}, "edema"
    ),
}


@pytest.fixture(scope="module")
def scm():
    return FlowSCM(GRAPH, family="nsf", hidden=()).fit(TABLE, groups="patient", progress=False)


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_absent_column_is_one_of_nan(scm, question):
    """Cell by cell, in every question; the answer has the columns that the fit knows."""
    absent = [name for name in scm.mechanisms if name not in FEW.columns]
    asked = QUESTIONS[question](scm, FEW)
    expected = QUESTIONS[question](scm, FEW.assign(**dict.fromkeys(absent, np.nan)))
    assert asked.equals(expected)


def test_a_fit_takes_an_absent_column_as_never_observed(caplog):
    some = FlowSCM(GRAPH, family="nsf", hidden=()).fit(
        TABLE.drop(columns="site"), groups="patient", progress=False
    )
    assert "site" not in some.mechanisms
    assert "no column for site" in caplog.text


def test_it_is_said_once_by_name(caplog):
    scm = FlowSCM(GRAPH, family="nsf", hidden=()).fit(TABLE, groups="patient", progress=False)
    caplog.clear()
    scm.log_prob(FEW)
    scm.log_prob(FEW)
    said = [m for m in caplog.messages if "no column for" in m]
    assert len(said) == 1
    assert all(name in said[0] for name in scm.mechanisms if name not in FEW.columns)
    assert "ward" not in said[0]  # which the fit never observed


@pytest.mark.parametrize(
    "column", ["Sex", "sexx", "gender", "Gender", "Patient Gender", "Patient Sex", "Sex_name"]
)
@pytest.mark.parametrize("question", ["log_prob", "counterfactual", "probability"])
def test_a_variable_under_another_name_is_not_unknown(scm, question, column):
    rows = ROWS.rename(columns={"sex": column})
    with pytest.raises(TableError, match=f"'{column}' is not a variable.*did you mean 'sex'"):
        QUESTIONS[question](scm, rows)
    QUESTIONS[question](scm, rows.assign(sex=np.nan))  # it is said to be something else


@pytest.mark.parametrize("question", ["log_prob", "counterfactual", "probability"])
def test_rows_that_say_nothing_are_refused(scm, question):
    for rows in (ROWS[[]], ROWS[[]].assign(smoker=1, weight=80)):
        with pytest.raises(TableError, match=r"no column is a variable of graph .*column of NaN"):
            QUESTIONS[question](scm, rows)
    with pytest.raises(TableError, match="no column is a variable"):
        FlowSCM(GRAPH).fit(ROWS[[]].assign(smoker=1, weight=80))


NOTHING = {
    "number": 50,
    "shift": shift(3),
    "scale": scale(2),
    "array": np.array([]),
    "series": pd.Series([], dtype=float),
    "function": lambda rows: rows["age"] + 1,
    "mapping": {50: 0.5, 60: 0.5},
    "distribution": torch.distributions.Normal(50.0, 3.0),
}


@pytest.mark.parametrize("value", NOTHING)
def test_no_rows_give_no_answer(scm, value):
    """An empty table in, an empty one out, whatever is set."""
    do, none = {"age": NOTHING[value]}, ROWS.head(0)
    for samples in (1, 3):
        answer = scm.counterfactual(none, do, num_samples=samples, seed=0, clip=True)
        assert answer.columns.tolist() == none.columns.tolist()
        assert len(answer) == 0
    assert len(scm.predict(scm.abduct(none, seed=0), do, clip=True)) == 0
    assert len(scm.counterfactual_probability(none, do, "edema", clip=True)) == 0


def test_a_move_between_the_steps_of_a_record_is_refused(scm):
    """.4 of a year would be rounded away: nothing would change, and nothing would be said."""
    with pytest.raises(InterventionError, match=r"'age' by 0\.4.*multiples of 1"):
        scm.counterfactual(ROWS, {"age": shift(0.4)}, seed=0)
    moved = scm.counterfactual(ROWS, {"age": shift(-1.0)}, seed=0, clip=True)
    assert (moved["age"] == (ROWS["age"] - 1).clip(lower=0)).all()


def test_a_factor_that_moves_nobody_is_said(scm, caplog):
    rows = ROWS.assign(age=[10.0, 80.0] * 6)
    moved = scm.counterfactual(rows, {"age": scale(1.01)}, seed=0)
    assert moved["age"].tolist() == [10.0, 81.0] * 6
    assert "moves less than the data record" in caplog.text
    assert "'age' in 6 row(s)" in caplog.text


def test_samples_of_samples_can_be_told_apart(scm):
    """Every index level has a name of its own, however often it is asked again."""
    once = scm.counterfactual(ROWS.head(2), {"age": 70}, num_samples=2, seed=0)
    twice = scm.counterfactual(once, {"sex": "Male"}, num_samples=3, seed=0)
    thrice = scm.counterfactual(twice, {"sex": "Female"}, num_samples=2, seed=0)
    assert list(thrice.index.names) == ["radiograph", "sample", "sample_2", "sample_3"]
    assert len(thrice.reset_index()) == 24
    two = ROWS.head(2).set_axis(pd.MultiIndex.from_tuples([(1, 2), (1, 3)]))
    named = scm.counterfactual(two, {"age": 70}, num_samples=2, seed=0)
    assert list(named.index.names) == ["row", "row_2", "sample"]
