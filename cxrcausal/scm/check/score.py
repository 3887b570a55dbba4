"""Scores on other rows beside what needs no graph: each variable's own frequencies.

The marginal is that of the other patients of the same table, ten folds of patients in turn, so
that it knows as little of a row as the SCM does. Levels and grids by their frequencies, half a
row added to each; a continuum by a Gaussian kernel (Silverman's width). The rows of one patient
have no standard error, and no test.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import logsumexp, ndtr
from torch import Tensor

if TYPE_CHECKING:
    from cxrcausal.scm.model import FlowSCM

__all__ = ["score_beside_marginal"]

FOLDS = 10
KERNELS = 1000
"""The most rows on which a kernel stands."""


def score_beside_marginal(
    scm: "FlowSCM",
    scores: pd.DataFrame,
    values: Mapping[str, Tensor],
    patient: np.ndarray,
    draw: np.random.Generator,
) -> pd.DataFrame:
    """Returns `FitCheck.scores`.

    Arguments:
        scm: The fitted SCM.
        scores: Log-probabilities (rows, variables), NaN where unknown.
        values: Values (rows,) by variable.
        patient: The patient of each row, (rows,), as small numbers.
        draw: Makes the folds.
    """
    fold = draw.permutation(int(patient.max()) + 1)[patient] % FOLDS
    lines = {}
    for name, mechanism in scm.mechanisms.items():
        score = scores[name].to_numpy()
        known = ~np.isnan(score) & ~values[name].isnan().numpy()
        is_constant = mechanism.variable.is_discrete and len(scm.observed[name]) < 2
        if is_constant or not known.any():
            continue
        x = values[name].numpy()[known]
        support = mechanism.support
        grid = None if support is None else support.cpu().numpy()
        marginal = _marginal(x, fold[known], grid, draw)
        gain = score[known] - marginal
        total = np.bincount(patient[known], gain - gain.mean())
        several = len(np.unique(patient[known])) > 1  # one does not tell how patients vary
        error = math.sqrt(float((total**2).sum())) / len(gain) if several else math.nan
        lines[name] = {
            "rows": len(gain),
            "nats": score[known].mean(),
            "marginal": marginal.mean(),
            "gain": gain.mean(),
            "standard_error": error,
            "p": 1.0 if error == 0 else float(ndtr(gain.mean() / error)),
        }
    columns = ["rows", "nats", "marginal", "gain", "standard_error", "p"]
    table = pd.DataFrame.from_dict(lines, orient="index", columns=columns)
    return table.rename_axis("variable")


def _marginal(
    x: np.ndarray, fold: np.ndarray, grid: np.ndarray | None, draw: np.random.Generator
) -> np.ndarray:
    """Returns log-probabilities (rows,) of values under the frequencies of the other folds."""
    out = np.empty(len(x))
    for k in np.unique(fold):
        own = fold == k
        others = x if own.all() else x[~own]  # a single patient has no others
        if grid is None:
            out[own] = _kernel(x[own], others, draw)
            continue
        position = np.searchsorted(grid, others)
        counts = np.bincount(position.clip(max=len(grid) - 1), minlength=len(grid)) + 0.5
        at = np.searchsorted(grid, x[own]).clip(max=len(grid) - 1)
        out[own] = np.log(counts / counts.sum())[at]
    return out


def _kernel(x: np.ndarray, others: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Returns log-densities (rows,) under Gaussian kernels on a subset of the others."""
    low, high = np.quantile(others, [0.25, 0.75])
    spread = min(others.std(), (high - low) / 1.34) or others.std() or 1.0
    width = 0.9 * spread * len(others) ** -0.2
    if len(others) > KERNELS:
        others = draw.choice(others, KERNELS, replace=False)
    parts = [
        logsumexp(-0.5 * ((piece[:, None] - others) / width) ** 2, axis=1)
        for piece in np.array_split(x, max(1, len(x) // 2000))
    ]
    return np.concatenate(parts) - math.log(len(others) * width * math.sqrt(2 * math.pi))
