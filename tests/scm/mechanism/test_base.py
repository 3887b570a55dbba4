"""What every mechanism has without saying it, and prediction where its inputs are known."""

import torch
from closed_form import LinearMechanism

from cxrcausal.graph import Variable
from cxrcausal.scm.mechanism.base import lacking, predict_known

NAN = torch.nan
A, X = (Variable(name, "continuous") for name in "ax")


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_rows_that_lack_something():
    """None where nothing is NaN, so that the common case costs no look-up."""
    assert lacking(numbers(1, 2), numbers(3, 4)) is None
    assert lacking(numbers(1, NAN, 3), numbers(4, 5, NAN)).tolist() == [False, True, True]
    assert lacking() is None


def test_prediction_where_noise_and_parents_are_known():
    """Other rows keep what they are given, those not asked for too."""
    mechanism = LinearMechanism(X, (A,), weights=(2.0,), intercept=1.0)
    u, otherwise = numbers(0.5, NAN, 0.5, 0.5)[:, None], numbers(-1, -2, -3, -4)
    pa = {"a": numbers(10, 10, NAN, 20)}
    assert predict_known(mechanism, u, pa, otherwise).tolist() == [21.5, -2, -3, 41.5]
    among = torch.tensor([True, True, True, False])
    assert predict_known(mechanism, u, pa, otherwise, among).tolist() == [21.5, -2, -3, -4]
    whole = predict_known(mechanism, u[:1], {"a": numbers(10)}, otherwise[:1])
    assert whole.tolist() == [21.5]


def test_a_mechanism_of_its_variables_alone_needs_no_configuration():
    """It is built again from them, has no maximum in closed form and no replicates."""
    mechanism = LinearMechanism(X, ())
    assert mechanism.config() == {}
    again = LinearMechanism.from_config(X, (), mechanism.config())
    assert type(again) is LinearMechanism
    assert again.variable is X
    ones = torch.ones(3, dtype=torch.float64)
    assert not mechanism.fit_in_closed_form(ones, {}, ones)
    assert mechanism.moved_tensors() == []
