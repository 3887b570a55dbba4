"""A flow fitted from a regression upwards: least squares on linear data, and more where data show
it.
"""

import copy
import math

import numpy as np
import pandas as pd
import pytest
import torch
from mechanisms import uniforms

from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm import FlowMechanism, FlowSCM, fit_mechanism
from cxrcausal.scm.fit.choice import improve_mechanism
from cxrcausal.scm.fit.located import Freedom, freedom_of
from cxrcausal.scm.mechanism.conditioner import ParentFeatures
from cxrcausal.scm.mechanism.flow import ContinuousFlow, LocatedFlow

A, B, Y = (Variable(name, "continuous") for name in "aby")
SEX = Variable("sex", "binary", ("Female", "Male"))
COUNT = Variable("y", "continuous", bounds=(0.0, 40.0), resolution=1.0)
ROWS = 3000
FAMILIES = pytest.mark.parametrize("family", ["cnf", "nsf"])


def causes(seed, rows=ROWS):
    draw = np.random.default_rng(seed)
    a = draw.normal(size=rows)
    b = 0.5 * a + draw.normal(size=rows)
    return a, b, (draw.random(rows) < 0.5).astype(float), draw.normal(size=rows)


def fitted(y, family="cnf", hidden=(), variable=Y, parents=(A, B), **columns):
    values = {"y": y, **columns}
    values = {name: torch.tensor(np.asarray(x, float)) for name, x in values.items()}
    return fit_mechanism(variable, parents, values, family=family, hidden=hidden)


def moved(mechanism, y, before, after):
    """Returns counterfactual values of rows (rows,) whose parents change."""
    pa, star = (
        {n: torch.tensor(np.broadcast_to(v, np.shape(y)).copy()) for n, v in p.items()}
        for p in (before, after)
    )
    u = mechanism.abduct(torch.tensor(y), pa, uniforms(len(y), 1))
    return mechanism.predict(u, star).numpy()


@FAMILIES
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_linear_data_are_answered_by_least_squares(seed, family):
    """The model that made the data cannot be beaten by more than a hundredth of its noise."""
    a, b, _, u = causes(seed)
    y = 0.7 * a + 0.4 * b + u
    mechanism = fitted(y, family, hidden=(8,), a=a, b=b)
    weights = np.linalg.lstsq(np.column_stack([a, b, np.ones(ROWS)]), y, rcond=None)[0]
    some = slice(0, 200)
    found = moved(mechanism, y[some], {"a": a[some], "b": b[some]}, {"a": a[some], "b": 2.0})
    expected = y[some] + weights[1] * (2.0 - b[some])
    assert np.sqrt(((found - expected) ** 2).mean()) < 0.01
    assert freedom_of(mechanism) == Freedom()


def test_joe_is_answered_as_in_the_book():
    """Pearl's primer 4.2.3, from 4,000 rows: 1.90, and within .02 of least squares on them."""
    draw = np.random.default_rng(7)
    x = draw.normal(size=4000)
    h = 0.5 * x + draw.normal(size=4000)
    y = 0.7 * x + 0.4 * h + draw.normal(size=4000)
    graph = CausalGraph(
        [Variable(n, "continuous") for n in "xhy"], [("x", "h"), ("x", "y"), ("h", "y")]
    )
    table = pd.DataFrame({"x": x, "h": h, "y": y})
    scm = FlowSCM(graph).fit(table, progress=False)
    joe = pd.DataFrame({"x": [0.5], "h": [1.0], "y": [1.5]})
    found = float(scm.counterfactual(joe, {"h": 2.0})["y"].iloc[0])
    slope = np.linalg.lstsq(np.column_stack([x, h, np.ones(4000)]), y, rcond=None)[0][1]
    assert found == pytest.approx(1.5 + slope, abs=0.02)
    assert found == pytest.approx(1.90, abs=0.06)


def test_a_nearly_exact_relation_stays_one():
    """A residual ten thousand times smaller than the variable's spread; units far from one."""
    a, b, _, u = causes(3)
    y = 5000 + 3000 * a - 0.3 * u
    mechanism = fitted(y, a=a, b=b)
    found = moved(mechanism, y[:50], {"a": a[:50], "b": b[:50]}, {"a": 0.0, "b": b[:50]})
    np.testing.assert_allclose(found, 5000 - 0.3 * u[:50], atol=0.05)


@FAMILIES
def test_a_scale_that_depends_on_parents_is_found(family):
    _, _, sex, u = causes(4)
    y = 1 + (0.5 + 0.5 * sex) * u
    mechanism = fitted(y, family, parents=(SEX,), sex=sex)
    assert freedom_of(mechanism).spreads
    found = moved(mechanism, np.array([0.5, 1.5]), {"sex": 0.0}, {"sex": 1.0})
    np.testing.assert_allclose(found, [0.0, 2.0], atol=0.15)


@FAMILIES
def test_a_bent_location_is_found(family):
    a, b, _, u = causes(5)
    y = np.exp(a / 2) + u / 4
    mechanism = fitted(y, family, a=a, b=b)
    assert freedom_of(mechanism).bends
    centre = np.exp(a[:500] / 2)
    before = {"a": a[:500], "b": b[:500]}
    found = moved(mechanism, centre, before, {"a": 0.0, "b": b[:500]})
    assert np.sqrt(((found - 1) ** 2).mean()) < 0.06


def test_what_parents_do_together_is_found():
    """A product of two parents, which no sum of splines is."""
    a, b, _, u = causes(6)
    y = a * b + u / 2
    mechanism = fitted(y, hidden=(16, 16), a=a, b=b)
    assert freedom_of(mechanism).residual
    found = moved(
        mechanism, np.zeros(3), {"a": 0.0, "b": 0.0}, {"a": np.array([-1.0, 0, 1]), "b": 1.0}
    )
    np.testing.assert_allclose(found, [-1, 0, 1], atol=0.25)


@FAMILIES
def test_a_shape_other_than_the_normal_is_found(family):
    """Exponential noise: the density comes within a hundredth of a nat or two of the truth."""
    a, b, _, _ = causes(7)
    noise = np.random.default_rng(8).gamma(3.0, size=ROWS)
    mechanism = fitted(a + noise, family, a=a, b=b)
    free = freedom_of(mechanism)
    assert free.shaped
    assert not free.bends
    new_a, new_b, _, _ = causes(9)
    new = np.random.default_rng(10).gamma(3.0, size=ROWS)
    pa = {"a": torch.tensor(new_a), "b": torch.tensor(new_b)}
    with torch.no_grad():
        nats = mechanism.log_prob(torch.tensor(new_a + new), pa).mean()
    truth = (2 * np.log(new) - new - math.log(2.0)).mean()
    assert abs(float(nats) - truth) < 0.03


def test_a_shape_that_depends_on_parents_is_found():
    """Skewed to the right in women, to the left in men: the quantiles turn over."""
    _, _, sex, _ = causes(11)
    skewed = np.random.default_rng(12).gamma(1.5, size=ROWS) - 1.5
    y = np.where(sex > 0, -skewed, 1.5 * skewed)
    mechanism = fitted(y, parents=(SEX,), sex=sex)
    assert freedom_of(mechanism).reshaped
    u = torch.special.ndtri(torch.tensor([0.02, 0.98], dtype=torch.float64))[:, None]
    low, high = mechanism.predict(u, {"sex": torch.zeros(2).double()}).tolist()
    assert high > -2 * low
    low, high = mechanism.predict(u, {"sex": torch.ones(2).double()}).tolist()
    assert -low > 2 * high


@FAMILIES
def test_a_count_starts_at_its_regression_too(family):
    """A normal number recorded on a grid: the edges move with the parents as the number does."""
    a, b, _, u = causes(13)
    y = np.clip(np.round(20 + 3 * a + 3 * u), 0, 40)
    mechanism = fitted(y, family, variable=COUNT, a=a, b=b)
    pa = {n: torch.tensor([0.0, 1.0]).double() for n in "ab"}
    mean = (mechanism.log_probs(pa).exp() * mechanism.support).sum(-1)
    np.testing.assert_allclose(mean.numpy(), [20, 23], atol=0.4)


def test_few_patients_get_no_more_than_their_number_can_bear():
    """Too few to spare any for validation: a bend of 40 rows must show far above chance."""
    a, b, _, u = causes(14, 40)
    assert freedom_of(fitted(a + u, a=a, b=b, hidden=(8,))) == Freedom()
    assert freedom_of(fitted(a**2 + 0.1 * u, a=a, b=b, hidden=(8,))).bends


def test_without_parents_a_normal_number_is_normal():
    _, _, _, u = causes(15)
    mechanism = fitted(3 + 2 * u, parents=())
    assert freedom_of(mechanism) == Freedom()
    u = torch.tensor([[-1.0], [1.0]]).double()
    low, high = mechanism.predict(u, {}).tolist()
    assert high - low == pytest.approx(4, abs=0.2)


def test_improving_leaves_the_regression_a_regression():
    """EM weighs rows anew; what the fit did not set free stays at zero, what it did moves."""
    a, b, sex, u = causes(16)
    mechanism = fitted(a + u, a=a, b=b)
    free, before = freedom_of(mechanism), copy.deepcopy(mechanism.state_dict())
    pa = {"a": torch.tensor(a), "b": torch.tensor(b)}
    improve_mechanism(mechanism, torch.tensor(a + u), pa, torch.tensor(0.5 + sex))
    assert freedom_of(mechanism) == free == Freedom()
    after = mechanism.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert not any(p.requires_grad for p in mechanism.parameters())


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_the_table_is_the_flow(scale):
    """One table for rows that share their shape: values to 1e-6, its slope the derivative,
    gradients.
    """
    flow = LocatedFlow()
    generator = torch.Generator().manual_seed(1)
    theta = scale * torch.randn(flow.outputs, generator=generator, dtype=torch.float64)
    theta[:2] = torch.tensor([0.3, -0.4])
    rows = theta.expand(4001, -1)
    y = torch.linspace(-15, 15, 4001).double()
    with torch.no_grad():
        exact, log_slope = flow.inverse_and_log_slope(y, rows)
        with flow.solved("table"):
            table, log_steepness = flow.inverse_and_log_slope(y, rows)
            assert torch.equal(flow.inverse_map(y, rows), table)
    torch.testing.assert_close(table, exact, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(log_steepness, log_slope, rtol=0, atol=1e-4)
    slopes = []
    for how in ("rows", "table"):
        weights = theta.clone().requires_grad_(True)
        with flow.solved(how):
            eps, log_slope = flow.inverse_and_log_slope(y, weights.expand(4001, -1))
        slopes.append(torch.autograd.grad((eps.square() - log_slope).mean(), weights)[0])
    torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-4)


def test_a_regression_solves_no_equation(monkeypatch):
    """With the bumps at zero the map is affine, in closed form."""
    flow = LocatedFlow()
    monkeypatch.setattr(flow.shape, "_solve", None)
    theta = torch.zeros(3, flow.outputs).double()
    theta[:, 0], theta[:, 1] = torch.tensor([1.0, 2, 3]), torch.tensor([-1.0, 0, 1])
    eps = torch.tensor([0.5, -0.5, 2.0]).double()
    y = flow.forward_map(eps, theta)
    scale = torch.exp(12 * torch.tanh(theta[:, 1] / 12))
    torch.testing.assert_close(y, theta[:, 0] + scale * eps)
    torch.testing.assert_close(flow.inverse_and_log_slope(y, theta), (eps, -scale.log()))


def test_straight_lines_are_what_the_projection_keeps():
    """A line in a number is unmoved, a bend is taken away, levels are left alone."""
    features = ParentFeatures((SEX, A), knots=10)
    a, _, sex, _ = causes(17)
    pa = {"sex": torch.tensor(sex), "a": torch.tensor(a)}
    features.calibrate(pa, torch.ones(ROWS).double())
    columns, straight = features(pa), features.straight()
    torch.testing.assert_close(straight @ straight, straight)
    for curve, bends in ((3 * a + 2 * sex, False), (a**2, True)):
        design = torch.cat((columns, torch.ones(ROWS, 1).double()), 1)
        weights = torch.linalg.lstsq(design, torch.tensor(curve)[:, None]).solution[:-1, 0]
        assert bool((straight @ weights - weights).norm() > 1e-6) == bends


def test_a_mechanism_of_an_older_checkpoint_has_its_knots():
    """Configurations without a number of knots, and flows without a location, are those of 0.1."""
    old = {"hidden": [4], "flow": ContinuousFlow(6).config()}
    mechanism = FlowMechanism.from_config(Y, (A,), old)
    assert mechanism.conditioner.knots == 6
    assert not mechanism.flow.is_located
    assert mechanism.config() == {**old, "hidden": [4], "knots": 6}
