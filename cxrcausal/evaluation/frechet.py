r"""How far two sets of images are from one distribution, in the features of an encoder.

.. math:: d^2 = \|\mu_1 - \mu_2\|^2 + \mathrm{tr}\big(C_1 + C_2 - 2 (C_1 C_2)^{1/2}\big)

The figure is biased by the number of images and means nothing by itself: it is read beside that of
real radiographs against real radiographs of other patients, as many of each.

References:
    | GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium
    | (Heusel et al., 2017), https://arxiv.org/abs/1706.08500
"""

import torch
from torch import Tensor

from cxrcausal.errors import ImageError

__all__ = ["frechet_distance"]


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Returns the squared Fréchet distance of two sets of features, as normal distributions.

    Arguments:
        first: Features of images, (images, features).
        second: The same of others, as many features.

    Raises:
        ImageError: If one has fewer than two images.

    Example:
        >>> x = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
        >>> round(frechet_distance(x, x + 2.0), 6)  # a shift of 2 in each of three
        12.0
    """
    if min(len(first), len(second)) < 2:
        raise ImageError(f"{len(first)} and {len(second)} images; give at least two of each")
    a, b = first.double(), second.double()
    shift = (a.mean(dim=0) - b.mean(dim=0)).square().sum()
    one, two = torch.atleast_2d(torch.cov(a.T)), torch.atleast_2d(torch.cov(b.T))
    value, vector = torch.linalg.eigh(one)
    root = vector * value.clamp(min=0).sqrt() @ vector.T
    # The eigenvalues of C1 C2 are those of the symmetric C1^(1/2) C2 C1^(1/2).
    common = torch.linalg.eigvalsh(root @ two @ root).clamp(min=0).sqrt().sum()
    return float(shift + one.trace() + two.trace() - 2 * common)
