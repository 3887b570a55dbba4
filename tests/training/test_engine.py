"""A step is the textbook's, the average is the recursion that it says, and a state goes on
exactly."""

import copy

import pytest
import torch
from torch import nn

from cxrcausal.training import Engine


def engine(rate=lambda step: 0.1, decay=0.9, clip=1e9):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).double()
    optimiser = torch.optim.SGD(module.parameters(), lr=1.0)
    return Engine(module, optimiser, rate, decay=decay, clip_norm=clip)


def loss_of(module, i):
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(i)).double()
    return module(x).square().mean() + module[0].weight.sum() * 0.1


def test_the_average_is_its_recursion():
    """The first step is copied; step n moves by 1 - min(decay, (1 + n) / (10 + n)); buffers
    too."""
    learner = engine()
    expected = None
    for n in range(12):
        learner.step(loss_of(learner.module, n))
        now = {k: v.clone() for k, v in learner.module.state_dict().items()}
        if expected is None:
            expected = now
            continue
        decay = min(0.9, (1 + n) / (10 + n))
        for name in ("0.weight", "0.bias", "1.running_mean"):
            expected[name] = decay * expected[name] + (1 - decay) * now[name]
    with learner.averaged():
        for name in ("0.weight", "0.bias", "1.running_mean"):
            torch.testing.assert_close(learner.module.state_dict()[name], expected[name])


def test_a_step_follows_the_schedule_and_the_norm():
    """Plain gradient descent by rate(step), the gradient shortened to the norm."""
    learner = engine(rate=lambda step: 0.5 / (step + 1), clip=1e-3)
    for n in range(3):
        before = copy.deepcopy(learner.module)
        loss = loss_of(learner.module, n)
        gradient = torch.autograd.grad(loss, list(learner.module.parameters()), retain_graph=True)
        norm = torch.cat([g.flatten() for g in gradient]).norm()
        torch.testing.assert_close(learner.step(loss), norm)
        for old, new, g in zip(
            before.parameters(), learner.module.parameters(), gradient, strict=True
        ):
            torch.testing.assert_close(
                new, old - 0.5 / (n + 1) * g * 1e-3 / norm, rtol=1e-3, atol=0
            )


def test_averaged_weights_are_lent_and_given_back_also_after_an_error():
    learner = engine()
    for n in range(3):
        learner.step(loss_of(learner.module, n))
    before = {k: v.clone() for k, v in learner.module.state_dict().items()}

    def stop():
        with learner.averaged():
            assert not torch.equal(learner.module[0].weight, before["0.weight"])
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stop()
    for name, value in learner.module.state_dict().items():
        assert torch.equal(value, before[name])
    learner.adopt_average()
    assert not torch.equal(learner.module[0].weight, before["0.weight"])


def test_a_state_goes_on_as_if_it_had_not_stopped():
    whole, first = engine(), engine()
    for n in range(6):
        whole.step(loss_of(whole.module, n))
    for n in range(3):
        first.step(loss_of(first.module, n))
    second = engine()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for n in range(3, 6):
        second.step(loss_of(second.module, n))
    assert second.steps == whole.steps == 6
    for state in ("module", "average"):
        for name, value in whole.state_dict()[state].items():
            assert torch.equal(value, second.state_dict()[state][name]), name
