"""What every regression answers of itself, whatever its kind."""

import pytest
import torch
from mechanisms import continuous_mechanisms, discrete_mechanisms, logic

from cxrcausal.scm.mechanism.regression import Regression

REGRESSIONS = {
    name: mechanism
    for name, mechanism in {**discrete_mechanisms(), **continuous_mechanisms()}.items()
    if isinstance(mechanism, Regression)
}


def at_zero(mechanism):
    """Returns a mechanism of the same configuration, all of its coefficients zero."""
    fresh = type(mechanism).from_config(mechanism.variable, mechanism.parents, mechanism.config())
    return fresh.requires_grad_(False)


@pytest.mark.parametrize("name", [n for n, m in REGRESSIONS.items() if m.support is not None])
def test_it_starts_at_the_shares_of_levels(name):
    """All-zero coefficients say how often each level is, whatever the parents."""
    mechanism = at_zero(REGRESSIONS[name])
    x, weights = mechanism.support, 1e6 * (1 + torch.arange(len(mechanism.support))).double()
    mechanism.start_at(x, weights)
    theta = torch.zeros(len(x), mechanism.conditioner.outputs, dtype=torch.float64)
    found = mechanism.log_prob_given(x, theta).exp()
    torch.testing.assert_close(found, weights / weights.sum(), rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("name", REGRESSIONS)
def test_what_is_known_in_closed_form(name):
    """The shares of levels without parents are a maximum; nothing else is touched."""
    mechanism = at_zero(REGRESSIONS[name])
    before = {key: tensor.clone() for key, tensor in mechanism.state_dict().items()}
    x = torch.ones(3, dtype=torch.float64) * (120.0 if mechanism.support is None else 1.0)
    pa = {p.name: torch.zeros(3, dtype=torch.float64) for p in mechanism.parents}
    known = mechanism.fit_in_closed_form(x, pa, torch.ones(3, dtype=torch.float64))
    same = all(torch.equal(before[key], t) for key, t in mechanism.state_dict().items())
    assert known == (not mechanism.parents and mechanism.support is not None)
    assert same != known


@pytest.mark.parametrize("name", REGRESSIONS)
def test_least_squares_can_start_where_there_is_a_located_flow(name):
    """Numbers have scores that rise with them; the levels of a nominal variable have none."""
    mechanism = REGRESSIONS[name]
    assert mechanism.is_located == (name in ("age located", "age nsf", "located cnf", "nsf"))
    assert (mechanism.map is not None) == ("flow" in str(mechanism.config()))
    if name.startswith("nominal") and name != "nominal in order":
        with pytest.raises(TypeError, match="levels without an order"):
            mechanism.score(torch.zeros(1, dtype=torch.float64))
    elif mechanism.is_located:
        values = torch.tensor([101.0, 105.0, 108.0], dtype=torch.float64)
        assert bool((mechanism.score(values).diff() > 0).all())


def test_a_replicate_moves_the_last_layers_or_the_rates():
    """Tensors of the mechanism itself, so that a step changes what it says."""
    definition = logic()
    assert definition.moved_tensors()[0] is definition.rates
    for mechanism in REGRESSIONS.values():
        own = {id(tensor) for tensor in mechanism.parameters()}
        assert {id(tensor) for tensor in mechanism.moved_tensors()} <= own
