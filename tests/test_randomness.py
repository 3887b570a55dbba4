import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from cxrcausal.errors import TableError
from cxrcausal.randomness import label_words, normal, uniform

LABELS = label_words(pd.RangeIndex(20_000))


def test_a_number_depends_on_its_label_alone():
    """Whoever else is asked about, and in which order, a patient's numbers stay."""
    whole = uniform(7, LABELS, "age", size=2)
    order = np.random.default_rng(0).permutation(len(LABELS))[:50]
    assert torch.equal(uniform(7, LABELS[order], "age", size=2), whole[order])


@pytest.mark.parametrize(
    "other",
    [
        uniform(8, LABELS, "age"),
        uniform(7, LABELS, "sex"),
        uniform(7, LABELS, "age", draws=1),
        uniform(7, LABELS, "age", size=2)[:, 1:],
    ],
    ids=["seed", "variable", "draw", "component"],
)
def test_streams_are_independent(other):
    first = uniform(7, LABELS, "age")
    correlation = np.corrcoef(first[:, 0], other[:, 0])[0, 1]
    assert abs(correlation) < 5 / np.sqrt(len(LABELS))


def test_uniforms_are_uniform_and_inside():
    u = uniform(0, LABELS, "x", size=5)
    assert u.min() > 0
    assert u.max() < 1
    assert stats.kstest(u.flatten().numpy(), "uniform").statistic < 0.01


def test_normals_are_normal():
    assert stats.kstest(normal(0, LABELS, "x").flatten().numpy(), "norm").statistic < 0.015


def test_draws_of_one_label_differ():
    u = uniform(0, np.repeat(LABELS[:1], 100), "x", draws=np.arange(100))
    assert len(torch.unique(u)) == 100


def test_labels_of_any_kind():
    for index in (
        pd.Index(["a", "b"]),
        pd.Index([1.5, 2.5]),
        pd.MultiIndex.from_product([[1], ["a", "b"]]),
    ):
        assert len(set(label_words(index))) == 2


def test_repeated_labels_are_refused():
    with pytest.raises(TableError, match=r"row labels must be unique.*repeated: 'a'.*reset_index"):
        label_words(pd.Index(["a", "b", "a"]))


def test_a_known_number():
    """A regression: answers stored today must be found again tomorrow."""
    u = uniform(0, label_words(pd.RangeIndex(2)), "age")
    assert u.flatten().tolist() == pytest.approx(
        [0.49290706378694427, 0.7342085523919794], abs=1e-15
    )
