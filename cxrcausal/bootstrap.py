r"""How sure a figure is: intervals of a bootstrap that resamples patients, not radiographs.

Several radiographs of one patient are not several patients: an interval that resamples radiographs
is too narrow. A statistic is written once, as a function of row weights, and is evaluated for many
resamples in one vectorised call; two statistics under one `PatientBootstrap` see the same
resamples, so that ratios and differences of them are paired.

Resamples of one patient are all the same, and so are those of patients who do not differ: that
shows no spread, which is not to say that there is none. Such a figure has no interval (NaN).

References:
    | An Introduction to the Bootstrap (Efron and Tibshirani, 1993), sections 8.3 and 13.3
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import pandas as pd

from cxrcausal.errors import TableError
from cxrcausal.randomness import as_seed

__all__ = [
    "Interval",
    "PatientBootstrap",
    "Statistic",
    "satterthwaite",
    "shows_no_spread",
    "student_interval",
    "weighted_auc",
    "weighted_mean",
    "weighted_slope",
]

Statistic = Callable[[np.ndarray], np.ndarray]
"""Row weights (resamples, rows) give one number per resample; NaN where it is not defined."""

_CELLS = 2**22  # weights held at a time, 32 MB
_ROUNDING = 1e-12  # figures that differ by less of their size are the same


@final
@dataclass(frozen=True)
class Interval:
    """A figure and how far it might be off.

    Arguments:
        value: The figure on all patients.
        low: The lower end.
        high: The upper end.
    """

    value: float
    low: float
    high: float

    def excludes(self, other: "Interval | float") -> bool:
        """Returns whether no value of `other` lies inside; never where this one has no ends.

        Another figure that shows no spread, such as a null effect of exactly 0, is its value
        alone.
        """
        low, high = (other.low, other.high) if isinstance(other, Interval) else (other, other)
        if isinstance(other, Interval) and np.isnan(low) and np.isnan(high):
            low = high = other.value
        return bool(self.low > high or self.high < low)

    def __format__(self, spec: str) -> str:
        spec = spec or ".3g"
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def __str__(self) -> str:
        return format(self)


@final
class PatientBootstrap:
    """Resamples patients with replacement, each with all its radiographs.

    Arguments:
        groups: The patient of each row, (rows,).
        resamples: How many resamples.
        confidence: The probability that an interval covers.
        seed: A seed, or a generator from which one is drawn; global random state is not used.

    Raises:
        TableError: If there are no rows, a patient is missing, or `confidence` is not in (0, 1).

    Example:
        >>> import numpy as np
        >>> values = np.array([0.0, 0.0, 1.0, 1.0, 1.0])
        >>> of_patients = PatientBootstrap(["a", "a", "b", "b", "c"], resamples=200)
        >>> interval = of_patients.interval(weighted_mean(values))
        >>> interval.value, interval.low <= 0.6 <= interval.high
        (0.6, True)
    """

    def __init__(
        self,
        groups: Iterable[object],
        *,
        resamples: int = 2000,
        confidence: float = 0.95,
        seed: int | np.random.Generator = 0,
    ) -> None:
        self.codes, names = pd.factorize(np.array([*groups], object), use_na_sentinel=True)
        if not len(self.codes):
            raise TableError("there are no rows to resample")
        if (self.codes < 0).any():
            row = int(np.argmax(self.codes < 0))
            raise TableError(f"every row needs a patient to be resampled; row {row} has none")
        if not 0 < confidence < 1 or resamples < 1:
            raise TableError(
                f"confidence {confidence} and resamples {resamples} make no interval; confidence "
                f"lies strictly between 0 and 1, the resamples are at least 1"
            )
        self.patients = len(names)
        self.resamples = resamples
        self.confidence = confidence
        if isinstance(seed, np.random.Generator):
            seed = int(seed.integers(2**63))
        self._seed = as_seed(seed) % 2**64
        self._held: list[np.ndarray] | None = None

    def weights(self) -> Iterator[np.ndarray]:
        """Yields how often each resample drew each row's patient, (some resamples, rows)."""
        if self.resamples * len(self.codes) > _CELLS:
            yield from self._draw()
            return
        if self._held is None:  # a study asks for hundreds of intervals of the same rows
            self._held = [*self._draw()]
        yield from self._held

    def _draw(self) -> Iterator[np.ndarray]:
        rng = np.random.default_rng(self._seed)
        share = np.full(self.patients, 1 / self.patients)
        at_once = max(1, _CELLS // max(self.patients, len(self.codes)))
        for start in range(0, self.resamples, at_once):
            count = min(at_once, self.resamples - start)
            counts = rng.multinomial(self.patients, share, size=count).astype(np.float64)
            yield counts[:, self.codes]

    def draws(self, statistic: Statistic) -> np.ndarray:
        """Returns the statistic of every resample, (resamples,)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.concatenate([statistic(weights) for weights in self.weights()])

    def of_sums(
        self, sums: np.ndarray, statistics: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns statistics that are functions of sums over rows, and their percentile intervals.

        Patients whose rows add up to the same are drawn together, by how many there are of each
        kind: the same distribution as drawing them one by one, and far fewer numbers.

        Arguments:
            sums: What is summed, (rows, sums).
            statistics: Sums (resamples, sums) give statistics (resamples, statistics); NaN where
                one is not defined. All of them see the same resamples.

        Returns:
            The statistics on all rows, their lower and their upper ends, each (statistics,).
        """
        of_patient = np.zeros((self.patients, sums.shape[1]))
        np.add.at(of_patient, self.codes, sums)
        kinds, count = np.unique(of_patient, axis=0, return_counts=True)
        rng, share = np.random.default_rng(self._seed), count / count.sum()
        at_once, drawn = max(1, _CELLS // len(kinds)), []
        with np.errstate(invalid="ignore", divide="ignore"):
            value = statistics(of_patient.sum(0)[None])[0]
            for start in range(0, self.resamples, at_once):
                size = min(at_once, self.resamples - start)
                counts = rng.multinomial(self.patients, share, size=size).astype(np.float64)
                drawn.append(statistics(counts @ kinds))
        ends = [_ends(draws, self.confidence) for draws in np.concatenate(drawn).T]
        low, high = np.array(ends).reshape(-1, 2).T
        return value, low, high

    def interval(self, statistic: Statistic) -> Interval:
        """Returns the statistic of all rows and its percentile interval.

        Resamples on which it is not defined (no positive was drawn, say) are left out; where that
        is true of all of them, or all are the same, the interval is NaN.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            value = float(statistic(np.ones((1, len(self.codes))))[0])
        return Interval(value, *_ends(self.draws(statistic), self.confidence))


def shows_no_spread(draws: np.ndarray) -> bool:
    """Returns whether figures (resamples,) are all the same, up to rounding."""
    first, last = draws.min(), draws.max()
    return bool(first == last or last - first <= _ROUNDING * max(abs(first), abs(last), 1e-3))


def student_interval(
    value: np.ndarray, draws: np.ndarray, free: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ends (figures,) of Student's intervals, by the spread over replicates.

    Replicates in which a figure is not defined are left out. A figure without spread or without
    degrees of freedom has no interval (NaN).

    Arguments:
        value: The figures, (figures,).
        draws: The same in every replicate, (draws, figures).
        free: The degrees of freedom of each figure's spread, (figures,): one less than there are
            patients, if these are few. Never more than one less than there are replicates.
        confidence: The probability that an interval covers.
    """
    from scipy.special import stdtrit  # slow to import, so only when asked

    half = np.full(len(value), np.nan)
    for i, column in enumerate(draws.T):
        column = column[np.isfinite(column)]
        most = min(len(column) - 1, free[i])
        if most > 0 and not shows_no_spread(column):
            half[i] = stdtrit(most, (1 + confidence) / 2) * column.std(ddof=1)
    return value - half, value + half


def satterthwaite(parts: Sequence[np.ndarray], free: Sequence[float]) -> np.ndarray:
    r"""Returns the degrees of freedom (figures,) of a sum of independent variances.

    .. math:: \Big(\sum_k v_k\Big)^2 \Big/ \sum_k \frac{v_k^2}{f_k}

    References:
        | An Approximate Distribution of Estimates of Variance Components
        | (Satterthwaite, 1946), https://doi.org/10.2307/3002019

    Arguments:
        parts: The estimated variances, (figures,) each.
        free: The degrees of freedom of each; a variance of none counts as one of 0 degrees.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = [
            np.where(v > 0, v**2 / f if f > 0 else np.inf, 0.0)
            for v, f in zip(parts, free, strict=True)
        ]
        return np.nan_to_num(sum(parts) ** 2 / sum(shares))


def _ends(draws: np.ndarray, confidence: float) -> tuple[float, float]:
    """Returns the ends of the percentile interval of some draws, those that are NaN left out.

    Draws that are all the same, up to rounding, show no spread, and have no interval.
    """
    draws = draws[~np.isnan(draws)]
    if not len(draws) or shows_no_spread(draws):
        return np.nan, np.nan
    tail = (1 - confidence) / 2
    with np.errstate(invalid="ignore"):  # between two infinite draws lies nothing
        low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def weighted_mean(values: np.ndarray) -> Statistic:
    """Returns the statistic: the mean of the values (rows,) that are not NaN.

    Arguments:
        values: A value for each row (rows,).
    """
    values = np.asarray(values, np.float64)
    known = ~np.isnan(values)
    filled, known = np.where(known, values, 0.0), known.astype(np.float64)
    return lambda weights: (weights @ filled) / (weights @ known)


def weighted_slope(y: np.ndarray, x: np.ndarray) -> Statistic:
    """Returns the statistic: the slope of the regression of `y` on `x`, (rows,) each.

    With `x` of zeros and ones this is the difference of the two groups' means.

    Arguments:
        y: What is regressed (rows,).
        x: What it is regressed on (rows,).
    """
    y, x = np.asarray(y, np.float64), np.asarray(x, np.float64)
    known = ~(np.isnan(y) | np.isnan(x))
    y, x = np.where(known, y, 0.0), np.where(known, x, 0.0)
    moments = np.stack([known.astype(np.float64), x, y, x * x, x * y], axis=1)

    def statistic(weights: np.ndarray) -> np.ndarray:
        n, sx, sy, sxx, sxy = (weights @ moments).T
        spread = n * sxx - sx * sx
        return (n * sxy - sx * sy) / np.where(spread > 1e-12 * n * sxx, spread, np.nan)

    return statistic


def weighted_auc(score: np.ndarray, label: np.ndarray) -> Statistic:
    """Returns the statistic: the area under the ROC curve; ties count one half.

    Arguments:
        score: Higher means more likely positive, (rows,).
        label: 1 or 0, NaN where unknown, (rows,).
    """
    score, label = np.asarray(score, np.float64), np.asarray(label, np.float64)
    rows = np.flatnonzero(~(np.isnan(score) | np.isnan(label)))
    rows = rows[np.argsort(score[rows], kind="stable")]
    if not len(rows):
        return lambda weights: np.full(len(weights), np.nan)
    ordered, positive = score[rows], label[rows] > 0.5
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])

    def statistic(weights: np.ndarray) -> np.ndarray:
        here = weights[:, rows]
        p = np.add.reduceat(here * positive, first, axis=1)
        q = np.add.reduceat(here * ~positive, first, axis=1)
        below = np.cumsum(q, axis=1) - q / 2
        return (p * below).sum(axis=1) / (p.sum(axis=1) * q.sum(axis=1))

    return statistic
