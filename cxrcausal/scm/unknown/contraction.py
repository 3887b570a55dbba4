"""Very many sums over unknown cells at once, whatever each row lacks.

How a network is summed out, in which order and through which tables, is found once (`Plan`). The
networks of all rows then lie next to each other in `Buckets`, a grid that several of them share is
made once for all of their rows, and what is left over some axes is read from them.
"""

import functools
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np

from cxrcausal.scm.unknown.buckets import Buckets, Structure
from cxrcausal.scm.unknown.factor import Grid, cheapest
from cxrcausal.scm.unknown.network import Network
from cxrcausal.scm.unknown.tables import Tables

__all__ = ["BUDGET", "Chunk", "Part", "Plan", "contractions", "values_kept"]

BUDGET = 2**22
"""How many table entries are held at once: rows are taken in chunks that keep to it."""


class Kept(NamedTuple):
    """A value of which the distribution is asked for.

    Arguments:
        grid: The value.
        sizes: The sizes of its axes.
    """

    grid: Grid
    sizes: tuple[int, ...]


@final
@dataclass(frozen=True)
class Plan:
    """How a network is summed out.

    Arguments:
        axes: Its unknown cells and running bits.
        grids: Its tables.
        forms: Of each what it has in common with the tables that are made in one go with it.
        structure: How they hang together.
        largest: The entries per row of the largest table.
        kept: The value whose axes are summed out last; None if nothing is asked of them.
    """

    axes: tuple[str, ...]
    grids: list[Grid]
    forms: list[Hashable]
    structure: Structure
    largest: int
    kept: Kept | None

    @classmethod
    def of(cls, network: Network, kept: Grid | None = None, asker: Hashable = None) -> "Plan":
        """Returns how a network is summed out.

        Arguments:
            network: The network.
            kept: A value of which the distribution is asked for; None for the total alone.
            asker: The question: grids that are no family are the same for one question only.
        """
        axes, last = network.axes, kept.axes if kept is not None else ()
        scopes = [grid.axes for grid in network.factors.values()]
        if last:  # summed out last, and together
            scopes.append(last)
        structure, largest = _ordered(tuple(axes.items()), tuple(scopes), last)

        forms = [
            grid.form if grid.form is not None else (asker, name, grid.axes, grid.reads)
            for name, grid in network.factors.items()
        ]
        answer = None if kept is None else Kept(kept, tuple([axes[axis] for axis in last]))
        grids = list(network.factors.values())
        return cls(tuple(axes), grids, forms, structure, max(largest, 1), answer)

    def sizes(self, grid: Grid) -> tuple[int, ...]:
        """Returns the sizes of the axes of one of its tables."""
        return tuple([self.structure.sizes[self.axes.index(axis)] for axis in grid.axes])


class Part(NamedTuple):
    """A sum in some of its rows.

    Arguments:
        plan: How it is summed out.
        rows: The positions of the rows (rows,).
        number: Whose sum it is.
        start: How many rows of the same sum come before.
    """

    plan: Plan
    rows: np.ndarray
    number: int
    start: int = 0


@final
@dataclass(frozen=True)
class Chunk:
    """Sums of some rows, taken together.

    Arguments:
        parts: The sums.
        rows: The position of the row of each network (networks,).
        buckets: The networks, those of one part next to each other.
        total: The log-weight of each (networks,), all axes summed out.
    """

    parts: list[Part]
    rows: np.ndarray
    buckets: Buckets
    total: np.ndarray

    def answers(self) -> Iterator[tuple[Part, np.ndarray, np.ndarray]]:
        """Yields each part with its totals (rows,), and the shares (rows, points) of what is kept.

        Where nothing is kept, or it has no axes, there is one point.
        """
        for number, part in enumerate(self.parts):
            first = self.buckets.first[number]
            total = self.total[first : first + len(part.rows)]
            kept = part.plan.kept
            if kept is None or not kept.sizes:
                yield part, total, np.ones((len(total), 1))
                continue
            weight = self.buckets.product(number, len(part.plan.axes) - len(kept.sizes))
            top = weight.max(1, keepdims=True)
            share = np.exp(weight - np.where(np.isneginf(top), 0.0, top))
            with np.errstate(invalid="ignore"):  # impossible rows have no shares
                yield part, total, share / share.sum(1, keepdims=True)


def contractions(tables: Tables, parts: Iterable[Part], samples: int = 0) -> Iterator[Chunk]:
    """Yields sums, taken in chunks that keep to `BUDGET`.

    Arguments:
        tables: The tables of the rows.
        parts: The sums.
        samples: How many draws will be made of each.
    """
    for chunk in _chunks(parts, samples):
        rows = np.concatenate([part.rows for part in chunk])
        counts = np.array([len(part.rows) for part in chunk], np.int64)
        buckets = Buckets([part.plan.structure for part in chunk], counts)
        alike: dict[Hashable, list[tuple[int, int]]] = {}
        for number, part in enumerate(chunk):
            for slot, form in enumerate(part.plan.forms):
                alike.setdefault(form, []).append((number, slot))
            if part.plan.structure.tables > len(part.plan.grids):
                flat = np.zeros((1, part.plan.structure.entries[len(part.plan.grids)]))
                buckets.put(np.array([number]), np.array([len(part.plan.grids)]), flat)
        constant = np.zeros(len(rows))  # of what varies along no axis
        for places in alike.values():
            members, slots = np.array(places).T
            plan = chunk[members[0]].plan
            grid, networks = plan.grids[slots[0]], buckets.networks(members)
            table = tables.of(grid, plan.sizes(grid), rows[networks])
            if grid.axes:
                buckets.put(members, slots, table)
            else:
                constant[networks] += table
        yield Chunk(chunk, rows, buckets, buckets.eliminate() + constant)


@functools.lru_cache(maxsize=2**14)
def _ordered(
    axes: tuple[tuple[str, int], ...], scopes: tuple[tuple[str, ...], ...], last: tuple[str, ...]
) -> tuple[Structure, int]:
    """Returns the cheapest structure found, and the entries per row of its largest table.

    Many questions sum tables that hang together alike, so what is found is kept.
    """
    sizes = dict(axes)
    order, largest = cheapest(scopes, sizes, sizes.keys() - set(last))
    return Structure.of(sizes, scopes, (*order, *last)), largest


def _chunks(parts: Iterable[Part], samples: int) -> Iterator[list[Part]]:
    """Yields parts of sums that keep to `BUDGET` together."""
    chunk, filled = list[Part](), 0
    for part in parts:
        entries = max(1, sum(part.plan.structure.entries))
        entries += samples * (2 * len(part.plan.axes) + max(part.plan.structure.sizes, default=0))
        step = max(1, BUDGET // entries)
        for start in range(0, len(part.rows), step):
            subset = part.rows[start : start + step]
            if filled and filled + entries * len(subset) > BUDGET:
                yield chunk
                chunk, filled = [], 0
            chunk.append(part._replace(rows=subset, start=start))
            filled += entries * len(subset)
    if chunk:
        yield chunk


def values_kept(tables: Tables, part: Part) -> np.ndarray:
    """Returns the values (rows or 1, points) whose log-weights `Chunk.answers` gives."""
    kept = part.plan.kept
    assert kept is not None
    found = tables.of(kept.grid, kept.sizes, part.rows)
    return found.reshape(len(found), -1)
