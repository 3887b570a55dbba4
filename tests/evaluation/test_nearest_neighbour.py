"""A copy is found, a new radiograph is not."""

import numpy as np
import pytest
import torch

from cxrcausal.errors import ImageError
from cxrcausal.evaluation import Predictor, memorisation


def radiographs(count: int, seed: int) -> torch.Tensor:
    return torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(seed))


def test_new_samples_are_not_suspect():
    found = memorisation(radiographs(60, 1), radiographs(100, 2), radiographs(200, 3))
    assert found.suspect < 0.1
    assert found.copied == 0
    assert found.samples.distance.mean() == pytest.approx(found.held_out.distance.mean(), rel=0.05)


def test_copies_are_found_and_named():
    training = radiographs(100, 2)
    copied = (training[[17, 42]] + 0.01 * torch.randn(2, 1, 16, 16)).clamp(0, 1)
    found = memorisation(torch.cat([radiographs(8, 1), copied]), training, radiographs(200, 3))
    assert found.copied == 2
    assert found.samples.index[-2:].tolist() == [17, 42]
    assert found.samples.ratio[-1] < 0.1 < found.samples.ratio[:8].min()
    assert found.suspect >= 0.2
    assert found.summary()["copied"] == 2


def test_distance_is_root_mean_square():
    black, white = torch.zeros(2, 1, 16, 16), torch.ones(1, 1, 16, 16)
    found = memorisation(white, black, white)
    assert np.allclose(found.samples.distance, 1)


def test_features_of_a_predictor_measure_distance_too():
    predictor = Predictor("cxr19", ("sex",), size=16, width=8)
    training = radiographs(50, 2)
    found = memorisation(training[:3], training, radiographs(50, 3), predictor)
    assert found.copied == 3
    assert np.allclose(found.samples.distance, 0, atol=1e-2)


def test_says_what_is_missing():
    with pytest.raises(ImageError, match="0 samples, 5 training and 5 held-out"):
        memorisation(radiographs(0, 1), radiographs(5, 1), radiographs(5, 1))
