"""Variables set to draws from a distribution: shares, closed forms, and what is refused."""

import numpy as np
import pandas as pd
import pytest
import torch
from closed_form import COMPLETE, clinic, table_of
from torch.distributions import Bernoulli, Beta, Categorical, Normal, Uniform

from cxrcausal.errors import InterventionError, UnobservedError
from cxrcausal.scm import FlowSCM

SCM = clinic()
N = 4000
MANY = table_of(SCM, COMPLETE, N)


def share(column, level):
    return (column == level).mean()


@pytest.mark.parametrize(
    "distribution",
    [{"Male": 0.3, "Female": 0.7}, Bernoulli(0.3), Categorical(torch.tensor([0.7, 0.3]))],
    ids=["mapping", "Bernoulli", "Categorical"],
)
def test_levels_by_chance(distribution):
    """Each form is the same distribution, drawn at the same uniforms."""
    world = SCM.counterfactual(MANY, {"sex": distribution}, seed=0)
    assert share(world["sex"], "Male") == pytest.approx(0.3, abs=5 * np.sqrt(0.21 / N))
    same = SCM.counterfactual(MANY, {"sex": {"Female": 0.7, "Male": 0.3}}, seed=0)
    pd.testing.assert_frame_equal(world, same)


def test_each_row_and_draw_has_its_own():
    """By (seed, label, variable, draw): alike in any chunk, order and number of draws."""
    distribution = {"sex": {"Male": 0.5, "Female": 0.5}, "age": {20: 0.5, 60.0: 0.5}}
    rows = MANY.head(50)
    whole = SCM.counterfactual(rows, distribution, num_samples=4, seed=1)
    assert whole.groupby(level=0)["sex"].nunique().max() == 2
    parts = SCM.counterfactual(rows[::-1], distribution, num_samples=4, seed=1, batch_size=7)
    pd.testing.assert_frame_equal(parts.sort_index(), whole.sort_index())
    one = SCM.counterfactual(rows, distribution, seed=1)
    pd.testing.assert_frame_equal(one, whole.xs(0, level=-1).set_axis(one.index))
    noise = SCM.abduct(rows, num_samples=4, seed=1)
    pd.testing.assert_frame_equal(SCM.predict(noise, distribution), whole)
    assert not (whole["sex"] == "Male").equals(whole["age"] == 60.0)  # independent of each other


def test_probability_under_a_distribution_is_the_mixture():
    """P(effect) under chance is the distribution's mean of P(effect) under each value, exactly."""
    rows = pd.concat(
        [table_of(SCM, COMPLETE), table_of(SCM, {"effusion": 1.0})], ignore_index=True
    )
    ask = {"of": "effusion", "seed": 0}
    each = [SCM.counterfactual_probability(rows, {"sex": v}, **ask) for v in ("Female", "Male")]
    mixed = SCM.counterfactual_probability(rows, {"sex": {"Female": 0.2, "Male": 0.8}}, **ask)
    assert mixed.attrs["standard_error"] == 0.0
    np.testing.assert_allclose(mixed, 0.2 * each[0] + 0.8 * each[1], atol=1e-12)


def test_a_distribution_for_each_row():
    """A batch of distributions: one for each row, by position; on the grid, within bounds."""
    rows = MANY.head(3)
    distribution = Uniform(torch.tensor([20.0, 30.0, 50.0]), torch.tensor([20.1, 30.1, 50.1]))
    assert SCM.counterfactual(rows, {"age": distribution}, seed=0)["age"].tolist() == [
        20.0,
        30.0,
        50.0,
    ]
    far = SCM.counterfactual(rows, {"age": Normal(500.0, 1.0)}, seed=0, clip=True)
    assert far["age"].tolist() == [60.0] * 3
    assert far.attrs["clipped"] == {"age": 3}
    by_draws = SCM.counterfactual_probability(rows, {"age": distribution}, of="edema", seed=0)
    assert by_draws.attrs["standard_error"] > 0
    exact = [
        SCM.counterfactual_probability(rows.iloc[[i]], {"age": a}, of="edema").to_numpy()
        for i, a in enumerate((20.0, 30.0, 50.0))
    ]
    np.testing.assert_allclose(by_draws, np.concatenate(exact), atol=0.09)


@pytest.mark.parametrize(
    ("do", "words"),
    [
        ({"sex": {"Male": 0.5}}, r"'sex'.* probabilities 0.5, which sum to 0.5"),
        ({"sex": {"Male": 1.5, "Female": -0.5}}, "not negative and sum to 1"),
        ({"sex": {"Mael": 1.0}}, r"'sex' to 'Mael' with some probability; allowed: 'Female'"),
        (
            {"sex": {"Male": "often"}},
            "mapping from value to probability; found the probability 'of",
        ),
        ({"sex": Normal(0.0, 1.0)}, "Normal; 'sex' has levels, so give a mapping"),
        ({"view": Bernoulli(0.5)}, r"Bernoulli of 2 values; 'view' has the levels 'PA', 'AP'"),
        ({"age": Normal(torch.zeros(2), 1.0)}, r"batch shape \(2,\).*each row \(1,\)"),
        ({"age": Normal(500.0, 1.0)}, "'age' out of bounds in 1 row"),
        ({"age": Beta(1.0, 1.0)}, r"Beta, which has no quantiles \(icdf\)"),
        ({"sex": lambda rows: {"Male": 1.0}}, "a function that returned"),
    ],
)
def test_distributions_that_are_none(do, words):
    """The message names what was asked and what is allowed."""
    with pytest.raises(InterventionError, match=words):
        SCM.counterfactual(MANY.head(1), do, seed=0)


def test_a_level_that_the_fit_never_observed_has_no_chance():
    """Not even where it happens not to be drawn."""
    seen = {**SCM.observed, "view": ("PA", "AP")}
    scm = FlowSCM.from_mechanisms(SCM.graph, SCM.mechanisms, seen)
    with pytest.raises(UnobservedError, match=r"'LATERAL'.*observed: 'PA', 'AP'"):
        scm.counterfactual(MANY.head(2), {"view": {"PA": 0.999, "LATERAL": 0.001}}, seed=0)
