r"""Why an outcome differs between groups: directly, by mediators, or by what goes with the group.

The difference that is observed, :math:`\mathrm{TV}_{x_0, x_1} = P(y \mid x_1) - P(y \mid x_0)`, is
a sum of three counterfactual effects with :math:`W` all that lies between,

.. math::
    \mathrm{TV}_{x_0,x_1}(y) &= \mathrm{Ctf\text{-}SE}_{x_0,x_1}(y)
        + \mathrm{Ctf\text{-}IE}_{x_0,x_1}(y \mid x_1)
        - \mathrm{Ctf\text{-}DE}_{x_1,x_0}(y \mid x_1) \\
    \mathrm{Ctf\text{-}SE} &= P(y_{x_0} \mid x_1) - P(y \mid x_0), \\
    \mathrm{Ctf\text{-}IE} &= P(y_{x_0, W_{x_1}} \mid x_1) - P(y_{x_0} \mid x_1), \\
    \mathrm{Ctf\text{-}DE}_{x_1,x_0} &= P(y_{x_0, W_{x_1}} \mid x_1) - P(y_{x_1} \mid x_1).

Where the graph, hidden causes and selection counted, lets nothing but causal paths tie group and
outcome (in `cxr19` sex, age and race are roots), the spurious part is zero by construction: that
is an assumption read from the graph, not a finding. Two roots that one selection depends on are
tied among the selected. `observed` is the difference in the table itself, for comparison.

References:
    | Fairness in Decision-Making: The Causal Explanation Formula
    | (Zhang and Bareinboim, 2018), https://doi.org/10.1609/aaai.v32i1.11564
    | Causal Fairness Analysis
    | (Plecko and Bareinboim, 2022), https://arxiv.org/abs/2207.11385
"""

from dataclasses import dataclass
from typing import Unpack, final

import numpy as np
import pandas as pd

from cxrcausal.bootstrap import Interval, PatientBootstrap, weighted_slope
from cxrcausal.effect.agreement import Agreement
from cxrcausal.effect.basis import (
    Claim,
    claim_of_groups,
    claim_of_nested,
    claim_of_treated,
    claim_of_zero,
)
from cxrcausal.effect.estimation import estimate
from cxrcausal.effect.expectation import Term
from cxrcausal.effect.question import EffectOptions, EffectQuestion, asked_with_options
from cxrcausal.effect.result import Effect
from cxrcausal.effect.worlds import Copy
from cxrcausal.scm.model import FlowSCM

__all__ = ["CtfEffects", "ctf_effects"]


@final
@dataclass(frozen=True)
class CtfEffects:
    """The parts of a difference between groups: variation = spurious + indirect − direct.

    Arguments:
        variation: TV, the difference between the groups as the SCM has it.
        direct: Ctf-DE of the way back, among the second group.
        indirect: Ctf-IE, among the second group.
        spurious: Ctf-SE.
        observed: The difference in the table itself, where cause and outcome are known; what it
            has more than `variation` is what the SCM, or its graph, does not have.
    """

    variation: Effect
    direct: Effect
    indirect: Effect
    spurious: Effect
    observed: Interval

    def __str__(self) -> str:
        effects = (self.variation, self.spurious, self.indirect, self.direct)
        return "\n".join([*map(str, effects), f"observed in the table: {self.observed:+.4g}"])


@asked_with_options
def ctf_effects(
    scm: FlowSCM,
    table: pd.DataFrame,
    cause: str,
    outcome: str,
    **options: Unpack[EffectOptions],
) -> CtfEffects:
    """Returns the counterfactual direct, indirect and spurious parts of a difference of groups.

    Arguments:
        scm: A fitted SCM.
        table: The patients that are averaged over.
        cause: The variable that makes the groups; `levels` are (x0, x1), the two of them.
        outcome: One of its descendants.
        options: The options of every effect, see `EffectQuestion`.

    Raises:
        OptionError: If an option is not usable. Further errors are those of `EffectQuestion`.
    """
    question = EffectQuestion(scm, table, cause, outcome, **options)
    worlds, x0, x1 = question.worlds, question.low, question.high
    in0, in1 = question.weight(x0), question.weight(x1)
    y0, y1 = worlds.under(x0), worlds.under(x1)
    mixed = worlds.with_mediators(x0, x1, worlds.mediators)
    terms = [
        Term((), in0), Term((y0,), in0),
        Term((), in1), Term((y0,), in1), Term((y1,), in1), Term((mixed,), in1),
    ]  # fmt: skip

    def statistics(sums: np.ndarray) -> np.ndarray:
        n0, y0_in0, n1, y0_in1, y1_in1, mixed_in1 = sums.T
        p00, p01, p11, m = y0_in0 / n0, y0_in1 / n1, y1_in1 / n1, mixed_in1 / n1
        return np.stack([p11 - p00, m - p11, m - p01, p01 - p00], axis=1)

    found = estimate(question, terms, statistics)
    names = ("TV", "Ctf-DE of the way back", "Ctf-IE", "Ctf-SE")
    claims = _claims(question, y0, y1, mixed)
    variation, direct, indirect, spurious = (
        found.effect(name, figure, claim)
        for name, figure, claim in zip(names, found.figures, claims, strict=True)
    )
    return CtfEffects(variation, direct, indirect, spurious, _observed(question))


def _claims(
    question: EffectQuestion, y0: Copy, y1: Copy, mixed: Copy
) -> tuple[Claim, Claim, Claim, Claim]:
    """Returns what the variation, and its direct, indirect and spurious parts rest on.

    Arguments:
        question: The question, of these groups and this outcome.
        y0: The outcome of the first group.
        y1: The outcome of the second.
        mixed: The outcome with the first group's direct path and the second group's mediators.
    """
    graph, worlds = question.graph, question.worlds
    direct = indirect = claim_of_nested(graph, worlds, [mixed], treated=True)
    if mixed is y1:
        direct = claim_of_zero(graph, worlds, f"no arrow {question.cause} → {question.outcome}")
    if mixed is y0:
        indirect = claim_of_zero(graph, worlds, "nothing lies between")
    if Agreement(graph, worlds).is_confounded():
        spurious = claim_of_treated(graph, worlds)
    else:
        only = f"only causal paths tie {question.cause} and {question.outcome}"
        spurious = Claim("construction", only)
    return claim_of_groups(graph, worlds), direct, indirect, spurious


def _observed(question: EffectQuestion) -> Interval:
    """Returns the difference between the groups in the table itself."""
    x = question.evidence.values[question.cause].cpu().numpy()
    y = question.evidence.values[question.outcome].cpu().numpy()
    if question.level is not None:
        y = np.where(np.isnan(y), np.nan, y == question.level)
    group = np.where(x == question.high, 1.0, np.where(x == question.low, 0.0, np.nan))
    known = ~(np.isnan(y) | np.isnan(group))
    if not known.any():
        return Interval(np.nan, np.nan, np.nan)
    bootstrap = PatientBootstrap(
        question.of_rows[known],
        resamples=question.resamples,
        confidence=question.confidence,
        seed=question.seed,
    )
    return bootstrap.interval(weighted_slope(y[known], group[known]))
