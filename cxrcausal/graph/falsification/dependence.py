r"""Does y say anything about x that z does not say already? An effect size, and a test.

The null model is a regression of :math:`x` on :math:`z` (logistic with all levels, or linear), in
which a continuous :math:`z` enters as a spline. What is added is :math:`\tilde y`, the part of
:math:`y` that no weighted linear function of :math:`z` explains, centred further among rows that
are alike in :math:`z` (strata, continuous variables cut into bins). So neither an interaction that
the regression misses nor the estimation of its coefficients moves the score

.. math:: U = \sum_i (x_i - \hat x_i) \, \tilde y_i

to first order, and :math:`U` has mean zero if :math:`x \perp y \mid z` (a score test; also the
generalised covariance measure, and the Mantel-Haenszel test where strata decide).

*Effect*: the gain in log-likelihood of :math:`x` when :math:`\tilde y` enters with its best
coefficients, less what it is expected to lose on new patients (Takeuchi's correction: the trace of
the clustered variance of the score in units of its variance among independent rows), in nats per
row: an estimate of how much better :math:`x` is predicted held out, below zero if not at all.

*Test*: :math:`U^\top V^{-1} U` against chi-squared. :math:`V` is the permutation variance within
strata plus the covariances between the rows of one patient. Where findings are rare those
covariances are too noisy to be trusted alone, so :math:`V` is never less than the permutation
variance times :math:`1 + \rho_x \rho_y (\bar m - 1)`, which holds if x and y are tied within
patients but not to each other.

References:
    | The Hardness of Conditional Independence Testing and the Generalised Covariance Measure
    | (Shah and Peters, 2020), https://arxiv.org/abs/1804.07203
    | Statistical aspects of the analysis of data from retrospective studies of disease
    | (Mantel and Haenszel, 1959), https://doi.org/10.1093/jnci/22.4.719
    | Distribution of informational statistics and a criterion of model fitting (Takeuchi, 1976)
    | Longitudinal data analysis using generalized linear models
    | (Liang and Zeger, 1986), https://doi.org/10.1093/biomet/73.1.13
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import final

import numpy as np

from cxrcausal.graph.falsification.table import Cells, Column, Patterns

__all__ = ["Dependence", "PairTest"]

FEWEST = 30
"""From so many rows on a test is made."""
SPARSE = 8
"""Strata of fewer rows are pooled with others of like prediction."""
POOLS = 20
RIDGE = 1e-2
"""A small ridge penalty, so that a level that is never positive has a finite coefficient."""
STEPS = 30


@final
@dataclass(frozen=True)
class Dependence:
    """What was found of one pair.

    Arguments:
        rows: How many rows were tested: those in which x, y and z are all known.
        nats: The gain per row, NaN if no test was made.
        log_odds: The added coefficient where x and y both have two levels, else NaN.
        statistic: The score statistic.
        df: Its degrees of freedom.
        p: Its p-value.
        note: Why no test was made, or empty.
    """

    rows: int
    nats: float = np.nan
    log_odds: float = np.nan
    statistic: float = np.nan
    df: int = 0
    p: float = np.nan
    note: str = ""


@final
class PairTest:
    """Tests pairs on one table, keeping what several tests share.

    Arguments:
        cells: The table.
    """

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        self._starts: dict[Hashable, np.ndarray] = {}

    def test(self, x: str, y: str, z: tuple[str, ...]) -> Dependence:
        """Returns how much `y` says about `x` beyond `z`, and whether that could be chance."""
        left, right = self.cells.columns[x], self.cells.columns[y]
        patterns = self.cells.patterns(z)
        known = (left.code >= 0) & (right.code >= 0) & (patterns.code >= 0)
        rows = int(known.sum())
        if rows < FEWEST:
            return Dependence(rows, note=f"all is known in fewer than {FEWEST} rows")
        whole = rows == self.cells.rows
        at = patterns.code if whole else patterns.code[known]
        left, right = (_seen(c, c.code if whole else c.code[known]) for c in (left, right))
        for name, column in ((x, left), (y, right)):
            if len(column.values) < 2:
                return Dependence(rows, note=f"{name} has a single value in these rows")
        group = self.cells.group if whole or self.cells.group is None else self.cells.group[known]
        if group is not None and (group == group[0]).all():
            return Dependence(rows, note="these rows are all of one patient")
        model = self._null(left, at, patterns, (x, z, tuple(left.values)))
        tilde, cell, cell_at = _residual(right, at, patterns, model)
        return _judge(model, left, at, tilde, cell, cell_at, _strata(patterns, at, model), group)

    def _null(self, column: Column, at: np.ndarray, patterns: Patterns, key: Hashable) -> "_Null":
        count, code = len(patterns.design), column.code
        if column.continuous:
            value = column.scaled()[code]
            weight = np.bincount(at, minlength=count)
            total = np.bincount(at, value, count)
            coefficients = _solve(patterns.design, weight, total[:, None])
            return _Null(patterns.design @ coefficients, np.ones(count), continuous=True)
        levels = len(column.values)
        counts = np.bincount(at * levels + code, minlength=count * levels).reshape(count, levels)
        start = self._starts.get(key)
        theta = _logistic(patterns.design, counts, start)
        self._starts[key] = theta
        logits = np.concatenate([np.zeros((count, 1)), patterns.design @ theta], axis=1)
        chance = _softmax(logits)
        return _Null(logits, (chance * (1 - chance)).sum(1), continuous=False)


@dataclass(frozen=True)
class _Null:
    """The null model by pattern: logits (patterns, levels) or means (patterns, 1), and weights."""

    predicted: np.ndarray
    weight: np.ndarray
    continuous: bool


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def _log_likelihood(logits: np.ndarray, counts: np.ndarray) -> float:
    top = logits.max(axis=1, keepdims=True)
    total = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]
    return float((counts * logits).sum() - (counts.sum(1) * total).sum())


def _solve(design: np.ndarray, weight: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Returns weighted least squares, `total` being the weighted sums by pattern."""
    gram = design.T @ (weight[:, None] * design)
    return np.linalg.solve(gram + RIDGE * np.eye(len(gram)), design.T @ total)


def _logistic(design: np.ndarray, counts: np.ndarray, start: np.ndarray | None) -> np.ndarray:
    """Returns the coefficients (features, levels - 1) of a multinomial regression, by Newton."""
    features, levels = design.shape[1], counts.shape[1] - 1
    seen = counts.sum(1) > 0
    design, counts = design[seen], counts[seen]
    size = counts.sum(1)
    if start is None:
        share = (counts.sum(0) + 0.5) / (size.sum() + 0.5 * (levels + 1))
        start = np.zeros((features, levels))
        start[0] = np.log(share[1:] / share[0])
    theta = start
    penalty = np.full(features, RIDGE)
    penalty[0] = 0.0

    def value(theta: np.ndarray) -> tuple[float, np.ndarray]:
        logits = np.concatenate([np.zeros((len(design), 1)), design @ theta], axis=1)
        return _log_likelihood(logits, counts) - 0.5 * float(
            (penalty[:, None] * theta**2).sum()
        ), logits

    now, logits = value(theta)
    for _ in range(STEPS):
        chance = _softmax(logits)[:, 1:]
        slope = design.T @ (counts[:, 1:] - size[:, None] * chance) - penalty[:, None] * theta
        curve = np.zeros((levels, features, levels, features))
        for a in range(levels):
            for b in range(a + 1):
                weight = size * chance[:, a] * ((a == b) - chance[:, b])
                block = design.T @ (weight[:, None] * design)
                curve[a, :, b, :] = block
                curve[b, :, a, :] = block
        flat = curve.reshape(levels * features, levels * features)
        flat[np.diag_indices_from(flat)] += np.tile(penalty, levels) + 1e-9
        step = np.linalg.solve(flat, slope.T.reshape(-1)).reshape(levels, features).T
        scale = 1.0
        while True:
            then, new = value(theta + scale * step)
            if then >= now - 1e-9 or scale < 1e-4:
                break
            scale /= 2
        theta, logits, gain = theta + scale * step, new, then - now
        now = then
        if gain < 1e-7 * max(1.0, abs(now)) ** 0.5:
            break
    return theta


def _seen(column: Column, code: np.ndarray) -> Column:
    """Returns the variable in some of the rows, values that do not occur there left out."""
    occurs = np.bincount(code, minlength=len(column.values)) > 0
    if occurs.all():
        return Column(code, column.values, column.continuous)
    return Column((np.cumsum(occurs) - 1)[code], column.values[occurs], column.continuous)


def _residual(
    column: Column, at: np.ndarray, patterns: Patterns, model: _Null
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns what z leaves of y by cell (pattern, value), rows' cells, cells' patterns."""
    features, code = column.features(), column.code
    levels, count = len(features), len(patterns.design)
    joint = at * levels + code
    tally = np.bincount(joint, minlength=count * levels)
    cells = np.flatnonzero(tally)
    place = np.zeros(count * levels, dtype=np.int64)
    place[cells] = np.arange(len(cells))
    cell_at, value = cells // levels, cells % levels
    sums = np.stack(
        [np.bincount(cell_at, tally[cells] * f[value], count) for f in features.T], axis=1
    )
    weight = model.weight * np.bincount(at, minlength=count)
    fitted = patterns.design @ _solve(patterns.design, weight, model.weight[:, None] * sums)
    return features[value] - fitted[cell_at], place[joint], cell_at


def _strata(patterns: Patterns, at: np.ndarray, model: _Null) -> np.ndarray:
    """Returns each pattern's stratum; those of few rows are pooled by what the model predicts."""
    rows = np.bincount(at, minlength=len(patterns.design))
    sizes = np.bincount(patterns.coarse, rows)
    few = sizes[patterns.coarse] < SPARSE
    if not few.any():
        return patterns.coarse
    score = model.predicted[few, -1]
    order = np.argsort(score, kind="stable")
    share = np.cumsum(rows[few][order])
    pool = np.empty(len(order), dtype=np.int64)
    pool[order] = np.minimum(share * POOLS // max(int(share[-1]), 1), POOLS - 1)
    stratum = patterns.coarse.copy()
    stratum[few] = len(sizes) + pool
    return stratum


def _judge(
    model: _Null,
    column: Column,
    at: np.ndarray,
    tilde: np.ndarray,
    cell: np.ndarray,
    cell_at: np.ndarray,
    stratum: np.ndarray,
    group: np.ndarray | None,
) -> Dependence:
    """Returns effect and test from the null model and what z leaves of y."""
    from scipy.special import chdtrc  # slow to import, so only when asked

    code, rows = column.code, len(column.code)
    row_stratum = stratum[at]
    size = np.bincount(row_stratum)
    tally = np.bincount(cell, minlength=len(tilde))
    for j in range(tilde.shape[1]):
        mean = np.bincount(stratum[cell_at], tally * tilde[:, j], len(size)) / np.maximum(size, 1)
        tilde[:, j] -= mean[stratum[cell_at]]
    y = tilde[cell]
    if model.continuous:
        x = column.scaled()[code][:, None] - model.predicted[at]
        raw = x.copy()
    else:
        present = np.eye(len(column.values))[:, 1:]
        x = present[code] - _softmax(model.predicted)[at, 1:]
        raw = x
    x = (
        x
        - np.stack([(np.bincount(row_stratum, v) / np.maximum(size, 1)) for v in x.T], 1)[
            row_stratum
        ]
    )

    outer = np.stack([np.bincount(row_stratum, a * b) for a in x.T for b in x.T], 1)
    inner = np.stack([np.bincount(row_stratum, a * b) for a in y.T for b in y.T], 1)
    wide, deep = x.shape[1], y.shape[1]
    outer = outer.reshape(-1, wide, wide)[size > 1]
    inner = inner.reshape(-1, deep, deep)[size > 1]
    free = (size[size > 1] - 1)[:, None, None]
    variance = np.einsum("sac,sbd->abcd", outer, inner / free).reshape(wide * deep, wide * deep)
    score = (x.T @ y).reshape(-1)
    actual = _clustered(variance, x, y, group)
    root, rank = _whitener(variance)
    if rank == 0:
        return Dependence(rows, note="z leaves nothing of one of the two")
    shrunk = root.T @ actual @ root
    values, vectors = np.linalg.eigh(shrunk)
    statistic = float(((vectors.T @ (root.T @ score)) ** 2 / values).sum())
    if model.continuous:
        gain, coefficient = _linear_gain(raw[:, 0], y)
    else:
        counts = np.bincount(
            cell * len(column.values) + code, minlength=len(tilde) * len(column.values)
        ).reshape(len(tilde), -1)
        gain, coefficient = _logistic_gain(model.predicted[cell_at], counts, tilde)
    return Dependence(
        rows=rows,
        nats=(gain - float(values.sum())) / rows,
        log_odds=coefficient if not model.continuous and wide == deep == 1 else np.nan,
        statistic=statistic,
        df=rank,
        p=float(chdtrc(rank, statistic)),
    )


def _clustered(
    variance: np.ndarray, x: np.ndarray, y: np.ndarray, group: np.ndarray | None
) -> np.ndarray:
    """Returns the score's variance by patient, at least as large as x and y apart say."""
    if group is None:
        return variance
    count = int(group.max()) + 1
    u = (x[:, :, None] * y[:, None, :]).reshape(len(x), -1)
    sums = np.stack([np.bincount(group, v, count) for v in u.T], axis=1)
    between = sums.T @ sums - u.T @ u  # covariances between different rows of one patient
    size = np.bincount(group, minlength=count)
    pairs = float((size * (size - 1.0)).sum())
    if not pairs:
        return variance
    rho = []
    for e in (x, y):
        total = np.stack([np.bincount(group, v, count) for v in e.T], axis=1)
        own = float((e**2).sum())
        rho.append(
            max((float((total**2).sum()) - own) / pairs / (own / len(e)), 0.0) if own else 0
        )
    least = 1 + rho[0] * rho[1] * pairs / len(x)
    root, rank = _whitener(variance)
    if not rank:
        return variance
    values, vectors = np.linalg.eigh(root.T @ (variance + between) @ root)
    floored = (vectors * np.maximum(values, least)) @ vectors.T
    back = np.linalg.pinv(root)
    return back.T @ floored @ back


def _whitener(variance: np.ndarray) -> tuple[np.ndarray, int]:
    """Returns W with W' V W = 1 on the directions in which V is not zero, and their number."""
    scale = np.sqrt(np.maximum(np.diag(variance), 1e-300))
    values, vectors = np.linalg.eigh(variance / np.outer(scale, scale))
    kept = (values > 1e-9 * len(values)) & (np.diag(variance).max(initial=0) > 1e-9)
    root = (vectors[:, kept] / np.sqrt(values[kept])) / scale[:, None]
    return root, int(kept.sum())


def _linear_gain(residual: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    before = float(residual @ residual)
    slope = np.linalg.lstsq(y, residual, rcond=None)[0]
    after = float(((residual - y @ slope) ** 2).sum())
    return 0.5 * len(y) * float(np.log(before / max(after, 1e-300 + 1e-12 * before))), slope[0]


def _logistic_gain(
    logits: np.ndarray, counts: np.ndarray, added: np.ndarray
) -> tuple[float, float]:
    """Returns the log-likelihood gained with the best coefficients of `added`, and the first.

    An intercept moves along: the null model's own is the best without what is added, not with it.
    """
    added = np.concatenate([added, np.ones((len(added), 1))], axis=1)
    base = _log_likelihood(logits, counts)
    size = counts.sum(1)
    wide, deep = counts.shape[1] - 1, added.shape[1]
    gamma = np.zeros((wide, deep))
    now, current = base, logits
    for _ in range(STEPS):
        chance = _softmax(current)[:, 1:]
        slope = (counts[:, 1:] - size[:, None] * chance).T @ added - RIDGE * gamma
        curve = np.zeros((wide, deep, wide, deep))
        for a in range(wide):
            for b in range(wide):
                weight = size * chance[:, a] * ((a == b) - chance[:, b])
                curve[a, :, b, :] = added.T @ (weight[:, None] * added)
        flat = curve.reshape(wide * deep, -1) + (RIDGE + 1e-9) * np.eye(wide * deep)
        step = np.linalg.solve(flat, slope.reshape(-1)).reshape(wide, deep)
        step *= min(1.0, 3.0 / max(float(np.abs(step).max()), 1e-12))
        scale = 1.0
        while True:
            new = logits.copy()
            new[:, 1:] += added @ (gamma + scale * step).T
            then = _log_likelihood(new, counts)
            if then >= now - 1e-9 or scale < 1e-4:
                break
            scale /= 2
        gamma, current, gain = gamma + scale * step, new, then - now
        now = then
        if gain < 1e-7 * max(1.0, now - base):
            break
    return now - base, float(gamma[0, 0])
