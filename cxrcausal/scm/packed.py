"""A table as JSON and back, to the last bit: labels, columns of the graph, and further columns.

JSON writes a float by the shortest digits that give it back, so nothing is lost that is spelt out;
what JSON has no word for (a number that is not finite, a date) is spelt as it can be. What cannot
be spelt is refused by name, before anything is written.

`DataFrame.to_json(orient="table")` of pandas 3.1 does not do for this: it writes 15 digits, so
that 865 of 1,000 normal numbers come back changed, infinities come back unknown, single precision
as double, dates cut to the millisecond, and rows with repeated labels more than once.
"""

import math
from typing import Any

import numpy as np
import pandas as pd

from cxrcausal.errors import CheckpointError

__all__ = ["pack", "unpack"]


def pack(table: pd.DataFrame) -> dict[str, Any]:
    """Returns a table as JSON can hold it.

    Raises:
        CheckpointError: If a column, or the row labels, hold values of a type that is not text, a
            number, a boolean, a level or a date without a time zone.
    """
    names = table.index.names
    labels = [table.index.get_level_values(i) for i in range(table.index.nlevels)]
    return {
        "labels": [_pack(x, f"row labels {n!r}") for n, x in zip(names, labels, strict=True)],
        "label_names": [_spell(name, "the name of the row labels") for name in names],
        "column_names": [_spell(name, "the name of a column") for name in table.columns],
        "columns": [_pack(pd.Index(x), f"column {name!r}") for name, x in table.items()],
    }


def unpack(packed: dict[str, Any]) -> pd.DataFrame:
    """Returns the table that was packed."""
    labels = [_unpack(part) for part in packed["labels"]]
    names = [_read(name) for name in packed["label_names"]]
    index = (
        pd.Index(labels[0], name=names[0])
        if len(labels) == 1
        else pd.MultiIndex.from_arrays(labels, names=names)
    )
    columns = [pd.Series(_unpack(part), index=index) for part in packed["columns"]]
    table = pd.DataFrame(dict(enumerate(columns)), index=index)
    table.columns = pd.Index([_read(name) for name in packed["column_names"]])
    return table


def _pack(values: pd.Index, what: str) -> dict[str, Any]:
    """Returns the values of one column, with their type."""
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return {
            "dtype": "category",
            "values": values.codes.tolist(),
            "categories": _pack(dtype.categories, what),
            "ordered": bool(dtype.ordered),
        }
    if isinstance(dtype, np.dtype) and dtype.kind in "mM":
        return {"dtype": dtype.str, "values": values.to_numpy().astype(np.int64).tolist()}
    name = dtype.str if isinstance(dtype, np.dtype) and dtype.kind in "biuf" else str(dtype)
    if isinstance(dtype, pd.DatetimeTZDtype | pd.PeriodDtype | pd.IntervalDtype):
        raise _refused(what, name)
    return {"dtype": name, "values": [_spell(value, what) for value in values.tolist()]}


def _unpack(part: dict[str, Any]) -> Any:  # noqa: ANN401  an array of any type
    """Returns the values that were packed, as an array of their type."""
    name, values = part["dtype"], part["values"]
    if name == "category":
        dtype = pd.CategoricalDtype(_unpack(part["categories"]), part["ordered"])
        return pd.Categorical.from_codes(values, dtype=dtype)
    if name[1:2] in ("m", "M"):
        return np.array(values, np.int64).view(name)
    return pd.Index([_read(value) for value in values], dtype=name)


def _spell(value: object, what: str) -> object:
    """Returns one value as JSON can hold it."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is pd.NA:
        return {"missing": "NA"}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise _refused(what, type(value).__name__)


def _read(spelt: Any) -> object:  # noqa: ANN401  one value of any type
    """Returns the value that was spelt."""
    if isinstance(spelt, dict):
        return float(spelt["float"]) if "float" in spelt else pd.NA
    return spelt


def _refused(what: str, kind: str) -> CheckpointError:
    """Returns the error for values that cannot be written."""
    return CheckpointError(
        f"{what}: values of type {kind} cannot be saved; text, numbers, booleans, levels and "
        f"dates without a time zone can. Write them as text first"
    )
