"""A source's own table becomes the graph's: its columns, levels and units under one name each.

What a source left blank is not one thing. *Not mentioned* is silence in a report, *uncertain* is
what the report itself says, and *never labelled* is a column the source does not have; each has
its own named policy or none, and all of them stay with the table in ``table.attrs["cxrcausal"]``
together with the count of every cell that could not be taken as written.
"""

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from cxrcausal.data.source.mapping import mapped_source
from cxrcausal.data.source.source import Source, load_source
from cxrcausal.data.source.vocabulary import (
    Columns,
    Policies,
    Uncertain,
    column,
    likelihood_column,
    text,
)
from cxrcausal.data.unknown import unknown_as_level
from cxrcausal.errors import TableError, nearest, summarise
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.graph.load import load_graph
from cxrcausal.scm.table import check_table

__all__ = ["read_table"]

FORMERLY = {"films": "image_list"}  # until 0.2

logger = logging.getLogger("cxrcausal")


def read_table(
    path: str | os.PathLike | pd.DataFrame,
    source: str | os.PathLike | Mapping[str, object] | Source = "nih",
    graph: str | os.PathLike | CausalGraph = "cxr19",
    *,
    not_mentioned: Literal["negative", "unknown"] = "negative",
    uncertain: Uncertain = "unknown",
    unknown: Literal["missing", "level"] = "missing",
    images: str | os.PathLike | None = None,
    keep: str | Sequence[str] = (),
) -> pd.DataFrame:
    """Reads the metadata of a public source as the graph's columns, `patient_id` and `image`.

    Arguments:
        path: The folder into which the source was downloaded (each source says its `files`), a
            CSV file (compressed or not) or a parquet file, or a table in the source's own layout,
            which is not modified and whose index is kept.
        source: Whose layout it is: one of `list_sources()`, as `nih` (ChestX-ray14's
            Data_Entry_2017, either edition), `chexpert` (train.csv), `image_list` (an image list
            in CheXpert's vocabulary) or `graph` (the graph's own columns; what has none is
            unknown); a `Source`; or for a layout of one's own which column is what, as a dict
            (``{"Patient Gender": "sex"}``) or the YAML file of one.
        graph: A causal graph, its name or its file.
        not_mentioned: What a finding that the report does not mention is. Silence is informative:
            read as unknown, nearly all that is left of CheXpert's support devices is positive.
        uncertain: What a finding that the report calls uncertain is (CheXpert; NIH has none). Both
            policies are for report labels: `image_list` and `graph` come with the labels already
            decided. Under `likelihood` it is unknown, and further columns hold what the word
            says all the same, see `soft_evidence`.
        unknown: What an unknown cell is: `missing` (NaN), or under `level` the level *unknown* of
            a graph that has one (`with_unknown_level`).
        images: The folder that image names are relative to; if left out the download folder, or
            for `image_list`, `graph` and a mapping the file's own.
        keep: Further columns of the source, one or several, to carry along under their own names.

    Returns:
        A new table: one column per variable of the graph (categoricals with its levels, floats in
        its unit, NaN for unknown), `patient_id`, `image`, and where the source has them `study_id`
        and `split` (strings; train, validation, test as its owner parted the data), then `keep`.
        With `graph` and a mapping, ids and image only where the table has them.
        ``attrs["cxrcausal"]`` records source, graph, policies, `never_labelled` (variables for
        which the source has no label) and `notes` (how many cells could not be taken as written,
        by reason).

    Raises:
        TableError: If a file is absent or cannot be read, a column is missing, or a value is not
            understood.
        GraphError: If there is no such graph.
    """
    if isinstance(source, str) and source in FORMERLY:
        warnings.warn(
            f"source={source!r} is called {FORMERLY[source]!r}, and only that from version 0.2",
            FutureWarning,
            stacklevel=2,
        )
        source = FORMERLY[source]
    origin = find_source(source)
    policies = Policies(not_mentioned=not_mentioned, uncertain=uncertain)
    if unknown not in ("missing", "level"):
        raise TableError(
            f"unknown={unknown!r} is not known{nearest(unknown, ('missing', 'level')) or '.'} "
            f"Allowed: {summarise(('missing', 'level'))}"
        )
    graph = graph if isinstance(graph, CausalGraph) else load_graph(graph)
    keep = (keep,) if isinstance(keep, str) else tuple(keep)
    frame = path if isinstance(path, pd.DataFrame) else origin.frame(path, graph, keep)
    notes: dict[str, int] = {}
    try:
        columns = origin.read(frame, graph, policies, notes)
        if origin.name != "graph":  # whose values were checked as they stand
            _drop_impossible_ages(columns, graph, notes)
        folder = _image_folder(path, images, beside=origin.images_beside)
        if folder is not None and "image" in columns:
            columns["image"] = _inside(folder, columns["image"])
        never = [v for v in graph.variables if v not in columns or columns[v].isna().all()]
        table = _assemble(columns, graph, frame, keep)
    except TableError as error:
        if isinstance(path, pd.DataFrame):
            raise
        raise TableError(f"{os.fspath(path)!r}: {error}") from error
    if unknown == "level":
        table = unknown_as_level(table, graph)
    table.attrs["cxrcausal"] = {
        "source": origin.name,
        "graph": graph.name,
        "policies": policies.as_dict() if origin.has_reports else {},
        "never_labelled": never,
        "notes": {reason: count for reason, count in notes.items() if count},
    }
    if table.attrs["cxrcausal"]["notes"]:
        logger.info("%s table: %s", origin.name, table.attrs["cxrcausal"]["notes"])
    return table


def find_source(source: str | os.PathLike | Mapping[str, object] | Source) -> Source:
    """Returns the source of that name, or the one that a mapping of columns describes.

    Raises:
        TableError: If there is no such source, or it is no such mapping.
    """
    if isinstance(source, Source):
        return source
    if isinstance(source, str) and not source.lower().endswith((".yaml", ".yml")):
        return load_source(source)
    return mapped_source(source)


def _drop_impossible_ages(columns: Columns, graph: CausalGraph, notes: dict[str, int]) -> None:
    """Makes ages outside the graph's bounds unknown, in place, and counts them."""
    age = graph.variables.get("age")
    if age is None or age.bounds is None or "age" not in columns:
        return
    low, high = age.bounds
    outside = (columns["age"] < low) | (columns["age"] > high)
    notes["age out of bounds"] = int(outside.sum())
    columns["age"] = columns["age"].mask(outside)


def _image_folder(
    path: str | os.PathLike | pd.DataFrame, images: str | os.PathLike | None, *, beside: bool
) -> Path | None:
    """Returns what image names are relative to, if that is known."""
    if images is not None:
        return Path(images).absolute()
    if isinstance(path, pd.DataFrame):
        return None
    there = Path(path).absolute()
    if there.is_dir():
        return there
    return there.parent if beside else None


def _inside(folder: Path, names: pd.Series) -> pd.Series:
    """Returns image names as absolute paths; missing names stay missing."""
    paths = [None if pd.isna(name) else str(folder / name) for name in names]
    return text(pd.Series(paths, index=names.index, name="image", dtype=object))


def _assemble(
    columns: Columns, graph: CausalGraph, frame: pd.DataFrame, keep: Sequence[str]
) -> pd.DataFrame:
    """Returns the canonical table: the graph's columns in its order, the ids, what was kept."""
    index = next((values.index for values in columns.values()), frame.index)
    unknown = pd.Series(float("nan"), index=index)
    data = {}
    for name in graph.variables:
        values = columns.get(name, unknown)  # named as in the source, which is where to look
        what = "rows" if values.name in (None, name) else f"the source's column {values.name!r}"
        data[name] = check_table(values.to_frame(name), graph, (name,), what)[name]
    table = pd.DataFrame(data, index=index)
    for name in ("patient_id", "image", "study_id", "split"):
        if name in columns:
            table[name] = columns[name]
    for name, said in columns.items():
        if name in map(likelihood_column, graph.variables):
            table[name] = said
    for name in keep:
        if name in table.columns and name not in frame.columns:
            raise TableError(f"cannot keep {name!r}: the result already has a column of that name")
        kept = column(frame, name, "keep")
        if len(index) != len(frame):  # several rows of the source are one radiograph
            kept = kept[~frame.index.duplicated()].reindex(index)
        if name in table.columns and not text(kept).equals(table[name]):
            raise TableError(f"cannot keep {name!r}: the result already has a column of that name")
        table[name] = kept
    return table
