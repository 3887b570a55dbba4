"""A table means the same from a file as from memory: levels, names, numbers and what is
unknown."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxrcausal.data import read_table, split_by_patient
from cxrcausal.data.csv_file import MISSING
from cxrcausal.graph import CausalGraph

WORDS = [*MISSING, "inf", "True", "007", "1e3", "Former"]
QUOTED = ", ".join(f'"{word}"' for word in WORDS)
GRAPH = CausalGraph.from_yaml(f"""
name: words
version: 1.0
variables:
  age: {{kind: continuous, unit: years, bounds: [0, 110], resolution: 1}}
  word: {{kind: nominal, levels: [{QUOTED}]}}
  sex: {{kind: binary, levels: [Female, Male]}}
edges:
  - {{from: age, to: word, kind: risk, rationale: "a test"}}
""")
SAME = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

rows = st.lists(
    st.tuples(
        st.sampled_from([None, *range(100)]),
        st.sampled_from([None, *WORDS]),
        st.sampled_from(["Female", "Male"]),
        st.from_regex(r"\A[0-9]{1,20}\Z").filter(str.isascii)
        | st.sampled_from(["p-1", "1.0", "1e5"]),
    ),
    min_size=1,
    max_size=8,
)


@SAME
@given(rows=rows)
def test_a_file_says_what_was_written(tmp_path, rows):
    """Whatever the levels and the patients are called."""
    table = pd.DataFrame(rows, columns=["age", "word", "sex", "patient_id"])
    table.to_csv(tmp_path / "a.csv", index=False)
    found = read_table(tmp_path / "a.csv", source="graph", graph=GRAPH)
    for name in ("word", "sex", "patient_id"):
        read, written = (
            t[name].astype(object).where(t[name].notna(), None) for t in (found, table)
        )
        assert read.tolist() == written.tolist()
    assert np.array_equal(found["age"], table["age"].astype(float), equal_nan=True)
    assert (split_by_patient(found) == split_by_patient(table)).all()


@pytest.mark.parametrize("word", ["", *MISSING])
def test_what_is_no_level_and_no_number_is_unknown(tmp_path, word):
    (tmp_path / "a.csv").write_text(f"age,word,sex\n41,Former,Male\n{word},Former,{word}\n")
    found = read_table(tmp_path / "a.csv", source="graph", graph=GRAPH)
    assert found[["age", "sex"]].isna().to_numpy().tolist() == [[False, False], [True, True]]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["0", "1", ""], ["Female", "Male", None]),
        (["False", "True", "NA"], ["Female", "Male", None]),
        (["1.0", "", "0.0"], ["Male", None, "Female"]),
        (["Male", "Female", "None"], ["Male", "Female", None]),
    ],
)
def test_levels_as_numbers_and_truth_values(tmp_path, cells, expected):
    table = pd.DataFrame({"age": 40, "word": "Former", "sex": cells})
    table.to_csv(tmp_path / "a.csv", index=False)
    found = read_table(tmp_path / "a.csv", source="graph", graph=GRAPH)["sex"]
    assert found.astype(object).where(found.notna(), None).tolist() == expected


def test_columns_that_are_kept_lose_nothing(tmp_path):
    """A number with leading zeros or too many digits for a float is a name; others are numbers."""
    (tmp_path / "a.csv").write_text(
        "age,word,sex,study,accession,visits,empty,region\n"
        "40,Former,Male,0012,12345678901234567,3,,NA\n40,Former,Male,7,9,NA,,None\n"
    )
    kept = ["study", "accession", "visits", "empty", "region"]
    found = read_table(tmp_path / "a.csv", source="graph", graph=GRAPH, keep=kept)
    assert found["study"].tolist() == ["0012", "7"]
    assert found["accession"].tolist() == ["12345678901234567", "9"]
    assert found["visits"].tolist()[0] == 3.0
    assert found["empty"].isna().all()
    assert found["region"].tolist() == ["NA", "None"]


def test_a_patient_is_no_decimal_number():
    """Beside an empty cell pandas holds 7 as 7.0, which is the same patient all the same."""
    table = pd.DataFrame({"age": 40, "word": "Former", "sex": "Male", "patient_id": [7, 8]})
    whole = read_table(table, source="graph", graph=GRAPH)
    beside_nan = read_table(table.astype({"patient_id": float}), source="graph", graph=GRAPH)
    mixed = table.assign(patient_id=pd.Series([7.0, "8"], dtype=object))
    assert whole["patient_id"].tolist() == ["7", "8"]
    assert beside_nan["patient_id"].tolist() == ["7", "8"]
    assert read_table(mixed, source="graph", graph=GRAPH)["patient_id"].tolist() == ["7", "8"]
    parts = [
        split_by_patient(t).tolist() for t in (whole, table, table.astype({"patient_id": float}))
    ]
    assert parts[0] == parts[1] == parts[2]
