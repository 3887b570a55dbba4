"""CheXpert of Stanford Hospital: `train.csv` with 14 labels mined from reports.

A label is 1 (positive), 0 (negative), -1 (uncertain) or empty (not mentioned). 'No Finding' is a
summary that the labeller writes only as 1: where it is empty the labeller did find something, or
was uncertain of it, so empty is negative there under every policy. A radiograph marked Lateral, or
with an AP/PA entry of LL or RL, is LATERAL. Ages are top-coded at 90; an age of 0 in this hospital
of adults is a missing one. Race is not in this table.

The research-use agreement limits the data to non-commercial research and forbids redistribution.

References:
    | CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert Comparison
    | (Irvin et al., 2019), https://arxiv.org/abs/1901.07031
"""

import pandas as pd

from cxrcausal.data.source.source import Source
from cxrcausal.data.source.vocabulary import (
    FINDINGS,
    Columns,
    Policies,
    column,
    likelihood_column,
    mention_ratio,
    no_finding_conflicts,
    numbers,
    text,
    translate,
)
from cxrcausal.errors import TableError
from cxrcausal.graph.dag import CausalGraph

__all__ = ["SOURCE", "read_chexpert"]

SEXES = {"Female": "Female", "Male": "Male", "Unknown": None}
PROJECTIONS = {"AP": "AP", "PA": "PA", "LL": "LATERAL", "RL": "LATERAL"}
SIDES = {"Frontal": "Frontal", "Lateral": "Lateral"}


def read_chexpert(
    frame: pd.DataFrame, graph: CausalGraph, policies: Policies, notes: dict[str, int]
) -> Columns:
    """Returns the columns of a CheXpert table under the graph's names.

    Arguments:
        frame: The table as Stanford wrote it.
        graph: Not used: its columns are all read.
        policies: What silence (empty) and uncertainty (-1) are.
        notes: Counts of cells that are not taken as written, added to in place.

    Raises:
        TableError: If a column is absent or holds a value that CheXpert does not have.
    """
    path = column(frame, "Path", "chexpert")
    sex = column(frame, "Sex", "chexpert")
    age = numbers(column(frame, "Age", "chexpert"))
    notes["age 0 read as unknown"] = int((age == 0).sum())
    notes["sex 'Unknown' read as unknown"] = int((sex == "Unknown").sum())
    columns: Columns = {
        "image": text(path),
        "patient_id": _patients(path),
        "dataset": pd.Series("CheXpert-Plus", index=frame.index),
        "age": age.mask(age == 0),
        "sex": translate(sex, SEXES),
        "view": _views(frame, notes),
    }
    words: dict[float, str | None] = {1.0: "positive", 0.0: "negative"}
    decided = policies.uncertain in ("negative", "positive")
    words[-1.0] = policies.uncertain if decided else None
    for theirs, ours in FINDINGS.items():
        silent = policies.not_mentioned == "negative" or ours == "no_finding"
        label = numbers(column(frame, theirs, "chexpert"))
        columns[ours] = translate(label, words, empty="negative" if silent else None)
        if policies.uncertain == "likelihood" and (label == -1).any():
            said = pd.Series(mention_ratio(label), index=frame.index).where(label == -1)
            columns[likelihood_column(ours)] = said
    notes |= no_finding_conflicts(columns)
    return columns


def _patients(path: pd.Series) -> pd.Series:
    """Returns the patient in each path, ``.../patient00001/study1/...``, with a prefix."""
    name = text(path).str.extract(r"(?:^|[/\\])(patient\d+)(?:[/\\]|$)", expand=False)
    if name.isna().any():
        row = path.index[name.isna().argmax()]
        raise TableError(
            f"column 'Path', row {row!r}: {path.loc[name.isna()].iloc[0]!r} does not name "
            f"a patient; expected a folder such as 'patient00001' in it"
        )
    return "chexpert-" + name


def _views(frame: pd.DataFrame, notes: dict[str, int]) -> pd.Series:
    """Returns the projection; a radiograph marked Lateral is LATERAL whatever its AP/PA entry."""
    side = translate(column(frame, "Frontal/Lateral", "chexpert"), SIDES)
    view = translate(column(frame, "AP/PA", "chexpert"), PROJECTIONS)
    notes["view marked Frontal but LL or RL, read as LATERAL"] = int(
        ((side == "Frontal") & (view == "LATERAL")).sum()
    )
    view = view.cat.set_categories(["PA", "AP", "LATERAL"])
    return view.mask((side == "Lateral").to_numpy(bool), "LATERAL")


SOURCE = Source(
    name="chexpert",
    title="CheXpert of Stanford Hospital",
    read=read_chexpert,
    columns={
        "image": "Path",
        "patient_id": "Path",
        "age": "Age",
        "sex": "Sex",
        "view": "Frontal/Lateral and AP/PA",
        **{ours: theirs for theirs, ours in FINDINGS.items()},
    },
    never_labelled=("race",),
    names=("Path",),
    has_reports=True,
    licence="Stanford's research-use agreement: non-commercial research, no redistribution.",
    citation=(
        "Irvin et al., CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and "
        "Expert Comparison, AAAI 2019"
    ),
)
