r"""Is the abducted noise noise? Its distribution, spectrum, and what it tells of the patient.

A round trip proves little: any network under a reversible solver passes. What abduction must
deliver is noise that is standard normal, white, and *independent of the image's parents*, since
that independence is the causal assumption. The checks here ask for each: moments and the
Kolmogorov-Smirnov statistic, the radial power spectrum, and probes that try to read sex, view or
age back from the noise, beside the same probes with the labels permuted among patients.

Whoever fits mean and scale to the parents is blind to what neither shows, so probes look elsewhere
too: at the power of bands of frequency, at the covariance of neighbours, and with a small
convolutional network at anything. They are cross-validated by patient, or fitted on some patients
and scored on others whom nobody fitted anything to.

References:
    | Kernel ridge regression in the dual, leave-one-out errors in closed form:
    | Pattern Recognition and Machine Learning (Bishop, 2006), section 6.1;
    | Regularized Least Squares (Rifkin and Lippert, 2007)
    | Spectral flatness (Wiener entropy): Digital Coding of Waveforms (Jayant and Noll, 1984)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
import pandas as pd
import torch
from scipy import special, stats
from torch import Tensor
from torch.nn import functional as F

from cxrcausal.bootstrap import (
    PatientBootstrap,
    Statistic,
    weighted_auc,
    weighted_mean,
)
from cxrcausal.errors import TableError
from cxrcausal.evaluation.predictor import Predictor
from cxrcausal.graph import CausalGraph
from cxrcausal.patients import patient_folds
from cxrcausal.scm.table import check_table, encode
from cxrcausal.shapes import Noise

__all__ = [
    "NoiseStatistics",
    "conv_probe",
    "noise_statistics",
    "radial_spectrum",
    "ridge_probe",
]

Features = Literal["pixels", "blocks", "bands", "neighbours"]

_GRID = 8  # blocks or bands per side
_OFFSETS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0))  # of neighbours: down, right

_PENALTIES = np.logspace(-3, 4, 15)  # in units of the kernel's mean eigenvalue


@final
@dataclass(frozen=True)
class NoiseStatistics:
    """The distribution of noise; that of white N(0, 1) in brackets.

    Arguments:
        mean: Of all pixels of all radiographs [0].
        std: Of the same [1].
        ks: Largest gap between their distribution function and the normal's [0].
        image_std: 5th, 50th and 95th percentile of the radiographs' own standard deviations [1, 1,
            1].
        pixel_std: The same percentiles of the pixels' standard deviations over radiographs [1, 1,
            1].
        spectrum: Mean power in each ring of spatial frequency, from low to high [1 throughout].
        flatness: Geometric over arithmetic mean of that [1]; 0 is all power in one ring.
        neighbour_correlation: Correlation of pixels side by side [0].
    """

    mean: float
    std: float
    ks: float
    image_std: tuple[float, float, float]
    pixel_std: tuple[float, float, float]
    spectrum: tuple[float, ...]
    flatness: float
    neighbour_correlation: float


def noise_statistics(noise: Noise, rings: int = 16) -> NoiseStatistics:
    """Returns the distribution of the noise of many radiographs, each figure over all of them.

    Arguments:
        noise: (images, channel, height, width), at least two radiographs.
        rings: How many rings of frequency the spectrum has.
    """
    if len(noise) < 2:
        raise TableError(
            f"{len(noise)} radiographs are too few for the statistics of noise; give two"
        )
    noise = noise.double().cpu()
    flat = noise.flatten()
    spectrum = radial_spectrum(noise, rings)
    quantiles = torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)
    of_images = noise.flatten(1).std(dim=1).quantile(quantiles).tolist()
    of_pixels = noise.std(dim=0).flatten().quantile(quantiles).tolist()
    centred = noise - flat.mean()
    sideways = (centred[..., 1:] * centred[..., :-1]).mean()
    down = (centred[..., 1:, :] * centred[..., :-1, :]).mean()
    return NoiseStatistics(
        mean=float(flat.mean()),
        std=float(flat.std()),
        ks=float(stats.kstest(flat.numpy(), special.ndtr, method="asymp").statistic),
        image_std=tuple(of_images),
        pixel_std=tuple(of_pixels),
        spectrum=tuple(spectrum.tolist()),
        flatness=float(spectrum.log().mean().exp() / spectrum.mean()),
        neighbour_correlation=float((sideways + down) / 2 / flat.var()),
    )


def radial_spectrum(noise: Noise, rings: int = 16) -> Tensor:
    """Returns the mean power per ring of spatial frequency (rings,), up to half a cycle per pixel.

    White noise of unit variance has power one in every ring; the corners beyond half a cycle per
    pixel are left out, and so is the constant.

    Arguments:
        noise: Noise of the images' shape, (batch, channel, height, width).
        rings: The number of rings, of equal width.
    """
    height, width = noise.shape[-2:]
    power = torch.fft.fft2(noise, norm="ortho").abs().square().mean(dim=(0, 1))
    y = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
    x = torch.fft.fftfreq(width, dtype=torch.float64)[None, :]
    radius = (y.square() + x.square()).sqrt()
    inside = (radius > 0) & (radius <= 0.5)
    ring = (radius[inside] * 2 * rings).ceil().long().clamp(1, rings) - 1
    total = torch.zeros(rings, dtype=torch.float64).index_add(0, ring, power[inside].double())
    count = torch.zeros(rings, dtype=torch.float64).index_add(
        0, ring, torch.ones_like(ring, dtype=torch.float64)
    )
    return (total / count)[count > 0]


def ridge_probe(
    noise: Noise,
    table: pd.DataFrame,
    graph: CausalGraph,
    variables: Sequence[str] = ("sex", "view", "age"),
    *,
    groups: str = "patient_id",
    scored: np.ndarray | None = None,
    training: np.ndarray | None = None,
    features: Features = "pixels",
    folds: int = 5,
    permutations: int = 200,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Tries to read variables from noise by ridge regression, cross-validated by patient.

    The regression is solved in the dual, on all pixels at once, with its penalty chosen inside
    each training part by leave-one-out error; labels are centred, and those of a binary variable
    are 0 and 1 (Fisher's discriminant). Chance is the same procedure with the label sequences
    permuted among patients, so it knows that radiographs of one patient resemble one another.

    Arguments:
        noise: (images, channel, height, width).
        table: Metadata, row by row.
        graph: Says kind and levels.
        variables: What to look for: binary ones, nominal ones with two levels present, continuous
            ones.
        groups: The column of patients.
        scored: Radiographs on which the probe is scored, (images,) bool; the others only train it.
        training: Radiographs that fit the probe, (images,) bool; it is scored on the others, and
            chance is the same scores beside their labels permuted. Cross-validated if left out.
        features: `pixels`; `blocks`, the logarithm of the local variance and the local mean in
            blocks of one eighth of the side, which shows what leaks through the variance; `bands`,
            the logarithm of the power in an eighth by an eighth of the indices of the image's
            cosine transform; `neighbours`, the mean product of pixels side by side, one above the
            other, diagonal and two apart, in the same blocks.
        folds: Parts of the cross-validation.
        permutations: How many permutations say what chance is.
        resamples: Of the bootstrap behind each interval.
        seed: Of folds, permutations and bootstrap.

    Returns:
        One row per variable: `metric` (AUC, or r, the correlation of predicted and true value),
        `value`, `low`, `high` (95 % by patient), `chance` (mean under permutation),
        `chance_high` (its 95th percentile), `p` (share of permutations at least as good, the
        observed one counted), `radiographs`.
    """
    x = _features(noise, features)
    patients = table[groups].to_numpy(object)
    scored = _scored(table, patients, scored, training)
    values = encode(check_table(table, graph, variables), graph, variables)
    rng = np.random.default_rng(seed)
    rows = {}
    for name in variables:
        y, discrete = _label(values[name].numpy(), graph, name)
        known = ~np.isnan(y)
        at, whose = scored[known], patients[known]
        if training is None:
            label = _permuted(y[known], whose, permutations, rng)
            score = _cross_validated(x[known], label, patient_folds(whose, folds, seed))[at]
            label = label[at]
        else:
            fit, kernel = np.flatnonzero(training[known]), x[known] @ x[known].T
            score = _ridge(kernel, y[known][fit, None], fit, np.flatnonzero(at))
            label = _permuted(y[known][at], whose[at], permutations, rng)
        bootstrap = PatientBootstrap(whose[at], resamples=resamples, seed=seed)
        rows[name] = _probe_row(score, label, discrete, bootstrap)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("variable")


def conv_probe(
    noise: Noise,
    table: pd.DataFrame,
    graph: CausalGraph,
    variables: Sequence[str] = ("sex", "view", "age"),
    *,
    groups: str = "patient_id",
    scored: np.ndarray | None = None,
    training: np.ndarray | None = None,
    folds: int = 3,
    epochs: int = 30,
    width: int = 16,
    permutations: int = 200,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Reads variables from noise by the convolutional `Predictor`.

    The network may read what a linear probe cannot, if there are radiographs enough to train it:
    on a few hundred it is the weaker of the two, and says little by finding nothing. It is too
    slow to train on permuted labels, so chance is its scores beside labels that are permuted
    among patients. Within each training part a tenth of the patients decides when to stop.

    Arguments:
        noise: (images, channel, height, width).
        table: Metadata, row by row.
        graph: Says kind and levels.
        variables: What to look for.
        groups: The column of patients.
        scored: Radiographs on which the probe is scored; the others only train it.
        training: Radiographs that train the probe, (images,) bool; it is scored on the others.
            Cross-validated by patient if left out.
        folds: Parts of the cross-validation.
        epochs: Of each part's training.
        width: Of the network.
        permutations: How many permutations say what chance is.
        resamples: Of the bootstrap.
        seed: Of folds, training, permutations and bootstrap.

    Returns:
        As `ridge_probe`.
    """
    patients = table[groups].to_numpy(object)
    scored = _scored(table, patients, scored, training)
    fold = patient_folds(patients, folds, seed) if training is None else np.where(training, -1, 0)
    scores: list[pd.DataFrame] = []
    for k in np.unique(fold[scored]):
        out, kept = np.flatnonzero((fold == k) & scored), np.flatnonzero(fold != k)
        channels, size = noise.shape[1], noise.shape[-1]
        net = Predictor(
            graph, tuple(variables), size=size, channels=channels, width=width, seed=seed + int(k)
        )
        net.fit(
            noise[kept],
            table.iloc[kept],
            groups=groups,
            validation=patient_folds(patients[kept], 10, seed + int(k)) == 0,
            epochs=epochs,
            patience=epochs,
            batch_size=32,
            augmentation=None,
        )
        scores.append(net.score(noise[out], pd.Index(out)))
    score = pd.concat(scores).sort_index()
    at = score.index.to_numpy()
    values = encode(check_table(table.iloc[at], graph, variables), graph, variables)
    rng = np.random.default_rng(seed)
    rows = {}
    for name in variables:
        y, discrete = _label(values[name].numpy(), graph, name)
        known = ~np.isnan(y)
        label = _permuted(y[known], patients[at][known], permutations, rng)
        bootstrap = PatientBootstrap(patients[at][known], resamples=resamples, seed=seed)
        rows[name] = _probe_row(score[name].to_numpy()[known, None], label, discrete, bootstrap)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("variable")


def _features(noise: Noise, kind: Features) -> np.ndarray:
    """Returns (images, features), float64, standardised over radiographs."""
    noise = noise.double().cpu()
    block = max(1, noise.shape[-1] // _GRID)
    if kind == "blocks":
        mean = F.avg_pool2d(noise, block)
        variance = (F.avg_pool2d(noise.square(), block) - mean.square()).clamp(min=1e-12)
        noise = torch.cat([variance.log(), mean], dim=1)
    elif kind == "bands":
        power = _cosine_transform(noise).square()
        noise = F.avg_pool2d(power, block).clamp(min=1e-12).log()
    elif kind == "neighbours":
        products = [noise * noise.roll((-down, -right), (-2, -1)) for down, right in _OFFSETS]
        noise = torch.cat([F.avg_pool2d(product, block) for product in products], dim=1)
    x = noise.flatten(1).numpy()
    spread = x.std(axis=0)
    return (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def _cosine_transform(images: Tensor) -> Tensor:
    """Returns the orthonormal two-dimensional cosine transform (DCT-II) of square images."""
    side = images.shape[-1]
    index = torch.arange(side, dtype=images.dtype)
    basis = torch.cos(torch.pi / side * (index[None, :] + 0.5) * index[:, None])
    basis = basis * (2 / side) ** 0.5
    basis[0] /= 2**0.5
    return basis @ images @ basis.T


def _label(values: np.ndarray, graph: CausalGraph, name: str) -> tuple[np.ndarray, bool]:
    """Returns 0 and 1 (or the value), NaN unknown, and whether the variable is discrete."""
    discrete = graph.variables[name].is_discrete
    present = np.unique(values[~np.isnan(values)])
    if len(present) < 2 or (discrete and len(present) > 2):
        raise TableError(
            f"variable {name!r} shows {len(present)} values in these radiographs; a probe tells "
            "two levels apart, or reads a number that varies"
        )
    if discrete:
        values = np.where(np.isnan(values), np.nan, values == present[-1]).astype(np.float64)
    return values, discrete


def _permuted(
    y: np.ndarray, patients: np.ndarray, permutations: int, rng: np.random.Generator
) -> np.ndarray:
    """Returns the labels (rows, 1 + permutations): as they are, then shuffled by patient.

    The patients' label sequences are put in random order and dealt out again to the rows in order
    of patient, so that labels that are constant within a patient stay nearly so.
    """
    codes, names = pd.factorize(patients)
    by_patient = np.argsort(codes, kind="stable")
    out = np.empty((len(y), 1 + permutations))
    out[:, 0] = y
    for i in range(permutations):
        place = rng.permutation(len(names))
        out[by_patient, 1 + i] = y[np.argsort(place[codes], kind="stable")]
    return out


def _scored(
    table: pd.DataFrame,
    patients: np.ndarray,
    scored: np.ndarray | None,
    training: np.ndarray | None,
) -> np.ndarray:
    """Returns on which radiographs (images,) a probe is scored.

    Raises:
        TableError: If a patient is on both sides.
    """
    scored = np.ones(len(table), bool) if scored is None else np.asarray(scored, bool)
    if training is None:
        return scored
    both = set(patients[training]) & set(patients[~training])
    if both:
        raise TableError(
            f"{len(both)} patients both fit the probe and are scored by it; take whole patients"
        )
    return scored & ~training


def _cross_validated(x: np.ndarray, labels: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Returns out-of-fold predictions (rows, labels) of ridge regressions that share a kernel."""
    kernel = x @ x.T
    out = np.empty(labels.shape)
    for k in np.unique(fold):
        test, train = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        out[test] = _ridge(kernel, labels[train], train, test)
    return out


def _ridge(
    kernel: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """Returns predictions (test rows, labels) of ridge regressions fitted on the training rows."""
    inner = kernel[np.ix_(train, train)]
    # Centre in feature space by the training part alone.
    row = inner.mean(axis=0)
    centred = inner - row[None, :] - row[:, None] + row.mean()
    cross = kernel[np.ix_(test, train)]
    cross = cross - cross.mean(axis=1, keepdims=True) - row[None, :] + row.mean()
    y = labels - labels.mean(axis=0)
    value, vector = np.linalg.eigh(centred)
    value = value.clip(min=0)
    rotated = vector.T @ y
    best = np.full(labels.shape[1], np.inf)
    weight = np.zeros_like(rotated)
    for penalty in _PENALTIES * value.mean():
        shrunk = 1 / (value + penalty)
        # Leave-one-out residual of ridge: (G y)_i / G_ii with G = (K + λ)^-1; the mean counts
        # as one more direction, hence the share of 1/n.
        residual = vector @ (shrunk[:, None] * rotated)
        diagonal = (vector**2) @ shrunk - 1 / (len(y) * penalty)
        error = ((residual / diagonal[:, None].clip(min=1e-12)) ** 2).mean(axis=0)
        better = error < best
        best[better] = error[better]
        weight[:, better] = shrunk[:, None] * rotated[:, better]
    # Without the mean: that of the training part is low where the test part's is high, by
    # construction, which would push the pooled AUC of a blind probe below one half.
    return cross @ (vector @ weight)


def _quality(score: np.ndarray, labels: np.ndarray, discrete: bool) -> np.ndarray:
    """Returns the AUC or correlation of every column, (labels,); one score may serve them all."""
    one, score = np.ones((1, len(score))), np.broadcast_to(score, labels.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = range(labels.shape[1])
        return np.array([_statistic(score[:, i], labels[:, i], discrete)(one)[0] for i in columns])


def _statistic(score: np.ndarray, label: np.ndarray, discrete: bool) -> Statistic:
    """Returns the statistic of row weights by which a probe is scored."""
    if discrete:
        return weighted_auc(score, label)
    known = ~np.isnan(label)
    s, y = np.where(known, score, np.nan), label
    terms = [weighted_mean(v) for v in (s, y, s * y, s * s, y * y)]

    def correlation(weights: np.ndarray) -> np.ndarray:
        ms, my, msy, mss, myy = (term(weights) for term in terms)
        spread = (mss - ms**2) * (myy - my**2)
        return (msy - ms * my) / np.sqrt(np.where(spread > 0, spread, np.nan))

    return correlation


def _probe_row(
    score: np.ndarray, labels: np.ndarray, discrete: bool, bootstrap: PatientBootstrap
) -> dict[str, Any]:
    """Returns what a probe found, beside what it finds of permuted labels.

    Arguments:
        score: Of the radiographs, (rows, 1), or one column per label.
        labels: (rows, 1 + permutations), the true ones first.
        discrete: Whether the variable is.
        bootstrap: Of the rows' patients.
    """
    interval = bootstrap.interval(_statistic(score[:, 0], labels[:, 0], discrete))
    chance = _quality(score, labels, discrete)[1:]
    chance = chance[~np.isnan(chance)]
    at_least = int((chance >= interval.value).sum())
    return {
        "metric": "AUC" if discrete else "r",
        "value": interval.value,
        "low": interval.low,
        "high": interval.high,
        "chance": float(chance.mean()) if len(chance) else np.nan,
        "chance_high": float(np.quantile(chance, 0.95)) if len(chance) else np.nan,
        "p": (1 + at_least) / (1 + len(chance)),
        "radiographs": len(labels),
    }
