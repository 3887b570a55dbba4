"""Several image lists as one: collections that overlap, each radiograph once."""

import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from cxrcausal.data.table import read_table
from cxrcausal.errors import TableError
from cxrcausal.graph.dag import CausalGraph

__all__ = ["read_image_lists"]


def read_image_lists(
    paths: Iterable[str | os.PathLike],
    graph: str | os.PathLike | CausalGraph = "cxr19",
    *,
    dataset: str | None = None,
) -> pd.DataFrame:
    """Reads image lists (`source="image_list"`) as one table, each radiograph once.

    The same radiograph in two lists has the same file name there, whatever the folder; the first
    list that has it counts, so name the list of the finest images first.

    Arguments:
        paths: The lists, each beside its images.
        graph: A causal graph, its name or its file.
        dataset: Only radiographs of this level of the graph's `dataset`; all if left out.

    Returns:
        What `read_table` returns, list after list, on a new index from 0.

    Raises:
        TableError: As `read_table`, if no list is given, or if none has a radiograph of `dataset`.
    """
    if isinstance(paths, str | os.PathLike):
        raise TableError(f"paths must be several lists; found one, {os.fspath(paths)!r}")
    lists = [read_table(path, source="image_list", graph=graph) for path in paths]
    if not lists:
        raise TableError("no image list is given; each is a CSV file beside its images")
    table = pd.concat(lists, ignore_index=True)
    # Built from several lists, the table has no single source to tell of.
    table.attrs = {}
    name = table["image"].map(lambda path: Path(path).name, na_action="ignore")
    table = table[name.isna() | ~name.duplicated()]
    if dataset is not None:
        found = sorted(table["dataset"].dropna().astype(str).unique())
        if dataset not in found:
            raise TableError(f"no radiograph is of dataset {dataset!r}; the lists have: {found}")
        table = table[table["dataset"] == dataset]
    return table.reset_index(drop=True)
