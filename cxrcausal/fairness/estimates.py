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

__all__ = ["Scores", "effects", "gaps", "group_rates"]


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


def effects(
    found: list[Scores],
    outputs: tuple[str, ...],
    thresholds: Mapping[str, float],
    resampled: Callable[[np.ndarray], PatientBootstrap],
) -> pd.DataFrame:
    """Returns every contrast's figures for every output, a line each.

    Arguments:
        found: The scores of every contrast.
        outputs: The classifier's outputs.
        thresholds: Above which an output decides, by output.
        resampled: Resamples the patients of some radiographs (rows,).

    Returns:
        Per output and contrast: `shift` of the score, `there_and_back` and `placebo` beside it,
        `beyond` (the size of the shift beyond that of there and back), `worst` (the largest shift
        of one radiograph), `flip_rate` and those of the controls, each with `_low` and `_high`;
        `p` after Holm, and `differs`: p is less than 1 - confidence of the bootstrap, and the
        interval of `beyond` lies above 0.
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
    frame["differs"] = sure & (frame["beyond_low"] > 0)
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
    return line | {"p": _chance(line["shift"], bootstrap.draws(means["shift"]), bootstrap)}


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


def _difference(one: Statistic, other: Statistic) -> Statistic:
    return lambda weights: one(weights) - other(weights)


def _columns(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
