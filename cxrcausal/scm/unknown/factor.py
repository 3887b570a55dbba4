"""Sums over unknown cells: tables with named axes, eliminated one axis after the other.

A `Grid` is a tensor with one axis for the rows and one for each unknown cell that it depends on.
The logarithm of a joint probability is a sum of grids; `eliminate` sums out its axes one at a
time, in the order that `cheapest` finds beforehand, with how large the largest table will be.

References:
    | Probabilistic Graphical Models, chapter 9 (variable elimination)
    | (Koller and Friedman, 2009), MIT Press
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import final

import torch
from torch import Tensor

__all__ = ["Axes", "Grid", "cheapest", "eliminate", "joint_axes"]

Axes = Mapping[str, int]
"""Every axis of a network with its size, in the order that all grids keep."""


@final
class Grid:
    """A tensor (rows or 1, *sizes) with named axes, made when it is first looked at.

    Arguments:
        axes: The names of its axes after the first, in the order of the network.
        make: Returns the tensor.
    """

    __slots__ = ("_make", "_table", "axes")

    def __init__(self, axes: tuple[str, ...], make: Callable[[], Tensor]) -> None:
        self.axes = axes
        self._make: Callable[[], Tensor] | None = make
        self._table: Tensor | None = None

    @classmethod
    def of(cls, axes: tuple[str, ...], table: Tensor) -> "Grid":
        """Returns the grid of a tensor that is there already."""
        return cls(axes, lambda: table)

    @property
    def table(self) -> Tensor:
        """The tensor (rows or 1, *sizes)."""
        if self._table is None:
            assert self._make is not None
            self._table, self._make = self._make(), None
        return self._table

    def along(self, axes: Sequence[str]) -> Tensor:
        """Returns the tensor with one axis for each of `axes`; size 1 where it does not vary."""
        sizes = dict(zip(self.axes, self.table.shape[1:], strict=True))
        return self.table.reshape(-1, *(sizes.get(name, 1) for name in axes))


def joint_axes(grids: Iterable[Grid], axes: Axes) -> tuple[str, ...]:
    """Returns the axes on which any of the grids varies, in the order of the network."""
    present = set().union(*(grid.axes for grid in grids))
    return tuple(name for name in axes if name in present)


def cheapest(
    scopes: Iterable[Iterable[str]], axes: Axes, names: Iterable[str]
) -> tuple[list[str], int]:
    """Returns an order in which to sum out `names`, and the entries per row of the largest table.

    Greedy: next is the axis whose sum needs the smallest table; ties go by the network's order.

    Arguments:
        scopes: The axes of each factor.
        axes: Every axis with its size.
        names: The axes to sum out.
    """
    names = set(names)
    left = [name for name in axes if name in names]
    near: dict[str, set[str]] = {name: {name} for name in axes}  # what shares a factor with it
    largest = 1
    for scope in map(set, scopes):
        largest = max(largest, _size(scope, axes))
        for name in scope:
            near[name] |= scope
    sizes = {name: _size(near[name], axes) for name in left}
    order: list[str] = []
    while left:
        name = min(left, key=sizes.__getitem__)
        largest = max(largest, sizes[name])
        for other in near[name] - {name}:
            near[other] |= near[name]
            near[other].discard(name)
            if other in sizes:
                sizes[other] = _size(near[other], axes)
        left.remove(name)
        order.append(name)
    return order, largest


def eliminate(grids: Iterable[Grid], axes: Axes, order: Sequence[str]) -> list[Grid]:
    """Returns the log-weights of what is left once axes are summed out in the given order.

    Arguments:
        grids: Log-weights whose sum is the logarithm of the joint weight.
        axes: The axes of the network.
        order: Which to sum out, first to last.
    """
    left = list(grids)
    for name in order:
        inside = [grid for grid in left if name in grid.axes]
        left = [grid for grid in left if name not in grid.axes]
        if not inside:  # nothing depends on it: all of its values weigh alike
            inside = [Grid.of((name,), torch.zeros(1, axes[name], dtype=torch.float64))]
        product = _sum(inside, axes)
        place = product.axes.index(name)
        rest = (*product.axes[:place], *product.axes[place + 1 :])
        left.append(Grid.of(rest, product.table.logsumexp(place + 1)))
    return left


def _sum(grids: Sequence[Grid], axes: Axes) -> Grid:
    """Returns the sum of the grids over their joint axes."""
    joint = joint_axes(grids, axes)
    total = grids[0].along(joint)
    for grid in grids[1:]:
        total = total + grid.along(joint)
    return Grid.of(joint, total.expand(total.shape[0], *(axes[name] for name in joint)))


def _size(names: Iterable[str], axes: Axes) -> int:
    return math.prod(map(axes.__getitem__, names))
