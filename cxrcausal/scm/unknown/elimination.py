"""Which unknown cells a question needs, given which evidence, and how they are summed out.

An unknown cell matters if the question reads it, if it is a cause of a barren cell that matters,
or if it hangs together with one that matters given what is known. What is known of their children
is the evidence. A sum is refused, or left to draws, where a table would have more than
`MOST_ENTRIES` entries per row.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NoReturn, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.errors import TableError, summarise
from cxrcausal.scm.evidence import Evidence
from cxrcausal.scm.table import plain
from cxrcausal.scm.unknown.network import Network
from cxrcausal.scm.unknown.pattern import Absence, absences
from cxrcausal.scm.unknown.tables import Tables, distinct_codes

__all__ = [
    "MOST_ENTRIES",
    "Elimination",
    "Sums",
    "refuse_impossible",
    "sums",
]

MOST_ENTRIES = 2**20
"""The most table entries per row of an exact sum."""


@final
class Elimination:
    """The sum over unknown cells in rows that lack the same ones.

    Arguments:
        known: What is known of the rows.
        cells: The unknown cells that matter, causes before effects.
        conditioned: The known variables that have one of them as a parent: their evidence.
        read: The known variables whose values the answer depends on.
    """

    def __init__(
        self,
        known: Evidence,
        cells: tuple[str, ...],
        conditioned: tuple[str, ...],
        read: tuple[str, ...] = (),
    ) -> None:
        self.known, self.cells, self.conditioned, self.read = known, cells, conditioned, read

    @classmethod
    def of(cls, known: Evidence, absence: Absence, facts: Collection[str]) -> "Elimination":
        """Returns the sum that a question needs.

        Arguments:
            known: What is known of the rows.
            absence: What the rows lack.
            facts: The variables whose factual values the question reads.
        """
        unknown, mechanisms = set(absence.unknown), known.mechanisms
        needed = unknown.intersection(facts)
        for name in reversed(absence.barren):
            if name in needed:
                needed.update(p.name for p in mechanisms[name].parents if p.name in unknown)
        cells = needed.intersection(absence.barren)
        for component in absence.components:
            if needed.intersection(component):
                cells.update(component)
        read, conditioned = set(facts), list[str]()
        for name, mechanism in mechanisms.items():
            parents = {p.name for p in mechanism.parents}
            if name in cells:
                read |= parents
            elif name not in unknown and cells & parents:
                read |= {name, *parents}
                conditioned.append(name)
        return cls(
            known,
            tuple(name for name in mechanisms if name in cells),
            tuple(conditioned),
            tuple(name for name in mechanisms if name in read - unknown),
        )

    @property
    def is_exact(self) -> bool:
        """Whether no continuum is summed over in quantile cells."""
        return all(self.known.supports[name] is not None for name in self.cells)

    @property
    def key(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What sums have in common that are taken alike."""
        return self.cells, self.conditioned

    def network(self) -> Network:
        """Returns the factual world of the rows, conditioned on what is known of them."""
        known = self.known
        network = Network(known.mechanisms, known.supports, self.cells, known.grids)
        for name in self.conditioned:
            network.add_evidence(name)
        return network

    def refuse(self, largest: int, rows: np.ndarray) -> NoReturn:
        """Says that the sum is too large to be exact.

        Raises:
            TableError: Naming the pattern of absence and its first row.
        """
        raise TableError(
            f"row {plain(self.known.index[rows[0]])!r} and {len(rows) - 1} more lack "
            f"{summarise(self.cells, 20)}: their joint posterior needs a table of {largest:,} "
            f"entries per row, above the limit of {MOST_ENTRIES:,}; make more of these known"
        )


@final
@dataclass(frozen=True)
class Sums:
    """The sums that a question needs, of all rows.

    Rows that lack different cells have one sum if they lack the same of those that matter, and
    rows that agree in all that is read have one answer.

    Arguments:
        each: The sums.
        rows: One row of each that have one answer, by sum: positions (distinct,).
        of_row: The position of each row's own sum (rows,).
        place: Where each row's answer is (rows,), counted over the rows of all sums.
    """

    each: list[Elimination]
    rows: list[np.ndarray]
    of_row: np.ndarray
    place: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """Where the answers of each sum begin (sums,)."""
        counts = np.array([len(rows) for rows in self.rows], np.int64)
        return counts.cumsum() - counts


def sums(
    known: Evidence, tables: Tables, facts: Collection[str], beside: Iterable[str] = ()
) -> Sums:
    """Returns the sums that a question needs.

    Arguments:
        known: What is known of the rows.
        tables: Their tables.
        facts: The variables whose factual values the question reads.
        beside: The labels of what else an answer depends on.
    """
    number: dict[object, int] = {}
    each: list[Elimination] = []
    of_row = np.zeros(len(known.index), np.int64)
    for absence in absences(known.mechanisms, known.values):
        one = Elimination.of(known, absence, facts)
        key = one.cells, one.conditioned, one.read
        if key not in number:
            number[key] = len(each)
            each.append(one)
        of_row[absence.rows] = number[key]
    columns = [(of_row, max(1, len(each)))]
    for name in known.mechanisms:
        read = np.array([name in one.read for one in each], bool)
        if read.any():
            code, distinct = tables.code(name)
            columns.append((np.where(read[of_row], code + 1, 0), distinct + 1))
    columns += [tables.code(label) for label in beside]
    code = distinct_codes(columns, np.arange(len(of_row)))
    _, first, place = np.unique(code, return_index=True, return_inverse=True)
    order = np.lexsort((first, of_row[first]))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    first = first[order]
    rows = [first[of_row[first] == i] for i in range(len(each))]
    return Sums(each, rows, of_row, rank[place])


def refuse_impossible(
    log_weight: Tensor, rows: Tensor, index: pd.Index, cells: Iterable[str]
) -> None:
    """Refuses rows that have no weight.

    Arguments:
        log_weight: Of what is known in each row (rows,).
        rows: Their positions (rows,).
        index: The labels of all rows.
        cells: What is unknown in them.

    Raises:
        TableError: Naming the first row.
    """
    impossible = ~torch.isfinite(log_weight).cpu()
    if bool(impossible.any()):
        labels = index[rows.cpu()[impossible].numpy()]
        raise TableError(
            f"row {plain(labels[0])!r} and {len(labels) - 1} more are impossible under the fitted "
            f"model: no values of {summarise(cells, 20)} agree with what is known"
        )
