"""Rows drawn by their parents: closed forms on small tables, and what a draw leaves alone."""

import math

import pytest
import torch

import cxrcausal as cx
from cxrcausal.image.training.balance import balanced_weights

GRAPH = cx.load_graph("cxr19")
SEX, AGE = GRAPH.variables["sex"], GRAPH.variables["age"]


def test_one_attribute_gives_every_level_the_same_share():
    parents = torch.tensor([[0.0]] * 9 + [[1.0]])
    weights = balanced_weights(parents, (SEX,))
    assert weights[:9].sum() == pytest.approx(0.5)
    assert weights[9] == pytest.approx(0.5)


def test_two_attributes_by_hand():
    """Half of the weight by sex, half by view: 1/2 (1/(2·3) + 1/(2·2)) for the first rows."""
    parents = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    weights = balanced_weights(parents, (SEX, GRAPH.variables["view"]))
    by_hand = [(1 / 6 + 1 / 4) / 2, (1 / 6 + 1 / 4) / 2, (1 / 6 + 1 / 4) / 2, (1 / 2 + 1 / 4) / 2]
    assert weights.tolist() == pytest.approx(by_hand)


def test_unknown_is_a_level_and_a_constant_attribute_counts_for_nothing():
    parents = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, math.nan]])
    weights = balanced_weights(parents, (SEX, GRAPH.variables["view"]))
    assert weights.tolist() == pytest.approx([0.25, 0.25, 0.5])


def test_the_ends_of_age_are_drawn_more_often():
    ages = torch.cat([torch.full((98,), 50.0), torch.tensor([2.0, 95.0])])[:, None]
    weights = balanced_weights(ages, (AGE,))
    assert weights[98] == pytest.approx(1 / 3)
    assert weights[99] == pytest.approx(1 / 3)


def test_rows_of_equal_parents_are_drawn_equally_often_and_all_sum_to_one():
    generator = torch.Generator().manual_seed(0)
    parents = torch.randint(0, 2, (200, 2), generator=generator).float()
    weights = balanced_weights(parents, (SEX, GRAPH.variables["view"]))
    assert weights.sum() == pytest.approx(1.0)
    for pair in torch.unique(parents, dim=0):
        same = weights[(parents == pair).all(dim=1)]
        assert torch.allclose(same, same[0].expand_as(same))


def test_where_nothing_varies_every_row_is_drawn_alike():
    assert balanced_weights(torch.zeros(4, 1), (SEX,)).tolist() == [0.25] * 4
    unknown = torch.full((2, 1), math.nan)
    assert balanced_weights(unknown, (AGE,)).tolist() == [0.5] * 2
