"""By patient, never by image: one hash decides a patient's part, in tables and images alike.

The part follows from the patient's id alone, so that tables, images and later editions of both
agree without a list of names: the SHA-256 of ``"cxr-real-v1:" + patient_id``, read as a fraction
of 2^256, is compared with the bounds of each part.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
import pandas as pd

from cxrcausal.data.source.vocabulary import as_written
from cxrcausal.errors import TableError, nearest, summarise

__all__ = ["patient_fraction", "split_by_patient"]

SALT = "cxr-real-v1:"
TEST = (0.20, 0.36)
VALIDATION = (0.36, 0.44)


def patient_fraction(ids: Iterable[str]) -> np.ndarray:
    """Returns for each patient id its hash as a fraction of 2^256, float64 (rows,) in [0, 1).

    Arguments:
        ids: Patient ids with the prefix of their source, as `read_table` writes them
            (``nih-00000013``, ``chexpert-patient00001``).

    Raises:
        TableError: If an id is missing or empty.
    """
    names = np.asarray(ids, object)
    codes, unique = pd.factorize(names, use_na_sentinel=True)
    missing = (codes < 0) | (names == "")
    if missing.any():
        raise TableError(
            f"every row needs a patient id to be split by patient; row {int(missing.argmax())} "
            f"(counted from 0) has none, and {int(missing.sum()) - 1} more"
        )
    fractions = [
        int.from_bytes(hashlib.sha256(f"{SALT}{as_written(name)}".encode()).digest(), "big")
        / 2**256
        for name in unique
    ]
    return np.asarray(fractions, np.float64)[codes]


def split_by_patient(
    table: pd.DataFrame,
    test: tuple[float, float] = TEST,
    validation: tuple[float, float] = VALIDATION,
    column: str = "patient_id",
) -> pd.Series:
    """Says for each row whether its patient is in the train, validation or test part.

    Arguments:
        table: Rows with the patient's id.
        test: The half-open range [low, high) of `patient_fraction` that is kept for tests.
        validation: The range that is kept for early stopping; (x, x) keeps nobody.
        column: The column of patient ids.

    Returns:
        A series of ``"train"``, ``"validation"`` and ``"test"`` on the table's index. One
        patient's rows are all in one part; who is in neither range trains.

    Raises:
        TableError: If the column is absent, an id is missing, or the ranges overlap or leave [0,
            1].
    """
    for what, (low, high) in {"test": test, "validation": validation}.items():
        if not 0.0 <= low <= high <= 1.0:
            raise TableError(f"the {what} range is ({low}, {high}); it must ascend within [0, 1]")
    if max(test[0], validation[0]) < min(test[1], validation[1]):
        raise TableError(f"the test range {test} and the validation range {validation} overlap")
    if column not in table.columns:
        raise TableError(
            f"no column {column!r} to split by{nearest(column, table.columns) or '.'} "
            f"The table has: {summarise(table.columns)}"
        )
    fraction = patient_fraction(table[column])
    part = np.full(len(table), "train", object)
    part[(validation[0] <= fraction) & (fraction < validation[1])] = "validation"
    part[(test[0] <= fraction) & (fraction < test[1])] = "test"
    return pd.Series(part, index=table.index, name="split", dtype="str")
