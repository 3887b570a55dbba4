"""A CSV file as a table in which every cell means what was written.

pandas guesses twice, and both guesses lose data without a word. Words such as None, NA or null
become missing, although a graph may have a level of that name; and what looks like a number
becomes one, so that the patient 0007 becomes 7, who is another patient. Here a word is a level
where the graph says so, names are text, and a column in which some number begins with 0 is one of
names.

A file may be packed, and a small one then hold more than any memory: how much is inside is
counted, in bounded memory, before a table is made of it.
"""

import bz2
import csv
import gzip
import importlib
import io
import lzma
import os
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

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

TAR = (".tar", ".tar.gz", ".tar.bz2", ".tar.xz")
PACKED = (*TAR, ".zip", ".gz", ".bz2", ".xz", ".zst")

MAX_UNPACKED = 2**31
"""The most bytes that are read out of a packed table: five million rows of 400 letters."""
MAX_SWELLING = 100
"""The most bytes that come out of one byte on disk: ChestX-ray14 gives 10, CheXpert 14, and
what only repeats itself a thousand. The memory that is taken stays in proportion to the file."""
NO_BOMB = 2**26  # what comes out is less than a hundred MB: no harm, however small the file
MAX_COLUMNS = 10_000
"""Each column is read on its own; no table of radiographs has a tenth of this."""
DAMAGED = (
    OSError, EOFError, ValueError, KeyError, OverflowError, NotImplementedError, RuntimeError,
    csv.Error, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError,
)  # fmt: skip
"""What pandas (ValueError) and the unpackers raise about bytes that they do not understand."""


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
        path: A CSV file, or one packed as its suffix says: gz, bz2, xz, zst, zip or tar.
        graph: Whose levels are words, whatever else they may mean.
        names: Columns of names, which stay as written whatever they look like.
        keep: Columns that nobody reads here: where they are no numbers, only an empty cell is
            missing.

    Raises:
        TableError: If it is not there, is no table of comma-separated fields, or is packed and
            unpacks to too much.
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
            written = _as_written(Path(path))
    except pd.errors.ParserWarning as error:
        raise TableError(
            f"{os.fspath(path)!r} has rows with more fields than its header; give each column a "
            "name, and put texts that hold a comma into quotation marks"
        ) from error
    except TableError:  # which is a ValueError too
        raise
    except DAMAGED as error:
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


def _as_written(path: Path) -> pd.DataFrame:
    """Returns the cells as text, NaN where they are empty."""
    if path.name.lower().endswith(PACKED):
        _check_unpacked(path)
    with _unpacked(path) as file:
        _check_header(file, path)
    with _unpacked(path) as file:
        return pd.read_csv(
            file, index_col=False, dtype="str", keep_default_na=False, na_values=[""]
        )


def _check_unpacked(path: Path) -> None:
    """Refuses a packed table that would swell beyond what is allowed, in bounded memory."""
    length = 0
    with _unpacked(path) as file:
        while block := file.read(2**20):
            length += len(block)
            _check_length(length, path)


def _check_length(length: int, path: Path) -> None:
    """Refuses so many bytes out of a packed table."""
    size = path.stat().st_size
    allowed = min(MAX_UNPACKED, max(NO_BOMB, MAX_SWELLING * size))
    if length > allowed:
        raise TableError(
            f"{str(path)!r} has {size:,} bytes and unpacks to more than {allowed:,}, the most "
            f"that is read out of such a file ({MAX_SWELLING} times its size, and never over "
            f"{MAX_UNPACKED:,}); if it is what you expect, unpack it yourself and give the CSV "
            "file, which has no limit"
        )


def _check_header(file: IO[bytes], path: Path) -> None:
    """Refuses a table of absurdly many columns, on each of which pandas spends a while."""
    # Commas and quotation marks are the same bytes in every encoding that pandas will accept
    lines = iter(lambda: file.readline(2**20).decode("latin-1"), "")
    if len(next(filter(None, csv.reader(lines)), [])) > MAX_COLUMNS:
        raise TableError(
            f"{str(path)!r} has more than {MAX_COLUMNS:,} columns, the most that are read; keep "
            "those that are asked for"
        )


@contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Yields the bytes of a table, out of what its suffix says that it is packed in.

    Raises:
        TableError: If an archive holds more than one file, or nothing here unpacks it.
    """
    name = path.name.lower()
    if name.endswith(TAR):
        with tarfile.open(path) as tar:
            member = tar.next()  # and not all of them: an archive may name millions
            inside = tar.extractfile(member) if member is not None else None
            if member is not None:
                _check_length(member.size, path)  # before all of it is passed over to the next
            if inside is None or tar.next() is not None:
                raise TableError(f"{str(path)!r} must hold one file, the table")
            with inside:
                yield inside
    elif name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            if len(archive.namelist()) != 1:
                raise TableError(f"{str(path)!r} must hold one file, the table")
            with archive.open(archive.namelist()[0]) as file:
                yield file
    elif name.endswith((".gz", ".bz2", ".xz")):
        openers: dict[str, Any] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}
        with openers[name.rpartition(".")[2]](path, "rb") as file:
            yield file
    elif name.endswith(".zst"):
        try:
            zstandard = importlib.import_module("zstandard")
        except ImportError as error:
            raise TableError(
                f"{str(path)!r} is packed by zstd, which needs: pip install zstandard"
            ) from error
        try:
            with zstandard.open(path, "rb") as raw, io.BufferedReader(raw) as file:
                yield file
        except zstandard.ZstdError as error:
            raise OSError(str(error)) from error
    else:
        with path.open("rb") as file:
            yield file


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
