"""A table that is in the graph's own layout already: its variables as columns, in any order."""

import logging

import pandas as pd

from cxrcausal.data.source.source import Source
from cxrcausal.data.source.vocabulary import Columns, Policies, column, text
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.scm.table import complete_table

__all__ = ["SOURCE", "read_own"]

logger = logging.getLogger("cxrcausal")


def read_own(
    frame: pd.DataFrame, graph: CausalGraph, policies: Policies, notes: dict[str, int]
) -> Columns:
    """Returns the graph's columns of a table that has them, those without one unknown.

    Arguments:
        frame: The table; `patient_id`, `image`, `study_id` and `split` are taken where it has
            them.
        graph: Whose variables its columns are.
        policies: Not used: the levels are decided.
        notes: Not used: nothing is taken otherwise than written.

    Raises:
        TableError: If a value is not allowed, or a column is misnamed.
    """
    checked, absent = complete_table(frame, graph, what="a table of source 'graph'")
    if absent:
        logger.warning("the table has no column for %s, unknown in all rows", ", ".join(absent))
    columns: Columns = {name: column(checked, name, "graph") for name in graph.variables}
    for name in ("patient_id", "image", "study_id", "split"):
        if name in frame.columns:
            columns[name] = text(column(frame, name, "graph"))
    return columns


SOURCE = Source(
    name="graph",
    title="a table in the graph's own layout",
    read=read_own,
    names=("patient_id", "image", "study_id", "split"),
    images_beside=True,
)
