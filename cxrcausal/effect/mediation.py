r"""Which way an effect goes: natural direct and indirect effects, and effects along chosen paths.

With mediators :math:`M` between :math:`X` and :math:`Y` and a change from :math:`x` to :math:`x'`,

.. math::
    \mathrm{TE} = E[Y_{x'} - Y_x], \quad
    \mathrm{NDE} = E[Y_{x', M_x} - Y_x], \quad
    \mathrm{NIE} = E[Y_{x, M_{x'}} - Y_x], \quad
    \mathrm{TE}_{x, x'} = \mathrm{NDE}_{x, x'} - \mathrm{NIE}_{x', x},

the last being the indirect effect of the way back. A path-specific effect lets the change run
along some causal paths only. Where one variable would have to read both values at once (a
recanting witness), the figure rests on the mechanisms' coupling, and says so.

References:
    | Direct and Indirect Effects
    | (Pearl, 2001), https://arxiv.org/abs/1301.2300
    | Identifiability of Path-Specific Effects
    | (Avin, Shpitser and Pearl, 2005), https://www.ijcai.org/Proceedings/05/Papers/0886.pdf
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Unpack, final

import numpy as np
import pandas as pd

from cxrcausal.effect.basis import claim_of_nested, claim_of_total, claim_of_zero
from cxrcausal.effect.estimation import estimate
from cxrcausal.effect.expectation import Term
from cxrcausal.effect.question import EffectOptions, EffectQuestion, asked_with_options
from cxrcausal.effect.result import Effect
from cxrcausal.effect.worlds import Path
from cxrcausal.errors import OptionError
from cxrcausal.scm.model import FlowSCM

__all__ = ["NaturalEffects", "natural_effects", "path_specific_effect"]


@final
@dataclass(frozen=True)
class NaturalEffects:
    """A total effect and its natural parts: total = direct − reverse.

    Arguments:
        total: The effect of the change itself, the ATE.
        direct: The effect of the change where the mediators stay what they were (NDE).
        indirect: The effect of what the change does to the mediators alone (NIE).
        reverse: The NIE of the way back, from the second level to the first.
        mediators: The variables through which an effect counts as indirect.
    """

    total: Effect
    direct: Effect
    indirect: Effect
    reverse: Effect
    mediators: tuple[str, ...]

    def __str__(self) -> str:
        effects = (self.total, self.direct, self.indirect, self.reverse)
        return "\n".join([*map(str, effects), f"mediators: {', '.join(self.mediators) or 'none'}"])


@asked_with_options
def natural_effects(
    scm: FlowSCM,
    table: pd.DataFrame,
    cause: str,
    outcome: str,
    *,
    mediators: Collection[str] | None = None,
    **options: Unpack[EffectOptions],
) -> NaturalEffects:
    """Returns the total effect, the natural direct one and the natural indirect one.

    Arguments:
        scm: A fitted SCM.
        table: The patients that are averaged over.
        cause: The variable that is set.
        outcome: One of its descendants.
        mediators: The variables through which an effect counts as indirect; everything between
            cause and outcome if None.
        options: The options of every effect, see `EffectQuestion`.

    Raises:
        GraphError: If a mediator is not between cause and outcome. Further errors are those of
            `EffectQuestion`.
    """
    question = EffectQuestion(scm, table, cause, outcome, **options)
    worlds, low, high = question.worlds, question.low, question.high
    chosen = worlds.mediators if mediators is None else tuple(mediators)
    before, after = worlds.under(low), worlds.under(high)
    direct = worlds.with_mediators(high, low, chosen)
    indirect = worlds.with_mediators(low, high, chosen)
    terms = [Term(), *(Term((copy,)) for copy in (before, after, direct, indirect))]

    def statistics(sums: np.ndarray) -> np.ndarray:
        n, y_low, y_high, y_direct, y_indirect = sums.T
        parts = [y_high - y_low, y_direct - y_low, y_indirect - y_low, y_direct - y_high]
        return np.stack(parts, axis=1) / n[:, None]

    found = estimate(question, terms, statistics)
    named = "all" if mediators is None else ", ".join(chosen)
    total = claim_of_total(question.graph, worlds)
    to_direct = claim_of_nested(question.graph, worlds, [direct])
    to_indirect = claim_of_nested(question.graph, worlds, [indirect])
    reverse = to_direct
    if direct is before:
        why = f"every path passes the mediators ({named})"
        to_direct = claim_of_zero(question.graph, worlds, why)
    if indirect is before:
        why = f"no path passes a mediator ({named})"
        to_indirect = claim_of_zero(question.graph, worlds, why)
    if direct is after:
        reverse = to_indirect
    parts = [
        ("TE", total, (1, 2)),
        ("NDE", to_direct, (1, 3)),
        ("NIE", to_indirect, (1, 4)),
        ("NIE of the way back", reverse, (2, 3)),
    ]
    te, nde, nie, nie_back = (
        found.effect(name, figure, claim, arms=found.arms(*arms))
        for (name, claim, arms), figure in zip(parts, found.figures, strict=True)
    )
    return NaturalEffects(te, nde, nie, nie_back, chosen)


@asked_with_options
def path_specific_effect(
    scm: FlowSCM,
    table: pd.DataFrame,
    cause: str,
    outcome: str,
    *,
    paths: Sequence[Sequence[str]] | None = None,
    through: str | Collection[str] | None = None,
    **options: Unpack[EffectOptions],
) -> Effect:
    """Returns the effect of a change that runs along chosen causal paths, all others left alone.

    Arguments:
        scm: A fitted SCM.
        table: The patients that are averaged over.
        cause: The variable that is set.
        outcome: One of its descendants.
        paths: The paths, each by its nodes from cause to outcome.
        through: The variables that the paths pass: all paths that pass one of them, instead of a
            list of paths.
        options: The options of every effect, see `EffectQuestion`.

    Raises:
        GraphError: If a path is no causal path, or a variable of `through` lies on none.
        OptionError: If not exactly one of `paths` and `through` is given, or the paths are too
            many. Further errors are those of `EffectQuestion`.
    """
    if (paths is None) == (through is None):
        raise OptionError("give either paths, or the variables that they pass (through)")
    question = EffectQuestion(scm, table, cause, outcome, **options)
    worlds = question.worlds
    chosen, words = _chosen_paths(question, paths, through)
    before = worlds.under(question.low)
    along = worlds.along(chosen, question.high, question.low)
    claim = claim_of_nested(question.graph, worlds, [along])
    if along is before:
        claim = claim_of_zero(question.graph, worlds, "no path carries the change")

    def statistics(sums: np.ndarray) -> np.ndarray:
        return ((sums[:, 2] - sums[:, 1]) / sums[:, 0])[:, None]

    found = estimate(question, [Term(), Term((before,)), Term((along,))], statistics)
    return found.effect(f"PSE ({words})", found.figures[0], claim, arms=found.arms(1, 2))


def _chosen_paths(
    question: EffectQuestion,
    paths: Sequence[Sequence[str]] | None,
    through: str | Collection[str] | None,
) -> tuple[tuple[Path, ...], str]:
    """Returns the paths that carry the change, and in words which they are."""
    worlds = question.worlds
    if paths is not None:
        chosen = tuple(worlds.check_path(path) for path in paths)
        return chosen, "; ".join(" → ".join(path) for path in chosen) or "no path"
    assert through is not None
    named = (through,) if isinstance(through, str) else tuple(through)
    worlds.with_mediators(question.high, question.low, named)  # refuses what mediates nothing
    return worlds.paths(named), f"through {', '.join(named)}"
