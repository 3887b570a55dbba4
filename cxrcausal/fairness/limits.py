"""What a release may not exceed: an audit's worst figures against limits that are written down."""

import operator
import re
from collections.abc import Mapping

import pandas as pd

from cxrcausal.errors import OptionError, nearest, summarise

__all__ = ["exceeded", "worst_figures"]

_COMPARE = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}


def worst_figures(effects: pd.DataFrame, groups: pd.DataFrame) -> dict[str, float]:
    """Returns the largest figures of an audit, by name, over all that was asked.

    `largest_shift`, `largest_flip_rate`, `contrasts_that_differ`, and per rate that was measured
    `worst_group_auc_gap`, `worst_group_tpr_gap`, `worst_group_fpr_gap` and
    `worst_group_positive_rate_gap`.

    Arguments:
        effects: `FairnessAudit.effects`.
        groups: `FairnessAudit.groups`.
    """
    figures = {
        "largest_shift": float(effects["shift"].abs().max()),
        "largest_flip_rate": float(effects["flip_rate"].max()),
        "contrasts_that_differ": float(effects["differs"].sum()),
    }
    if len(groups):
        between = groups[groups["group"].str.startswith("gap, ")]
        for rate, part in between.groupby("rate"):
            name = f"worst_group_{str(rate).lower().replace(' ', '_')}_gap"
            figures[name] = float(part["value"].max())
    return figures


def exceeded(limit: str, figures: Mapping[str, float]) -> bool:
    """Returns whether a limit, as `worst_group_auc_gap > .05`, is true of the figures.

    Arguments:
        limit: A figure's name, one of > >= < <=, and a number.
        figures: From `worst_figures`.

    Raises:
        OptionError: If it is no such comparison, or names a figure that was not measured: what
            was not looked at has not passed.

    >>> exceeded("largest_shift > .05", {"largest_shift": 0.1})
    True
    """
    found = re.fullmatch(r"\s*(\w+)\s*(>=|<=|>|<)\s*(\S+)\s*", limit)
    try:
        number = float(found[3]) if found else None
    except ValueError:
        number = None
    if found is None or number is None:
        raise OptionError(
            f"limit {limit!r} is no comparison; give it as 'worst_group_auc_gap > .05'"
        )
    if found[1] not in figures:
        raise OptionError(
            f"limit {limit!r} is of {found[1]!r}, which this audit did not "
            f"measure{nearest(found[1], figures) or '.'} It measured: {summarise(figures, 20)}"
        )
    return bool(_COMPARE[found[2]](figures[found[1]], number))
