"""PadChest, from a small table made by hand in its format."""

import string
from contextlib import nullcontext

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from owners_format import FINDINGS, positives, write

from cxrcausal.data import read_table
from cxrcausal.data.source import Policies
from cxrcausal.data.source.padchest import LABELS
from cxrcausal.errors import TableError

FILE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
HEADER = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,"
    "ViewPosition_DICOM,Projection,MethodProjection,Pediatric,Modality_DICOM,Report,MethodLabel,"
    "Labels,Localizations"
)


def row(number, labels, born="1940", sex="F", view="PA", patient="8387"):
    return (
        f"{number},{patient}_{number}.png,12,20140915,2063{number},{patient},{born},{sex},"
        f'POSTEROANTERIOR,{view},Manual review of DICOM fields,No,DX,"sin, hallazgos",'
        f'Physician,"{labels}","[]"'
    )


def test_golden(tmp_path):
    write(
        tmp_path / f"{FILE}.gz",
        HEADER,
        row(1, "['normal']"),
        row(2, "['cardiomegaly', ' pleural effusion', 'pacemaker']", view="AP_horizontal"),
        row(3, "['NSG tube']", born="1899", sex="O", view="COSTAL"),
        row(4, "['unchanged', 'Laminar_Atelectasis']", born="2020", view="L"),
        row(5, "[]", born="", sex="", view=""),
        row(6, "['hilar congestion', 'scoliosis']"),
    )
    table = read_table(tmp_path, source="padchest")
    assert table["patient_id"].tolist() == ["padchest-8387"] * 6
    assert table["study_id"].iloc[0] == "padchest-20631"
    assert table["image"].iloc[0] == str(tmp_path / "12" / "8387_1.png")
    assert table["age"].tolist()[:2] == [74.0, 74.0]
    assert table["age"].isna().tolist() == [False, False, True, True, True, False]
    assert table["view"].iloc[[0, 1, 3]].tolist() == ["PA", "AP", "LATERAL"]
    assert [positives(r) for _, r in table.iterrows()] == [
        {"no_finding"},
        {"cardiomegaly", "pleural_effusion", "support_devices"},
        {"support_devices"},
        {"atelectasis"},
        set(),
        set(),
    ]
    assert table["no_finding"].iloc[1] == "negative"
    assert pd.isna(table["no_finding"].iloc[2])  # a tube alone: nobody says what else
    assert table["edema"].iloc[1] == "negative"
    assert pd.isna(table["edema"].iloc[3])  # unchanged, but from what?
    assert table[FINDINGS].iloc[4].isna().all()
    assert pd.isna(table["edema"].iloc[5])
    assert table["no_finding"].iloc[5] == "negative"
    record = table.attrs["cxrcausal"]
    assert record["never_labelled"] == ["race"]
    assert record["notes"] == {
        "born after the study, age unknown": 1,
        "age out of bounds": 1,
        "sex read as unknown": 1,
        "view is none of the graph's": 1,
        "label in another spelling than PadChest's": 1,
        "unchanged, excluded or suboptimal: what is not listed is unknown": 1,
    }


def test_silence_follows_the_policy_but_where_all_is_normal(tmp_path):
    file = write(tmp_path / "a.csv", HEADER, row(1, "['normal']"), row(2, "['pneumonia']"))
    table = read_table(file, source="padchest", not_mentioned="unknown")
    assert table["edema"].iloc[0] == "negative"
    assert pd.isna(table["edema"].iloc[1])


def test_what_is_normal_and_unchanged_has_no_finding(tmp_path):
    file = write(tmp_path / "a.csv", HEADER, row(1, "['normal', 'unchanged']"))
    found = read_table(file, source="padchest").iloc[0]
    assert (found["no_finding"], found["edema"]) == ("positive", "negative")


def test_every_label_of_padchest_is_known_once():
    """193 labels (counted in the published table); none is both a finding and without one."""
    assert len(LABELS.labels) == 193
    said = {label for labels in LABELS.mapping.values() for label in labels}
    assert not said & set(LABELS.others)
    assert not said & set(LABELS.vague)
    assert set(LABELS.mapping) == set(FINDINGS) - {"no_finding"}
    assert set(LABELS.unclear) <= set(LABELS.mapping)


def test_each_label_reads_as_what_it_is_said_to_be():
    cells = pd.Series(LABELS.labels, name="Labels")
    table = pd.DataFrame(LABELS.read(cells, lambda cell: [cell], Policies(), {}))
    for label, row in zip(LABELS.labels, table.to_dict("records"), strict=True):
        expected = {name for name, labels in LABELS.mapping.items() if label in labels}
        expected |= {"no_finding"} if label == "normal" else set()
        assert {name for name, level in row.items() if level == "positive"} == expected
        for name, labels in LABELS.unclear.items():
            assert not (label in labels and name not in expected) or pd.isna(row[name])


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("['pneumonai']", r"row 0: 'pneumonai' is not a finding of PadChest; did you mean 'pneum"),
        ("pneumonia", "row 0: 'pneumonia' is not a list of labels"),
        ("['a', 3]", "is not a list of labels"),
        ("{'a': 1}", "is not a list of labels"),
        ("__import__('os')", "is not a list of labels"),
    ],
)
def test_what_is_no_list_of_its_labels_is_refused(tmp_path, labels, words):
    file = write(tmp_path / "a.csv", HEADER, row(1, labels))
    with pytest.raises(TableError, match=rf"a.csv': column 'Labels'.*{words}"):
        read_table(file, source="padchest")


@settings(deadline=None, max_examples=50)
@given(st.text(string.ascii_lowercase + " |", max_size=20))
def test_any_cell_is_read_or_refused_in_words(text):
    labels = {label.casefold() for label in LABELS.labels} | {""}
    known = {" ".join(part.split()) for part in text.split("|")} <= labels
    cells = pd.Series([text], name="Labels")
    with nullcontext() if known else pytest.raises(TableError, match="not a finding of PadChest"):
        assert set(LABELS.read(cells, lambda c: c.split("|"), Policies(), {})) == set(FINDINGS)
