"""Limits are read as they are written, and what was not measured has not passed."""

import pandas as pd
import pytest

from cxrcausal.errors import OptionError
from cxrcausal.fairness.limits import Limit, worst_figures

FIGURES = {"largest_shift": 0.05, "worst_group_auc_gap": 0.02}


@pytest.mark.parametrize(
    ("limit", "passed"),
    [
        ("largest_shift > .05", False),
        ("largest_shift >= .05", True),
        (" worst_group_auc_gap<0.1 ", True),
        ("worst_group_auc_gap <= 1e-3", False),
    ],
)
def test_a_comparison(limit, passed):
    assert Limit.read(limit).exceeded(FIGURES) is passed


@pytest.mark.parametrize("limit", ["", "largest_shift", "largest_shift = 1", "a > b", "> 1"])
def test_what_is_no_comparison(limit):
    with pytest.raises(OptionError, match="is no comparison"):
        Limit.read(limit)


def test_what_was_not_measured():
    with pytest.raises(OptionError, match="did not measure; did you mean 'worst_group_auc_gap'"):
        Limit.read("worst_group_auc_gp > .1").exceeded(FIGURES)


def test_the_worst_is_over_everything():
    effects = pd.DataFrame(
        {"shift": [0.1, -0.3], "flip_rate": [0.2, 0.0], "differs": [True, False]}
    )
    groups = pd.DataFrame(
        [
            {"rate": "AUC", "group": "Male", "value": 0.9},
            {"rate": "AUC", "group": "gap, Male over Female", "value": 0.04},
            {"rate": "AUC", "group": "gap, AP over PA", "value": 0.06},
            {"rate": "positive rate", "group": "gap, Male over Female", "value": 0.01},
        ]
    )
    assert worst_figures(effects, groups) == {
        "largest_shift": 0.3,
        "largest_flip_rate": 0.2,
        "contrasts_that_differ": 1.0,
        "worst_group_auc_gap": 0.06,
        "worst_group_positive_rate_gap": 0.01,
    }
