"""Patients of the clinic, whose effects are counted cell by cell, and of the shipped fit."""

import pytest
from closed_form import clinic

import cxrcausal as cx


def numbers(row):
    """A row of the clinic as the numbers that the counting reads."""
    sex, age, view, edema, severity, effusion = row
    return {
        "sex": ["Female", "Male"].index(sex),
        "age": age,
        "view": ["PA", "AP", "LATERAL"].index(view),
        "edema": ["negative", "positive"].index(edema),
        "severity": ["none", "mild", "severe"].index(severity),
        "effusion": ["negative", "positive"].index(effusion),
    }


@pytest.fixture(scope="session")
def clinic_rows():
    """The clinic, some of its patients as a table, and the same as numbers."""
    scm = clinic()
    rows = scm.sample(40, seed=3)
    return scm, rows, [numbers(row) for row in rows.itertuples(index=False)]


@pytest.fixture(scope="session")
def public():
    """The shipped fit of cxr19, and patients drawn from it."""
    scm = cx.load_pretrained("cxr19-public").scm
    return scm, scm.sample(200, seed=0)
