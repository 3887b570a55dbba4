r"""Total effects: of everybody, of some, and of those who had the cause.

With :math:`Y_x` the outcome under :math:`do(X = x)` and patients :math:`i` of a table,

.. math:: \mathrm{ATE} = E[Y_{x'} - Y_x], \qquad \mathrm{ETT} = E[Y_{x'} - Y_x \mid X = x'].

What the cause does not reach is taken from the patients as they are (:math:`z_i`), the cause and
everything below it from the SCM: :math:`E[Y_x] = \frac1n \sum_i E[Y \mid do(x), z_i]`, and those
with :math:`X = x'` are the same patients weighted by :math:`p(x' \mid z_i)`. All sums are exact
where tables allow; else `monte_carlo_error` says what draws leave open.

An interval says how the figure varies from one sample of patients to another, through the patients
that are averaged over and through the fit: replicates of the mechanisms' parameters, one Newton
step each (`scm.replicates`), with patients as clusters. ``refits=20`` fits the mechanisms that the
question reads anew to resampled patients instead, twenty times, which costs minutes where the step
costs a second. With ``parameters="fixed"`` the patients alone are resampled: the interval of what
this SCM says, too narrow for what is true of patients. What is misspecified stays so in all of
them.

References:
    | Causality, chapters 3, 4 and 8 (Pearl, 2009), https://doi.org/10.1017/CBO9780511803161
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, final

import numpy as np
import pandas as pd

from cxrcausal.effect.agreement import Agreement
from cxrcausal.effect.basis import Claim, claim_of_total, claim_of_treated
from cxrcausal.effect.contrast import Contrast, Figure, Level, Levels, Parameters
from cxrcausal.effect.expectation import Term
from cxrcausal.errors import OptionError
from cxrcausal.patients import Groups
from cxrcausal.scm.model import FlowSCM

__all__ = ["Effect", "ate", "cate", "effect_from", "ett", "total_claim"]

Scale = Literal["difference", "ratio"]
"""A difference of probabilities or means, or a ratio of probabilities (the risk ratio)."""


@final
@dataclass(frozen=True)
class Effect:
    """An effect, how sure it is, and what it rests on.

    Arguments:
        name: What it is called: `ATE`, `NDE`, `PNS`.
        of: What is done and what is asked, in words.
        estimate: The figure on all patients.
        low: The lower end of its interval by patient; NaN where resamples show no spread, as of a
            single patient.
        high: The upper end.
        monte_carlo_error: The standard error that draws leave; 0 where the sums are exact.
        claim: What it rests on, by the graph.
        rows: How many rows it is averaged over.
        patients: How many patients these are.
        scale: Whether it is a difference, a ratio or a probability.
        arms: The outcome in the two worlds that are compared, if there are such.
        bounds: What data allow, where they do not decide.
        bounds_interval: The lower end of the lower and the upper end of the upper bound's
            interval.
        refits: How many fits are in the intervals; 0 for one-step replicates, or fixed parameters.
        parameters: `estimated` if the intervals count the estimation error of the fit, else
            `fixed`.
        caveat: What of the estimation error is not in the intervals, and why; empty if nothing.
        confidence: The probability that an interval covers.
    """

    name: str
    of: str
    estimate: float
    low: float
    high: float
    monte_carlo_error: float
    claim: Claim
    rows: int
    patients: int
    scale: Literal["difference", "ratio", "probability"] = "difference"
    arms: tuple[float, float] | None = None
    bounds: tuple[float, float] | None = None
    bounds_interval: tuple[float, float] | None = None
    refits: int = 0
    parameters: Parameters = "fixed"
    caveat: str = ""
    confidence: float = 0.95

    @property
    def identified(self) -> bool:
        """Whether it follows from data, the graph granted."""
        return bool(self.claim)

    @property
    def statement(self) -> str:
        """What it rests on, as a sentence."""
        return str(self.claim)

    @property
    def _interval_words(self) -> str:
        """What an interval leaves out, in brackets; empty if nothing."""
        if self.claim.basis == "construction":
            return ""
        if self.parameters == "estimated":
            return f" ({self.caveat})" if self.caveat else ""
        why = f": {self.caveat}" if self.caveat else ""
        return (
            f" ({100 * self.confidence:g} % patient bootstrap, parameters fixed, estimation error "
            f"not included{why})"
        )

    def __str__(self) -> str:
        sign = "+" if self.scale == "difference" else ""
        name = f"{self.name} as a ratio" if self.scale == "ratio" else self.name
        words = f"{name}, {self.of}: {self.estimate:{sign}.4g}"
        if np.isnan(self.low) or np.isnan(self.high):
            words += f" without an interval ({self.patients} patient"
            words += "s that do not differ)" if self.patients > 1 else ")"
        else:
            words += f" [{self.low:{sign}.4g}, {self.high:{sign}.4g}]{self._interval_words}"
        if self.bounds is not None:
            words += f", bounds {self.bounds[0]:.4g} to {self.bounds[1]:.4g}"
        if self.monte_carlo_error:
            words += f", Monte-Carlo error {self.monte_carlo_error:.2g}"
        return f"{words}; {self.statement}"


def ate(
    scm: FlowSCM,
    table: pd.DataFrame,
    cause: str,
    outcome: str,
    *,
    levels: Levels | None = None,
    level: Level | None = None,
    scale: Scale = "difference",
    groups: Groups = "patient_id",
    resamples: int = 1000,
    parameters: Parameters = "estimated",
    refits: int = 0,
    confidence: float = 0.95,
    num_samples: int = 256,
    seed: int = 0,
) -> Effect:
    """Returns the average effect of setting `cause` on `outcome`.

    Arguments:
        scm: A fitted SCM.
        table: The patients that are averaged over; unknown cells are summed out.
        cause: The variable that is set.
        outcome: One of its descendants.
        levels: (from, to); of a binary cause its two levels if None.
        level: The outcome's level whose probability is asked; of a binary outcome the positive one
            if None. None for a continuous outcome, whose mean is asked.
        scale: `difference`, or `ratio` for the ratio of probabilities.
        groups: Whose rows these are: a column, one value per row, or None.
        resamples: How many resamples of the patients there are where parameters are fixed.
        parameters: `estimated`: intervals count the estimation error of the fit, see `effect`;
            `fixed`: they hold the SCM as it is, and are too narrow for what is true of patients.
        refits: How many fits, to resampled patients of the fit's table, stand in for one-step
            replicates; 0 for these.
        confidence: The probability that the interval covers.
        num_samples: How many draws per row stand in where a sum is too large.
        seed: Of resamples and draws.

    Raises:
        GraphError: If a name is unknown, or the outcome does not descend from the cause.
        InterventionError: If the cause cannot be set to these values.
        OptionError: If `levels`, `level` or `scale` is not usable.
        TableError: If the table or the groups are not usable.

    Example:
        >>> print(ate(scm, table, "pleural_effusion", "support_devices"))  # doctest: +SKIP
    """
    contrast = Contrast(
        scm, table, cause, outcome, levels=levels, level=level, groups=groups,
        resamples=resamples, parameters=parameters, refits=refits, confidence=confidence,
        num_samples=num_samples, seed=seed,
    )  # fmt: skip
    return _total(contrast, "ATE", None, scale, total_claim(contrast))


def cate(
    scm: FlowSCM,
    table: pd.DataFrame,
    cause: str,
    outcome: str,
    given: Mapping[str, object],
    *,
    levels: Levels | None = None,
    level: Level | None = None,
    scale: Scale = "difference",
    groups: Groups = "patient_id",
    resamples: int = 1000,
    parameters: Parameters = "estimated",
    refits: int = 0,
    confidence: float = 0.95,
    num_samples: int = 256,
    seed: int = 0,
) -> Effect:
    """Returns the average effect among patients alike in what the cause does not change.

    That the average effect follows from data does not say that this one does: it has a verdict of
    its own (`CausalGraph.identifiable` with ``given``).

    Arguments:
        scm: A fitted SCM.
        table: The patients; rows where a cell of `given` is unknown are left out.
        cause: The variable that is set.
        outcome: One of its descendants.
        given: Which patients: variable to level, to several levels, to a number or to (low, high);
            levels are named as in a table, so 0 and 1, or False and True, are a binary one's two.
        levels: As in `ate`.
        level: As in `ate`.
        scale: As in `ate`.
        groups: As in `ate`.
        resamples: As in `ate`.
        parameters: As in `ate`.
        refits: As in `ate`.
        confidence: As in `ate`.
        num_samples: As in `ate`.
        seed: As in `ate`.

    Raises:
        GraphError: If a name is unknown, or one of `given` changes with the cause.
        OptionError: If `levels`, `level`, `scale` or a value of `given` is not usable.
        TableError: If the table is not usable, or no row is left.
    """
    contrast = Contrast(
        scm, table, cause, outcome, levels=levels, level=level, groups=groups,
        resamples=resamples, parameters=parameters, refits=refits, confidence=confidence,
        num_samples=num_samples, seed=seed,
    )  # fmt: skip
    where = contrast.restrict(given)
    pooled = not all(np.isscalar(wanted) for wanted in given.values())
    claim = claim_of_total(contrast.graph, contrast.worlds, given, pooled=pooled)
    return _total(contrast, f"CATE ({where})", None, scale, claim)


def ett(
    scm: FlowSCM,
    table: pd.DataFrame,
    cause: str,
    outcome: str,
    *,
    levels: Levels | None = None,
    level: Level | None = None,
    scale: Scale = "difference",
    groups: Groups = "patient_id",
    resamples: int = 1000,
    parameters: Parameters = "estimated",
    refits: int = 0,
    confidence: float = 0.95,
    num_samples: int = 256,
    seed: int = 0,
) -> Effect:
    """Returns the effect of treatment on the treated: among those whose cause has the second level.

    Where nothing but the causal paths ties cause and outcome (sex, age and race in `cxr19`, which
    are roots), it is the average effect by construction.

    Arguments:
        scm: A fitted SCM.
        table: The patients.
        cause: The variable that is set.
        outcome: One of its descendants.
        levels: As in `ate`.
        level: As in `ate`.
        scale: As in `ate`.
        groups: As in `ate`.
        resamples: As in `ate`.
        parameters: As in `ate`.
        refits: As in `ate`.
        confidence: As in `ate`.
        num_samples: As in `ate`.
        seed: As in `ate`.
    """
    contrast = Contrast(
        scm, table, cause, outcome, levels=levels, level=level, groups=groups,
        resamples=resamples, parameters=parameters, refits=refits, confidence=confidence,
        num_samples=num_samples, seed=seed,
    )  # fmt: skip
    claim = claim_of_treated(contrast.graph, contrast.worlds)
    if not Agreement(contrast.graph, contrast.worlds).is_confounded():
        same = f"the same as the ATE, since only causal paths tie {cause} and {outcome}"
        claim = replace(claim, why=f"{same}; {claim.why}")
    return _total(contrast, "ETT", contrast.given(contrast.high), scale, claim)


def total_claim(contrast: Contrast) -> Claim:
    """Returns what the average effect rests on."""
    return claim_of_total(contrast.graph, contrast.worlds)


def effect_from(
    contrast: Contrast,
    name: str,
    figure: Figure,
    claim: Claim,
    *,
    scale: Literal["difference", "ratio", "probability"] = "difference",
    arms: tuple[float, float] | None = None,
) -> Effect:
    """Returns a figure as an effect; one that is zero by construction has no interval."""
    least, most = (-1.0, 1.0) if contrast.level is not None else (-np.inf, np.inf)
    least, most = {"ratio": (0.0, np.inf), "probability": (0.0, 1.0)}.get(scale, (least, most))
    low, high = (float(np.clip(end, least, most)) for end in (figure.low, figure.high))
    figure = figure._replace(low=low, high=high)
    if claim.basis == "construction":
        figure = Figure(0.0, 0.0, 0.0, 0.0)
    return Effect(
        name,
        f"{contrast.shift} on {contrast.asked}",
        *figure,
        claim,
        len(contrast.kept),
        contrast.patients,
        scale,
        arms,
        refits=contrast.refits,
        parameters="estimated" if contrast.counts_the_fit else "fixed",
        caveat="" if contrast.refits else contrast.uncertainty.why,
        confidence=contrast.confidence,
    )


def _total(
    contrast: Contrast, name: str, given: float | None, scale: Scale, claim: Claim
) -> Effect:
    if scale not in ("difference", "ratio"):
        raise OptionError(f"scale is 'difference' or 'ratio'; found {scale!r}")
    if scale == "ratio" and contrast.level is None:
        raise OptionError(
            f"a risk ratio compares probabilities, and {contrast.outcome!r} is continuous"
        )
    low, high = contrast.worlds.under(contrast.low), contrast.worlds.under(contrast.high)
    terms = [Term((), given), Term((low,), given), Term((high,), given)]

    def statistics(sums: np.ndarray) -> np.ndarray:
        n, without, within = sums.T
        compared = within / without if scale == "ratio" else (within - without) / n
        return compared[:, None]

    figures, sums = contrast.measure(terms, statistics)
    arms = float(sums[1] / sums[0]), float(sums[2] / sums[0])
    return effect_from(contrast, name, figures[0], claim, scale=scale, arms=arms)
