r"""Was it the cause: probabilities of necessity, of sufficiency, and of both, with what data allow.

With an event :math:`y` and a change of the cause from :math:`x'` to :math:`x`,

.. math::
    \mathrm{PN} = P(y'_{x'} \mid x, y), \quad \mathrm{PS} = P(y_x \mid x', y'), \quad
    \mathrm{PNS} = P(y_x, y'_{x'}).

The SCM's point value comes from the coupling of its mechanisms, in closed form. No data decide it: beside
it stand the tightest bounds that experiments and observations together allow (Tian and Pearl),

.. math::
    \max\{0, P(y_x) - P(y_{x'}), P(y) - P(y_{x'}), P(y_x) - P(y)\} \le \mathrm{PNS} \le
    \min\{P(y_x), P(y'_{x'}), P(x, y) + P(x', y'), P(y_x) - P(y_{x'}) + P(x, y') + P(x', y)\}

and those of PN and PS. The patients are those whose cause has one of the two values, in the proportion in
which the SCM expects them.

References:
    | Probabilities of Causation: Bounds and Identification
    | (Tian and Pearl, 2000), https://doi.org/10.1023/A:1018912507879
"""

from dataclasses import dataclass, replace
from typing import final

import numpy as np
import pandas as pd

from cxrcausal.effect.agreement import Agreement
from cxrcausal.effect.basis import Claim, claim_of_treated
from cxrcausal.effect.contrast import Contrast, Figure, Level, Levels, Parameters
from cxrcausal.effect.expectation import Term
from cxrcausal.effect.total import Effect, effect_from
from cxrcausal.errors import OptionError
from cxrcausal.patients import Groups
from cxrcausal.scm.model import FlowSCM

__all__ = ["Causation", "causation"]


@final
@dataclass(frozen=True)
class Causation:
    """The probabilities of causation, each with its bounds.

    Arguments:
        necessity: PN: of those with cause and outcome, who would not have had the outcome without.
        sufficiency: PS: of those with neither, who would have had the outcome with the cause.
        both: PNS: who has the outcome with the cause and not without.
    """

    necessity: Effect
    sufficiency: Effect
    both: Effect

    def __str__(self) -> str:
        return "\n".join(map(str, (self.necessity, self.sufficiency, self.both)))


def causation(
    scm: FlowSCM,
    table: pd.DataFrame,
    cause: str,
    outcome: str,
    *,
    levels: Levels | None = None,
    level: Level | None = None,
    groups: Groups = "patient_id",
    resamples: int = 1000,
    parameters: Parameters = "estimated",
    refits: int = 0,
    confidence: float = 0.95,
    num_samples: int = 256,
    seed: int = 0,
) -> Causation:
    """Returns PN, PS and PNS: the SCM's point values beside the Tian–Pearl bounds.

    Arguments:
        scm: A fitted SCM.
        table: The patients that are averaged over.
        cause: The variable that is set.
        outcome: One of its descendants, with levels.
        levels: (without the cause, with it); of a binary cause its two levels if None.
        level: The outcome's level that is the event; of a binary outcome the positive one if None.
        groups: Whose rows these are: a column, one value per row, or None.
        resamples: How many resamples of the patients there are where parameters are fixed.
        parameters: `estimated`: intervals count the estimation error of the fit, see `effect`;
            `fixed`: they hold the SCM as it is, and are too narrow for what is true of patients.
        refits: How many fits, to resampled patients of the fit's table, stand in for one-step
            replicates; 0 for these.
        confidence: The probability that the intervals cover.
        num_samples: How many draws per row stand in where a sum is too large.
        seed: Of resamples and draws.

    Raises:
        GraphError: If a name is unknown, or the outcome does not descend from the cause.
        OptionError: If the outcome is continuous, or an option is not usable.
        TableError: If the table or the groups are not usable.
    """
    contrast = Contrast(
        scm, table, cause, outcome, levels=levels, level=level, groups=groups,
        resamples=resamples, parameters=parameters, refits=refits, confidence=confidence,
        num_samples=num_samples, seed=seed,
    )  # fmt: skip
    if contrast.level is None:
        raise OptionError(
            f"{outcome!r} is continuous: probabilities of causation ask of an event, a level"
        )
    without, within = (contrast.worlds.under(x) for x in (contrast.low, contrast.high))
    asked = ((), (without,), (within,), (within, without))
    terms = [Term(copies, x) for x in (contrast.low, contrast.high) for copies in asked]
    figures, _ = contrast.measure(terms, _statistics)
    claim = Claim("coupling", f"{contrast.mechanism} of {outcome}; {_bounds_rest_on(contrast)}")
    necessity, sufficiency, both = (
        _bounded(contrast, name, figures[3 * i : 3 * i + 3], claim)
        for i, name in enumerate(("PN", "PS", "PNS"))
    )
    return Causation(necessity, sufficiency, both)


def _bounds_rest_on(contrast: Contrast) -> str:
    """Returns in words what the bounds rest on: outcomes of both groups, and how many these are."""
    treated = claim_of_treated(contrast.graph, contrast.worlds)
    agreement = Agreement(contrast.graph, contrast.worlds)
    shares = agreement.of_shares() if agreement.is_confounded() else ""
    if treated and not shares:
        return "its bounds follow from data"
    return f"its bounds are a claim of the model too: {shares if treated else treated.why}"


def _statistics(sums: np.ndarray) -> np.ndarray:
    """Returns PN, PS and PNS, each with its bounds, from sums over those without and with the cause.

    Of each: how many, with the outcome if without the cause, if with it, and by the cause alone.
    """
    everybody = (sums[:, 0] + sums[:, 4])[:, None]
    p0, y0_in0, y1_in0, moved_in0, p1, y0_in1, y1_in1, moved_in1 = (sums / everybody).T
    y1, y0, pns = y1_in0 + y1_in1, y0_in0 + y0_in1, moved_in0 + moved_in1
    xy, xy_not, x_not_y, neither = y1_in1, p1 - y1_in1, y0_in0, p0 - y0_in0
    y = xy + x_not_y
    zero, one = np.zeros_like(y), np.ones_like(y)
    low = np.maximum.reduce([zero, y1 - y0, y - y0, y1 - y])
    high = np.minimum.reduce([y1, 1 - y0, xy + neither, y1 - y0 + xy_not + x_not_y])
    pn_low = np.maximum(zero, (y - y0) / xy)
    pn_high = np.minimum(one, (1 - y0 - neither) / xy)
    ps_low = np.maximum(zero, (y1 - y) / neither)
    ps_high = np.minimum(one, (y1 - xy) / neither)
    # Where data decide, both ends are one number by two ways of rounding.
    pn_high, ps_high = np.maximum(pn_high, pn_low), np.maximum(ps_high, ps_low)
    high = np.maximum(high, low)
    pn, ps = moved_in1 / xy, moved_in0 / neither
    return np.stack([pn, pn_low, pn_high, ps, ps_low, ps_high, pns, low, high], axis=1)


def _bounded(contrast: Contrast, name: str, figures: list[Figure], claim: Claim) -> Effect:
    point, low, high = figures
    effect = effect_from(contrast, name, point, claim, scale="probability")
    return replace(effect, bounds=(low.value, high.value), bounds_interval=(low.low, high.high))
