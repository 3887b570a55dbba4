"""Gumbel-max: the exact posterior, its closed form, and the mistakes that it avoids."""

import math

import pytest
import torch
from mechanisms import SEX, SOURCE, VIEW, uniforms

from cxrcausal.graph.variable import Variable
from cxrcausal.scm.mechanism.nominal import GumbelMechanism, gumbel_transition


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


P, Q = numbers(0.5, 0.3, 0.2), numbers(0.2, 0.5, 0.3)


def mechanism_of(p, q, constant=0.0):
    """Returns a mechanism with probabilities p for women and q for men."""
    variable = Variable("ward", "nominal", tuple("abcdefg"[: len(p)]))
    mechanism = GumbelMechanism(variable, (SEX,))
    linear = mechanism.conditioner.network.linear
    linear.bias.data.copy_(p.log() + constant)
    linear.weight.data.copy_((q.log() - p.log())[:, None])
    return mechanism.requires_grad_(False)


FEMALE, MALE = {"sex": torch.zeros(1).double()}, {"sex": torch.ones(1).double()}


def test_the_table_of_oberst_and_sontag():
    """The distribution of x* given x for (.5, .3, .2) → (.2, .5, .3), row by row."""
    chance = mechanism_of(P, Q).transition(torch.arange(3).double(), FEMALE, MALE)
    expected = numbers([0.4, 0.3871, 0.2129], [0, 1, 0], [0, 0.0323, 0.9677])
    torch.testing.assert_close(chance, expected, rtol=0, atol=5e-5)


def test_staying_has_its_own_closed_form():
    """P(x = x* = i) = 1 / Σ_k max(p_k/p_i, q_k/q_i)."""
    generator = torch.Generator().manual_seed(0)
    p, q = torch.rand(2, 200, 7, generator=generator).double().softmax(-1)
    i = torch.randint(7, (200,), generator=generator)
    stay = gumbel_transition(i, p.log(), q.log()).gather(-1, i[:, None]).squeeze(-1)
    p_i, q_i = p.gather(-1, i[:, None]), q.gather(-1, i[:, None])
    joint = 1 / torch.maximum(p / p_i, q / q_i).sum(-1)
    torch.testing.assert_close(stay, joint / p_i.squeeze(-1), rtol=1e-10, atol=0)


def test_counterfactual_stability():
    """A level whose odds against the factual one did not rise cannot become the counterfactual."""
    generator = torch.Generator().manual_seed(1)
    p, q = torch.rand(2, 500, 5, generator=generator).double().softmax(-1)
    i = torch.randint(5, (500,), generator=generator)
    chance = gumbel_transition(i, p.log(), q.log())
    ratio = q / p
    other = torch.arange(5) != i[:, None]
    falls = other & (ratio <= ratio.gather(-1, i[:, None]))
    assert falls.any()
    assert (chance[falls] == 0).all()


def test_samples_follow_the_closed_form():
    """100,000 abductions and predictions of each level give its row of the table."""
    mechanism, rows = mechanism_of(P, Q), 100_000
    for level in range(3):
        x = torch.full((rows,), float(level)).double()
        u = mechanism.abduct(x, {"sex": torch.zeros(rows).double()}, uniforms(rows, 3, seed=level))
        star = mechanism.predict(u, {"sex": torch.ones(rows).double()})
        drawn = (star[:, None] == mechanism.support).double().mean(0)
        chance = mechanism.transition(x[:1], FEMALE, MALE)[0]
        assert ((drawn - chance).abs() <= 5 * (chance * (1 - chance) / rows).sqrt() + 1e-12).all()


def test_no_positive_flips_under_no_intervention():
    """P = .12 → .20: nobody changes when nothing does, and P(Y' = 1) is .20, not .178."""
    p, q = numbers(0.88, 0.12), numbers(0.8, 0.2)
    mechanism, rows = mechanism_of(p, q), 100_000
    female, male = torch.zeros(rows).double(), torch.ones(rows).double()
    prior = mechanism.prior(uniforms(rows, 2, seed=1))
    x = mechanism.predict(prior, {"sex": female})
    u = mechanism.abduct(x, {"sex": female}, uniforms(rows, 2, seed=2))
    assert torch.equal(mechanism.predict(u, {"sex": female}), x)
    share = mechanism.predict(u, {"sex": male}).mean().item()
    assert share == pytest.approx(0.2, abs=5 * (0.16 / rows) ** 0.5)


def test_a_constant_added_to_the_logits_changes_nothing():
    """Neither the posterior noise nor the transition sees the level of the logits."""
    x, uniform = torch.arange(3).double(), uniforms(3, 3)
    plain, shifted = mechanism_of(P, Q), mechanism_of(P, Q, constant=25.0)
    pa = {"sex": torch.zeros(3).double()}
    torch.testing.assert_close(
        plain.abduct(x, pa, uniform), shifted.abduct(x, pa, uniform), rtol=0, atol=1e-12
    )
    torch.testing.assert_close(
        plain.transition(x, FEMALE, MALE), shifted.transition(x, FEMALE, MALE), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("rare", [1e-7, 1e-24])
def test_composition_at_any_probability(rare):
    """A level of probability 1e-7 wins again with the noise that it was abducted from."""
    p = numbers(0.6, 0.4, rare)
    mechanism = mechanism_of(p, p.flip(0))
    extreme = numbers(2.0**-54, 1e-9, 0.5, 1 - 1e-9, 1 - 2.0**-53)
    uniform = torch.cartesian_prod(extreme, extreme, extreme)
    for sex in (0.0, 1.0):
        pa = {"sex": torch.full((125,), sex).double()}
        for level in range(3):
            x = torch.full((125,), float(level)).double()
            u = mechanism.abduct(x, pa, uniform)
            assert torch.isfinite(u).all()
            assert torch.equal(mechanism.predict(u, pa), x)
    one = mechanism.transition(numbers(2.0), FEMALE, MALE)
    assert float(one.sum()) == pytest.approx(1, abs=1e-12)


def test_a_level_that_was_never_observed_is_never_drawn():
    """It keeps a probability of e^-60, so that evidence on it breaks nothing."""
    mechanism = GumbelMechanism(VIEW, ()).requires_grad_(False)
    mechanism.start_at(numbers(0, 1), numbers(70.0, 30.0))
    p = mechanism.log_probs({}).exp()
    torch.testing.assert_close(p[:2], numbers(0.7, 0.3), rtol=1e-12, atol=0)
    assert float(p[2:].max()) == pytest.approx(math.exp(-60))
    drawn = mechanism.predict(mechanism.prior(uniforms(10_000, 4)), {})
    assert drawn.max() <= 1
    x = numbers(3.0)
    assert torch.equal(mechanism.predict(mechanism.abduct(x, {}, uniforms(1, 4)), {}), x)


def test_values_broadcast_against_a_grid_of_parents():
    """A column of values against a row of parents gives the whole table."""
    mechanism = GumbelMechanism(VIEW, (SOURCE,)).requires_grad_(False)
    sources = {"source": torch.arange(3).double()[None, :]}
    views = torch.arange(4).double()[:, None]
    assert mechanism.log_prob(views, sources).shape == (4, 3)
    assert mechanism.transition(views, sources, sources).shape == (4, 3, 4)
    assert mechanism.abduct(views, sources, uniforms(4, 3, 4)).shape == (4, 3, 4)
