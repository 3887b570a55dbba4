r"""What a linear model reads of one of the image's parents.

One feature for each level, *unknown* being a level of its own as it is to the network, and for a
number, scaled to :math:`a \in [0, 1]` by its bounds, the cosines :math:`\cos(\pi j a) / j`: under
one ridge penalty for all, the faster an effect turns, the more it is shrunk. Features are centred
over the rows of the fit, so that a parent of which nothing is read has its average effect.
"""

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from cxrcausal.errors import GraphError
from cxrcausal.graph import Variable

__all__ = ["ParentFeatures"]

_COSINES = 4  # of age, whose bounds are 110 years apart: the fastest turns over in 27 years


@final
@dataclass(frozen=True)
class ParentFeatures:
    """The centred features of one parent, as a fit observed it.

    A value that the fit did not observe (a level, or *unknown* where all was known) has the
    average effect: features of zero. A number beyond those observed has the effect of the nearest.

    Arguments:
        variable: The parent.
        observed: Its observed levels, or its lowest and highest value; None behind them if it was
            unknown in some rows.
        centre: The mean of each feature over the rows of the fit.

    Raises:
        GraphError: If the variable cannot have been observed so, a continuous one has no bounds,
            or there are more or fewer means than features.
    """

    variable: Variable
    observed: tuple[Any, ...]
    centre: tuple[float, ...]

    def __post_init__(self) -> None:
        known = [value for value in self.observed if value is not None]
        if not known or not self.variable.has_part(known):
            raise GraphError(
                f"a fit cannot have observed {list(self.observed)!r} of {self.variable.name!r}; "
                f"allowed: {self.variable.describe_part()}, and None for unknown"
            )
        if not self.variable.is_discrete and self.variable.bounds is None:
            raise GraphError(
                f"{self.variable.name!r} is a continuous parent of the image without bounds; add "
                "`bounds: [low, high]` to it in the graph"
            )
        width = _columns(self.variable, self.observed, torch.zeros(1)).shape[1]
        numbers = all(isinstance(x, int | float) and math.isfinite(x) for x in self.centre)
        if len(self.centre) != width or not numbers:
            raise GraphError(
                f"the {width} features of {self.variable.name!r} have a finite mean each; found "
                f"{list(self.centre)!r:.80}"
            )

    @classmethod
    def of(cls, variable: Variable, values: Tensor) -> "ParentFeatures | None":
        """Returns the features of a parent over the rows of a fit; None if it does not vary.

        Arguments:
            variable: The parent.
            values: What `RectifiedFlow.encode` gives of it, (batch,); NaN is unknown.
        """
        known = values[~values.isnan()]
        observed: tuple[Any, ...]
        if variable.is_discrete:
            observed = tuple(variable.levels[int(i)] for i in known.unique())
        else:
            observed = (float(known.min()), float(known.max())) if len(known) else ()
        if len(known) < len(values):
            observed = (*observed, None)
        if len(set(observed)) < 2:
            return None
        centre = _columns(variable, observed, values.double()).mean(dim=0)
        return cls(variable, observed, tuple(centre.tolist()))

    def __call__(self, values: Tensor) -> Tensor:
        """Returns the features (batch, width) of values (batch,) of the parent."""
        columns = _columns(self.variable, self.observed, values)
        if self.variable.is_discrete:
            met = columns.sum(dim=1) > 0
        else:
            met = torch.full_like(values, None in self.observed, dtype=torch.bool)
            met |= ~values.isnan()
        return (columns - columns.new_tensor(self.centre)) * met[:, None]


def _columns(variable: Variable, observed: tuple[Any, ...], values: Tensor) -> Tensor:
    """Returns the features (batch, width) before they are centred."""
    unknown = values.isnan()
    if variable.is_discrete:
        found = [values == variable.levels.index(level) for level in observed if level is not None]
    else:
        assert variable.bounds is not None
        bottom, top = variable.bounds
        inside = values.nan_to_num(bottom).clamp(observed[0], observed[1])
        angle = math.pi * (inside - bottom) / (top - bottom)
        found = [(j * angle).cos() / j * ~unknown for j in range(1, _COSINES + 1)]
    if None in observed:
        found.append(unknown)
    return torch.stack(found, dim=1).to(values.dtype)
