"""Masses of a normal and draws inside of intervals, exact in both tails."""

import numpy as np
import pytest
import torch
from scipy import special

from cxrcausal.scm.mechanism.normal import draw_inside, log_interval, overlap

EXTREME = torch.tensor(
    [2.0**-54, 1e-9, 0.25, 0.5, 0.75, 1 - 1e-9, 1 - 2.0**-53], dtype=torch.float64
)


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("a", "b"), [(-np.inf, -30), (-9, -8), (-1, 2), (8, 9), (20, 21), (30, np.inf)]
)
def test_log_mass_in_both_tails(a, b):
    """Scipy's log-survival function knows the mass of a far interval."""
    near, far = (-abs(x) for x in sorted((a, b), key=abs))
    expected = special.log_ndtr(near) + np.log1p(
        -np.exp(special.log_ndtr(far) - special.log_ndtr(near))
    )
    if a < 0 < b:
        expected = np.log(special.ndtr(b) - special.ndtr(a))
    found = log_interval(numbers(a), numbers(b)).item()
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("a", "b"), [(-np.inf, -1.0), (1.0, np.inf), (-np.inf, np.inf)])
def test_open_ends_have_two_derivatives(a, b):
    """With one end open the second derivative is that of log Phi, -r (z + r) with r = phi /
    Phi.
    """
    a, b = numbers(a).requires_grad_(), numbers(b).requires_grad_()
    first = torch.autograd.grad(log_interval(a, b).sum(), (a, b), create_graph=True)
    second = torch.autograd.grad(sum(slope.sum() for slope in first), (a, b))
    ratio = np.exp(-0.5 - special.log_ndtr(-1.0)) / np.sqrt(2 * np.pi)
    for end, found in zip((a, b), second, strict=True):
        expected = -ratio * (-1.0 + ratio) if end.isfinite() else 0.0
        assert found.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("a", "b"), [(-np.inf, -34), (-0.3, 0.2), (7.0, 7.001), (33, np.inf)])
def test_draws_lie_inside_and_rise(a, b):
    """Any uniform gives a number strictly inside, a larger one none smaller."""
    drawn = draw_inside(numbers(a), numbers(b), EXTREME)
    assert torch.isfinite(drawn).all()
    assert (drawn > a).all()
    assert (drawn < b).all()
    assert (drawn.diff() >= 0).all()


def test_a_narrow_interval_keeps_a_margin_of_a_quarter():
    """Where the interval is narrower than any margin, draws stay in its middle half."""
    a, width = 1.5, 1e-12
    drawn = draw_inside(numbers(a), numbers(a + width), EXTREME) - a
    assert float(drawn.min()) >= 0.2 * width
    assert float(drawn.max()) <= 0.8 * width


def test_overlap_is_what_the_two_intervals_share():
    """An interval that covers a third of the factual mass gets a third."""
    thirds = torch.special.ndtri(numbers(0.4, 0.5, 0.6))
    padded = torch.cat((numbers(-np.inf), thirds, numbers(np.inf)))
    a, b = torch.special.ndtri(numbers(0.45, 0.6))
    chance = overlap(a, b, padded)
    torch.testing.assert_close(chance, numbers(0, 1 / 3, 2 / 3, 0), rtol=0, atol=1e-12)
