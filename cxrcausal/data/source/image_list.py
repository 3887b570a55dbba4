"""Image lists in CheXpert's vocabulary: one row per radiograph, findings as 1, 0 or empty.

This is the layout of a set of radiographs that stands beside its images: `image` (relative to the
list), `source` (one of `DATASETS`, or a collection that the graph does not name), `patient_id`
(prefix of the source included), `age` in years, `sex` (F, M), `view` (PA, AP, LATERAL, unknown)
and the 14 findings under CheXpert's names. Whoever made the list has mapped the labels already, so
no policy applies: 1 is positive, 0 negative, empty unknown.
"""

import pandas as pd

from cxrcausal.data.source.source import Source
from cxrcausal.data.source.vocabulary import (
    FINDINGS,
    Columns,
    Policies,
    column,
    no_finding_conflicts,
    numbers,
    text,
    translate,
)
from cxrcausal.graph.dag import CausalGraph

__all__ = ["SOURCE", "read_image_list"]

DATASETS = {
    "mimic-cxr": "MIMIC-CXR",
    "chexpert": "CheXpert-Plus",
    "chexpert-plus": "CheXpert-Plus",
    "padchest": "PadChest",
    "brax": "BRAX",
    "nih": "NIH",
    "nih-chestxray14": "NIH",
    "vindr-cxr": "VinDr-CXR",
    "rexgradient": "ReXGradient",
}
"""From a list's `source`, in any case, to the graph's level."""
SEXES = {"F": "Female", "M": "Male", "Female": "Female", "Male": "Male"}
VIEWS = {"PA": "PA", "AP": "AP", "LATERAL": "LATERAL", "unknown": None}
FINDING_LEVELS = {1.0: "positive", 0.0: "negative"}


def read_image_list(
    frame: pd.DataFrame, graph: CausalGraph, policies: Policies, notes: dict[str, int]
) -> Columns:
    """Returns the columns of an image list under the graph's names.

    A source that is not one of the graph's data sets (a case collection, say) is unknown there,
    and counted in `notes`.

    Arguments:
        frame: The list.
        graph: Not used: its columns are all read.
        policies: Not used; whoever made the list has decided.
        notes: Counts of cells that are not taken as written, added to in place.

    Raises:
        TableError: If a column is absent or holds a value that its vocabulary does not have.
    """
    columns: Columns = {"image": text(column(frame, "image", "image_list"))}
    columns["patient_id"] = text(column(frame, "patient_id", "image_list"))
    source = text(column(frame, "source", "image_list"))
    columns["dataset"] = source.str.strip().str.lower().map(DATASETS)
    strange = source.notna() & columns["dataset"].isna()
    notes["source is none of the graph's data sets"] = int(strange.sum())
    columns["age"] = numbers(column(frame, "age", "image_list"))
    columns["sex"] = translate(column(frame, "sex", "image_list"), SEXES)
    columns["view"] = translate(column(frame, "view", "image_list"), VIEWS)
    for theirs, ours in FINDINGS.items():
        finding = translate(numbers(column(frame, theirs, "image_list")), FINDING_LEVELS)
        if finding.notna().any() or ours == "no_finding":
            columns[ours] = finding  # a column without a single label was never labelled
    notes |= no_finding_conflicts(columns)
    return columns


SOURCE = Source(
    name="image_list",
    title="a list of radiographs in CheXpert's vocabulary, beside its images",
    read=read_image_list,
    columns={
        "image": "image",
        "patient_id": "patient_id",
        "dataset": "source",
        "age": "age",
        "sex": "sex",
        "view": "view",
        **{ours: theirs for theirs, ours in FINDINGS.items()},
    },
    names=("image", "patient_id"),
    images_beside=True,
)
