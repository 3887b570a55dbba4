import math

import pytest
import torch

from cxrcausal.errors import RecipeError
from cxrcausal.image import Solver

ORDERS = {"euler": 1, "midpoint": 2, "heun": 2, "adams": 2, "rk4": 4}


def swirl(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """dx/dt = x cos(3t), whose solution from 0 to 1 is x exp(sin(3) / 3)."""
    return x * torch.cos(3 * t)


def error(method: str, steps: int, *, backward: bool = False) -> float:
    x = torch.tensor([1.0], dtype=torch.float64)
    solution = math.exp((-1 if backward else 1) * math.sin(3) / 3)
    found = Solver(method, num_steps=steps).integrate(swirl, x, backward=backward)
    return abs(float(found) - solution)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("method", ORDERS)
def test_measured_order_is_the_stated_order(method, backward):
    order = math.log2(error(method, 64, backward=backward) / error(method, 128, backward=backward))
    assert abs(order - ORDERS[method]) < 0.25


@pytest.mark.parametrize("method", [*ORDERS, "dopri5"])
def test_backward_then_forward_returns(method):
    x = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    solver = Solver(method, num_steps=400, tolerance=1e-8)
    there = solver.integrate(swirl, x, backward=True)
    assert (there - x).abs().max() > 0.01
    torch.testing.assert_close(solver.integrate(swirl, there), x, rtol=0, atol=2e-2)


@pytest.mark.parametrize("method", ORDERS)
def test_evaluations_are_counted(method):
    calls = []

    def field(x, t):
        calls.append(float(t))
        return x

    solver = Solver(method, num_steps=5)
    solver.integrate(field, torch.ones(1))
    assert len(calls) == solver.evaluations


def test_adaptive_solver_matches_the_solution():
    x = torch.tensor([1.0], dtype=torch.float64)
    found = Solver("dopri5", tolerance=1e-9).integrate(swirl, x)
    assert abs(float(found) - math.exp(math.sin(3) / 3)) < 1e-7


def test_grid_is_dense_near_the_image():
    grid = Solver(num_steps=10, density=2.0).grid()
    steps = grid.diff()
    assert grid[0] == 0
    assert grid[-1] == 1
    assert (steps.diff() < 0).all()


def test_unknown_method_names_the_nearest():
    with pytest.raises(RecipeError, match="'huen' is unknown; did you mean 'heun'"):
        Solver("huen")


@pytest.mark.parametrize("steps", [0, -1, 1.5, "4", None, True])
def test_steps_must_be_a_positive_whole_number(steps):
    with pytest.raises(RecipeError, match=rf"num_steps {steps!r} must be a whole number"):
        Solver(num_steps=steps)


@pytest.mark.parametrize("number", [0, -1.0, math.nan, math.inf, "1e-4"])
@pytest.mark.parametrize("name", ["density", "tolerance"])
def test_other_numbers_must_be_positive_and_finite(name, number):
    with pytest.raises(RecipeError, match=rf"{name} {number!r} must be a positive, finite number"):
        Solver(**{name: number})
