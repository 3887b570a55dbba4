"""Who is audited: a classifier with its thresholds, and what is true of its outputs."""

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import final

import numpy as np
import pandas as pd

from cxrcausal.errors import OptionError, TableError, nearest, summarise
from cxrcausal.fairness.classifier import Classifier, Scorer
from cxrcausal.fairness.study import Study

__all__ = ["Subject", "subjects_of"]


@final
class Subject:
    """A classifier, and how it scores the radiographs of a study as they are.

    Arguments:
        name: What it is called.
        scorer: It as a function.
        study: Whose radiographs it scores, at once: what is wrong with it is said here.
        thresholds: Above which an output decides, the same for all or by output.
        labels: The column that says what is true of an output; that of the output's name if left
            out.

    Attributes:
        outputs: The names of its outputs.
        scores: Of the radiographs as they are, (radiographs, outputs).
        truth: What is true of every output, (radiographs, outputs): 1 or 0, NaN where unknown.

    Raises:
        ImageError: As `Scorer`.
        OptionError: If a threshold is no number, a threshold or label of no output, or a label
            in no column.
        TableError: If a label is neither 1 nor 0.
    """

    def __init__(
        self,
        name: str,
        scorer: Scorer,
        study: Study,
        thresholds: Mapping[str, float] | float,
        labels: Mapping[str, str],
    ) -> None:
        self.name, self.scorer, self.study = name, scorer, study
        self.scores = scorer(study.radiographs.given)
        self.outputs = scorer.outputs or ()
        self.thresholds = _thresholds(thresholds, self.outputs)
        _check_labels(labels, self.outputs, study.given)
        self.columns = [labels.get(output, output) for output in self.outputs]
        self.truth = self._truth(study.table, study.given)

    def truth_in(self, table: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
        """Returns what is true in another world (rows, outputs), NaN where it is unknown here.

        Arguments:
            table: That world's metadata.
            rows: Which radiographs of the study they are of.
        """
        there = self._truth(table, self.study.given.iloc[rows])
        return np.where(np.isnan(self.truth[rows]), np.nan, there)

    def _truth(self, table: pd.DataFrame, given: pd.DataFrame) -> np.ndarray:
        truth = [_truth(given, table, column) for column in self.columns]
        return np.stack(truth, axis=1) if truth else np.empty((len(table), 0))


def subjects_of(
    classifier: Classifier | Mapping[str, Classifier],
    study: Study,
    *,
    outputs: Sequence[str] | None,
    labels: Mapping[str, str] | None,
    thresholds: Mapping[str, float] | float,
    batch_size: int,
) -> list[Subject]:
    """Returns one classifier or several, each with its scores of the radiographs as they are.

    Arguments:
        classifier: One, or several by name.
        study: The radiographs.
        outputs: Names of the outputs, if a classifier does not give a table.
        labels: The column that says what is true of an output.
        thresholds: Above which an output decides.
        batch_size: Radiographs at a time.

    Raises:
        OptionError: If there is none. Further errors are those of `Subject`.
    """
    by_name = classifier if isinstance(classifier, Mapping) else {"classifier": classifier}
    if not by_name:
        raise OptionError("no classifier was given to audit")
    return [
        Subject(
            name,
            Scorer(one, outputs, batch_size=batch_size, name=name),
            study,
            thresholds,
            labels or {},
        )
        for name, one in by_name.items()
    ]


def _thresholds(given: Mapping[str, float] | float, outputs: Sequence[str]) -> dict[str, float]:
    if not isinstance(given, Mapping):
        given = dict.fromkeys(outputs, given)
    for name, threshold in given.items():
        if not isinstance(threshold, Real) or not math.isfinite(threshold):
            raise OptionError(f"the threshold of {name!r} is {threshold!r}; give a finite number")
        if name not in outputs:
            raise OptionError(
                f"a threshold is given of {name!r}{nearest(name, outputs) or '.'} The outputs "
                f"are: {summarise(outputs, 20)}"
            )
    return {name: float(given.get(name, 0.5)) for name in outputs}


def _check_labels(labels: Mapping[str, str], outputs: Sequence[str], given: pd.DataFrame) -> None:
    for output, column in labels.items():
        if output not in outputs:
            raise OptionError(
                f"a label is given of {output!r}{nearest(output, outputs) or '.'} The outputs "
                f"are: {summarise(outputs, 20)}"
            )
        if column not in given.columns:
            raise OptionError(
                f"no column {column!r} says what is true of {output!r}"
                f"{nearest(column, given.columns) or '.'} The table has: "
                f"{summarise(given.columns, 30)}"
            )


def _truth(given: pd.DataFrame, table: pd.DataFrame, column: str) -> np.ndarray:
    """Returns what a column says (rows,): 1 at a variable's second level or 1; NaN if nothing."""
    if column in table.columns and isinstance(table[column].dtype, pd.CategoricalDtype):
        levels, values = table[column].cat.categories, table[column].astype(object)
        if len(levels) == 2:
            return (values == levels[1]).astype(float).where(values.notna()).to_numpy(float)
    elif column in given.columns:
        values = pd.to_numeric(given[column], errors="coerce")
        wrong = given[column].notna() & ~values.isin([0, 1])
        if wrong.any():
            row = given.index[int(np.argmax(wrong))]
            raise TableError(
                f"column {column!r}, row {row!r}: {given[column][wrong].iloc[0]!r} says nothing "
                "of what is true; allowed are 1, 0 and nothing where it is unknown"
            )
        return values.to_numpy(float)
    return np.full(len(table), np.nan)
