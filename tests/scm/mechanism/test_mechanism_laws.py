"""What every mechanism must obey, whatever its kind and its weights."""

import copy
import json
import pickle

import pytest
import torch
from mechanisms import (
    continuous_mechanisms,
    discrete_mechanisms,
    kolmogorov_smirnov,
    parent_values,
    uniforms,
)

from cxrcausal.scm.fit.choice import MECHANISMS

DISCRETE = discrete_mechanisms()
CONTINUOUS = continuous_mechanisms()
EVERY = DISCRETE | CONTINUOUS
discrete = pytest.mark.parametrize("mechanism", DISCRETE.values(), ids=DISCRETE)
continuous = pytest.mark.parametrize("mechanism", CONTINUOUS.values(), ids=CONTINUOUS)
every = pytest.mark.parametrize("mechanism", EVERY.values(), ids=EVERY)


def in_chunks(function, rows, size):
    """Returns a function of a slice, applied to slices of `size` rows and put together."""
    return torch.cat([function(slice(i, i + size)) for i in range(0, rows, size)])


def sample(mechanism, pa, rows, seed):
    prior = mechanism.prior(uniforms(rows, mechanism.noise_size, seed=seed))
    return mechanism.predict(prior, pa)


@discrete
@pytest.mark.parametrize("size", [1, 37, 400])
def test_composition_is_bit_exact_in_batches_of_any_size(mechanism, size):
    """Any value, likely or not, comes back from its abducted noise (Galles and Pearl, 1998)."""
    rows = 400
    pa = parent_values(mechanism, rows)
    place = torch.arange(rows) % len(mechanism.support)
    x = mechanism.support[place]
    u = mechanism.abduct(x, pa, uniforms(rows, mechanism.noise_size))
    assert torch.isfinite(u).all()
    few = min(rows, 60 * size)
    back = in_chunks(
        lambda s: mechanism.predict(u[s], {name: v[s] for name, v in pa.items()}), few, size
    )
    assert torch.equal(back, x[:few])


@continuous
def test_continuous_composition(mechanism):
    """A continuum comes back to a billionth of its spread, from a unique noise."""
    rows = 300
    pa = parent_values(mechanism, rows)
    x = sample(mechanism, pa, rows, seed=1)
    u = mechanism.abduct(x, pa, uniforms(rows, 1))
    assert torch.equal(u, mechanism.abduct(x, pa, uniforms(rows, 1, seed=9)))
    assert float((mechanism.predict(u, pa) - x).abs().max()) < 1e-9 * float(x.std())


@every
def test_abducted_noise_of_observed_rows_is_the_prior(mechanism):
    """Over the observational distribution the posterior averages to the prior, for every
    noise component.
    """
    rows = 10_000
    pa = parent_values(mechanism, rows)
    x = sample(mechanism, pa, rows, seed=1)
    u = mechanism.abduct(x, pa, uniforms(rows, mechanism.noise_size, seed=2))
    for component in u.unbind(-1):
        if type(mechanism).__name__ == "GumbelMechanism":
            statistic = kolmogorov_smirnov(component, lambda g: torch.exp(-torch.exp(-g)))
        else:
            statistic = kolmogorov_smirnov(component, torch.special.ndtr)
        assert statistic < 1.95 / rows**0.5  # what chance exceeds once in a thousand


@discrete
def test_probabilities_are_those_of_the_samples(mechanism):
    """Levels are drawn as often as their probability says, and the probabilities sum to one."""
    rows = 10_000
    pa = {name: v[:1].expand(rows) for name, v in parent_values(mechanism, 1, seed=3).items()}
    p = mechanism.log_probs({name: v[:1] for name, v in pa.items()}).exp().reshape(-1)
    assert float(p.sum()) == pytest.approx(1, abs=1e-9)
    x = sample(mechanism, pa, rows, seed=4)
    drawn = (x[:, None] == mechanism.support).double().mean(0)
    assert ((drawn - p).abs() <= 5 * (p * (1 - p) / rows).sqrt() + 1e-4).all()


@discrete
def test_log_prob_is_an_entry_of_log_probs(mechanism):
    """Both say the same of a level, in whatever shape the parents come."""
    rows = 64
    pa = parent_values(mechanism, rows, seed=5)
    x = sample(mechanism, pa, rows, seed=6)
    table = mechanism.log_probs(pa).expand(rows, -1)
    place = torch.searchsorted(mechanism.support, x)
    entry = table.gather(-1, place[:, None]).squeeze(-1)
    torch.testing.assert_close(mechanism.log_prob(x, pa), entry, rtol=1e-6, atol=1e-6)
    columns = {name: v[:, None] for name, v in pa.items()}
    grid = mechanism.log_prob(mechanism.support[None, :], columns)
    torch.testing.assert_close(grid.expand(rows, -1), table, rtol=1e-6, atol=1e-6)


@discrete
def test_transition_is_the_distribution_of_abduct_and_predict(mechanism):
    """The closed form is what many draws of the noise give under other parents."""
    draws = 10_000
    pa = {n: v.expand(draws) for n, v in parent_values(mechanism, 1, seed=7).items()}
    star = {n: v.expand(draws) for n, v in parent_values(mechanism, 1, seed=8).items()}
    x = sample(mechanism, pa, draws, seed=9)[:1].expand(draws)
    one = {n: v[:1] for n, v in pa.items()}, {n: v[:1] for n, v in star.items()}
    chance = mechanism.transition(x[:1], *one)[0]
    u = mechanism.abduct(x, pa, uniforms(draws, mechanism.noise_size, seed=10))
    drawn = (mechanism.predict(u, star)[:, None] == mechanism.support).double().mean(0)
    assert float(chance.sum()) == pytest.approx(1, abs=1e-12)
    assert ((drawn - chance).abs() <= 5 * (chance * (1 - chance) / draws).sqrt() + 1e-4).all()


@discrete
def test_unchanged_parents_keep_the_value(mechanism):
    """Under the factual parents the transition is the identity."""
    rows = 50
    pa = parent_values(mechanism, rows, seed=11)
    x = sample(mechanism, pa, rows, seed=12)
    chance = mechanism.transition(x, pa, pa)
    kept = (x[:, None] == mechanism.support).double()
    torch.testing.assert_close(chance, kept, rtol=0, atol=1e-9)


@discrete
def test_counterfactuals_average_to_the_interventional_distribution(mechanism):
    """Over x as observed, transitions give the distribution under the other parents."""
    pa, star = parent_values(mechanism, 5, seed=13), parent_values(mechanism, 5, seed=14)
    levels = mechanism.support
    p = mechanism.log_probs(pa).exp().expand(5, -1)
    columns = [{n: v[:, None] for n, v in parents.items()} for parents in (pa, star)]
    chance = mechanism.transition(levels.expand(5, -1), *columns)
    averaged = (p[..., None] * chance).sum(1)
    expected = mechanism.log_probs(star).exp().expand(5, -1)
    torch.testing.assert_close(averaged, expected, rtol=0, atol=1e-8)


@every
def test_config_and_state_rebuild_the_mechanism(mechanism):
    """A mechanism is its class, its JSON and its tensors; nothing else is needed."""
    rows = 40
    pa = parent_values(mechanism, rows, seed=15)
    u = mechanism.prior(uniforms(rows, mechanism.noise_size, seed=16))
    config = json.loads(json.dumps(mechanism.config()))
    cls = MECHANISMS[type(mechanism).__name__]
    rebuilt = cls.from_config(mechanism.variable, mechanism.parents, config)
    rebuilt.load_state_dict(mechanism.state_dict())
    for other in (rebuilt, copy.deepcopy(mechanism), pickle.loads(pickle.dumps(mechanism))):
        assert torch.equal(other.predict(u, pa), mechanism.predict(u, pa))


@discrete
def test_half_precision_weights_leave_composition_exact(mechanism):
    """Weights stored in half precision are computed with in float64."""
    stored = {name: tensor.half() for name, tensor in mechanism.state_dict().items()}
    config = mechanism.config()
    loaded = type(mechanism).from_config(mechanism.variable, mechanism.parents, config)
    loaded.load_state_dict(stored)
    loaded.requires_grad_(False)
    rows = 200
    pa = parent_values(loaded, rows, seed=17)
    x = sample(loaded, pa, rows, seed=18)
    u = loaded.abduct(x, pa, uniforms(rows, loaded.noise_size, seed=19))
    assert u.dtype == torch.float64
    assert torch.equal(loaded.predict(u, pa), x)


@pytest.mark.parametrize("name", ["binary few", "age cnf", "nominal alone"])
def test_tables_follow_the_weights(name):
    """What was remembered of every parent configuration is forgotten when a weight changes."""
    mechanism = copy.deepcopy(DISCRETE[name])
    pa = parent_values(mechanism, 30, seed=20)
    before = mechanism.log_probs(pa)
    state = {n: t.clone() for n, t in mechanism.state_dict().items()}
    bias = next(n for n in state if n.endswith("network.linear.bias"))
    state[bias] += torch.linspace(0.5, 1.0, mechanism.conditioner.outputs)
    mechanism.load_state_dict(state)
    fresh = type(mechanism).from_config(mechanism.variable, mechanism.parents, mechanism.config())
    fresh.load_state_dict(state)
    assert torch.equal(mechanism.log_probs(pa), fresh.log_probs(pa))
    assert not torch.equal(mechanism.log_probs(pa), before)


@every
def test_the_loss_has_gradients(mechanism):
    """`forward` is a training loss: finite, with finite gradients of every weight that acts."""
    mechanism = copy.deepcopy(mechanism).requires_grad_(True)
    parameters = list(mechanism.parameters())
    pa = parent_values(mechanism, 50, seed=21)
    x = sample(mechanism, pa, 50, seed=22).detach()
    loss = mechanism(x, pa).mean()
    assert torch.isfinite(loss)
    if parameters:
        loss.backward(inputs=parameters)
        assert all(p.grad is None or torch.isfinite(p.grad).all() for p in parameters)
        assert any(p.grad is not None and bool((p.grad != 0).any()) for p in parameters)


@continuous
def test_a_continuum_has_no_tables(mechanism):
    """Asking a continuum for its list of values names the variable."""
    assert mechanism.support is None
    pa = parent_values(mechanism, 2)
    with pytest.raises(TypeError, match=f"{mechanism.variable.name!r} is a continuum"):
        mechanism.log_probs(pa)
    with pytest.raises(TypeError, match="no table of transitions"):
        mechanism.transition(torch.zeros(2), pa, pa)
