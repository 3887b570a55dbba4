"""The counterfactual benchmark: its truth is perfect by its own measures, its VAE comes back."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import cxrcausal as cx

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def modules():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import conditional_vae
        import phantom_counterfactuals
    finally:
        sys.path.remove(str(BENCHMARKS))
    return phantom_counterfactuals, conditional_vae


@pytest.fixture(scope="module")
def asked(modules):
    return modules[0].questions(6, seed=3, size=32)


def test_every_parent_is_set_alone_on_frontal_phantoms(modules, asked):
    graph = cx.load_graph("cxr19")
    assert set(asked.asked) == set(graph.image_parents) - {"dataset"}
    assert asked.images.shape == (6, 1, 32, 32)
    for name, (other, was_set) in asked.asked.items():
        column = graph.image_parents.index(name)
        assert was_set[:, column].all()
        assert was_set.sum() == 6
        changed = other != asked.parents
        assert torch.equal(changed, was_set)
    age = asked.asked["age"][0][:, graph.image_parents.index("age")]
    assert age.min() >= 18


def test_the_truth_has_the_whole_effect_and_no_change_has_none(modules, asked):
    effect = modules[0].effect
    for name, truth in asked.truth.items():
        if name == "race":
            assert torch.equal(truth, asked.images)
            continue
        assert effect(asked, name, truth) == pytest.approx(np.ones(6))
        assert effect(asked, name, asked.images) == pytest.approx(np.zeros(6))


def test_the_vae_gives_back_what_it_abducted_and_has_the_size_asked_for(modules, asked):
    graph = cx.load_graph("cxr19")
    attributes = tuple(graph.variables[name] for name in graph.image_parents)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = modules[1].of_equal_size(attributes, 32, 500_000)
    assert modules[0].count(vae) == pytest.approx(500_000, rel=0.3)
    noise = vae.abduct(asked.images, asked.parents)
    back = vae.predict(noise, asked.parents)
    torch.testing.assert_close(back, asked.images, atol=1e-4, rtol=0)
    loss = vae(asked.images, asked.parents, torch.zeros(6, vae.latent))
    assert loss.shape == (6,)
    assert loss.isfinite().all()
