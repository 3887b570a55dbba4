"""What a blinded reader study shows: can readers tell generated radiographs from real ones?

Every reader sees the same pictures in two presentations, half of them real. Accuracy is that of
the first presentation: the second shows the same pictures again, so its answers are not
independent of the first, and serve for how far a reader agrees with themselves. Readers share
pictures, so accuracies are given reader by reader and never pooled.

References:
    | The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial
    | (Clopper and Pearson, 1934), https://doi.org/10.1093/biomet/26.4.404
    | A comparison of the two one-sided tests procedure and the power approach for assessing the
    | equivalence of average bioavailability (Schuirmann, 1987), https://doi.org/10.1007/BF01068419
    | A Coefficient of Agreement for Nominal Scales (Cohen, 1960),
    | https://doi.org/10.1177/001316446002000104
"""

from dataclasses import dataclass
from itertools import combinations
from typing import final

import numpy as np
import pandas as pd
from scipy import stats

from cxrcausal.errors import OptionError, TableError, summarise

__all__ = ["Readings", "analyse_readings"]

_COLUMNS = ("reader", "picture", "presentation", "truth", "answer")
_WORDS = ("real", "generated")


@final
@dataclass(frozen=True)
class Readings:
    """What readers told apart, and how far they agree.

    Attributes:
        accuracy: One line per reader: `pictures`, `accuracy` (a share), `lower` and `upper` (exact
            binomial interval), `p_equivalence` and `equivalent` to chance within the margin.
        agreement: One line per reader with themselves (`kind` is intra) and per pair of readers
            (inter, first presentation): `first`, `second`, `pictures`, `kappa`, which is NaN where
            both gave one and the same answer throughout.
        margin: Largest distance from chance, 0.5, that counts as none.
        confidence: That of the intervals.
    """

    accuracy: pd.DataFrame
    agreement: pd.DataFrame
    margin: float
    confidence: float


def analyse_readings(
    answers: pd.DataFrame, *, margin: float = 0.1, confidence: float = 0.95
) -> Readings:
    """Returns what the readers of a blinded study told apart, and how far they agree.

    A reader is equivalent to chance if both one-sided exact tests, against 0.5 - margin and
    0.5 + margin, reject at level 0.05.

    Arguments:
        answers: One line per answer: `reader`, `picture`, `presentation` (1 or 2), `truth` and
            `answer` (each `real` or `generated`).
        margin: Largest distance from chance that counts as none, above 0 and below 0.5.
        confidence: Of the intervals of accuracy, above 0 and below 1.

    Raises:
        OptionError: If the margin or the confidence is out of its bounds.
        TableError: If a column is missing, a cell is none of its words, an answer is given twice,
            a picture is both real and generated, or a reader did not see as many real as generated
            pictures, since guessing is right half of the time only then.
    """
    if not 0 < margin < 0.5:
        raise OptionError(f"margin is {margin!r}; give a number above 0 and below 0.5")
    if not 0 < confidence < 1:
        raise OptionError(f"confidence is {confidence!r}; give a number above 0 and below 1")
    _check(answers)
    said = {
        key: rows.set_index("picture")["answer"]
        for key, rows in answers.groupby(["reader", "presentation"])
    }
    readers = sorted(answers["reader"].unique())
    first = answers[answers["presentation"] == 1]
    accuracy = [
        _accuracy(reader, rows, margin, confidence) for reader, rows in first.groupby("reader")
    ]
    pairs = [("intra", a, a, said[a, 1], said[a, 2]) for a in readers if (a, 2) in said]
    pairs += [("inter", a, b, said[a, 1], said[b, 1]) for a, b in combinations(readers, 2)]
    agreement = [
        {"kind": kind, "first": a, "second": b, **_agreement(one, other)}
        for kind, a, b, one, other in pairs
    ]
    columns = ["kind", "first", "second", "pictures", "kappa"]
    return Readings(
        pd.DataFrame(accuracy).set_index("reader"),
        pd.DataFrame(agreement, columns=columns),
        margin,
        confidence,
    )


def _check(answers: pd.DataFrame) -> None:
    missing = [name for name in _COLUMNS if name not in answers]
    if missing:
        raise TableError(f"answers have no column {summarise(missing)}; needed: {_COLUMNS}")
    if answers.empty:
        raise TableError("there are no answers; give one line per reader, picture, presentation")
    for name, allowed in (("presentation", (1, 2)), ("truth", _WORDS), ("answer", _WORDS)):
        wrong = answers.loc[~answers[name].isin(allowed), name].unique()
        if len(wrong):
            raise TableError(f"{name} {summarise(wrong)} is not one of {allowed}")
    if answers[["reader", "picture"]].isna().any(axis=None):
        raise TableError("an answer has no reader or no picture; name both")
    twice = answers[answers.duplicated(["reader", "picture", "presentation"])]
    if len(twice):
        line = twice.iloc[0]
        raise TableError(
            f"reader {line['reader']!r} answers picture {line['picture']!r} twice in presentation "
            f"{line['presentation']}; keep one of them"
        )
    kinds = answers.groupby("picture")["truth"].nunique()
    if (kinds > 1).any():
        raise TableError(f"picture {kinds.idxmax()!r} is both real and generated; it is one")
    first = answers[answers["presentation"] == 1]
    for reader in answers["reader"].unique():
        truth = first.loc[first["reader"] == reader, "truth"]
        real = int((truth == "real").sum())
        if not len(truth) or 2 * real != len(truth):
            raise TableError(
                f"reader {reader!r} saw {real} real and {len(truth) - real} generated pictures at "
                "first; guessing is right half of the time only if both are as many, and some"
            )


def _accuracy(
    reader: object, rows: pd.DataFrame, margin: float, confidence: float
) -> dict[str, object]:
    n, right = len(rows), int((rows["answer"] == rows["truth"]).sum())
    interval = stats.binomtest(right, n).proportion_ci(confidence, "exact")
    above = stats.binomtest(right, n, 0.5 - margin, alternative="greater").pvalue
    below = stats.binomtest(right, n, 0.5 + margin, alternative="less").pvalue
    return {
        "reader": reader,
        "pictures": n,
        "accuracy": right / n,
        "lower": float(interval.low),
        "upper": float(interval.high),
        "p_equivalence": float(max(above, below)),
        "equivalent": bool(max(above, below) <= 0.05),
    }


def _agreement(one: pd.Series, other: pd.Series) -> dict[str, object]:
    """Returns Cohen's kappa of two series of answers, over the pictures that both have."""
    both = one.index.intersection(other.index)
    a, b = (np.asarray(answers[both] == "real") for answers in (one, other))
    if not len(both):
        return {"pictures": 0, "kappa": float("nan")}
    agreed = (a == b).mean()
    by_chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
    kappa = (agreed - by_chance) / (1 - by_chance) if by_chance < 1 else float("nan")
    return {"pictures": len(both), "kappa": float(kappa)}
