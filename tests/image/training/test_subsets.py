import pytest
import torch

import cxrcausal as cx
from cxrcausal.errors import RecipeError
from cxrcausal.image.training.subsets import SubsetMixture, descent

GRAPH = cx.load_graph("cxr19")
NAMES = list(GRAPH.image_parents)


def draw(mixture: SubsetMixture, batch: int = 4000):
    parents = torch.zeros(batch, len(NAMES))
    settable = torch.ones(len(NAMES), dtype=torch.bool)
    settable[NAMES.index("race")] = False
    generator = torch.Generator().manual_seed(0)
    return mixture.draw(parents, descent(GRAPH), settable, generator)


def test_descent_is_the_graphs():
    matrix = descent(GRAPH)
    assert matrix[NAMES.index("sex"), NAMES.index("pleural_effusion")]
    assert not matrix[NAMES.index("pleural_effusion"), NAMES.index("sex")]
    assert not matrix.diagonal().any()


def test_shares_are_as_asked():
    _, keep = draw(SubsetMixture(null=0.2, complete=0.5, rate=0.0, unknown=0.0))
    empty, full = (~keep).all(1).float().mean(), keep.all(1).float().mean()
    # Groups, the remaining 30 %, are all kept or all withheld in at least an eighth of their
    # draws.
    assert 0.2 < empty < 0.2 + 0.3 * 0.3
    assert 0.5 < full < 0.5 + 0.3 * 0.3


def test_unknown_is_not_null():
    parents, keep = draw(SubsetMixture(null=0.0, complete=1.0, rate=0.0, unknown=0.4))
    assert keep.all()
    assert abs(float(parents.isnan().float().mean()) - 0.2) < 0.02


def test_guidance_branches_are_met():
    """Sex told alone, and all but sex told, the branches of do(sex), both occur."""
    _, keep = draw(SubsetMixture(null=0.0, complete=0.0, rate=0.0, unknown=0.0), batch=20_000)
    sex = NAMES.index("sex")
    assert (keep[:, sex] & (keep.sum(1) == 1)).any()
    assert (~keep[:, sex] & (keep.sum(1) == len(NAMES) - 1)).any()
    alone = keep.sum(1) == 1
    assert not keep[alone][:, NAMES.index("race")].any()  # never told alone: nothing can set it


def test_probabilities_are_checked():
    with pytest.raises(RecipeError, match="exceed 1"):
        SubsetMixture(null=0.5, complete=0.4, rate=0.3)
    with pytest.raises(RecipeError, match=r"must lie in \[0, 1\]"):
        SubsetMixture(null=-0.1)
