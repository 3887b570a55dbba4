"""What the parents are worth in nats, against Gaussians whose likelihood is known."""

import math

import pytest
import torch

from cxrcausal.image.training.nats import conditional_bound, parents_worth


class GaussianFlow:
    """The exact flow of x ~ N(shift · c, s²) per pixel, where c is the first parent."""

    device = torch.device("cpu")

    def __init__(self, shift: float, std: float) -> None:
        self.shift, self.std = shift, std

    def __call__(self, images, parents, keep, t, noise):
        c = parents[:, :1, None, None]
        known = keep[:, :1, None, None]
        # Conditioned on nothing the mean is 0 and the variance that of the mixture.
        mean = torch.where(known, self.shift * c, 0.0)
        variance = torch.where(known, self.std**2, self.std**2 + self.shift**2)
        t = t[:, None, None, None]
        x_t = (1 - t) * noise + t * images
        gain = (t * variance - (1 - t)) / (t**2 * variance + (1 - t) ** 2)
        velocity = mean + gain * (x_t - t * mean)
        return (velocity - (images - noise)).square().flatten(1).mean(dim=1)


def gaussian_images(rows: int, pixels: int, shift: float, std: float):
    generator = torch.Generator().manual_seed(1)
    c = torch.randint(0, 2, (rows, 1), generator=generator).float() * 2 - 1
    noise = torch.randn(rows, 1, pixels, pixels, generator=generator)
    return shift * c[:, :, None, None] + std * noise, c


def test_the_gap_is_the_information_of_one_gaussian_pixel():
    """KL of N(±m, s²) from N(0, s² + m²), in nats: ½ log(1 + m²/s²), if m is small the truth."""
    shift, std = 0.1, 0.5
    images, parents = gaussian_images(4000, 1, shift, std)
    worth = parents_worth(GaussianFlow(shift, std), images, parents, repeats=8)
    assert worth["nats_gap"] == pytest.approx(0.5 * math.log(1 + shift**2 / std**2), rel=0.15)


def test_the_late_part_is_a_part():
    images, parents = gaussian_images(200, 2, 0.5, 0.2)
    worth = parents_worth(GaussianFlow(0.5, 0.2), images, parents)
    assert 0 < worth["nats_gap_late"] < worth["nats_gap"]


def test_the_same_questions_at_every_call_and_in_any_batch():
    images, parents = gaussian_images(50, 2, 0.5, 0.2)
    flow = GaussianFlow(0.5, 0.2)
    whole = conditional_bound(flow, images, parents)[0]
    assert torch.equal(whole, conditional_bound(flow, images, parents)[0])
    parts = conditional_bound(flow, images, parents, batch_size=7)[0]
    assert torch.allclose(whole, parts, rtol=1e-5)


def test_nobody_is_worth_nothing():
    empty = conditional_bound(GaussianFlow(1.0, 1.0), torch.zeros(0, 1, 2, 2), torch.zeros(0, 1))
    assert [len(x) for x in empty] == [0, 0]
