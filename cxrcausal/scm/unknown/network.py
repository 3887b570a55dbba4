"""The world of some rows as a network: a cell is a number, or an axis over the values it may have.

Every mechanism that reads or assigns an unknown cell contributes a table of log-probabilities, a
`Grid`; summing these out (`factor.eliminate`) gives posteriors and likelihoods exactly. A
continuum enters as equally likely quantile cells of its noise, so it is exact in the limit of
many. A definition (`nor`) reads many parents but only needs to know whether any of them is
positive, which a chain of running bits hands on at the cost of two parents.
"""

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor

from cxrcausal.scm.mechanism.base import Mechanism
from cxrcausal.scm.mechanism.definition import LogicMechanism
from cxrcausal.scm.unknown.factor import Grid, joint_axes

__all__ = [
    "QUANTILES",
    "Bit",
    "Mechanisms",
    "Network",
    "Supports",
    "Values",
    "at",
    "predict_along",
    "quantile_noise",
]

QUANTILES = 128
"""Into how many equally likely quantile cells an unknown continuum is divided."""

Mechanisms = Mapping[str, Mechanism]
"""The fitted mechanisms by variable, causes before effects."""

Supports = Mapping[str, Tensor | None]
"""The values (levels,) that each variable may have, observed in the fit; None: a continuum."""

Values = Mapping[str, Tensor]
"""Values (rows,) by variable, NaN where unknown."""

World = Callable[[str], Grid]
"""The value of each cell in one world, factual or counterfactual."""


class Bit(NamedTuple):
    """Whether any finding under a definition is positive, so far.

    Arguments:
        definition: The variable that is defined.
        before: The axis of the bit before it; None for the first, which takes in what is known.
        finding: The axis of the unknown finding that is added.
    """

    definition: str
    before: str | None
    finding: str


@final
class Network:
    """The cells of some rows with the same pattern of absence, and what ties them together.

    It has one factor for each family (by its variable) and running bit (by its axis) with an
    unknown cell in it. Tables are made when they are looked at, so without values it is a mere
    skeleton.

    Arguments:
        mechanisms: The fitted mechanisms, causes before effects.
        supports: The values that each variable may have.
        values: The values (rows,) of these rows.
        unknown: The unknown cells that get an axis. Whatever these read is known or among them.
    """

    def __init__(
        self,
        mechanisms: Mechanisms,
        supports: Supports,
        values: Values,
        unknown: Iterable[str],
    ) -> None:
        self.mechanisms = mechanisms
        self.supports = supports
        self.values = values
        self.axes: dict[str, int] = {}
        self.factors: dict[str, Grid] = {}
        self.bits: dict[str, Bit] = {}
        self._cells: dict[str, Grid] = {}
        self._chains: dict[tuple[Grid, ...], Grid] = {}
        unknown = set(unknown)
        for name in mechanisms:
            if name in unknown:
                self._cells[name] = self._unknown(name)

    def cell(self, name: str) -> Grid:
        """Returns the factual value of a cell."""
        if name not in self._cells:
            values = self.values  # a network that refers to itself would wait for the collector
            self._cells[name] = Grid((), lambda: values[name])
        return self._cells[name]

    def add_evidence(self, name: str) -> None:
        """Adds what the known value of a variable says about its unknown parents."""
        mechanism, x, pa = self.mechanisms[name], self.cell(name), self.parents(name, self.cell)
        axes = joint_axes(pa.values(), self.axes)
        self.factors[name] = Grid(axes, lambda: mechanism.log_prob(x.along(axes), at(pa, axes)))

    def add_axis(self, name: str, values: Tensor) -> Grid:
        """Adds an axis over the given values (levels,), and returns the cell that has them."""
        self.axes[name] = values.shape[0]  # much quicker than len
        return Grid((name,), lambda: values[None])

    def parents(self, name: str, world: World) -> dict[str, Grid]:
        """Returns the parents of a variable in a world.

        Where several unknown findings stand under a definition, one of them takes the value of a
        running bit, whether any is positive, and the others are set to negative.
        """
        mechanism = self.mechanisms[name]
        pa = {p.name: world(p.name) for p in mechanism.parents}
        if not isinstance(mechanism, LogicMechanism):
            return pa
        counted = [p.name for p in mechanism.counted]
        varying = [p for p in counted if pa[p].axes]
        if len(varying) <= 1:
            return pa
        bit = self._any_positive(name, tuple(pa[p] for p in counted))
        negative = Grid.of((), mechanism.levels[:1])
        return pa | dict.fromkeys(counted, negative) | {counted[0]: bit}

    def _unknown(self, name: str) -> Grid:
        """Returns the axis of an unknown cell, its prior given its parents being added."""
        mechanism, support = self.mechanisms[name], self.supports[name]
        if support is None:
            return self._continuum(name)
        pa = self.parents(name, self.cell)
        inner = joint_axes(pa.values(), self.axes)
        cell = self.add_axis(name, support)

        def table() -> Tensor:
            keep = torch.searchsorted(mechanism.support, support)
            return _with_rows(mechanism.log_probs(at(pa, inner))[..., keep], len(inner) + 2)

        self.factors[name] = Grid((*inner, name), table)
        return cell

    def _continuum(self, name: str) -> Grid:
        """Returns an unknown continuum as quantile cells of its noise, all of them alike."""
        mechanism = self.mechanisms[name]
        pa = self.parents(name, self.cell)
        axes = (*joint_axes(pa.values(), self.axes), name)
        noise = quantile_noise(mechanism)
        self.axes[name] = QUANTILES
        prior = torch.full_like(noise[None, :, 0], -math.log(QUANTILES))
        self.factors[name] = Grid.of((name,), prior)
        return Grid(axes, lambda: predict_along(mechanism, noise, pa, axes))

    def _any_positive(self, name: str, findings: tuple[Grid, ...]) -> Grid:
        """Returns whether any finding is positive, as the last of a chain of running bits."""
        if findings not in self._chains:
            levels = self.mechanisms[name].levels
            known = [grid for grid in findings if not grid.axes]
            bit = Grid(
                (), lambda: functools.reduce(torch.maximum, (k.table for k in known), levels[:1])
            )
            for finding in (grid for grid in findings if grid.axes):
                bit = self._either(name, bit, finding, levels)
            self._chains[findings] = bit
        return self._chains[findings]

    def _either(self, definition: str, a: Grid, b: Grid, levels: Tensor) -> Grid:
        """Returns a new bit that is positive where the bit before it, or a finding, is."""
        name = f"{definition}: any of {len(self.axes)}"
        bit = self.add_axis(name, levels)
        axes = joint_axes((a, b, bit), self.axes)
        self.bits[name] = Bit(definition, a.axes[-1] if a.axes else None, b.axes[-1])

        def agreement() -> Tensor:
            same = torch.maximum(a.along(axes), b.along(axes)) == bit.along(axes)
            return torch.where(same, 0.0, -math.inf).to(levels.dtype)

        self.factors[name] = Grid(axes, agreement)
        return bit


def at(pa: Mapping[str, Grid], axes: Sequence[str]) -> dict[str, Tensor]:
    """Returns parents as tensors (rows or 1, *sizes) over the given axes."""
    return {name: grid.along(axes) for name, grid in pa.items()}


def quantile_noise(mechanism: Mechanism) -> Tensor:
    """Returns the noise (quantiles, noise_size) in the middle of each quantile cell."""
    middle = (torch.arange(QUANTILES, dtype=torch.float64) + 0.5) / QUANTILES
    return mechanism.prior(middle.to(mechanism.device)[:, None].expand(-1, mechanism.noise_size))


def predict_along(
    mechanism: Mechanism, noise: Tensor, pa: Mapping[str, Grid], axes: Sequence[str]
) -> Tensor:
    """Returns values (rows or 1, *sizes) from noise (*, noise_size) that spans the last axes."""
    parents = at(pa, axes)
    shapes = [value.shape for value in parents.values()]
    batch = torch.broadcast_shapes(noise.shape[:-1], (1,) * (len(axes) + 1), *shapes)
    return mechanism.predict(noise.expand(*batch, -1), parents)


def _with_rows(table: Tensor, dimensions: int) -> Tensor:
    """Returns a table that does not depend on the rows (no parents) with an axis for them."""
    return table if table.ndim == dimensions else table[None]
