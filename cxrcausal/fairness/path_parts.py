"""The parts of a difference of scores between groups, from scores in the worlds between them.

Every part is a mean, or a difference of means, over rows that a bootstrap of all patients weights:
the parts see the same resamples, and add up in each of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from cxrcausal.bootstrap import Interval, PatientBootstrap, Statistic, weighted_mean
from cxrcausal.effect.basis import Claim
from cxrcausal.fairness.path_claims import Paths
from cxrcausal.fairness.worlds import Contrast

__all__ = ["ByPath", "Parts"]


@final
@dataclass(frozen=True)
class ByPath:
    """Every classifier's scores (rows, outputs) of one contrast's radiographs.

    Arguments:
        steps: With the attribute changed, and then each kind of mediators on top.
        alone: With one kind of mediators changed, by kind.
        changed: The share of radiographs in which a mediator of a kind changes, by kind.
        unknown: The share of those in which one is unknown and was drawn, by kind.
    """

    steps: list[list[np.ndarray]]
    alone: dict[str, list[np.ndarray]]
    changed: dict[str, float]
    unknown: dict[str, float]


@final
class Parts:
    """The parts of one contrast, each a difference of means of rows.

    Arguments:
        contrast: What was asked.
        others: Which of all rows (rows,) have the other level.
        found: The scores.
        paths: What each part rests on.
        bootstrap: Of all rows.
    """

    def __init__(
        self,
        contrast: Contrast,
        others: np.ndarray,
        found: ByPath,
        paths: Paths,
        bootstrap: PatientBootstrap,
    ) -> None:
        self.contrast, self.found, self.paths, self.bootstrap = contrast, found, paths, bootstrap
        self.others = others
        self.own = np.zeros(len(others), bool)
        self.own[contrast.rows] = True

    def lines(
        self, number: int, column: int, image: np.ndarray, base: np.ndarray
    ) -> Iterator[dict[str, Any]]:
        """Yields the parts of one output of one classifier, a line each.

        Arguments:
            number: The number of the classifier.
            column: The number of the output.
            image: Its scores of the radiographs as they are, (all rows,).
            base: Of their reconstructions.
        """
        here = base[self.contrast.rows]
        steps = [scores[number][:, column] for scores in self.found.steps]
        yield self._line("direct", self._mean(steps[0] - here), self.paths.direct())
        for i, kind in enumerate(self.paths.by_kind):
            alone = self.found.alone[kind][number][:, column]
            yield {
                **self._line(
                    "indirect", self._mean(steps[i + 1] - steps[i]), self.paths.indirect(kind)
                ),
                **self._through(kind, self._mean(alone - here)),
            }
        for kind in self.paths.others:
            claim = self.paths.indirect(kind)
            nothing = Interval(0.0 if claim.basis == "construction" else np.nan, np.nan, np.nan)
            yield {**self._line("indirect", nothing, claim), **self._through(kind, None)}
        if not (self.paths.by_kind or self.paths.others):
            why = f"nothing lies between {self.contrast.attribute} and the radiograph"
            nothing = Interval(0.0, np.nan, np.nan)
            yield self._line("indirect", nothing, Claim("construction", why))
        yield self._line("total", self._mean(steps[-1] - here), self.paths.total())
        yield from self._between(steps[-1], image, base)

    def _between(
        self, there: np.ndarray, image: np.ndarray, base: np.ndarray
    ) -> Iterator[dict[str, Any]]:
        """Yields what compares the two groups: spurious part, difference, and what is lost."""
        others = weighted_mean(np.where(self.others, base, np.nan))
        spurious = _less(others, self._statistic(there))
        variation = _less(others, self._statistic(base[self.contrast.rows]))
        observed = _less(
            weighted_mean(np.where(self.others, image, np.nan)),
            self._statistic(image[self.contrast.rows]),
        )
        groups = Claim("data", "a difference of observed groups")
        for part, statistic, claim in (
            ("spurious", spurious, self.paths.spurious()),
            ("variation", variation, groups),
            ("reconstruction", _less(observed, variation), None),
            ("observed", observed, groups),
        ):
            yield self._line(part, self.bootstrap.interval(statistic), claim, both=True)

    def _line(
        self, part: str, figure: Interval, claim: Claim | None, *, both: bool = False
    ) -> dict[str, Any]:
        rows = self.own | self.others if both else self.own
        words = "what radiographs have more than their reconstructions" if claim is None else claim
        if both and not self.others.any():
            words = "groups of a continuous attribute are not compared"
            if isinstance(self.contrast.do, str):
                words = f"no radiograph has {self.contrast.attribute} {self.contrast.target}"
            claim = None
        return {
            "attribute": self.contrast.attribute,
            "from": self.contrast.origin,
            "to": self.contrast.target,
            "part": part,
            "through": "",
            "mediators": "",
            "radiographs": int(rows.sum()),
            "patients": len(np.unique(self.bootstrap.codes[rows])),
            "value": figure.value,
            "value_low": figure.low,
            "value_high": figure.high,
            "alone": np.nan,
            "alone_low": np.nan,
            "alone_high": np.nan,
            "changed": np.nan,
            "unknown": np.nan,
            "basis": "" if claim is None else claim.basis,
            "claim": str(words),
        }

    def _through(self, kind: str, alone: Interval | None) -> dict[str, Any]:
        """Returns the columns of a kind of mediators; none of them moves if `alone` is None."""
        if alone is None:
            return {"through": kind}
        return {
            "through": kind,
            "mediators": ", ".join(self.paths.by_kind[kind]),
            "alone": alone.value,
            "alone_low": alone.low,
            "alone_high": alone.high,
            "changed": self.found.changed[kind],
            "unknown": self.found.unknown[kind],
        }

    def _mean(self, values: np.ndarray) -> Interval:
        return self.bootstrap.interval(self._statistic(values))

    def _statistic(self, values: np.ndarray) -> Statistic:
        """Returns the mean of values (rows of the contrast,) as a statistic of all rows."""
        everywhere = np.full(len(self.own), np.nan)
        everywhere[self.contrast.rows] = values
        return weighted_mean(everywhere)


def _less(one: Statistic, other: Statistic) -> Statistic:
    return lambda weights: one(weights) - other(weights)
