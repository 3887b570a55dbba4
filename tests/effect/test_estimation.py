"""Intervals resample patients, not rows, and refits count what the fit leaves open."""

import numpy as np
import pandas as pd
import pytest
from closed_form import binary, clinic

from cxrcausal.effect import ate
from cxrcausal.errors import OptionError
from cxrcausal.graph import CausalGraph
from cxrcausal.scm import FlowSCM


def test_patients_not_rows_are_resampled(clinic_rows):
    """Ten copies of each row say nothing new, if they are said to be of one patient."""
    scm, rows, _ = clinic_rows
    copies = pd.concat([rows] * 10, ignore_index=True).assign(
        who=np.tile(np.arange(len(rows)), 10)
    )
    once = ate(scm, rows, "edema", "effusion", groups=None)
    again = ate(scm, copies, "edema", "effusion", groups="who")
    naive = ate(scm, copies, "edema", "effusion", groups=None)
    assert (again.low, again.high) == pytest.approx((once.low, once.high), abs=0.01)
    assert naive.high - naive.low < 0.5 * (once.high - once.low)
    assert again.patients == len(rows)
    assert once.low <= once.estimate <= once.high


def test_refits_hold_what_the_fit_leaves_open():
    """The interval of a pair is that of two shares; there is none if parameters are fixed."""
    graph = CausalGraph([binary("x"), binary("y")], [("x", "y")], name="pair")
    n, p, q = 2000, 0.3, 0.55
    draw = np.random.default_rng(0)
    x = draw.random(n) < 0.4
    rows = pd.DataFrame({"x": x, "y": draw.random(n) < np.where(x, q, p)})
    scm = FlowSCM(graph).fit(rows)
    fixed = ate(scm, rows, "x", "y", groups=None, parameters="fixed")
    assert np.isnan([fixed.low, fixed.high]).all()
    assert "patients that do not differ" in str(fixed)
    found = ate(scm, rows, "x", "y", groups=None, refits=40)
    assert found.estimate == fixed.estimate
    half = 1.96 * np.sqrt(p * (1 - p) / (0.6 * n) + q * (1 - q) / (0.4 * n))
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.35)
    assert found.low < q - p < found.high
    with pytest.raises(OptionError, match="at least 2"):
        ate(scm, rows, "x", "y", groups=None, refits=1)
    given = clinic()
    with pytest.raises(OptionError, match="given, not fitted"):
        ate(given, given.sample(5, seed=0), "edema", "effusion", groups=None, refits=5)
