r"""What the parents are worth to the network, in nats per radiograph.

For the straight path the velocity loss bounds the negative log-likelihood:

.. math:: -\log p(x \mid c) \le D \int_0^1 L_c(t)\, \frac{t}{1 - t}\, dt + \text{const},

with D pixels and :math:`L_c` the mean squared velocity error in the flow's own scale under
condition c (Kingma and Gao, 2023, with the signal-to-noise ratio :math:`t^2 / (1 - t)^2`). The
constant does not depend on c, so differences are nats. With :math:`\ell = \operatorname{logit} t`
the integral is :math:`\int L\, t^2\, d\ell`; it is cut off at :math:`\ell = 6` (t = .9975), where
the noise left is far below the grey levels of a file.

References:
    | Understanding Diffusion Objectives as the ELBO with Simple Data Augmentation
    | (Kingma and Gao, 2023), https://arxiv.org/abs/2303.00848
"""

import torch
from torch import Tensor

from cxrcausal.image.loading import ImageFlow
from cxrcausal.shapes import Attributes, Image, Keep

__all__ = ["conditional_bound", "parents_worth"]

LOGITS = (-5.0, 6.0)
LATE = 0.85


@torch.no_grad()
def conditional_bound(
    mechanism: ImageFlow,
    images: Image,
    parents: Attributes,
    keep: Keep | None = None,
    *,
    repeats: int = 2,
    seed: int = 0,
    batch_size: int = 256,
) -> tuple[Tensor, Tensor]:
    """Returns each radiograph's bound in nats, up to a constant: in all, and of t > .85 alone.

    Times and noises are the same at every call; the logits of the times are spread evenly over
    the radiographs, in another order in each repeat.

    Arguments:
        mechanism: The flow.
        images: Radiographs in [0, 1] that training did not see.
        parents: Their parents.
        keep: Which parents are given; all if left out.
        repeats: Times and noises per radiograph.
        seed: Of the draws.
        batch_size: Radiographs at a time.

    Returns:
        Two tensors (batch,). Differences between conditions, or between networks at one
        resolution, are nats per radiograph; the values themselves are not likelihoods.
    """
    generator = torch.Generator().manual_seed(seed)
    keep = torch.ones_like(parents, dtype=torch.bool) if keep is None else keep
    low, high = LOGITS
    place = (torch.arange(len(images)) + 0.5) / max(len(images), 1)
    whole, late = torch.zeros(len(images)), torch.zeros(len(images))
    for _ in range(repeats):
        order = torch.randperm(len(images), generator=generator)
        t = torch.sigmoid(low + (high - low) * place[order])
        noise = torch.randn(images.shape, generator=generator)
        weight = images[0].numel() * (high - low) * t.square() / repeats if len(images) else t
        for start in range(0, len(images), batch_size):
            part = slice(start, start + batch_size)
            batch = (images[part], parents[part], keep[part], t[part], noise[part])
            nats = mechanism(*(x.to(mechanism.device) for x in batch)).cpu() * weight[part]
            whole[part] += nats
            late[part] += torch.where(t[part] > LATE, nats, 0.0)
    return whole, late


def parents_worth(
    mechanism: ImageFlow, images: Image, parents: Attributes, **options: int
) -> dict[str, float]:
    """Returns what the log of training says in nats: of the parents, and of the condition's bound.

    Arguments:
        mechanism: The flow.
        images: Radiographs in [0, 1] that training did not see.
        parents: Their parents.
        options: Further arguments of `conditional_bound`.

    Returns:
        `nats_gap`, the mean bound conditioned on nothing less that on everything; `nats_gap_late`,
        its part of t > .85; `bound_complete`, the mean bound conditioned on everything. A gap of
        one network flatters a bad unconditional branch: compare networks by `bound_complete`.
    """
    given = torch.ones_like(parents, dtype=torch.bool)
    whole, late = conditional_bound(mechanism, images, parents, given, **options)
    whole_null, late_null = conditional_bound(mechanism, images, parents, ~given, **options)
    return {
        "nats_gap": float((whole_null - whole).mean()),
        "nats_gap_late": float((late_null - late).mean()),
        "bound_complete": float(whole.mean()),
    }
