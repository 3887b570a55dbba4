"""A table of one's own by a mapping of its columns."""

import contextlib

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from owners_format import write

from cxrcausal.data import read_table
from cxrcausal.data.source.mapping import mapped_source
from cxrcausal.errors import CxrCausalError, TableError

WARD = (
    "MRN,Patient Gender,Age,Projection,Effusion,Picture,Set",
    "7,F,058Y,PA,yes,a.png,train",
    "0007,M,61,AP,no,b.png,val",
    "12,F,414,PA,?,c.png,",
)
MAPPING = {
    "MRN": {"to": "patient_id", "prefix": "ward-"},
    "Patient Gender": {"to": "sex", "values": {"F": "Female", "M": "Male"}},
    "Age": "age",
    "Projection": "view",
    "Effusion": {
        "to": "pleural_effusion",
        "values": {"yes": "positive", "no": "negative", "?": None},
    },
    "Picture": "image",
    "Set": "split",
}
YAML = """\
MRN: {to: patient_id, prefix: ward-}
Patient Gender: {to: sex, values: {F: Female, M: Male}}
Age: age
Projection: view
Effusion: {to: pleural_effusion, values: {yes: positive, no: negative, "?": }}
Picture: image
Set: split
"""


@pytest.fixture
def ward(tmp_path):
    return write(tmp_path / "ward" / "list.csv", *WARD)


def check(table, ward):
    assert table["patient_id"].tolist() == ["ward-7", "ward-0007", "ward-12"]
    assert table["sex"].tolist() == ["Female", "Male", "Female"]
    assert table["age"].tolist()[:2] == [58.0, 61.0]
    assert table["view"].tolist() == ["PA", "AP", "PA"]
    assert table["pleural_effusion"].tolist()[:2] == ["positive", "negative"]
    assert table["pleural_effusion"].isna().tolist() == [False, False, True]
    assert table["image"].iloc[0] == str(ward.parent / "a.png")
    assert table["split"].tolist()[:2] == ["train", "validation"]
    assert table["edema"].isna().all()
    record = table.attrs["cxrcausal"]
    assert record["source"] == "mapping"
    assert "edema" in record["never_labelled"]
    assert record["notes"] == {"age written with its unit, as 058Y": 1, "age out of bounds": 1}


def test_a_dict(ward):
    check(read_table(ward, source=MAPPING), ward)


def test_a_yaml_file_says_the_same(ward, tmp_path):
    """`yes` and `no` are words there too."""
    file = tmp_path / "mapping.yaml"
    file.write_text(YAML, encoding="utf-8")
    check(read_table(ward, source=str(file)), ward)
    check(read_table(ward, source=file), ward)


def test_a_folder_with_one_table(ward):
    check(read_table(ward.parent, source=MAPPING), ward)
    write(ward.parent / "another.csv", *WARD)
    with pytest.raises(TableError, match=r"should hold one table.*'another.csv', 'list.csv'"):
        read_table(ward.parent, source=MAPPING)


def test_the_shortest_mapping(ward):
    frame = pd.DataFrame({"Patient Gender": ["Female", None]}, index=["x", "y"])
    table = read_table(frame, source={"Patient Gender": "sex"})
    assert table.index.tolist() == ["x", "y"]
    assert table["sex"].tolist()[0] == "Female"
    assert "patient_id" not in table


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({}, "the mapping is empty"),
        ({"Projection": "veiw"}, r"'Projection' is to be 'veiw'.*did you mean 'view'\?"),
        ({"Projektion": "view"}, r"needs the column 'Projektion'; did you mean 'Projection'\?"),
        ({"Age": "age", "MRN": "age"}, "'Age' and another column are both 'age'"),
        ({"Patient Gender": "sex"}, r"list.csv': the column 'Patient Gender': .*row 0: found 'F'"),
        ({"Age": 3}, "'Age' is 3; give a variable"),
        ({"Age": {"too": "age"}}, "'Age' is {'too': 'age'}; give a variable"),
        ({"Age": {"to": "age", "value": {}}}, r"the key 'value'; did you mean 'values'\?"),
        ({"Age": {"to": "age", "values": [1]}}, r"has values \[1\]; give {word: level}"),
        (
            {"Patient Gender": {"to": "sex", "values": {"F": "Femal"}}},
            r"reads 'F' as 'Femal', no level of 'sex'; did you mean 'Female'\?",
        ),
        (
            {"Effusion": {"to": "pleural_effusion", "values": {"yess": "positive"}}},
            r"'Effusion', row 0: the mapping does not say what 'yes' is; did you mean 'yess'\?",
        ),
        ({"Patient Gender": "split"}, "'Patient Gender', row 0: found 'f'"),
    ],
)
def test_what_is_not_understood_is_refused_with_the_nearest(ward, mapping, words):
    with pytest.raises(TableError, match=words):
        read_table(ward, source=mapping)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "expected 'column: variable' on each line"),
        ("- a", "expected 'column: variable' on each line"),
        ("a: [", "is not valid YAML"),
        ("Age: age\nAge: view\n", "line 2: 'Age' stands there twice|line 1: 'Age' stands"),
        ("Age: !!python/object:os.system age", "'Age'|column 'Age'|found 'F'|valid YAML"),
    ],
)
def test_broken_mapping_files_are_refused(ward, tmp_path, content, words):
    file = tmp_path / "mapping.yml"
    file.write_text(content, encoding="utf-8")
    if "python" in content:  # a tag is never acted upon: the word is read as a word
        assert read_table(ward, source=file)["age"].iloc[0] == 58.0
        return
    with pytest.raises(TableError, match=words):
        read_table(ward, source=file)


def test_an_absent_mapping_file_is_named():
    with pytest.raises(TableError, match=r"mapping 'nowhere.yaml' cannot be read"):
        read_table(pd.DataFrame(), source="nowhere.yaml")


WORDS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(max_size=5), WORDS, max_size=3))
def test_any_mapping_is_taken_or_refused_in_words(mapping):
    with contextlib.suppress(CxrCausalError):
        read_table(pd.DataFrame({"a": ["x"]}), source=mapping)


def test_numbers_mean_what_is_written():
    frame = pd.DataFrame({"e": [1.0, 0.0, -1.0, None]})
    mapping = {"e": {"to": "edema", "values": {1: "positive", "0": "negative", "-1": "~"}}}
    table = read_table(frame, source=mapping)
    assert table["edema"].tolist()[:2] == ["positive", "negative"]
    assert table["edema"].isna().tolist() == [False, False, True, True]


def test_contradictions_are_counted():
    frame = pd.DataFrame({"n": ["positive"], "e": ["positive"]})
    table = read_table(frame, source={"n": "no_finding", "e": "edema"})
    assert table.attrs["cxrcausal"]["notes"] == {"no_finding positive beside a finding": 1}


def test_the_source_says_what_it_reads():
    assert mapped_source({"Patient Gender": "sex"}).columns == {"sex": "Patient Gender"}
