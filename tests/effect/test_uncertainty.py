"""Intervals count the patients and the fit, or say that they do not; against closed forms."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from closed_form import LinearMechanism, binary, clinic
from simulated import GRAPH, patients

import cxrcausal as cx
from cxrcausal.bootstrap import satterthwaite, student_interval
from cxrcausal.effect import (
    ate,
    causation,
    ctf_effects,
    ett,
    expectation,
    natural_effects,
    path_specific_effect,
    sensitivity,
)
from cxrcausal.errors import OptionError
from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm import register_mechanism
from cxrcausal.scm.mechanism.registry import FAMILIES

PAIR = CausalGraph([binary("x"), binary("y")], [("x", "y")], name="pair")
P, Q, SHARE = 0.3, 0.55, 0.4
LOOSE = 0.25  # of 100 replicates a standard deviation is off by a fourteenth: three and a half
WORDS = "95 % patient bootstrap, parameters fixed, estimation error not included"


def rows_of_pair(n, seed=0):
    draw = np.random.default_rng(seed)
    x = draw.random(n) < SHARE
    return pd.DataFrame({"x": x, "y": draw.random(n) < np.where(x, Q, P)})


def half_width(n):
    return 1.96 * np.sqrt(P * (1 - P) / ((1 - SHARE) * n) + Q * (1 - Q) / (SHARE * n))


def width(effect):
    return effect.high - effect.low


@pytest.fixture(scope="module")
def pair():
    rows = rows_of_pair(2000)
    return cx.FlowSCM(PAIR).fit(rows, progress=False), rows


# --- closed forms --------------------------------------------------------------------------------


def test_the_default_is_the_interval_of_a_difference_of_shares(pair):
    scm, rows = pair
    found = ate(scm, rows, "x", "y", groups=None)
    assert width(found) / 2 == pytest.approx(half_width(2000), rel=LOOSE)
    assert found.low < Q - P < found.high
    assert (found.low + found.high) / 2 == pytest.approx(found.estimate)
    assert (found.parameters, found.caveat, found.refits) == ("estimated", "", 0)
    assert "not included" not in str(found)
    half = ate(scm, rows, "x", "y", groups=None, confidence=0.5)
    assert width(half) == pytest.approx(width(found) * 0.6745 / 1.96, rel=0.05)


@pytest.mark.parametrize("n", [2, 50, 5000])
def test_the_fit_is_as_uncertain_whatever_table_is_asked_about(pair, n):
    """The patients of the pair differ in nothing read: the interval is that of the fit alone."""
    scm, rows = pair
    asked = ate(scm, rows_of_pair(n, seed=9), "x", "y", groups=None)
    assert width(asked) == pytest.approx(width(ate(scm, rows, "x", "y", groups=None)), rel=1e-6)


def test_ratios_and_parts_have_their_intervals(pair):
    """Var(log ratio) = (1 − p) / (n₀ p) + (1 − q) / (n₁ q), by the delta method."""
    scm, rows = pair
    found = ate(scm, rows, "x", "y", groups=None, scale="ratio")
    error = np.sqrt((1 - P) / (0.6 * 2000 * P) + (1 - Q) / (0.4 * 2000 * Q))
    assert width(found) / 2 == pytest.approx(1.96 * error * Q / P, rel=LOOSE)
    chances = causation(scm, rows, "x", "y", groups=None)
    total = ate(scm, rows, "x", "y", groups=None)
    assert width(chances.both) == pytest.approx(width(total), rel=1e-3)
    low, high = chances.both.bounds_interval
    assert low < chances.both.bounds[0] < chances.both.bounds[1] < high
    assert 0 <= chances.necessity.low < chances.necessity.high <= 1


CHAIN = CausalGraph(
    [binary(n) for n in "zxmy"],
    [("z", "x"), ("z", "y"), ("x", "m"), ("m", "y")],
    name="chain",
)


def rows_of_chain(n, seed=0):
    draw = np.random.default_rng(seed)
    z = draw.random(n) < 0.5
    x = draw.random(n) < np.where(z, 0.7, 0.3)
    m = draw.random(n) < np.where(x, 0.8, 0.3)
    y = draw.random(n) < 0.1 + 0.5 * m + 0.25 * z
    return pd.DataFrame({"z": z, "x": x, "m": m, "y": y})


def test_one_step_agrees_with_refits():
    """Twenty-five fits of everything below the cause, or one Newton step a hundred times."""
    rows = rows_of_chain(1500)
    scm = cx.FlowSCM(CHAIN, hidden=()).fit(rows, progress=False)
    ask = (scm, rows, "x", "y")
    for effect in (ate, ett, lambda *a, **k: natural_effects(*a, **k).indirect):
        step = width(effect(*ask, groups=None))
        assert step == pytest.approx(width(effect(*ask, groups=None, refits=25)), rel=0.45)
    fixed = ett(*ask, groups=None, parameters="fixed")
    assert width(fixed) < 0.5 * width(ett(*ask, groups=None))


def test_a_product_of_slopes_has_sobels_error():
    """M = a X + normal, Y = b M + normal: Var(a b) = a² Var(b) + b² Var(a) (Sobel, 1982)."""
    variables = [binary("x"), *(Variable(name, "continuous") for name in "my")]
    graph = CausalGraph(variables, [("x", "m"), ("m", "y")], name="lines")
    draw, n, a, b = np.random.default_rng(4), 1200, 1.0, 0.8
    x = draw.random(n) < 0.5
    m = a * x + draw.normal(size=n)
    rows = pd.DataFrame({"x": x, "m": m, "y": b * m + draw.normal(size=n)})
    scm = cx.FlowSCM(graph, family="nsf", hidden=()).fit(rows, progress=False)
    found = natural_effects(scm, rows, "x", "y", groups=None).indirect
    error = np.sqrt(a**2 / (n * (1 + a**2 / 4)) + b**2 * 4 / n)
    assert width(found) / 2 == pytest.approx(1.96 * error, rel=0.45)


# --- patients, not rows --------------------------------------------------------------------------


def test_copies_of_a_patient_add_nothing():
    rows = rows_of_pair(400)
    copies = pd.concat([rows] * 8, ignore_index=True).assign(who=np.tile(np.arange(400), 8))
    once = ate(cx.FlowSCM(PAIR).fit(rows, progress=False), rows, "x", "y", groups=None)
    scm = cx.FlowSCM(PAIR).fit(copies, "who", progress=False)
    again = ate(scm, copies, "x", "y", groups="who")
    assert width(again) == pytest.approx(width(once), rel=0.05)
    assert again.patients == 400


def test_patients_count_whatever_the_fit_was_told():
    """The fit took rows as patients; asked with patients on its own table, it is asked again."""
    rows = rows_of_pair(400)
    copies = pd.concat([rows] * 8, ignore_index=True).assign(who=np.tile(np.arange(400), 8))
    scm = cx.FlowSCM(PAIR).fit(copies, progress=False)
    naive = ate(scm, copies, "x", "y", groups=None)
    found = ate(scm, copies, "x", "y", groups="who")
    assert width(found) == pytest.approx(np.sqrt(8) * width(naive), rel=LOOSE)
    assert not found.caveat
    other = ate(scm, copies.head(3000), "x", "y", groups="who")
    assert other.caveat == "the fit took each of its rows as a patient"
    assert other.caveat in str(other)


def test_few_patients_have_wide_intervals():
    """Student's, with one degree of freedom less than there are patients; of one there is none."""
    rows = rows_of_chain(1500)
    scm = cx.FlowSCM(CHAIN, hidden=()).fit(rows, progress=False)
    some = rows[rows["z"].duplicated(keep="first").to_numpy() ^ True]  # one patient of each kind
    assert len(some) == 2
    two = ate(scm, some, "x", "y", groups=None)
    many = ate(scm, pd.concat([some] * 300, ignore_index=True), "x", "y", groups=None)
    assert np.isfinite([two.low, two.high]).all()
    assert width(two) > width(many) > 0
    one = ate(scm, some.head(1), "x", "y", groups=None)
    six = ate(scm, rows.head(6).assign(who="one"), "x", "y", groups="who")
    for alone in (one, six):
        assert np.isnan([alone.low, alone.high]).all()
        assert "without an interval (1 patient)" in str(alone)
    few = rows_of_pair(40).assign(who=np.repeat(np.arange(4), 10))
    of_four = ate(cx.FlowSCM(PAIR).fit(few, "who", progress=False), few, "x", "y", groups="who")
    assert np.isnan(of_four.low) or width(of_four) > 0.2


# --- what is not included is said ----------------------------------------------------------------


def test_fixed_parameters_say_so(pair):
    scm, _ = pair
    rows = rows_of_chain(500)
    chain = cx.FlowSCM(CHAIN, hidden=()).fit(rows, progress=False)
    fixed = ett(chain, rows, "x", "y", groups=None, parameters="fixed")
    assert f"({WORDS});" in str(fixed)
    assert (fixed.parameters, fixed.caveat) == ("fixed", "")
    ninety = ett(chain, rows, "x", "y", groups=None, parameters="fixed", confidence=0.9)
    assert "(90 % patient bootstrap, parameters fixed" in str(ninety)
    assert width(ninety) < width(fixed)
    with pytest.raises(OptionError, match="'estimated' or 'fixed'; found 'given'"):
        ate(scm, rows, "x", "y", groups=None, parameters="given")
    with pytest.raises(OptionError, match="refits=5 asks for"):
        ate(scm, rows, "x", "y", groups=None, parameters="fixed", refits=5)


def test_given_mechanisms_have_no_estimation_error():
    scm = clinic()
    rows = scm.sample(40, seed=0)
    found = ate(scm, rows, "edema", "effusion", groups=None)
    assert found.parameters == "fixed"
    assert f"({WORDS}: its mechanisms were given, not fitted)" in str(found)
    assert found == ate(scm, rows, "edema", "effusion", groups=None)


def test_an_old_checkpoint_knows_its_own_table_only(pair):
    scm, rows = pair
    old = cx.FlowSCM(PAIR)
    old._fitted = dataclasses.replace(scm._fitted, replicates=None)
    here = ate(old, rows, "x", "y", groups=None)
    assert here.parameters == "estimated"
    assert width(here) == pytest.approx(width(ate(scm, rows, "x", "y", groups=None)), rel=LOOSE)
    there = ett(old, rows_of_pair(50, seed=3), "x", "y", groups=None)
    assert there.parameters == "fixed"
    assert there.caveat == "the fit kept no replicates, and this is not its table"


def test_what_em_learnt_has_fixed_parameters():
    rows = rows_of_chain(300).astype(object)
    rows.loc[::5, "m"] = np.nan
    scm = cx.FlowSCM(CHAIN, hidden=()).fit(rows, missing="em", progress=False)
    found = ate(scm, rows, "x", "y", groups=None)
    assert f"{WORDS}: it was fitted by EM" in str(found)


def test_a_mechanism_of_ones_own_is_named():
    """It has no steps: alone it leaves parameters fixed; beside others it is named."""

    @register_mechanism(family="ours", serves=lambda variable: variable.name == "y")
    class OurMechanism(LinearMechanism):
        @classmethod
        def fit(cls, variable, parents, values, weights, seed):
            return cls(variable, parents, tuple(0.5 for _ in parents))

        def config(self):
            return {}

        @classmethod
        def from_config(cls, variable, parents, config):
            return cls(variable, parents)

    try:
        variables = [binary("x"), binary("m"), Variable("y", "continuous")]
        graph = CausalGraph(variables, [("x", "m"), ("x", "y"), ("m", "y")], name="ours")
        rows = rows_of_chain(400)[["x", "m"]].assign(y=0.5)
        rows["y"] = rows["x"] * 0.5 + np.random.default_rng(0).normal(size=400)
        scm = cx.FlowSCM(graph, family="ours").fit(rows, progress=False)
        found = ate(scm, rows, "x", "y", groups=None)
        assert found.caveat == "estimation error of 'y' not included"
        assert found.caveat in str(found)
        assert width(found) > 0
        alone = ate(scm, rows, "m", "y", groups=None)
        assert alone.parameters == "fixed"
        assert "of 'y' none is known" in alone.caveat
    finally:
        del FAMILIES["ours"]


def test_refits_are_of_the_fits_own_table(pair):
    scm, rows = pair
    with pytest.raises(OptionError, match="this is another one"):
        ate(scm, rows.head(500), "x", "y", groups=None, refits=5)
    mixed = rows.sample(frac=1, random_state=0)
    assert width(ate(scm, mixed, "x", "y", groups=None, refits=3)) > 0


def test_an_absent_column_is_one_of_unknowns():
    """The fit never observed it: its own table is known as such with the column and without."""
    rows = rows_of_chain(600).drop(columns="z")
    scm = cx.FlowSCM(CHAIN, hidden=()).fit(rows, progress=False)
    with_column = rows.assign(z=np.nan)
    found = ate(scm, rows, "x", "y", groups=None)
    assert found.parameters == "estimated"
    assert str(ate(scm, with_column, "x", "y", groups=None)) == str(found)
    assert width(ate(scm, with_column, "x", "y", groups=None, refits=3)) > 0


# --- every effect --------------------------------------------------------------------------------


def test_every_effect_has_the_default():
    table = patients(600, seed=0)
    scm = cx.FlowSCM(GRAPH, hidden=()).fit(table, "patient", progress=False)
    ask = (scm, table, "edema", "effusion")
    how = {"groups": "patient"}
    parts, ctf = natural_effects(*ask, **how), ctf_effects(*ask, **how)
    chances, tipping = causation(*ask, **how), sensitivity(*ask, strengths=(1, 2), **how)
    path = path_specific_effect(*ask, paths=[("edema", "effusion")], **how)
    fixed = ate(*ask, parameters="fixed", **how)
    effects = [parts.total, parts.direct, ctf.variation, chances.necessity, tipping.effect, path]
    for effect in effects:
        assert effect.parameters == "estimated"
        assert effect.low < effect.estimate < effect.high
        assert "not included" not in str(effect)
    assert width(parts.total) > 1.5 * width(fixed)
    assert width(parts.total) == pytest.approx(width(tipping.effect), rel=1e-2)
    assert str(ate(*ask, **how)) == str(ate(*ask, **how))
    mixed = table.sample(frac=1, random_state=1)
    again = ate(scm, mixed, "edema", "effusion", **how)
    assert (again.low, again.high) == pytest.approx((parts.total.low, parts.total.high), abs=1e-9)


def test_draws_leave_the_interval(monkeypatch):
    """Where a sum is too large, the change between replicates is drawn with common noise."""
    rows = rows_of_chain(800)
    scm = cx.FlowSCM(CHAIN, hidden=()).fit(rows, progress=False)
    exact = ate(scm, rows, "x", "y", groups=None)
    monkeypatch.setattr(expectation, "MOST_ENTRIES", 0)
    drawn = ate(scm, rows, "x", "y", groups=None)
    assert drawn.monte_carlo_error > 0
    assert width(drawn) == pytest.approx(width(exact), rel=0.3)


# --- Student's interval --------------------------------------------------------------------------


def test_students_interval_of_a_mean():
    """Of five normal numbers: ± 2.776 standard errors, and none where nothing varies."""
    draws = np.random.default_rng(0).normal(size=(4000, 3)) * [1.0, 2.0, 0.0] + [0.0, 1.0, 0.3]
    low, high = student_interval(np.array([0.0, 1.0, 0.3]), draws, np.array([4.0, 1e9, 4.0]), 0.95)
    assert (high - low)[:2] / 2 == pytest.approx([2.776, 2 * 1.96], rel=0.05)
    assert np.isnan([low[2], high[2]]).all()
    draws[0, 0] = np.nan  # a replicate in which a figure is not defined is left out
    assert np.isfinite(student_interval(np.zeros(3), draws, np.full(3, 4.0), 0.95)[0][0])
    assert np.isnan(student_interval(np.zeros(3), draws, np.zeros(3), 0.95)[0]).all()


def test_satterthwaite():
    """Equal variances of f degrees each have 2 f together; one that is 0 adds none."""
    one, none = np.array([1.0, 1.0]), np.array([1.0, 0.0])
    assert satterthwaite([one, none], [5, 5]) == pytest.approx([10, 5])
    assert satterthwaite([one, one], [0, 5]).tolist() == [0, 0]
    assert satterthwaite([np.zeros(1), np.zeros(1)], [5, 5]).tolist() == [0]
