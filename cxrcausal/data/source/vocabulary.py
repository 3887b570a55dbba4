"""One vocabulary of findings, and the small readers that every source's adapter is made of.

Findings are named as CheXpert names them, in lower case with underscores. Every reader here works
on a whole column at once and refuses what it does not understand by naming column, row and value:
a label that is silently dropped would be read as a healthy patient.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, final, get_args

import numpy as np
import pandas as pd

from cxrcausal.errors import TableError, nearest, summarise

__all__ = [
    "FINDINGS",
    "Columns",
    "Policies",
    "as_written",
    "column",
    "likelihood_column",
    "levels",
    "mention_ratio",
    "no_finding_conflicts",
    "numbers",
    "soft_evidence",
    "splits",
    "text",
    "translate",
]

Columns = dict[str, pd.Series]
"""Columns under the graph's names: levels as strings, numbers as float64, NaN for unknown."""

FINDINGS: Mapping[str, str] = {
    name: name.lower().replace(" ", "_")
    for name in (
        "No Finding",
        "Enlarged Cardiomediastinum",
        "Cardiomegaly",
        "Lung Opacity",
        "Lung Lesion",
        "Edema",
        "Consolidation",
        "Pneumonia",
        "Atelectasis",
        "Pneumothorax",
        "Pleural Effusion",
        "Pleural Other",
        "Fracture",
        "Support Devices",
    )
}
"""From CheXpert's name of a finding (Irvin et al. 2019, Table 1) to the graph's."""

SPLITS: Mapping[str, str] = {
    "train": "train",
    "training": "train",
    "valid": "validation",
    "validate": "validation",
    "validation": "validation",
    "val": "validation",
    "test": "test",
}
"""From an owner's word for a part of the data to the one that `split_by_patient` uses."""

NotMentioned = Literal["negative", "unknown"]
Uncertain = Literal["unknown", "negative", "positive", "likelihood"]


@final
@dataclass(frozen=True)
class Policies:
    """What the two silences of a report label are read as, by name.

    Arguments:
        not_mentioned: What a finding that the report does not mention is.
        uncertain: What a finding that the report calls uncertain is. Under `likelihood` it is
            unknown, and a column beside it says how many times likelier that word is if the
            finding is there (`soft_evidence`).
    """

    not_mentioned: NotMentioned = "negative"
    uncertain: Uncertain = "unknown"

    def __post_init__(self) -> None:
        for name, allowed in {"not_mentioned": NotMentioned, "uncertain": Uncertain}.items():
            found = getattr(self, name)
            if found not in get_args(allowed):
                raise TableError(
                    f"policy {name}={found!r} is not "
                    f"known{nearest(found, get_args(allowed)) or '.'} Allowed: "
                    f"{summarise(get_args(allowed))}"
                )
        if self.uncertain == "likelihood" and self.not_mentioned != "negative":
            raise TableError(
                "policy uncertain='likelihood' compares what is mentioned with silence, so it "
                f"needs not_mentioned='negative'; found {self.not_mentioned!r}"
            )

    def as_dict(self) -> dict[str, str]:
        """Returns the policies by name, as a fit records them."""
        return asdict(self)


def column(frame: pd.DataFrame, names: str | tuple[str, ...], source: str) -> pd.Series:
    """Returns the first of the columns `names` that the table has.

    Raises:
        TableError: If it has none of them, or the name twice.
    """
    names = (names,) if isinstance(names, str) else names
    for name in names:
        if name in frame.columns:
            found = frame[name]
            if isinstance(found, pd.Series):
                return found
            raise TableError(f"column {name!r} stands {found.shape[1]} times in the table")
    raise TableError(
        f"a table of source {source!r} needs the column {' or '.join(map(repr, names))}"
        f"{nearest(names[0], frame.columns) or '.'} It has: {summarise(frame.columns, most=30)}"
    )


def numbers(values: pd.Series) -> pd.Series:
    """Returns a column as float64, empty cells as NaN.

    Raises:
        TableError: If a cell is not a number.
    """
    result = pd.Series(pd.to_numeric(values, errors="coerce"), dtype=np.float64)
    wrong = result.isna() & values.notna()
    if wrong.any():
        row = values.index[int(wrong.to_numpy().argmax())]
        raise TableError(
            f"column {values.name!r}, row {row!r}: {values.loc[wrong].iloc[0]!r} is not a number "
            f"({int(wrong.sum())} such rows)"
        )
    return result


def text(values: pd.Series) -> pd.Series:
    """Returns a column of names as strings; empty cells stay empty, in every pandas.

    A whole number has no decimal point: beside an empty cell pandas holds the patient 7 as 7.0.
    """
    if values.dtype == object or pd.api.types.is_float_dtype(values.dtype):
        values = values.map(as_written)
    return values.astype("str").where(values.notna())


def as_written(value: object) -> object:
    """Returns a whole number without a decimal point, and anything else as it is."""
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return int(value) if whole else value  # type: ignore[call-overload]


def translate(
    values: pd.Series, words: Mapping[Any, str | None], empty: str | None = None
) -> pd.Series:
    """Returns a column with each value replaced by its level, as a categorical.

    Arguments:
        values: The source's column.
        words: From the source's value to the graph's level, None where it means unknown.
        empty: The level of an empty cell; unknown if None.

    Raises:
        TableError: If a cell holds something that is not among `words`.
    """
    codes, unique = pd.factorize(values)  # few distinct values, many rows: look each up once
    for i, value in enumerate(unique):
        if value not in words:
            row = values.index[int(np.argmax(codes == i))]
            raise TableError(
                f"column {values.name!r}, row {row!r}: found "
                f"{value!r}{nearest(value, words) or '.'} Allowed: {summarise(words, most=20)}, "
                "or an empty cell"
            )
    found = [*(words[value] for value in unique), empty]  # the last is what code -1 finds
    return levels(codes, found, values)


def splits(values: pd.Series) -> pd.Series:
    """Returns the owner's parts as `train`, `validation` and `test`; an empty cell is in none.

    Raises:
        TableError: If a cell names no part.
    """
    words = text(values).str.strip().str.lower()
    return translate(words.rename(values.name), SPLITS).astype("str").where(values.notna())


def levels(codes: np.ndarray, found: Sequence[str | None], like: pd.Series) -> pd.Series:
    """Returns ``found[codes]`` as a categorical, indexed and named as `like`; None is unknown."""
    distinct = sorted({level for level in found if level is not None})
    position = np.array([-1 if f is None else distinct.index(f) for f in found], np.int64)
    data = pd.Categorical.from_codes(position[codes], categories=distinct)
    return pd.Series(data, index=like.index, name=like.name)


def likelihood_column(name: str) -> str:
    """Returns the name of the column that holds soft evidence on a variable."""
    return f"{name}: likelihood"


def mention_ratio(label: pd.Series) -> float:
    r"""Returns how many times likelier a finding is mentioned at all if it is there.

    To call a finding uncertain is to mention it without saying which. Where silence is read as
    negative, every finding that is there is mentioned, and of those that are not the share that is
    denied in words, so that the ratio is

    .. math:: \lambda = 1 / p(\text{mentioned} \mid \text{negative})
        = (n_\text{denied} + n_\text{silent}) / n_\text{denied}.

    Arguments:
        label: 1 where it is there, 0 where denied, -1 where uncertain, NaN where not mentioned
            (rows,). Half a row is added to the denied.
    """
    denied, silent = int((label == 0).sum()) + 0.5, int(label.isna().sum())
    return (denied + silent) / denied


def soft_evidence(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Returns the soft evidence of a table that was read with ``uncertain="likelihood"``.

    Arguments:
        table: The table as `read_table` returned it, with its columns of likelihoods.

    Returns:
        For each variable of which something was written, how many times likelier that is under its
        second level than under its first (rows,), NaN where nothing was; what `FlowSCM` takes as
        `likelihood`.
    """
    suffix = likelihood_column("")
    return {
        str(name).removesuffix(suffix): table[name]
        for name in table.columns
        if str(name).endswith(suffix)
    }


def no_finding_conflicts(columns: Columns) -> dict[str, int]:
    """Returns how many rows contradict the definition of 'no finding'; they are left as written.

    Positive beside a positive finding, and negative although every finding that the source labels
    is negative (it found something that has no column). Support devices are no finding (Irvin et
    al. 2019).
    """
    rows = len(columns["no_finding"])
    any_positive, all_negative = np.zeros(rows, bool), np.ones(rows, bool)
    for name in FINDINGS.values():
        if name in columns and name not in ("no_finding", "support_devices"):
            any_positive |= (columns[name] == "positive").to_numpy(bool)
            all_negative &= (columns[name] == "negative").to_numpy(bool)
    positive = (columns["no_finding"] == "positive").to_numpy(bool)
    negative = (columns["no_finding"] == "negative").to_numpy(bool)
    return {
        "no_finding positive beside a finding": int((positive & any_positive).sum()),
        "no_finding negative without a finding": int((negative & all_negative).sum()),
    }
