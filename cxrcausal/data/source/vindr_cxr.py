"""VinDr-CXR of two hospitals in Hanoi: labels by radiologists, looking at the radiograph.

`annotations/image_labels_train.csv` has a row per image *and radiologist* (three each),
`image_labels_test.csv` one row per image, the consensus of five; 28 columns of 0 and 1. Nobody was
silent or uncertain: each radiologist answered every column, so no policy applies. Of three
radiologists the majority counts, and how many images they disagree on is counted.

Support devices and an enlarged cardiomediastinum are never labelled, nor race; of fractures only
those of ribs and clavicles are. Age and sex stand in the DICOM headers alone: they are read from
`train/` and `test/` where those lie in the folder, or from the columns `PatientAge` and
`PatientSex` of a table of one's own. The owner publishes no patient: each image is its own. All
radiographs were selected to be PA.

Not verified on the real files: how many headers still have an age. An age of 0 is read as a
missing one (the hospitals' adults), and counted.

References:
    | VinDr-CXR: An open dataset of chest X-rays with radiologist's annotations
    | (Nguyen et al., 2022), https://doi.org/10.1038/s41597-022-01498-w
"""

import warnings
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from cxrcausal.data.csv_file import read_csv
from cxrcausal.data.source.ages import years
from cxrcausal.data.source.download import SourceFile
from cxrcausal.data.source.source import Source
from cxrcausal.data.source.vocabulary import (
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

__all__ = ["SOURCE", "read_vindr_cxr"]

FINDINGS: Mapping[str, tuple[str, ...]] = {
    "no_finding": ("No finding",),
    "cardiomegaly": ("Cardiomegaly",),
    "edema": ("Edema",),
    "consolidation": ("Consolidation",),
    "pneumonia": ("Pneumonia",),
    "atelectasis": ("Atelectasis",),
    "pneumothorax": ("Pneumothorax",),
    "pleural_effusion": ("Pleural effusion",),
    "pleural_other": ("Pleural thickening",),
    "fracture": ("Rib fracture", "Clavicle fracture"),
    "lung_lesion": ("Nodule/Mass", "Lung tumor"),
    "lung_opacity": ("Lung Opacity", "Infiltration"),
}
WITHOUT_COUNTERPART = (
    *("Aortic enlargement", "Calcification", "Emphysema", "Enlarged PA", "ILD", "Lung cavity"),
    *("Lung cyst", "Mediastinal shift", "Pulmonary fibrosis", "Other lesion", "COPD"),
    *("Tuberculosis", "Other diseases", "Other disease"),
)
SEXES = {"F": "Female", "M": "Male", "O": None}
FILES = (
    SourceFile(
        ("image_labels_train.csv",),
        "the image labels of the training part, by radiologist",
        ("annotations", ""),
    ),
    SourceFile(
        ("image_labels_test.csv",),
        "the image labels of the test part, by consensus",
        ("annotations", ""),
        needed=False,
    ),
)


def load_vindr_cxr(folder: Path, graph: CausalGraph, keep: Collection[str]) -> pd.DataFrame:
    """Returns the rows of both parts, with age and sex where the DICOM files lie beside them.

    Raises:
        TableError: If the training labels are absent, or a table cannot be read.
    """
    frames = []
    for part, file in zip(("train", "test"), FILES, strict=True):
        path = file.find(folder)
        if path is None:
            continue
        frame = read_csv(path, graph, SOURCE.names, keep).assign(split=part)
        if (folder / part).is_dir():
            images = text(column(frame, "image_id", "vindr_cxr"))
            frame = frame.join(_headers(folder / part, images.unique()), on="image_id")
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _headers(folder: Path, images: Collection[str]) -> pd.DataFrame:
    """Returns age and sex in the headers of DICOM files, by image; None where unreadable."""
    import pydicom

    tags = ["PatientAge", "PatientSex"]
    rows: dict[str, list[object]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an odd value in another tag is not ours to judge
        for image in images:
            try:
                header = pydicom.dcmread(
                    folder / f"{image}.dicom", stop_before_pixels=True, specific_tags=list(tags)
                )
                rows[image] = [*(str(header.get(tag) or "") or None for tag in tags), True]
            except Exception:  # what a damaged header raises has no common base; it is counted
                rows[image] = [None, None, False]
    return pd.DataFrame.from_dict(rows, orient="index", columns=[*tags, "header_read"])


def read_vindr_cxr(
    frame: pd.DataFrame, graph: CausalGraph, policies: Policies, notes: dict[str, int]
) -> Columns:
    """Returns the columns of VinDr-CXR's labels under the graph's names, one row per image.

    Arguments:
        frame: The labels, one row per image and radiologist, on any index; the result is on that
            of each image's first row.
        graph: Not used: its columns are all read.
        policies: Not used: every radiologist answered every column.
        notes: Counts of cells that are not taken as written, added to in place.

    Raises:
        TableError: If a column is absent or holds another number than 0 and 1.
    """
    image = text(column(frame, "image_id", "vindr_cxr"))
    codes, _ = pd.factorize(image)
    if (codes < 0).any():
        raise TableError(f"column 'image_id', row {frame.index[int(np.argmin(codes))]!r} is empty")
    first = ~image.duplicated().to_numpy()
    one = frame[first]
    name = image[first]
    part = one["split"] if "split" in one.columns else pd.Series(np.nan, index=one.index)
    columns: Columns = {
        "patient_id": "vindr-" + name,
        "dataset": pd.Series("VinDr-CXR", index=one.index),
        "view": pd.Series("PA", index=one.index),
    }
    columns["image"] = part.astype("str").where(part.notna()) + "/" + name + ".dicom"
    columns["image"] = columns["image"].where(part.notna(), name + ".dicom")
    if part.notna().any():
        columns["split"] = splits(part.rename("split"))
    _patients(one, columns, notes)
    disagree = np.zeros(len(one), bool)
    for ours, theirs in FINDINGS.items():
        share = np.zeros(len(one))
        for label in theirs:
            share = np.maximum(share, _share(column(frame, label, "vindr_cxr"), codes, len(one)))
        disagree |= (share > 0) & (share < 1)
        found = np.where(share > 0.5, "positive", "negative")
        columns[ours] = pd.Series(found, index=one.index)
    notes["image on which radiologists disagree, by majority"] = int(disagree.sum())
    notes |= no_finding_conflicts(columns)
    return columns


def _share(label: pd.Series, codes: np.ndarray, images: int) -> np.ndarray:
    """Returns which share of an image's radiologists see a label (images,)."""
    seen = numbers(label)
    translate(seen, {0.0: "0", 1.0: "1"})  # refuses any other number
    if seen.isna().any():
        raise TableError(
            f"column {label.name!r}, row {label.index[int(seen.isna().argmax())]!r} is empty; "
            "every radiologist answers with 0 or 1"
        )
    return np.bincount(codes, seen, images) / np.bincount(codes, minlength=images)


def _patients(one: pd.DataFrame, columns: Columns, notes: dict[str, int]) -> None:
    """Adds age and sex where the table has what the DICOM headers say."""
    if "PatientAge" not in one.columns and "PatientSex" not in one.columns:
        notes["no DICOM files beside the labels: age and sex unknown"] = len(one)
        return
    age = years(column(one, "PatientAge", "vindr_cxr"), notes)
    sex = column(one, "PatientSex", "vindr_cxr")
    if "header_read" in one.columns:
        unread = one["header_read"].eq(False)
        notes["DICOM header cannot be read: age and sex unknown"] = int(unread.sum())
    notes["age 0 read as unknown"] = int((age == 0).sum())
    notes["sex 'O' read as unknown"] = int((sex == "O").sum())
    columns["age"] = age.mask(age == 0)
    columns["sex"] = translate(sex, SEXES)


SOURCE = Source(
    name="vindr_cxr",
    title="VinDr-CXR of Hospital 108 and Hanoi Medical University Hospital",
    read=read_vindr_cxr,
    load=load_vindr_cxr,
    files=FILES,
    columns={
        "image": "image_id",
        "patient_id": "image_id (no patient is published)",
        "split": "the name of the file",
        "age": "PatientAge of the DICOM header",
        "sex": "PatientSex of the DICOM header",
        "view": "none: all are PA",
        **{ours: " or ".join(theirs) for ours, theirs in FINDINGS.items()},
    },
    mapping={
        "sex": "F Female, M Male; O unknown",
        **dict.fromkeys(FINDINGS, "the majority of an image's radiologists, 1 or 0"),
        "fracture": "the majority of an image's radiologists; other bones are not labelled",
    },
    never_labelled=("race", "enlarged_cardiomediastinum", "support_devices"),
    names=("image_id", "rad_id"),
    ages="completed years of a DICOM age, 058Y; missing in many headers; 0 is unknown",
    image_layout="`train/<image_id>.dicom`, `test/<image_id>.dicom`",
    licence=(
        "PhysioNet Credentialed Health Data License 1.5: credentialed users, no redistribution."
    ),
    citation=(
        "Nguyen et al., VinDr-CXR: An open dataset of chest X-rays with radiologist's "
        "annotations, Scientific Data 2022"
    ),
)
