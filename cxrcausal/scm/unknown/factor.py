"""Sums over unknown cells: tables with named axes, eliminated one axis after the other.

A `Grid` is a tensor with one axis for the rows and one for each unknown cell that it depends on.
The logarithm of a joint probability is a sum of grids; `eliminate` sums out its axes one at a
time, the cheapest first, and keeps what `draw` needs to sample the axes backwards from their exact
joint law. `cheapest` says beforehand how large the largest table will be.

References:
    | Probabilistic Graphical Models, chapter 9 (variable elimination)
    | (Koller and Friedman, 2009), MIT Press
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor

__all__ = ["Axes", "Bucket", "Grid", "cheapest", "draw", "eliminate", "joint_axes"]

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


class Bucket(NamedTuple):
    """One eliminated axis, and the log-weights of all that it stood in."""

    name: str
    grid: Grid


def joint_axes(grids: Iterable[Grid], axes: Axes) -> tuple[str, ...]:
    """Returns the axes on which any of the grids varies, in the order of the network."""
    present = {name for grid in grids for name in grid.axes}
    return tuple(name for name in axes if name in present)


def cheapest(grids: Sequence[Grid], axes: Axes, names: Iterable[str]) -> tuple[list[str], int]:
    """Returns an order in which to sum out `names`, and the entries per row of the largest table.

    Greedy: next is the axis whose sum needs the smallest table; ties go by the network's order.
    """
    scopes = [set(grid.axes) for grid in grids]
    left = [name for name in axes if name in set(names)]
    largest = max((_size(scope, axes) for scope in scopes), default=1)
    order: list[str] = []
    while left:
        cliques = {name: set().union(*(s for s in scopes if name in s)) for name in left}
        name = min(left, key=lambda n: _size(cliques[n], axes))
        largest = max(largest, _size(cliques[name], axes))
        scopes = [s for s in scopes if name not in s] + [cliques[name] - {name}]
        left.remove(name)
        order.append(name)
    return order, largest


def eliminate(
    grids: Sequence[Grid], axes: Axes, order: Sequence[str]
) -> tuple[list[Bucket], list[Grid]]:
    """Sums out the axes in the given order.

    Arguments:
        grids: Log-weights whose sum is the logarithm of the joint weight.
        axes: The axes of the network.
        order: Which to sum out, first to last.

    Returns:
        One bucket per axis, for `draw`, and the log-weights of what is left.
    """
    left, buckets = list(grids), []
    for name in order:
        inside = [grid for grid in left if name in grid.axes]
        left = [grid for grid in left if name not in grid.axes]
        if not inside:  # nothing depends on it: all of its values weigh alike
            inside = [Grid.of((name,), torch.zeros(1, axes[name], dtype=torch.float64))]
        product = _sum(inside, axes)
        buckets.append(Bucket(name, product))
        place = product.axes.index(name)
        rest = (*product.axes[:place], *product.axes[place + 1 :])
        total = product.table.logsumexp(place + 1)
        left.append(Grid.of(rest, total))
    return buckets, left


def draw(
    buckets: Sequence[Bucket], place: Tensor, uniform: Callable[[str], Tensor]
) -> dict[str, Tensor]:
    """Samples the eliminated axes from their joint law, last eliminated first.

    Arguments:
        buckets: What `eliminate` returned, with no axis left over.
        place: For each row (rows,), which row of the tables it reads.
        uniform: Returns for an axis the uniforms (rows, samples) that decide it.

    Returns:
        For each axis the positions (rows, samples) along it, as int64.
    """
    drawn: dict[str, Tensor] = {}
    for name, grid in reversed(buckets):
        table = grid.table.movedim(grid.axes.index(name) + 1, -1)
        given = [other for other in grid.axes if other != name]
        u, place = uniform(name).to(table.device), place.to(table.device)
        at = torch.zeros_like(u, dtype=torch.int64)
        for other, size in zip(given, table.shape[1:-1], strict=True):
            at = at * size + drawn[other]
        rows = place if len(table) > 1 else torch.zeros_like(place)
        weights = table.reshape(len(table), -1, table.shape[-1])[rows[:, None], at].softmax(
            -1
        )  # (rows, samples, size)
        below = (weights.cumsum(-1) <= u[..., None]).sum(-1)
        # rounding can leave the last sum below one: never go past the last value of any weight
        last = weights.shape[-1] - 1 - (weights > 0).flip(-1).to(torch.int8).argmax(-1)
        drawn[name] = torch.minimum(below, last)
    return drawn


def _sum(grids: Sequence[Grid], axes: Axes) -> Grid:
    """Returns the sum of the grids over their joint axes."""
    joint = joint_axes(grids, axes)
    total = grids[0].along(joint)
    for grid in grids[1:]:
        total = total + grid.along(joint)
    full = (total.shape[0], *(axes[name] for name in joint))
    total = total.expand(full)
    return Grid.of(joint, total)


def _size(names: Iterable[str], axes: Axes) -> int:
    return math.prod(axes[name] for name in names)
