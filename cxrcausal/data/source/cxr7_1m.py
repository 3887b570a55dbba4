"""The master table of CXR7-1M: the seven collections of RadiT, harmonised by its authors.

One row per image, findings under CheXpert's names as 0 (unknown), 1 (negative) or 2 (positive).
The table does not say why a finding is unknown: whether it was not mentioned, uncertain or never
labelled is one code there, so no policy applies and 0 is unknown here too. Who reproduces the
paper, where that code is a level of its own, reads with ``unknown="level"``
(`with_unknown_level`).

Patients are numbered within each collection; ids here carry both names (`cxr7-1m-nih-...`), since
they are not known to be spelled as the owners spell them: the same patient read from an owner's
own table has another id.

Not verified on the real file: the spelling of the words (read without regard to case), and whether
there is a column of studies (`StudyID` is read where it stands). Of CheXpert-Plus users report
that its labels stem from the findings section alone, which is often empty, and that most of its
radiographs are 'No Finding' for that reason: prefer `chexpert_plus` where labels matter.

References:
    | Scaling Generative Foundation Models for Chest Radiography with Rectified Flow Transformers
    | (De Sousa Ribeiro, Stanley et al., 2026), https://arxiv.org/abs/2606.19460
"""

from collections.abc import Mapping

import pandas as pd

from cxrcausal.data.source.download import SourceFile
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
from cxrcausal.graph.dag import CausalGraph

__all__ = ["SOURCE", "read_cxr7_1m"]

WORDS: Mapping[str, Mapping[str, str | None]] = {
    "sex": {"female": "Female", "male": "Male"},
    "race": {"white": "White", "black": "Black", "asian": "Asian"},
    "view": {"pa": "PA", "ap": "AP", "lateral": "LATERAL"},
    "dataset": {
        "mimic-cxr": "MIMIC-CXR",
        "chexpert-plus": "CheXpert-Plus",
        "padchest": "PadChest",
        "brax": "BRAX",
        "nih": "NIH",
        "nih-cxr14": "NIH",
        "chestx-ray14": "NIH",
        "vindr-cxr": "VinDr-CXR",
        "vindr": "VinDr-CXR",
        "rexgradient": "ReXGradient",
        "rexgradient-160k": "ReXGradient",
    },
}
COLUMNS = {
    "sex": "Sex_name",
    "race": "Race_name",
    "view": "View_name",
    "dataset": "Dataset_name",
}
LEVELS = {0.0: None, 1.0: "negative", 2.0: "positive"}


def read_cxr7_1m(
    frame: pd.DataFrame, graph: CausalGraph, policies: Policies, notes: dict[str, int]
) -> Columns:
    """Returns the columns of the master table under the graph's names.

    Arguments:
        frame: The master table.
        graph: Not used: its columns are all read.
        policies: Not used: the table does not say why a finding is unknown.
        notes: Counts of cells that are not taken as written, added to in place.

    Raises:
        TableError: If a column is absent or holds a value that the table does not have.
    """
    columns: Columns = {"image": text(column(frame, "ImagePath", "cxr7_1m"))}
    for ours, theirs in COLUMNS.items():
        values = column(frame, theirs, "cxr7_1m")
        words = text(values).str.strip().str.lower().rename(values.name)
        known = {**WORDS[ours], **({} if ours == "dataset" else {"unknown": None, "other": None})}
        columns[ours] = translate(words, known)
    patient = text(column(frame, "PatientID", "cxr7_1m"))
    prefix = "cxr7-1m-" + columns["dataset"].astype("str").str.lower() + "-"
    columns["patient_id"] = prefix + patient
    if "StudyID" in frame.columns:
        columns["study_id"] = prefix + text(column(frame, "StudyID", "cxr7_1m"))
    columns["split"] = splits(column(frame, "Split", "cxr7_1m"))
    columns["age"] = numbers(column(frame, "Age", "cxr7_1m"))
    notes["age below 0 read as unknown"] = int((columns["age"] < 0).sum())
    columns["age"] = columns["age"].where(columns["age"] >= 0)
    for theirs, ours in FINDINGS.items():
        columns[ours] = translate(numbers(column(frame, theirs, "cxr7_1m")), LEVELS)
    notes |= no_finding_conflicts(columns)
    return columns


SOURCE = Source(
    name="cxr7_1m",
    title="CXR7-1M, the master table of seven collections",
    read=read_cxr7_1m,
    files=(SourceFile(("cxr7-1m_master.csv",), "the master table", ("cxr",)),),
    columns={
        "image": "ImagePath",
        "patient_id": "PatientID and Dataset_name",
        "study_id": "StudyID, where it stands",
        "split": "Split",
        "age": "Age",
        **COLUMNS,
        **{ours: theirs for theirs, ours in FINDINGS.items()},
    },
    mapping={
        "split": "train; valid is validation; test",
        "sex": "Female, Male; Unknown unknown",
        "race": "White, Black, Asian; Unknown unknown",
        "view": "PA, AP, LATERAL; Unknown unknown",
        **dict.fromkeys(FINDINGS.values(), "0 unknown, 1 negative, 2 positive"),
    },
    names=("ImagePath", "PatientID", "StudyID"),
    ages="as the seven collections give them: top-coded or grouped where those are",
    image_layout="as `ImagePath` says, relative to the folder that holds `cxr/`",
    licence="That of each of the seven collections.",
    citation=(
        "De Sousa Ribeiro, Stanley et al., Scaling Generative Foundation Models for Chest "
        "Radiography with Rectified Flow Transformers, 2026"
    ),
)
