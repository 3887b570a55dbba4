r"""The transport at the noise end: what the learnt flow left of the parents in the noise.

Abduction by a learnt flow :math:`x = f(u, \mathrm{pa})` gives a :math:`u` that is only nearly
standard normal and only nearly independent of the parents. A second map takes up what is left:

.. math:: u = T_\mathrm{pa}(z), \quad z \sim N(0, I), \qquad
          x = f\big(T_\mathrm{pa}(z), \mathrm{pa}\big).

It is the conditional transport from the prior to what the first one left, so the mechanism's
density of the radiograph given its parents gains what :math:`T` gains of the noise, nat for nat:

.. math:: \log p_T(u \mid \mathrm{pa}) - \log N(u; 0, I)
          = \tfrac12 (\lVert u \rVert^2 - \lVert z \rVert^2)
            - \log |\det \partial T_\mathrm{pa} / \partial z|.

Independence of noise and parents is necessary for counterfactuals, and does *not* identify them:
any rotation of z that depends on the parents keeps the distribution of every radiograph given its
parents, and changes the answer of every row. T changes nothing about that; that it is increasing
in each coefficient is an assumption, as f is one.

Each layer is affine in the coefficients :math:`c` of the waves in square blocks, whose
features :math:`\varphi` of the parents are one-hot levels and cosines of a number:

.. math:: c_k = m_k + e^{s_k} z_k, \quad
          m_k = \varphi(\mathrm{pa})^\top w_k, \quad s_k = \varphi(\mathrm{pa})^\top v_k.

The next layer's blocks are moved by half a block, so that they see the borders of the first one's,
or of larger, oriented waves, which see what runs in one direction. Weights have a Gaussian prior
whose variance, one for each parent and each spatial frequency over the grid of blocks, is
estimated by EM (which ties neighbouring blocks as far as they agree); a common factor on all
penalties is chosen by the log-likelihood of patients left out. Where no factor gains, the layer is
left out: an unshrunk mean would *add* dependence.

References:
    | Normalizing flows compose, and their log-determinants add up: Variational Inference with
    | Normalizing Flows (Rezende and Mohamed, 2015), https://arxiv.org/abs/1505.05770
    | Variances of the prior by EM: Maximum Likelihood from Incomplete Data via the EM Algorithm
    | (Dempster, Laird and Rubin, 1977), section 4.5
    | Fisher scoring of log-scales: Modelling Variance Heterogeneity in Normal Regression Using
    | GLIM (Aitkin, 1987), Applied Statistics 36
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import UnionType
from typing import Any, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from cxrcausal.bootstrap import Interval, PatientBootstrap, weighted_mean
from cxrcausal.errors import (
    CheckpointError,
    ImageError,
    OptionError,
    TableError,
    nearest,
    summarise,
)
from cxrcausal.graph import Variable
from cxrcausal.image.transport.blocks import BlockWaves, Kind
from cxrcausal.image.transport.cross_validation import SHRINKAGES, Layer, Rows, fit_layers
from cxrcausal.image.transport.features import ParentFeatures
from cxrcausal.patients import patient_folds
from cxrcausal.randomness import as_seed
from cxrcausal.shapes import Attributes, Noise

__all__ = ["LAYERS", "NoiseTransport", "TransportFit"]

LAYERS: tuple[tuple[Kind, int, int], ...] = (
    ("cosine", 4, 0), ("cosine", 4, 2), ("oriented", 8, 0), ("oriented", 8, 4)
)  # fmt: skip
"""Waves, side and offset of the blocks of the layers that a fit tries, of those compared the
best."""


@final
@dataclass(frozen=True)
class TransportFit:
    """What a fit found, by cross-validation over patients.

    Arguments:
        radiographs: How many were fitted.
        patients: How many they are of.
        folds: How many parts the patients were dealt into.
        seed: Who was in which.
        shrinkage: Per layer the factor on the penalties of its means and of its log-scales; None
            where a part is left out.
        layers: What each layer gained, in nats per radiograph of patients left out.
        nats: What all layers gained of them.
        low: The lower end of its 95 % interval, by patient; None if there is none.
        high: The upper end.
    """

    radiographs: int
    patients: int
    folds: int
    seed: int
    shrinkage: tuple[tuple[float | None, float | None], ...]
    layers: tuple[float, ...]
    nats: float
    low: float | None
    high: float | None


@final
class NoiseTransport(nn.Module):
    r"""The map :math:`u = T_\mathrm{pa}(z)` from N(0, I) to the noise that a learnt flow leaves.

    The identity until `fit` has found what gains.

    Arguments:
        attributes: The image's parents, in the graph's order; with none, the transport that
            depends on no parent.
        image_shape: Channels, height and width of the noise.

    Attributes:
        features: What it reads of each parent that varied in the fit.
        blocks: The transform of each layer, the one next to the flow first.
        mean: Weights of the means, (layers, features, coefficients), the first feature being 1.
        log_scale: Weights of the log-scales, the same.
        record: What the fit found; None before it.

    Example:
        >>> view = Variable("view", "nominal", ("PA", "AP"))
        >>> pa = torch.arange(400.0)[:, None] % 2
        >>> z = torch.randn(400, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> u = z + pa[:, :, None, None]  # what a flow that never learnt of the view would leave
        >>> transport = NoiseTransport((view,), (1, 8, 8)).fit(u, pa, range(400))
        >>> z = transport.abduct(u, pa)
        >>> torch.allclose(transport.predict(z, pa), u, atol=1e-5)
        True
        >>> bool(transport.nats(u, pa).mean() > 5)
        True
    """

    mean: Tensor
    log_scale: Tensor

    def __init__(
        self,
        attributes: tuple[Variable, ...],
        image_shape: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.attributes = tuple(attributes)
        channels, height, width = image_shape
        self.image_shape = (channels, height, width)
        self.blocks: tuple[BlockWaves, ...] = ()
        self.features: tuple[ParentFeatures, ...] = ()
        self.record: TransportFit | None = None
        self.register_buffer("mean", torch.zeros(0, 1, math.prod(self.image_shape)))
        self.register_buffer("log_scale", torch.zeros(0, 1, math.prod(self.image_shape)))

    def fit(
        self,
        noise: Tensor,
        parents: Tensor,
        patients: Iterable[object],
        *,
        shrinkage: float | None = None,
        layers: Sequence[tuple[Kind, int, int]] | None = None,
        folds: int = 4,
        seed: int = 0,
        progress: bool | None = False,
    ) -> "NoiseTransport":
        """Fits the transport to what a flow left, and returns itself.

        Arguments:
            noise: Abducted by the flow alone, (batch, channel, height, width).
            parents: As `RectifiedFlow.encode` gives them, NaN unknown, (batch, attributes).
            patients: The patient of each row: patients are left out whole.
            shrinkage: The factor on the penalties of every part; chosen for each by
                cross-validation if None. If infinite, the transport is the identity.
            layers: The waves of each layer that is tried, the side of its blocks and where they
                start, in pixels; `LAYERS`, as far as such blocks fit into the image, if None.
            folds: Parts of the cross-validation.
            seed: Decides which patients are left out together.
            progress: Whether to show a progress bar; on a terminal only if None.

        Raises:
            ImageError: If the noise has another shape, no rows, or is not finite.
            TableError: If parents or patients are not one per row, no parent varies, or there are
                fewer patients than folds.
            OptionError: If the shrinkage is not positive, or the folds are fewer than two.
        """
        patient = np.array([*patients], object)
        transforms = self._transforms(layers)
        self._check_fit(noise, parents, patient)
        if shrinkage is not None and not shrinkage > 0:
            raise OptionError(f"shrinkage is {shrinkage!r}; it is above 0, or None to choose it")
        if folds < 2:
            raise OptionError(f"{folds!r} folds leave nobody out; give 2 or more")
        seed, device = as_seed(seed), self.mean.device
        noise, parents = noise.detach().float().cpu(), parents.detach().cpu()
        found = [ParentFeatures.of(v, parents[:, i]) for i, v in enumerate(self.attributes)]
        features = tuple(f for f in found if f is not None)
        if self.attributes and not features:
            raise TableError(
                "no parent varies in these rows, so noise cannot depend on one; give rows that "
                "differ, or a transport without parents, as NoiseTransport((), image_shape)"
            )
        self.features = features
        design = self._design(parents)
        widths = [1, *(len(f.centre) for f in features)]
        rows = Rows(
            noise,
            design,
            torch.arange(len(widths)).repeat_interleave(torch.tensor(widths)),
            patient_folds(patient, folds, seed),
        )
        chosen = fit_layers(
            rows, transforms, SHRINKAGES if shrinkage is None else (shrinkage,), progress
        )
        size = (0, design.shape[1], math.prod(self.image_shape))
        self.blocks = tuple(c.layer.blocks for c in chosen)
        self.mean = torch.cat([torch.zeros(size), *(c.layer.mean[None] for c in chosen)])
        self.log_scale = torch.cat([torch.zeros(size), *(c.layer.log_scale[None] for c in chosen)])
        self.to(device)
        nats = sum((c.nats for c in chosen), np.zeros(len(noise)))
        interval = PatientBootstrap(patient, seed=seed).interval(weighted_mean(nats))
        self.record = TransportFit(
            radiographs=len(noise),
            patients=len(pd.unique(patient)),
            folds=folds,
            seed=seed,
            shrinkage=tuple((_finite(c.shrinkage[0]), _finite(c.shrinkage[1])) for c in chosen),
            layers=tuple(float(c.nats.mean()) for c in chosen),
            nats=interval.value,
            low=_finite(interval.low),
            high=_finite(interval.high),
        )
        return self

    def abduct(self, noise: Noise, parents: Attributes) -> Noise:
        r"""Returns :math:`z = T_\mathrm{pa}^{-1}(u)` of the noise that the flow leaves.

        Arguments:
            noise: u, (batch, channel, height, width).
            parents: Its parents, (batch, attributes).
        """
        return self._through(noise, parents, backward=True)

    def predict(self, noise: Noise, parents: Attributes) -> Noise:
        r"""Returns :math:`u = T_\mathrm{pa}(z)`, from which the flow starts.

        Arguments:
            noise: z, (batch, channel, height, width).
            parents: Its parents, (batch, attributes).
        """
        return self._through(noise, parents, backward=False)

    def log_abs_det(self, parents: Attributes) -> Tensor:
        r"""Returns :math:`\log |\det \partial T_\mathrm{pa} / \partial z|` per row, (batch,)."""
        exact = _exact(parents)
        design = self._design(parents).to(exact)
        total = design.new_zeros(len(design))
        for layer in self._layers(exact):
            total += layer.moments(design)[1].sum(dim=1)
        return total.to(parents.dtype)

    def nats(self, noise: Noise, parents: Attributes) -> Tensor:
        """Returns the gain in log-density over N(0, I) of each row, in nats, (batch,).

        Arguments:
            noise: What the flow leaves, (batch, channel, height, width).
            parents: Its parents, (batch, attributes).
        """
        z = self.abduct(noise, parents)
        squares = ((noise - z) * (noise + z)).flatten(1).sum(dim=1)
        return squares / 2 - self.log_abs_det(parents)

    def gain(
        self, noise: Noise, parents: Attributes, patients: Iterable[object], *, seed: int = 0
    ) -> Interval:
        """Returns the mean of `nats` over radiographs and its 95 % interval, by patient.

        Arguments:
            noise: What the flow leaves, (batch, channel, height, width).
            parents: Its parents, (batch, attributes).
            patients: The patient of each row.
            seed: Seed of the bootstrap.

        Raises:
            TableError: If there are no rows, or a row has no patient.
        """
        nats = self.nats(noise, parents).double().cpu().numpy()
        return PatientBootstrap(patients, seed=seed).interval(weighted_mean(nats))

    def to_dict(self) -> dict[str, Any]:
        """Returns what JSON keeps beside the weights."""
        return {
            "layers": [[of.kind, of.block, of.offset] for of in self.blocks],
            "parents": {
                f.variable.name: {"observed": list(f.observed), "centre": list(f.centre)}
                for f in self.features
            },
            "fit": None if self.record is None else asdict(self.record),
        }

    @classmethod
    def from_dict(
        cls,
        attributes: tuple[Variable, ...],
        image_shape: tuple[int, int, int],
        raw: Mapping[str, Any],
    ) -> "NoiseTransport":
        """Returns the transport that `to_dict` describes, with weights of zero to be loaded.

        Arguments:
            attributes: The image's parents, in the graph's order.
            image_shape: Channels, height and width of the noise.
            raw: What `to_dict` gave.

        Raises:
            CheckpointError: If a key is missing or of another type, or names what the graph does
                not have.
            GraphError: If a parent cannot have been observed so.
            ImageError: If the image has no whole blocks of this side.
        """
        names = {variable.name: variable for variable in attributes}
        parents = _part(raw, "parents", dict)
        for name in parents:
            if name not in names:
                raise CheckpointError(
                    f"the transport reads {name!r}, which is no parent of the "
                    f"image{nearest(name, names) or '.'} It has: {', '.join(names)}"
                )
        transport = cls(attributes, image_shape)
        transport.features = tuple(
            ParentFeatures(
                variable,
                tuple(_part(parents[name], "observed", list)),
                tuple(_part(parents[name], "centre", list)),
            )
            for name, variable in names.items()
            if name in parents
        )
        layers = _part(raw, "layers", list)
        for layer in layers:
            if not (isinstance(layer, list) and [type(x) for x in layer] == [str, int, int]):
                raise CheckpointError(
                    f"a layer of the transport is {layer!r:.60}; expected the waves, side and "
                    "offset of its blocks"
                )
        transport.blocks = tuple(BlockWaves(transport.image_shape, *of) for of in layers)
        found = _part(raw, "fit", dict | None)
        transport.record = None if found is None else _record(found)
        width = 1 + sum(len(f.centre) for f in transport.features)
        size = (len(layers), width, math.prod(transport.image_shape))
        transport.mean, transport.log_scale = torch.zeros(size), torch.zeros(size)
        return transport

    def extra_repr(self) -> str:
        """Says what it reads and what it gained."""
        gained = "not fitted" if self.record is None else f"{self.record.nats:.1f} nats"
        names = ", ".join(f.variable.name for f in self.features) or "no parent"
        return f"{len(self.blocks)} layers, reads {names}, {gained}"

    def _design(self, parents: Attributes) -> Tensor:
        """Returns 1 and the features of the parents, (batch, features)."""
        columns = {variable.name: i for i, variable in enumerate(self.attributes)}
        parts = [f(parents[:, columns[f.variable.name]]) for f in self.features]
        return torch.cat([parents.new_ones(len(parents), 1), *parts], dim=1)

    def _transforms(
        self, layers: Sequence[tuple[Kind, int, int]] | None
    ) -> tuple[BlockWaves, ...]:
        """Returns the transforms of the layers that are tried."""
        if layers is None:
            largest = math.gcd(*self.image_shape[1:])
            layers = [of for of in LAYERS if largest % of[1] == 0] or [("cosine", 1, 0)]
        return tuple(BlockWaves(self.image_shape, *of) for of in layers)

    def _layers(self, dtype: torch.dtype) -> list[Layer]:
        """Returns the layers, the one next to the flow first."""
        parts = zip(self.blocks, self.mean.to(dtype), self.log_scale.to(dtype), strict=True)
        return [Layer(*part) for part in parts]

    def _through(self, noise: Tensor, parents: Tensor, *, backward: bool) -> Tensor:
        """Returns the noise at the other end of all layers."""
        self._check(noise, parents)
        if not self.blocks:
            return noise
        exact = _exact(noise)
        x, design = noise.to(exact), self._design(parents).to(exact)
        for layer in self._layers(exact)[:: 1 if backward else -1]:
            x = (layer.undo if backward else layer.apply)(x, design)
        return x.to(noise.dtype)

    def _check(self, noise: Tensor, parents: Tensor) -> None:
        """Refuses what is no noise of this shape with parents.

        Raises:
            ImageError: If the noise has another shape or type.
            TableError: If the parents are not one row each.
        """
        if tuple(noise.shape[1:]) != self.image_shape or not noise.is_floating_point():
            raise ImageError(
                f"noise is {noise.dtype} of shape {tuple(noise.shape)}; this transport reads "
                f"floats (batch, {', '.join(map(str, self.image_shape))})"
            )
        if tuple(parents.shape) != (len(noise), len(self.attributes)):
            raise TableError(
                f"parents have shape {tuple(parents.shape)}; {len(noise)} rows of noise have "
                f"({len(noise)}, {len(self.attributes)}), a column each of "
                f"{summarise([v.name for v in self.attributes])}"
            )

    def _check_fit(self, noise: Tensor, parents: Tensor, patients: np.ndarray) -> None:
        """Refuses what nothing can be fitted to.

        Raises:
            ImageError: If there is no noise, or it is not finite.
            TableError: If parents or patients are not one per row.
        """
        self._check(noise, parents)
        if not len(noise):
            raise ImageError(
                "there is no noise to fit the transport to; give a row per radiograph"
            )
        if not bool(noise.isfinite().all()):
            row = int((~noise.isfinite()).flatten(1).any(dim=1).long().argmax())
            raise ImageError(f"the noise of row {row} (counted from 0) is not finite")
        if len(patients) != len(noise):
            raise TableError(
                f"{len(patients)} patients for {len(noise)} rows of noise; name the patient of "
                "every row"
            )
        if pd.isna(patients).any():
            row = int(pd.isna(patients).argmax())
            raise TableError(f"row {row} (counted from 0) has no patient; name that of every row")


def _exact(x: Tensor) -> torch.dtype:
    """Returns the type in which there and back is the identity up to the rounding of `x`."""
    return x.dtype if x.device.type == "mps" else torch.float64  # Apple's GPUs have no float64


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _record(raw: Mapping[str, Any]) -> TransportFit:
    """Returns the record of a fit that JSON kept.

    Raises:
        CheckpointError: If an entry is missing or of another type.
    """
    shrinkage, layers = _part(raw, "shrinkage", list), _part(raw, "layers", list)
    pairs = [isinstance(pair, list) and len(pair) == 2 for pair in shrinkage]
    if not all(pairs) or not all(
        isinstance(x, int | float | None) for x in [*itertools.chain(*shrinkage), *layers]
    ):
        raise CheckpointError("the transport's record of its layers holds what is no number")
    return TransportFit(
        **{key: _part(raw, key, int) for key in ("radiographs", "patients", "folds", "seed")},
        shrinkage=tuple((mean, log_scale) for mean, log_scale in shrinkage),
        layers=tuple(layers),
        nats=_part(raw, "nats", float | int),
        low=_part(raw, "low", float | int | None),
        high=_part(raw, "high", float | int | None),
    )


def _part(raw: object, key: str, kind: type | UnionType) -> Any:  # noqa: ANN401
    """Returns one entry of a record, of the type that is expected.

    Raises:
        CheckpointError: If there is no such entry, or it is of another type.
    """
    if not isinstance(raw, Mapping) or key not in raw or not isinstance(raw[key], kind):
        found = f"{raw[key]!r:.60}" if isinstance(raw, Mapping) and key in raw else "missing"
        raise CheckpointError(f"the transport's key {key!r} is {found}")
    return raw[key]
