"""The rows of one fit, each distinct one counted once, split by patient.

Rows that agree in the variable and in all its parents are one cell with a weight, so a table of
binary findings shrinks a hundredfold. Patients set aside for validation keep their own weights,
and their rows, so that a gain can be given a standard error by patient.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.errors import TableError, summarise
from cxrcausal.graph.variable import Variable

__all__ = ["Cells"]

_FEWEST_GROUPS = 50  # with fewer patients none can be spared for validation


@final
@dataclass(frozen=True)
class Cells:
    """The distinct rows of one fit, with how often each occurs.

    Arguments:
        x: Values of the variable (cells,).
        pa: Values of the parents (cells,) by name.
        train: How often each cell occurs among the training patients (cells,).
        validation: The same among the validation patients.
        validation_cell: The cell of every validation row, (validation rows,).
        validation_patient: The patient of every validation row, a number from 0.
        validation_weight: How often every validation row counts.
    """

    x: Tensor
    pa: dict[str, Tensor]
    train: Tensor
    validation: Tensor
    validation_cell: np.ndarray
    validation_patient: np.ndarray
    validation_weight: np.ndarray

    @classmethod
    def gather(
        cls,
        variable: Variable,
        parents: tuple[Variable, ...],
        values: Mapping[str, Tensor],
        weight: Tensor,
        groups: np.ndarray | None,
        validation: float,
        seed: int,
    ) -> "Cells":
        """Collects the rows where everything is known, and splits them by patient."""
        names = (variable.name, *(p.name for p in parents))
        usable = torch.stack([~values[name].isnan() for name in names]).all(0) & (weight > 0)
        if not usable.any():
            raise TableError(
                f"{variable.name!r} cannot be fitted: in none of the {len(usable)} rows are it "
                f"and its parents ({summarise(names[1:]) or 'none'}) all known"
            )
        columns = [values[name][usable].to("cpu", torch.float64).numpy() for name in names]
        count = weight[usable].numpy()
        code = np.zeros(len(count), np.int64)
        for column in columns:
            level, _ = pd.factorize(column)
            code, _ = pd.factorize(code * (level.max() + 1) + level)
        _, first = np.unique(code, return_index=True)
        patient = np.arange(len(usable)) if groups is None else pd.factorize(np.asarray(groups))[0]
        patient = patient[usable.numpy()]
        present = np.unique(patient)
        drawn = np.random.default_rng(seed & 0xFFFF_FFFF_FFFF_FFFF).random(patient.max() + 1)
        enough = len(present) >= _FEWEST_GROUPS
        aside = drawn[patient] < validation if enough else np.zeros(len(patient), bool)
        cells = len(first)
        distinct = [torch.from_numpy(np.ascontiguousarray(column[first])) for column in columns]
        return cls(
            x=distinct[0],
            pa=dict(zip(names[1:], distinct[1:], strict=True)),
            train=torch.from_numpy(np.bincount(code[~aside], count[~aside], cells)),
            validation=torch.from_numpy(np.bincount(code[aside], count[aside], cells)),
            validation_cell=code[aside],
            validation_patient=pd.factorize(patient[aside])[0],
            validation_weight=count[aside],
        )

    @property
    def total(self) -> Tensor:
        """How often each cell occurs (cells,)."""
        return self.train + self.validation

    def gain(self, before: Tensor, after: Tensor) -> tuple[float, float]:
        """Returns the mean gain on validation rows, in nats, and its standard error by patient.

        Of one patient the standard error is NaN.

        Arguments:
            before: Loss of every cell (cells,) under the smaller model.
            after: Loss of every cell under the larger one.
        """
        rows = (before - after).numpy()[self.validation_cell] * self.validation_weight
        patients = np.bincount(self.validation_patient, rows)
        sizes = np.bincount(self.validation_patient, self.validation_weight)
        mean = patients.sum() / sizes.sum()
        if len(sizes) < 2:
            return mean, math.nan  # one patient does not tell how patients vary
        return mean, float(np.sqrt(((patients - mean * sizes) ** 2).sum()) / sizes.sum())
