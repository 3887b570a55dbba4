"""Edges of one normal: exact in the tails, monotone, and the same whatever they come from."""

import numpy as np
import pytest
import torch
from mechanisms import AGE, DOSE, EDEMA, SEX, STAGE, age_edges, draw_weights, interval, uniforms

from cxrcausal.graph.variable import Variable
from cxrcausal.scm.mechanism.flow import ContinuousFlow
from cxrcausal.scm.mechanism.interval import IntervalMechanism
from cxrcausal.scm.mechanism.normal import log_interval
from cxrcausal.scm.mechanism.spline import SplineFlow
from cxrcausal.scm.mechanism.thresholds import DirectEdges, FlowEdges

EXTREME = torch.tensor(
    [2.0**-54, 1e-9, 0.25, 0.5, 0.75, 1 - 1e-9, 1 - 2.0**-53], dtype=torch.float64
)


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def by_sex(levels, masses):
    """Returns direct edges whose probabilities are `masses` (2, levels) for women and men."""
    source = DirectEdges((SEX,), levels)
    logs = torch.as_tensor(masses, dtype=torch.float64).log()
    logits = logs[:, 1:] - logs[:, :1] if levels == 2 else logs
    linear = source.conditioner.network.linear
    linear.bias.data.copy_(logits[0])
    linear.weight.data.copy_((logits[1] - logits[0])[:, None])
    return source


def binary_pair(p_women, p_men):
    masses = [[1 - p_women, p_women], [1 - p_men, p_men]]
    mechanism = IntervalMechanism(EDEMA, (SEX,), by_sex(2, masses))
    return mechanism.requires_grad_(False)


class TestBinary:
    @pytest.mark.parametrize(("p0", "p1"), [(0.12, 0.2), (0.5, 0.9), (1e-7, 1e-6)])
    def test_a_monotone_pair_has_the_answers_of_tian_and_pearl(self, p0, p1):
        """With p1 >= p0: PS = (p1 − p0)/(1 − p0), PN = (p1 − p0)/p1, and no one is harmed."""
        mechanism = binary_pair(p0, p1)
        female, male = {"sex": numbers(0)}, {"sex": numbers(1)}
        well, ill = numbers(0), numbers(1)
        sufficiency = mechanism.transition(well, female, male)[0, 1].item()
        necessity = mechanism.transition(ill, male, female)[0, 0].item()
        assert sufficiency == pytest.approx((p1 - p0) / (1 - p0), rel=1e-9)
        assert necessity == pytest.approx((p1 - p0) / p1, rel=1e-9)
        assert mechanism.transition(ill, female, male)[0, 1].item() == 1.0

    def test_samples_follow_the_closed_form(self):
        """Of 100,000 healthy women, (p1 − p0)/(1 − p0) would have been ill as men."""
        mechanism, rows = binary_pair(0.12, 0.2), 100_000
        female, male = torch.zeros(rows).double(), torch.ones(rows).double()
        u = mechanism.abduct(female, {"sex": female}, uniforms(rows, 1))
        share = mechanism.predict(u, {"sex": male}).mean().item()
        assert share == pytest.approx(0.08 / 0.88, abs=5 * (0.09 / rows) ** 0.5)

    @pytest.mark.parametrize("logit", [-599.0, -36.0, np.log(1e-7), 0.0, 17.0, 599.0])
    def test_composition_at_any_probability(self, logit):
        """A level of probability 1e-7, or e^-599, comes back from its noise."""
        source = DirectEdges((), 2)
        source.conditioner.network.linear.bias.data.fill_(logit)
        mechanism = IntervalMechanism(EDEMA, (), source).requires_grad_(False)
        for x in (torch.zeros(7), torch.ones(7)):
            u = mechanism.abduct(x.double(), {}, EXTREME[:, None])
            assert torch.isfinite(u).all()
            assert torch.equal(mechanism.predict(u, {}), x.double())

    def test_the_logit_is_the_log_odds(self):
        """Log-probabilities keep their precision where the probability itself has none."""
        source = DirectEdges((), 2)
        source.conditioner.network.linear.bias.data.fill_(-50.0)
        mechanism = IntervalMechanism(EDEMA, (), source).requires_grad_(False)
        assert mechanism.log_prob(numbers(1), {}).item() == pytest.approx(-50.0, abs=1e-12)
        assert mechanism.log_prob(numbers(0), {}).item() == pytest.approx(-np.exp(-50), rel=1e-12)


class TestManyLevels:
    def test_a_rare_middle_level_comes_back(self):
        """Three levels of which the middle one has probability 1e-7, under either parent."""
        rare = [0.4, 1e-7, 0.6 - 1e-7], [0.999, 1e-7, 0.001 - 1e-7]
        triage = Variable("triage", "ordinal", ("green", "amber", "red"))
        mechanism = IntervalMechanism(triage, (SEX,), by_sex(3, rare)).requires_grad_(False)
        pa = {"sex": numbers(0, 1)[:, None].expand(2, 7)}
        for level in range(3):
            x = torch.full((2, 7), float(level)).double()
            u = mechanism.abduct(x, pa, EXTREME[None, :, None].expand(2, 7, 1))
            assert torch.equal(mechanism.predict(u, pa), x)
        found = mechanism.log_prob(numbers(1), {"sex": numbers(0)}).exp().item()
        assert found == pytest.approx(1e-7, rel=2e-3)  # every level keeps a share of 1e-10

    def test_impossible_levels_keep_a_share(self):
        """A level that the weights call impossible is still an interval that holds its noise."""
        source = DirectEdges((), 4)
        source.conditioner.network.linear.bias.data.copy_(numbers(0, -500, -500, 3))
        mechanism = IntervalMechanism(STAGE, (), source).requires_grad_(False)
        x = numbers(0, 1, 2, 3)
        u = mechanism.abduct(x, {}, torch.full((4, 1), 0.5).double())
        assert torch.equal(mechanism.predict(u, {}), x)

    def test_a_constant_added_to_the_logits_changes_nothing(self):
        """Only differences of logits are probabilities."""
        answers = []
        for constant in (0.0, 30.0):
            source = by_sex(4, [[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]])
            source.conditioner.network.linear.bias.data.add_(constant)
            mechanism = IntervalMechanism(STAGE, (SEX,), source).requires_grad_(False)
            pa, star = {"sex": numbers(0)}, {"sex": numbers(1)}
            answers.append(mechanism.transition(numbers(0, 1, 2, 3), pa, star))
        torch.testing.assert_close(*answers, rtol=0, atol=1e-12)

    def test_ordinal_transitions_are_monotone(self):
        """Rank is kept: the quantile range of a level meets the same range under the other."""
        source = by_sex(4, [[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]])
        mechanism = IntervalMechanism(STAGE, (SEX,), source).requires_grad_(False)
        chance = mechanism.transition(
            numbers(0, 1, 2, 3), {"sex": numbers(0)}, {"sex": numbers(1)}
        )
        half, one = 0.5, 1.0
        expected = numbers(one, 0, 0, 0, one, 0, 0, 0, 1 / 3, 2 / 3, 0, 0, 0, 0.25, half, 0.25)
        torch.testing.assert_close(chance, expected.reshape(4, 4), rtol=0, atol=1e-8)

    def test_grid_values_in_the_unit_of_the_variable(self):
        """Age is in years, not in places of the grid, and its top code is an open interval."""
        mechanism = interval(AGE, (), age_edges(ContinuousFlow(4), ()))
        assert torch.equal(mechanism.support, torch.arange(111, dtype=torch.float64))
        a, b = mechanism.interval(numbers(0, 50, 110), {})
        assert a[0] == -torch.inf
        assert b[2] == torch.inf
        assert (a < b).all()

    def test_a_variable_must_have_as_many_values_as_its_edges(self):
        """Edges of another number of levels are refused with both numbers."""
        with pytest.raises(ValueError, match="'stage' has 4 values, its edges 3 levels"):
            IntervalMechanism(STAGE, (), DirectEdges((), 3))
        with pytest.raises(ValueError, match="'dose' has a continuum of values"):
            IntervalMechanism(DOSE, (), DirectEdges((), 3))


@pytest.mark.parametrize(("variable", "levels"), [(EDEMA, 2), (STAGE, 4), (AGE, 111)])
def test_flow_and_direct_edges_with_the_same_thresholds_agree(variable, levels):
    """Likelihood and counterfactuals depend on the edges alone, not on where they come from."""
    if variable is AGE:
        source = age_edges(ContinuousFlow(6), (SEX,))
    else:
        source = FlowEdges((SEX,), levels, ContinuousFlow(4))
    flow = interval(variable, (SEX,), source, seed=3)
    female, male = {"sex": numbers(0)}, {"sex": numbers(1)}
    masses = torch.cat((flow.log_probs(female), flow.log_probs(male))).exp()
    direct = IntervalMechanism(variable, (SEX,), by_sex(levels, masses)).requires_grad_(False)
    assert float((masses[0] - masses[1]).abs().max()) > 0.01  # the parent does act
    likely = masses[0] > 1e-4  # direct levels keep a share of 1e-10
    torch.testing.assert_close(
        direct.log_probs(female)[0, likely], flow.log_probs(female)[0, likely], rtol=0, atol=1e-5
    )
    x = flow.support[likely]
    chances = [m.transition(x, female, male) for m in (flow, direct)]
    torch.testing.assert_close(*chances, rtol=0, atol=1e-5)
    u = [m.abduct(x, female, torch.full((len(x), 1), 0.37).double()) for m in (flow, direct)]
    torch.testing.assert_close(*u, rtol=0, atol=1e-5)
    assert torch.equal(flow.predict(u[0], male), direct.predict(u[1], male))


@pytest.mark.parametrize("flow", [ContinuousFlow(6, 6.0), SplineFlow(8)], ids=["cnf", "nsf"])
def test_a_rows_own_ends_are_those_of_the_whole_table(flow):
    """With a continuum of parents only two of 110 edges are computed; they are the same edges."""
    mechanism = draw_weights(
        IntervalMechanism(AGE, (DOSE,), age_edges(flow, (DOSE,))), seed=1, scale=0.1
    )
    dose = torch.linspace(-2, 2, 23).double()
    pa = {"dose": dose}
    u = torch.special.ndtri(uniforms(23, 1))
    x = mechanism.predict(u, pa)
    table = mechanism.source.padded(mechanism.conditioner(pa))
    place = (table[:, 1:-1] < u).sum(-1)
    assert torch.equal(x, mechanism.support[place])
    a, b = mechanism.interval(x, pa)
    rows = torch.arange(23)
    torch.testing.assert_close(a, table[rows, place], rtol=0, atol=1e-11)
    torch.testing.assert_close(b, table[rows, place + 1], rtol=0, atol=1e-11)
    torch.testing.assert_close(mechanism.log_prob(x, pa), log_interval(a, b), rtol=1e-9, atol=1e-9)


def test_the_spike_of_a_top_code_is_one_wide_interval():
    """A level that holds a quarter of the marginal holds it before any parent acts."""
    source = FlowEdges((), 111, ContinuousFlow(4))
    counts = torch.ones(111).double()
    counts[90] = 110 / 3
    source.start_at(counts)
    mechanism = IntervalMechanism(AGE, (), source).requires_grad_(False)
    expected = (counts + 0.5) / (counts + 0.5).sum()
    torch.testing.assert_close(mechanism.log_probs({}).exp(), expected, rtol=1e-9, atol=1e-12)
