"""Parquet tables: levels, numbers and unknown cells keep their kind, which a CSV file loses."""

import importlib
import os
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from cxrcausal.errors import MissingExtraError, TableError

__all__ = ["need_pyarrow", "read_parquet", "write_parquet"]


def read_parquet(path: str | os.PathLike) -> pd.DataFrame:
    """Returns the table of a parquet file.

    Raises:
        TableError: If it is not there, or is no parquet file.
        MissingExtraError: If pyarrow is not installed.
    """
    if not Path(path).is_file():
        raise TableError(f"no table at {os.fspath(path)!r}; give a parquet file or a DataFrame")
    need_pyarrow()
    pyarrow = importlib.import_module("pyarrow")
    try:
        return pd.read_parquet(path, engine="pyarrow")
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise TableError(f"{os.fspath(path)!r} cannot be read as parquet: {error}") from error


def write_parquet(table: pd.DataFrame, path: str | os.PathLike) -> None:
    """Writes a table as parquet; its index is not written.

    Raises:
        MissingExtraError: If pyarrow is not installed.
    """
    need_pyarrow()
    table.to_parquet(path, engine="pyarrow", index=False)


def need_pyarrow() -> None:
    """Refuses to begin what will need parquet where it cannot be had.

    Raises:
        MissingExtraError: If pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise MissingExtraError(
            "parquet tables need pyarrow: pip install 'cxrcausal[shards]', or use a CSV table"
        )
