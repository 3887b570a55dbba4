"""The tables of an answer: of several classifiers, for a page, and for a machine."""

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from cxrcausal.fairness.estimates import Scores
from cxrcausal.fairness.subject import Subject

__all__ = ["of_each", "records", "rounded", "score_rows", "with_ends"]


def of_each(subjects: Sequence[Subject], frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Returns one table of what was found of each classifier."""
    parts = [f.assign(classifier=one.name) for one, f in zip(subjects, frames, strict=True)]
    return pd.concat(parts, ignore_index=True)


def score_rows(found: Sequence[Scores], outputs: Sequence[str], index: pd.Index) -> pd.DataFrame:
    """Returns every score of every radiograph and world."""
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "row": index[scores.rows],
                    "output": output,
                    "attribute": scores.attribute,
                    "from": scores.origin,
                    "to": scores.target,
                    "image": scores.image[:, column],
                    "reconstruction": scores.reconstruction[:, column],
                    "counterfactual": scores.counterfactual[:, column],
                    "back": scores.back[:, column],
                    "placebo": scores.placebo[:, column],
                }
            )
            for scores in found
            for column, output in enumerate(outputs)
        ],
        ignore_index=True,
    )


def rounded(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns a table as a page shows it: three digits, and nothing where nothing is known."""
    numbers = frame.select_dtypes("float").columns
    shown = frame.assign(**{c: frame[c].map(lambda v: f"{v:.3g}") for c in numbers})
    return shown.replace("nan", "")


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Returns a table as plain numbers and texts, line by line; NaN is None."""
    return json.loads(frame.to_json(orient="records", double_precision=15))


def with_ends(line: pd.Series, name: str) -> str:
    """Returns a figure of a line with the ends of its interval, as +0.012 [+0.003, +0.020]."""
    low, high = line[f"{name}_low"], line[f"{name}_high"]
    ends = "no spread" if pd.isna(low) else f"{low:+.3f}, {high:+.3f}"
    return f"{line[name]:+.3f} [{ends}]"
