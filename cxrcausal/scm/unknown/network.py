"""The world of some rows as a network: a cell is a number, or an axis over the values it may have.

Every mechanism that reads or assigns an unknown cell contributes a table of log-probabilities, a
`Grid`; summing these out (`contraction`) gives posteriors and likelihoods exactly. A continuum
enters as equally likely quantile cells of its noise, so it is exact in the limit of many. A
definition (`nor`) reads many parents but only needs to know whether any of them is
positive, which a chain of running bits hands on at the cost of two parents.
"""

import functools
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from cxrcausal.scm.mechanism.base import Mechanism
from cxrcausal.scm.mechanism.definition import LogicMechanism
from cxrcausal.scm.unknown.factor import Family, Function, Grid, Rows, joint_axes

__all__ = [
    "QUANTILES",
    "Mechanisms",
    "Network",
    "Shared",
    "Supports",
    "Values",
    "at",
    "predict_along",
    "quantile_noise",
    "reads_of",
]

QUANTILES = 128
"""Into how many equally likely quantile cells an unknown continuum is divided."""

Mechanisms = Mapping[str, Mechanism]
"""The fitted mechanisms by variable, causes before effects."""

Supports = Mapping[str, Tensor | None]
"""The values (levels,) that each variable may have, observed in the fit; None: a continuum."""

Values = Mapping[str, Tensor]
"""Values (rows,) by variable, NaN where unknown."""

Shared = dict[Hashable, Grid]
"""Grids by what they are."""

World = Callable[[str], Grid]
"""The value of each cell in one world, factual or counterfactual."""


@final
class Network:
    """The cells of rows with the same pattern of absence, and what ties them together.

    It has one factor for each family (by its variable) and running bit (by its axis) with an
    unknown cell in it. It knows which cells the rows lack, not the rows: tables are made for them
    when they are looked at.

    Arguments:
        mechanisms: The fitted mechanisms, causes before effects.
        supports: The values that each variable may have.
        unknown: The unknown cells that get an axis. Whatever these read is known or among them.
        shared: Grids that networks under the same mechanisms and supports have in common.
    """

    def __init__(
        self,
        mechanisms: Mechanisms,
        supports: Supports,
        unknown: Iterable[str],
        shared: Shared | None = None,
    ) -> None:
        self.mechanisms = mechanisms
        self.supports = supports
        self.axes: dict[str, int] = {}
        self.factors: dict[str, Grid] = {}
        self._shared: Shared = {} if shared is None else shared
        self._cells: dict[str, Grid] = {}
        self._chains: dict[tuple[Grid, ...], Grid] = {}
        self._unknown = set(unknown)
        self._continua = {name for name in self._unknown if supports[name] is None}
        for name in mechanisms:
            if name in self._unknown:
                self._cells[name] = self._add_unknown(name)

    def cell(self, name: str) -> Grid:
        """Returns the factual value of a cell."""
        if name not in self._cells:
            self._cells[name] = self.read(name, self.supports.get(name))
        return self._cells[name]

    def read(self, label: str, support: Tensor | None) -> Grid:
        """Returns a cell that is read of the rows."""
        key = ("read", label)
        if key not in self._shared:
            self._shared[key] = Grid.read(label, support)
        return self._shared[key]

    def set_to(self, value: Tensor) -> Grid:
        """Returns a cell that has one value (1,) in all rows."""
        key = ("set to", float(value))
        if key not in self._shared:
            self._shared[key] = Grid.set_to(value)
        return self._shared[key]

    def family(
        self,
        role: tuple[Hashable, ...],
        mechanisms: tuple[str, ...],
        of: Sequence[Grid],
        function: Function,
        own: Grid | None = None,
        over: Function | None = None,
    ) -> Grid:
        """Returns the grid of a function of cells, see `Family.grid`."""
        inner = joint_axes(of, self.axes)
        key = (role, *of, own, inner)
        if key not in self._shared:
            grid = Family.grid(role, mechanisms, of, function, inner, own, over)
            if grid.form is not None:  # told apart by identity from here on
                grid.form = self._shared.setdefault(("form", grid.form), grid)
            self._shared[key] = grid
        return self._shared[key]

    def add_evidence(self, name: str) -> None:
        """Adds what the known value of a variable says about its unknown parents."""
        key = self._factual_key("one", name)
        grid = self._shared.get(key) if key is not None else None
        if grid is None:
            grid = self.log_prob(name, self.cell(name), self.cell)
            if key is not None:
                self._shared[key] = grid
        self.factors[name] = grid

    def add_axis(self, name: str, values: Tensor, label: str = "") -> Grid:
        """Adds an axis over the given values (levels,), and returns the cell that has them.

        Arguments:
            name: The name of the axis.
            values: The values.
            label: The label of the cell; the name if empty.
        """
        self.axes[name] = values.shape[0]  # much quicker than len
        key = ("axis", name)
        cell = self._shared.get(key)
        if cell is None or cell.support is not values:
            cell = Grid((name,), lambda _: values[None], label=label or name, support=values)
            self._shared[key] = cell
        return cell

    def log_prob(self, name: str, x: Grid, world: World) -> Grid:
        """Returns the log-probability of a value of a variable given its parents in a world."""
        pa = self.parents(name, world)

        def function(mechanisms: Mechanisms, values: Sequence[Tensor]) -> Tensor:
            return mechanisms[name].log_prob(values[0], dict(zip(pa, values[1:], strict=True)))

        cells, levels = (x, *pa.values()), self.supports[name]
        if levels is None or x.support is not levels:
            return self.family(("one", name), (name,), cells, function)
        over = self._log_probs(name, pa, levels)
        return self.family(("all", name), (name,), cells, function, over=over)

    def add_log_probs(self, name: str, world: World, axis: str, values: Tensor) -> Grid:
        """Adds an axis over values of a variable, and their log-probabilities given its parents.

        Arguments:
            name: The variable.
            world: The world of its parents.
            axis: The name of the axis, and of the factor.
            values: The values (levels,), of its mechanism's support.

        Returns:
            The cell that has these values.
        """
        pa = self.parents(name, world)
        function = self._log_probs(name, pa, values)
        cell = self.add_axis(axis, values)
        self.factors[axis] = self.family(
            ("all", name), (name,), tuple(pa.values()), function, cell
        )
        return cell

    def _log_probs(self, name: str, pa: Iterable[str], values: Tensor) -> Function:
        """Returns a function of a variable's parents: the log-probabilities of some values."""
        names, keep = tuple(pa), torch.searchsorted(_support(self.mechanisms[name]), values)

        def function(mechanisms: Mechanisms, parents: Sequence[Tensor]) -> Tensor:
            found = mechanisms[name].log_probs(dict(zip(names, parents, strict=True)))
            return found[..., keep]

        return function

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
        negative = self.set_to(mechanism.levels[:1])
        return pa | dict.fromkeys(counted, negative) | {counted[0]: bit}

    def _add_unknown(self, name: str) -> Grid:
        """Adds the axis of an unknown cell and its prior given its parents; returns the cell."""
        support = self.supports[name]
        if support is None:
            return self._continuum(name)
        key = self._factual_key("all", name)
        if key is None or key not in self._shared:
            cell = self.add_log_probs(name, self.cell, name, support)
            if key is not None:
                self._shared[key] = self.factors[name]
            return cell
        self.factors[name] = self._shared[key]
        return self.add_axis(name, support)

    def _factual_key(self, role: str, name: str) -> Hashable | None:
        """Returns by what networks share a factual table; None if it is this network's alone.

        It is the same wherever the same of the parents are unknown, and so need not be put
        together again; but it depends on the network with running bits, or an unknown continuum.
        """
        mechanism = self.mechanisms[name]
        unknown = tuple([p.name for p in mechanism.parents if p.name in self._unknown])
        if len(unknown) > 1 and isinstance(mechanism, LogicMechanism):
            return None
        if not self._continua.isdisjoint(unknown):
            return None
        return "factual", role, name, unknown

    def _continuum(self, name: str) -> Grid:
        """Returns an unknown continuum as quantile cells of its noise, all of them alike."""
        pa = self.parents(name, self.cell)
        axes = (*joint_axes(pa.values(), self.axes), name)
        self.axes[name] = QUANTILES
        prior = torch.full((1, QUANTILES), -math.log(QUANTILES), dtype=torch.float64)
        self.factors[name] = Grid.of((name,), prior)

        def make(rows: Rows) -> Tensor:
            mechanism = rows.mechanisms[name]
            return predict_along(mechanism, quantile_noise(mechanism), pa, axes, rows)

        return Grid(axes, make, reads_of(pa.values()), label=name)

    def _any_positive(self, name: str, findings: tuple[Grid, ...]) -> Grid:
        """Returns whether any finding is positive, as the last of a chain of running bits."""
        if findings not in self._chains:
            levels = _support(self.mechanisms[name])
            bit = self._known_positive(name, findings)
            for finding in (grid for grid in findings if grid.axes):
                bit = self._either(name, bit, finding, levels)
            self._chains[findings] = bit
        return self._chains[findings]

    def _known_positive(self, name: str, findings: tuple[Grid, ...]) -> Grid:
        """Returns whether any of the findings that are known is positive.

        An unknown one is NaN in the rows and counts as negative, so that it is the same function
        whichever are known.
        """
        levels, key = _support(self.mechanisms[name]), ("known positive", name, *findings)
        if key in self._shared:
            return self._shared[key]
        read = [g.label for g in findings if g.reads or g.label in self.mechanisms]
        set_to = [g for g in findings if not g.axes and not g.reads]

        def make(rows: Rows) -> Tensor:
            known = [rows.values[label].nan_to_num(0.0) for label in read]
            known += [grid.table(rows) for grid in set_to]
            return functools.reduce(torch.maximum, known, levels[:1])

        label = f"any known of {', '.join(grid.label for grid in findings)}"
        self._shared[key] = Grid((), make, read, label=label, support=levels)
        return self._shared[key]

    def _either(self, definition: str, a: Grid, b: Grid, levels: Tensor) -> Grid:
        """Returns a new bit that is positive where the bit before it, or a finding, is."""
        name = f"{definition}: any of {len(self.axes)}"
        bit = self.add_axis(name, levels, f"any of {definition}")
        key = ("either", name, a, b)  # the bit comes after both, in every network
        if key in self._shared:
            self.factors[name] = self._shared[key]
            return bit

        def agreement(_: Mechanisms, values: Sequence[Tensor]) -> Tensor:
            before, finding, either = values
            same = torch.maximum(before, finding) == either
            return torch.where(same, 0.0, -math.inf).to(levels.dtype)

        grid = self._shared[key] = self.family(("either",), (), (a, b, bit), agreement)
        self.factors[name] = grid
        return bit


def at(pa: Mapping[str, Grid], axes: Sequence[str], rows: Rows) -> dict[str, Tensor]:
    """Returns parents as tensors (rows or 1, *sizes) over the given axes."""
    return {name: grid.along(axes, rows) for name, grid in pa.items()}


def reads_of(grids: Iterable[Grid]) -> frozenset[str]:
    """Returns the labels of all values that some grids read."""
    return frozenset[str]().union(*(grid.reads for grid in grids))


def quantile_noise(mechanism: Mechanism) -> Tensor:
    """Returns the noise (quantiles, noise_size) in the middle of each quantile cell."""
    middle = (torch.arange(QUANTILES, dtype=torch.float64) + 0.5) / QUANTILES
    return mechanism.prior(middle.to(mechanism.device)[:, None].expand(-1, mechanism.noise_size))


def predict_along(
    mechanism: Mechanism, noise: Tensor, pa: Mapping[str, Grid], axes: Sequence[str], rows: Rows
) -> Tensor:
    """Returns values (rows or 1, *sizes) from noise (*, noise_size) that spans the last axes."""
    parents = at(pa, axes, rows)
    shapes = [value.shape for value in parents.values()]
    batch = torch.broadcast_shapes(noise.shape[:-1], (1,) * (len(axes) + 1), *shapes)
    return mechanism.predict(noise.expand(*batch, -1), parents)


def _support(mechanism: Mechanism) -> Tensor:
    """Returns the values (levels,) that a variable with levels can take."""
    support = mechanism.support
    assert support is not None
    return support
