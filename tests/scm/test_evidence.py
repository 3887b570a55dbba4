"""What is known of rows: read once, said once, and handed on in parts."""

import numpy as np
import pandas as pd
import pytest
import torch
from closed_form import COMPLETE, clinic, table_of

from cxrcausal.errors import UnobservedError
from cxrcausal.scm import FlowSCM
from cxrcausal.scm.evidence import Chunk, Evidence, chunks, read_evidence

SCM = clinic()
ROWS = pd.concat(
    [table_of(SCM, COMPLETE), table_of(SCM, {"age": 20.0}), table_of(SCM, {"edema": 1.0})],
).set_axis(["a", "b", "c"])


def test_values_are_those_of_the_rows():
    """Numbers where a cell is known, NaN where not, under the labels of the rows."""
    known = read_evidence(ROWS, SCM.graph, SCM._fitted)
    assert known.index.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(known.values["age"], [40.0, 20.0, np.nan])
    np.testing.assert_array_equal(known.values["edema"], [0.0, np.nan, 1.0])
    assert not known.unobserved
    assert not known.absent
    assert [topic for topic, _ in known.remarks(SCM.mechanisms)] == ["missing"]


def test_parts_are_rows_of_the_whole():
    """Consecutive rows with their table; rows at positions with their labels."""
    known = read_evidence(ROWS, SCM.graph, SCM._fitted)
    part = known.part(Chunk(1, 3))
    assert part.index.tolist() == ["b", "c"]
    assert part.plans is known.plans
    pd.testing.assert_frame_equal(part.table, known.table.iloc[1:])
    taken = known.take(torch.tensor([2, 0]))
    assert taken.index.tolist() == ["c", "a"]
    for name, x in known.values.items():
        np.testing.assert_array_equal(part.values[name], x[1:])
        np.testing.assert_array_equal(taken.values[name], x[[2, 0]])


def test_values_alone_are_evidence_too():
    """Without a table, of rows that have but labels."""
    values = {"age": torch.tensor([20.0]).double()}
    known = Evidence.of(SCM.mechanisms, {}, values, pd.Index(["x"]))
    assert known.index.tolist() == ["x"]
    assert known.device == torch.device("cpu")
    assert known.table.empty


def test_what_no_fit_observed_reads_as_unknown():
    """It is counted and said, or an error on request; so is a column that is absent."""
    seen = {name: m for name, m in SCM.mechanisms.items() if name != "effusion"}
    observed = SCM.observed | {"severity": ("none", "mild")}
    scm = FlowSCM.from_mechanisms(
        SCM.graph, seen, observed={v: x for v, x in observed.items() if v != "effusion"}
    )
    rows = ROWS.drop(columns="view")
    known = read_evidence(rows, scm.graph, scm._fitted)
    assert known.unobserved == {"effusion": 1, "severity=severe": 1}
    assert known.values["severity"].isnan().all()
    assert known.absent == ("view",)
    words = dict(known.remarks(scm.mechanisms))
    assert any("effusion (1 rows), severity=severe (1 rows)" in text for text in words.values())
    assert any("no column for view" in text for text in words.values())
    with pytest.raises(UnobservedError, match="effusion"):
        read_evidence(rows, scm.graph, scm._fitted, unobserved="error")


@pytest.mark.parametrize(("rows", "size"), [(0, 4), (7, 3), (6, 3), (2, 0)])
def test_chunks_cover_every_row_once(rows, size):
    """In order; one empty chunk where there is no row."""
    found = list(chunks(rows, size))
    assert [i for chunk in found for i in range(rows)[chunk.rows]] == list(range(rows))
    assert len(found) == max(1, -(-rows // max(1, size)))
