"""Whose row each is: understood one way everywhere, and a patient stands on one side."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrcausal.errors import TableError
from cxrcausal.patients import FEWEST, patient_codes, patient_folds, set_aside

TABLE = pd.DataFrame({"patient": ["b", "a", "b", "c"]}, index=["w", "x", "y", "z"])


@pytest.mark.parametrize(
    "groups",
    [
        "patient",
        TABLE["patient"],
        ["b", "a", "b", "c"],
        np.array([7, 3, 7, 1]),
        [2.0, 1.0, 2.0, 0.5],
    ],
    ids=["column", "series", "list", "whole numbers", "numbers"],
)
def test_every_way_to_say_it_means_the_same(groups):
    assert patient_codes(groups, TABLE).tolist() == [0, 1, 0, 2]


def test_without_groups_there_are_none():
    assert patient_codes(None, TABLE) is None


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ("patent", "'patent' is not a column; did you mean 'patient'"),
        ([1, 2], "the table: 2 groups for 4 rows"),
        (["a", None, "b", "c"], "row 'x' has no group"),
        (TABLE["patient"].reset_index(drop=True), "other row labels than the table's"),
        (TABLE["patient"].iloc[::-1], "other row labels than the table's"),
    ],
)
def test_what_says_of_no_row_whose_it_is_is_refused(groups, words):
    with pytest.raises(TableError, match=words):
        patient_codes(groups, TABLE)


@given(st.lists(st.integers(0, 200), min_size=1, max_size=400), st.integers(0, 5))
def test_a_patient_is_set_aside_whole_or_not_at_all(patients, seed):
    codes = pd.factorize(np.array(patients))[0]
    held = set_aside(codes, len(codes), seed)
    for patient in set(codes):
        assert len(set(held[codes == patient])) == 1
    if len(set(codes)) < FEWEST:
        assert not held.any()


@given(st.lists(st.integers(0, 30), min_size=20, max_size=60))
def test_folds_keep_patients_together_and_deal_them_evenly(patients):
    number = len(set(patients))
    folds = min(4, number)
    fold = patient_folds(patients, folds)
    by_patient = pd.Series(fold).groupby(pd.Series(patients)).agg(set)
    assert by_patient.map(len).eq(1).all()
    sizes = by_patient.map(min).value_counts()
    assert sizes.max() - sizes.min() <= 1
