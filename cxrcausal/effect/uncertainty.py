"""How far an effect may be off: of the patients that are averaged over, and of the fit itself.

An effect is a function of sums over patients of what the SCM expects of each. Both vary from
sample to sample: the patients, and the parameters of the mechanisms that the question reads. A fit
keeps replicates of its parameters (`scm.replicates`); under each the sums are taken once more,
with the weights of the very patients that the replicate was drawn with, where the table is the
fit's, and with weights of their own where it is another. To first order the sums change with each
direction in which the replicates went (few, where few parameters are read) in proportion; that
slope is a mean over patients, and is taken of some of them.

The interval is Student's, by the spread of the figure over the replicates. Where the spread of the
fit is not known the parameters are fixed, and the effect says so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

import numpy as np
import pandas as pd
from torch import Tensor

from cxrcausal.effect.expectation import Nested, Term
from cxrcausal.errors import OptionError, summarise
from cxrcausal.scm.fit.nodewise import data_fingerprint
from cxrcausal.scm.replicates import Replicates, patient_weights, replicate, stepped
from cxrcausal.scm.unknown.network import Mechanisms

if TYPE_CHECKING:
    from cxrcausal.scm.model import FlowSCM

__all__ = ["Parameters", "Uncertainty", "check_parameters", "uncertainty_of"]

Parameters = Literal["estimated", "fixed"]
"""Whether an interval counts that the SCM's parameters were estimated, or takes them as given."""

MOST_ROWS = 2000
"""Of how many rows the slope along a direction is averaged."""
MOST_DRAWN = 200
"""The same where draws stand in for a sum that is too large."""
SHARE = 0.1
"""How much of a standard deviation is gone along a direction to find the slope."""
_OTHER = 1  # added to the seed: other patients' weights have nothing to do with those of the fit


@final
@dataclass(frozen=True)
class Uncertainty:
    """What is known of the error of the parameters that a question reads.

    Arguments:
        replicates: Of the parameters; None if they are fixed.
        same: Whether the table is the fit's, so that its patients' weights are the replicates'
            own.
        why: What of the estimation error is not included, and why; empty if nothing.
    """

    replicates: Replicates | None
    same: bool = False
    why: str = ""

    @property
    def patients(self) -> int:
        """How many patients the parameters were estimated from."""
        return 0 if self.replicates is None else self.replicates.patients

    def changes(
        self,
        nested: Callable[[Mechanisms, np.ndarray], Nested],
        mechanisms: Mechanisms,
        read: list[str],
        terms: Sequence[Term],
        expected: np.ndarray,
        patients: tuple[np.ndarray, np.ndarray],
        *,
        exact: bool,
        seed: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns how sums of terms over all rows change in every replicate, (draws, terms) each.

        Once through the weights of the patients, once through the parameters.

        Arguments:
            nested: Questions to mechanisms about some of the rows, by their places.
            mechanisms: Those that were fitted.
            read: Whose parameters the terms depend on.
            terms: What is expected of each row.
            expected: These expectations of each row under the fitted mechanisms, (rows, terms).
            patients: The patient of each row (rows,), as a place, and the patients' words.
            exact: Whether the expectations are free of sampling.
            seed: Decides which rows stand in for all.
        """
        assert self.replicates is not None
        codes, words = patients
        of_patient = np.zeros((len(words), len(terms)))
        np.add.at(of_patient, codes, expected)
        own = self.replicates.seed + (0 if self.same else _OTHER)
        weights = patient_weights(words, own)
        some, most = np.arange(len(codes)), MOST_ROWS if exact else MOST_DRAWN
        if len(some) > most:
            some = np.sort(np.random.default_rng(seed).choice(some, most, replace=False))
        before = nested(mechanisms, some).expectations(terms)[0].mean(0).sum(0)
        times, directions = self.replicates.directions(read)
        after = [
            nested(world, some).expectations(terms)[0].mean(0).sum(0)
            for world in stepped(mechanisms, directions, SHARE)
        ]
        slopes = (np.array(after).reshape(-1, len(terms)) - before) / SHARE
        return weights.T @ of_patient, times @ slopes * len(codes) / len(some)


def uncertainty_of(
    scm: "FlowSCM",
    rows: pd.DataFrame,
    values: Mapping[str, Tensor],
    labels: np.ndarray | None,
    read: list[str],
    parameters: Parameters,
) -> Uncertainty:
    """Returns what is known of the error of the parameters that a question reads.

    What the fit kept serves if it took the same rows as one patient's as the question does. Where
    it did not, or kept nothing (an old checkpoint), the replicates are drawn now if the table is
    the fit's.

    Arguments:
        scm: A fitted SCM.
        rows: The canonical table that is asked about.
        values: The same as numbers.
        labels: The patient of each row, (rows,); None if each row is its own.
        read: The variables whose mechanisms the question reads.
        parameters: `fixed` if their error is not asked for.
    """
    if parameters == "fixed":
        return Uncertainty(None)
    state = scm._state
    if state.data_fingerprint is None:
        return Uncertainty(None, why="its mechanisms were given, not fitted")
    if state.policies.get("missing") == "em":
        return Uncertainty(None, why="it was fitted by EM")
    kept = state.replicates
    same = data_fingerprint(rows, scm.graph) == state.data_fingerprint
    if same and (kept is None or kept.by_patient != (labels is not None)):
        cells = {name: x.cpu() for name, x in values.items()}
        kept = replicate(state.mechanisms, cells, labels, rows.index, 0, read)
    if kept is None:
        return Uncertainty(None, why="the fit kept no replicates, and this is not its table")
    missed = [name for name in read if name not in kept.steps]
    if len(missed) == len(read):
        return Uncertainty(None, why=f"of {summarise(missed)} none is known")
    why = f"estimation error of {summarise(missed)} not included" if missed else ""
    if labels is not None and not kept.by_patient and len(np.unique(labels)) < len(labels):
        why = "; ".join(filter(None, [why, "the fit took each of its rows as a patient"]))
    return Uncertainty(kept, same, why)


def check_parameters(parameters: object, refits: int) -> Parameters:
    """Returns the option, if it is one and agrees with `refits`.

    Raises:
        OptionError: If there is no such option, or refits are asked for beside fixed parameters.
    """
    if parameters not in ("estimated", "fixed"):
        raise OptionError(f"parameters is 'estimated' or 'fixed'; found {parameters!r}")
    if parameters == "fixed" and refits:
        raise OptionError(
            f"parameters='fixed' leaves out the estimation error that refits={refits} asks for; "
            f"give one of them"
        )
    return parameters  # type: ignore[return-value]
