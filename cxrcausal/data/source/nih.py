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

import numpy as np
import pandas as pd

from cxrcausal.data.source.source import Source
from cxrcausal.data.source.vocabulary import (
    Columns,
    Policies,
    column,
    levels,
    no_finding_conflicts,
    numbers,
    text,
    translate,
)
from cxrcausal.errors import TableError, nearest, summarise
from cxrcausal.graph.dag import CausalGraph

__all__ = ["SOURCE", "read_nih"]

NO_FINDING = "No Finding"
OPACITY = "Infiltration"
MAPPING: dict[str, tuple[str, ...]] = {
    "cardiomegaly": ("Cardiomegaly",),
    "edema": ("Edema",),
    "consolidation": ("Consolidation",),
    "pneumonia": ("Pneumonia",),
    "atelectasis": ("Atelectasis",),
    "pneumothorax": ("Pneumothorax",),
    "pleural_effusion": ("Effusion",),
    "lung_lesion": ("Mass", "Nodule"),
    "pleural_other": ("Pleural_Thickening",),
}
WITHOUT_COUNTERPART = ("Emphysema", "Fibrosis", "Hernia")
# Findings that CheXpert's hierarchy would count as an opacity, mostly, and NIH does not.
OPAQUE = ("Edema", "Consolidation", "Pneumonia", "Atelectasis", "Mass", "Nodule", "Fibrosis")
LABELS = (
    NO_FINDING,
    OPACITY,
    *(label for labels in MAPPING.values() for label in labels),
    *WITHOUT_COUNTERPART,
)

SEXES = {"F": "Female", "M": "Male"}
VIEWS = {"PA": "PA", "AP": "AP"}
PER_YEAR = {"Y": 1.0, "M": 12.0, "D": 365.25}


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
    if patient.isna().any() or (patient < 0).any() or (patient % 1 != 0).any():
        row = frame.index[int(np.argmax(patient.isna() | (patient < 0) | (patient % 1 != 0)))]
        raise TableError(
            f"column 'Patient ID', row {row!r}: a patient id is a whole number from 0"
        )
    columns: Columns = {
        "image": text(column(frame, "Image Index", "nih")),
        "patient_id": "nih-" + patient.astype(np.int64).astype("str").str.zfill(8),
        "dataset": pd.Series("NIH", index=frame.index),
        "age": _years(column(frame, "Patient Age", "nih")),
        "sex": translate(column(frame, ("Patient Gender", "Patient Sex"), "nih"), SEXES),
        "view": translate(column(frame, "View Position", "nih"), VIEWS),
    }
    columns |= _findings(column(frame, "Finding Labels", "nih"), policies)
    notes |= no_finding_conflicts(columns)
    return columns


def _years(ages: pd.Series) -> pd.Series:
    """Returns completed years; the first edition writes days and months for the youngest."""
    if pd.api.types.is_numeric_dtype(ages):
        return numbers(ages)
    parts = text(ages).str.strip().str.extract(r"^(\d+)([YMD])$")
    years = parts[0].astype(np.float64) / parts[1].map(PER_YEAR).astype(np.float64)
    whole = np.floor(years).where(parts[0].notna(), numbers(ages.mask(parts[0].notna())))
    return whole.rename(ages.name)  # which an error has to say


def _findings(labels: pd.Series, policies: Policies) -> Columns:
    """Returns the graph's findings: each of the few hundred distinct lists is read once."""
    codes, distinct = pd.factorize(labels)
    lists = [frozenset(part.strip() for part in str(cell).split("|")) for cell in distinct]
    known = set(LABELS)
    for i, found in enumerate(lists):
        if wrong := sorted(found - known):
            row = labels.index[int(np.argmax(codes == i))]
            raise TableError(
                f"column {labels.name!r}, row {row!r}: {wrong[0]!r} is not a finding of "
                f"ChestX-ray14{nearest(wrong[0], LABELS) or '.'} Allowed: "
                f"{summarise(LABELS, most=20)}"
            )
    found_levels: dict[str, list[str | None]] = {
        name: [_finding(found, theirs, policies) for found in lists]
        for name, theirs in MAPPING.items()
    }
    found_levels["lung_opacity"] = [_opacity(found, policies) for found in lists]
    found_levels["no_finding"] = [
        "positive" if NO_FINDING in found else "negative" for found in lists
    ]
    return {  # the appended None is what an empty cell, code -1, finds
        name: levels(codes, [*each, None], labels) for name, each in found_levels.items()
    }


def _finding(found: frozenset[str], theirs: tuple[str, ...], policies: Policies) -> str | None:
    if not found.isdisjoint(theirs):
        return "positive"
    silent = policies.not_mentioned == "unknown" and NO_FINDING not in found
    return None if silent else "negative"


def _opacity(found: frozenset[str], policies: Policies) -> str | None:
    if OPACITY in found:
        return "positive"
    silent = policies.not_mentioned == "unknown" and NO_FINDING not in found
    return None if silent or not found.isdisjoint(OPAQUE) else "negative"


SOURCE = Source(
    name="nih",
    title="ChestX-ray14 of the NIH Clinical Center",
    read=read_nih,
    columns={
        "image": "Image Index",
        "patient_id": "Patient ID",
        "age": "Patient Age",
        "sex": "Patient Gender (Patient Sex in 2020)",
        "view": "View Position",
        "lung_opacity": f"Finding Labels: {OPACITY}",
        "no_finding": f"Finding Labels: {NO_FINDING}",
        **{name: f"Finding Labels: {' or '.join(theirs)}" for name, theirs in MAPPING.items()},
    },
    never_labelled=("race", "fracture", "enlarged_cardiomediastinum", "support_devices"),
    names=("Image Index",),
    has_reports=True,
    licence="No restriction on use; acknowledge the NIH Clinical Center and cite the paper.",
    citation=(
        "Wang et al., ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on "
        "Weakly-Supervised Classification and Localization of Common Thorax Diseases, CVPR 2017"
    ),
)
