"""What an unmeasured cause would do to an effect, against a model that has one."""

import dataclasses
import itertools
import math

import matplotlib.axes
import numpy as np
import pytest
from closed_form import LinearMechanism, TableMechanism, binary, clinic, table_scm

from cxrcausal.effect import ate, e_value, expectation, sensitivity
from cxrcausal.effect.sensitivity_analysis import _tipping
from cxrcausal.errors import OptionError
from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm import FlowSCM

FEW = {"groups": None, "resamples": 50}


def expit(x):
    return 1 / (1 + math.exp(-x))


def confounded(odds_x, odds_y, prevalence, share_z=(0.4, 0.6)):
    """z → x, m, y; x → m → y; x → y; acuity → x, y: the SCM without it, and the effect."""
    gamma, delta = math.log(odds_x), math.log(odds_y)
    p_u = [1 - prevalence, prevalence]

    def x_given(z, u):
        return expit(-0.4 + 0.8 * z + gamma * u)

    def m_given(z, x):
        return 0.2 + 0.4 * x + 0.1 * z

    def y_given(z, x, m, u):
        return expit(-1.0 + 0.5 * z + 0.7 * x + 0.9 * m + delta * u)

    bits = (0, 1)
    x_table = np.zeros((2, 2))
    m_table = np.zeros((2, 2, 2))
    y_table = np.zeros((2, 2, 2, 2))
    truth = 0.0
    for z, x in itertools.product(bits, bits):
        joint = [p_u[u] * (x_given(z, u) if x else 1 - x_given(z, u)) for u in bits]
        x_table[z, x] = sum(joint)
        m_table[z, x] = [1 - m_given(z, x), m_given(z, x)]
        for m in bits:
            chance = sum(joint[u] / sum(joint) * y_given(z, x, m, u) for u in bits)
            y_table[z, x, m] = [1 - chance, chance]
            after = sum(p_u[u] * y_given(z, x, m, u) for u in bits)
            truth += (1 if x else -1) * share_z[z] * m_table[z, x, m] * after
    scm = table_scm(
        [binary(name) for name in "zxmy"],
        [("z", "x"), ("z", "m"), ("x", "m"), ("z", "y"), ("x", "y"), ("m", "y")],
        [list(share_z), x_table, m_table, y_table],
    )
    rows = scm.sample(10, seed=0)
    rows["z"] = rows["z"].cat.categories[[0] * 4 + [1] * 6].astype(rows["z"].dtype)
    return scm, rows, truth


@pytest.mark.parametrize(
    ("odds_x", "odds_y", "prevalence"),
    [(2.0, 3.0, 0.5), (6.0, 6.0, 0.2), (4.0, 0.3, 0.7), (0.5, 2.0, 0.1), (1.0, 5.0, 0.5)],
)
def test_the_true_strength_gives_the_true_effect(odds_x, odds_y, prevalence, monkeypatch):
    scm, rows, truth = confounded(odds_x, odds_y, prevalence)
    asked = {"strengths": [1.0, (odds_x, odds_y)], "prevalence": prevalence, **FEW}
    found = sensitivity(scm, rows, "x", "y", **asked)
    plain = ate(scm, rows, "x", "y", **FEW)
    assert found.table["estimate"].tolist() == pytest.approx([plain.estimate, truth], abs=1e-12)
    assert found.effect.estimate == plain.estimate
    if odds_x != 1:
        assert plain.estimate != pytest.approx(truth, abs=1e-3)
    monkeypatch.setattr(expectation, "MOST_ENTRIES", 0)
    drawn = sensitivity(scm, rows, "x", "y", num_samples=20000, **asked)
    assert drawn.table["estimate"].iloc[1] == pytest.approx(truth, abs=0.02)


@pytest.mark.parametrize("cause", ["edema", "x"])
def test_nothing_is_left_at_the_tipping_strength(cause):
    """Positive or negative: the strength that is named explains all of the effect away."""
    if cause == "x":
        scm, rows, _ = confounded(2.0, 2.0, 0.5)
        outcome = "y"
    else:
        scm, outcome = clinic(), "effusion"
        rows = scm.sample(40, seed=3)
    found = sensitivity(scm, rows, cause, outcome, **FEW)
    sign = 1 if found.effect.estimate > 0 else -1
    there = [(found.tipping, found.tipping**sign)]
    again = sensitivity(scm, rows, cause, outcome, strengths=there, **FEW)
    assert again.table["estimate"].iloc[0] == pytest.approx(0, abs=1e-5)
    assert "explains it away" in str(found)
    assert isinstance(found.plot(), matplotlib.axes.Axes)


def test_a_large_effect_cannot_be_explained_away():
    scm = table_scm(
        [binary("x"), binary("y")], [("x", "y")], [[0.5, 0.5], [[1.0, 0.0], [0.0, 1.0]]]
    )
    found = sensitivity(scm, scm.sample(5, seed=0), "x", "y", **FEW)
    assert found.tipping is None
    assert found.e_value is None
    assert "no odds ratio below 1000" in str(found)
    assert found.table["estimate"].tolist() == pytest.approx([1.0] * 5)


def test_e_value_of_the_literature():
    """VanderWeele and Ding: breastfeeding and deaths, RR 3.9 [1.8, 8.7], give 7.26 and 3.0."""
    found = e_value(3.9, 1.8, 8.7)
    assert found.estimate == pytest.approx(7.26, abs=0.01)
    assert found.limit == pytest.approx(3.0, abs=0.01)
    inverse = e_value(1 / 3.9, 1 / 8.7, 1 / 1.8)
    assert (inverse.estimate, inverse.limit) == pytest.approx((found.estimate, found.limit))
    assert e_value(1.2, 0.9, 1.6).limit == 1


def test_e_value_of_an_effect():
    scm, rows, _ = confounded(2.0, 2.0, 0.5)
    ratio = ate(scm, rows, "x", "y", scale="ratio", **FEW)
    assert e_value(ratio).estimate == pytest.approx(e_value(ratio.estimate).estimate)
    same = sensitivity(scm, rows, "x", "y", **FEW).e_value.estimate
    assert same == pytest.approx(e_value(ratio).estimate)
    with pytest.raises(OptionError, match="scale='ratio'"):
        e_value(ate(scm, rows, "x", "y", **FEW))
    with pytest.raises(OptionError, match="above 0"):
        e_value(-0.3)
    with pytest.raises(OptionError, match="inside its interval"):
        e_value(2.0, 2.5, 3.0)


@pytest.mark.parametrize("chance", [0.1, 0.3, 0.7])
@pytest.mark.parametrize("patients", [3, 40, 97])
def test_an_effect_that_is_the_same_in_every_row(chance, patients):
    """Every row has the same ratio, and so has every resample, but for the rounding of sums."""
    scm = table_scm(
        [binary("x"), binary("y")],
        [("x", "y")],
        [[0.6, 0.4], [[1 - chance, chance], [0.8 - chance, 0.2 + chance]]],
    )
    rows = scm.sample(2 * patients, seed=0)
    several = np.arange(len(rows)) * 7 % len(rows) // 3  # patients of three rows, and one of fewer
    for groups in (None, several):
        found = sensitivity(scm, rows, "x", "y", groups=groups, resamples=200)
        ratio = (0.2 + chance) / chance
        assert found.e_value.estimate == pytest.approx(ratio + math.sqrt(ratio * (ratio - 1)))
        limit = e_value(ate(scm, rows, "x", "y", scale="ratio", groups=groups)).limit
        assert limit == pytest.approx(found.e_value.limit, nan_ok=True)
        assert math.isnan(limit) or limit == pytest.approx(found.e_value.estimate)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.7])
def test_an_effect_of_which_rounding_is_all_that_is_left(share):
    """x moves m, which moves nothing: the sums over m differ in their last digit, if in any."""
    scm = table_scm(
        [binary("x"), binary("m"), binary("y")],
        [("x", "m"), ("m", "y")],
        [[0.6, 0.4], [[0.9, 0.1], [1 - share, share]], [[0.7, 0.3], [0.7, 0.3]]],
    )
    found = sensitivity(scm, scm.sample(30, seed=0), "x", "y", groups=None, resamples=200)
    assert found.effect.estimate == pytest.approx(0, abs=1e-12)
    assert found.tipping == pytest.approx(1)
    assert found.e_value.estimate == pytest.approx(1, abs=1e-6)
    assert math.isnan(found.e_value.limit) or found.e_value.limit == 1


@pytest.mark.parametrize("start", [0.0, -1e-17, 1e-17])
def test_rounding_tips_nothing(start):
    """What is left of no effect may have either sign in its last digit, and no root."""
    assert _tipping(lambda strength: start, 1e-17) == (None if start > 0 else 1.0)


def test_an_interval_beside_its_ratio():
    """Percentiles of a skewed figure may leave the figure out; that is no fault of who asks."""
    scm, rows, _ = confounded(2.0, 3.0, 0.5)
    ratio = ate(scm, rows, "x", "y", scale="ratio", **FEW)
    beside = dataclasses.replace(ratio, low=ratio.estimate + 0.1, high=ratio.estimate + 0.2)
    assert e_value(beside).limit == pytest.approx(e_value(beside.low).estimate)
    with pytest.raises(OptionError, match="inside its interval"):
        e_value(beside.estimate, beside.low, beside.high)


def test_what_sensitivity_cannot_be_asked():
    scm = clinic()
    rows = scm.sample(5, seed=0)
    with pytest.raises(OptionError, match="two levels"):
        sensitivity(scm, rows, "severity", "effusion", levels=("none", "mild"), **FEW)
    with pytest.raises(OptionError, match="prevalence"):
        sensitivity(scm, rows, "edema", "effusion", prevalence=0.0, **FEW)
    with pytest.raises(OptionError, match="odds ratio above 0"):
        sensitivity(scm, rows, "edema", "effusion", strengths=[-1.0], **FEW)
    x, y = binary("x"), Variable("y", "continuous")
    graph = CausalGraph([x, y], [("x", "y")])
    continuum = FlowSCM.from_mechanisms(
        graph, {"x": TableMechanism(x, (), [0.5, 0.5]), "y": LinearMechanism(y, (x,), (1.0,))}
    )
    with pytest.raises(OptionError, match="is continuous"):
        sensitivity(continuum, continuum.sample(5, seed=0), "x", "y", **FEW)
