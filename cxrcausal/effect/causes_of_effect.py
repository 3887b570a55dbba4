r"""Was it the cause: probabilities of necessity, of sufficiency, and of both, within bounds.

With an event :math:`y` and a change of the cause from :math:`x'` to :math:`x`,

.. math::
    \mathrm{PN} = P(y'_{x'} \mid x, y), \quad \mathrm{PS} = P(y_x \mid x', y'), \quad
    \mathrm{PNS} = P(y_x, y'_{x'}).

The SCM's point value comes from the coupling of its mechanisms, in closed form. No data decide it:
beside it stand the tightest bounds that experiments and observations together allow (Tian and
Pearl),

.. math::
    \max\{0, P(y_x) - P(y_{x'}), P(y) - P(y_{x'}), P(y_x) - P(y)\} \le \mathrm{PNS} \le
    \min\{P(y_x), P(y'_{x'}), P(x, y) + P(x', y'), P(y_x) - P(y_{x'}) + P(x, y') + P(x', y)\}

and those of PN and PS. The patients are those whose cause has one of the two values, in the
proportion in which the SCM expects them.

References:
    | Probabilities of Causation: Bounds and Identification
    | (Tian and Pearl, 2000), https://doi.org/10.1023/A:1018912507879
"""

from dataclasses import dataclass, replace
from typing import Unpack, final

import numpy as np
import pandas as pd

from cxrcausal.effect.agreement import Agreement
from cxrcausal.effect.basis import Claim, claim_of_treated
from cxrcausal.effect.estimation import Estimates, estimate
from cxrcausal.effect.expectation import Term
from cxrcausal.effect.question import EffectOptions, EffectQuestion, asked_with_options
from cxrcausal.effect.result import Effect
from cxrcausal.errors import OptionError
from cxrcausal.scm.model import FlowSCM

__all__ = ["Causation", "causation"]

_NAMES = ("PN", "PS", "PNS")


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


@asked_with_options
def causation(
    scm: FlowSCM,
    table: pd.DataFrame,
    cause: str,
    outcome: str,
    **options: Unpack[EffectOptions],
) -> Causation:
    """Returns PN, PS and PNS: the SCM's point values beside the Tian–Pearl bounds.

    Arguments:
        scm: A fitted SCM.
        table: The patients that are averaged over.
        cause: The variable that is set; `levels` are (without the cause, with it).
        outcome: One of its descendants, with levels; `level` is the event.
        options: The options of every effect, see `EffectQuestion`.

    Raises:
        OptionError: If the outcome is continuous. Further errors are those of `EffectQuestion`.
    """
    question = EffectQuestion(scm, table, cause, outcome, **options)
    if question.level is None:
        raise OptionError(
            f"{outcome!r} is continuous: probabilities of causation ask of an event, a level"
        )
    values = (question.low, question.high)
    without, within = (question.worlds.under(x) for x in values)
    outcomes = ((), (without,), (within,), (within, without))
    found = estimate(
        question, [Term(copies, x) for x in values for copies in outcomes], _statistics
    )
    claim = Claim("coupling", f"{question.mechanism} of {outcome}; {_bounds_rest_on(question)}")
    return Causation(*(_bounded(found, i, claim) for i in range(len(_NAMES))))


def _bounds_rest_on(question: EffectQuestion) -> str:
    """Returns in words what the bounds rest on: outcomes and shares of both groups."""
    treated = claim_of_treated(question.graph, question.worlds)
    agreement = Agreement(question.graph, question.worlds)
    shares = agreement.of_shares() if agreement.is_confounded() else ""
    if treated and not shares:
        return "its bounds follow from data"
    return f"its bounds are a claim of the model too: {shares if treated else treated.why}"


def _statistics(sums: np.ndarray) -> np.ndarray:
    """Returns PN, PS and PNS, each with its bounds, from sums by the value of the cause.

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


def _bounded(found: Estimates, number: int, claim: Claim) -> Effect:
    """Returns one of the three probabilities with its bounds, which stand behind it."""
    point, low, high = found.figures[3 * number : 3 * number + 3]
    effect = found.effect(_NAMES[number], point, claim, scale="probability")
    return replace(effect, bounds=(low.value, high.value), bounds_interval=(low.low, high.high))
