"""Variables without a column in a table: unknown in every row, unless it is only misnamed.

A table with some of the graph's columns says what it says, and the rest is unknown. But to read
`sex` as unknown where a column `Sex`, `gender` or `Patient Sex` stands would answer for another
patient, and so would a table in which nothing is a variable of the graph.
"""

import difflib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd

from cxrcausal.errors import TableError, nearest, summarise

if TYPE_CHECKING:
    from cxrcausal.graph.dag import CausalGraph

__all__ = ["absent_variables"]

ALIKE = 0.8
"""Names more alike than this are one name mistyped: 'agee' is 'age', 'image' (.75) is not."""

FILLERS = frozenset({"patient", "patients", "name", "position", "label", "value", "s"})
"""Words that tables add to a variable's name without meaning another: `Patient Age`."""

SYNONYMS = {
    "gender": "sex",
    "ethnicity": "race",
    "projection": "view",
    "source": "dataset",
    "effusion": "pleural_effusion",
    "devices": "support_devices",
}
"""Other names that chest X-ray tables give to a variable: `Patient Gender` (NIH), `gender`, …"""


def absent_variables(
    table: pd.DataFrame, graph: "CausalGraph", names: Iterable[str], what: str = "rows"
) -> tuple[str, ...]:
    """Returns which of the variables `names` the table has no column for, in their order.

    Arguments:
        table: Rows of patients.
        graph: Whose variables they are.
        names: The variables that are looked for.
        what: What to call the table in an error.

    Raises:
        TableError: If another column seems to be an absent variable under another name, or the
            table has columns and none of them is a variable of the graph.
    """
    absent = tuple(name for name in names if name not in table.columns)
    strange = [str(column) for column in table.columns if column not in graph.variables]
    for column in strange:
        name = next((name for name in absent if _means(column, name)), None)
        if name is not None:
            raise TableError(
                f"{what}: {column!r} is not a variable of graph {graph.name!r}, whose {name!r} "
                f"has no column; did you mean {name!r}? If it is something else, rename it, or "
                f"give {name!r} as a column of NaN"
            )
    if not any(name in table.columns for name in graph.variables):
        found = f"Present: {summarise(strange, 30)}" if strange else "It has no columns"
        hint = nearest(absent[0], strange) if absent else ""
        raise TableError(
            f"{what}: no column is a variable of graph {graph.name!r}, so nothing is known of "
            f"anybody{hint or '.'} {found}. Variables: {summarise(graph.variables, 30)}. "
            f"Give an unknown variable as a column of NaN"
        )
    return absent


def _means(column: str, variable: str) -> bool:
    """Whether a column's name is a variable's, mistyped, decorated, or another word for it."""
    words = [word for word in re.split(r"[^a-z0-9]+", column.casefold()) if word]
    plain = "_".join(word for word in words if word not in FILLERS)
    if plain == variable.casefold() or SYNONYMS.get(plain) == variable:
        return True
    written = column.casefold().replace(" ", "_").replace("-", "_")
    return difflib.SequenceMatcher(None, variable.casefold(), written).ratio() > ALIKE
