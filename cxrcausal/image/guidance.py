r"""Guidance: how strongly each group of parents is imposed on the image.

A counterfactual splits the image's parents into three groups, per patient and from the graph:
those *intervened* on, their *descendants* that changed, and the *invariant* rest. Every form below
is a sum of velocities, each with some groups conditioned on (c) and the others null (∅):

=============  ===============================================================================
`none`         :math:`v(c)`
`cfg`          :math:`v(∅) + w\,[v(c) - v(∅)]`, with w the `intervened` weight
`decoupled`    :math:`v(∅) + \sum_m w_m [v(c^{(m)}) - v(∅)]`, group m alone
`anchored`     :math:`v(c) + \sum_m (w_m - 1)[v(c) - v(c^{(-m)})]`, group m alone null
`nested`       :math:`v(∅) + \sum_m w_m [v(c_{\le m}) - v(c_{<m})]`, one group after another
=============  ===============================================================================

`decoupled` assumes the groups independent given the noisy image: at weights of one it is not v(c),
so that a null intervention is not the identity. `anchored` and `nested` are v(c) there; `nested`
assumes nothing (it is the chain rule, in the order invariant, intervened, descendants) and is
`cfg` at equal weights. Equal consecutive weights cancel branches, which are then not computed.

One weight need not serve every parent: a finding may need more than the view does. A parent with a
weight of its own is, where it is set, a group of its own, after the other parents that are set.

References:
    | Classifier-Free Diffusion Guidance (Ho and Salimans, 2022), https://arxiv.org/abs/2207.12598
    | Decoupled Classifier-Free Guidance for Counterfactual Diffusion Models (Xia et al., 2025),
    | https://arxiv.org/abs/2506.14399
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Literal, NamedTuple, final, get_args

import torch
from torch import Tensor

from cxrcausal.errors import InterventionError, nearest, summarise
from cxrcausal.shapes import Keep

__all__ = ["Branches", "Form", "Groups", "Guidance"]

Form = Literal["none", "cfg", "decoupled", "anchored", "nested"]


class Groups(NamedTuple):
    """Which of the image's parents belong to which group, per patient; (batch, attributes) each.

    The three are disjoint and together hold every attribute.
    """

    intervened: Keep
    descendants: Keep
    invariant: Keep

    @property
    def changed(self) -> Tensor:
        """Whether any parent of the patient's image changed, (batch,)."""
        return (self.intervened | self.descendants).any(dim=1)


class Branches(NamedTuple):
    """Velocities to compute and how to sum them.

    Attributes:
        keep: Which parents each branch is conditioned on, (branches, batch, attributes).
        weight: What each branch counts, (branches, batch); sums to one over the branches.
    """

    keep: Tensor
    weight: Tensor


@final
@dataclass(frozen=True)
class Guidance:
    """The form of guidance and each group's weight; a weight of one leaves the group as it is.

    Arguments:
        form: `none`, `cfg`, `decoupled`, `anchored` or `nested`.
        intervened: Weight of the parents that were set (of the whole condition for `cfg`).
        descendants: Weight of the parents that changed because they descend from those.
        invariant: Weight of all other parents.
        own: Weights of single parents where they are set, by name, instead of `intervened`.

    Raises:
        InterventionError: If the form is unknown, a weight is not a finite number, or `cfg`, which
            has one weight for the whole condition, is given others.

    Example:
        >>> branches = Guidance("nested", intervened=3.0).coefficients()  # sharpened where we act
        >>> list(branches.values()), sum(branches.values())  # v(c) if all weights are one
        ([-2.0, 2.0, 1.0], 1.0)
    """

    form: Form = "nested"
    intervened: float = 1.0
    descendants: float = 1.0
    invariant: float = 1.0
    own: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.form not in get_args(Form):
            raise InterventionError(
                f"guidance form {self.form!r} is "
                f"unknown{nearest(self.form, get_args(Form)) or '.'} Allowed: "
                f"{summarise(get_args(Form), 9)}"
            )
        for name in ("intervened", "descendants", "invariant"):
            object.__setattr__(self, name, _finite(name, getattr(self, name)))
        if not isinstance(self.own, Mapping):
            raise InterventionError(
                f"guidance weights own are {self.own!r}; give them by parent, as "
                "{'pleural_effusion': 2.0}"
            )
        own = {str(name): _finite(f"own of {name!r}", w) for name, w in self.own.items()}
        object.__setattr__(self, "own", own)
        if own and self.form == "cfg":
            raise InterventionError(
                f"cfg has one weight for the whole condition; own weights were given for "
                f"{summarise(own)}"
            )

    def coefficients(self) -> dict[tuple[str, ...], float]:
        """Returns each branch by the groups that it is conditioned on, and its coefficient.

        A parent with a weight of its own is a group by its name.
        """
        order = ("invariant", "intervened", *self.own, "descendants")
        weight = {name: getattr(self, name) for name in ("invariant", "intervened", "descendants")}
        weight |= self.own
        total: dict[tuple[str, ...], float] = {}

        def add(groups: tuple[str, ...], amount: float) -> None:
            total[groups] = total.get(groups, 0.0) + amount

        if self.form == "none":
            add(order, 1.0)
        elif self.form == "cfg":
            add((), 1.0 - self.intervened)
            add(order, self.intervened)
        elif self.form == "decoupled":
            for name in order:
                add((name,), weight[name])
                add((), -weight[name])
            add((), 1.0)
        elif self.form == "anchored":
            add(order, 1.0)
            for name in order:
                add(order, weight[name] - 1.0)
                add(tuple(n for n in order if n != name), 1.0 - weight[name])
        else:
            add((), 1.0)
            for i, name in enumerate(order):
                add(order[: i + 1], weight[name])
                add(order[:i], -weight[name])
        return {groups: amount for groups, amount in total.items() if amount != 0.0}

    def branches(self, groups: Groups, attributes: Sequence[str] = ()) -> Branches:
        """Returns the velocities that these patients need.

        Branches with the same parents for every patient are merged. A patient of whom no parent
        changed gets v(c) alone: there is nothing to impose.

        Arguments:
            groups: Which parents belong to which group.
            attributes: The parents' names, in order; needed for weights of their own.

        Raises:
            InterventionError: If a weight is of no parent of the image.
        """
        masks = self._masks(groups, attributes)
        merged: dict[bytes, tuple[Tensor, Tensor]] = {}
        changed = groups.changed
        complete = torch.ones_like(groups.invariant)

        def add(keep: Tensor, amount: Tensor) -> None:
            key = keep.cpu().numpy().tobytes()
            old = merged.get(key)
            merged[key] = (keep, amount if old is None else old[1] + amount)

        zero = torch.zeros(len(changed), device=changed.device)
        for conditioned, amount in self.coefficients().items():
            keep = torch.zeros_like(complete)
            for name in conditioned:
                keep = keep | masks[name]
            keep = torch.where(changed[:, None], keep, complete)
            add(keep, torch.where(changed, amount, zero))
        add(complete, torch.where(changed, zero, 1.0))
        kept = [(k, w) for k, w in merged.values() if bool((w != 0).any())]
        return Branches(torch.stack([k for k, _ in kept]), torch.stack([w for _, w in kept]))

    def _masks(self, groups: Groups, attributes: Sequence[str]) -> dict[str, Keep]:
        """Returns which parents belong to each group, those with a weight of their own apart."""
        masks = dict(groups._asdict())
        for name in self.own:
            if name not in attributes:
                raise InterventionError(
                    f"guidance has a weight of {name!r}, which is no parent of the "
                    f"image{nearest(name, attributes) or '.'} It has: {summarise(attributes, 20)}"
                )
            alone = torch.zeros_like(groups.intervened)
            alone[:, list(attributes).index(name)] = True
            masks[name] = groups.intervened & alone
            masks["intervened"] = masks["intervened"] & ~alone
        return masks


def _finite(name: str, weight: object) -> float:
    """Returns a weight as Python's float: provenance is JSON, and has no numpy numbers."""
    if not isinstance(weight, Real) or isinstance(weight, bool) or not math.isfinite(weight):
        raise InterventionError(
            f"guidance weight {name} is {weight!r}; it must be a finite number"
        )
    return float(weight)
