"""Expectations are exact sums, unknown cells included; draws agree within their error."""

import dataclasses

import numpy as np
import pytest
from closed_form import SquareMechanism, clinic, continuous_scm, table_of, worlds
from response import always, expect

from cxrcausal.effect import ate, causation, expectation, natural_effects

FEW = {"groups": None, "resamples": 50}


def test_an_unknown_cell_is_summed_out():
    """With sex unknown, E[Y_x] averages over its posterior given all known cells."""
    scm = clinic()
    known = {"age": 40.0, "view": 1.0, "severity": 2.0, "effusion": 1.0}
    share = np.zeros(2)
    for world, weight in worlds(scm, known):
        share[int(world["sex"])] += weight
    share /= share.sum()
    truth = sum(
        share[s]
        * expect(
            scm,
            {"sex": s, "age": 40.0},
            "edema",
            "effusion",
            lambda a, b: b - a,
            always(0),
            always(1),
        )
        for s in (0, 1)
    )
    found = ate(scm, table_of(scm, known, 3), "edema", "effusion", **FEW)
    assert found.estimate == pytest.approx(truth, abs=1e-12)


@pytest.mark.parametrize("cause", ["edema", "sex"])
def test_draws_agree_with_tables_within_their_error(clinic_rows, cause, monkeypatch):
    scm, rows, _ = clinic_rows
    exact = [
        *dataclasses.astuple(natural_effects(scm, rows, cause, "effusion", **FEW))[:3],
        *dataclasses.astuple(causation(scm, rows, cause, "effusion", **FEW)),
    ]
    monkeypatch.setattr(expectation, "MOST_ENTRIES", 0)
    parts = natural_effects(scm, rows, cause, "effusion", num_samples=2000, **FEW)
    chances = causation(scm, rows, cause, "effusion", num_samples=2000, **FEW)
    drawn = [parts.total, parts.direct, parts.indirect]
    drawn += [chances.necessity, chances.sufficiency, chances.both]
    for truth, found in zip(exact, drawn, strict=True):
        if found.claim.basis == "construction":
            continue
        assert 0 < found.monte_carlo_error < 0.02
        assert "Monte-Carlo error" in str(found)
        assert abs(found.estimate - truth[2]) < 5 * found.monte_carlo_error


def test_a_mean_by_draws(monkeypatch):
    scm = continuous_scm(SquareMechanism, weights=0.6)
    rows = scm.sample(50, seed=0)
    exact = ate(scm, rows, "x", "y", levels=(0.0, 1.0), **FEW)
    monkeypatch.setattr(expectation, "MOST_ENTRIES", 0)
    found = ate(scm, rows, "x", "y", levels=(0.0, 1.0), **FEW)
    assert abs(found.estimate - exact.estimate) < 5 * found.monte_carlo_error
