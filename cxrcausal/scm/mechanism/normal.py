r"""Intervals of a standard normal: their mass, draws inside them, how they overlap.

Every ordered variable with levels is a standard normal cut at edges, so abduction, likelihood
and counterfactuals come down to these three. Probabilities are taken in the nearer tail and in log
space, so that a level of probability 1e-7, or e^-600, is as exact as any other.
"""

import torch
from torch import Tensor

__all__ = ["FAR", "draw_inside", "log_interval", "normal_noise", "overlap"]

FAR = 38.0
"""Where standard normal noise ends: Φ(−38) is about the last that float64 can hold."""


def normal_noise(uniform: Tensor) -> Tensor:
    """Returns standard normals (*batch) from uniforms of that shape, within ±`FAR`."""
    return torch.special.ndtri(uniform).clamp(-FAR, FAR)


def log_interval(a: Tensor, b: Tensor) -> Tensor:
    r"""Returns :math:`\log(\Phi(b) - \Phi(a))` for :math:`a < b`, exact in both tails.

    Ends may be infinite; second derivatives are finite there too, and zero.
    """
    upper = a > 0
    low, high = torch.where(upper, -b, a), torch.where(upper, -a, b)
    at_high = _log_cdf(high)
    return at_high + torch.log(-torch.expm1(_log_cdf(low) - at_high))


def _log_cdf(z: Tensor) -> Tensor:
    r"""Returns :math:`\log \Phi(z)`; that of torch has no second derivative at infinity."""
    finite = z.isfinite()
    within = torch.special.log_ndtr(torch.where(finite, z, 0.0))
    return torch.where(finite, within, torch.where(z > 0, 0.0, -torch.inf))


def draw_inside(a: Tensor, b: Tensor, uniform: Tensor, margin: float = 1e-11) -> Tensor:
    """Returns standard normals truncated to (a, b), rising with `uniform`, a margin from the ends.

    The margin is at most a quarter of the interval. The quantile is taken in the nearer tail.
    """
    upper = a + b > 0
    low, high = torch.where(upper, -b, a), torch.where(upper, -a, b)
    at_low, at_high = torch.special.ndtr(low), torch.special.ndtr(high)
    share = torch.where(upper, 1.0 - uniform, uniform)
    drawn = torch.special.ndtri(at_low + share * (at_high - at_low))
    drawn = torch.where(upper, -drawn, drawn).clamp(-FAR, FAR)
    keep = ((b - a) / 4).clamp(max=margin)
    return torch.minimum(torch.maximum(drawn, a + keep), b - keep)


def overlap(a: Tensor, b: Tensor, padded: Tensor) -> Tensor:
    r"""Returns the share of the interval (a, b] of :math:`\varepsilon` that each level covers.

    Arguments:
        a: Lower ends (*batch).
        b: Upper ends (*batch).
        padded: Edges with their infinite ends (*batch, levels + 1).

    Returns:
        Shares (*batch, levels) that sum to one: the distribution of the counterfactual level.
    """
    low = torch.maximum(a[..., None], padded[..., :-1])
    high = torch.minimum(b[..., None], padded[..., 1:])
    meet = low < high
    zero = torch.zeros_like(low)  # a stand-in that keeps the logarithm finite
    mass = log_interval(torch.where(meet, low, zero - 1), torch.where(meet, high, zero + 1))
    share = torch.where(meet, torch.exp(mass - log_interval(a, b)[..., None]), 0.0)
    return share / share.sum(-1, keepdim=True)
