"""Ages as sources write them: years, or a number with its unit, or a word for the oldest.

DICOM writes an age as three digits and a letter (value representation AS, PS3.5 section 6.2), and
the first edition of ChestX-ray14 does so too. What is said here is an age in completed years;
every cell that is not simply a number of years is counted.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from cxrcausal.data.source.vocabulary import numbers, text

__all__ = ["years"]

PER_YEAR = {"Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}


def years(
    ages: pd.Series, notes: dict[str, int], top_coded: Mapping[str, float] | None = None
) -> pd.Series:
    """Returns ages in completed years (rows,), NaN where the cell is empty.

    Arguments:
        ages: Numbers of years, or texts such as `58`, `058Y`, `013M`, `004D`.
        notes: Counts of cells that are not taken as written, added to in place.
        top_coded: Words for the oldest, and the age that each is read as.

    Raises:
        TableError: If a cell is none of these.
    """
    if pd.api.types.is_numeric_dtype(ages):
        return numbers(ages)
    words = text(ages).str.strip()
    oldest = words.map(dict(top_coded or {})).astype(np.float64)
    for word, age in (top_coded or {}).items():
        notes[f"age {word!r} read as {age:g}"] = int((words == word).sum())
    parts = words.str.extract(r"^(\d+)([YMWDymwd])$")
    lettered = parts[0].notna()
    notes["age written with its unit, as 058Y"] = int(lettered.sum())
    divisor = parts[1].str.upper().map(PER_YEAR).astype(np.float64)
    completed = np.floor(parts[0].astype(np.float64) / divisor)
    plain = numbers(ages.mask(lettered | oldest.notna()))
    return completed.where(lettered, oldest.where(oldest.notna(), plain)).rename(ages.name)
