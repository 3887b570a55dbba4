"""ReXGradient-160K: radiographs and reports of 79 sites in the US, without labels.

Each of the three parts has a file `<part>_metadata_view_position.json`: one object per study, with
lists of its images (`ImagePath`, `ImageViewPosition`, ...). One row here is one image. The owner
publishes reports and **no labels**: every finding is unknown, unless the table has columns of
CheXpert's names that a labeller of one's own has written, read as in `report_labels`. The table
`<part>_metadata.csv` has one row per study and no path, so it is not what is read.

Ages are written as in DICOM (`059Y`, `002D`). Race is not recorded. Views come from the tag, in
the words of 79 sites: AP and PA and their long forms, LATERAL and LL; UNKNOWN, oblique, decubitus
and anything else is unknown and counted.

Not verified on the real files: the whole list of view words; so a word that is not known is
counted rather than refused, and nowhere else is that done.

References:
    | ReXGradient-160K: A Large-Scale Publicly Available Dataset of Chest Radiographs with
    | Free-text Reports
    | (Zhang et al., 2025), https://arxiv.org/abs/2505.00228
"""

import json
from collections.abc import Collection, Iterator
from pathlib import Path

import pandas as pd

from cxrcausal.data.source.ages import years
from cxrcausal.data.source.download import SourceFile
from cxrcausal.data.source.report_labels import report_labels
from cxrcausal.data.source.source import Source
from cxrcausal.data.source.vocabulary import (
    FINDINGS,
    Columns,
    Policies,
    column,
    no_finding_conflicts,
    splits,
    text,
    translate,
)
from cxrcausal.errors import TableError
from cxrcausal.graph.dag import CausalGraph

__all__ = ["SOURCE", "read_rexgradient"]

PER_IMAGE = ("ImagePath", "ImageViewPosition", "ImageShape", "ImageModality", "ImageBodyPart")
PARTS = ("train", "valid", "test")
FILES = tuple(
    SourceFile(
        (f"{part}_metadata_view_position.json",),
        f"the studies of the part {part!r} with their images",
        ("metadata", "download/metadata"),
        needed=part == "train",
    )
    for part in PARTS
)
SEXES = {"F": "Female", "M": "Male", "O": None, "U": None, "Unknown": None, "UNKNOWN": None}
VIEWS = {
    **dict.fromkeys(("AP", "ANTERO_POSTERIOR", "ANTEROPOSTERIOR"), "AP"),
    **dict.fromkeys(("PA", "POSTERO_ANTERIOR", "POSTEROANTERIOR"), "PA"),
    **dict.fromkeys(("LATERAL", "LAT", "LL", "RL"), "LATERAL"),
}


def load_rexgradient(path: Path, graph: CausalGraph, keep: Collection[str]) -> pd.DataFrame:
    """Returns one row per image of a download folder, or of one of its JSON files.

    Raises:
        TableError: If a file is absent, or is not one JSON object per study.
    """
    files = [f.find(path) for f in FILES] if path.is_dir() else [path]
    rows = [row for file in files if file is not None for row in _images(file)]
    return pd.DataFrame(rows)


def _images(path: Path) -> Iterator[dict[str, object]]:
    """Yields each image of a file with what is said of its study."""
    part = path.name.partition("_")[0]
    try:
        studies = json.loads(path.read_text(encoding="utf-8"))
        entries = list(studies.values() if isinstance(studies, dict) else studies)
    except (ValueError, TypeError, RecursionError) as error:
        raise TableError(f"{str(path)!r} is not one JSON object per study: {error}") from error
    for number, study in enumerate(entries):
        if not isinstance(study, dict) or not isinstance(study.get("ImagePath"), list):
            raise TableError(
                f"{str(path)!r}, study {number}: expected an object with a list 'ImagePath'; "
                f"found {str(study)[:80]}"
            )
        own = {name: said for name, said in study.items() if name not in PER_IMAGE}
        lists = {name: study[name] for name in PER_IMAGE if isinstance(study.get(name), list)}
        for i in range(len(study["ImagePath"])):
            each = {n: said[i] if i < len(said) else None for n, said in lists.items()}
            yield {**own, **each, **({"split": part} if part in PARTS else {})}


def read_rexgradient(
    frame: pd.DataFrame, graph: CausalGraph, policies: Policies, notes: dict[str, int]
) -> Columns:
    """Returns the columns of ReXGradient's images under the graph's names.

    Arguments:
        frame: One row per image, and where a labeller has written them the 14 labels.
        graph: Not used: its columns are all read.
        policies: What silence (empty) and uncertainty (-1) are, where the table has labels.
        notes: Counts of cells that are not taken as written, added to in place.

    Raises:
        TableError: If a column is absent or holds a value that is not known of ReXGradient.
    """
    view = column(frame, "ImageViewPosition", "rexgradient")
    words = text(view).str.strip().str.upper()
    sex = column(frame, "PatientSex", "rexgradient")
    path = text(column(frame, "ImagePath", "rexgradient"))
    columns: Columns = {
        "image": path.str.replace(r"^(?:\.\./)+", "", regex=True),
        "patient_id": "rexgradient-" + text(column(frame, "PatientID", "rexgradient")),
        "study_id": "rexgradient-" + text(column(frame, "StudyInstanceUid", "rexgradient")),
        "dataset": pd.Series("ReXGradient", index=frame.index),
        "age": years(column(frame, "PatientAge", "rexgradient"), notes),
        "sex": translate(sex.mask(sex.isin(["", "None", "N/A"])), SEXES),
        "view": translate(words.where(words.isin(list(VIEWS))), VIEWS),
    }
    notes["view is none of the graph's"] = int((view.notna() & columns["view"].isna()).sum())
    notes["sex read as unknown"] = int((sex.notna() & columns["sex"].isna()).sum())
    if "split" in frame.columns:
        columns["split"] = splits(column(frame, "split", "rexgradient"))
    if set(FINDINGS) & set(frame.columns):
        columns |= report_labels(frame, "rexgradient", policies, notes)
        notes |= no_finding_conflicts(columns)
    return columns


SOURCE = Source(
    name="rexgradient",
    title="ReXGradient-160K of Gradient Health and the Rajpurkar lab",
    read=read_rexgradient,
    load=load_rexgradient,
    files=FILES,
    columns={
        "image": "ImagePath",
        "patient_id": "PatientID",
        "study_id": "StudyInstanceUid",
        "split": "the name of the file",
        "age": "PatientAge",
        "sex": "PatientSex",
        "view": "ImageViewPosition",
    },
    mapping={
        "split": "train; valid is validation; test",
        "sex": "F Female, M Male; O and U unknown",
        "view": "AP, PA and their long forms; LATERAL, LAT, LL and RL are LATERAL; any other "
        "unknown and counted",
    },
    never_labelled=("race", *FINDINGS.values()),
    names=("PatientID", "AccessionNumber", "StudyInstanceUid", "ImagePath"),
    has_reports=True,
    not_mentioned="no labels are published; of one's own, in columns of CheXpert's names, an "
    "empty cell",
    uncertain="no labels are published; of one's own, -1",
    ages="completed years of a DICOM age, 059Y; whether top-coded is not published",
    image_layout="`deid_png/<PatientID>/<AccessionNumber>/studies/<study>/series/<series>/"
    "instances/<instance>.png`, as `ImagePath` says relative to `metadata/`",
    licence=(
        "ReXGradient-160K Non-Commercial Data Access and Use Agreement: non-commercial "
        "research, no redistribution."
    ),
    citation=(
        "Zhang et al., ReXGradient-160K: A Large-Scale Publicly Available Dataset of Chest "
        "Radiographs with Free-text Reports, 2025"
    ),
)
