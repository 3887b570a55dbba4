"""A report that is printed while it is made, and kept as markdown and as numbers."""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxrcausal.files import atomic_path

__all__ = ["Report", "interval_text", "markdown", "write_text"]


@dataclass
class Report:
    """What a long evaluation says, line by line, and the numbers behind it.

    Attributes:
        lines: What was printed, in markdown.
        numbers: The same as plain numbers, by section; whatever `json` writes, and NumPy's
            scalars.
        started: When the report began, in seconds of `time.perf_counter`.
    """

    lines: list[str] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    def say(self, text: str = "") -> None:
        """Prints a line and keeps it."""
        print(text, flush=True)
        self.lines.append(text)

    def head(self, title: str) -> None:
        """Starts a section, and logs how long it took to come here."""
        self.say(f"\n## {title}\n")
        logging.getLogger(__name__).info("%.0f s: %s", time.perf_counter() - self.started, title)

    def table(self, frame: pd.DataFrame, digits: int = 3) -> None:
        """Prints a table (rows, columns); its index is shown if it has a name."""
        self.say(markdown(frame, digits) + "\n")

    def save(self, folder: Path) -> None:
        """Writes `report.md` and `report.json` into a folder, each whole or not at all."""
        write_text(folder / "report.md", "\n".join(self.lines))
        write_text(folder / "report.json", json.dumps(self.numbers, indent=1, default=float))


def markdown(frame: pd.DataFrame, digits: int = 3) -> str:
    r"""Returns a table (rows, columns) as markdown; NaN is blank, numbers have so many digits.

    >>> print(markdown(pd.DataFrame({"what": ["a | b"], "value": [0.12345], "radiographs": [3]})))
    | what | value | radiographs |
    |---|---|---|
    | a \| b | 0.123 | 3 |
    """
    frame = frame.reset_index() if frame.index.name else frame
    lines = ["| " + " | ".join(map(str, frame.columns)) + " |", "|" + "---|" * frame.shape[1]]
    lines += [
        "| " + " | ".join(_cell(value, digits) for value in row) + " |"
        for row in frame.itertuples(index=False)
    ]
    return "\n".join(lines)


def interval_text(row: Mapping[str, float], prefix: str = "", digits: int = 2) -> str:
    """Returns "value [low, high]" from a record's keys `value`, `low` and `high`.

    With a prefix the keys are `<prefix>`, `<prefix>_low` and `<prefix>_high`.

    >>> interval_text({"null": 0.1, "null_low": -0.02, "null_high": 0.2}, "null")
    '0.10 [-0.02, 0.20]'
    """
    stem = f"{prefix}_" if prefix else ""
    value, low, high = row[prefix or "value"], row[f"{stem}low"], row[f"{stem}high"]
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def write_text(path: Path, text: str) -> None:
    """Writes a file of text, whole or not at all."""
    with atomic_path(path) as beside:
        beside.write_text(text + "\n", encoding="utf-8")


def _cell(value: object, digits: int) -> str:
    if value is pd.NA:
        return ""
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.{digits}f}"
    return str(value).replace("|", "\\|").replace("\n", " ")
