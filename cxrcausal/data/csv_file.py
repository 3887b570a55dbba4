"""A CSV file as a table in which every cell means what was written.

pandas guesses twice, and both guesses lose data without a word. Words such as None, NA or null
become missing, although a graph may have a level of that name; and what looks like a number
becomes one, so that the patient 0007 becomes 7, who is another patient. Here a word is a level
where the graph says so, names are text, and a column in which some number begins with 0 is one of
names.
"""

import os
import warnings
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from cxrcausal.errors import TableError
from cxrcausal.graph.dag import CausalGraph

__all__ = ["read_csv"]

MISSING = (
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>",
    "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
"""What `pandas.read_csv` reads as missing; so do we, where it is no level."""


def read_csv(
    path: str | os.PathLike,
    graph: CausalGraph,
    names: Collection[str] = (),
    keep: Collection[str] = (),
) -> pd.DataFrame:
    """Returns the file's rows, with the sentence a user needs where it cannot be read.

    A comma at the end of every line is no field: NIH writes one in its header, others after the
    rows.

    Arguments:
        path: A CSV file, compressed or not.
        graph: Whose levels are words, whatever else they may mean.
        names: Columns of names, which stay as written whatever they look like.
        keep: Columns that nobody reads here: where they are no numbers, only an empty cell is
            missing.

    Raises:
        TableError: If it is not there, or is no table of comma-separated fields.
    """
    if not isinstance(path, str | os.PathLike):
        raise TableError(f"path is {path!r}; give a CSV file or a pandas DataFrame")
    if not Path(path).is_file():
        raise TableError(f"no table at {os.fspath(path)!r}; give a CSV file or a DataFrame")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # Else pandas takes the first fields of rows that are too long for labels, and all
            # others shift.
            written = pd.read_csv(
                path, index_col=False, dtype="str", keep_default_na=False, na_values=[""]
            )
    except pd.errors.ParserWarning as error:
        raise TableError(
            f"{os.fspath(path)!r} has rows with more fields than its header; give each column a "
            "name, and put texts that hold a comma into quotation marks"
        ) from error
    except (OSError, EOFError, ValueError, zlib.error) as error:  # ValueError: pandas' own
        raise TableError(f"{os.fspath(path)!r} cannot be read as a CSV table: {error}") from error
    if len(written.columns) == 1 and any(mark in written.columns[0] for mark in ";\t|"):
        raise TableError(
            f"{os.fspath(path)!r} has one column, {written.columns[0]!r}; separate its fields by "
            "commas"
        )
    return pd.DataFrame(
        {
            name: _meant(written[name], graph, is_name=name in names, is_kept=name in keep)
            for name in written.columns
        },
        index=written.index,
    )


def _meant(written: pd.Series, graph: CausalGraph, *, is_name: bool, is_kept: bool) -> pd.Series:
    """Returns a column of text as what it means: names, levels, numbers or truth values."""
    variable = graph.variables.get(str(written.name))
    levels = variable.levels if variable is not None and variable.is_discrete else ()
    codes, distinct = pd.factorize(written)
    unknown = [word in MISSING and word not in levels for word in distinct]
    cells = pd.Series(distinct, dtype="str").mask(np.array(unknown, bool))
    known = cells.dropna()
    if not is_name and not known.isin(levels).any() and not _are_names(known):
        plain = _plain(cells)
        as_text = is_kept and (plain.dtype == cells.dtype or plain.isna().all())
        cells = pd.Series(distinct, dtype="str") if as_text else plain
    found = cells.array.take(codes, allow_fill=True)  # an empty field has the code -1
    return pd.Series(found, index=written.index, name=written.name)


def _are_names(known: pd.Series) -> bool:
    """Whether text would lose something as numbers: a leading zero, or digits beyond a float's."""
    digits = known.str.strip().str.lstrip("+-")
    leading = digits.str.match(r"0\d")
    return bool((leading | (digits.str.isdigit() & (digits.str.len() > 15))).any())


def _plain(cells: pd.Series) -> pd.Series:
    """Returns distinct cells as numbers or truth values if all of them are that, else as text."""
    known = cells.dropna()
    if not len(known):
        return pd.Series(float("nan"), index=cells.index)
    truths = {
        "True": True,
        "TRUE": True,
        "true": True,
        "False": False,
        "FALSE": False,
        "false": False,
    }
    if known.isin(list(truths)).all():
        found = cells.astype(object).map(truths)
        return found.astype("boolean")
    numbers = pd.to_numeric(cells, errors="coerce")
    return cells if numbers[known.index].isna().any() else numbers
