"""Every map of one number, fitted as users fit it: monotone and invertible, tails to u = 1e-12 on
both sides.
"""

import numpy as np
import pytest
import torch

from cxrcausal.graph import Variable
from cxrcausal.scm import FlowMechanism, IntervalMechanism, fit_mechanism
from cxrcausal.scm.mechanism.flow import ContinuousFlow
from cxrcausal.scm.mechanism.spline import SplineFlow
from cxrcausal.scm.mechanism.thresholds import DirectEdges, FlowEdges

SEX = Variable("sex", "binary", ("Female", "Male"))
AGE = Variable("age", "continuous", unit="years", bounds=(0.0, 110.0), resolution=1.0)
KINDS = {
    "continuous": Variable("dose", "continuous", unit="mGy"),
    "in bounds": Variable("width", "continuous", unit="mm", bounds=(100.0, 400.0)),
    "age": Variable("years", "continuous", unit="years", bounds=(0.0, 110.0), resolution=1.0),
    "ordinal": Variable("stage", "ordinal", ("none", "mild", "moderate", "severe")),
    "count": Variable("prior_images", "continuous", bounds=(0.0, 40.0), resolution=1.0),
    "binary": Variable("edema", "binary", ("negative", "positive")),
}
CASES = [
    (kind, family)
    for kind in KINDS
    for family in ("cnf", "nsf", "direct")
    if not (family == "direct" and kind in ("continuous", "in bounds"))
]
LEAST = 1e-12


def rows(n=500):
    draw = np.random.default_rng(0)
    age, male = draw.integers(18, 95, n).astype(float), (draw.random(n) < 0.5).astype(float)
    centre = 0.02 * age + 0.5 * male
    made = {
        "dose": centre + np.exp(0.4 * draw.normal(size=n)),
        "width": np.clip(200 + 15 * centre + 20 * draw.normal(size=n), 101, 399),
        "years": np.clip(np.round(30 + 20 * centre + 15 * draw.normal(size=n)), 0, 110),
        "stage": np.clip(np.round(centre + 0.9 * draw.normal(size=n)), 0, 3),
        "prior_images": np.minimum(draw.poisson(np.exp(centre)), 40).astype(float),
        "edema": (draw.random(n) < 1 / (1 + np.exp(3 - centre))).astype(float),
        "age": age,
        "sex": male,
    }
    return {name: torch.tensor(x, dtype=torch.float64) for name, x in made.items()}


VALUES = rows()


def edges_of(variable, family):
    """An ordered variable with levels by the family that `fit` does not offer for it: a spline."""
    levels = len(variable.levels or variable.grid)
    flow = {"nsf": SplineFlow(8), "cnf": ContinuousFlow(8)}.get(family)
    if flow is None:
        return DirectEdges((AGE, SEX), levels)
    return FlowEdges((AGE, SEX), levels, flow)


@pytest.fixture(scope="module", params=CASES, ids=lambda case: " ".join(case))
def mechanism(request):
    kind, family = request.param
    variable = KINDS[kind]
    if family == "nsf" and variable.is_discrete:
        source = edges_of(variable, family)
        source.start_at(torch.bincount(VALUES[variable.name].long()).double())
        generator = torch.Generator().manual_seed(1)
        for parameter in source.conditioner.network.parameters():
            parameter.data.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        mechanism = IntervalMechanism(variable, (AGE, SEX), source)
        return mechanism.eval().requires_grad_(False)
    return fit_mechanism(variable, (AGE, SEX), VALUES, family=family, hidden=(), seed=0)


def noise():
    """Noise from u = 1e-12 to 1 − 1e-12, as dense in either tail, (1, points)."""
    tail = np.geomspace(LEAST, 0.5, 200)
    low = torch.special.ndtri(torch.tensor(tail, dtype=torch.float64))
    return torch.cat([low, -low[:-1].flip(0)])[None]


def parents():
    """Parents over all that they may be, (configurations, 1)."""
    age, sex = np.meshgrid([0.0, 18.0, 50.0, 94.0, 110.0], [0.0, 1.0])
    return {
        "age": torch.tensor(age.ravel())[:, None].double(),
        "sex": torch.tensor(sex.ravel())[:, None].double(),
    }


def test_rises_with_the_noise_into_both_tails(mechanism):
    """Strictly where the values are a continuum; never beyond the bounds."""
    x = mechanism.predict(noise()[..., None].expand(10, -1, -1), parents())
    assert torch.isfinite(x).all()
    steps = x.diff(dim=-1)
    assert (steps > 0).all() if mechanism.support is None else (steps >= 0).all()
    if mechanism.variable.bounds is not None:
        assert float(x.min()) >= mechanism.variable.bounds[0]
        assert float(x.max()) <= mechanism.variable.bounds[1]
    if mechanism.support is not None:
        assert torch.isin(x, mechanism.support).all()


def test_noise_comes_back_from_the_value_into_both_tails(mechanism):
    """Of a continuum the very noise, to 1e-7; of levels, noise of the same interval."""
    u, pa = noise()[..., None].expand(10, -1, -1), parents()
    x = mechanism.predict(u, pa)
    half = torch.full_like(u, 0.5)
    again = mechanism.abduct(x, pa, half)
    if mechanism.support is None:
        assert float((again - u).abs().max()) < 1e-7
    else:
        assert torch.equal(mechanism.predict(again, pa), x)
        a, b = mechanism.interval(x, pa)
        assert ((a < u[..., 0]) & (u[..., 0] <= b)).all()


def test_every_value_within_the_bounds_comes_back(mechanism):
    """From end to end, and from the first draw inside a value's interval to the last."""
    variable, pa = mechanism.variable, parents()
    if mechanism.support is not None:
        x = mechanism.support[None].expand(10, -1)
    else:
        low, high = variable.bounds or (-3.0, 9.0)
        ends = 1e-9 * (high - low)
        x = torch.linspace(low + ends, high - ends, 301, dtype=torch.float64)[None].expand(10, -1)
    previous = None
    for place in (LEAST, 0.5, 1 - LEAST):
        u = mechanism.abduct(x, pa, torch.full((*x.shape, 1), place, dtype=torch.float64))
        assert torch.isfinite(u).all()
        assert (u[..., 0].diff(dim=-1) > 0).all()
        back = mechanism.predict(u, pa)
        if mechanism.support is None:
            scale = 1.0 if variable.bounds is None else high - low
            assert float((back - x).abs().max()) < 1e-9 * scale
        else:
            assert torch.equal(back, x)
            assert previous is None or (u >= previous).all()
        previous = u


def test_tail_probabilities_are_those_of_the_noise(mechanism):
    """The chance of what lies below a value is Φ of its noise, far below 1e-7 included."""
    if mechanism.support is None:
        pytest.skip("a continuum has a density; test_flow integrates it")
    pa = parents()
    x = mechanism.support[None].expand(10, -1)
    log_p = mechanism.log_probs({name: value[:, 0] for name, value in pa.items()})
    below = log_p.logcumsumexp(-1)[:, :-1]
    above = log_p.flip(-1).logcumsumexp(-1).flip(-1)[:, 1:]
    a, b = mechanism.interval(x, pa)
    edge = b[:, :-1]
    assert torch.equal(edge, a[:, 1:])
    nearer = torch.where(edge < 0, below, above)
    torch.testing.assert_close(torch.special.log_ndtr(-edge.abs()), nearer, rtol=1e-6, atol=1e-9)


def test_all_families_of_a_continuum_are_flows():
    assert isinstance(
        fit_mechanism(KINDS["continuous"], (), VALUES, hidden=(), family="direct"), FlowMechanism
    )
