"""A reader study's analysis, on readers whose skill is known."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cxrcausal.errors import OptionError, TableError
from cxrcausal.explore import analyse_readings


def read_by(skills, pictures=200, seed=0):
    """Answers of simulated readers, each right with their own probability at every look."""
    random = np.random.default_rng(seed)
    truth = np.array(["real", "generated"])[np.arange(pictures) % 2]
    false = np.where(truth == "real", "generated", "real")
    parts = []
    for reader, skill in skills.items():
        for presentation in (1, 2):
            right = random.random(pictures) < skill
            parts.append(
                pd.DataFrame(
                    {
                        "reader": reader,
                        "picture": np.arange(pictures),
                        "presentation": presentation,
                        "truth": truth,
                        "answer": np.where(right, truth, false),
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def with_right(right, n):
    """One reader who is right about so many of n pictures."""
    table = read_by({"a": 1.0}, n)
    wrong = (table["presentation"] == 1) & (table["picture"] >= right)
    swapped = table["truth"].map({"real": "generated", "generated": "real"})
    return table.assign(answer=table["answer"].where(~wrong, swapped))


@pytest.fixture(scope="module")
def outcomes():
    """The line of accuracy for every number of right answers out of 60."""
    return [
        analyse_readings(with_right(right, 60), margin=0.2).accuracy.loc["a"]
        for right in range(61)
    ]


@pytest.mark.parametrize("skill", [0.05, 0.3, 0.5, 0.7, 0.95])
def test_intervals_hold_the_skill_as_often_as_they_say(outcomes, skill):
    chance = stats.binom.pmf(np.arange(61), 60, skill)
    held = np.array([line["lower"] <= skill <= line["upper"] for line in outcomes])
    assert chance[held].sum() >= 0.95


def test_equivalence_is_rarely_claimed_at_the_margin_and_often_at_chance(outcomes):
    claimed = np.array([line["equivalent"] for line in outcomes])
    for skill in (0.3, 0.7):
        assert stats.binom.pmf(np.arange(61), 60, skill)[claimed].sum() <= 0.05
    assert stats.binom.pmf(np.arange(61), 60, 0.5)[claimed].sum() > 0.8


def test_kappa_of_readers_of_known_skill():
    """Two independent looks with skills s and t agree with kappa (2s - 1)(2t - 1)."""
    found = analyse_readings(read_by({"expert": 0.9, "guesser": 0.5, "good": 0.8}, 20_000))
    skills = {"expert": 0.9, "guesser": 0.5, "good": 0.8}
    assert len(found.agreement) == 3 + 3
    for line in found.agreement.itertuples():
        truth = (2 * skills[line.first] - 1) * (2 * skills[line.second] - 1)
        assert line.kappa == pytest.approx(truth, abs=0.04)
        assert (line.kind == "intra") == (line.first == line.second)
    assert found.accuracy["equivalent"].to_dict() == {
        "expert": False, "good": False, "guesser": True,
    }  # fmt: skip


def test_kappa_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    table = read_by({"a": 0.8, "b": 0.6}, 50)
    first = table[table["presentation"] == 1].pivot(
        index="picture", columns="reader", values="answer"
    )
    inter = analyse_readings(table).agreement.query("kind == 'inter'")["kappa"].item()
    assert inter == pytest.approx(metrics.cohen_kappa_score(first["a"], first["b"]))


def test_neither_order_nor_the_second_look_moves_accuracy():
    table = read_by({"a": 0.8, "b": 0.6})
    found = analyse_readings(table)
    shuffled = analyse_readings(table.sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(found.accuracy, shuffled.accuracy)
    pd.testing.assert_frame_equal(found.agreement, shuffled.agreement)
    once = analyse_readings(table[table["presentation"] == 1])
    pd.testing.assert_frame_equal(found.accuracy, once.accuracy)
    assert set(once.agreement["kind"]) == {"inter"}


def test_one_answer_throughout_has_no_kappa():
    found = analyse_readings(read_by({"a": 0.5}, 20).assign(answer="real"))
    assert found.agreement["kappa"].isna().all()
    assert found.accuracy.loc["a", "accuracy"] == 0.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="truth"), "truth"),
        (lambda t: t.iloc[:0], "no answers"),
        (lambda t: t.assign(answer="fake"), "'fake'"),
        (lambda t: t.assign(presentation=3), "3"),
        (lambda t: t.assign(reader=None), "no reader"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "twice"),
        (lambda t: t.assign(truth=t["truth"].where(t.index > 0, "generated")), "both"),
        (lambda t: t[t["picture"] > 0], "as many"),
        (lambda t: t[t["presentation"] == 2], "as many"),
    ],
)
def test_what_cannot_be_analysed_is_refused_in_words(change, words):
    with pytest.raises(TableError, match=words):
        analyse_readings(change(read_by({"a": 0.5}, 20)))


@pytest.mark.parametrize("option", [{"margin": 0}, {"margin": 0.5}, {"confidence": 1}])
def test_options_have_bounds(option):
    with pytest.raises(OptionError, match=next(iter(option))):
        analyse_readings(read_by({"a": 0.5}, 20), **option)
