"""Tables of several sources as one, with the record of how each was read.

`pandas.concat` drops ``attrs`` wherever two tables differ in them, and with them the policies
under which "not mentioned" and "uncertain" were read. A fit would then save nothing of it.
"""

import logging
from collections.abc import Iterable
from typing import Any

import pandas as pd

from cxrcausal.errors import TableError, summarise

__all__ = ["join_tables"]

logger = logging.getLogger("cxrcausal")


def join_tables(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Returns the rows of one table after those of the other, and what is recorded of each.

    Arguments:
        tables: What `read_table` gave, of one graph.

    Returns:
        A new table with the rows numbered anew, and the columns that any of them has, those of the
        first one first; what a table has no column for is missing in its rows. In
        ``attrs["cxrcausal"]`` the sources' names stand joined by a plus sign, policies are by
        source, notes name theirs, `never_labelled` lists what none of them labels, and `tables`
        keeps each record whole.

    Raises:
        TableError: If there is no table, one of them carries no record of how it was read, or they
            are of different graphs.
    """
    tables = list(tables)
    if not tables:
        raise TableError("there is no table to join")
    records = [dict(table.attrs.get("cxrcausal", {})) for table in tables]
    for position, record in enumerate(records):
        if "source" not in record:
            raise TableError(
                f"table {position} carries no record of how it was read; read it with read_table "
                '(source="graph" if its columns are the graph\'s own)'
            )
    graphs = {str(record["graph"]) for record in records if "graph" in record}
    if len(graphs) > 1:
        raise TableError(
            f"the tables are of different graphs: {summarise(sorted(graphs))}; read them with one"
        )
    bare = [table.copy(deep=False) for table in tables]
    for table in bare:
        table.attrs = {}  # pandas compares them, one by one
    _warn_of_shared_patients(bare, records)
    whole = pd.concat(bare, ignore_index=True)
    whole.attrs["cxrcausal"] = records[0] if len(records) == 1 else _joined(records)
    return whole


def _joined(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns one record of several."""
    names = list(dict.fromkeys(str(record["source"]) for record in records))
    notes: dict[str, int] = {}
    for record in records:
        for reason, count in record.get("notes", {}).items():
            named = f"{record['source']}: {reason}"
            notes[named] = notes.get(named, 0) + count
    never = [set(record.get("never_labelled", ())) for record in records]
    return {
        "source": "+".join(names),
        "graph": records[0].get("graph"),
        "policies": {str(r["source"]): r["policies"] for r in records if r.get("policies")},
        "never_labelled": sorted(set.intersection(*never)),
        "notes": notes,
        "tables": records,
    }


def _warn_of_shared_patients(tables: list[pd.DataFrame], records: list[dict[str, Any]]) -> None:
    """Warns of patient ids that two sources share: whoever groups by them takes two for one."""
    seen: dict[str, set[object]] = {}
    for table, record in zip(tables, records, strict=True):
        if "patient_id" not in table:
            continue
        own = set(table["patient_id"].dropna())
        for source, others in seen.items():
            if source != record["source"] and (shared := own & others):
                logger.warning(
                    "%d patient id(s) stand in both %s and %s (%s); if they are not the same "
                    "people, make them differ before grouping by patient",
                    len(shared), source, record["source"], summarise(sorted(map(str, shared)), 3),
                )  # fmt: skip
        seen.setdefault(str(record["source"]), set()).update(own)
