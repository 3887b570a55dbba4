"""Tables of several sources as one: rows, policies, notes, and patients that are not the same."""

import logging

import pandas as pd
import pytest

import cxrcausal as cx
from cxrcausal.data import join_tables, read_table
from cxrcausal.errors import TableError

GRAPH = cx.load_graph("cxr19")


def table(source, ids, **columns):
    """A table as `read_table` leaves it, of a few patients."""
    frame = pd.DataFrame({"sex": ["Male"] * len(ids), "patient_id": ids, **columns})
    read = read_table(frame, source="graph")
    read.attrs["cxrcausal"] |= {
        "source": source,
        "policies": {"uncertain": f"as {source}"},
        "notes": {"odd": len(ids)},
    }
    return read


def test_rows_and_records_stay():
    first, second = table("nih", ["a", "b"], edema=["positive", None]), table("chexpert", ["c"])
    whole = join_tables([first, second])
    assert list(whole["patient_id"]) == ["a", "b", "c"]
    assert whole.index.is_unique
    record = whole.attrs["cxrcausal"]
    assert record["source"] == "nih+chexpert"
    assert record["policies"]["nih"] == {"uncertain": "as nih"}
    assert record["notes"] == {"nih: odd": 2, "chexpert: odd": 1}
    assert "edema" not in record["never_labelled"]
    assert "race" in record["never_labelled"]
    assert [part["source"] for part in record["tables"]] == ["nih", "chexpert"]
    assert first.attrs["cxrcausal"]["source"] == "nih"
    assert whole["edema"].dtype == first["edema"].dtype


def test_a_fit_keeps_the_record():
    """It is what the saved SCM says of how its table was read."""
    graph = cx.load_graph("cxr19")
    several = [
        table("nih", list("abcd"), sex=["Male", "Female"] * 2),
        table("chexpert", list("ef")),
    ]
    scm = cx.FlowSCM(graph).fit(join_tables(several), progress=False)
    assert set(scm.policies["policies"]) == {"nih", "chexpert"}


def test_one_table_is_itself():
    only = table("nih", ["a", "b"])
    whole = join_tables([only])
    pd.testing.assert_frame_equal(whole, only)
    assert whole.attrs == only.attrs


def test_patients_of_two_sources_with_one_id_are_said(caplog):
    with caplog.at_level(logging.WARNING, "cxrcausal"):
        join_tables([table("nih", ["1", "2"]), table("chexpert", ["2", "3"])])
    assert "1 patient id(s) stand in both nih and chexpert ('2')" in caplog.text
    caplog.clear()
    join_tables([table("nih", ["1", "2"]), table("nih", ["2", "3"])])
    assert "patient id(s)" not in caplog.text


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ([], "no table"),
        ([table("nih", ["a"]), pd.DataFrame({"sex": ["Male"]})], "table 1 carries no record"),
    ],
)
def test_what_cannot_be_joined_is_refused(tables, words):
    with pytest.raises(TableError, match=words):
        join_tables(tables)


def test_tables_of_two_graphs_are_refused():
    other = table("chexpert", ["b"])
    other.attrs["cxrcausal"]["graph"] = "another"
    with pytest.raises(TableError, match="different graphs: 'another', 'cxr19'"):
        join_tables([table("nih", ["a"]), other])
