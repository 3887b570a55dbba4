"""What an audit says in numbers: shifts and flips beside their controls, and gaps between groups.

Every figure is a mean over patients with a percentile interval of a bootstrap that resamples
patients; paired figures see the same resamples. The probability that a shift is chance is
corrected for the number of questions by Holm's method.

References:
    | Counterfactual Fairness (Kusner et al., 2017), https://arxiv.org/abs/1703.06856
    | Equality of Opportunity in Supervised Learning
    | (Hardt, Price and Srebro, 2016), https://arxiv.org/abs/1610.02413
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pandas as pd

from cxrcausal.bootstrap import Interval, PatientBootstrap, Statistic, weighted_auc, weighted_mean
from cxrcausal.graph.falsification.falsify import holm

__all__ = [
    "Scores",
    "effects",
    "gaps",
    "group_rates",
    "individual_curves",
    "label_noise_that_explains",
    "with_label_noise",
]


@final
@dataclass(frozen=True)
class Scores:
    """The scores (rows, outputs) of one contrast's radiographs and of their controls.

    Arguments:
        attribute: The protected attribute.
        origin: Its level in this world.
        target: Its level in the other.
        rows: Which radiographs they are, numbers.
        image: Of the radiographs themselves.
        reconstruction: Of what came back from their noise.
        counterfactual: In the other world.
        back: There and back.
        placebo: With another patient's difference.
        alone: Of two attributes that were changed at once, with each changed alone, (2, rows,
            outputs).
        unimputed: The change of the scores, where parents that nobody knows were left unknown.
        effective: Where a check reads the target back, (rows,) bool.
        label: What is true in this world, 1 or 0, NaN where unknown.
        label_there: What is true in the other.
    """

    attribute: str
    origin: str
    target: str
    rows: np.ndarray
    image: np.ndarray
    reconstruction: np.ndarray
    counterfactual: np.ndarray
    back: np.ndarray
    placebo: np.ndarray
    alone: np.ndarray | None = None
    unimputed: np.ndarray | None = None
    effective: np.ndarray | None = None
    label: np.ndarray | None = None
    label_there: np.ndarray | None = None

    def changes(self, output: int) -> dict[str, np.ndarray]:
        """Returns the change of one output (rows,) from the reconstruction, by world."""
        from_here = self.reconstruction[:, output]
        return {
            "shift": self.counterfactual[:, output] - from_here,
            "there_and_back": self.back[:, output] - from_here,
            "placebo": self.placebo[:, output] - from_here,
        }

    def flips(self, output: int, threshold: float) -> dict[str, np.ndarray]:
        """Returns where a decision of one output (rows,) becomes the other, by world."""
        here = self.reconstruction[:, output] > threshold
        worlds = {
            "flip_rate": self.counterfactual,
            "there_and_back_flips": self.back,
            "placebo_flips": self.placebo,
        }
        return {
            name: ((scores[:, output] > threshold) != here).astype(float)
            for name, scores in worlds.items()
        }

    def others(self, output: int, threshold: float) -> dict[str, Statistic]:
        """Returns what else was asked of one output, by name, as statistics of row weights.

        `interaction`, of two attributes at once, is what their common shift has beyond the sum of
        their single ones; `unimputed_shift` is the shift where unknown parents were left unknown,
        `effective_shift` that of the radiographs in which the target is read back, and
        `effective` their share; `tpr_change` and `fpr_change` are of the decisions, each world's
        by its own labels.
        """
        here, there = self.reconstruction[:, output], self.counterfactual[:, output]
        asked: dict[str, Statistic] = {}
        if self.alone is not None:
            asked["interaction"] = weighted_mean(
                there + here - self.alone[..., output].sum(axis=0)
            )
        if self.unimputed is not None:
            asked["unimputed_shift"] = weighted_mean(self.unimputed[:, output])
        if self.effective is not None:
            shift = np.where(self.effective, there - here, np.nan)
            asked["effective_shift"] = weighted_mean(shift)
            asked["effective"] = weighted_mean(self.effective.astype(float))
        if self.label is not None and self.label_there is not None:
            for name, truth in (("tpr_change", 1.0), ("fpr_change", 0.0)):
                before = _rate(here > threshold, self.label[:, output] == truth)
                after = _rate(there > threshold, self.label_there[:, output] == truth)
                asked[name] = _difference(after, before)
        return asked


def effects(
    found: list[Scores],
    outputs: tuple[str, ...],
    thresholds: Mapping[str, float],
    resampled: Callable[[np.ndarray], PatientBootstrap],
    margin: float = 0.0,
) -> pd.DataFrame:
    """Returns every contrast's figures for every output, a line each.

    Arguments:
        found: The scores of every contrast.
        outputs: The classifier's outputs.
        thresholds: Above which an output decides, by output.
        resampled: Resamples the patients of some radiographs (rows,).
        margin: How far a score may be moved by the image model's own error.

    Returns:
        Per output and contrast: `shift` of the score, `there_and_back` and `placebo` beside it,
        `beyond` (the size of the shift beyond that of there and back), `worst` (the largest shift
        of one radiograph), `flip_rate` and those of the controls, and what `Scores.others` says,
        each with `_low` and `_high`; `p` after Holm, and `differs`: p is less than 1 - confidence
        of the bootstrap, and the interval of `beyond` lies above the margin.
    """
    lines = []
    bootstraps = [resampled(scores.rows) for scores in found]
    for scores, bootstrap in zip(found, bootstraps, strict=True):
        for column, output in enumerate(outputs):
            lines.append(
                {
                    "output": output,
                    "attribute": scores.attribute,
                    "from": scores.origin,
                    "to": scores.target,
                    "radiographs": len(scores.rows),
                    "patients": bootstrap.patients,
                    **_line(scores, column, thresholds[output], bootstrap),
                }
            )
    frame = pd.DataFrame(lines)
    frame["p"] = holm(frame["p"].to_numpy())
    sure = frame["p"] < 1 - bootstraps[0].confidence
    frame["differs"] = sure & (frame["beyond_low"] > margin)
    return frame


def _line(
    scores: Scores, column: int, threshold: float, bootstrap: PatientBootstrap
) -> dict[str, Any]:
    changes = scores.changes(column)
    means = {name: weighted_mean(values) for name, values in changes.items()}
    line: dict[str, Any] = {}
    for name, statistic in means.items():
        line |= _columns(name, bootstrap.interval(statistic))
    line |= _columns("beyond", bootstrap.interval(_larger(means)))
    line["mean_absolute"] = float(np.abs(changes["shift"]).mean())
    line["worst"] = float(changes["shift"][np.abs(changes["shift"]).argmax()])
    for name, values in scores.flips(column, threshold).items():
        line |= _columns(name, bootstrap.interval(weighted_mean(values)))
    for name, statistic in scores.others(column, threshold).items():
        line |= _columns(name, bootstrap.interval(statistic))
    return line | {"p": _chance(line["shift"], bootstrap.draws(means["shift"]), bootstrap)}


def _rate(decided: np.ndarray, rows: np.ndarray) -> Statistic:
    """Returns the statistic: the share of some rows (rows,) bool that is decided positive."""
    return weighted_mean(np.where(rows, decided.astype(float), np.nan))


def _larger(means: Mapping[str, Statistic]) -> Statistic:
    """Returns the statistic: how much larger the mean shift is than that of there and back."""
    return lambda w: np.abs(means["shift"](w)) - np.abs(means["there_and_back"](w))


def _chance(value: float, draws: np.ndarray, bootstrap: PatientBootstrap) -> float:
    """Returns the two-sided probability of such a mean, were the true one 0, by Student's t."""
    from scipy.special import stdtr  # slow to import, so only when asked

    spread = float(np.nanstd(draws, ddof=1))
    if bootstrap.patients < 2 or spread == 0:
        return 1.0 if value == 0 else np.nan
    return float(2 * stdtr(bootstrap.patients - 1, -abs(value) / spread))


def group_rates(
    score: np.ndarray, label: np.ndarray | None, threshold: float
) -> dict[str, Callable[[np.ndarray], Statistic]]:
    """Returns rates of one output as statistics of the rows (rows,) bool that belong to a group.

    Arguments:
        score: The output, (rows,).
        label: What is true, 1 or 0, NaN where unknown; None if nobody knows.
        threshold: Above which the output decides.
    """
    decided = (score > threshold).astype(float)
    rates: dict[str, Callable[[np.ndarray], Statistic]] = {
        "positive rate": lambda rows: weighted_mean(np.where(rows, decided, np.nan))
    }
    if label is None:
        return rates
    if 0 <= score.min() and score.max() <= 1:  # only probabilities can be calibrated
        rates["calibration"] = lambda rows: weighted_mean(np.where(rows, score - label, np.nan))
    return {
        "AUC": lambda rows: weighted_auc(np.where(rows, score, np.nan), label),
        "TPR": lambda rows: weighted_mean(np.where(rows & (label == 1), decided, np.nan)),
        "FPR": lambda rows: weighted_mean(np.where(rows & (label == 0), decided, np.nan)),
        **rates,
    }


def gaps(
    groups: Mapping[str, np.ndarray],
    rates: Mapping[str, Callable[[np.ndarray], Statistic]],
    bootstrap: PatientBootstrap,
) -> Iterator[dict[str, Any]]:
    """Yields every rate of every group, and the largest gap between two groups, with intervals.

    The interval of a gap is that of the difference between the two groups that are furthest apart
    in these patients; it does not count that they were picked.

    Arguments:
        groups: The rows (rows,) bool of each group.
        rates: From `group_rates`.
        bootstrap: Of the same rows.
    """
    for rate, of in rates.items():
        statistics = {name: of(rows) for name, rows in groups.items()}
        values = {}
        for name, statistic in statistics.items():
            interval = bootstrap.interval(statistic)
            values[name] = interval.value
            yield {
                "rate": rate,
                "group": name,
                "radiographs": int(groups[name].sum()),
                **_columns("value", interval),
            }
        known = {name: value for name, value in values.items() if not np.isnan(value)}
        if len(known) > 1:
            high = max(known, key=known.__getitem__)
            low = min(known.keys() - {high}, key=lambda name: (known[name], name))
            gap = bootstrap.interval(_difference(statistics[high], statistics[low]))
            yield {
                "rate": rate,
                "group": f"gap, {high} over {low}",
                "radiographs": int((groups[high] | groups[low]).sum()),
                **_columns("value", gap),
            }


def with_label_noise(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the lines of `gaps` with the `label_noise` that would explain a gap of TPR or FPR.

    Arguments:
        lines: Every rate of every group of one attribute.
    """
    rates: dict[str, dict[str, float]] = {}
    for line in lines:
        rates.setdefault(line["group"], {})[line["rate"]] = line["value"]
    whole = []
    for line in lines:
        share = np.nan
        if line["group"].startswith("gap, ") and line["rate"] in ("TPR", "FPR"):
            high, low = line["group"].removeprefix("gap, ").split(" over ")
            share = label_noise_that_explains(rates, line["rate"], high, low)
        whole.append({**line, "label_noise": share})
    return whole


def label_noise_that_explains(
    rates: Mapping[str, Mapping[str, float]], rate: str, high: str, low: str
) -> float:
    r"""Returns which share of wrong labels in one group would alone make a gap of TPR or FPR.

    Were a share e of the lower group's labelled positives negative in truth, and decided as its
    negatives are, its observed rate would be :math:`(1-e)\,\mathrm{TPR} + e\,\mathrm{FPR}`; the e
    for which its true TPR is the other group's is returned. Of a gap of the FPR e is the share of
    the higher group's labelled negatives that are positive in truth. All other labels are right.

    Arguments:
        rates: By group, its `TPR` and `FPR`.
        rate: Which of them differs.
        high: The group in which it is higher.
        low: The group in which it is lower.

    Returns:
        A share from 0 to 1; NaN where no such share makes the gap.

    >>> rates = {"a": {"TPR": 0.8, "FPR": 0.2}, "b": {"TPR": 0.65, "FPR": 0.2}}
    >>> round(label_noise_that_explains(rates, "TPR", "a", "b"), 6)  # .75 × .8 + .25 × .2 = .65
    0.25
    """
    gap = rates[high][rate] - rates[low][rate]
    reach = rates[high]["TPR"] - rates[low]["FPR"]  # the same for both: solve the mixture for e
    share = gap / reach if reach > 0 else np.nan
    return float(share) if 0 <= share <= 1 else np.nan


def _difference(one: Statistic, other: Statistic) -> Statistic:
    return lambda weights: one(weights) - other(weights)


def _columns(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def individual_curves(rows: pd.DataFrame, points: int = 41) -> pd.DataFrame:
    """Returns the share of radiographs whose score moves by more than so much, either way.

    Arguments:
        rows: `FairnessAudit.rows`.
        points: At how many sizes, from 0 to the largest of that output.
    """
    lines = []
    for (classifier, output, attribute), part in rows.groupby(
        ["classifier", "output", "attribute"], sort=False
    ):
        moved = {
            "shift": part["counterfactual"] - part["reconstruction"],
            "there_and_back": part["back"] - part["reconstruction"],
            "placebo": part["placebo"] - part["reconstruction"],
        }
        sizes = {name: change.abs().to_numpy() for name, change in moved.items()}
        for at in np.linspace(0.0, max(size.max() for size in sizes.values()), points):
            shares = {name: float((size > at).mean()) for name, size in sizes.items()}
            what = {"classifier": classifier, "output": output, "attribute": attribute}
            lines.append({**what, "more_than": float(at), **shares})
    return pd.DataFrame(lines)
