"""Levels, values and ranges are named in a question as in a table and in `do`."""

import numpy as np
import pandas as pd
import pytest

from cxrcausal.effect import ate, cate, causation
from cxrcausal.errors import InterventionError, OptionError

FEW = {"groups": None, "resamples": 50}


SPELLINGS = [
    1,
    True,
    1.0,
    np.int64(1),
    np.float32(1),
    np.bool_(True),
    np.str_("Male"),
    np.array(1),
]


@pytest.mark.parametrize("one", SPELLINGS, ids=repr)
def test_levels_are_named_as_in_a_table(clinic_rows, one):
    """Wherever a level is named: given=, levels= and level= take what tables and `do` take."""
    scm, rows, _ = clinic_rows
    word = cate(scm, rows, "edema", "effusion", {"sex": "Male"}, **FEW)
    for wanted in (one, [one], (one, one)):
        assert str(cate(scm, rows, "edema", "effusion", {"sex": wanted}, **FEW)) == str(word)
    assert word.name == "CATE (sex = Male)"
    other = ~np.bool_(True) if isinstance(one, bool | np.bool_) else 0
    if isinstance(one, str):
        other = "Female"
    back = ate(scm, rows, "sex", "effusion", levels=(one, other), **FEW)
    assert str(back) == str(ate(scm, rows, "sex", "effusion", levels=("Male", "Female"), **FEW))
    assert "sex Male → Female" in back.of
    if not isinstance(one, str):
        asked = ate(scm, rows, "sex", "effusion", level=one, **FEW)
        assert str(asked) == str(ate(scm, rows, "sex", "effusion", **FEW))
        chances = causation(scm, rows, "sex", "effusion", level=one, **FEW)
        assert str(chances) == str(causation(scm, rows, "sex", "effusion", **FEW))


def test_a_level_by_number_is_that_of_the_table(clinic_rows):
    """levels=(0, 1) is the default of a binary cause, level=0 the other of a binary outcome."""
    scm, rows, _ = clinic_rows
    plain = ate(scm, rows, "sex", "effusion", **FEW)
    for levels in ((0, 1), [False, True], np.array([0, 1]), pd.Series([0, 1])):
        assert str(ate(scm, rows, "sex", "effusion", levels=levels, **FEW)) == str(plain)
    negative = ate(scm, rows, "sex", "effusion", level=0, **FEW)
    assert negative.estimate == pytest.approx(-plain.estimate)
    assert "effusion = negative" in negative.of


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"sex": 2}, "'sex' has no level 2. Allowed: Female, Male"),
        ({"sex": np.int64(7)}, "'sex' has no level 7. Allowed"),
        ({"sex": None}, "'sex' has no level None"),
        ({"sex": np.nan}, "'sex' has no level nan"),
        ({"sex": pd.NA}, "'sex' has no level <NA>"),
        ({"sex": []}, "no level of 'sex' is asked for; allowed: 'Female', 'Male'"),
        ({"sex": [["Male"]]}, "'sex' has no level"),
        ({"age": True}, "give a number or"),
        ({"age": None}, "give a number or"),
        ({"age": (50, 30)}, "give a number or"),
        ({"age": (30, 40, 50)}, "give a number or"),
        ({"age": (30, np.nan)}, "give a number or"),
        ("sex", "given is a mapping"),
    ],
)
def test_a_level_that_does_not_exist_is_refused(clinic_rows, given, match):
    scm, rows, _ = clinic_rows
    with pytest.raises(OptionError, match=match):
        cate(scm, rows, "edema", "effusion", given, **FEW)


@pytest.mark.parametrize(
    "levels", [0.5, "Male", ("Male",), ([0, 1], 1), ({"Male": 1.0}, 0), (str, 0)]
)
def test_levels_that_are_not_two_values_are_refused(clinic_rows, levels):
    scm, rows, _ = clinic_rows
    with pytest.raises(OptionError, match="are two values"):
        ate(scm, rows, "sex", "effusion", levels=levels, **FEW)


@pytest.mark.parametrize("levels", [(0, 2), (None, 1), (0, np.nan)])
def test_the_cause_is_set_only_to_what_do_takes(clinic_rows, levels):
    scm, rows, _ = clinic_rows
    with pytest.raises(InterventionError, match=r"(?i)allowed: 'Female', 'Male'"):
        ate(scm, rows, "sex", "effusion", levels=levels, **FEW)
