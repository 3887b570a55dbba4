"""Whose row each is: patients are counted, split and resampled, never radiographs.

Two radiographs of one patient are no two observations. Whoever fits, tests, resamples or sets
aside asks here whose rows are whose, so that one wrong label has one error, and one patient is on
one side.
"""

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
import pandas as pd

from cxrcausal.errors import TableError, nearest, summarise

__all__ = ["FEWEST", "Groups", "patient_codes", "patient_folds", "patient_labels", "set_aside"]

Groups = str | Sequence[Hashable] | pd.Series | np.ndarray | None
"""Whose rows these are: a column, or one label per row; None: each row is its own patient's."""

FEWEST = 50
"""With fewer patients none can be spared for validation."""


def patient_codes(
    groups: Groups, table: pd.DataFrame, what: str = "the table"
) -> np.ndarray | None:
    """Returns whose row each is, numbers from 0 in order of appearance (rows,); None for None.

    Arguments:
        groups: A column of the table, or one label per row (a Series has the table's own labels).
        table: The rows.
        what: What to call the table in an error.

    Raises:
        TableError: If there is no such column, a label lacks, or they are not one per row.
    """
    if groups is None:
        return None
    if isinstance(groups, str):
        if groups not in table.columns:
            raise TableError(
                f"{what}: groups {groups!r} is not a "
                f"column{nearest(groups, table.columns) or '.'} Present: "
                f"{summarise(table.columns, 30)}; groups=None takes each row as a patient"
            )
        groups = table[groups]
    elif isinstance(groups, pd.Series) and not groups.index.equals(table.index):
        raise TableError(f"{what}: groups is a Series with other row labels than the table's")
    if len(groups) != len(table):
        raise TableError(f"{what}: {len(groups)} groups for {len(table)} rows; give one each")
    codes, _ = pd.factorize(pd.Series(np.asarray(groups, dtype=object)), use_na_sentinel=True)
    if (codes < 0).any():
        row = table.index[int((codes < 0).argmax())]
        raise TableError(f"{what}: row {row!r} has no group; name the patient of every row")
    return codes


def patient_labels(
    groups: Groups, table: pd.DataFrame, what: str = "the table"
) -> np.ndarray | None:
    """Returns the patient of each row by their own label (rows,); None for None.

    Arguments:
        groups: As in `patient_codes`.
        table: The rows.
        what: What to call the table in an error.

    Raises:
        TableError: As `patient_codes` does.
    """
    if patient_codes(groups, table, what) is None:
        return None
    labels = table[groups] if isinstance(groups, str) else groups
    return np.asarray(labels, dtype=object)


def patient_folds(groups: Iterable[object], folds: int, seed: int = 0) -> np.ndarray:
    """Returns the fold (rows,) of each row, all rows of a patient in one, patients dealt evenly.

    Arguments:
        groups: The patient of each row.
        folds: How many folds.
        seed: Decides who is in which.

    Raises:
        TableError: If there are fewer patients than folds.
    """
    codes, names = pd.factorize(np.array([*groups], object))
    if len(names) < folds:
        raise TableError(f"{len(names)} patients cannot be dealt into {folds} folds")
    dealt = np.arange(len(names)) % folds
    return np.random.default_rng(seed).permutation(dealt)[codes]


def set_aside(groups: np.ndarray | None, rows: int, seed: int, share: float = 0.2) -> np.ndarray:
    """Returns which rows (rows,) belong to validation patients; none where patients are few.

    Arguments:
        groups: Whose row each is (rows,), as numbers from 0; each its own patient's if None.
        rows: How many rows there are.
        seed: Decides the patients.
        share: Of patients to set aside.
    """
    patient = np.arange(rows) if groups is None else groups
    number = int(patient.max(initial=-1)) + 1
    drawn = np.random.default_rng((seed & 0xFFFF_FFFF_FFFF_FFFF, 1)).random(number)
    return (drawn < (share if number >= FEWEST else 0.0))[patient]
