r"""What real radiographs show when one parent differs and the others do not.

PA and AP patients differ in age and findings, so the plain gap of a predictor's score between the
two views is not what the view alone does. A linear regression of the score on *all* parents of the
image, fitted on real radiographs,

.. math:: s = f(\mathrm{pa}) + e, \qquad \Delta_i = f(\mathrm{pa}_i^*) - f(\mathrm{pa}_i),

says what the asked change of parents would show in radiographs that are alike otherwise; its mean
over the radiographs that are asked is the yardstick of a counterfactual. An unknown value is a
level of its own, age enters as it is.

References:
    | Causal Inference: What If (Hernán and Robins, 2020), chapter 13: standardisation and the
    | parametric g-formula
"""

from typing import final

import numpy as np
import pandas as pd

from cxrcausal.bootstrap import Statistic
from cxrcausal.errors import TableError
from cxrcausal.evaluation.question import Question
from cxrcausal.graph import CausalGraph
from cxrcausal.scm.table import check_table, encode

__all__ = ["Standardised"]

_RIDGE = 1e-9  # of the mean diagonal: columns that tell the same share their coefficient


@final
class Standardised:
    """How scores of real radiographs change with their parents, the others held, by regression.

    Every figure is a `Statistic` of row weights, fitted anew under the weights of each resample.

    Arguments:
        scores: Scores of real radiographs, one column per score (`sex`, `view=AP`).
        table: Their metadata, row by row.
        graph: Says the parents of the image, and their levels.

    Raises:
        TableError: If scores and table differ in length.
    """

    def __init__(self, scores: pd.DataFrame, table: pd.DataFrame, graph: CausalGraph) -> None:
        if len(scores) != len(table):
            raise TableError(f"{len(scores)} scores stand beside {len(table)} rows of metadata")
        self.graph = graph
        self.names = list(scores)
        parents = self._parents(table)
        self._levels = {
            name: np.unique(values[~np.isnan(values)])
            for name, values in parents.items()
            if graph.variables[name].is_discrete and not np.isnan(values).all()
        }
        self._middle = {
            name: (float(np.nanmean(values)), float(np.nanstd(values)))
            for name, values in parents.items()
            if not graph.variables[name].is_discrete and not np.isnan(values).all()
        }
        self._factual = parents
        full = self._design(parents)
        self._varies = np.ptp(full, axis=0) > 0
        self._varies[0] = True  # the constant
        self._x = full[:, self._varies]
        count = self._x.shape[1]
        products = (self._x[:, :, None] * self._x[:, None, :]).reshape(len(table), count**2)
        response = self._x[:, :, None] * scores.to_numpy(np.float64)[:, None, :]
        self._moments = np.concatenate([products, response.reshape(len(table), -1)], axis=1)
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def change(self, score: str, question: Question) -> Statistic:
        """Returns the statistic: the mean change of a score in the asked direction.

        Arguments:
            score: Which score.
            question: The changed parents, and of which radiographs it is asked; all parents that
                its table changes count, also those that follow the one that was set.
        """
        rows = ~np.isnan(question.asked)
        new = self._design(self._parents(question.table))[:, self._varies]
        step = np.where(rows[:, None], np.sign(question.asked)[:, None] * (new - self._x), 0.0)
        return self._mean(score, step, rows)

    def gap(self, score: str) -> Statistic:
        """Returns the statistic: the size of a score's own effect, by which others are measured.

        For a level it is the mean change of the score were radiographs of other levels of this
        one; for a number the change over one standard deviation.
        """
        variable, _, level = score.partition("=")
        found = self.graph.variables[variable]
        if variable not in self._levels and variable not in self._middle:
            raise TableError(f"{variable!r} is no parent of the image that these rows show")
        values = self._factual[variable]
        if not found.is_discrete:
            new, rows = values + self._middle[variable][1], ~np.isnan(values)
        else:
            index = found.levels.index(level) if level else self._levels[variable][-1]
            rows = ~np.isnan(values) & (values != index)
            new = np.where(rows, index, values)
        design = self._design({**self._factual, variable: new})[:, self._varies]
        return self._mean(score, np.where(rows[:, None], design - self._x, 0.0), rows)

    def coefficients(self, weights: np.ndarray) -> np.ndarray:
        """Returns the regressions (resamples, columns, scores) under row weights."""
        if self._last is not None and self._last[0] is weights:
            return self._last[1]
        count = self._x.shape[1]
        sums = weights @ self._moments
        products = sums[:, : count**2].reshape(-1, count, count)
        size = np.trace(products, axis1=1, axis2=2) / count
        penalised = products + _RIDGE * size[:, None, None] * np.eye(count)
        found = np.linalg.solve(penalised, sums[:, count**2 :].reshape(len(sums), count, -1))
        if len(weights) > 1:  # the resamples, which every statistic is asked for
            self._last = weights, found
        return found

    def _mean(self, score: str, step: np.ndarray, rows: np.ndarray) -> Statistic:
        column, among = self.names.index(score), rows.astype(np.float64)

        def statistic(weights: np.ndarray) -> np.ndarray:
            slopes = self.coefficients(weights)[:, :, column]
            return ((weights @ step) * slopes).sum(axis=1) / (weights @ among)

        return statistic

    def _parents(self, table: pd.DataFrame) -> dict[str, np.ndarray]:
        values = encode(check_table(table, self.graph, ()), self.graph)
        return {name: values[name].numpy() for name in self.graph.image_parents}

    def _design(self, parents: dict[str, np.ndarray]) -> np.ndarray:
        """Returns (rows, columns): a constant, one column per level but the first, numbers."""
        columns = [np.ones(len(next(iter(parents.values()))))]
        for name, values in parents.items():
            unknown = np.isnan(values)
            columns.append(unknown.astype(np.float64))
            if name in self._levels:
                others = self._levels[name][1:]
                columns += [(values == level).astype(np.float64) for level in others]
            elif name in self._middle:
                mean, std = self._middle[name]
                columns.append(np.where(unknown, 0.0, (values - mean) / (std or 1.0)))
        return np.stack(columns, axis=1)
