r"""Do predicted probabilities come true? Reliability of levels, and the PIT of ordered variables.

*Reliability*: rows are put into bins by the probability that their parents give to a level, each
bin with as much binomial variance :math:`\sum p (1 - p)` as the others. In each the predicted
number is compared with the observed one.

*PIT*: :math:`u = F(x \mid \mathrm{pa})` is uniform if the model is right. Of a variable that is
recorded on a grid (age, in whole years) the interval :math:`(F(x^-), F(x)]` is known, and
:math:`u` is drawn in it: that is the abducted noise.

Both tests compare a vector of sums with its variance under the model, to which the covariances of
one patient's rows are added (never below the model's own): radiographs of one patient are alike.

References:
    | Predicting good probabilities with supervised learning
    | (Niculescu-Mizil and Caruana, 2005), https://doi.org/10.1145/1102351.1102430
    | Predictive model assessment for count data
    | (Czado, Gneiting and Held, 2009), https://doi.org/10.1111/j.1541-0420.2009.01191.x
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy.stats import binom, chi2, kstest
from torch import Tensor

if TYPE_CHECKING:
    from cxrcausal.scm.check.noise import NormalScores
    from cxrcausal.scm.model import FlowSCM

__all__ = ["calibrate", "pit_of", "sum_test"]

BINS = 10
PIT_BINS = 20
FEWEST = 10.0
"""The least binomial variance of a bin, so that its sum is near enough to normal."""
LEVEL = 0.95
CHUNK = 2**16


def calibrate(
    scm: "FlowSCM", values: Mapping[str, Tensor], group: np.ndarray | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns `FitCheck.calibration` and `FitCheck.reliability`.

    Of two observed levels only the second is looked at. A level of which too few are expected has
    no test.
    """
    lines, bins = {}, []
    for name, mechanism in scm.mechanisms.items():
        variable = mechanism.variable
        if not variable.is_discrete or len(scm.observed[name]) < 2:
            continue
        cells = torch.stack([values[name], *(values[p.name] for p in mechanism.parents)])
        at = (~cells.isnan().any(0)).nonzero().squeeze(1)
        if not len(at):
            continue
        x = values[name][at].numpy()
        chance = _chances(mechanism, values, at)
        own = None if group is None else group[at.numpy()]
        observed = [k for k, level in enumerate(variable.levels) if level in scm.observed[name]]
        for k in observed[1:] if len(observed) == 2 else observed:
            line, table = _reliability((x == k).astype(np.float64), chance[:, k], own)
            lines[name, variable.levels[k]] = line
            table.insert(0, "level", variable.levels[k])
            table.insert(0, "variable", name)
            bins.append(table)
    columns = "rows gap gap_by_chance predicted observed statistic df p".split()
    table = pd.DataFrame([lines[key] for key in lines], columns=columns)
    table.index = pd.MultiIndex.from_tuples(list(lines), names=["variable", "level"])
    return table, pd.concat(bins, ignore_index=True) if bins else pd.DataFrame()


def _chances(mechanism: object, values: Mapping[str, Tensor], at: Tensor) -> np.ndarray:
    """Returns the probabilities (rows, levels) that a mechanism gives to every level."""
    parts = []
    with torch.no_grad():
        for subset in at.split(CHUNK):
            pa = {
                p.name: values[p.name][subset].to(mechanism.device)  # type: ignore[attr-defined]
                for p in mechanism.parents  # type: ignore[attr-defined]
            }
            log_p = mechanism.log_probs(pa)  # type: ignore[attr-defined]
            parts.append(log_p.exp().expand(len(subset), -1).cpu().numpy())
    return np.concatenate(parts)


def _reliability(
    y: np.ndarray, p: np.ndarray, group: np.ndarray | None
) -> tuple[dict[str, float], pd.DataFrame]:
    """Returns the summary and the bins of one level."""
    rows = len(y)
    order = np.argsort(p, kind="stable")
    info = np.cumsum((p * (1 - p))[order])
    count = int(min(BINS, max(info[-1] // FEWEST, 1)))
    wanted = np.searchsorted(info, info[-1] * np.arange(1, count) / count)
    cuts = np.unique(p[order][wanted])  # ties stay together
    bin_of = np.searchsorted(cuts, p, side="right")
    bin_of = np.unique(bin_of, return_inverse=True)[1]
    count = int(bin_of.max()) + 1
    size = np.bincount(bin_of, minlength=count)
    predicted = np.bincount(bin_of, p, count) / size
    observed = np.bincount(bin_of, y, count) / size
    variance = np.bincount(bin_of, p * (1 - p), count)
    wide = np.zeros((rows, count))
    wide[np.arange(rows), bin_of] = y - p
    enough = variance >= FEWEST / 2  # of fewer the sum is far from normal: drawn, not tested
    statistic, df, test, _ = sum_test(wide[:, enough], np.diag(variance[enough]), group)
    *_, actual = sum_test(wide, np.diag(variance), group)
    inflation = np.maximum(np.diag(actual) / np.maximum(variance, 1e-300), 1.0)
    effective = np.maximum(size / inflation, 1.0).round()
    tail = (1 - LEVEL) / 2
    clipped = predicted.clip(0, 1)
    bins = pd.DataFrame(
        {
            "predicted": predicted,
            "observed": observed,
            "low": binom.ppf(tail, effective, clipped) / effective,
            "high": binom.ppf(1 - tail, effective, clipped) / effective,
            "rows": size,
        }
    )
    by_chance = np.sqrt(2 / math.pi * np.maximum(np.diag(actual), 0)).sum() / rows
    line = {
        "rows": rows,
        "gap": float((size * abs(observed - predicted)).sum() / rows),
        "gap_by_chance": float(by_chance),
        "predicted": float(p.mean()),
        "observed": float(y.mean()),
        "statistic": statistic,
        "df": df,
        "p": test,
    }
    return line, bins


def pit_of(
    scm: "FlowSCM", noise: "NormalScores", group: np.ndarray | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns `FitCheck.pit` and `FitCheck.pit_bins`, of ordered variables of over two values."""
    lines, bins = {}, []
    for name, mechanism in scm.mechanisms.items():
        variable = mechanism.variable
        is_pit = mechanism.noise_size == 1 and variable.is_ordered and variable.kind != "binary"
        known = noise.known[name]
        if not is_pit or not known.any():
            continue
        u = noise.uniform[name][known, 0]
        own = None if group is None else group[known]
        position = np.minimum((u * PIT_BINS).astype(int), PIT_BINS - 1)
        wide = np.eye(PIT_BINS)[position] - 1 / PIT_BINS
        model = len(u) * (np.eye(PIT_BINS) / PIT_BINS - 1 / PIT_BINS**2)
        statistic, df, p, actual = sum_test(wide, model, own)
        lines[name] = {
            "rows": len(u),
            "distance": float(kstest(u, "uniform").statistic),
            "statistic": statistic,
            "df": df,
            "p": p,
        }
        inflation = np.maximum(np.diag(actual) / np.diag(model), 1.0)
        effective = np.maximum(len(u) / inflation, 1.0).round()
        tail = (1 - LEVEL) / 2
        bins.append(
            pd.DataFrame(
                {
                    "variable": name,
                    "from": np.arange(PIT_BINS) / PIT_BINS,
                    "to": np.arange(1, PIT_BINS + 1) / PIT_BINS,
                    "share": np.bincount(position, minlength=PIT_BINS) / len(u),
                    "low": binom.ppf(tail, effective, 1 / PIT_BINS) / effective,
                    "high": binom.ppf(1 - tail, effective, 1 / PIT_BINS) / effective,
                }
            )
        )
    columns = ["rows", "distance", "statistic", "df", "p"]
    table = pd.DataFrame.from_dict(lines, orient="index", columns=columns)
    return table.rename_axis("variable"), (
        pd.concat(bins, ignore_index=True) if bins else pd.DataFrame()
    )


def sum_test(
    terms: np.ndarray, variance: np.ndarray, group: np.ndarray | None
) -> tuple[float, int, float, np.ndarray]:
    """Tests that the terms (rows, columns) sum to zero.

    Arguments:
        terms: With mean zero under the model.
        variance: Of their sums under the model, rows being independent, (columns, columns).
        group: The patient of each row (rows,), or None.

    Returns:
        The statistic, its degrees of freedom, its p-value (NaN for a single patient, who does not
        tell how patients vary), and the variance with patients counted.
    """
    if not len(variance):
        return math.nan, 0, math.nan, variance
    scale = np.sqrt(np.maximum(np.diag(variance), 1e-300))
    values, vectors = np.linalg.eigh(variance / np.outer(scale, scale))
    kept = values > 1e-9 * len(values)
    kept &= bool(np.diag(variance).max(initial=0.0) > 1e-9)
    if not kept.any():
        return math.nan, 0, math.nan, np.zeros_like(variance)
    root = (vectors[:, kept] / np.sqrt(values[kept])) / scale[:, None]
    score = root.T @ terms.sum(0)
    shrunk = np.eye(int(kept.sum()))
    if group is not None:
        own = terms @ root
        sums = np.stack([np.bincount(group, column) for column in own.T], axis=1)
        between = sums.T @ sums - own.T @ own  # of different rows of one patient
        eigen, basis = np.linalg.eigh(shrunk + between)
        shrunk = (basis * np.maximum(eigen, 1.0)) @ basis.T
    statistic, df = float(score @ np.linalg.solve(shrunk, score)), len(score)
    back = np.linalg.pinv(root)
    alone = group is not None and len(np.unique(group)) < 2
    p = math.nan if alone else float(chi2.sf(statistic, df))
    return statistic, df, p, back.T @ shrunk @ back
