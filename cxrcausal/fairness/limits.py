"""What a release may not exceed: an audit's worst figures against limits that are written down."""

import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import pandas as pd

from cxrcausal.errors import OptionError, nearest, summarise

__all__ = ["Limit", "worst_figures"]

_COMPARE = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}


def worst_figures(effects: pd.DataFrame, groups: pd.DataFrame) -> dict[str, float]:
    """Returns the largest figures of an audit, by name, over all that was asked.

    `largest_shift`, `largest_flip_rate`, `contrasts_that_differ`, `largest_interaction` where two
    attributes were changed at once, and per rate that was measured `worst_group_auc_gap`,
    `worst_group_tpr_gap`, `worst_group_fpr_gap`, `worst_group_positive_rate_gap` and
    `worst_group_calibration_gap`.

    Arguments:
        effects: `FairnessAudit.effects`.
        groups: `FairnessAudit.groups`.
    """
    figures = {
        "largest_shift": float(effects["shift"].abs().max()),
        "largest_flip_rate": float(effects["flip_rate"].max()),
        "contrasts_that_differ": float(effects["differs"].sum()),
    }
    if "interaction" in effects and effects["interaction"].notna().any():
        figures["largest_interaction"] = float(effects["interaction"].abs().max())
    if len(groups):
        between = groups[groups["group"].str.startswith("gap, ")]
        for rate, part in between.groupby("rate"):
            name = f"worst_group_{str(rate).lower().replace(' ', '_')}_gap"
            figures[name] = float(part["value"].max())
    return figures


@final
@dataclass(frozen=True)
class Limit:
    """A comparison that must not be true of an audit.

    Arguments:
        text: As it was written.
        name: The figure.
        comparison: One of > >= < <=.
        number: What the figure is compared with.
    """

    text: str
    name: str
    comparison: str
    number: float

    @classmethod
    def read(cls, text: str) -> "Limit":
        """Returns what a text means.

        Raises:
            OptionError: If it is no comparison of a name with a number.

        >>> Limit.read("largest_shift > .05").exceeded({"largest_shift": 0.1})
        True
        """
        found = re.fullmatch(r"\s*(\w+)\s*(>=|<=|>|<)\s*(\S+)\s*", text)
        try:
            return cls(text, found[1], found[2], float(found[3]))  # type: ignore[index]
        except (TypeError, ValueError):
            raise OptionError(
                f"limit {text!r} is no comparison; give it as 'worst_group_auc_gap > .05'"
            ) from None

    def exceeded(self, figures: Mapping[str, float]) -> bool:
        """Returns whether the comparison is true of the figures.

        Arguments:
            figures: From `worst_figures`.

        Raises:
            OptionError: If the figure was not measured: what was not looked at has not passed.
        """
        if self.name not in figures:
            raise OptionError(
                f"limit {self.text!r} is of {self.name!r}, which this audit did not measure"
                f"{nearest(self.name, figures) or '.'} It measured: {summarise(figures, 20)}"
            )
        return bool(_COMPARE[self.comparison](figures[self.name], self.number))
