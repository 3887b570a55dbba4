"""Figures of an effect, each with its interval: functions of a few sums over patients.

The SCM says what it expects of each patient (`Nested`), and an effect is a function of the sums of
that. So the interval by patient costs one matrix product, and figures that are estimated together
share their resamples: parts that add up to a total do so in every resample.

An interval says how the figure varies from one sample of patients to another, through the patients
that are averaged over and through the fit: replicates of the mechanisms' parameters, one Newton
step each (`scm.replicates`), with patients as clusters. ``refits=20`` fits the mechanisms that the
question reads anew to resampled patients instead, twenty times, which costs minutes where the step
costs a second. With ``parameters="fixed"`` the patients alone are resampled: the interval of what
this SCM says, too narrow for what is true of patients. What is misspecified stays so in all of
them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import pandas as pd

from cxrcausal.bootstrap import PatientBootstrap, satterthwaite, student_interval
from cxrcausal.effect.basis import Claim
from cxrcausal.effect.expectation import Term
from cxrcausal.effect.question import EffectQuestion
from cxrcausal.effect.result import Effect, Scale
from cxrcausal.effect.uncertainty import Uncertainty, uncertainty_of

__all__ = ["Estimates", "Figure", "Statistics", "estimate"]

Statistics = Callable[[np.ndarray], np.ndarray]
"""Sums (resamples, terms) give figures (resamples, figures)."""


class Figure(NamedTuple):
    """A figure, its interval by patient, and the Monte-Carlo error apart."""

    value: float
    low: float
    high: float
    error: float


@final
@dataclass(frozen=True)
class Estimates:
    """The figures of one question that were estimated together.

    Arguments:
        question: The question that they answer.
        figures: The figures, in the order of the statistics.
        sums: The sums of the terms over the whole table, (terms,).
        uncertainty: The known error of the parameters that were read.
    """

    question: EffectQuestion
    figures: list[Figure]
    sums: np.ndarray
    uncertainty: Uncertainty

    def arms(self, without: int, within: int, among: int = 0) -> tuple[float, float]:
        """Returns the outcome in the two worlds that are compared.

        Arguments:
            without: The position of the first world's term.
            within: The position of the second world's.
            among: The position of the term that counts the patients.
        """
        n = self.sums[among]
        return float(self.sums[without] / n), float(self.sums[within] / n)

    def effect(
        self,
        name: str,
        figure: Figure,
        claim: Claim,
        *,
        scale: Scale = "difference",
        arms: tuple[float, float] | None = None,
    ) -> Effect:
        """Returns a figure as an effect; one that is zero by construction has no interval."""
        question = self.question
        least, most = (-1.0, 1.0) if question.level is not None else (-np.inf, np.inf)
        least, most = {"ratio": (0.0, np.inf), "probability": (0.0, 1.0)}.get(scale, (least, most))
        low, high = (float(np.clip(end, least, most)) for end in (figure.low, figure.high))
        figure = figure._replace(low=low, high=high)
        if claim.basis == "construction":
            figure = Figure(0.0, 0.0, 0.0, 0.0)
        counts_the_fit = bool(question.refits) or self.uncertainty.replicates is not None
        return Effect(
            name,
            f"{question.shift} on {question.asked}",
            *figure,
            claim,
            len(question.kept),
            question.patients,
            scale,
            arms,
            refits=question.refits,
            parameters="estimated" if counts_the_fit else "fixed",
            caveat="" if question.refits else self.uncertainty.why,
            confidence=question.confidence,
        )


def estimate(question: EffectQuestion, terms: Sequence[Term], statistics: Statistics) -> Estimates:
    """Returns figures that are functions of sums of terms over patients.

    The interval is Student's, by the spread of the figures over replicates of patients and
    parameters; of fixed parameters it is the percentile interval of a patient bootstrap.

    Arguments:
        question: The question, whose patients are summed over.
        terms: The terms, each expected of every patient.
        statistics: The figures, from the sums of the terms.
    """
    uncertainty = uncertainty_of(question, terms)
    parts, exact = question.nested().expectations(terms)
    mean = parts.mean(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = statistics(mean.sum(0)[None])[0]
        each = np.concatenate([statistics(part.sum(0)[None]) for part in parts])
        if question.refits:
            low, high = _by_refits(question, terms, statistics, value)
        elif uncertainty.replicates is not None:
            changes = uncertainty.changes(question, terms, mean, exact=exact)
            low, high = _by_replicates(question, uncertainty, statistics, mean.sum(0), changes)
        else:
            bootstrap = PatientBootstrap(
                question.of_rows[question.kept],
                resamples=question.resamples,
                confidence=question.confidence,
                seed=question.seed,
            )
            _, low, high = bootstrap.of_sums(mean, statistics)
    error = np.zeros_like(value) if exact else each.std(0, ddof=1) / np.sqrt(len(parts))
    figures = [
        Figure(float(v), float(a), float(b), float(e))
        for v, a, b, e in zip(value, low, high, error, strict=True)
    ]
    return Estimates(question, figures, mean.sum(0), uncertainty)


def _by_replicates(
    question: EffectQuestion,
    uncertainty: Uncertainty,
    statistics: Statistics,
    sums: np.ndarray,
    changes: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ends of the figures' intervals, by one-step replicates.

    Arguments:
        question: The question, whose patients are summed over.
        uncertainty: The known error of the parameters.
        statistics: The figures, from the sums of the terms.
        sums: The sums of the terms, (terms,).
        changes: The changes of the sums with the patients and with the fit, (draws, terms) each.
    """
    value, free = statistics(sums[None])[0], question.patients - 1.0
    of_patients, of_fit = (statistics(sums + change) - value for change in changes)
    # Weights that are divided by their sum vary less than a mean does.
    of_patients *= np.sqrt((free + 2) / max(free, 1))
    parts = [part.var(0, ddof=1) for part in (of_patients, of_fit)]
    freedom = satterthwaite(parts, [free, uncertainty.patients - 1.0]) * (free > 0)
    return student_interval(value, value + (of_patients + of_fit), freedom, question.confidence)


def _by_refits(
    question: EffectQuestion, terms: Sequence[Term], statistics: Statistics, value: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ends of the figures' intervals, by fits to resampled patients."""
    free = question.patients - 1.0
    sums = np.stack([*_refitted(question, terms)])
    # A resample is of all patients, not of one less.
    changes = np.sqrt((free + 1) / max(free, 1)) * (statistics(sums) - value)
    return student_interval(value, value + changes, np.full(len(value), free), question.confidence)


def _refitted(question: EffectQuestion, terms: Sequence[Term]) -> Iterator[np.ndarray]:
    """Yields the sums (terms,) over resampled patients, of mechanisms that are fitted to them."""
    from cxrcausal.scm.fit.choice import fit_mechanism

    scm = question.scm
    rng = np.random.default_rng([question.seed, question.refits])
    values = {name: x.cpu() for name, x in question.evidence.values.items()}
    codes, patients = pd.factorize(question.of_rows)
    for _ in range(question.refits):
        share = np.full(len(patients), 1 / len(patients))
        weights = rng.multinomial(len(patients), share)[codes].astype(np.float64)
        anew = {
            name: fit_mechanism(
                scm.mechanisms[name].variable,
                scm.mechanisms[name].parents,
                values,
                question.of_rows,
                family=scm.family,
                coupling=scm.coupling,
                hidden=scm.hidden,
                weights=weights,
                seed=question.seed,
            ).to(scm.device)
            for name in question.reads(terms)
        }
        parts, _ = question.nested().under({**scm.mechanisms, **anew}).expectations(terms)
        yield weights[question.kept] @ parts.mean(0)
