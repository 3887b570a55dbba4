r"""Which radiographs would balance a training set: a plan of interventions, before any is painted.

The joint distribution of some columns (sex and a finding, say) is a table of cells. Radiographs
are only ever added, so a cell of :math:`n_c` may grow to :math:`N_c \ge n_c`:

- *balance*: every cell as large as the largest, :math:`N_c = \max_c n_c`;
- *decorrelate*: the columns independent, :math:`N_c = \prod_k m_{k, c_k}`, with the least
  :math:`\sum_c N_c`. In :math:`\log m` this is convex: the logarithm of a sum of exponentials for
  each column, under one linear constraint for each cell.

What a cell lacks is made from rows of other cells, by setting what differs. Rows of which one of
the columns is unknown are in no cell: they are no sources, and are not counted.

References:
    | A Tutorial on Geometric Programming (Boyd et al., 2007), section 2.4
    | https://doi.org/10.1007/s11081-007-9001-7
"""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
import pandas as pd

from cxrcausal.errors import (
    InterventionError,
    OptionError,
    TableError,
    UnobservedError,
    nearest,
    summarise,
)
from cxrcausal.patients import patient_labels
from cxrcausal.randomness import as_seed, label_words, uniform
from cxrcausal.scm.table import complete_table

if TYPE_CHECKING:
    from cxrcausal.counterfactual import CounterfactualModel
    from cxrcausal.graph import CausalGraph

__all__ = ["AugmentationPlan", "independent_counts", "plan_augmentation"]


@final
@dataclass(frozen=True)
class AugmentationPlan:
    """Which rows receive which intervention, so that some columns are balanced or independent.

    Arguments:
        columns: The columns.
        kind: `balance` or `decorrelate`.
        cells: A row per cell: its levels, the `radiographs` that are there, the `target`, how many
            are `needed`, and the `candidates` from which they could be made.
        candidates: A row per counterfactual that could be painted, cell by cell, in the order in
            which they are tried: `cell` (a row of `cells`), `order` within it, `source_row` (the
            label of the radiograph that it is made from), `patient_id`, the level of each column
            in the other world, and what changes: `changed`, `from` and `to`.
        groups: The column of patients, if the table has one.
        seed: What the order within a cell is a function of, with the row's label.
    """

    columns: tuple[str, ...]
    kind: str
    cells: pd.DataFrame
    candidates: pd.DataFrame
    groups: str | None
    seed: int

    @property
    def rows(self) -> pd.DataFrame:
        """The candidates that suffice if each of them is kept."""
        needed = self.cells["needed"].to_numpy()[self.candidates["cell"].to_numpy(int)]
        return self.candidates[self.candidates["order"].to_numpy(int) < needed]

    def __str__(self) -> str:
        """Says every cell in a line."""
        return f"{self.kind} {', '.join(self.columns)}\n{self.cells.to_string(index=False)}"


def plan_augmentation(
    model: "CounterfactualModel",
    table: pd.DataFrame,
    *,
    balance: Sequence[str] | str = (),
    decorrelate: Sequence[str] | str = (),
    by: Sequence[str] | str | None = None,
    groups: str | None = "patient_id",
    seed: int = 0,
) -> AugmentationPlan:
    """Returns which counterfactuals would make columns of a training set balanced or independent.

    As few as possible are asked for; the margins of the columns may change, see `cells`. Each is
    made by as few changes as possible. Give training patients alone: who is tested stays as seen.

    Arguments:
        model: The joint model; its image mechanism says which levels it has observed.
        table: The metadata of the training set, in the graph's columns, row labels unique.
        balance: Columns of which every combination of levels shall be equally frequent.
        decorrelate: Two columns or more that shall be independent.
        by: The columns that may be set, the most preferred first; all of them if left out. With
            ``by="sex"`` findings stay as they were seen.
        groups: The column of patients, to whom their counterfactuals belong; every row is its own
            patient's if None.
        seed: Decides, with a row's label, in which order rows are taken.

    Raises:
        OptionError: If not exactly one of `balance` and `decorrelate` is given, a column is
            continuous, or one of `by` is not among them.
        TableError: If a column is no variable, no row is known in all, row labels repeat, or a
            row has no patient.
        InterventionError: If one of `by` is no parent of the image.
        UnobservedError: If a level would be set that the image mechanism never observed.
    """
    kind, columns = _asked(balance, decorrelate)
    free = columns if by is None else ((by,) if isinstance(by, str) else tuple(by))
    _check_columns(model, columns, free)
    complete = complete_table(table, model.graph)[0]
    words = label_words(table.index)
    levels, codes = _codes(complete, model.graph, columns)
    known = np.asarray((codes >= 0).all(axis=1))
    if not known.any():
        raise TableError(f"in none of {len(table)} rows all of {summarise(columns)} are known")
    counts = np.zeros([len(of) for of in levels], np.int64)
    np.add.at(counts, tuple(codes[known].T), 1)
    target = (
        np.full_like(counts, counts.max()) if kind == "balance" else independent_counts(counts)
    )
    people = patient_labels(groups, table)
    patients = table.index if people is None else people
    lines, frames = [], []
    for number, cell in enumerate(itertools.product(*map(range, counts.shape))):
        to = dict(zip(columns, (of[i] for of, i in zip(levels, cell, strict=True)), strict=True))
        needed = int(target[cell] - counts[cell])
        rows, changes = np.empty(0, np.int64), np.empty((0, len(columns)), bool)
        if needed:
            rows, changes = _sources(codes, cell, known, columns, free, words, seed)
            _check_observed(model, to, np.asarray(changes.any(axis=0)))
        lines.append({
            **to, "radiographs": counts[cell], "target": target[cell], "needed": needed,
            "candidates": len(rows),
        })  # fmt: skip
        origin = {name: complete[name].astype(object).to_numpy()[rows] for name in columns}
        frames.append(_candidates(number, rows, changes, origin, to).assign(
            source_row=table.index[rows], patient_id=patients[rows]
        ))  # fmt: skip
    first = ["cell", "order", "source_row", "patient_id"]
    candidates = pd.concat([f for f in frames if len(f)] or frames[:1], ignore_index=True)
    candidates = candidates[[*first, *columns, "changed", "from", "to"]]
    cells = pd.DataFrame(lines)
    return AugmentationPlan(columns, kind, cells, candidates, groups, as_seed(seed))


def independent_counts(counts: np.ndarray) -> np.ndarray:
    """Returns the counts, none below those given, of a product of margins with the least sum.

    Rounded to whole numbers, so independent as far as whole radiographs can be.

    Arguments:
        counts: One axis per column; every level of every axis occurs.

    >>> independent_counts(np.array([[90, 10], [10, 90]]))
    array([[90, 90],
           [90, 90]])
    """
    from scipy.optimize import minimize
    from scipy.special import logsumexp, softmax

    ends = np.cumsum([0, *counts.shape])
    parts = [slice(a, b) for a, b in itertools.pairwise(ends)]
    cells = np.argwhere(counts > 0)
    lower = np.log(counts[tuple(cells.T)])
    member = np.zeros((len(cells), ends[-1]))
    for axis, part in enumerate(parts):
        member[np.arange(len(cells)), part.start + cells[:, axis]] = 1
    start = np.full(ends[-1], lower.max() / counts.ndim)
    found = minimize(
        lambda z: sum(logsumexp(z[part]) for part in parts),
        start,
        jac=lambda z: np.concatenate([softmax(z[part]) for part in parts]),
        constraints={"type": "ineq", "fun": lambda z: member @ z - lower, "jac": lambda z: member},
        method="SLSQP",
        options={"maxiter": 1000, "ftol": 1e-12},
    )
    z = found.x if np.isfinite(found.x).all() else start
    for part in parts:  # exactly feasible, and in each column as small as the others allow
        rest = lower - member @ z
        for i in range(part.start, part.stop):
            z[i] += rest[member[:, i] > 0].max()
    product = np.exp(functools.reduce(np.add.outer, [z[part] for part in parts]))
    return np.maximum(counts, np.rint(product).astype(np.int64))


def _asked(
    balance: Sequence[str] | str, decorrelate: Sequence[str] | str
) -> tuple[str, tuple[str, ...]]:
    given = {
        kind: (names,) if isinstance(names, str) else tuple(names)
        for kind, names in {"balance": balance, "decorrelate": decorrelate}.items()
    }
    kinds = [kind for kind, names in given.items() if names]
    if len(kinds) != 1:
        raise OptionError(
            "give the columns of either balance or decorrelate, as decorrelate=('sex', "
            f"'pleural_effusion'); found {given}"
        )
    columns = given[kinds[0]]
    if len(set(columns)) < len(columns) or (kinds[0] == "decorrelate" and len(columns) < 2):
        many = "two or more " if kinds[0] == "decorrelate" else ""
        raise OptionError(f"{kinds[0]} is of {summarise(columns)}; give {many}different columns")
    return kinds[0], columns


def _check_columns(
    model: "CounterfactualModel", columns: Sequence[str], by: Sequence[str]
) -> None:
    variables = model.graph.variables
    for name in columns:
        if name not in variables:
            raise TableError(
                f"{name!r} is no variable of graph {model.graph.name!r}"
                f"{nearest(name, variables) or '.'} It has: {summarise(variables, 20)}"
            )
        if not variables[name].is_discrete:
            raise OptionError(
                f"{name!r} is continuous, so it has no cells; balance what has levels"
            )
    if model.image is None:
        raise InterventionError(
            f"model {model.name!r} is of metadata alone; it paints no radiographs"
        )
    parents = [variable.name for variable in model.image.attributes]
    for name in by:
        if name not in columns:
            raise OptionError(
                f"by names {name!r}, which is not among the columns{nearest(name, columns) or '.'}"
                f" They are: {summarise(columns)}"
            )
        if name not in parents:
            raise InterventionError(
                f"{name!r} is no parent of the image, so setting it changes no radiograph; leave "
                f"it out of by. The image's parents are: {summarise(parents, 20)}"
            )


def _codes(
    table: pd.DataFrame, graph: "CausalGraph", columns: Sequence[str]
) -> tuple[list[list[str]], np.ndarray]:
    """Returns each column's levels that occur in known rows, and every row's (rows, columns).

    Unknown is -1.
    """
    known = table[list(columns)].notna().all(axis=1)
    levels, codes = [], []
    for name in columns:
        values = table[name].astype(object).where(known)
        present = set(values.dropna())
        levels.append([level for level in graph.variables[name].levels if level in present])
        codes.append(pd.Categorical(values, levels[-1]).codes)
    return levels, np.stack(codes, axis=1).astype(np.int64)


def _sources(
    codes: np.ndarray,
    cell: tuple[int, ...],
    known: np.ndarray,
    columns: Sequence[str],
    by: Sequence[str],
    words: np.ndarray,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows that could be brought into a cell, best first, and what changes in each.

    Fewest changes come first, then what is preferred; between equals the row's label decides.
    """
    differs = codes != np.array(cell)
    fixed = np.array([name not in by for name in columns])
    able = known & differs.any(axis=1) & ~(differs & fixed).any(axis=1)
    rows = np.flatnonzero(able)
    place = np.array([by.index(name) if name in by else 0 for name in columns])
    last = np.where(differs[rows], place, -1).max(axis=1, initial=-1)
    drawn = uniform(seed, words[rows], f"augmentation {cell}")[:, 0].numpy()
    rows = rows[np.lexsort((drawn, last, differs[rows].sum(axis=1)))]
    return rows, differs[rows]


def _check_observed(model: "CounterfactualModel", to: dict[str, str], changed: np.ndarray) -> None:
    assert model.image is not None
    for (name, level), sets in zip(to.items(), changed, strict=True):
        known = model.image.observed.get(name, ())
        if sets and level not in known:
            raise UnobservedError(
                f"{name!r} would be set to {level!r}, which the image mechanism of "
                f"{model.name!r} never observed (observed: {summarise(known) or 'none'}); leave "
                f"{name!r} out of by, or rows of that level out of the table"
            )


def _candidates(
    number: int,
    rows: np.ndarray,
    changes: np.ndarray,
    origin: dict[str, np.ndarray],
    to: dict[str, str],
) -> pd.DataFrame:
    """Returns the candidates of one cell in words."""
    names = np.array([*to], object)
    changed, before, after = [], [], []
    for i, differs in enumerate(changes):
        these = names[differs]
        changed.append(", ".join(these))
        before.append(", ".join(str(origin[name][i]) for name in these))
        after.append(", ".join(to[name] for name in these))
    return pd.DataFrame(
        {
            "cell": np.full(len(rows), number),
            "order": np.arange(len(rows)),
            **{name: np.full(len(rows), level, object) for name, level in to.items()},
            "changed": changed,
            "from": before,
            "to": after,
        }
    )
