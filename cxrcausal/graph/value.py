"""What a table may hold of a variable, and the number that it stands for.

A discrete value is the index of its level, a continuous one a number in the variable's own unit,
snapped to the grid at which it is recorded; NaN is unknown.
"""

import math
from decimal import Decimal

import numpy as np
import pandas as pd

from cxrcausal.errors import TableError, nearest, summarise
from cxrcausal.graph.variable import Variable

__all__ = ["allowed_values", "as_numbers", "normalise", "not_allowed", "plain"]

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
    try:
        codes, distinct = pd.factorize(values)  # unknown cells get code -1
    except TypeError:  # a list or a set in a cell, which is no level
        codes, distinct = pd.factorize(
            values.where(values.map(pd.api.types.is_hashable), object())
        )
    index_of = np.array(
        [_index_of(value, variable) for value in np.asarray(distinct)] + [math.nan]
    )
    found = index_of[codes]
    return found, np.isnan(found) & (codes >= 0)


def _index_of(value: object, variable: Variable) -> float:
    """Returns the index of one level, NaN if there is no such level.

    A level's own name comes first: 1 is the level "1", wherever that stands. Only where no level
    reads as a number are 0 and 1 the first and the second level of a binary variable.
    """
    if not isinstance(value, str | bool | int | float | np.bool_ | np.integer | np.floating):
        return math.nan
    is_truth = isinstance(value, bool | np.bool_)
    name = str(value).lower() if is_truth else str(value)
    names = [level.lower() if is_truth else level for level in variable.levels]
    if name in names or isinstance(value, str):
        return float(names.index(name)) if name in names else math.nan
    written = [_written(level) for level in variable.levels]
    if all(math.isnan(number) for number in written):
        return float(value) if variable.kind == "binary" and value in (0, 1) else math.nan
    places = [i for i, number in enumerate(written) if number == value]
    if len(places) != 1 or (is_truth and sorted(written) != [0.0, 1.0]):
        return math.nan
    return float(places[0])


def _written(level: str) -> float:
    """Returns the number that a level is written as, NaN if it is a word."""
    try:
        number = float(level)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def as_numbers(values: pd.Series) -> np.ndarray:
    """Returns real numbers (rows,) as float64, NaN where unknown or none: a date, 3j, True."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
    if values.dtype == object:
        values = values.map(_real)
    elif not (
        pd.api.types.is_any_real_numeric_dtype(values.dtype)
        or pd.api.types.is_string_dtype(values.dtype)
    ):
        return np.full(len(values), math.nan)
    numbers = pd.to_numeric(values, errors="coerce")
    return numbers.to_numpy(np.float64, na_value=math.nan).copy()


def _real(value: object) -> str | float | None:
    """Returns a cell of any type as text to be read, as a number, or as neither."""
    if isinstance(value, str):
        return value
    is_truth = isinstance(value, bool)
    if is_truth or not isinstance(value, int | float | Decimal | np.integer | np.floating):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _number(values: pd.Series, variable: Variable) -> tuple[np.ndarray, np.ndarray]:
    """Returns numbers snapped to the variable's grid, and a mask of those that are off it."""
    unknown = values.isna().to_numpy()
    numbers = as_numbers(values)
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
