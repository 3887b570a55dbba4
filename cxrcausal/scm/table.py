"""Tables of patients: checked once, in one place, then numbers.

A table may hold levels as strings, categoricals, booleans or 0/1, and more columns than the graph
has variables. `check_table` turns the graph's columns into one canonical form, categoricals with
the graph's levels and floating-point numbers in the graph's unit, and refuses anything else by
naming column, row and value. `encode` and `decode` go between that form and tensors: a continuous
value in its own unit, a discrete one as the index of its level, NaN where the value is unknown.
"""

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.errors import TableError, nearest, summarise
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.graph.variable import Variable

__all__ = [
    "allowed_values",
    "as_numbers",
    "categories",
    "check_table",
    "column",
    "decode",
    "encode",
    "normalise",
    "plain",
]

# By what share of a grain a recorded value may miss its grid: decimal steps such as 0.1 round.
GRID_TOLERANCE = 1e-6


def check_table(
    table: pd.DataFrame,
    graph: CausalGraph,
    columns: Iterable[str] | None = None,
    what: str = "rows",
) -> pd.DataFrame:
    """Returns the table with the graph's columns in canonical form; the input is not modified.

    Arguments:
        table: Any index; levels as strings, categoricals or the numbers that they are written as; of a binary
            variable whose levels are no numbers as booleans or 0/1 too; continuous variables as numbers in the graph's unit; missing values are unknown cells.
            Columns that are not variables of the graph pass through.
        graph: The graph whose variables are looked for.
        columns: The variables that must be present; all of the graph's if None.
        what: What to call the table in an error.

    Returns:
        A new table with the same index and column order. Discrete columns are categoricals with
        the graph's levels (ordered for ordinal variables only), continuous ones float64.

    Raises:
        TableError: If a column is missing or repeated, or a value is not allowed; the message
            names column, row label, value and what is allowed.
    """
    if not isinstance(table, pd.DataFrame):
        raise TableError(f"{what}: expected a pandas DataFrame; found {type(table).__name__}")
    if not table.columns.is_unique:
        repeated = table.columns[table.columns.duplicated()].unique()
        raise TableError(f"{what}: columns must be unique; repeated: {summarise(repeated)}")
    required = tuple(graph.variables) if columns is None else tuple(columns)
    missing = [name for name in required if name not in table.columns]
    if missing:
        present = [str(name) for name in table.columns]
        raise TableError(
            f"{what}: column {missing[0]!r} is missing"
            + (f" (and {summarise(missing[1:])})" if missing[1:] else "")
            + (nearest(missing[0], present) or ".")
            + f" Present: {summarise(present, 30)}. Give an unknown variable as a column of NaN"
        )
    attrs, table = table.attrs, table.copy(deep=False)
    table.attrs = {}  # pandas would copy them with every column that is looked at
    canonical = {
        name: _canonical(table[name], graph.variables[name], what)
        for name in table.columns
        if name in graph.variables
    }
    table = table.assign(**canonical)
    table.attrs = dict(attrs)
    return table


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


def categories(variable: Variable) -> pd.CategoricalDtype:
    """Returns the categorical type of a discrete variable's column."""
    return pd.CategoricalDtype(list(variable.levels), ordered=variable.kind == "ordinal")


def encode(
    table: pd.DataFrame, graph: CausalGraph, names: Iterable[str] | None = None
) -> dict[str, Tensor]:
    """Returns variables of a canonical table as float64 (rows,); NaN where unknown or absent.

    Arguments:
        table: A table that `check_table` returned.
        graph: Its graph.
        names: Which variables; all of the graph's if None.
    """
    return {
        name: torch.from_numpy(_encode(table[name], graph.variables[name]))
        if name in table.columns
        else torch.full((len(table),), math.nan, dtype=torch.float64)
        for name in (graph.variables if names is None else names)
    }


def decode(values: Mapping[str, Tensor], graph: CausalGraph, index: pd.Index) -> pd.DataFrame:
    """Returns the canonical table of the given values (rows,), the inverse of `encode`."""
    return pd.DataFrame(
        {name: column(x, graph.variables[name]) for name, x in values.items()}, index=index
    )


def column(x: Tensor, variable: Variable) -> pd.Categorical | np.ndarray:
    """Returns values (rows,) as the column of a canonical table."""
    numbers = x.detach().cpu().numpy()
    if not variable.is_discrete:
        return numbers.astype(np.float64)
    codes = np.where(np.isnan(numbers), -1.0, numbers).astype(np.int32)
    return pd.Categorical.from_codes(codes, dtype=categories(variable))


def _encode(values: pd.Series, variable: Variable) -> np.ndarray:
    if not variable.is_discrete:
        return values.to_numpy(np.float64, copy=True)
    # A concatenated table can hold the right levels in another order: codes mean nothing by themselves.
    values = _canonical(values, variable, "table")
    codes = values.cat.codes.to_numpy().astype(np.float64)
    codes[codes < 0] = math.nan
    return codes


def _canonical(values: pd.Series, variable: Variable, what: str) -> pd.Series:
    """Returns one column in canonical form."""
    # Two unordered categorical types are equal whatever the order of their levels, so look at the order.
    if (
        variable.is_discrete
        and values.dtype == categories(variable)
        and tuple(values.cat.categories) == variable.levels
    ):
        return values
    numbers, bad = normalise(values, variable)
    if bad.any():
        rows = values.index[bad]
        found = plain(values[bad].iloc[0])
        raise TableError(
            f"{what}: column {variable.name!r}, row {plain(rows[0])!r}: found {found!r}"
            + (nearest(found, variable.levels) if isinstance(found, str) else "")
            + f" (allowed: {allowed_values(variable)}, or NaN if unknown)"
            + (f"; {len(rows) - 1} more row(s) likewise" if len(rows) > 1 else "")
        )
    data = column(torch.from_numpy(numbers), variable)
    return pd.Series(data, index=values.index, name=values.name)


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

    A level's own name comes first: 1 is the level "1", wherever that stands. Only where no level reads as a
    number are 0 and 1 the first and the second level of a binary variable.
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
    """Returns real numbers (rows,) as float64, NaN where unknown or none: truth values, dates, 3j."""
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
