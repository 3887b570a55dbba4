r"""Which way an effect goes: natural direct and indirect effects, and effects along chosen paths.

With mediators :math:`M` between :math:`X` and :math:`Y` and a change from :math:`x` to :math:`x'`,

.. math::
    \mathrm{TE} = E[Y_{x'} - Y_x], \quad
    \mathrm{NDE} = E[Y_{x', M_x} - Y_x], \quad
    \mathrm{NIE} = E[Y_{x, M_{x'}} - Y_x], \quad
    \mathrm{TE}_{x, x'} = \mathrm{NDE}_{x, x'} - \mathrm{NIE}_{x', x},

the last being the indirect effect of the way back. A path-specific effect lets the change run along some
causal paths only. Where one variable would have to hear of both values at once (a recanting witness), the
figure rests on the mechanisms' coupling, and says so.

References:
    | Direct and Indirect Effects
    | (Pearl, 2001), https://arxiv.org/abs/1301.2300
    | Identifiability of Path-Specific Effects
    | (Avin, Shpitser and Pearl, 2005), https://www.ijcai.org/Proceedings/05/Papers/0886.pdf
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import pandas as pd

from cxrcausal.effect.basis import claim_of_nested, claim_of_zero
from cxrcausal.effect.contrast import Contrast, Level, Levels, Parameters
from cxrcausal.effect.expectation import Term
from cxrcausal.effect.total import Effect, effect_from, total_claim
from cxrcausal.errors import OptionError
from cxrcausal.patients import Groups
from cxrcausal.scm.model import FlowSCM

__all__ = ["NaturalEffects", "natural_effects", "path_specific_effect"]


@final
@dataclass(frozen=True)
class NaturalEffects:
    """A total effect and its natural parts: total = direct − reverse.

    Arguments:
        total: Of the change itself, the ATE.
        direct: Of the change where the mediators stay what they were (NDE).
        indirect: Of what the change does to the mediators alone (NIE).
        reverse: The NIE of the way back, from the second level to the first.
        mediators: Which variables these are.
    """

    total: Effect
    direct: Effect
    indirect: Effect
    reverse: Effect
    mediators: tuple[str, ...]

    def __str__(self) -> str:
        effects = (self.total, self.direct, self.indirect, self.reverse)
        return "\n".join([*map(str, effects), f"mediators: {', '.join(self.mediators) or 'none'}"])


def natural_effects(
    scm: FlowSCM,
    table: pd.DataFrame,
    cause: str,
    outcome: str,
    *,
    mediators: Collection[str] | None = None,
    levels: Levels | None = None,
    level: Level | None = None,
    groups: Groups = "patient_id",
    resamples: int = 1000,
    parameters: Parameters = "estimated",
    refits: int = 0,
    confidence: float = 0.95,
    num_samples: int = 256,
    seed: int = 0,
) -> NaturalEffects:
    """Returns the total effect, the natural direct one and the natural indirect one.

    Arguments:
        scm: A fitted SCM.
        table: The patients that are averaged over.
        cause: The variable that is set.
        outcome: One of its descendants.
        mediators: Through what an effect counts as indirect; everything between if None.
        levels: (from, to); of a binary cause its two levels if None.
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
        GraphError: If a name is unknown, the outcome does not descend from the cause, or a mediator
            is not between them.
        OptionError: If an option is not usable.
        TableError: If the table or the groups are not usable.
    """
    contrast = Contrast(
        scm, table, cause, outcome, levels=levels, level=level, groups=groups,
        resamples=resamples, parameters=parameters, refits=refits, confidence=confidence,
        num_samples=num_samples, seed=seed,
    )  # fmt: skip
    worlds, x, star = contrast.worlds, contrast.low, contrast.high
    chosen = worlds.mediators if mediators is None else tuple(mediators)
    before, after = worlds.under(x), worlds.under(star)
    direct = worlds.with_mediators(star, x, chosen)
    indirect = worlds.with_mediators(x, star, chosen)
    terms = [Term(), *(Term((copy,)) for copy in (before, after, direct, indirect))]

    def statistics(sums: np.ndarray) -> np.ndarray:
        n, y, y_star, d, i = sums.T
        return np.stack([y_star - y, d - y, i - y, d - y_star], axis=1) / n[:, None]

    figures, sums = contrast.measure(terms, statistics)
    y, y_star, d, i = (float(total / sums[0]) for total in sums[1:])
    named = "all" if mediators is None else ", ".join(chosen)
    direct_claim = claim_of_nested(contrast.graph, worlds, [direct])
    indirect_claim = claim_of_nested(contrast.graph, worlds, [indirect])
    if direct is before:
        why = f"every path passes the mediators ({named})"
        direct_claim = claim_of_zero(contrast.graph, worlds, why)
    if indirect is before:
        why = f"no path passes a mediator ({named})"
        indirect_claim = claim_of_zero(contrast.graph, worlds, why)
    reverse_claim = claim_of_nested(contrast.graph, worlds, [direct])
    if direct is after:
        reverse_claim = indirect_claim
    parts = [
        ("TE", total_claim(contrast), (y, y_star)),
        ("NDE", direct_claim, (y, d)),
        ("NIE", indirect_claim, (y, i)),
        ("NIE of the way back", reverse_claim, (y_star, d)),
    ]
    total, nde, nie, reverse = (
        effect_from(contrast, name, figure, claim, arms=arms)
        for (name, claim, arms), figure in zip(parts, figures, strict=True)
    )
    return NaturalEffects(total, nde, nie, reverse, chosen)


def path_specific_effect(
    scm: FlowSCM,
    table: pd.DataFrame,
    cause: str,
    outcome: str,
    *,
    paths: Sequence[Sequence[str]] | None = None,
    through: str | Collection[str] | None = None,
    levels: Levels | None = None,
    level: Level | None = None,
    groups: Groups = "patient_id",
    resamples: int = 1000,
    parameters: Parameters = "estimated",
    refits: int = 0,
    confidence: float = 0.95,
    num_samples: int = 256,
    seed: int = 0,
) -> Effect:
    """Returns the effect of a change that runs along some causal paths, all others staying as they were.

    Arguments:
        scm: A fitted SCM.
        table: The patients that are averaged over.
        cause: The variable that is set.
        outcome: One of its descendants.
        paths: The paths, each by its nodes from cause to outcome.
        through: Instead of paths: all of those that pass one of these variables.
        levels: As in `natural_effects`.
        level: As in `natural_effects`.
        groups: As in `natural_effects`.
        resamples: As in `natural_effects`.
        parameters: As in `natural_effects`.
        refits: As in `natural_effects`.
        confidence: As in `natural_effects`.
        num_samples: As in `natural_effects`.
        seed: As in `natural_effects`.

    Raises:
        GraphError: If a path is no causal path, or a variable of `through` lies on none.
        OptionError: If not exactly one of `paths` and `through` is given, or the paths are too many.
    """
    if (paths is None) == (through is None):
        raise OptionError("give either paths, or the variables that they pass (through)")
    contrast = Contrast(
        scm, table, cause, outcome, levels=levels, level=level, groups=groups,
        resamples=resamples, parameters=parameters, refits=refits, confidence=confidence,
        num_samples=num_samples, seed=seed,
    )  # fmt: skip
    worlds = contrast.worlds
    if paths is not None:
        chosen = tuple(worlds.check_path(path) for path in paths)
        words = "; ".join(" → ".join(path) for path in chosen) or "no path"
    else:
        assert through is not None
        named = (through,) if isinstance(through, str) else tuple(through)
        worlds.with_mediators(contrast.high, contrast.low, named)  # refuses what mediates nothing
        chosen, words = worlds.paths(named), f"through {', '.join(named)}"
    before = worlds.under(contrast.low)
    along = worlds.along(chosen, contrast.high, contrast.low)
    claim = claim_of_nested(contrast.graph, worlds, [along])
    if along is before:
        claim = claim_of_zero(contrast.graph, worlds, "no path carries the change")

    def statistics(sums: np.ndarray) -> np.ndarray:
        return ((sums[:, 2] - sums[:, 1]) / sums[:, 0])[:, None]

    figures, sums = contrast.measure([Term(), Term((before,)), Term((along,))], statistics)
    arms = float(sums[1] / sums[0]), float(sums[2] / sums[0])
    return effect_from(contrast, f"PSE ({words})", figures[0], claim, arms=arms)
