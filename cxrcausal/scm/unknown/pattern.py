"""Which cells rows lack, and what follows: which are informed, and which hang together.

An unknown cell without a known descendant is *barren*: whatever it may be, nothing known is more
or less likely. The others fall into components that are independent given what is known.

References:
    | Probabilistic Reasoning in Intelligent Systems (Pearl, 1988), Morgan Kaufmann
    | Evaluating Influence Diagrams, on barren nodes
    | (Shachter, 1986), https://doi.org/10.1287/opre.34.6.871
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.scm.unknown.network import Mechanisms, Values

__all__ = [
    "Absence",
    "Component",
    "absences",
    "components",
    "distinct_rows",
    "informed_cells",
    "lacking_cells",
]

Masks = Mapping[str, Tensor]
"""For each variable in which rows (rows,) something holds of its cell."""


class Absence(NamedTuple):
    """The rows that lack the same cells.

    Arguments:
        unknown: The variables that are unknown there, causes before effects.
        rows: The positions of the rows (rows,).
        components: Groups of unknown cells that are dependent given the known ones.
        barren: Unknown cells without a known descendant, causes before effects.
    """

    unknown: tuple[str, ...]
    rows: np.ndarray
    components: tuple[tuple[str, ...], ...]
    barren: tuple[str, ...]


class Component(NamedTuple):
    """Unknown cells that are dependent given the known ones, and the rows in which they are.

    Arguments:
        cells: The unknown cells, causes before effects.
        conditioned: The known variables that have one of them as a parent: their evidence.
        rows: The positions of the rows (rows,).
    """

    cells: tuple[str, ...]
    conditioned: tuple[str, ...]
    rows: np.ndarray


def lacking_cells(mechanisms: Mechanisms, values: Values) -> dict[str, Tensor]:
    """Returns which cells are unknown (rows,), by variable."""
    return {name: values[name].isnan() for name in mechanisms}


def absences(mechanisms: Mechanisms, values: Values) -> list[Absence]:
    """Returns the rows grouped by which of their cells are unknown."""
    lacks = lacking_cells(mechanisms, values)
    groups = _grouped(_pattern_code(_stacked(lacks, list(mechanisms))))
    first = torch.tensor([rows[0] for rows in groups], dtype=torch.int64)
    one_of_each = {name: lack.cpu()[first] for name, lack in lacks.items()}
    informed = informed_cells(mechanisms, one_of_each)
    parts: list[list[tuple[str, ...]]] = [[] for _ in groups]
    for part in components(mechanisms, one_of_each, informed, informed):
        for group in part.rows:
            parts[group].append(part.cells)
    names = list(mechanisms)
    lacking, tied = _stacked(one_of_each, names).T, _stacked(informed, names).T
    return [
        Absence(
            tuple([name for name, unknown in zip(names, lacking[i], strict=True) if unknown]),
            rows,
            tuple(sorted(parts[i], key=lambda cells: names.index(cells[0]))),
            tuple([n for n, lone in zip(names, lacking[i] & ~tied[i], strict=True) if lone]),
        )
        for i, rows in enumerate(groups)
    ]


def informed_cells(mechanisms: Mechanisms, lacks: Masks) -> dict[str, Tensor]:
    """Returns which unknown cells (rows,) have a known descendant, by variable, causes first.

    Arguments:
        mechanisms: The mechanisms, causes before effects.
        lacks: Which cells are unknown (rows,).
    """
    informed = {name: torch.zeros_like(lack) for name, lack in lacks.items()}
    for name in reversed(list(mechanisms)):
        tells = ~lacks[name] | informed[name]
        for parent in mechanisms[name].parents:
            informed[parent.name] |= tells & lacks[parent.name]
    return informed


def components(
    mechanisms: Mechanisms, lacks: Masks, informed: Masks, wanted: Masks
) -> list[Component]:
    """Returns the components of unknown cells that hold a wanted one, equal ones taken together.

    Arguments:
        mechanisms: The mechanisms, causes before effects.
        lacks: Which cells are unknown (rows,).
        informed: Which of them have a known descendant (rows,).
        wanted: Which cells are asked for (rows,).
    """
    names = list(mechanisms)
    number = {name: i for i, name in enumerate(names)}
    tied = _stacked(informed, names)
    asked = _stacked(wanted, names) & tied
    rows = np.flatnonzero(asked.any(0))
    tied, asked = tied[:, rows], asked[:, rows]
    known = ~_stacked(lacks, names)[:, rows]
    parents = [[number[p.name] for p in mechanisms[name].parents] for name in names]
    label = _labels(parents, tied, known)
    found = []
    for first in range(len(names)):
        cells = label == first
        here = np.flatnonzero((cells & asked).any(0))
        if not len(here):
            continue
        cells = cells[:, here]
        children = [cells[above].any(0) & known[i, here] for i, above in enumerate(parents)]
        what = np.concatenate((cells, np.stack(children)))
        for group in _grouped(_pattern_code(what)):
            holds = np.flatnonzero(what[:, group[0]]).tolist()
            found.append(
                Component(
                    tuple([names[i] for i in holds if i < len(names)]),
                    tuple([names[i - len(names)] for i in holds if i >= len(names)]),
                    rows[here[group]],
                )
            )
    return found


def distinct_rows(values: Values, names: Iterable[str], rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Returns one row of each combination of values, and for every row which of these is its own.

    Arguments:
        values: Values by variable.
        names: The variables in whose values equal rows agree.
        rows: The positions of the rows to look at (rows,).

    Returns:
        Positions of the distinct rows (distinct,), and for each row which of them is its own
        (rows,), both int64.
    """
    code = _joint_code((values[name].cpu().numpy()[rows] for name in names), len(rows))
    _, first = np.unique(code, return_index=True)
    return torch.from_numpy(rows[first]), torch.from_numpy(code)


def _labels(parents: list[list[int]], tied: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Returns the component of each informed cell (variables, rows): its first cell's number."""
    outside = len(parents)
    number = np.arange(outside, dtype=np.int16)[:, None]
    label = np.where(tied, number, np.int16(outside))
    speaks = tied | known
    families = [
        (i, np.array([i, *above])) for i, above in enumerate(parents) if tied[[i, *above]].any()
    ]
    while True:
        before = label.copy()
        for i, family in families:
            lowest = label[family].min(0)
            lowest[~speaks[i]] = outside
            for member in family:
                np.minimum(label[member], lowest, out=label[member], where=tied[member])
        if np.array_equal(before, label):
            return label


def _stacked(masks: Masks, names: list[str]) -> np.ndarray:
    """Returns masks as one array (variables, rows)."""
    return torch.stack([masks[name] for name in names]).cpu().numpy()


def _pattern_code(what: np.ndarray) -> np.ndarray:
    """Returns for each column of truths (truths, rows) the number of its pattern (rows,)."""
    packed = np.ascontiguousarray(np.packbits(what.T, axis=1))
    words = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    return np.unique(words, return_inverse=True)[1]


def _grouped(code: np.ndarray) -> list[np.ndarray]:
    """Returns the positions of equal numbers, one array for each that occurs."""
    order = np.argsort(code, kind="stable")
    return np.split(order, np.cumsum(np.bincount(code))[:-1]) if len(code) else []


def _joint_code(columns: Iterable[np.ndarray], rows: int) -> np.ndarray:
    """Returns for each row the number of its combination of values, in order of appearance."""
    code = np.zeros(rows, dtype=np.int64)
    for values in columns:
        level, distinct = pd.factorize(values, use_na_sentinel=False)
        code, _ = pd.factorize(code * len(distinct) + level)
    return code
