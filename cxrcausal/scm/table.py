"""Tables of patients: checked once, then numbers.

A table may hold levels as strings, categoricals, booleans or 0/1, and more columns than the graph
has variables. `check_table` turns the graph's columns into one canonical form, categoricals with
the graph's levels and floating-point numbers in the graph's unit, and refuses anything else by
naming column, row and value. `encode` and `decode` go between that form and tensors: a continuous
value in its own unit, a discrete one as the index of its level, NaN where the value is unknown.
"""

import math
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.errors import TableError, nearest, summarise
from cxrcausal.graph.absent import absent_variables
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.graph.value import allowed_values, as_numbers, normalise, not_allowed, plain
from cxrcausal.graph.variable import Variable

__all__ = [
    "allowed_values",
    "as_numbers",
    "categories",
    "check_table",
    "column",
    "complete_table",
    "decode",
    "encode",
    "normalise",
    "plain",
]


def check_table(
    table: pd.DataFrame,
    graph: CausalGraph,
    columns: Iterable[str] | None = None,
    what: str = "rows",
) -> pd.DataFrame:
    """Returns the table with the graph's columns in canonical form; the input is not modified.

    Arguments:
        table: Any index; levels as strings, categoricals or the numbers that they are written as;
            of a binary variable whose levels are no numbers as booleans or 0/1 too; continuous
            variables as numbers in the graph's unit; missing values are unknown cells. Columns
            that are not variables of the graph pass through.
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


def complete_table(
    table: pd.DataFrame,
    graph: CausalGraph,
    columns: Iterable[str] | None = None,
    what: str = "rows",
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Returns the table in canonical form, with a column for every variable that had none.

    Arguments:
        table: As `check_table` takes it, but that columns may be absent.
        graph: The graph whose variables are looked for.
        columns: The variables that the result must have; all of the graph's if None.
        what: What to call the table in an error.

    Returns:
        The table, absent variables behind its own columns, and which were absent.

    Raises:
        TableError: As `check_table`, or if an absent variable seems to stand there under another
            name, or no variable of the graph has a column.
    """
    names = tuple(graph.variables) if columns is None else tuple(columns)
    if not isinstance(table, pd.DataFrame) or not table.columns.is_unique:
        return check_table(table, graph, names, what), ()  # which says what is wrong with it
    absent = absent_variables(table, graph, names, what)
    if absent:
        table = table.assign(**dict.fromkeys(absent, math.nan))
    return check_table(table, graph, names, what), absent


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
    """Returns the canonical table of the given values (rows,), the inverse of `encode`.

    Arguments:
        values: By variable (rows,): numbers, and of a discrete variable the index of its level;
            NaN is unknown.
        graph: Whose variables these are.
        index: The labels of the rows.
    """
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
    # Concatenation can bring the levels into another order: codes mean nothing by themselves.
    values = _canonical(values, variable, "table")
    codes = values.cat.codes.to_numpy().astype(np.float64)
    codes[codes < 0] = math.nan
    return codes


def _canonical(values: pd.Series, variable: Variable, what: str) -> pd.Series:
    """Returns one column in canonical form."""
    # Unordered categorical types are equal whatever the order of their levels: look at it.
    if (
        variable.is_discrete
        and values.dtype == categories(variable)
        and tuple(values.cat.categories) == variable.levels
    ):
        return values
    numbers, bad = normalise(values, variable)
    if bad.any():
        raise not_allowed(values, bad, variable, what)
    data = column(torch.from_numpy(numbers), variable)
    return pd.Series(data, index=values.index, name=values.name)
