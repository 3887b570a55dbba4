"""Tables with named axes, one for each unknown cell, and the order in which to sum these out.

A `Grid` is a table with one axis for the rows and one for each unknown cell that it depends on.
It is a function of the rows: what is known of them, and under which mechanisms. So rows that lack
the same cells share all of their grids, and rows that lack others share many (`Family`). The
logarithm of a joint probability is a sum of grids; `cheapest` finds the order in which its axes
are summed out, and how large the largest table on the way will be.

References:
    | Probabilistic Graphical Models, chapter 9 (variable elimination)
    | (Koller and Friedman, 2009), MIT Press
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from torch import Tensor

from cxrcausal.scm.mechanism.base import Mechanism

__all__ = ["Axes", "Family", "Function", "Grid", "Rows", "cheapest", "joint_axes"]

Axes = Mapping[str, int]
"""Every axis of a network with its size, in the order that all grids keep."""

Function = Callable[[Mapping[str, Mechanism], Sequence[Tensor]], Tensor]
"""From the mechanisms and the values (*batch) of some cells to a table."""


@final
class Rows:
    """Rows whose tables are made; a table that is made once is kept.

    Arguments:
        mechanisms: The mechanisms by variable.
        values: The values (rows,) that grids read, by label.
    """

    def __init__(self, mechanisms: Mapping[str, Mechanism], values: Mapping[str, Tensor]) -> None:
        self.mechanisms, self.values = mechanisms, values
        self.tables: dict[Grid, Tensor] = {}


@final
class Grid:
    """A table (rows or 1, *sizes) with named axes, made for rows when it is looked at.

    Arguments:
        axes: The names of its axes after the first, in the order of the network.
        make: Returns the table of rows.
        reads: The labels of the values that it reads of the rows.
        label: The name of a cell: in all networks what bears it may have the same values.
        support: The values (levels,) that a cell may have, where they are listed.
        family: What it is a function of, if it may be looked up in a whole table.
    """

    __slots__ = ("_make", "axes", "family", "form", "label", "reads", "support")

    def __init__(
        self,
        axes: tuple[str, ...],
        make: Callable[[Rows], Tensor],
        reads: Iterable[str] = (),
        *,
        label: str = "",
        support: Tensor | None = None,
        family: "Family | None" = None,
    ) -> None:
        self.axes, self._make, self.reads = axes, make, frozenset(reads)
        self.label, self.support, self.family = label, support, family
        self.form: Hashable = None  # what families have in common whose tables are made in one go

    @classmethod
    def of(cls, axes: tuple[str, ...], table: Tensor) -> "Grid":
        """Returns the grid of a table (1, *sizes) that is the same for all rows."""
        return cls(axes, lambda _: table)

    @classmethod
    def set_to(cls, value: Tensor) -> "Grid":
        """Returns a cell that has one value (1,) in all rows."""
        return cls((), lambda _: value, label=f"= {float(value)}", support=value)

    @classmethod
    def read(cls, label: str, support: Tensor | None) -> "Grid":
        """Returns a cell that is known: its value is read of the rows."""
        return cls((), lambda rows: rows.values[label], (label,), label=label, support=support)

    def table(self, rows: Rows) -> Tensor:
        """Returns the table (rows or 1, *sizes) of these rows."""
        if self not in rows.tables:
            rows.tables[self] = self._make(rows)
        return rows.tables[self]

    def along(self, axes: Sequence[str], rows: Rows) -> Tensor:
        """Returns the table with one axis for each of `axes`; size 1 where it does not vary."""
        table = self.table(rows)
        sizes = dict(zip(self.axes, table.shape[1:], strict=True))
        return table.reshape(-1, *(sizes.get(name, 1) for name in axes))


@final
@dataclass(frozen=True)
class Family:
    """A function of few cells, the same one whichever of them a network knows.

    Arguments:
        key: What function it is, and of what cells, by their labels.
        cells: The cells.
        mechanisms: The names of the mechanisms that it asks.
        function: Gives the table (*batch) from the values of the cells; if `own`, the table
            (*batch, levels) from the values of all but the last, over whose support it runs.
        own: Whether the function itself runs over the values of the last cell.
    """

    key: Hashable
    cells: tuple[Grid, ...]
    mechanisms: tuple[str, ...]
    function: Function
    own: bool

    @classmethod
    def grid(
        cls,
        role: tuple[Hashable, ...],
        mechanisms: tuple[str, ...],
        of: Sequence[Grid],
        function: Function,
        inner: tuple[str, ...],
        own: Grid | None = None,
        over: Function | None = None,
    ) -> Grid:
        """Returns the grid of a function of cells.

        Arguments:
            role: What function it is.
            mechanisms: The names of the mechanisms that it asks.
            of: The cells whose values the function takes; some may be the same.
            function: Gives the table (*batch, or *batch and levels with `own`).
            inner: The axes on which one of the cells varies, in the order of the network.
            own: The cell over whose values the function itself runs; none if None.
            over: Gives the same as `function`, but over the support of the first cell, from the
                others' values (*batch and levels): a whole table is then made by it, and is one
                with that of the grid in which the first cell is `own`. None if there is no such.
        """
        given, place, taken = _of_distinct(of, function)
        dimensions = len(inner) + 1 + (own is not None)

        def make(rows: Rows) -> Tensor:
            table = taken(rows.mechanisms, [cell.along(inner, rows) for cell in given])
            # without parents it may lack the axis of the rows
            return table if table.ndim >= dimensions else table[None]

        reads = frozenset[str]().union(*(cell.reads for cell in given))
        axes = inner if own is None else (*inner, *own.axes)
        if over is None:
            cells, whole = given, taken
        else:
            own = of[0]
            cells, place, whole = _of_distinct(of[1:], over)
        if own is not None:
            cells = (*cells, own)
        if not all(cell.label for cell in cells):
            return Grid(axes, make, reads)
        key = (role, place, *(cell.label for cell in cells))
        family = cls(key, cells, mechanisms, whole, own is not None)
        grid, at = Grid(axes, make, reads, family=family), {axis: i for i, axis in enumerate(axes)}
        grid.form = (key, *(tuple([at[axis] for axis in cell.axes]) for cell in cells))
        return grid


def _of_distinct(
    of: Sequence[Grid], function: Function
) -> tuple[tuple[Grid, ...], tuple[int, ...], Function]:
    """Returns the distinct cells, which of them each argument is, and the function of those."""
    cells = tuple(dict.fromkeys(of))
    number = {cell: i for i, cell in enumerate(cells)}
    place = tuple([number[cell] for cell in of])

    def taken(mechanisms: Mapping[str, Mechanism], values: Sequence[Tensor]) -> Tensor:
        return function(mechanisms, [values[i] for i in place])

    return cells, place, taken


def joint_axes(grids: Iterable[Grid], axes: Axes) -> tuple[str, ...]:
    """Returns the axes on which any of the grids varies, in the order of the network."""
    present = {axis for grid in grids for axis in grid.axes}
    return tuple([name for name in axes if name in present]) if present else ()


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


def _size(names: Iterable[str], axes: Axes) -> int:
    return math.prod(map(axes.__getitem__, names))
