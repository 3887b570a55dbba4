"""BRAX of Hospital Israelita Albert Einstein, São Paulo: one spreadsheet, labels as CheXpert's.

`master_spreadsheet_update.csv` (1.1.0; `master_spreadsheet.csv` in 1.0.0) has one row per image,
with labels as in `report_labels`, mined from Portuguese reports. Ages are given in groups of five
years, and *85 or more*: the number that is written is taken, so an age is known to five years
only. Race is not recorded. Decubitus and oblique views are none of the graph's and are unknown.

Not verified on the real file: whether an age is written as one number or as a range (`45-49`). Of
a range the lower end is taken, and counted.

References:
    | BRAX, Brazilian labeled chest x-ray dataset
    | (Reis et al., 2022), https://doi.org/10.1038/s41597-022-01608-8
"""

import numpy as np
import pandas as pd

from cxrcausal.data.source.ages import years
from cxrcausal.data.source.download import SourceFile
from cxrcausal.data.source.report_labels import FROM_REPORTS, report_labels
from cxrcausal.data.source.source import Source
from cxrcausal.data.source.vocabulary import (
    FINDINGS,
    Columns,
    Policies,
    column,
    no_finding_conflicts,
    text,
    translate,
)
from cxrcausal.graph.dag import CausalGraph

__all__ = ["SOURCE", "read_brax"]

SEXES = {"F": "Female", "M": "Male", "O": None}
VIEWS = {
    "AP": "AP",
    "PA": "PA",
    **dict.fromkeys(("LATERAL", "L", "LL", "RL"), "LATERAL"),
    **dict.fromkeys(("RLD", "LLD", "RLO", "LLO", "Unknown"), None),
}
OLDEST = {"85 or more": 85.0, "85 or older": 85.0, "85+": 85.0}


def read_brax(
    frame: pd.DataFrame, graph: CausalGraph, policies: Policies, notes: dict[str, int]
) -> Columns:
    """Returns the columns of BRAX's spreadsheet under the graph's names.

    Arguments:
        frame: The spreadsheet.
        graph: Not used: its columns are all read.
        policies: What silence (empty) and uncertainty (-1) are.
        notes: Counts of cells that are not taken as written, added to in place.

    Raises:
        TableError: If a column is absent or holds a value that BRAX does not have.
    """
    view = column(frame, "ViewPosition", "brax")
    sex = column(frame, "PatientSex", "brax")
    columns: Columns = {
        "image": text(column(frame, "PngPath", "brax")),
        "patient_id": "brax-" + text(column(frame, "PatientID", "brax")),
        "study_id": "brax-" + text(column(frame, "AccessionNumber", "brax")),
        "dataset": pd.Series("BRAX", index=frame.index),
        "age": _ages(column(frame, "PatientAge", "brax"), notes),
        "sex": translate(sex, SEXES),
        "view": translate(view, VIEWS),
    }
    notes["sex 'O' read as unknown"] = int((sex == "O").sum())
    notes["view is none of the graph's"] = int((view.notna() & columns["view"].isna()).sum())
    columns |= report_labels(frame, "brax", policies, notes)
    notes |= no_finding_conflicts(columns)
    return columns


def _ages(ages: pd.Series, notes: dict[str, int]) -> pd.Series:
    """Returns the number that a group of ages is written as, of a range its lower end."""
    if pd.api.types.is_numeric_dtype(ages):
        return years(ages, notes)
    words = text(ages).str.strip()
    low = words.str.extract(r"^(\d+)\s*(?:-|to)\s*\d+$", expand=False)
    notes["age written as a range, its lower end taken"] = int(low.notna().sum())
    single = years(words.mask(low.notna()).rename(ages.name), notes, OLDEST)
    return single.where(low.isna(), low.astype(np.float64))


SOURCE = Source(
    name="brax",
    title="BRAX of Hospital Israelita Albert Einstein",
    read=read_brax,
    files=(
        SourceFile(
            ("master_spreadsheet_update.csv", "master_spreadsheet.csv"),
            "the master spreadsheet of BRAX",
        ),
    ),
    columns={
        "image": "PngPath",
        "patient_id": "PatientID",
        "study_id": "AccessionNumber",
        "age": "PatientAge",
        "sex": "PatientSex",
        "view": "ViewPosition",
        **{ours: theirs for theirs, ours in FINDINGS.items()},
    },
    mapping={
        "age": "the number of the five-year group; of a range its lower end",
        "sex": "F Female, M Male; O unknown",
        "view": "AP, PA; LL and RL are LATERAL; decubitus and oblique views unknown",
        **FROM_REPORTS,
    },
    never_labelled=("race",),
    names=("PngPath", "DicomPath", "PatientID", "AccessionNumber"),
    has_reports=True,
    not_mentioned="an empty cell",
    uncertain="-1",
    ages="in groups of five years, top-coded at 85 or more, which is read as 85",
    image_layout="`images/id_<patient>/Study_<id>/Series_<id>/image-<id>.png`, as `PngPath` says",
    licence=(
        "PhysioNet Credentialed Health Data License 1.5: credentialed users, no redistribution."
    ),
    citation="Reis et al., BRAX, Brazilian labeled chest x-ray dataset, Scientific Data 2022",
)
