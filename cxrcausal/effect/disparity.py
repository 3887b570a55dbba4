r"""Why an outcome differs between groups: directly, by what the group changes, or by what goes with it.

The difference that is seen, :math:`\mathrm{TV}_{x_0, x_1} = P(y \mid x_1) - P(y \mid x_0)`, is a sum of three
counterfactual effects with :math:`W` all that lies between,

.. math::
    \mathrm{TV}_{x_0,x_1}(y) &= \mathrm{Ctf\text{-}SE}_{x_0,x_1}(y)
        + \mathrm{Ctf\text{-}IE}_{x_0,x_1}(y \mid x_1) - \mathrm{Ctf\text{-}DE}_{x_1,x_0}(y \mid x_1) \\
    \mathrm{Ctf\text{-}SE} &= P(y_{x_0} \mid x_1) - P(y \mid x_0), \\
    \mathrm{Ctf\text{-}IE} &= P(y_{x_0, W_{x_1}} \mid x_1) - P(y_{x_0} \mid x_1), \\
    \mathrm{Ctf\text{-}DE}_{x_1,x_0} &= P(y_{x_0, W_{x_1}} \mid x_1) - P(y_{x_1} \mid x_1).

Where the graph, hidden causes and selection counted, lets nothing but causal paths tie group and outcome (in
`cxr19` sex, age and race are roots), the spurious part is zero by construction: that is an assumption read
from the graph, not a finding. Two roots that one selection depends on are tied among the selected.
`observed` is the difference in the table itself, for comparison.

References:
    | Fairness in Decision-Making: The Causal Explanation Formula
    | (Zhang and Bareinboim, 2018), https://doi.org/10.1609/aaai.v32i1.11564
    | Causal Fairness Analysis
    | (Plecko and Bareinboim, 2022), https://arxiv.org/abs/2207.11385
"""

from dataclasses import dataclass
from typing import final

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
from cxrcausal.effect.contrast import Contrast, Level, Levels, Parameters
from cxrcausal.effect.expectation import Term
from cxrcausal.effect.total import Effect, effect_from
from cxrcausal.patients import Groups
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
        observed: The difference in the table itself, where cause and outcome are known; what it has
            more than `variation` is what the SCM, or its graph, does not have.
    """

    variation: Effect
    direct: Effect
    indirect: Effect
    spurious: Effect
    observed: Interval

    def __str__(self) -> str:
        effects = (self.variation, self.spurious, self.indirect, self.direct)
        return "\n".join([*map(str, effects), f"observed in the table: {self.observed:+.4g}"])


def ctf_effects(
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
) -> CtfEffects:
    """Returns the counterfactual direct, indirect and spurious parts of a difference between groups.

    Arguments:
        scm: A fitted SCM.
        table: The patients that are averaged over.
        cause: The variable that makes the groups.
        outcome: One of its descendants.
        levels: (x0, x1), the two groups; of a binary cause its two levels if None.
        level: The outcome's level; of a binary outcome the positive one, of a continuous one None.
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
        OptionError: If an option is not usable.
        TableError: If the table or the groups are not usable.
    """
    contrast = Contrast(
        scm, table, cause, outcome, levels=levels, level=level, groups=groups,
        resamples=resamples, parameters=parameters, refits=refits, confidence=confidence,
        num_samples=num_samples, seed=seed,
    )  # fmt: skip
    worlds, x0, x1 = contrast.worlds, contrast.low, contrast.high
    in0, in1 = contrast.given(x0), contrast.given(x1)
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

    figures, _ = contrast.measure(terms, statistics)
    treated = claim_of_treated(contrast.graph, worlds)
    both = claim_of_nested(contrast.graph, worlds, [mixed], treated=True)
    direct = indirect = both
    if mixed is y1:
        direct = claim_of_zero(contrast.graph, worlds, f"no arrow {cause} → {outcome}")
    if mixed is y0:
        indirect = claim_of_zero(contrast.graph, worlds, "nothing lies between")
    seen, spurious = claim_of_groups(contrast.graph, worlds), treated
    if not Agreement(contrast.graph, worlds).is_confounded():
        spurious = Claim("construction", f"only causal paths tie {cause} and {outcome}")
    variation, de, ie, se = (
        effect_from(contrast, name, figure, claim)
        for name, claim, figure in zip(
            ("TV", "Ctf-DE of the way back", "Ctf-IE", "Ctf-SE"),
            (seen, direct, indirect, spurious),
            figures,
            strict=True,
        )
    )
    return CtfEffects(variation, de, ie, se, _observed(contrast))


def _observed(contrast: Contrast) -> Interval:
    """Returns the difference between the groups in the table itself."""
    x = contrast.values[contrast.cause].cpu().numpy()
    y = contrast.values[contrast.outcome].cpu().numpy()
    if contrast.level is not None:
        y = np.where(np.isnan(y), np.nan, y == contrast.level)
    group = np.where(x == contrast.high, 1.0, np.where(x == contrast.low, 0.0, np.nan))
    known = ~(np.isnan(y) | np.isnan(group))
    if not known.any():
        return Interval(np.nan, np.nan, np.nan)
    bootstrap = PatientBootstrap(
        contrast.of_rows[known],
        resamples=contrast.resamples,
        confidence=contrast.confidence,
        seed=contrast.seed,
    )
    return bootstrap.interval(weighted_slope(y[known], group[known]))
