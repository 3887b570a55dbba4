r"""Total effects: among all, among patients alike in something, and among those who had the cause.

With :math:`Y_x` the outcome under :math:`do(X = x)` and patients :math:`i` of a table,

.. math:: \mathrm{ATE} = E[Y_{x'} - Y_x], \qquad \mathrm{ETT} = E[Y_{x'} - Y_x \mid X = x'].

What the cause does not reach is taken from the patients as they are (:math:`z_i`), the cause and
everything below it from the SCM: :math:`E[Y_x] = \frac1n \sum_i E[Y \mid do(x), z_i]`, and those
with :math:`X = x'` are the same patients weighted by :math:`p(x' \mid z_i)`. All sums are exact
where tables allow; else `monte_carlo_error` says what draws leave open.

References:
    | Causality, chapters 3, 4 and 8 (Pearl, 2009), https://doi.org/10.1017/CBO9780511803161
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, Unpack

import numpy as np
import pandas as pd

from cxrcausal.effect.agreement import Agreement
from cxrcausal.effect.basis import Claim, claim_of_total, claim_of_treated
from cxrcausal.effect.estimation import estimate
from cxrcausal.effect.expectation import Term
from cxrcausal.effect.question import EffectOptions, EffectQuestion, asked_with_options
from cxrcausal.effect.result import Effect
from cxrcausal.errors import OptionError
from cxrcausal.scm.model import FlowSCM

__all__ = ["ate", "cate", "ett"]

Comparison = Literal["difference", "ratio"]
"""A difference of probabilities or means, or a ratio of probabilities (the risk ratio)."""


@asked_with_options
def ate(
    scm: FlowSCM,
    table: pd.DataFrame,
    cause: str,
    outcome: str,
    *,
    scale: Comparison = "difference",
    **options: Unpack[EffectOptions],
) -> Effect:
    """Returns the average effect of setting `cause` on `outcome`.

    Arguments:
        scm: A fitted SCM.
        table: The patients that are averaged over.
        cause: The variable that is set.
        outcome: One of its descendants.
        scale: Whether the probabilities are compared by their `difference` or their `ratio`.
        options: The options of every effect, see `EffectQuestion`.

    Raises:
        OptionError: If `scale` is not usable. Further errors are those of `EffectQuestion`.

    Example:
        >>> print(ate(scm, table, "pleural_effusion", "support_devices"))  # doctest: +SKIP
    """
    question = EffectQuestion(scm, table, cause, outcome, **options)
    return _total(question, "ATE", None, scale, claim_of_total(question.graph, question.worlds))


@asked_with_options
def cate(
    scm: FlowSCM,
    table: pd.DataFrame,
    cause: str,
    outcome: str,
    given: Mapping[str, object],
    *,
    scale: Comparison = "difference",
    **options: Unpack[EffectOptions],
) -> Effect:
    """Returns the average effect among patients alike in what the cause does not change.

    That the average effect follows from data does not say that this one does: it has a verdict of
    its own (`CausalGraph.identifiable` with ``given``).

    Arguments:
        scm: A fitted SCM.
        table: The patients.
        cause: The variable that is set.
        outcome: One of its descendants.
        given: The patients who are averaged over: variable to level, to several levels, to a
            number or to (low, high), as `EffectQuestion` reads them.
        scale: Whether the probabilities are compared by their `difference` or their `ratio`.
        options: The options of every effect, see `EffectQuestion`.

    Raises:
        OptionError: If `scale` is not usable. Further errors are those of `EffectQuestion`.
    """
    question = EffectQuestion(scm, table, cause, outcome, given, **options)
    pooled = not all(np.isscalar(wanted) for wanted in given.values())
    claim = claim_of_total(question.graph, question.worlds, given, pooled=pooled)
    return _total(question, f"CATE ({question.where})", None, scale, claim)


@asked_with_options
def ett(
    scm: FlowSCM,
    table: pd.DataFrame,
    cause: str,
    outcome: str,
    *,
    scale: Comparison = "difference",
    **options: Unpack[EffectOptions],
) -> Effect:
    """Returns the effect of treatment on the treated: those whose cause has the second level.

    Where nothing but the causal paths ties cause and outcome (sex, age and race in `cxr19`, which
    are roots), it is the average effect by construction.

    Arguments:
        scm: A fitted SCM.
        table: The patients.
        cause: The variable that is set.
        outcome: One of its descendants.
        scale: Whether the probabilities are compared by their `difference` or their `ratio`.
        options: The options of every effect, see `EffectQuestion`.

    Raises:
        OptionError: If `scale` is not usable. Further errors are those of `EffectQuestion`.
    """
    question = EffectQuestion(scm, table, cause, outcome, **options)
    claim = claim_of_treated(question.graph, question.worlds)
    if not Agreement(question.graph, question.worlds).is_confounded():
        same = f"the same as the ATE, since only causal paths tie {cause} and {outcome}"
        claim = replace(claim, why=f"{same}; {claim.why}")
    return _total(question, "ETT", question.weight(question.high), scale, claim)


def _total(
    question: EffectQuestion, name: str, given: float | None, scale: Comparison, claim: Claim
) -> Effect:
    """Returns the effect among those who had one value of the cause; among all if None."""
    if scale not in ("difference", "ratio"):
        raise OptionError(f"scale is 'difference' or 'ratio'; found {scale!r}")
    if scale == "ratio" and question.level is None:
        raise OptionError(
            f"a risk ratio compares probabilities, and {question.outcome!r} is continuous"
        )
    low, high = question.worlds.under(question.low), question.worlds.under(question.high)
    terms = [Term((), given), Term((low,), given), Term((high,), given)]

    def statistics(sums: np.ndarray) -> np.ndarray:
        n, without, within = sums.T
        compared = within / without if scale == "ratio" else (within - without) / n
        return compared[:, None]

    found = estimate(question, terms, statistics)
    return found.effect(name, found.figures[0], claim, scale=scale, arms=found.arms(1, 2))
