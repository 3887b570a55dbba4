"""What an audit finds: a sentence, how many rows it is about, and which."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, final

import numpy as np
import pandas as pd

__all__ = ["Audit", "Finding", "Weight"]

Weight = Literal["act", "look", "know"]
"""Whether the data have to be changed, files have to be looked at, or an analysis has to know."""

ORDER: dict[str, int] = {"act": 0, "look": 1, "know": 2}


@final
@dataclass(frozen=True)
class Finding:
    """One thing that an audit found.

    Arguments:
        name: What it is, one word per kind of finding, for programs.
        weight: `act` (wrong, to be mended before the data are used), `look` (suspicious, to be
            looked at), or `know` (as it is, and an analysis has to know).
        said: What was found and what to do, in a sentence.
        count: How many rows, patients or files it is about.
        rows: Which they are.
    """

    name: str
    weight: Weight
    said: str
    count: int
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)


@final
@dataclass(frozen=True)
class Audit:
    """What was found in a table or in radiographs, and the numbers behind it.

    Arguments:
        findings: What was found.
        tables: Further tables by their title.
        numbers: Sizes, thresholds and error rates by name.
        pictures: Thumbnails by the title of their gallery: captions, and grey values (picture, 64,
            64) as uint8.
        seconds: How long it took.
    """

    findings: tuple[Finding, ...] = ()
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    numbers: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, tuple[list[str], np.ndarray]] = field(default_factory=dict)
    seconds: float = 0.0

    def __add__(self, other: "Audit") -> "Audit":
        """Returns both audits as one, what has to be acted on first."""
        findings = sorted(
            (*self.findings, *other.findings), key=lambda finding: ORDER[finding.weight]
        )
        return Audit(
            tuple(findings),
            {**self.tables, **other.tables},
            {**self.numbers, **other.numbers},
            {**self.pictures, **other.pictures},
            self.seconds + other.seconds,
        )

    def named(self, name: str) -> Finding | None:
        """Returns the finding of that name; None where nothing of the kind was found."""
        return next((finding for finding in self.findings if finding.name == name), None)

    def to_json(self) -> str:
        """Returns findings with all their rows, tables and numbers as JSON, unknown as null."""
        content = {
            "findings": [
                {
                    "name": finding.name,
                    "weight": finding.weight,
                    "said": finding.said,
                    "count": finding.count,
                    "rows": _records(finding.rows),
                }
                for finding in self.findings
            ],
            "tables": {title: _records(table) for title, table in self.tables.items()},
            "numbers": dict(self.numbers),
            "seconds": round(self.seconds, 1),
        }
        return json.dumps(content, indent=1, default=str, ensure_ascii=False)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return json.loads(table.to_json(orient="records"))
