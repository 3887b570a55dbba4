"""A log that a person can plot: one line of numbers at a time, in a CSV file."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxrcausal.files import atomic_path

__all__ = ["append_line", "forget_lines"]


def append_line(path: Path, row: Mapping[str, Any]) -> None:
    """Adds a line to a CSV file, under a header if it is the first; numbers to six digits.

    Arguments:
        path: The CSV file, which need not be there yet.
        row: The cells by column, the same columns in every line.
    """
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(row))
        if new:
            writer.writeheader()
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


def forget_lines(path: Path, step: int) -> None:
    """Takes the lines of later steps out of a log: a resumed run takes those steps again.

    Arguments:
        path: The CSV file, with a column `step`; nothing is done if it is not there.
        step: The last step whose line stays.
    """
    if not path.exists():
        return
    with path.open(newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        rows = list(reader)
        names = list(reader.fieldnames or ())
    kept = [row for row in rows if int(row["step"]) <= step]
    if len(kept) == len(rows):
        return
    with atomic_path(path) as beside, beside.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, fieldnames=names)
        writer.writeheader()
        writer.writerows(kept)
