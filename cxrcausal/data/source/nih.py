"""ChestX-ray14 of the NIH Clinical Center: `Data_Entry_2017.csv` and its 2020 edition.

Fourteen findings were text-mined from reports (Wang et al., CVPR 2017) and stand in one column,
separated by bars; what is not listed was not mentioned. They map to CheXpert's findings as below.
Three have no counterpart (Emphysema, Fibrosis, Hernia) and still make 'No Finding' negative. NIH's
Infiltration is an opacity; several other findings usually are one too, but NIH does not say so,
and there the opacity is unknown: an answer of either kind would be ours, not the data's.

Race, fracture, support devices and an enlarged cardiomediastinum are never labelled. Ages are in
years, those of the first edition with a letter (`058Y`, `013M`, `004D`); 0 is an infant.

References:
    | ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on Weakly-Supervised
    | Classification and Localization of Common Thorax Diseases
    | (Wang et al., 2017), https://arxiv.org/abs/1705.02315
"""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from cxrcausal.data.csv_file import read_csv
from cxrcausal.data.source.ages import years
from cxrcausal.data.source.download import SourceFile
from cxrcausal.data.source.label_list import LabelList
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

__all__ = ["SOURCE", "read_nih"]

LABELS = LabelList(
    owner="ChestX-ray14",
    normal="No Finding",
    mapping={
        "cardiomegaly": ("Cardiomegaly",),
        "edema": ("Edema",),
        "consolidation": ("Consolidation",),
        "pneumonia": ("Pneumonia",),
        "atelectasis": ("Atelectasis",),
        "pneumothorax": ("Pneumothorax",),
        "pleural_effusion": ("Effusion",),
        "lung_lesion": ("Mass", "Nodule"),
        "pleural_other": ("Pleural_Thickening",),
        "lung_opacity": ("Infiltration",),
    },
    # CheXpert's hierarchy would count these as an opacity, mostly, and NIH does not.
    unclear={
        "lung_opacity": (
            *("Edema", "Consolidation", "Pneumonia", "Atelectasis"),
            *("Mass", "Nodule", "Fibrosis"),
        )
    },
    others=("Emphysema", "Fibrosis", "Hernia"),
)
SEXES = {"F": "Female", "M": "Male"}
VIEWS = {"PA": "PA", "AP": "AP"}
WHOLE = 2**53  # from here on a number of a table may be its neighbour, who is another patient
FILES = (
    SourceFile(
        ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv"),
        "the table of findings and patients of either edition",
    ),
    SourceFile(("train_val_list.txt",), "the images of the training part", needed=False),
    SourceFile(("test_list.txt",), "the images of the test part", needed=False),
)


def read_nih(
    frame: pd.DataFrame, graph: CausalGraph, policies: Policies, notes: dict[str, int]
) -> Columns:
    """Returns the columns of a ChestX-ray14 table under the graph's names.

    Arguments:
        frame: The table as NIH wrote it.
        graph: Not used: its columns are all read.
        policies: `not_mentioned` decides a finding that is not listed; under `unknown`, all of
            them are still negative where NIH lists 'No Finding'. `uncertain` never occurs.
        notes: Counts of cells that are not taken as written, added to in place.

    Raises:
        TableError: If a column is absent or holds a value that ChestX-ray14 does not have.
    """
    patient = numbers(column(frame, "Patient ID", "nih"))
    is_no_id = patient.isna() | (patient < 0) | (patient % 1 != 0) | (patient >= WHOLE)
    if is_no_id.any():
        row = frame.index[int(np.argmax(is_no_id))]
        raise TableError(
            f"column 'Patient ID', row {row!r}: a patient id is a whole number from 0"
        )
    columns: Columns = {
        "image": text(column(frame, "Image Index", "nih")),
        "patient_id": "nih-" + patient.astype(np.int64).astype("str").str.zfill(8),
        "dataset": pd.Series("NIH", index=frame.index),
        "age": years(column(frame, "Patient Age", "nih"), notes),
        "sex": translate(column(frame, ("Patient Gender", "Patient Sex"), "nih"), SEXES),
        "view": translate(column(frame, "View Position", "nih"), VIEWS),
    }
    columns |= LABELS.read(
        column(frame, "Finding Labels", "nih"), lambda cell: cell.split("|"), policies, notes
    )
    if "split" in frame.columns:
        columns["split"] = splits(column(frame, "split", "nih"))
    notes |= no_finding_conflicts(columns)
    return columns


def load_nih(folder: Path, graph: CausalGraph, keep: Collection[str]) -> pd.DataFrame:
    """Returns the table of a download folder, with the official parts and where the images lie.

    The archives unpack into `images_001/images/` to `images_012/images/`, which no table says:
    the folders are listed.

    Raises:
        TableError: If the table is absent or cannot be read.
    """
    table, *lists = (file.find(folder) for file in FILES)
    assert table is not None
    frame = read_csv(table, graph, SOURCE.names, keep)
    name = text(column(frame, "Image Index", "nih"))
    parts: dict[str, str] = {}
    for part, path in zip(("train", "test"), lists, strict=True):
        if path is not None:
            parts |= dict.fromkeys(_listed(path), part)
    if parts:
        frame = frame.assign(split=name.map(parts))
    lying = {
        image.name: str(image.relative_to(folder))
        for images in sorted(folder.glob("images*"))
        for image in (*images.glob("*.png"), *images.glob("images/*.png"))
    }
    found = [lying.get(image, image) for image in name.array]
    return frame.assign(**{"Image Index": pd.Series(found, index=name.index, dtype="str")})


def _listed(path: Path) -> list[str]:
    """Returns the images that a file lists, one on a line."""
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"{str(path)!r} is no list of images: {error}") from error


SOURCE = Source(
    name="nih",
    title="ChestX-ray14 of the NIH Clinical Center",
    read=read_nih,
    load=load_nih,
    files=FILES,
    columns={
        "image": "Image Index",
        "patient_id": "Patient ID",
        "age": "Patient Age",
        "sex": "Patient Gender (Patient Sex in 2020)",
        "view": "View Position",
        "split": "train_val_list.txt and test_list.txt, in a download folder",
        "no_finding": "Finding Labels",
        **dict.fromkeys(LABELS.mapping, "Finding Labels"),
    },
    never_labelled=("race", "fracture", "enlarged_cardiomediastinum", "support_devices"),
    names=("Image Index",),
    mapping={
        "sex": "F Female, M Male",
        "view": "PA, AP",
        **LABELS.described(),
    },
    has_reports=True,
    not_mentioned="a finding that is not listed, unless No Finding is",
    ages="completed years; the first edition writes 058Y, 013M, 004D; not top-coded, and a few "
    "(up to 414) are impossible and unknown",
    image_layout="`images_001/images/00000001_000.png`: the archive is not told by the name, so "
    "the folders `images*` are listed; the bare name where only a table is read",
    licence="No restriction on use; acknowledge the NIH Clinical Center and cite the paper.",
    citation=(
        "Wang et al., ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on "
        "Weakly-Supervised Classification and Localization of Common Thorax Diseases, CVPR 2017"
    ),
)
