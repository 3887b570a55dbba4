"""CheXpert Plus of Stanford Hospital: CheXpert's radiographs with reports, race and new labels.

`df_chexpert_plus_240401.csv` has one row per image; the 14 labels lie in `chexbert_labels/` as
JSON lines, one object per image with its `path_to_image` and a value per finding as in
`report_labels` (null where not mentioned). There are three such files, by what CheXbert was given
to read. We take the impression's, which is what CheXpert's own labels were mined from, else the
whole report's; the findings section alone is often empty, and an empty text is labelled 'No
Finding', so `findings_fixed.json` is not read. The patients are those of CheXpert and keep its
prefix, so that one hash puts them on the same side of a split.

Not verified on the real files: which words the `race` column uses. Those of Stanford's earlier
demographic table (White, non-Hispanic; Black or African American; ...) are all known here. The
published paths end in .jpg although the images are PNG; ours end in .png. Views of one study share
one report; how many disagree in a label is counted.

References:
    | CheXpert Plus: Augmenting a Large Chest X-ray Dataset with Text Radiology Reports, Patient
    | Demographics and Additional Image Formats
    | (Chambon et al., 2024), https://arxiv.org/abs/2405.19538
"""

import json
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from cxrcausal.data.csv_file import read_csv
from cxrcausal.data.source.chexpert import SEXES, path_columns, projections
from cxrcausal.data.source.download import SourceFile
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

__all__ = ["SOURCE", "read_chexpert_plus"]

RACES: dict[str, str | None] = {
    **dict.fromkeys(("White", "White, non-Hispanic", "White, Hispanic"), "White"),
    **dict.fromkeys(("White or Caucasian", "White - Historical Conv"), "White"),
    **dict.fromkeys(("Black", "Black or African American"), "Black"),
    **dict.fromkeys(("Black, non-Hispanic", "Black, Hispanic"), "Black"),
    **dict.fromkeys(("Asian", "Asian, non-Hispanic", "Asian, Hispanic"), "Asian"),
    "Asian - Historical Conv": "Asian",
    **dict.fromkeys(
        (
            *("Other", "Other, Hispanic", "Other, non-Hispanic", "Unknown", "Declines to State"),
            *("Race and Ethnicity Unknown", "Patient Refused", "Native American"),
            *("Native American, Hispanic", "Native American, non-Hispanic", "Pacific Islander"),
            *("Pacific Islander, Hispanic", "Pacific Islander, non-Hispanic"),
            *("American Indian or Alaska Native", "Native Hawaiian or Other Pacific Islander"),
        ),
        None,
    ),
}
TABLE, LABELS = FILES = (
    SourceFile(("df_chexpert_plus_240401.csv",), "the table of images, reports and patients"),
    SourceFile(
        ("impression_fixed.json", "report_fixed.json"),
        "the CheXbert labels of the impression, or of the whole report (chexbert_labels.zip)",
        ("chexbert_labels", "", "labels", "labels/chexbert_labels"),
    ),
)


def load_chexpert_plus(folder: Path, graph: CausalGraph, keep: Collection[str]) -> pd.DataFrame:
    """Returns the table of images with the labels of each, and where its PNG lies.

    Raises:
        TableError: If a file is absent, or the labels are no JSON lines with a path each.
    """
    table, labels = TABLE.find(folder), LABELS.find(folder)
    assert table is not None and labels is not None  # noqa: PT018, both are needed
    frame = read_csv(table, graph, SOURCE.names, keep)
    path = text(column(frame, "path_to_image", "chexpert_plus"))
    known = _labels(labels).reindex(path)
    known = known.reset_index(drop=True).set_axis(frame.index)
    root = next((r for r in ("PNG/PNG/", "PNG/") if (folder / r).is_dir()), "")
    frame = frame.drop(columns=[name for name in known if name in frame])
    return pd.concat([frame, known], axis=1).assign(image=root + path)


def _labels(path: Path) -> pd.DataFrame:
    """Returns the labels of a file of JSON lines, by the path of their image."""
    try:
        with path.open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines if line.strip()]
        labels = pd.DataFrame(rows).set_index("path_to_image")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TableError(
            f"{str(path)!r} is not one JSON object per line, each with its 'path_to_image' and a "
            f"value per finding: {error}"
        ) from error
    if labels.index.has_duplicates:
        twice = labels.index[labels.index.duplicated()][0]
        raise TableError(f"{str(path)!r} labels {twice!r} twice")
    return labels[[name for name in FINDINGS if name in labels]].assign(labelled=True)


def read_chexpert_plus(
    frame: pd.DataFrame, graph: CausalGraph, policies: Policies, notes: dict[str, int]
) -> Columns:
    """Returns the columns of a CheXpert Plus table, joined with its labels as its folder is.

    Arguments:
        frame: One row per image: the columns of `df_chexpert_plus_240401.csv` and the 14 labels.
        graph: Not used: its columns are all read.
        policies: What silence (empty) and uncertainty (-1) are.
        notes: Counts of cells that are not taken as written, added to in place.

    Raises:
        TableError: If a column is absent or holds a value that is not known of CheXpert Plus.
    """
    path = column(frame, "path_to_image", "chexpert_plus")
    race = column(frame, "race", "chexpert_plus")
    age = numbers(column(frame, "age", "chexpert_plus"))
    sex = column(frame, "sex", "chexpert_plus")
    image = frame["image"] if "image" in frame.columns else path
    columns: Columns = {
        "image": text(image).str.replace(r"\.jpg$", ".png", regex=True),
        **path_columns(path),
        "dataset": pd.Series("CheXpert-Plus", index=frame.index),
        "age": age.mask(age == 0),
        "sex": translate(sex, SEXES),
        "race": translate(race, RACES),
        "view": projections(frame, ("frontal_lateral", "ap_pa"), "chexpert_plus", notes),
    }
    notes["age 0 read as unknown"] = int((age == 0).sum())
    notes["sex 'Unknown' read as unknown"] = int((sex == "Unknown").sum())
    notes["race is none of the graph's"] = int((race.notna() & columns["race"].isna()).sum())
    if "split" in frame.columns:
        columns["split"] = splits(column(frame, "split", "chexpert_plus"))
    labelled = frame["labelled"].notna() if "labelled" in frame.columns else None
    columns |= report_labels(frame, "chexpert_plus", policies, notes, labelled)
    study = columns["study_id"]
    written = frame[list(FINDINGS)].groupby(study).nunique(dropna=False).gt(1).any(axis=1)
    notes["study whose views differ in a label"] = int(written.sum())
    notes |= no_finding_conflicts(columns)
    return columns


SOURCE = Source(
    name="chexpert_plus",
    title="CheXpert Plus of Stanford Hospital",
    read=read_chexpert_plus,
    load=load_chexpert_plus,
    files=FILES,
    columns={
        "image": "path_to_image",
        "patient_id": "path_to_image",
        "study_id": "path_to_image",
        "split": "split",
        "age": "age",
        "sex": "sex",
        "race": "race",
        "view": "frontal_lateral and ap_pa",
        **{ours: f"{theirs} (chexbert_labels)" for theirs, ours in FINDINGS.items()},
    },
    mapping={
        "split": "train; valid is validation",
        "sex": "Female, Male; Unknown is unknown",
        "race": "White, Black (or African American), Asian, each with or without an ethnicity; "
        "any other unknown",
        "view": "AP, PA; LL, RL and whatever is marked Lateral are LATERAL",
        **FROM_REPORTS,
    },
    names=("path_to_image", "path_to_dcm", "deid_patient_id"),
    has_reports=True,
    not_mentioned="null (an empty cell)",
    uncertain="-1",
    ages="top-coded at 90 as in CheXpert; 0 is a missing age and unknown",
    image_layout="`train/patient00001/study1/view1_frontal.png`, below `PNG/` in a download "
    "folder",
    licence="Stanford's research-use agreement: non-commercial research, no redistribution.",
    citation=(
        "Chambon et al., CheXpert Plus: Augmenting a Large Chest X-ray Dataset with Text "
        "Radiology Reports, Patient Demographics and Additional Image Formats, 2024"
    ),
)
