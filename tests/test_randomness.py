import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from cxrcausal.errors import OptionError, TableError
from cxrcausal.randomness import as_seed, label_words, normal, uniform

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


@pytest.mark.parametrize(
    "index",
    [
        pd.Index([3, 1, 2], dtype="int32"),
        pd.Index([3, 1, 2], dtype="uint8"),
        pd.Index([3.0, 1.0, 2.0]),
        pd.Index([3.0, 1.0, 2.0], dtype="float32"),
        pd.Index([3, 1, 2], dtype="Int64"),
        pd.Index([3, 1, 2], dtype=object),
        pd.Index([3.0, np.int64(1), 2], dtype=object),
        pd.CategoricalIndex([3, 1, 2]),
        pd.Index([3, 1, 2, "a"], dtype=object)[:3],
        pd.Index([3, 1, 2, 0.5])[:3],
    ],
    ids=lambda index: f"{type(index).__name__} {index.dtype}",
)
def test_a_whole_number_is_one_label_however_it_is_stored(index):
    """A merge that makes the labels floats, or a cast to objects, asks about the same patients."""
    words = label_words(pd.Index([3, 1, 2]))
    assert label_words(index).tolist() == words.tolist()
    pairs = [pd.MultiIndex.from_arrays([i, ["a", "b", "c"]]) for i in (index, [3, 1, 2])]
    assert label_words(pairs[0]).tolist() == label_words(pairs[1]).tolist()


def test_a_label_has_its_word_whoever_stands_beside_it():
    """Fractions, text and gaps in the same column change nobody else's numbers."""
    mixed = pd.Index([-1, 2.5, "2", "a", 2, 10**30, np.nan], dtype=object)
    words = label_words(mixed)
    assert len(set(words)) == len(mixed)
    assert words[0] == label_words(pd.Index([-1]))[0]
    assert words[1] == label_words(pd.Index([2.5, 7.0]))[0]
    assert words[2:4].tolist() == label_words(pd.Index(["2", "a"])).tolist()
    assert words[0] == label_words(pd.Index([-1.0, np.nan]))[0]


def test_a_date_is_one_label_in_every_unit():
    days = pd.to_datetime(["2020-01-01", "2021-06-30"])
    assert label_words(days.as_unit("s")).tolist() == label_words(days.as_unit("ns")).tolist()
    assert len(set(label_words(pd.DatetimeIndex(np.array(["9000-01-01"], "M8[s]"))))) == 1


def test_two_labels_of_one_word_are_refused():
    """Pandas tells these apart; a hash of their text does not, and their noise would be shared."""
    day = pd.Period("2020-01-01", "D")
    alike = pd.Index([day, str(day)], dtype=object)
    assert alike.is_unique
    with pytest.raises(TableError, match="row labels must be unique"):
        label_words(alike)


@pytest.mark.parametrize(
    "seed", [np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)], ids=repr
)
def test_a_seed_of_any_integer_type(seed):
    assert torch.equal(uniform(seed, LABELS[:5], "age"), uniform(3, LABELS[:5], "age"))
    assert type(as_seed(seed)) is int


@pytest.mark.parametrize("seed", [1.5, 2.0, "x", None, [1]], ids=repr)
def test_what_is_no_seed(seed):
    with pytest.raises(OptionError, match="a seed is a whole number; found"):
        uniform(seed, LABELS[:5], "age")


def test_a_known_number():
    """A regression: answers stored today must be found again tomorrow."""
    u = uniform(0, label_words(pd.RangeIndex(2)), "age")
    assert u.flatten().tolist() == pytest.approx(
        [0.49290706378694427, 0.7342085523919794], abs=1e-15
    )
