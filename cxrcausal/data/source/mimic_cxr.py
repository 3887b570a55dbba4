"""MIMIC-CXR-JPG of Beth Israel Deaconess: images and labels here, patients in MIMIC-IV.

Three tables of MIMIC-CXR-JPG 2.0.0 (their names stayed in 2.1.0) say what was taken
(`-metadata`), what the reports mention (`-chexpert`, labels as in `report_labels`, one row per
study) and which part of the data a radiograph is in (`-split`). Age, sex and race are not among
them: they come from `patients.csv` and `admissions.csv` of MIMIC-IV, another download, which may
lie in the folder or beside it; without it they are unknown, which is counted.

Dates are shifted by a time of each patient's own, so an age is `anchor_age` at `anchor_year` plus
the years to the study. MIMIC-IV writes 91 for whoever was over 89 at that time: their age is read
as 91 at every later study, and is unknown at an earlier one. Race is recorded with each admission,
in words of the hospital; the graph's three levels are what those words begin with, all others
(Hispanic or Latino, Portuguese, other, declined) are unknown, and so is a patient whom two
admissions put into two levels.

A labelled view of AP, PA, LATERAL or LL is taken; axial, oblique, decubitus and swimmer's views
are none of the graph's and are unknown.

References:
    | MIMIC-CXR-JPG, a large publicly available database of labeled chest radiographs
    | (Johnson et al., 2019), https://arxiv.org/abs/1901.07042
    | MIMIC-IV, a freely accessible electronic health record dataset
    | (Johnson et al., 2023), https://doi.org/10.1038/s41597-022-01899-x
"""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from cxrcausal.data.csv_file import read_csv
from cxrcausal.data.source.download import SourceFile
from cxrcausal.data.source.report_labels import FROM_REPORTS, report_labels
from cxrcausal.data.source.source import Source
from cxrcausal.data.source.vocabulary import (
    FINDINGS,
    Columns,
    Policies,
    column,
    levels,
    no_finding_conflicts,
    numbers,
    splits,
    text,
    translate,
)
from cxrcausal.errors import TableError
from cxrcausal.graph.dag import CausalGraph

__all__ = ["SOURCE", "read_mimic_cxr"]

NAMES = ("dicom_id", "subject_id", "study_id")
SEXES = {"F": "Female", "M": "Male"}
VIEWS = {
    "AP": "AP",
    "PA": "PA",
    "LATERAL": "LATERAL",
    "LL": "LATERAL",
    "XTABLE LATERAL": "LATERAL",
    **dict.fromkeys(
        ("AP AXIAL", "AP LLD", "AP RLD", "PA LLD", "PA RLD", "LAO", "LPO", "RAO", "RPO"), None
    ),
    "SWIMMERS": None,
    "LLD": None,
    "RLD": None,
}
RACES = {"WHITE": "White", "BLACK": "Black", "ASIAN": "Asian"}
"""From what a word of MIMIC-IV begins with to the graph's level."""
OLDEST = 91
"""What MIMIC-IV writes for every age over 89."""

HOSP = (
    *("", "hosp", "*/hosp", "mimiciv/*/hosp", "mimic-iv/*/hosp"),
    *("../hosp", "../*/hosp", "../mimiciv/*/hosp", "../../mimiciv/*/hosp"),
)
METADATA, LABELS, SPLIT, PATIENTS, ADMISSIONS = FILES = (
    SourceFile(
        ("mimic-cxr-2.0.0-metadata.csv.gz",), "the DICOM metadata of MIMIC-CXR-JPG, per image"
    ),
    SourceFile(
        ("mimic-cxr-2.0.0-chexpert.csv.gz",), "the CheXpert labels of MIMIC-CXR-JPG, per study"
    ),
    SourceFile(
        ("mimic-cxr-2.0.0-split.csv.gz",), "the reference split of MIMIC-CXR-JPG", needed=False
    ),
    SourceFile(("patients.csv.gz",), "the patients of MIMIC-IV (module hosp)", HOSP, needed=False),
    SourceFile(
        ("admissions.csv.gz",), "the admissions of MIMIC-IV (module hosp)", HOSP, needed=False
    ),
)


def load_mimic_cxr(folder: Path, graph: CausalGraph, keep: Collection[str]) -> pd.DataFrame:
    """Returns one row per image: its metadata, its study's labels, its patient.

    Raises:
        TableError: If metadata or labels are absent, or a table that is joined by a key repeats
            it.
    """
    frame = _table(METADATA, folder, graph, keep)
    labels = _table(LABELS, folder, graph, keep)
    frame = _joined(frame, labels.assign(labelled=True), ["subject_id", "study_id"])
    if SPLIT.find(folder) is not None:
        split = _table(SPLIT, folder, graph, keep)[["dicom_id", "split"]]
        frame = _joined(frame, split, ["dicom_id"])
    if PATIENTS.find(folder) is not None:
        patients = _table(PATIENTS, folder, graph, keep)
        known = ["subject_id", "gender", "anchor_age", "anchor_year"]
        frame = _joined(frame, patients[[n for n in known if n in patients]], ["subject_id"])
    if ADMISSIONS.find(folder) is not None:
        admissions = _table(ADMISSIONS, folder, graph, keep)
        word = column(admissions, ("race", "ethnicity"), "mimic_cxr")  # until MIMIC-IV 1.0
        said = admissions.assign(race=text(word)).dropna(subset=["race"])
        said = said.drop_duplicates(["subject_id", "race"]).sort_values(["subject_id", "race"])
        race = said.groupby("subject_id", sort=False)["race"].agg("|".join).reset_index()
        frame = _joined(frame, race, ["subject_id"])
    return frame.assign(labelled=frame["labelled"].notna())


def _table(
    file: SourceFile, folder: Path, graph: CausalGraph, keep: Collection[str]
) -> pd.DataFrame:
    path = file.find(folder)
    assert path is not None
    return read_csv(path, graph, NAMES, keep)


def _joined(frame: pd.DataFrame, other: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """Returns the rows of `frame` with the columns that `other` has under the same key."""
    for name in key:
        column(other, name, "mimic_cxr")
    if other.duplicated(key).any():
        twice = other.loc[other.duplicated(key).to_numpy(), key].iloc[0].tolist()
        raise TableError(f"{key} {twice} stands twice in a table that says one thing of each")
    return frame.merge(other, on=key, how="left", validate="many_to_one")


def read_mimic_cxr(
    frame: pd.DataFrame, graph: CausalGraph, policies: Policies, notes: dict[str, int]
) -> Columns:
    """Returns the columns of a table of MIMIC-CXR-JPG, joined as its folder is.

    Arguments:
        frame: One row per image: `dicom_id`, `subject_id`, `study_id`, `ViewPosition`,
            `StudyDate`, the 14 labels; where known `split`, `gender`, `anchor_age`,
            `anchor_year`, `race` (several words of one patient separated by bars) and `labelled`.
        graph: Not used: its columns are all read.
        policies: What silence (empty) and uncertainty (-1) are.
        notes: Counts of cells that are not taken as written, added to in place.

    Raises:
        TableError: If a column is absent or holds a value that MIMIC does not have.
    """
    image, patient, study = (text(column(frame, name, "mimic_cxr")) for name in NAMES)
    view = column(frame, "ViewPosition", "mimic_cxr")
    columns: Columns = {
        "image": "files/p" + patient.str[:2] + "/p" + patient + "/s" + study + "/" + image
        + ".jpg",
        "patient_id": "mimic-" + patient,
        "study_id": "mimic-" + study,
        "dataset": pd.Series("MIMIC-CXR", index=frame.index),
        "age": _ages(frame, notes),
        "view": translate(view, VIEWS),
    }  # fmt: skip
    notes["view is none of the graph's"] = int((view.notna() & columns["view"].isna()).sum())
    if "gender" in frame.columns:
        columns["sex"] = translate(column(frame, "gender", "mimic_cxr"), SEXES)
    else:
        notes["no MIMIC-IV patients.csv: age and sex unknown"] = len(frame)
    if "race" in frame.columns:
        columns["race"] = _races(column(frame, "race", "mimic_cxr"), notes)
    else:
        notes["no MIMIC-IV admissions.csv: race unknown"] = len(frame)
    if "split" in frame.columns:
        columns["split"] = splits(column(frame, "split", "mimic_cxr"))
    labelled = frame["labelled"] if "labelled" in frame.columns else None
    columns |= report_labels(frame, "mimic_cxr", policies, notes, labelled)
    notes |= no_finding_conflicts(columns)
    return columns


def _ages(frame: pd.DataFrame, notes: dict[str, int]) -> pd.Series:
    """Returns the age at each study, from the age and the year that MIMIC-IV anchors."""
    if "anchor_age" not in frame.columns:
        return pd.Series(np.nan, index=frame.index)
    anchor = numbers(column(frame, "anchor_age", "mimic_cxr"))
    year = numbers(column(frame, "anchor_year", "mimic_cxr"))
    later = numbers(column(frame, "StudyDate", "mimic_cxr")) // 10_000 - year
    top = anchor >= OLDEST
    notes[f"age over 89, read as {OLDEST}"] = int((top & (later >= 0)).sum())
    notes["age before a top-coded one, unknown"] = int((top & (later < 0)).sum())
    age = (anchor + later).mask(top, float(OLDEST)).mask(top & (later < 0))
    notes["age below 0 by MIMIC-IV's anchor, unknown"] = int((age < 0).sum())
    return age.where(age >= 0)


def _races(words: pd.Series, notes: dict[str, int]) -> pd.Series:
    """Returns the level on which a patient's admissions agree; others say nothing."""
    codes, distinct = pd.factorize(words)
    found = [_levels_of(str(cell)) for cell in distinct]
    several = np.array([*(len(each) > 1 for each in found), False], bool)[codes]
    none = np.array([*(not each for each in found), False], bool)[codes]
    notes["admissions disagree about race, unknown"] = int(several.sum())
    notes["race is none of the graph's"] = int(none.sum())
    race = [next(iter(each)) if len(each) == 1 else None for each in found]
    return levels(codes, [*race, None], words)


def _levels_of(cell: str) -> set[str]:
    return {
        level
        for word in cell.split("|")
        for start, level in RACES.items()
        if word.strip().upper().startswith(start)
    }


SOURCE = Source(
    name="mimic_cxr",
    title="MIMIC-CXR-JPG of Beth Israel Deaconess Medical Center, with MIMIC-IV",
    read=read_mimic_cxr,
    load=load_mimic_cxr,
    files=FILES,
    columns={
        "image": "subject_id, study_id and dicom_id",
        "patient_id": "subject_id",
        "study_id": "study_id",
        "split": "split (-split)",
        "age": "anchor_age, anchor_year (patients) and StudyDate (-metadata)",
        "sex": "gender (patients)",
        "race": "race (admissions; ethnicity until MIMIC-IV 1.0)",
        "view": "ViewPosition (-metadata)",
        **{ours: f"{theirs} (-chexpert)" for theirs, ours in FINDINGS.items()},
    },
    mapping={
        "split": "train; validate is validation; test",
        "age": "anchor_age + year of StudyDate - anchor_year",
        "sex": "F Female, M Male",
        "race": "WHITE..., BLACK..., ASIAN... by how the word begins; any other, and two of them "
        "in one patient's admissions, unknown",
        "view": "AP, PA; LATERAL, LL and XTABLE LATERAL are LATERAL; axial, oblique, decubitus "
        "and swimmer's views unknown",
        **FROM_REPORTS,
    },
    names=NAMES,
    has_reports=True,
    not_mentioned="an empty cell",
    uncertain="-1",
    ages="top-coded: MIMIC-IV writes 91 for over 89; read as 91 from the anchor year on, unknown "
    "before",
    image_layout="`files/p10/p10000032/s50414267/<dicom_id>.jpg`",
    licence=(
        "PhysioNet Credentialed Health Data License 1.5: credentialed users, no redistribution."
    ),
    citation=(
        "Johnson et al., MIMIC-CXR-JPG, a large publicly available database of labeled chest "
        "radiographs, 2019; Johnson et al., MIMIC-IV, Scientific Data 2023"
    ),
)
