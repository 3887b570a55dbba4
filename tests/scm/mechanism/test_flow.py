"""Monotone maps of one number: increasing, invertible, with honest densities and tails."""

import logging
import math

import numpy as np
import pytest
import torch
from mechanisms import AGE, DOSE, SEX, WIDTH, continuous_mechanisms, draw_weights, uniforms

from cxrcausal.graph.variable import Variable
from cxrcausal.scm.mechanism.continuous import FlowMechanism
from cxrcausal.scm.mechanism.flow import ContinuousFlow, LocatedFlow, solve_increasing
from cxrcausal.scm.mechanism.spline import SplineFlow

FLOWS = {
    "cnf": ContinuousFlow(8),
    "steep cnf": ContinuousFlow(24, 8.0),
    "located cnf": LocatedFlow(8),
    "nsf": SplineFlow(12),
}
either = pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
WIDE = torch.linspace(-12, 12, 2001).double()


def coefficients(flow, scale, seed=0, rows=5):
    generator = torch.Generator().manual_seed(seed)
    theta = scale * torch.randn(rows, flow.outputs, generator=generator, dtype=torch.float64)
    return theta.unsqueeze(1)


@either
@pytest.mark.parametrize("scale", [0.3, 3.0, 100.0])
def test_strictly_increasing_whatever_the_weights(flow, scale):
    """The computed map ascends, not only the exact one: no weight can make trajectories cross."""
    with torch.no_grad():
        eps, log_slope = flow.inverse_and_log_slope(WIDE, coefficients(flow, scale))
    assert (eps.diff() > 0).all()
    assert torch.isfinite(log_slope).all()


@pytest.mark.parametrize("steepest", [2.0, 4.0, 8.0])
def test_the_slope_stays_within_its_bound(steepest):
    """|log dT/dε| never exceeds the bound on the velocity's slope."""
    flow = ContinuousFlow(8, steepest)
    steep = torch.zeros(2, 1, flow.outputs).double()
    steep[:, 0, 1] = torch.tensor([1e3, -1e3])  # the linear term alone can reach the bound
    with torch.no_grad():
        for scale in (1.0, 10.0):
            _, log_slope = flow.inverse_and_log_slope(WIDE, coefficients(flow, scale))
            assert float(log_slope.abs().max()) <= steepest * 1.01
        _, reached = flow.inverse_and_log_slope(WIDE[:3], steep)
    expected = torch.tensor([[-steepest], [steepest]], dtype=torch.float64).expand(2, 3)
    torch.testing.assert_close(reached, expected, rtol=0.01, atol=0)


@either
def test_all_zero_coefficients_are_the_identity(flow):
    """A flow starts at the independent model."""
    with torch.no_grad():
        eps, log_slope = flow.inverse_and_log_slope(WIDE, torch.zeros(flow.outputs).double())
    torch.testing.assert_close(eps, WIDE, rtol=0, atol=1e-12)
    torch.testing.assert_close(log_slope, torch.zeros_like(WIDE), rtol=0, atol=1e-12)


@either
@pytest.mark.parametrize("scale", [0.3, 2.0])
def test_forward_and_inverse_agree(flow, scale):
    """T⁻¹(T(ε)) = ε to 1e-9, far into the tails."""
    theta = coefficients(flow, scale, seed=1)
    eps = torch.linspace(-9, 9, 301).double()
    with torch.no_grad():
        back = flow.inverse_map(flow.forward_map(eps, theta), theta)
    assert float((back - eps).abs().max()) < 1e-9


@either
def test_the_slope_is_the_derivative(flow):
    """The log-slope is that of the map as computed: autograd agrees to rounding."""
    theta = coefficients(flow, 1.0, seed=2)
    y = torch.linspace(-4, 4, 101).double().expand(5, 101).clone().requires_grad_(True)
    eps, log_slope = flow.inverse_and_log_slope(y, theta)
    (derivative,) = torch.autograd.grad(eps.sum(), y)
    torch.testing.assert_close(log_slope.exp(), derivative, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(flow.inverse_map(y, theta), eps, rtol=1e-12, atol=1e-12)


@either
def test_tails_are_affine(flow):
    """Far out the map is a straight line, so that extrapolation is calm."""
    theta = coefficients(flow, 0.5, seed=3)
    for far in (torch.linspace(40, 60, 41).double(), torch.linspace(-60, -40, 41).double()):
        with torch.no_grad():
            eps = flow.inverse_map(far, theta)
        steps = eps.diff()
        torch.testing.assert_close(steps, steps[:, :1].expand_as(steps), rtol=1e-6, atol=1e-9)


def test_the_solver_is_of_fourth_order():
    """Halving the step divides the error by sixteen."""
    theta = coefficients(ContinuousFlow(6), 1.0, seed=4)
    y = torch.linspace(-3, 3, 201).double()
    flow, results = ContinuousFlow(6), []
    for steps in (8, 16, 256):
        flow.steps = steps
        with torch.no_grad():
            results.append(flow.inverse_map(y, theta))
    coarse, fine = ((r - results[-1]).abs().max().item() for r in results[:2])
    assert 3.5 < math.log2(coarse / fine) < 5


def test_solving_from_a_bad_guess():
    """A bracket catches Newton steps that would run away."""
    target = torch.linspace(-0.999, 0.999, 11).double()

    def steep(y):  # flat far out, where a Newton step overshoots by far
        return torch.tanh(5 * y) + 1e-3 * y, torch.log(5 / torch.cosh(5 * y) ** 2 + 1e-3)

    y = solve_increasing(steep, target, torch.full((11,), 20.0).double())
    torch.testing.assert_close(steep(y)[0], target, rtol=0, atol=1e-12)


def test_what_was_not_solved_is_said(caplog):
    """The best guess comes back, with how far it is off; what was solved says nothing."""

    def cube(y):
        return y**3, (3 * y**2).clamp(min=1e-300).log()

    target = torch.tensor([8.0, 1e30, 27.0]).double()
    with caplog.at_level(logging.WARNING, logger="cxrcausal"):
        y = solve_increasing(cube, target, torch.full_like(target, 2.0), most=12)
        assert "not solved in 1 of 3 places after 12 evaluations" in caplog.text
        caplog.clear()
        solve_increasing(cube, target, torch.full_like(target, 2.0), most=300)
    assert not caplog.records
    torch.testing.assert_close(y[::2], torch.tensor([2.0, 3.0]).double())


@pytest.mark.parametrize(
    "mechanism", continuous_mechanisms().values(), ids=list(continuous_mechanisms())
)
def test_densities_integrate_to_one(mechanism):
    """The density is per unit of the variable, so its integral over the values is one."""
    pa = {p.name: torch.full((1,), 1.0).double() for p in mechanism.parents}
    ends = mechanism.predict(torch.tensor([[-8.0], [8.0]]).double(), pa)
    x = torch.linspace(*ends.tolist(), 40_001).double()
    density = mechanism.log_prob(x, pa).exp()
    assert torch.trapezoid(density, x).item() == pytest.approx(1, abs=1e-4)


def test_bounds_are_respected():
    """No noise and no parent leads outside; a value on a bound is read as just inside."""
    mechanism = draw_weights(FlowMechanism(WIDTH, (SEX,), ContinuousFlow(6)), 7, scale=1.0)
    low, high = WIDTH.bounds
    pa = {"sex": torch.tensor([[0.0], [1.0]]).double()}
    x = mechanism.predict(torch.linspace(-38, 38, 400).double().expand(2, 400)[..., None], pa)
    assert float(x.min()) >= low
    assert float(x.max()) <= high
    ends = torch.tensor([low, high]).double()
    u = mechanism.abduct(ends, {"sex": torch.zeros(2).double()}, uniforms(2, 1))
    assert torch.isfinite(u).all()
    back = mechanism.predict(u, {"sex": torch.zeros(2).double()})
    torch.testing.assert_close(back, ends, rtol=0, atol=1e-6 * (high - low))


def test_a_linear_gaussian_mechanism_has_the_answer_on_paper():
    """Pearl's primer 4.2.3: homework .5X + U, Joe's X = .5 and H = 1 give H = 1.25 under X = 1."""
    study, homework = Variable("study", "continuous"), Variable("homework", "continuous")
    mechanism = FlowMechanism(homework, (study,), ContinuousFlow(4))
    linear = mechanism.conditioner.network.linear
    features = mechanism.conditioner.features
    x = torch.linspace(-2, 2, 50).double()
    features.calibrate({"study": x}, torch.ones(50).double())
    columns = features({"study": x})
    design = torch.cat((columns, torch.ones(50, 1).double()), 1)
    solution = torch.linalg.lstsq(design, 0.5 * x[:, None]).solution[:, 0]
    linear.weight.data[0], linear.bias.data[0] = solution[:-1], solution[-1]
    mechanism.requires_grad_(False)
    half, one = torch.tensor([0.5]).double(), torch.tensor([1.0]).double()
    u = mechanism.abduct(one, {"study": half}, uniforms(1, 1))
    assert u.item() == pytest.approx(0.75, abs=1e-9)
    assert mechanism.predict(u, {"study": one}).item() == pytest.approx(1.25, abs=1e-9)


def test_a_flow_of_many_rows_uses_each_rows_parents():
    """One call with many parents equals many calls with one."""
    mechanism = draw_weights(FlowMechanism(DOSE, (SEX, AGE), ContinuousFlow(6), (4,)), 8, 0.3)
    rows = 9
    pa = {"sex": torch.arange(rows) % 2.0, "age": torch.linspace(0, 110, rows).round()}
    pa = {name: v.double() for name, v in pa.items()}
    u = torch.special.ndtri(uniforms(rows, 1))
    together = mechanism.predict(u, pa)
    one_by_one = [
        mechanism.predict(u[i : i + 1], {name: v[i : i + 1] for name, v in pa.items()})
        for i in range(rows)
    ]
    torch.testing.assert_close(together, torch.cat(one_by_one), rtol=0, atol=1e-11)
    assert len(np.unique(together.numpy())) == rows
