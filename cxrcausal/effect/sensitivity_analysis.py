r"""How strong must something unmeasured be, to explain an effect away.

The *E-value* of a risk ratio :math:`R \ge 1` is :math:`R + \sqrt{R (R - 1)}`: an unmeasured cause
that is tied to both cause and outcome by risk ratios below it cannot explain the effect away,
whatever else it is.

`sensitivity` answers for one such cause, a binary *acuity* :math:`A`, known to nobody, that raises
the odds of the cause by :math:`\gamma` and those of the outcome by :math:`\delta`. What was
observed stays as it was: the intercepts of both are those at which mixing over :math:`A` gives
back the fitted :math:`p(x \mid \mathrm{pa}_x)` and :math:`p(y \mid \mathrm{pa}_y)`, a quadratic
equation each. Then

.. math:: p(y_x \mid \mathrm{pa}_y) = \sum_a p(a) \, \mathrm{expit}(b + a \log \delta)
    \quad\text{in place of}\quad
    \sum_a p(a \mid x, \mathrm{pa}_x) \, \mathrm{expit}(b + a \log \delta),

summed exactly over everything else.

References:
    | Sensitivity Analysis in Observational Research: Introducing the E-Value
    | (VanderWeele and Ding, 2017), https://doi.org/10.7326/M16-2607
    | Assessing Sensitivity to an Unobserved Binary Covariate in an Observational Study with Binary
    | Outcome (Rosenbaum and Rubin, 1983), https://doi.org/10.1111/j.2517-6161.1983.tb01242.x
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Unpack, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.effect.basis import claim_of_total
from cxrcausal.effect.estimation import estimate
from cxrcausal.effect.expectation import Term, Tilt
from cxrcausal.effect.question import EffectOptions, EffectQuestion, asked_with_options
from cxrcausal.effect.result import Effect
from cxrcausal.errors import OptionError
from cxrcausal.scm.model import FlowSCM

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["EValue", "Sensitivity", "Strength", "e_value", "sensitivity"]

Strength = float | int | tuple[float, float]
"""An odds ratio with both cause and outcome, or one with each."""

STRONGEST = 1000.0
"""The largest odds ratio that the tipping point is looked for at."""

ROUNDING = 1e-9
"""The relative difference of a figure and its interval that is none: resamples of patients who are
all alike give the same ratio of other sums."""


@final
@dataclass(frozen=True)
class EValue:
    """The least strength of an unmeasured cause that could explain an effect away.

    Arguments:
        estimate: The E-value of the estimate.
        limit: The E-value of the end of its interval that is nearer to no effect; 1 if no effect
            is inside, NaN if the estimate has no interval.
    """

    estimate: float
    limit: float

    def __str__(self) -> str:
        return f"E-value {self.estimate:.3g}, of the interval {self.limit:.3g}"


def e_value(effect: Effect | float, low: float | None = None, high: float | None = None) -> EValue:
    """Returns the E-value of a risk ratio.

    Arguments:
        effect: The effect, asked for with ``scale="ratio"``, or a risk ratio.
        low: The lower end of the ratio's interval, if a number is given.
        high: The upper end of the ratio's interval.

    Raises:
        OptionError: If the effect is no ratio, or not positive.

    Example:
        >>> print(e_value(3.9, 1.8, 8.7))
        E-value 7.26, of the interval 3
    """
    if isinstance(effect, Effect):
        if effect.scale != "ratio":
            raise OptionError(
                "an E-value is of a risk ratio; ask for the effect with scale='ratio'"
            )
        ratio, low, high = effect.estimate, effect.low, effect.high
    else:
        ratio = effect
        low, high = ratio if low is None else low, ratio if high is None else high
    if 0 < ratio < math.inf and math.isnan(low) and math.isnan(high):
        return EValue(_strength(ratio), math.nan)
    inside = low <= ratio * (1 + ROUNDING) and ratio <= high * (1 + ROUNDING)
    if not 0 < ratio < math.inf or not (inside or isinstance(effect, Effect)):
        raise OptionError(
            f"a risk ratio is above 0 and inside its interval; found {ratio:g} in "
            f"[{low:g}, {high:g}]"
        )
    return _e_value(ratio, low, high)


def _e_value(ratio: float, low: float, high: float) -> EValue:
    """Returns the E-value of a ratio above 0; resamples of a skewed one may lie beside it."""
    if low <= 1 + ROUNDING and 1 - ROUNDING <= high:
        return EValue(_strength(ratio), 1.0)
    return EValue(_strength(ratio), _strength(low if low > 1 else high))


def _strength(ratio: float) -> float:
    ratio = 1 / ratio if ratio < 1 else ratio
    return ratio + math.sqrt(ratio * (ratio - 1))


@final
@dataclass(frozen=True)
class Sensitivity:
    """An effect as it would be, did an unmeasured cause of given strength exist.

    Arguments:
        name: The name of the unmeasured cause.
        prevalence: The share of patients who have it.
        effect: The effect without it.
        table: The effect by strength: the odds ratios `with_cause` and `with_outcome`, and its
            `estimate`, `low` and `high`.
        tipping: The odds ratio, with the cause and with the outcome (there inverted if the effect
            is negative), at which nothing is left of the effect; None if none below `STRONGEST`
            is.
        e_value: The E-value of the effect as a risk ratio; None if that is not finite.
    """

    name: str
    prevalence: float
    effect: Effect
    table: pd.DataFrame = field(repr=False)
    tipping: float | None
    e_value: EValue | None

    def __str__(self) -> str:
        tipping = (
            f"an odds ratio of {self.tipping:.3g} with both explains it away"
            if self.tipping is not None
            else f"no odds ratio below {STRONGEST:g} with both explains it away"
        )
        return (
            f"{self.effect}\n{self.name}, in {self.prevalence:.0%} of patients: {tipping}; "
            f"{self.e_value or 'no E-value'}\n{self.table.round(4).to_string(index=False)}"
        )

    def plot(self, axis: "Axes | None" = None) -> "Axes":
        """Draws the effect against the strength, with its interval; returns the axes."""
        from matplotlib.figure import Figure

        if axis is None:
            axis = Figure(figsize=(5.5, 3.4), layout="constrained").subplots()
        table = self.table
        spread = np.stack([table["estimate"] - table["low"], table["high"] - table["estimate"]])
        position = np.arange(len(table))
        axis.errorbar(position, table["estimate"], yerr=spread, fmt="o-", capsize=3)
        axis.axhline(0, color="grey", linewidth=0.8)
        labels = [
            f"{a:g}" if a == b else f"{a:g}, {b:g}"
            for a, b in zip(table["with_cause"], table["with_outcome"], strict=True)
        ]
        axis.set_xticks(position, labels)
        axis.set_xlabel(f"odds ratio of unmeasured {self.name} with cause and outcome")
        axis.set_ylabel("average effect")
        return axis


@asked_with_options
def sensitivity(
    scm: FlowSCM,
    table: pd.DataFrame,
    cause: str,
    outcome: str,
    *,
    strengths: Sequence[Strength] = (1.0, 1.5, 2.0, 3.0, 5.0),
    prevalence: float = 0.5,
    name: str = "acuity",
    **options: Unpack[EffectOptions],
) -> Sensitivity:
    """Returns the average effect under an unmeasured common cause of given strengths.

    The unmeasured cause is independent of all that the cause does not reach, acts on the cause and
    on the outcome alone, and does not interact: the simplest one, not the worst.

    Arguments:
        scm: A fitted SCM.
        table: The patients that are averaged over.
        cause: A variable of two levels.
        outcome: One of its descendants, with levels.
        strengths: The odds ratios of the unmeasured cause with cause and outcome, or pairs of
            them.
        prevalence: The share of patients who have the unmeasured cause.
        name: The name of the unmeasured cause.
        options: The options of every effect, see `EffectQuestion`.

    Raises:
        OptionError: If the cause has not two levels, the outcome none, or a strength or the
            prevalence is not usable. Further errors are those of `EffectQuestion`.
    """
    question = EffectQuestion(scm, table, cause, outcome, **options)
    if len(scm.graph.variables[cause].levels) != len(question.levels):
        raise OptionError(
            f"{cause!r} has not two levels, so one odds ratio does not say its distribution"
        )
    if question.level is None:
        raise OptionError(f"{outcome!r} is continuous; the odds ratio is of an event, a level")
    if not 0 < prevalence < 1:
        raise OptionError(f"prevalence lies strictly between 0 and 1; found {prevalence}")
    pairs = [_pair(strength) for strength in strengths]

    terms = [Term()]
    for pair in [(1.0, 1.0), *pairs]:
        terms += _arms(question, *pair, prevalence)

    def statistics(sums: np.ndarray) -> np.ndarray:
        n, arms = sums[:, :1], sums[:, 1:].reshape(len(sums), -1, 2)
        differences = (arms[..., 1] - arms[..., 0]) / n
        return np.concatenate([differences, arms[:, 0, 1:] / arms[:, 0, :1]], axis=1)

    found = estimate(question, terms, statistics)
    plain, *tilted, ratio = found.figures
    claim = claim_of_total(question.graph, question.worlds)
    rows = [
        {"with_cause": a, "with_outcome": b, "estimate": f.value, "low": f.low, "high": f.high}
        for (a, b), f in zip(pairs, tilted, strict=True)
    ]
    is_finite = 0 < ratio.value < math.inf and not np.isinf(ratio).any()
    return Sensitivity(
        name,
        prevalence,
        found.effect("ATE", plain, claim, arms=found.arms(1, 2)),
        pd.DataFrame(rows),
        _tipping(lambda odds: _left(question, odds, prevalence, plain.value), plain.value),
        _e_value(ratio.value, ratio.low, ratio.high) if is_finite else None,
    )


def _pair(strength: Strength) -> tuple[float, float]:
    a, b = strength if isinstance(strength, tuple) else (strength, strength)
    if not (0 < a < math.inf and 0 < b < math.inf):
        raise OptionError(f"a strength is an odds ratio above 0, or a pair; found {strength!r}")
    return float(a), float(b)


def _left(question: EffectQuestion, log_strength: float, prevalence: float, plain: float) -> float:
    """Returns what is left of an effect if the unmeasured cause has that log odds ratio with both.

    Arguments:
        question: The question, whose patients are averaged over.
        log_strength: The logarithm of the odds ratio with the cause; that with the outcome is its
            inverse if the effect is negative.
        prevalence: The share of patients who have the unmeasured cause.
        plain: The effect without it.
    """
    strength = math.exp(log_strength)
    arms = _arms(question, strength, strength ** math.copysign(1, plain), prevalence)
    without, within = question.nested().expectations(arms)[0].mean((0, 1))
    return within - without


def _arms(
    question: EffectQuestion, with_cause: float, with_outcome: float, prevalence: float
) -> tuple[Term, Term]:
    """Returns the outcome in both arms, did the unmeasured cause exist."""
    if with_cause == 1 or with_outcome == 1:  # it confounds nothing
        tilts: tuple[Tilt | None, Tilt | None] = (None, None)
    else:
        tilts = (
            _tilt(1 / with_cause, with_outcome, prevalence),
            _tilt(with_cause, with_outcome, prevalence),
        )
    copies = (question.worlds.under(question.low), question.worlds.under(question.high))
    return Term((copies[0],), None, tilts[0]), Term((copies[1],), None, tilts[1])


def _tilt(with_cause: float, with_outcome: float, prevalence: float) -> Tilt:
    """Returns how the outcome's probability changes once the unmeasured cause is averaged over.

    Arguments:
        with_cause: The odds ratio with the value of the cause that is set.
        with_outcome: The odds ratio with the outcome.
        prevalence: The share of patients who have the unmeasured cause.
    """

    def tilt(chance: Tensor, own: Tensor) -> Tensor:
        share = torch.tensor(prevalence, dtype=chance.dtype, device=chance.device)
        _, having = _split(own, share, with_cause)
        among = (share * having / own.clamp(min=1e-300)).clamp(0.0, 1.0)
        without, within = _split(chance, among, with_outcome)
        return (1 - share) * without + share * within

    return tilt


def _split(chance: Tensor, share: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
    """Returns the two probabilities with that odds ratio whose mixture is `chance`.

    With odds t and t·ratio: ratio (1 − p) t² + (1 − s + s·ratio − p (1 + ratio)) t − p = 0.
    """
    a = ratio * (1 - chance)
    b = 1 - share + share * ratio - chance * (1 + ratio)
    root = (b * b + 4 * a * chance).sqrt()
    odds = torch.where(b > 0, 2 * chance / (b + root), (root - b) / (2 * a))
    certain = chance >= 1
    without, within = odds / (1 + odds), odds * ratio / (1 + odds * ratio)
    return torch.where(certain, chance, without), torch.where(certain, chance, within)


def _tipping(left: Callable[[float], float], plain: float) -> float | None:
    """Returns the strength at which nothing is left of an effect, by Brent's search."""
    from scipy.optimize import brentq

    end = math.log(STRONGEST)
    if left(0.0) * plain <= 0:  # nothing but rounding is left from the start
        return 1.0
    if left(end) * plain > 0:
        return None
    return math.exp(brentq(left, 0.0, end, xtol=1e-5))
