"""CheXpert of Stanford Hospital: `train.csv` with 14 labels mined from reports.

The labels are those of `report_labels`, mined from the impression. A radiograph marked Lateral, or
with an AP/PA entry of LL or RL, is LATERAL. Ages are top-coded at 90; an age of 0 in this hospital
of adults is a missing one. Race is not in this table.

The research-use agreement limits the data to non-commercial research and forbids redistribution.

References:
    | CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert Comparison
    | (Irvin et al., 2019), https://arxiv.org/abs/1901.07031
"""

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from cxrcausal.data.source.download import SourceFile, read_files
from cxrcausal.data.source.report_labels import FROM_REPORTS, report_labels
from cxrcausal.data.source.source import Source
from cxrcausal.data.source.vocabulary import (
    FINDINGS,
    Columns,
    Policies,
    column,
    no_finding_conflicts,
    numbers,
    splits,
    text,
    translate,
)
from cxrcausal.errors import TableError
from cxrcausal.graph.dag import CausalGraph

__all__ = ["SEXES", "SOURCE", "path_columns", "projections", "read_chexpert"]

SEXES = {"Female": "Female", "Male": "Male", "Unknown": None}
PROJECTIONS = {"AP": "AP", "PA": "PA", "LL": "LATERAL", "RL": "LATERAL"}
SIDES = {"Frontal": "Frontal", "Lateral": "Lateral"}
FILES = (
    SourceFile(("train.csv",), "the labels of the training part"),
    SourceFile(("valid.csv",), "the labels of the validation part", needed=False),
)


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
        **path_columns(path),
        "dataset": pd.Series("CheXpert-Plus", index=frame.index),
        "age": age.mask(age == 0),
        "sex": translate(sex, SEXES),
        "view": projections(frame, ("Frontal/Lateral", "AP/PA"), "chexpert", notes),
    }
    columns |= report_labels(frame, "chexpert", policies, notes)
    notes |= no_finding_conflicts(columns)
    return columns


def load_chexpert(folder: Path, graph: CausalGraph, keep: Collection[str]) -> pd.DataFrame:
    """Returns the rows of both tables of a download folder, paths relative to that folder.

    Stanford writes the name of the folder itself in front of every path.
    """
    frame = read_files(FILES, folder, graph, SOURCE.names, keep)
    path = text(column(frame, "Path", "chexpert")).str.replace(
        r"^CheXpert-v[^/]*/", "", regex=True
    )
    return frame.assign(Path=path)


def path_columns(path: pd.Series) -> Columns:
    """Returns patient, study and part of each path, ``train/patient00001/study1/view1...``.

    Arguments:
        path: Paths (rows,) as Stanford writes them.

    Raises:
        TableError: If a path names no patient.
    """
    written = text(path)
    name = written.str.extract(r"(?:^|[/\\])(patient\d+)(?:[/\\]|$)", expand=False)
    if name.isna().any():
        row = path.index[name.isna().argmax()]
        raise TableError(
            f"column {path.name!r}, row {row!r}: {path.loc[name.isna()].iloc[0]!r} does not name "
            f"a patient; expected a folder such as 'patient00001' in it"
        )
    study = written.str.extract(r"[/\\](study\d+)[/\\]", expand=False)
    part = written.str.extract(r"(?:^|[/\\])(train|valid|test)[/\\]patient", expand=False)
    columns = {"patient_id": "chexpert-" + name, "study_id": "chexpert-" + name + "-" + study}
    if part.notna().any():
        columns["split"] = splits(part)
    return columns


def projections(
    frame: pd.DataFrame, names: tuple[str, str], source: str, notes: dict[str, int]
) -> pd.Series:
    """Returns the projection; a radiograph marked Lateral is LATERAL whatever its AP/PA entry.

    Arguments:
        frame: The table as Stanford wrote it.
        names: Its columns of the side (Frontal, Lateral) and of the projection (AP, PA, LL, RL).
        source: What to call the source in an error.
        notes: Counts of cells that are not taken as written, added to in place.

    Raises:
        TableError: If a column is absent or holds another word.
    """
    side = translate(column(frame, names[0], source), SIDES)
    view = translate(column(frame, names[1], source), PROJECTIONS)
    notes["view marked Frontal but LL or RL, read as LATERAL"] = int(
        ((side == "Frontal") & (view == "LATERAL")).sum()
    )
    view = view.cat.set_categories(["PA", "AP", "LATERAL"])
    return view.mask((side == "Lateral").to_numpy(bool), "LATERAL")


SOURCE = Source(
    name="chexpert",
    title="CheXpert of Stanford Hospital",
    read=read_chexpert,
    load=load_chexpert,
    files=FILES,
    columns={
        "image": "Path",
        "patient_id": "Path",
        "study_id": "Path",
        "split": "Path",
        "age": "Age",
        "sex": "Sex",
        "view": "Frontal/Lateral and AP/PA",
        **{ours: theirs for theirs, ours in FINDINGS.items()},
    },
    mapping={
        "split": "the folder: train; valid is validation",
        "sex": "Female, Male; Unknown is unknown",
        "view": "AP, PA; LL, RL and whatever is marked Lateral are LATERAL",
        **FROM_REPORTS,
    },
    never_labelled=("race",),
    names=("Path",),
    has_reports=True,
    not_mentioned="an empty cell",
    uncertain="-1",
    ages="top-coded at 90; 0 is a missing age and unknown",
    image_layout="`train/patient00001/study1/view1_frontal.jpg`, as `Path` says",
    licence="Stanford's research-use agreement: non-commercial research, no redistribution.",
    citation=(
        "Irvin et al., CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and "
        "Expert Comparison, AAAI 2019"
    ),
)
