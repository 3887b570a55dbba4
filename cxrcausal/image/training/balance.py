"""Which radiographs training shows more often: by their parents alone.

A draw whose probability depends on the parents only leaves p(image | parents) as it is, which is
all that a conditional model learns. So the rare levels (an effusion, a child, an AP view) may be
shown as often as is good for learning them.
"""

import torch
from torch import Tensor

from cxrcausal.graph import Variable
from cxrcausal.shapes import Attributes

__all__ = ["balanced_weights"]

BINS = 8


def balanced_weights(parents: Attributes, attributes: tuple[Variable, ...]) -> Tensor:
    r"""Returns the probability (rows,), in float64, with which training draws each row.

    Draw an attribute that varies, then one of its levels that occur, then a row of that level,
    each uniformly: :math:`w_i = \frac1A \sum_a 1 / (L_a n_{a, l(i)})`. Unknown is a level; a
    continuous attribute has eight bins of equal width.

    Arguments:
        parents: The rows' parents; NaN is unknown.
        attributes: The image's parents, in that order.
    """
    weights = torch.zeros(len(parents), dtype=torch.float64)
    for variable, column in zip(attributes, parents.double().T, strict=True):
        unknown = column.isnan()
        level = torch.where(unknown, 0.0, column)
        if not variable.is_discrete and not unknown.all():
            low, high = column[~unknown].aminmax()
            level = ((level - low) / (high - low).clamp(min=1e-9) * BINS).floor()
            level = level.clamp(0, BINS - 1)
        level = torch.where(unknown, -1.0, level)
        _, place, count = torch.unique(level, return_inverse=True, return_counts=True)
        if len(count) > 1:
            weights += 1 / (len(count) * count[place].double())
    if not weights.any():
        return torch.full((len(parents),), 1 / max(len(parents), 1), dtype=torch.float64)
    return weights / weights.sum()
