"""The tables of grids in rows: gathered from a family's whole table, or made for the rows.

A family, a function of few cells, has few joint values, mostly. Its whole table is made once, and
each row's part of it gathered, whichever of its cells the row lacks. Other grids are made for rows
that differ in what they read.
"""

import math
from collections.abc import Iterable
from typing import final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.scm.unknown.factor import Family, Grid, Rows
from cxrcausal.scm.unknown.network import Mechanisms, Values

__all__ = ["Tables", "distinct_codes"]

MOST_TABULATED = 2**16
"""The most joint values of a family whose whole table is made."""

FEW = 2**13
"""Of so few joint values the whole table is made at once: asking a mechanism about all of them
takes hardly longer than asking it about some."""

MOST_CODES = 2**62
"""The most combinations of values that one number tells apart."""


@final
class Tables:
    """The tables of grids in rows.

    Arguments:
        mechanisms: The mechanisms by variable.
        values: The values (rows,) that grids read, by label, NaN where unknown.
    """

    def __init__(self, mechanisms: Mechanisms, values: Values) -> None:
        self.mechanisms, self.values = mechanisms, values
        self._positions: dict[str, np.ndarray | None] = {}  # of known values in the support
        self._codes: dict[str, tuple[np.ndarray, int]] = {}
        self._asked: dict[object, int] = {}
        self._whole: dict[object, tuple[Family, tuple[np.ndarray, list[int]]]] = {}

    def under(self, mechanisms: Mechanisms) -> "Tables":
        """Returns the tables of the same rows under mechanisms of which some are others."""
        tables = Tables(mechanisms, self.values)
        tables._positions, tables._codes = self._positions, self._codes
        tables._asked = self._asked
        for key, (family, whole) in self._whole.items():
            if all(mechanisms[name] is self.mechanisms[name] for name in family.mechanisms):
                tables._whole[key] = family, whole
        return tables

    def of(self, grid: Grid, sizes: tuple[int, ...], rows: np.ndarray) -> np.ndarray:
        """Returns the table (rows or 1, *sizes) of a grid in some rows.

        Arguments:
            grid: The grid.
            sizes: The sizes of its axes.
            rows: The positions of the rows (rows,).
        """
        whole = self._whole_of(grid.family, math.prod(sizes) * len(rows)) if grid.family else None
        if whole is None:
            return self._made(grid, sizes, rows)
        assert grid.family is not None
        (table, strides), of_axis = whole, dict.fromkeys(grid.axes, 0)
        at = np.zeros(len(rows) if grid.reads else 1, np.int64)
        for cell, stride in zip(grid.family.cells, strides, strict=True):
            if cell.axes:
                of_axis[cell.axes[0]] += stride
            elif cell.reads:
                position = self._position(cell)
                assert position is not None
                at += position[rows] * stride
        along = np.zeros((), np.int64)
        for axis, size in zip(grid.axes, sizes, strict=True):
            along = along[..., None] + np.arange(size) * of_axis[axis]
        return table[at.reshape(-1, *[1] * along.ndim) + along]

    def _whole_of(self, family: Family, entries: int) -> tuple[np.ndarray, list[int]] | None:
        """Returns a family's whole table, flat, and the stride of each cell; None if it has none.

        It is made at once if it is small, else once as many entries have been asked for as it has.
        """
        if family.key in self._whole:
            return self._whole[family.key][1]
        supports = [cell.support for cell in family.cells]
        if any(support is None for support in supports):
            return None
        sizes = [len(support) for support in supports if support is not None]
        total = math.prod(sizes)
        asked = self._asked[family.key] = self._asked.get(family.key, 0) + entries
        if total > min(MOST_TABULATED, max(FEW, asked)):
            return None
        if any(c.reads and not c.axes and self._position(c) is None for c in family.cells):
            return None
        inner = len(sizes) - family.own
        values = [
            support.reshape(-1, *[1] * (inner - i - 1))
            for i, support in enumerate(supports[:inner])
            if support is not None
        ]
        table = family.function(self.mechanisms, values).cpu().numpy()
        ends = np.cumprod([1, *reversed(sizes)])[:-1]
        whole = np.broadcast_to(table, sizes).ravel(), ends[::-1].tolist()
        self._whole[family.key] = family, whole
        return whole

    def _position(self, cell: Grid) -> np.ndarray | None:
        """Returns the positions of a known cell's values (rows,) in its support.

        It is None if one of the values is not in the support.
        """
        if cell.label not in self._positions:
            assert cell.support is not None
            values = cell.table(Rows(self.mechanisms, self.values))
            at = torch.searchsorted(cell.support, values.nan_to_num(0.0))
            at = at.clamp(max=len(cell.support) - 1)
            fits = values.isnan() | (cell.support[at] == values)
            self._positions[cell.label] = at.cpu().numpy() if bool(fits.all()) else None
        return self._positions[cell.label]

    def _made(self, grid: Grid, sizes: tuple[int, ...], rows: np.ndarray) -> np.ndarray:
        """Returns a table that is made for those rows that differ in what it reads."""
        if not grid.reads:
            values, place = dict[str, Tensor](), None
        else:
            code = distinct_codes([self.code(label) for label in sorted(grid.reads)], rows)
            _, first, place = np.unique(code, return_index=True, return_inverse=True)
            at = torch.from_numpy(rows[first])
            values = {label: self.values[label][at] for label in grid.reads}
        table = grid.table(Rows(self.mechanisms, values)).cpu().numpy()
        table = np.broadcast_to(table, (len(table), *sizes))
        return table if place is None or len(table) == 1 else table[place]

    def code(self, label: str) -> tuple[np.ndarray, int]:
        """Returns which rows agree in a value, by a number (rows,), and how many values differ."""
        if label not in self._codes:
            values = self.values[label].cpu().numpy()
            code, distinct = pd.factorize(values, use_na_sentinel=False)
            self._codes[label] = code, len(distinct)
        return self._codes[label]


def distinct_codes(columns: Iterable[tuple[np.ndarray, int]], rows: np.ndarray) -> np.ndarray:
    """Returns for some rows a number (rows,) that only those share that agree in all columns.

    Arguments:
        columns: Of each column the number of every row's value, and how many there are.
        rows: The positions of the rows (rows,).
    """
    code, count = np.zeros(len(rows), np.int64), 1
    for level, distinct in columns:
        if count * distinct >= MOST_CODES:
            code = np.unique(code, return_inverse=True)[1]
            count = len(code)
        code, count = code * distinct + level[rows], count * distinct
    return code
