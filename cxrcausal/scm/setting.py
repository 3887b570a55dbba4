"""What one variable is set to in every row, once it is understood and allowed.

Values, one for a row or one for each of its draws; a move of the factual value, which may still be
unknown; or another mechanism in the place of the variable's own.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import final

import numpy as np
import pandas as pd
from torch import Tensor

from cxrcausal.errors import InterventionError, summarise
from cxrcausal.graph.variable import Variable
from cxrcausal.scm.mechanism.base import Mechanism
from cxrcausal.scm.table import allowed_values, plain

__all__ = ["Setting", "leaves_bounds"]


@final
@dataclass(frozen=True)
class Setting:
    """What one variable is set to: `values`, or where these are None `factor` x + `offset`.

    Arguments:
        variable: The variable that is set.
        values: One value per row (rows,), or per row and draw (rows, draws), within bounds; None if
            relative to the factual value.
        factor: What the factual value is multiplied by.
        offset: What is added, in the variable's unit.
        clip: Whether to stop at the bounds instead of refusing to leave them.
        clipped: In how many rows `values` were stopped at the bounds.
        law: Where the values were drawn from a short list, its values (k,) and log-probabilities.
        mechanism: What takes the place of the variable's own mechanism; nothing is set then.
    """

    variable: Variable
    values: Tensor | None = None
    factor: float = 1.0
    offset: float = 0.0
    clip: bool = False
    clipped: int = 0
    law: tuple[Tensor, Tensor] | None = None
    mechanism: Mechanism | None = None

    @property
    def is_drawn(self) -> bool:
        """Whether the values were drawn from a law, one for each draw of a row."""
        return self.values is not None and self.values.ndim == 2

    def value(self, x: Tensor, index: pd.Index) -> Tensor:
        """Returns the value that is set, broadcastable against the factual values `x` (rows, ...).

        A value off the grid of a variable with a resolution goes to the nearest grid point.

        Raises:
            InterventionError: If the bounds are left in a row, and clipping was not asked for.
        """
        if self.values is not None:
            values = self.values.to(x.device)
            return values.reshape(*values.shape, *[1] * (x.ndim - values.ndim))
        moved = self.wanted(x)
        variable = self.variable
        if variable.bounds is None:
            return moved
        low, high = variable.bounds
        outside = (moved < low) | (moved > high)
        if not self.clip and bool(outside.any()):
            rows = np.flatnonzero(outside.reshape(len(x), -1).any(1).cpu().numpy())
            first = moved.reshape(len(x), -1)[rows[0]]
            worst = first[(first < low) | (first > high)][0].item()
            raise leaves_bounds(variable, index[rows], worst)
        if variable.resolution is not None:
            moved = low + ((moved - low) / variable.resolution).round() * variable.resolution
            high = (
                low + math.floor((high - low) / variable.resolution + 1e-9) * variable.resolution
            )
        return moved.clamp(low, high)

    def wanted(self, x: Tensor) -> Tensor:
        """Returns the values (rows, ...) before any relative one is stopped at the bounds."""
        if self.values is not None:
            return self.values.to(x.device)
        return self.factor * x + self.offset

    def stopped(self, x: Tensor) -> int:
        """Returns in how many rows of factual values `x` (rows,) the bounds stop what is wanted."""
        if self.values is not None or self.variable.bounds is None:
            return self.clipped
        low, high = self.variable.bounds
        return int(((self.wanted(x) < low) | (self.wanted(x) > high)).sum())

    def rounded_away(self, x: Tensor) -> int:
        """Returns in how many rows of factual values `x` (rows,) a move is too small for the grid."""
        resolution = self.variable.resolution
        if self.values is not None or resolution is None:
            return 0
        moved = self.wanted(x) - x
        return int(((moved != 0) & (moved.abs() < resolution / 2)).sum())

    def take(self, rows: slice | Tensor) -> "Setting":
        """Returns the setting of some of the rows."""
        if self.values is None:
            return self
        return dataclasses.replace(self, values=self.values[rows])


def leaves_bounds(variable: Variable, index: pd.Index, worst: float) -> InterventionError:
    """Returns the error for an intervention that leaves the bounds in the given rows."""
    return InterventionError(
        f"do takes {variable.name!r} out of bounds in {len(index)} row(s), {summarise(index)}: "
        f"{worst:g} in row {plain(index[0])!r}. Allowed: {allowed_values(variable)}; clip=True "
        f"stops at the bounds"
    )
