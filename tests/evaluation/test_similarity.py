"""Similarity of images whose similarity is known."""

import numpy as np
import pandas as pd
import pytest
import torch

from cxrcausal.errors import ImageError
from cxrcausal.evaluation import (
    Closeness,
    PatientBootstrap,
    flip,
    frechet_distance,
    structural_similarity,
)
from cxrcausal.graph import load_graph

GRAPH = load_graph("cxr19")


class Mean:
    """A predictor whose one feature is the mean of the image."""

    def embed(self, images):
        return images.mean(dim=(2, 3))


def test_ssim_is_the_published_formula():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, 1, 24, 24, generator=generator)
    assert np.allclose(structural_similarity(x, x), 1)
    flat, other = torch.full((1, 1, 16, 16), 0.4), torch.full((1, 1, 16, 16), 0.6)
    luminance = (2 * 0.4 * 0.6 + 1e-4) / (0.4**2 + 0.6**2 + 1e-4)  # no contrast, no structure
    assert structural_similarity(flat, other)[0] == pytest.approx(luminance, rel=1e-4)
    assert structural_similarity(x, 1 - x).max() < 0


def test_frechet_distance_of_normal_distributions_is_known():
    """Of deviations 1 and 3 in each of two dimensions: 2 (3 - 1)^2."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 2, generator=generator)
    assert frechet_distance(x - x.mean(0), 3 * (x - x.mean(0))) / 4 == pytest.approx(
        float(x.var(dim=0).sum()), rel=1e-4
    )
    assert frechet_distance(x, x.flip(0)) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ImageError, match="1 and 500 images"):
        frechet_distance(x[:1], x)


def test_the_smallest_change_that_is_one_is_the_minimal_one():
    """Women lie at 0 to .18, men at .5 to .68: moved to .3 a woman is beyond all other women and
    short of every man, at .9 beyond them all, and unmoved nearer than any other woman."""
    level = torch.cat([torch.arange(10) * 0.02, 0.5 + torch.arange(10) * 0.02])
    images = level[:, None, None, None].expand(20, 1, 12, 12).contiguous()
    table = pd.DataFrame(
        {
            "patient_id": [str(i) for i in range(20)],
            "sex": ["Female"] * 10 + ["Male"] * 10,
        }
    )
    question = flip(table, GRAPH, "sex").of(np.arange(20) == 0)
    closeness = Closeness(Mean(), images, table)
    bootstrap = PatientBootstrap(table["patient_id"], resamples=20)

    def measured(value):
        return closeness.measure(question, torch.full_like(images, value), bootstrap)

    e = np.e
    assert measured(0.3)["minimality"].value == pytest.approx(np.log(2))
    assert measured(0.9)["minimality"].value == pytest.approx(np.log(e + 1))
    assert measured(0.0)["minimality"].value == pytest.approx(np.log(1 + e))
    assert measured(0.1)["PSNR"].value == pytest.approx(20, abs=1e-3)
    mean_distance = float((level[1:] - level[0]).mean())
    assert measured(0.1)["feature distance"].value == pytest.approx(0.1 / mean_distance, rel=1e-4)
