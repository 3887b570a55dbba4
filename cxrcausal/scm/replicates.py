r"""What a fit's parameters might have been, had other patients come: one-step replicates.

A mechanism's parameters :math:`\hat\theta` maximise a penalised likelihood. With patient :math:`i`
counted :math:`1 + \xi_i` times, :math:`\xi_i + 1` exponential (the Bayesian bootstrap), one Newton
step from there is

.. math:: \hat\theta^{*} - \hat\theta \approx H^{-1} \sum_i \xi_i \, s_i, \qquad
    s_i = \sum_{r \in i} \nabla_\theta \log p(x_r \mid \mathrm{pa}_r),

with :math:`H` the penalised Fisher information. Over draws of :math:`\xi` this has the sandwich
covariance with patients as clusters, so several rows of one patient count as what they are. All
mechanisms share the same :math:`\xi`, which keeps what their errors share. What is stepped is the
regression and, of a residual network, its last layer: the features that the network found are
kept. The two rates of a definition are counted anew.

The weights are a hash of a patient's label, so they can be drawn again for a table of the same
patients.

References:
    | A Score Based Approach to Wild Bootstrap Inference
    | (Kline and Santos, 2012), https://doi.org/10.1515/2156-6674.1006
    | The Bayesian Bootstrap (Rubin, 1981), https://doi.org/10.1214/aos/1176345338
    | Longitudinal data analysis using generalized linear models
    | (Liang and Zeger, 1986), https://doi.org/10.1093/biomet/73.1.13
"""

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.gradients import with_gradients
from cxrcausal.scm.fit.newton import (
    DRAWS,
    PatientWeights,
    parameter_count,
    patient_weights,
    steps_of,
    words_of_patients,
)
from cxrcausal.scm.mechanism.base import Mechanism

__all__ = [
    "DRAWS",
    "Replicates",
    "parameter_count",
    "patient_weights",
    "replicate",
    "stepped",
    "words_of_patients",
]

_NEGLIGIBLE = 1e-9


@final
@dataclass(frozen=True)
class Replicates:
    """Bootstrap replicates of the parameters of a fit.

    Arguments:
        steps: By variable, what each replicate adds to the parameters (draws, parameters); a
            variable whose mechanism cannot be stepped is not a key.
        seed: Of the patients' weights.
        by_patient: Whether rows were grouped by patient; else each row was its own.
        patients: How many patients there were.
    """

    steps: Mapping[str, Tensor]
    seed: int
    by_patient: bool
    patients: int

    def directions(self, names: list[str]) -> tuple[np.ndarray, dict[str, Tensor]]:
        """Returns the directions in which mechanisms were stepped, and by how much each time.

        There are as many as replicates or parameters, whichever are fewer, and each is as long as
        one standard deviation of the steps along it.

        Arguments:
            names: Which mechanisms.

        Returns:
            How far each replicate went (draws, directions), and by name the directions
            (directions, parameters): their product is `steps`.
        """
        named = [name for name in names if name in self.steps]
        sizes = [self.steps[name].shape[1] for name in named]
        whole = torch.cat([self.steps[name] for name in named], 1)
        left, length, right = torch.linalg.svd(whole, full_matrices=False)
        kept = length > _NEGLIGIBLE * length.max().clamp(min=1e-300)
        scale = math.sqrt(DRAWS)
        parts = (length[kept, None] * right[kept] / scale).split(sizes, 1)
        return (left[:, kept] * scale).numpy(), dict(zip(named, parts, strict=True))


def stepped(
    mechanisms: Mapping[str, Mechanism], steps: Mapping[str, Tensor], share: float = 1.0
) -> Iterator[dict[str, Mechanism]]:
    """Yields mechanisms with a step added to their parameters, one step after the other.

    The same copies are stepped on: what is yielded holds until the next one.

    Arguments:
        mechanisms: Those that were fitted, by variable.
        steps: What is added, by variable (steps, parameters).
        share: How much of each step is taken. A figure that changes by d with a small share of the
            step changes by d / share to first order, which is all that a Newton step knows: the
            coefficients of a flow that data hardly decide move far, and beyond it.
    """
    copies = {name: copy.deepcopy(mechanisms[name]) for name in steps}
    start = {name: [t.clone() for t in m.moved_tensors()] for name, m in copies.items()}
    for number in range(len(next(iter(steps.values()), ()))):
        with torch.no_grad():
            for name, mechanism in copies.items():
                step, at = share * steps[name][number], 0
                for tensor, fitted in zip(mechanism.moved_tensors(), start[name], strict=True):
                    part = step[at : at + tensor.numel()].reshape(tensor.shape)
                    tensor.copy_(fitted + part.to(fitted))
                    at += tensor.numel()
        yield {**mechanisms, **copies}


@with_gradients
def replicate(
    mechanisms: Mapping[str, Mechanism],
    values: Mapping[str, Tensor],
    patients: np.ndarray | pd.Series | None,
    index: pd.Index,
    seed: int,
    names: list[str] | None = None,
) -> Replicates:
    """Returns replicates of mechanisms that were fitted where all that they read is known.

    Arguments:
        mechanisms: Fitted mechanisms by variable.
        values: Values (rows,) of all of their variables by name, NaN where unknown.
        patients: The patient of each row (rows,); each row is its own if None.
        index: The row labels.
        seed: Of the patients' weights.
        names: Which mechanisms; all if None.
    """
    codes, words = words_of_patients(patients, index)
    weights, steps = PatientWeights(words, seed), {}
    for name in mechanisms if names is None else names:
        step = steps_of(mechanisms[name], values, codes, weights)
        if step is not None:
            steps[name] = step
    return Replicates(steps, seed, patients is not None, len(words))
