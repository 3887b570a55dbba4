"""What is asked of an image: one attribute set, in every radiograph of which it can be asked.

The interventions here are on the image alone: the attribute changes and its descendants stay, so
that what is measured is the mechanism that paints and not the metadata.
"""

import dataclasses
from dataclasses import dataclass
from typing import final

import numpy as np
import pandas as pd

from cxrcausal.errors import InterventionError, nearest, summarise
from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm.table import check_table

__all__ = ["Question", "flip", "move"]


@final
@dataclass(frozen=True)
class Question:
    """An intervention on one attribute of the image, in every radiograph that it can be asked of.

    Arguments:
        label: What a reader is shown: `sex`, `age +30`.
        variable: What is set.
        table: The radiographs' metadata with that column changed.
        asked: The change, (images,): ±1 from the first to the second of two levels or back, years
            for a continuous variable; NaN where it cannot be asked.
        levels: The two levels that are exchanged; None for a continuous variable.
    """

    label: str
    variable: str
    table: pd.DataFrame
    asked: np.ndarray
    levels: tuple[str, str] | None = None

    def of(self, rows: np.ndarray) -> "Question":
        """Returns the same question, asked of these rows (images,) bool alone."""
        return dataclasses.replace(self, asked=np.where(rows, self.asked, np.nan))


def flip(table: pd.DataFrame, graph: CausalGraph, variable: str) -> Question:
    """Returns the question: what if the variable had its other level?

    Arguments:
        table: The radiographs' metadata.
        graph: Says the levels; of a nominal variable the two that the table shows are exchanged.
        variable: A discrete variable; radiographs where it is unknown are not asked.

    Raises:
        InterventionError: If the variable is not discrete or the table shows not exactly two
            levels.
    """
    rows = check_table(table, graph, [_known(graph, variable).name])
    present = [
        lev for lev in graph.variables[variable].levels if lev in set(rows[variable].dropna())
    ]
    if len(present) != 2:
        raise InterventionError(
            f"variable {variable!r} shows {len(present)} levels in these radiographs "
            f"({summarise(present)}); to exchange two, it must show two"
        )
    first, second = present
    was_first = (rows[variable] == first).to_numpy(bool)
    known = rows[variable].notna().to_numpy(bool)
    new = pd.Series(np.where(was_first, second, first), index=rows.index).where(known)
    rows[variable] = pd.Categorical(
        new, categories=rows[variable].cat.categories, ordered=rows[variable].cat.ordered
    )
    asked = np.where(known, np.where(was_first, 1.0, -1.0), np.nan)
    return Question(variable, variable, rows, asked, (first, second))


def move(
    table: pd.DataFrame,
    graph: CausalGraph,
    variable: str,
    by: float,
    within: tuple[float, float] | None = None,
) -> Question:
    """Returns the question: what if the variable were larger by `by`?

    Arguments:
        table: The radiographs' metadata.
        graph: Says unit and bounds.
        variable: A continuous variable; radiographs where it is unknown are not asked.
        by: The change, in the variable's unit.
        within: The range in which the new value must lie for a radiograph to be asked: what
            training saw.

    Raises:
        InterventionError: If the variable is not continuous.
    """
    found = _known(graph, variable)
    if found.is_discrete:
        raise InterventionError(
            f"variable {variable!r} is {found.kind}; only numbers can be moved"
        )
    rows = check_table(table, graph, [variable])
    low, high = within or found.bounds or (-np.inf, np.inf)
    new = rows[variable].to_numpy(np.float64) + by
    allowed = (new >= low) & (new <= high)
    rows[variable] = np.where(allowed, new, rows[variable])
    return Question(f"{variable} {by:+g}", variable, rows, np.where(allowed, by, np.nan))


def _known(graph: CausalGraph, variable: str) -> Variable:
    if variable not in graph.variables:
        raise InterventionError(
            f"{variable!r} is not in graph "
            f"{graph.name!r}{nearest(variable, graph.variables) or '.'} It has: "
            f"{summarise(graph.variables, 20)}"
        )
    return graph.variables[variable]
