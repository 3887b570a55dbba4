r"""The Newton step of one mechanism's parameters, had patients counted more or less than once.

Of a regression the step is that of `replicates`, in what the fit was free to move: the last
layers, with the penalty that it was fitted with. The information is Fisher's where the levels are
few, and the observed one of a location and a scale, so that the spread is right also where the
noise is not as modelled.

References:
    | A Heteroskedasticity-Consistent Covariance Matrix Estimator and a Direct Test for
    | Heteroskedasticity (White, 1980), https://doi.org/10.2307/1912934
"""

import copy
import math
from collections.abc import Iterator, Mapping
from typing import final

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_array
from torch import Tensor

from cxrcausal.randomness import label_words, uniform
from cxrcausal.scm.fit.located import limits_of
from cxrcausal.scm.fit.maximum_likelihood import effort_of
from cxrcausal.scm.mechanism.base import Mechanism
from cxrcausal.scm.mechanism.conditioner import Conditioner
from cxrcausal.scm.mechanism.regression import Regression

__all__ = [
    "DRAWS",
    "PatientWeights",
    "WeighedCells",
    "parameter_count",
    "patient_weights",
    "steps_of",
    "words_of_patients",
]

DRAWS = 100
"""How many replicates a fit keeps: enough that a standard deviation is off by a fourteenth."""

_NEGLIGIBLE = 1e-9
_MOST_LEVELS = 8  # the information of more levels is the outer product of scores
_MOST_NUMBERS = 2**22  # in memory at a time, 32 MB


def words_of_patients(
    patients: np.ndarray | pd.Series | None, index: pd.Index
) -> tuple[np.ndarray, np.ndarray]:
    """Returns whose row each is, as a number (rows,) in a list of patients, and their words.

    Arguments:
        patients: The patient of each row, (rows,); each row is its own if None.
        index: The row labels, which tell rows apart where they are unique.
    """
    if patients is None:
        labels = index if index.is_unique else pd.RangeIndex(len(index))
        return np.arange(len(index)), label_words(labels)
    codes, names = pd.factorize(np.asarray(patients, dtype=object))
    return codes, label_words(pd.Index(names), unique=False)


def patient_weights(words: np.ndarray, seed: int, draws: slice = slice(None)) -> np.ndarray:
    """Returns by how much more or less than once each patient counts in each replicate.

    Arguments:
        words: Of the patients' labels, (patients,).
        seed: Of the replicates.
        draws: Which replicates.

    Returns:
        (patients, draws), of mean 0 and variance 1, independent, above -1.
    """
    numbers = range(DRAWS)[draws]
    columns = [uniform(seed, words, "weight of a patient", draw).numpy() for draw in numbers]
    return -np.log(np.concatenate(columns, axis=1)) - 1.0


@final
class PatientWeights:
    """The weights of patients, kept for all mechanisms of a fit where they are not too many.

    Arguments:
        words: Of the patients' labels, (patients,).
        seed: Of the replicates.
    """

    def __init__(self, words: np.ndarray, seed: int) -> None:
        self.words, self.seed = words, seed
        few = len(words) * DRAWS <= _MOST_NUMBERS
        self._all = patient_weights(words, seed) if few else None

    def parts(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yields parts of the replicates and the weights (patients, replicates) in each."""
        at_once = max(1, _MOST_NUMBERS // max(len(self.words), 1))
        for start in range(0, DRAWS, at_once):
            subset = slice(start, min(start + at_once, DRAWS))
            kept = self._all
            yield (
                subset,
                patient_weights(self.words, self.seed, subset)
                if kept is None
                else kept[:, subset],
            )


@final
class WeighedCells:
    """The distinct rows of a mechanism's variables, and how often each occurs in each replicate.

    Arguments:
        values: Values (rows,) by name, the variable first.
        codes: The patient of each row, as a number.
        weights: Of the patients.
        unknown: Whether rows with an unknown cell count too.
    """

    def __init__(
        self,
        values: Mapping[str, Tensor],
        codes: np.ndarray,
        weights: PatientWeights,
        *,
        unknown: bool = False,
    ) -> None:
        columns = torch.stack(list(values.values())).numpy()
        usable = np.ones(len(codes), bool) if unknown else ~np.isnan(columns).any(0)
        cell = np.zeros(int(usable.sum()), np.int64)
        for column in columns[:, usable]:
            level, levels = pd.factorize(column)  # -1 where unknown
            cell = pd.factorize(cell * (len(levels) + 1) + level + 1)[0]
        _, first = np.unique(cell, return_index=True)
        distinct = torch.from_numpy(np.ascontiguousarray(columns[:, usable][:, first]))
        self.values = dict(zip(values, distinct, strict=True))
        self.count = np.bincount(cell, minlength=len(first)).astype(np.float64)
        self.rows = len(cell)
        self.present = np.unique(codes[usable])
        self._cell, self._own, self.weights = cell, codes[usable], weights

    def more(self, subset: np.ndarray) -> np.ndarray:
        """Returns how much more often than it does each cell of a subset occurs (cells, draws)."""
        position = np.full(len(self.count), -1)
        position[subset] = np.arange(len(subset))
        row = position[self._cell]
        kept = row >= 0
        counts = csr_array(
            (np.ones(int(kept.sum())), (row[kept], self._own[kept])),
            shape=(len(subset), len(self.weights.words)),
        )
        out = np.empty((len(subset), DRAWS))
        for draws, weights in self.weights.parts():
            out[:, draws] = counts @ (weights - weights[self.present].mean(0))
        return out


def steps_of(
    mechanism: Mechanism,
    values: Mapping[str, Tensor],
    codes: np.ndarray,
    weights: PatientWeights,
) -> Tensor | None:
    """Returns what each replicate adds to the parameters (draws, parameters); None if not known.

    Arguments:
        mechanism: A fitted mechanism.
        values: Values (rows,) by name, NaN where unknown.
        codes: The patient of each row, as a number.
        weights: Of the patients.
    """
    known = {v.name: values[v.name].cpu() for v in (mechanism.variable, *mechanism.parents)}
    if isinstance(mechanism, Regression):
        # A flow without parents stays at the distribution of its variable: nothing was fitted.
        was_fitted = bool(mechanism.parents) or mechanism.map is None
        return _newton(mechanism, WeighedCells(known, codes, weights)) if was_fitted else None
    if mechanism.moved_tensors():
        unknown = mechanism.variable.is_definition  # whose parents may be unknown
        return _counted(mechanism, WeighedCells(known, codes, weights, unknown=unknown))
    return None


def _counted(mechanism: Mechanism, cells: WeighedCells) -> Tensor:
    """Returns the steps (draws, parameters) of a maximum that is known in closed form."""
    name, *parents = cells.values
    x, pa = cells.values[name], {p: cells.values[p] for p in parents}
    other, steps = copy.deepcopy(mechanism).cpu(), []
    fitted = _flat(other)
    for more in cells.more(np.arange(len(cells.count))).T:
        other.fit_in_closed_form(x, pa, torch.from_numpy((cells.count + more).clip(min=1e-9)))
        steps.append(_flat(other) - fitted)
    return torch.stack(steps)


def _flat(mechanism: Mechanism) -> Tensor:
    """Returns a copy of the numbers (parameters,) that a step moves."""
    return torch.cat([tensor.detach().flatten() for tensor in mechanism.moved_tensors()])


def _newton(mechanism: Regression, cells: WeighedCells) -> Tensor:
    """Returns the steps (draws, parameters) of a regression, all at once."""
    other = copy.deepcopy(mechanism).cpu()
    basis, penalty, most = _free(other)
    subset = np.arange(len(cells.count))
    if len(subset) > most:  # the fit read so many of them
        subset = np.random.default_rng(cells.weights.seed & (2**64 - 1)).permutation(subset)[:most]
    name, *parents = cells.values
    x = cells.values[name][subset]
    pa = {p: cells.values[p][subset] for p in parents}
    design, theta = (t.expand(len(x), -1) for t in _design(other.conditioner, pa))
    count = torch.from_numpy(cells.count[subset])
    score = _score(other, x, theta)
    information = basis.T @ _information(other, x, score, theta, design, count) @ basis
    penalised = information + basis.T @ (penalty[:, None] * basis)
    more = torch.from_numpy(cells.more(subset))
    pull = torch.stack([(score * column[:, None]).T @ design for column in more.T]).flatten(1)
    step = torch.linalg.solve(penalised, basis.T @ pull.T).T @ basis.T
    return _as_parameters(step, score.shape[1], other.conditioner) * _correction(
        information, penalised, cells
    )


def _free(mechanism: Regression) -> tuple[Tensor, Tensor, int]:
    """Returns what a fit was free to move of the last layers, its penalty, and its most cells.

    Returns:
        An orthonormal basis (parameters, directions) of what is free, the parameters of an output
        following those of the one before; the penalty of half their squares (parameters,); and
        the most distinct rows that the fit looks at.
    """
    conditioner = mechanism.conditioner
    width, network = conditioner.features.width, conditioner.network
    columns = width + 1 + (network.layers[-1].weight.shape[1] if network.layers else 0)
    size = conditioner.outputs * columns
    if not mechanism.is_located:
        effort = effort_of(mechanism)
        penalty = torch.full((size,), effort.penalty, dtype=torch.float64)
        return torch.eye(size, dtype=torch.float64), penalty, effort.cells
    free, penalties, most = limits_of(mechanism)
    whole, none = torch.eye(width, dtype=torch.float64), torch.zeros(width, width).double()
    straight, rest = conditioner.features.straight(), columns - width - 1
    blocks = []
    for output in range(conditioner.outputs):
        if output == 0:
            weight, bias, last = whole if free.bends else straight, 1.0, 1.0
        elif output == 1:
            weight, bias, last = straight if free.spreads else none, 1.0, float(free.spreads)
        else:
            weight = whole if free.reshaped else none
            bias, last = float(free.shaped), float(free.reshaped)
        others = torch.diag(torch.tensor([bias, *([last] * rest)], dtype=torch.float64))
        value, vector = torch.linalg.eigh(torch.block_diag(weight, others))
        blocks.append(vector[:, value > 0.5])
    penalty = torch.tensor(penalties, dtype=torch.float64).repeat_interleave(columns)
    return torch.block_diag(*blocks), penalty, most


def _design(conditioner: Conditioner, pa: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Returns what last layers read (cells, columns), and coefficients (cells, outputs)."""
    with torch.no_grad():
        columns = conditioner.features(pa)
        parts, hidden = [columns, torch.ones(len(columns), 1, dtype=torch.float64)], columns
        for layer in conditioner.network.layers[:-1]:
            hidden = torch.tanh(layer(hidden))
        if conditioner.network.layers:
            parts.append(hidden)
        return torch.cat(parts, 1), conditioner.network(columns)


def parameter_count(mechanism: Mechanism) -> int:
    """Returns how many numbers a replicate adds to a mechanism; 0 if it cannot be stepped."""
    return sum(tensor.numel() for tensor in mechanism.moved_tensors())


def _as_parameters(step: Tensor, outputs: int, conditioner: Conditioner) -> Tensor:
    """Returns steps (draws, outputs * columns) in the order of `moved_tensors`."""
    step = step.unflatten(1, (outputs, -1))
    inputs = conditioner.features.width
    parts = [step[:, :, :inputs], step[:, :, inputs], step[:, :, inputs + 1 :]]
    return torch.cat([part.flatten(1) for part in parts], 1)


def _score(mechanism: Regression, x: Tensor, theta: Tensor) -> Tensor:
    """Returns each cell's gradient of the log-probability by coefficients (cells, outputs)."""
    theta = theta.detach().requires_grad_(True)
    (score,) = torch.autograd.grad(mechanism.log_prob_given(x, theta).sum(), theta)
    return score


def _information(
    mechanism: Regression,
    x: Tensor,
    score: Tensor,
    theta: Tensor,
    design: Tensor,
    count: Tensor,
) -> Tensor:
    """Returns the information (parameters, parameters) of all cells.

    Fisher's, in the mean over levels, where these are few; else the observed one of few
    coefficients, which holds whether or not the noise is as modelled; else the outer product of
    scores.
    """
    support, outputs = mechanism.support, score.shape[1]
    if support is not None and len(support) <= _MOST_LEVELS:
        inner = torch.zeros(len(theta), outputs, outputs, dtype=torch.float64)
        for level in support.tolist():
            at = torch.full((len(theta),), level, dtype=torch.float64)
            own = _score(mechanism, at, theta)
            with torch.no_grad():
                chance = mechanism.log_prob_given(at, theta).exp()
            inner += chance[:, None, None] * own[:, :, None] * own[:, None, :]
        return _weighed(inner, design, count)
    moved = (score.abs() > 0).any(0) & _matters(mechanism)
    if int(moved.sum()) <= _MOST_LEVELS:
        found = _weighed(_curvature(mechanism, x, theta, moved), design, count)
        if float(torch.linalg.eigvalsh(found).min()) > -_NEGLIGIBLE * float(found.abs().max()):
            return found
    size = outputs * design.shape[1]
    total = torch.zeros(size, size, dtype=torch.float64)
    step = max(1, _MOST_NUMBERS // size)
    for start in range(0, len(score), step):
        subset = slice(start, start + step)
        outer = (score[subset, :, None] * design[subset, None, :]).flatten(1)
        total += outer.T @ (count[subset, None] * outer)
    return total


def _matters(mechanism: Regression) -> Tensor:
    """Returns which coefficients (outputs,) a fit has moved from zero; all, if it could."""
    tensors = [tensor.reshape(len(tensor), -1) for tensor in mechanism.moved_tensors()]
    moved = torch.cat(tensors, 1).detach().abs().sum(1) > 0
    moved[:2] = True  # a location and a scale
    return moved


def _curvature(mechanism: Regression, x: Tensor, theta: Tensor, moved: Tensor) -> Tensor:
    """Returns minus each cell's second derivative (cells, outputs, outputs)."""
    theta = theta.detach().requires_grad_(True)
    inner = torch.zeros(*theta.shape, theta.shape[1], dtype=torch.float64)
    (slope,) = torch.autograd.grad(
        mechanism.log_prob_given(x, theta).sum(), theta, create_graph=True
    )
    for output in torch.nonzero(moved).flatten().tolist():
        (row,) = torch.autograd.grad(slope[:, output].sum(), theta, retain_graph=True)
        inner[:, output] = torch.where(moved, -row, 0.0)
    return inner


def _weighed(inner: Tensor, design: Tensor, count: Tensor) -> Tensor:
    """Returns the sum over cells of `inner` (cells, outputs, outputs) times their columns."""
    outputs, columns = inner.shape[1], design.shape[1]
    whole = torch.zeros(outputs, columns, outputs, columns, dtype=torch.float64)
    for a in range(outputs):
        for b in range(outputs):
            if bool(inner[:, a, b].any()):
                whole[a, :, b] = design.T @ ((count * inner[:, a, b])[:, None] * design)
    return whole.flatten(2).flatten(0, 1)


def _correction(information: Tensor, penalised: Tensor, cells: WeighedCells) -> float:
    """Returns what makes up for scores that are smaller at the parameters they were fitted to.

    The usual one of a clustered sandwich, G / (G - 1) · (n - 1) / (n - p) as a variance, with the
    effective number of parameters p of a penalised fit.
    """
    effective = float(torch.linalg.solve(penalised, information).trace())
    patients, rows = len(cells.present), cells.rows
    if patients < 2 or rows <= effective + 1:
        return math.nan
    return math.sqrt(patients / (patients - 1) * (rows - 1) / (rows - effective))
