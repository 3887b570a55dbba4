import math

import pytest
import torch

from cxrcausal.errors import InterventionError
from cxrcausal.image import Groups, Guidance

FORMS = ["none", "cfg", "decoupled", "anchored", "nested"]


def groups(intervened: list[int], descendants: list[int], batch: int = 3, attributes: int = 5):
    was_set = torch.zeros(batch, attributes, dtype=torch.bool)
    followed = was_set.clone()
    was_set[:, intervened] = True
    followed[:, descendants] = True
    return Groups(was_set, followed, ~(was_set | followed))


def gaussian_velocity(keep: torch.Tensor) -> torch.Tensor:
    """A velocity that depends on which attributes are told, additively: the groups are
    independent."""
    return (keep * torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])).sum(-1)


def guided(guidance: Guidance, of: Groups) -> torch.Tensor:
    branches = guidance.branches(of)
    return (branches.weight * gaussian_velocity(branches.keep)).sum(0)


@pytest.mark.parametrize("form", FORMS)
def test_weights_sum_to_one(form):
    """Guidance moves between velocities and never scales them."""
    guidance = Guidance(form, intervened=2.7, descendants=1.4, invariant=0.8)
    assert math.isclose(sum(guidance.coefficients().values()), 1.0)
    branches = guidance.branches(groups([0], [1]))
    torch.testing.assert_close(branches.weight.sum(0), torch.ones(3))


@pytest.mark.parametrize("form", ["none", "cfg", "anchored", "nested"])
def test_unit_weights_give_the_conditional_velocity_in_one_branch(form):
    branches = Guidance(form).branches(groups([0], [1, 2]))
    assert branches.keep.shape[0] == 1
    assert branches.keep.all()


def test_decoupled_at_unit_weights_is_not_the_conditional_velocity():
    """The pitfall: with dependent groups a null intervention would move the image."""
    assert Guidance("decoupled").coefficients() == {
        ("invariant",): 1.0, (): -2.0, ("intervened",): 1.0, ("descendants",): 1.0,
    }  # fmt: skip


def test_nested_is_cfg_at_equal_weights():
    nested = Guidance("nested", intervened=3.0, descendants=3.0, invariant=3.0)
    assert nested.coefficients() == Guidance("cfg", intervened=3.0).coefficients()


def test_nested_is_unconditional_at_zero_weights():
    zero = Guidance("nested", intervened=0.0, descendants=0.0, invariant=0.0)
    assert zero.coefficients() == {(): 1.0}


def test_nested_equals_anchored_when_only_the_last_group_is_weighted():
    nested = Guidance("nested", descendants=2.5)
    anchored = Guidance("anchored", descendants=2.5)
    assert nested.coefficients() == anchored.coefficients()


def test_invariant_weight_of_one_needs_at_most_three_branches():
    assert len(Guidance("nested", intervened=3.0, descendants=1.5).coefficients()) == 3
    assert len(Guidance("nested", intervened=3.0, descendants=3.0).coefficients()) == 2


@pytest.mark.parametrize("form", ["decoupled", "anchored", "nested"])
def test_independent_groups_are_scaled_by_their_weight(form):
    """Where groups act independently, all three say the same: each effect times its weight."""
    guidance = Guidance(form, intervened=3.0, descendants=1.5)
    expected = 3.0 * 1.0 + 1.5 * 2.0 + (4.0 + 8.0 + 16.0)
    torch.testing.assert_close(guided(guidance, groups([0], [1])), torch.full((3,), expected))


@pytest.mark.parametrize("form", FORMS)
def test_unchanged_patients_get_the_conditional_velocity(form):
    """A patient of whom no parent changed is not guided, whoever else is in the batch."""
    mixed = groups([0], [])
    mixed.intervened[1] = False
    mixed.invariant[1] = True
    result = guided(Guidance(form, intervened=4.0), mixed)
    assert result[1] == 31.0
    alone = Groups(*(g[1:2] for g in mixed))
    assert guided(Guidance(form, intervened=4.0), alone)[0] == 31.0


@pytest.mark.parametrize("form", FORMS)
def test_batch_equals_one_by_one(form):
    mixed = groups([0], [1])
    mixed.descendants[2] = False
    mixed.invariant[2, 1] = True
    guidance = Guidance(form, intervened=2.0, descendants=3.0)
    one_by_one = [guided(guidance, Groups(*(g[i : i + 1] for g in mixed)))[0] for i in range(3)]
    torch.testing.assert_close(guided(guidance, mixed), torch.stack(one_by_one))


def test_unknown_form_names_the_nearest():
    with pytest.raises(InterventionError, match="'nestd' is unknown; did you mean 'nested'"):
        Guidance("nestd")


@pytest.mark.parametrize("weight", [math.nan, math.inf, "2", None, torch.tensor(2.0)], ids=repr)
def test_weight_must_be_a_finite_number(weight):
    with pytest.raises(InterventionError, match=r"weight descendants is .*; it must be a finite"):
        Guidance("nested", descendants=weight)


def test_unknown_form_says_what_is_allowed():
    with pytest.raises(InterventionError, match=r"'strong' is unknown\. Allowed: 'none', 'cfg'"):
        Guidance("strong")


# --- weights of single parents

NAMES = ("a", "b", "c", "d", "e")


@pytest.mark.parametrize("form", ["decoupled", "anchored", "nested"])
def test_a_parent_has_its_own_weight_where_it_is_set(form):
    """Velocities that add up show each group's weight: .5 of a, 2 of b; e is not set."""
    guidance = Guidance(form, intervened=0.5, descendants=1.5, own={"b": 2.0, "e": 3.0})
    of = groups([0, 1], [2])
    branches = guidance.branches(of, NAMES)
    total = (branches.weight * gaussian_velocity(branches.keep)).sum(0)
    by_hand = 0.5 * 1 + 2.0 * 2 + 1.5 * 4 + 1.0 * (8 + 16)
    torch.testing.assert_close(total, torch.full((3,), by_hand))
    torch.testing.assert_close(branches.weight.sum(0), torch.ones(3))


def test_an_own_weight_acts_on_those_rows_alone_that_set_the_parent():
    guidance = Guidance("nested", intervened=1.0, own={"b": 2.0})
    of = groups([0], [])
    of.intervened[1] = torch.tensor([False, True, False, False, False])
    of.invariant[1] = ~of.intervened[1]
    branches = guidance.branches(of, NAMES)
    total = (branches.weight * gaussian_velocity(branches.keep)).sum(0)
    torch.testing.assert_close(total, torch.tensor([31.0, 33.0, 31.0]))


@pytest.mark.parametrize("form", ["anchored", "nested"])
def test_own_weights_of_one_cost_no_branch(form):
    branches = Guidance(form, own={"b": 1.0}).branches(groups([1], [2]), NAMES)
    assert branches.keep.shape[0] == 1
    assert branches.keep.all()


def test_an_own_weight_equal_to_the_group_s_is_the_group_s():
    alike = Guidance("nested", intervened=2.0, own={"b": 2.0}).branches(groups([0, 1], [2]), NAMES)
    group = Guidance("nested", intervened=2.0).branches(groups([0, 1], [2]))
    velocity = [(b.weight * gaussian_velocity(b.keep)).sum(0) for b in (alike, group)]
    torch.testing.assert_close(*velocity)
    assert len(alike.keep) == len(group.keep)


def test_own_weights_that_mean_nothing_are_refused():
    with pytest.raises(InterventionError, match="cfg has one weight for the whole condition"):
        Guidance("cfg", own={"b": 2.0})
    with pytest.raises(InterventionError, match="weight own of 'b' is 'much'"):
        Guidance("nested", own={"b": "much"})
    with pytest.raises(InterventionError, match="give them by parent"):
        Guidance("nested", own=2.0)
    with pytest.raises(InterventionError, match="weight of 'bb', which is no parent"):
        Guidance("nested", own={"bb": 2.0}).branches(groups([0], []), NAMES)
