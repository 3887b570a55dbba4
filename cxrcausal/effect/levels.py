"""Levels, values and ranges as a user writes them: understood, or refused.

A level is named here as in a table and in `do`: by its word, and where the levels are words, the
two of a binary variable by 0 and 1 or False and True as well; numpy's scalars count as Python's.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cxrcausal.errors import OptionError, nearest
from cxrcausal.graph.value import allowed_values, normalise

if TYPE_CHECKING:
    from cxrcausal.graph.variable import Variable

__all__ = [
    "Level",
    "Levels",
    "level_asked",
    "levels_asked",
    "range_asked",
    "two_values",
]

Level = str | float | int | bool | np.generic
"""A level, as tables and `do` take it."""

Levels = tuple[Level, Level]
"""Two values of the cause: from which, to which."""


def level_asked(variable: "Variable", level: object) -> int | None:
    """Returns the number of an outcome's level, None for a continuum.

    Arguments:
        variable: The outcome.
        level: The level that is asked for; the second one of a binary variable if None.

    Raises:
        OptionError: If there is no such level, or the variable has none.
    """
    if not variable.is_discrete:
        if level is not None:
            raise OptionError(
                f"{variable.name!r} is continuous and asked for its mean; leave level out"
            )
        return None
    if level is None and variable.kind == "binary":
        return 1
    return _number_of(variable, level)


def levels_asked(variable: "Variable", wanted: object) -> tuple[str, ...]:
    """Returns the levels that are wanted, one or several, in the graph's own words.

    Raises:
        OptionError: If one of them is no level.
    """
    wanted = _scalar(wanted)
    is_one = isinstance(wanted, str) or not isinstance(wanted, Iterable)
    several = [wanted] if is_one else list(wanted)  # type: ignore[call-overload]
    if not several:
        raise OptionError(
            f"no level of {variable.name!r} is asked for; allowed: {allowed_values(variable)}"
        )
    return tuple(dict.fromkeys(variable.levels[_number_of(variable, level)] for level in several))


def range_asked(variable: "Variable", wanted: object) -> tuple[float, float]:
    """Returns the ends of a range of a continuous variable; a number is a range of itself.

    Raises:
        OptionError: If it is neither a number nor (low, high), with low not above high.
    """
    ends = list(wanted) if isinstance(wanted, tuple | list | np.ndarray) else [wanted, wanted]
    numbers = [_number(end) for end in ends]
    if len(numbers) != 2 or np.isnan(numbers).any() or numbers[0] > numbers[1]:
        raise OptionError(
            f"{variable.name!r} is continuous: give a number or (low, high); found {wanted!r}"
        )
    return numbers[0], numbers[1]


def two_values(variable: "Variable", levels: object) -> Levels:
    """Returns from which value of the cause to which, levels in the graph's own words.

    Arguments:
        variable: The cause.
        levels: The two values, (from, to); the two levels of a binary cause if None.

    Whether the cause can be set to them is for `do` to say.

    Raises:
        OptionError: If there are not two values.
    """
    if levels is None:
        if variable.kind != "binary":
            allowed = ", ".join(variable.levels) or "numbers"
            raise OptionError(
                f"say between which two values of {variable.name!r}, levels=(from, to); "
                f"allowed: {allowed}"
            )
        return variable.levels[0], variable.levels[1]
    is_pair = isinstance(levels, tuple | list | np.ndarray | pd.Series | pd.Index)
    if not is_pair or len(levels) != len(("from", "to")):  # type: ignore[arg-type]
        raise OptionError(f"levels are two values, (from, to); found {levels!r}")
    first, second = (_scalar(value) for value in list(levels))  # type: ignore[call-overload]
    for value in (first, second):
        if not pd.api.types.is_scalar(value):  # a distribution, a function, a value per row
            raise OptionError(f"levels are two values of {variable.name!r}; found {value!r}")
    return _in_words(variable, first), _in_words(variable, second)


def _in_words(variable: "Variable", value: Level) -> Level:
    """Returns the word of a level, if there is such a level."""
    number, _ = normalise(pd.Series([value], dtype=object), variable)
    has_word = variable.is_discrete and not np.isnan(number[0])
    return variable.levels[int(number[0])] if has_word else value


def _number_of(variable: "Variable", level: object) -> int:
    """Returns the number of a level that is named as in a table."""
    level = _scalar(level)
    number, _ = normalise(pd.Series([level], dtype=object), variable)
    if np.isnan(number[0]):  # no level, or unknown
        raise OptionError(
            f"{variable.name!r} has no level {level!r}"
            + ((isinstance(level, str) and nearest(level, variable.levels)) or ".")
            + f" Allowed: {', '.join(variable.levels)}"
        )
    return int(number[0])


def _scalar(value: Any) -> Any:  # noqa: ANN401
    """Returns an array or a tensor without axes as the number that it holds."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def _number(value: object) -> float:
    """Returns a number, NaN where it is none; a truth value is none, as in a table."""
    value = _scalar(value)
    if isinstance(value, bool):
        return float("nan")
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("nan")
