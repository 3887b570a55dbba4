"""The radiographs that a command measures on: of test patients, from lists of images."""

from pathlib import Path

import pandas as pd
import torch

from cxrcausal.data import read_image_lists, read_table, split_by_patient
from cxrcausal.errors import TableError
from cxrcausal.graph import CausalGraph

__all__ = ["listed_radiographs"]


def listed_radiographs(
    lists: list[Path],
    graph: CausalGraph,
    *,
    dataset: str | None,
    limit: int,
    everyone: bool = False,
    source: str = "image_list",
) -> pd.DataFrame:
    """Returns at most `limit` rows of image lists, spread over all of them.

    Arguments:
        lists: Lists of radiographs, finest first.
        graph: Says the columns.
        dataset: Only radiographs of this data set.
        limit: How many at most.
        everyone: Whether those of training patients count too.
        source: Whose layout the lists are in, a name or the YAML file of a mapping; their images
            lie beside them.

    Raises:
        TableError: If fewer than two are left.
    """
    if source == "image_list":
        table = read_image_lists(lists, graph=graph, dataset=dataset)
    else:
        read = [read_table(path, source, graph, images=path.parent) for path in lists]
        table = pd.concat(read, ignore_index=True)
        if dataset is not None:
            table = table[table["dataset"] == dataset]
    if not everyone:
        table = table[split_by_patient(table) == "test"]
    if len(table) < 2:
        whose = "are there" if everyone else "are of test patients"
        raise TableError(f"{len(table)} radiographs {whose}; two are the fewest")
    spread = torch.linspace(0, len(table) - 1, min(limit, len(table))).long().tolist()
    return table.iloc[spread].reset_index(drop=True)
