"""Bucket elimination of very many small networks at once, and draws from their exact posteriors.

Rows that lack different cells have different networks, but their single steps are alike: a sum
over a binary axis of two tables, say. All tables of all networks lie in one array; step by step,
the networks whose step has one form are summed in one call. What a step multiplied is kept, so
that the axes can be drawn backwards, last eliminated first.

References:
    | Bucket Elimination: A Unifying Framework for Reasoning
    | (Dechter, 1999), https://doi.org/10.1016/S0004-3702(99)00059-4
"""

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np

__all__ = ["Buckets", "Form", "Step", "Structure"]


@final
@dataclass(frozen=True, eq=False)
class Form:
    """What steps that can be taken together have in common; equal ones are one, see `_form`.

    Arguments:
        sizes: The sizes of the clique.
        position: The position of the axis in it.
        scopes: Which of its axes each table has.
    """

    sizes: tuple[int, ...]
    position: int
    scopes: tuple[tuple[int, ...], ...]


@functools.lru_cache(maxsize=2**14)
def _form(sizes: tuple[int, ...], position: int, scopes: tuple[tuple[int, ...], ...]) -> Form:
    """Returns a form, told from others by identity: much quicker than by its numbers."""
    return Form(sizes, position, scopes)


class Step(NamedTuple):
    """One axis that is summed out.

    Arguments:
        clique: The axes of the product of all that it stands in, ascending.
        axis: The axis.
        inside: The tables that are multiplied: those given first, then what the steps leave.
        form: What it has in common with the steps that can be taken together with it.
        strides: How many entries of the product lie between neighbours along each of its axes; 0
            along the axis itself.
        own: How many along the axis itself.
    """

    clique: tuple[int, ...]
    axis: int
    inside: tuple[int, ...]
    form: Form
    strides: tuple[int, ...]
    own: int


@final
@dataclass(frozen=True)
class Structure:
    """How the tables of a network hang together, and in which order its axes are summed out.

    Arguments:
        sizes: Of its axes.
        tables: How many tables are given.
        steps: The steps, first to last.
        entries: The entries of each table: given, left by each step, multiplied in each step.
    """

    sizes: tuple[int, ...]
    tables: int
    steps: tuple[Step, ...]
    entries: tuple[int, ...]

    @classmethod
    def of(
        cls, axes: Mapping[str, int], scopes: Sequence[tuple[str, ...]], order: Sequence[str]
    ) -> "Structure":
        """Returns the structure of a network.

        Arguments:
            axes: Every axis with its size.
            scopes: The axes of each table, in the order of `axes`.
            order: All axes, first to last to be summed out.
        """
        sizes, number = tuple(axes.values()), {name: i for i, name in enumerate(axes)}
        tables = [tuple([number[name] for name in scope]) for scope in scopes]
        given, steps, products = len(tables), [], []
        holding: list[list[int]] = [[] for _ in sizes]  # which tables have an axis
        for slot, scope in enumerate(tables):
            for axis in scope:
                holding[axis].append(slot)
        for axis in map(number.__getitem__, order):
            inside = sorted(holding[axis], key=tables.__getitem__)
            clique = tuple(sorted(set().union(*map(tables.__getitem__, inside))))
            at = {a: i for i, a in enumerate(clique)}
            form = _form(
                tuple([sizes[a] for a in clique]),
                at[axis],
                tuple([tuple([at[a] for a in tables[slot]]) for slot in inside]),
            )
            strides, stride = [0] * len(clique), 1
            for i in reversed(range(len(clique))):
                strides[i], stride = stride, stride * form.sizes[i]
            own, strides[form.position] = strides[form.position], 0
            steps.append(Step(clique, axis, tuple(inside), form, tuple(strides), own))
            products.append(clique)
            message, used = len(tables), set(inside)
            tables.append(tuple([a for a in clique if a != axis]))
            for other in tables[message]:
                holding[other] = [slot for slot in holding[other] if slot not in used]
                holding[other].append(message)
        entries = tuple([_entries(scope, sizes) for scope in (*tables, *products)])
        return cls(sizes, given, tuple(steps), entries)


@final
class Buckets:
    """The tables of many networks, those of one structure next to each other.

    Arguments:
        structures: The structures.
        counts: How many networks there are of each (structures,).
    """

    def __init__(self, structures: Sequence[Structure], counts: np.ndarray) -> None:
        self.structures, self.counts = structures, counts
        self.first = np.cumsum(counts) - counts
        width = max((len(s.entries) for s in structures), default=0)
        entries = np.zeros((len(structures), width), np.int64)
        for row, structure in zip(entries, structures, strict=True):
            row[: len(structure.entries)] = structure.entries
        ends = entries.cumsum(1)
        self.starts = ends - entries
        total = ends[:, -1] if width else np.zeros(len(structures), np.int64)
        self.base = np.repeat(total, counts).cumsum() - np.repeat(total, counts)
        self.pool = np.empty(int(total @ counts))

    def networks(self, structures: np.ndarray) -> np.ndarray:
        """Returns the numbers of the networks of structures, one structure after the other."""
        counts = self.counts[structures]
        shift = self.first[structures] - (counts.cumsum() - counts)
        return np.repeat(shift, counts) + np.arange(counts.sum())

    def put(self, structures: np.ndarray, slots: np.ndarray, table: np.ndarray) -> None:
        """Stores tables that are alike: one slot of each structure, one table of each network.

        Arguments:
            structures: The structures (structures,).
            slots: Which table of each is given (structures,).
            table: Log-weights (networks or 1, *sizes), in the order of `networks`.
        """
        self._put(self._start(structures, slots, self.networks(structures)), table)

    def _put(self, start: np.ndarray, table: np.ndarray) -> None:
        """Stores tables (networks or 1, *sizes) where they begin (networks,)."""
        flat = table.reshape(len(table), -1)
        self.pool[start[:, None] + np.arange(flat.shape[1])] = flat

    def eliminate(self) -> np.ndarray:
        """Sums out all axes, and returns the logarithm of each network's total (networks,)."""
        total = np.zeros(len(self.base))
        for level in itertools.count():
            forms: dict[Form, list[int]] = {}
            for number, structure in enumerate(self.structures):
                if len(structure.steps) > level:
                    forms.setdefault(structure.steps[level].form, []).append(number)
            if not forms:
                return total
            for members in forms.values():
                self._step(level, np.array(members), total)
        raise AssertionError

    def product(self, structure: int, level: int) -> np.ndarray:
        """Returns the log-weights (networks, entries) that a step of a structure multiplied."""
        which, given = np.array([structure]), self.structures[structure]
        slot = given.tables + len(given.steps) + level
        start = self._start(which, np.array([slot]), self.networks(which))
        return self.pool[start[:, None] + np.arange(given.entries[slot])]

    def draw(self, uniform: np.ndarray) -> np.ndarray:
        """Returns a draw from each network's joint distribution, once it is eliminated.

        Arguments:
            uniform: What decides them (networks, draws, axes); axes past a network's own are left.

        Returns:
            The positions along each axis, of the same shape.
        """
        drawn = np.zeros(uniform.shape, np.int64)
        for level in reversed(range(max((len(s.steps) for s in self.structures), default=0))):
            sizes: dict[int, list[int]] = {}
            for number, structure in enumerate(self.structures):
                if len(structure.steps) > level:
                    size = structure.sizes[structure.steps[level].axis]
                    sizes.setdefault(size, []).append(number)
            for size, members in sizes.items():
                self._draw(level, size, np.array(members), uniform, drawn)
        return drawn

    def _start(
        self, structures: np.ndarray, slots: np.ndarray, networks: np.ndarray
    ) -> np.ndarray:
        """Returns where the tables of some networks begin."""
        start = self.starts[structures, slots]
        return self.base[networks] + np.repeat(start, self.counts[structures])

    def _step(self, level: int, members: np.ndarray, total: np.ndarray) -> None:
        """Takes one step of structures in which it has one form."""
        steps = [self.structures[s].steps[level] for s in members]
        form, networks, counts = steps[0].form, self.networks(members), self.counts[members]
        sizes, axis = form.sizes, form.position + 1
        base = self.base[networks]

        def start(slots: np.ndarray) -> np.ndarray:
            return base + np.repeat(self.starts[members, slots], counts)

        inside = np.array([step.inside for step in steps], np.int64)
        product = np.zeros((len(networks), *sizes))
        for slots, scope in zip(inside.T, form.scopes, strict=True):
            shape = [size if i in scope else 1 for i, size in enumerate(sizes)]
            table = self.pool[start(slots)[:, None] + np.arange(_entries(scope, sizes))]
            product += table.reshape(-1, *shape)
        top = product.max(axis, keepdims=True)
        top = np.where(np.isneginf(top), 0.0, top)
        with np.errstate(divide="ignore"):
            message = np.log(np.exp(product - top).sum(axis)) + top.squeeze(axis)
        given = np.array([self.structures[s].tables for s in members])
        number = np.array([len(self.structures[s].steps) for s in members])
        self._put(start(given + level), message)
        self._put(start(given + number + level), product)
        if len(sizes) == 1:
            total[networks] += message

    def _draw(
        self, level: int, size: int, members: np.ndarray, uniform: np.ndarray, drawn: np.ndarray
    ) -> None:
        """Draws one axis of structures in which it has the same size, in place in `drawn`."""
        steps = [self.structures[s].steps[level] for s in members]
        width = max([len(step.clique) for step in steps])
        spare = [(0,) * (width - len(step.clique)) for step in steps]
        axes = np.array([step.clique + more for step, more in zip(steps, spare, strict=True)])
        strides = np.array([step.strides + more for step, more in zip(steps, spare, strict=True)])
        axis = np.array([step.axis for step in steps])
        own = np.array([step.own for step in steps])
        networks, counts = self.networks(members), self.counts[members]
        slots = np.array(
            [self.structures[s].tables + len(self.structures[s].steps) + level for s in members]
        )
        at = self._start(members, slots, networks)[:, None]
        for i in range(width):
            given = drawn[networks, :, np.repeat(axes[:, i], counts)]
            at = at + given * np.repeat(strides[:, i], counts)[:, None]
        along = np.repeat(own, counts)[:, None] * np.arange(size)
        weight = self.pool[at[..., None] + along[:, None]]  # (networks, draws, size)
        weight = np.exp(weight - weight.max(-1, keepdims=True))
        weight /= weight.sum(-1, keepdims=True)
        which = np.repeat(axis, counts)
        below = (weight.cumsum(-1) <= uniform[networks, :, which][..., None]).sum(-1)
        # rounding can leave the last sum below one: never go past the last value of any weight
        last = size - 1 - (weight > 0)[..., ::-1].argmax(-1)
        drawn[networks, :, which] = np.minimum(below, last)


def _entries(scope: Sequence[int], sizes: Sequence[int]) -> int:
    """Returns how many entries a table over some axes has."""
    return math.prod([sizes[axis] for axis in scope])
