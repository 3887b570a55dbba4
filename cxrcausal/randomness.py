r"""Randomness as a function of (seed, row label, variable, draw), in one place.

A stateful generator makes a patient's noise depend on who else is in the batch. Here every number
is a hash of what it is for: the 64-bit words of seed, row label, variable name, draw and component
are mixed by the finaliser of SplitMix64 into a counter-based stream. So an answer is the same
whatever the batch, chunk, order, process or device, and the global random state is never touched.

References:
    | Fast Splittable Pseudorandom Number Generators
    | (Steele, Lea and Flood, 2014), https://doi.org/10.1145/2660193.2660195
    | Parallel Random Numbers: As Easy as 1, 2, 3
    | (Salmon et al., 2011), https://doi.org/10.1145/2063384.2063405
"""

import contextlib
import hashlib
import operator
import secrets

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.errors import OptionError, TableError, summarise

__all__ = ["as_count", "as_seed", "fresh_seed", "label_words", "normal", "uniform"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_WORD = 0xFFFF_FFFF_FFFF_FFFF
_MIX_2 = np.uint64(0x94D049BB133111EB)


def fresh_seed() -> int:
    """Returns a 63-bit seed from the operating system, for callers who gave none."""
    return secrets.randbits(63)


def as_seed(seed: object) -> int:
    """Returns a seed as Python's own integer, whose bits do not overflow as numpy's do.

    Raises:
        OptionError: If it is not a whole number.
    """
    try:
        return operator.index(seed)  # type: ignore[arg-type]
    except TypeError as error:
        raise OptionError(f"a seed is a whole number; found {seed!r}") from error


def as_count(number: object, what: str, *, least: int) -> int:
    """Returns a number of patients or draws as Python's own integer.

    Raises:
        OptionError: If it is not a whole number, or below the least that is allowed.
    """
    try:
        count = operator.index(number)  # type: ignore[arg-type]
    except TypeError as error:
        raise OptionError(f"{what} is a whole number; found {number!r}") from error
    if count < least:
        raise OptionError(f"{what} is at least {least}; found {count}")
    return count


def label_words(index: pd.Index, *, unique: bool = True) -> np.ndarray:
    """Returns one 64-bit word per row label, the same in every process.

    A label means the same however its column came to be stored: 1 and 1.0 are one label, among
    numbers of any type and among objects, and so is a date in seconds and in nanoseconds. The text
    "1" is another.

    Arguments:
        index: The labels of the rows; any index, a MultiIndex included.
        unique: Whether repeated labels are refused: two rows of one label would share their noise.

    Raises:
        TableError: If `unique` and a label repeats, or two have the same word.
    """
    words = _words(index)
    twice = pd.Series(words).duplicated().to_numpy() if unique else np.zeros(0, bool)
    if twice.any():
        repeated = index[twice].unique()
        raise TableError(
            f"row labels must be unique, because randomness is a function of the row label; "
            f"repeated: {summarise(repeated)}; use table.reset_index(drop=True)"
        )
    return words


def _words(index: pd.Index) -> np.ndarray:
    """Returns the words of labels (rows,), repeated ones included."""
    if isinstance(index, pd.MultiIndex):
        word = np.zeros(len(index), np.uint64)
        with np.errstate(over="ignore"):
            for level in range(index.nlevels):
                word = _mix(word ^ _mix(_words(index.get_level_values(level)) + _GOLDEN))
        return word
    if isinstance(index, pd.CategoricalIndex):
        index = pd.Index(index.to_numpy())
    if isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex):
        # A label centuries away, which nanoseconds do not reach, is left in its own unit.
        with contextlib.suppress(pd.errors.OutOfBoundsDatetime, pd.errors.OutOfBoundsTimedelta):
            index = index.as_unit("ns")
    is_numeric = pd.api.types.is_any_real_numeric_dtype(index.dtype)
    if is_numeric and not index.hasnans:
        return _number_words(index.to_numpy())
    if not is_numeric and index.dtype != object:
        return pd.util.hash_pandas_object(index, index=False).to_numpy(np.uint64)
    labels, words = index.to_numpy(object), np.empty(len(index), np.uint64)
    whole = np.array([_is_whole(x) for x in labels], bool)
    broken = np.array([isinstance(x, float | np.floating) and x == x for x in labels], bool)
    rest = ~(whole | broken)
    words[whole] = _number_words(np.array([int(x) & _WORD for x in labels[whole]], np.uint64))
    words[broken] = _number_words(labels[broken].astype(np.float64))
    words[rest] = pd.util.hash_pandas_object(pd.Index(labels[rest]), index=False).to_numpy()
    return words


def _is_whole(label: object) -> bool:
    """Whether an object is an integer that 64 bits hold, signed or not."""
    is_integer = isinstance(label, int | np.integer) and not isinstance(label, bool)
    return is_integer and -(2**63) <= int(label) < 2**64  # type: ignore[call-overload]


def _number_words(numbers: np.ndarray) -> np.ndarray:
    """Returns the words of numbers (rows,): those of integers wherever they are whole."""
    if numbers.dtype.kind in "iu":
        return pd.util.hash_array(numbers.astype(np.uint64))
    numbers = numbers.astype(np.float64)
    words = pd.util.hash_array(numbers)
    whole = (numbers == np.floor(numbers)) & (np.abs(numbers) < 2.0**63)
    words[whole] = pd.util.hash_array(numbers[whole].astype(np.int64))
    return words


def uniform(
    seed: int,
    labels: np.ndarray,
    variable: str,
    draws: np.ndarray | int = 0,
    size: int = 1,
) -> Tensor:
    """Returns uniforms strictly inside (0, 1), one row of `size` numbers per label and draw.

    Arguments:
        seed: Any integer; only its low 64 bits count.
        labels: Words of the row labels (rows,), from `label_words`.
        variable: What the numbers are for; another name gives an independent stream.
        draws: The draw number(s), broadcast against `labels`.
        size: How many numbers each row needs.

    Returns:
        A float64 tensor (rows, size). The numbers are odd multiples of 2^-53, so neither 0, 1
        nor one half is ever among them.
    """
    name = np.frombuffer(hashlib.blake2b(variable.encode(), digest_size=8).digest(), np.uint64)
    word = np.full(1, as_seed(seed) & _WORD, np.uint64)
    with np.errstate(over="ignore"):  # wrapping around is what makes it a hash
        for part in (name, np.asarray(labels, np.uint64), np.atleast_1d(draws).astype(np.uint64)):
            word = _mix(word ^ _mix(part + _GOLDEN))
        counter = np.arange(1, size + 1, dtype=np.uint64) * _GOLDEN
        bits = _mix(word[:, None] + counter)
    return torch.from_numpy(((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52)


def normal(
    seed: int, labels: np.ndarray, variable: str, draws: np.ndarray | int = 0, size: int = 1
) -> Tensor:
    """Returns standard normals (rows, size) in float64, the quantiles of `uniform`."""
    return torch.special.ndtri(uniform(seed, labels, variable, draws, size))


def _mix(word: np.ndarray) -> np.ndarray:
    """Returns the SplitMix64 finaliser of each word: every input bit moves every output bit."""
    word = (word ^ (word >> np.uint64(30))) * _MIX_1
    word = (word ^ (word >> np.uint64(27))) * _MIX_2
    return word ^ (word >> np.uint64(31))
