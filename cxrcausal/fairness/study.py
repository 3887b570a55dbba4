"""Who is asked: radiographs and their metadata, read and checked once, and whose they are."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
import pandas as pd

from cxrcausal.counterfactual.image_mechanism import ImageMechanism
from cxrcausal.errors import ImageError, TableError, nearest, summarise
from cxrcausal.fairness.radiographs import (
    Columns,
    Given,
    Radiographs,
    metadata_of,
    radiographs_of,
)
from cxrcausal.scm.table import complete_table

if TYPE_CHECKING:
    from cxrcausal.counterfactual import CounterfactualModel

__all__ = ["Study", "study_of"]


@final
@dataclass(frozen=True)
class Study:
    """Radiographs of some patients, row by row of their metadata.

    Arguments:
        model: The joint model.
        mechanism: What paints.
        given: The metadata as they were given, further columns included.
        table: A column for every variable of the graph, unknown where the given table has none.
        radiographs: The images.
        patients: The patient of every row, the row itself where nobody said.
    """

    model: "CounterfactualModel"
    mechanism: ImageMechanism
    given: pd.DataFrame
    table: pd.DataFrame
    radiographs: Radiographs
    patients: np.ndarray


def study_of(
    model: "CounterfactualModel",
    images: Given,
    table: pd.DataFrame | str | os.PathLike,
    *,
    columns: Columns | None = None,
    resolution: int | None = None,
    groups: str = "patient_id",
) -> Study:
    """Returns what is asked, checked.

    Arguments:
        model: The joint model.
        images: The radiographs, see `Given`.
        table: Their metadata, row by row, or a file of them.
        columns: Which column of the table is what; the graph's own if left out.
        resolution: The side of the square that a classifier is given, where files are read.
        groups: The column of patients.

    Raises:
        ImageError: If the model paints nothing, or images are not the model's or the table's.
        TableError: If the table is not usable, or has no such column of patients.
        OptionError: As `radiographs_of`.
    """
    if model.image is None:
        raise ImageError(f"model {model.name!r} is of metadata alone; it paints no radiographs")
    given = metadata_of(table, columns, model.graph)
    complete = complete_table(given, model.graph)[0]
    radiographs = radiographs_of(images, given, model.image.image_shape[-1], resolution)
    model.image.check_images(radiographs.images)
    patients = _patients(given, groups)
    return Study(model, model.image, given, complete, radiographs, patients)


def _patients(table: pd.DataFrame, groups: str) -> np.ndarray:
    """Returns the patient of every row, the row itself where the table names none."""
    if groups in table.columns:
        return table[groups].to_numpy(object)
    if groups != "patient_id":
        raise TableError(
            f"no column {groups!r} of patients{nearest(groups, table.columns) or '.'} The table "
            f"has: {summarise(table.columns, 30)}"
        )
    return np.arange(len(table)).astype(object)
