"""What a table may hold of a variable, and the number that it stands for.

A discrete value is the index of its level, a continuous one a number in the variable's own unit,
snapped to the grid at which it is recorded; NaN is unknown.
"""

import math

import numpy as np
import pandas as pd

from cxrcausal.errors import TableError, nearest, summarise
from cxrcausal.graph.variable import Variable

__all__ = ["allowed_values", "normalise", "not_allowed", "plain"]

# By what share of a grain a recorded value may miss its grid: decimal steps such as 0.1 round.
GRID_TOLERANCE = 1e-6


def normalise(values: pd.Series, variable: Variable) -> tuple[np.ndarray, np.ndarray]:
    """Returns the values as float64 (rows,), NaN if unknown, and a mask of those not allowed."""
    if variable.is_discrete:
        return _level_index(values, variable)
    return _number(values, variable)


def allowed_values(variable: Variable) -> str:
    """Returns the values a table may hold for a variable, in words."""
    if variable.is_discrete:
        return summarise(variable.levels, 10)
    unit = f" {variable.unit}" if variable.unit else ""
    if variable.bounds is None:
        return f"a finite number{' of' + unit if unit else ''}"
    grain = f" in steps of {variable.resolution:g}" if variable.resolution is not None else ""
    low, high = variable.bounds
    return f"{low:g} to {high:g}{unit}{grain}"


def not_allowed(values: pd.Series, bad: np.ndarray, variable: Variable, what: str) -> TableError:
    """Returns the error that `values` holds something not allowed in the rows `bad`."""
    rows = values.index[bad]
    found = plain(values[bad].iloc[0])
    return TableError(
        f"{what}: column {variable.name!r}, row {plain(rows[0])!r}: found {found!r}"
        + (nearest(found, variable.levels) if isinstance(found, str) else "")
        + f" (allowed: {allowed_values(variable)}, or NaN if unknown)"
        + (f"; {len(rows) - 1} more row(s) likewise" if len(rows) > 1 else "")
    )


def _level_index(values: pd.Series, variable: Variable) -> tuple[np.ndarray, np.ndarray]:
    """Returns level indices: each distinct value is understood once, then looked up."""
    codes, distinct = pd.factorize(values)  # unknown cells get code -1
    index_of = np.array([_index_of(value, variable) for value in distinct] + [math.nan])
    found = index_of[codes]
    return found, np.isnan(found) & (codes >= 0)


def _index_of(value: object, variable: Variable) -> float:
    """Returns the index of one level, NaN if there is no such level."""
    if isinstance(value, str):
        return variable.levels.index(value) if value in variable.levels else math.nan
    if isinstance(value, bool | int | float | np.bool_ | np.number):
        if variable.kind == "binary" and value in (0, 1):
            return float(value)
        name = f"{float(value):g}"  # levels that are written as numbers
        return variable.levels.index(name) if name in variable.levels else math.nan
    return math.nan


def _number(values: pd.Series, variable: Variable) -> tuple[np.ndarray, np.ndarray]:
    """Returns numbers snapped to the variable's grid, and a mask of those that are off it."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    unknown = values.isna().to_numpy()
    if pd.api.types.is_bool_dtype(values.dtype):
        return np.full(len(values), math.nan), ~unknown
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64, na_value=math.nan).copy()
    bad = ~np.isfinite(numbers) & ~unknown
    if variable.bounds is not None:
        low, high = variable.bounds
        bad |= (numbers < low) | (numbers > high)
        numbers[bad] = math.nan
        if variable.resolution is not None:
            steps = (numbers - low) / variable.resolution
            bad |= np.abs(steps - np.round(steps)) > GRID_TOLERANCE
            numbers = low + np.round(steps) * variable.resolution
    return numbers, bad


def plain(value: object) -> object:
    """Returns a numpy number as Python's own, which prints as a person would write it."""
    return value.item() if isinstance(value, np.generic) else value
