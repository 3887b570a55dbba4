"""A radiograph that does not come back from its own noise is said, row by row; others are not."""

import logging

import numpy as np
import pytest
import torch

from cxrcausal.counterfactual.round_trip import FLOOR, TIMES, RoundTrip, round_trip_error


@pytest.fixture(scope="module")
def patients(model):
    return model.sample(2, seed=2)


def test_a_negative_is_said_and_a_radiograph_is_not(model, patients, caplog):
    """By row, in words, in the answer and in the figure; at the default solver."""
    images, rows = patients
    both = torch.cat((images[:1], 1.0 - images[1:]))
    with caplog.at_level(logging.WARNING, logger="cxrcausal"):
        answer = model.counterfactual(both, rows, {"sex": "Male"}, num_samples=2, seed=0)
    assert answer.not_reconstructed.tolist() == [False, True]
    assert answer.not_reconstructed.index.equals(rows.index)
    expected = round_trip_error(both, answer.reconstruction)
    np.testing.assert_allclose(answer.reconstruction_error, expected)
    assert "1 radiograph(s) do not come back from their own noise, rows 1" in caplog.text
    labels = [ax.get_ylabel() for ax in answer.plot().axes]
    assert sum("does not come back" in label for label in labels) == 2


def test_the_models_own_images_are_no_alarm(model, patients, caplog):
    images, rows = patients
    with caplog.at_level(logging.WARNING, logger="cxrcausal"):
        answer = model.counterfactual(images, rows, {"sex": "Male"}, seed=0)
    assert not answer.not_reconstructed.any()
    assert "come back" not in caplog.text


def test_a_coarse_solver_is_compared_with_itself(model, patients):
    """With few steps everything comes back badly: the solver's error, not the radiograph's."""
    images, rows = patients
    answer = model.counterfactual(images, rows, {"sex": "Male"}, num_steps=3, seed=0)
    assert (answer.reconstruction_error > FLOOR).all()
    assert not answer.not_reconstructed.any()


def test_small_errors_cost_nothing_to_assess(model):
    trip = RoundTrip(model.image, model.graph)
    assert trip.most(np.array([FLOOR / 2]), None) == FLOOR
    assert not trip._own
    assert trip.most(np.array([1.0]), 2) == max(FLOOR, TIMES * trip.own(2))
    assert trip.own(2) == RoundTrip(model.image, model.graph).own(2)


def test_metadata_alone_have_no_reconstruction(model, patients):
    answer = model.counterfactual(None, patients[1], {"sex": "Male"}, metadata_only=True)
    assert answer.reconstruction_error.isna().all()
    assert not answer.not_reconstructed.any()
