"""Intervals cover what is known, resample patients rather than radiographs, and touch no global
state."""

import numpy as np
import pytest

from cxrcausal.bootstrap import (
    Interval,
    PatientBootstrap,
    weighted_auc,
    weighted_mean,
    weighted_slope,
)
from cxrcausal.errors import TableError


def one() -> np.ndarray:
    return np.ones((1, 200))


def test_covers_a_known_mean():
    """About 95 of 100 intervals hold the true mean; the binomial's tails are far from the
    bounds."""
    rng = np.random.default_rng(1)
    held = 0
    for trial in range(200):
        of_patient = rng.normal(2.0, 1.0, 60)
        patient = np.repeat(np.arange(60), 3)
        x = of_patient[patient] + rng.normal(0, 0.2, 180)
        found = PatientBootstrap(patient, resamples=300, seed=trial).interval(weighted_mean(x))
        held += found.low <= 2.0 <= found.high
    assert 0.88 <= held / 200 <= 0.99


def test_resamples_patients_not_radiographs():
    """Ten copies of every radiograph say nothing new: the interval is as wide as with one."""
    x = np.random.default_rng(0).normal(size=50)
    once = PatientBootstrap(np.arange(50), seed=3).interval(weighted_mean(x))
    copies = PatientBootstrap(np.repeat(np.arange(50), 10), seed=3).interval(
        weighted_mean(np.repeat(x, 10))
    )
    assert copies.low == pytest.approx(once.low)
    assert copies.high == pytest.approx(once.high)


def test_the_bootstrap_of_a_mean_has_the_standard_error_of_the_mean():
    x = np.random.default_rng(0).normal(size=400)
    draws = PatientBootstrap(np.arange(400), resamples=4000).draws(weighted_mean(x))
    assert draws.std() == pytest.approx(x.std() / 20, rel=0.05)


def test_statistics_agree_with_their_definitions():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=200), rng.normal(size=200)
    label = (rng.random(200) < 0.3).astype(float)
    score = np.round(rng.normal(size=200) + label, 1)  # rounded: ties
    pairs = score[label == 1][:, None] - score[label == 0][None, :]
    assert weighted_auc(score, label)(one())[0] == pytest.approx(
        (pairs > 0).mean() + (pairs == 0).mean() / 2
    )
    assert weighted_slope(y, x)(one())[0] == pytest.approx(np.polyfit(x, y, 1)[0])
    gap = y[label == 1].mean() - y[label == 0].mean()
    assert weighted_slope(y, label)(one())[0] == pytest.approx(gap)
    some = np.where(label == 1, np.nan, x)
    assert weighted_mean(some)(one())[0] == pytest.approx(x[label == 0].mean())


def test_weights_are_repetitions():
    """A weight of two is a row that stands there twice."""
    rng = np.random.default_rng(0)
    score, label = rng.normal(size=30), rng.integers(0, 2, 30).astype(float)
    times = rng.integers(0, 4, 30)
    twice = np.repeat(np.arange(30), times)
    for make in (weighted_auc, weighted_slope):
        whole = make(score[twice], label[twice])(np.ones((1, len(twice))))
        assert make(score, label)(times[None].astype(float)) == pytest.approx(whole)


def test_is_a_function_of_its_seed_and_leaves_the_global_state():
    x, state = np.arange(20.0), np.random.get_state()[1].copy()
    bootstrap = PatientBootstrap(range(20), resamples=500, seed=np.random.default_rng(5))
    first = bootstrap.interval(weighted_mean(x))
    again = PatientBootstrap(range(20), resamples=500, seed=np.random.default_rng(5))
    assert first == again.interval(weighted_mean(x)) == bootstrap.interval(weighted_mean(x))
    other = PatientBootstrap(range(20), resamples=500, seed=6).interval(weighted_mean(x))
    assert first != other
    assert (np.random.get_state()[1] == state).all()


def test_what_is_not_defined_is_nan_and_excludes_nothing():
    never = np.zeros(4)
    found = PatientBootstrap("abcd", resamples=50).interval(weighted_auc(np.arange(4.0), never))
    assert np.isnan(found.value)
    assert np.isnan(found.low)
    assert not found.excludes(0.0)
    assert not found.excludes(Interval(9.0, 8.0, 10.0))
    assert Interval(1.0, 0.5, 1.5).excludes(0.4)
    assert Interval(1.0, 0.5, 1.5).excludes(Interval(0.0, np.nan, np.nan))
    assert not Interval(1.0, 0.5, 1.5).excludes(Interval(1.2, np.nan, np.nan))
    assert not Interval(1.0, 0.5, 1.5).excludes(Interval(np.nan, np.nan, np.nan))
    assert not Interval(1.0, 0.5, 1.5).excludes(Interval(2.0, 1.5, 2.5))


def test_refuses_rows_without_a_patient():
    with pytest.raises(TableError, match="row 1 has none"):
        PatientBootstrap(["a", None])
    with pytest.raises(TableError, match="no rows"):
        PatientBootstrap([])
    with pytest.raises(TableError, match="strictly between 0 and 1"):
        PatientBootstrap(["a"], confidence=95)


def test_sums_are_resampled_by_patient():
    """A mean as a ratio of sums has the interval that the weighted mean has, but for the draws."""
    rng = np.random.default_rng(4)
    patient = rng.integers(0, 300, 900)
    x = rng.normal(size=300)[patient]
    bootstrap = PatientBootstrap(patient, resamples=4000, seed=2)
    sums = np.stack([np.ones(900), x], axis=1)
    value, low, high = bootstrap.of_sums(sums, lambda s: (s[:, 1] / s[:, 0])[:, None])
    slow = bootstrap.interval(weighted_mean(x))
    assert value[0] == pytest.approx(slow.value)
    assert [low[0], high[0]] == pytest.approx([slow.low, slow.high], abs=0.01)


def test_a_sum_that_is_not_defined_has_no_interval():
    bootstrap = PatientBootstrap([1, 2, 3], resamples=10)
    value, low, high = bootstrap.of_sums(np.zeros((3, 1)), lambda s: s / s)
    assert np.isnan([value[0], low[0], high[0]]).all()


@pytest.mark.parametrize("rows", [1, 6])
def test_one_patient_has_no_interval(rows):
    """However many radiographs: resamples of one patient are all the same, which is no
    certainty."""
    x = np.random.default_rng(0).normal(size=rows)
    bootstrap = PatientBootstrap(["one"] * rows, resamples=50)
    found = bootstrap.interval(weighted_mean(x))
    assert found.value == pytest.approx(x.mean())
    assert np.isnan([found.low, found.high]).all()
    assert not found.excludes(1e9)
    sums = np.stack([np.ones(rows), x], axis=1)
    value, low, high = bootstrap.of_sums(sums, lambda s: (s[:, 1] / s[:, 0])[:, None])
    assert value[0] == pytest.approx(x.mean())
    assert np.isnan([low[0], high[0]]).all()


def test_one_patient_with_a_value_has_no_interval():
    """The others' values are unknown, so they do not tell how patients vary."""
    x = np.array([0.3, 0.4, np.nan, np.nan, np.nan])
    found = PatientBootstrap([1, 1, 2, 3, 4], resamples=200).interval(weighted_mean(x))
    assert found.value == pytest.approx(0.35)
    assert np.isnan([found.low, found.high]).all()


def test_patients_who_are_all_alike_show_no_spread():
    """All of ten patients are at 1: that is not to say that all of a million would be."""
    found = PatientBootstrap(range(10), resamples=100).interval(weighted_mean(np.full(10, 0.1)))
    assert found.value == pytest.approx(0.1)
    assert np.isnan([found.low, found.high]).all()
    rounding = weighted_mean(0.1 + 1e-17 * np.arange(10))
    assert np.isnan(PatientBootstrap(range(10), resamples=100).interval(rounding).low)
    sums = np.stack([np.ones(10), 0.3 + np.array([0, 1e-16] * 5)], axis=1)
    bootstrap = PatientBootstrap(range(10), resamples=100)
    _, low, _ = bootstrap.of_sums(sums, lambda s: (s[:, 1] / s[:, 0] - 0.3)[:, None])
    assert np.isnan(low[0])
