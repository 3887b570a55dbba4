"""The shipped default, and synthetic patients of its own."""

import pytest

import cxrcausal as cx

STEPS = 3


@pytest.fixture(scope="module")
def model():
    return cx.load_pretrained("cxr19-tiny")


@pytest.fixture(scope="module")
def patients(model):
    return model.sample(5, seed=11, num_steps=STEPS)


@pytest.fixture(scope="module")
def answer(model, patients):
    images, rows = patients
    return model.counterfactual(images, rows, {"sex": "Male"}, num_steps=STEPS, seed=3)
