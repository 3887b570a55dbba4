"""How far an effect may be off, by the patients that are averaged over and by the fit itself.

An effect is a function of sums over patients of what the SCM expects of each. Both vary from
sample to sample: the patients, and the parameters of the mechanisms that the question reads. A fit
keeps replicates of its parameters (`scm.replicates`); under each the sums are taken once more,
with the weights of the very patients that the replicate was drawn with, where the table is the
fit's, and with weights of their own where it is another. To first order the sums change with each
direction in which the replicates went (few, where few parameters are read) in proportion; that
slope is a mean over patients, and is taken of a part of them.

The interval is Student's, by the spread of the figure over the replicates. Where the spread of the
fit is not known the parameters are fixed, and the effect says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import pandas as pd

from cxrcausal.effect.expectation import Term
from cxrcausal.effect.question import EffectQuestion
from cxrcausal.errors import summarise
from cxrcausal.scm.fit.nodewise import data_fingerprint
from cxrcausal.scm.replicates import Replicates, patient_weights, replicate, stepped

__all__ = ["Uncertainty", "uncertainty_of"]

MOST_ROWS = 2000
"""The most rows over which the slope along a direction is averaged."""
MOST_DRAWN = 200
"""The same where draws stand in for a sum that is too large."""
SHARE = 0.1
"""The share of a standard deviation that is gone along a direction to find the slope."""
_OTHER = 1  # added to the seed: other patients' weights have nothing to do with those of the fit


@final
@dataclass(frozen=True)
class Uncertainty:
    """What is known of the error of the parameters that a question reads.

    Arguments:
        replicates: The replicates of the parameters; None if they are fixed.
        same: Whether the table is the fit's, so that its patients' weights are the replicates'
            own.
        why: The part of the estimation error that is not included, and why; empty if none.
    """

    replicates: Replicates | None
    same: bool = False
    why: str = ""

    @property
    def patients(self) -> int:
        """How many patients the parameters were estimated from."""
        return 0 if self.replicates is None else self.replicates.patients

    def changes(
        self, question: EffectQuestion, terms: Sequence[Term], expected: np.ndarray, *, exact: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns how sums of terms over all rows change in every replicate, (draws, terms) each.

        Once through the weights of the patients, once through the parameters.

        Arguments:
            question: The question, whose patients are summed over.
            terms: The terms, each expected of every row.
            expected: The expectations of each row under the fitted mechanisms, (rows, terms).
            exact: Whether the expectations are free of sampling.
        """
        assert self.replicates is not None
        codes, present = pd.factorize(question.of_rows[question.kept])
        of_patient = np.zeros((len(present), len(terms)))
        np.add.at(of_patient, codes, expected)
        own = self.replicates.seed + (0 if self.same else _OTHER)
        weights = patient_weights(question.words[present], own)
        rows, most = question.kept, MOST_ROWS if exact else MOST_DRAWN
        if len(rows) > most:  # a slope is a mean over patients: a part of them suffices
            chosen = np.random.default_rng(question.seed).choice(len(rows), most, replace=False)
            rows = rows[np.sort(chosen)]
        nested = question.nested(rows)
        before = nested.expectations(terms)[0].mean(0).sum(0)
        times, directions = self.replicates.directions(question.reads(terms))
        after = [
            nested.under(mechanisms).expectations(terms)[0].mean(0).sum(0)
            for mechanisms in stepped(question.scm.mechanisms, directions, SHARE)
        ]
        slopes = (np.array(after).reshape(-1, len(terms)) - before) / SHARE
        return weights.T @ of_patient, times @ slopes * len(codes) / len(rows)


def uncertainty_of(question: EffectQuestion, terms: Sequence[Term]) -> Uncertainty:
    """Returns what is known of the error of the parameters that a question's terms read.

    What the fit kept serves if it took the same rows as one patient's as the question does. Where
    it did not, or kept nothing (an old checkpoint), the replicates are drawn now if the table is
    the fit's.

    Arguments:
        question: The question, with `parameters` fixed if their error is not asked for.
        terms: The terms, each expected of every patient.
    """
    if question.parameters == "fixed" or question.refits:
        return Uncertainty(None)
    scm, labels, read = question.scm, question.labels, question.reads(terms)
    state = scm._state
    if state.data_fingerprint is None:
        return Uncertainty(None, why="its mechanisms were given, not fitted")
    if state.policies.get("missing") == "em":
        return Uncertainty(None, why="it was fitted by EM")
    kept = state.replicates
    same = data_fingerprint(question.table, scm.graph) == state.data_fingerprint
    if same and (kept is None or kept.by_patient != (labels is not None)):
        cells = {name: x.cpu() for name, x in question.evidence.values.items()}
        kept = replicate(state.mechanisms, cells, labels, question.table.index, 0, read)
    if kept is None:
        return Uncertainty(None, why="the fit kept no replicates, and this is not its table")
    missed = [name for name in read if name not in kept.steps]
    if len(missed) == len(read):
        return Uncertainty(None, why=f"of {summarise(missed)} none is known")
    why = f"estimation error of {summarise(missed)} not included" if missed else ""
    if labels is not None and not kept.by_patient and len(np.unique(labels)) < len(labels):
        why = "; ".join(filter(None, [why, "the fit took each of its rows as a patient"]))
    return Uncertainty(kept, same, why)
