"""BRAX, from a small spreadsheet made by hand in its format."""

import pandas as pd
import pytest
from owners_format import CHEXPERT, labels, positives, write

from cxrcausal.data import read_table
from cxrcausal.errors import TableError

HEADER = (
    f",DicomPath,PngPath,PatientID,PatientSex,PatientAge,AccessionNumber,StudyDate,{CHEXPERT},"
    "ViewPosition,Rows,Columns,Manufacturer"
)


def row(number, patient, sex, age, view, **given):
    png = f"images/id_{patient}/Study_1/Series_1/image-{number}.png"
    dicom = f"Anonymized_DICOMs/id_{patient}/image-{number}.dcm"
    return (
        f"{number},{dicom},{png},{patient},{sex},{age},0{number},20120101,{labels(**given)},"
        f"{view},2000,2000,1"
    )


def test_golden(tmp_path):
    write(
        tmp_path / "master_spreadsheet_update.csv",
        HEADER,
        row(1, "0a1b", "F", "45", "PA", no_finding=1),
        row(2, "2c3d", "M", "85 or more", "LL", edema=1, pneumonia=-1, fracture=0),
        row(3, "4e5f", "O", "50-54", "RLD", no_finding=1, atelectasis=1),
        row(4, "6a7b", "F", "", ""),
    )
    table = read_table(tmp_path, source="brax")
    assert table["patient_id"].tolist()[:2] == ["brax-0a1b", "brax-2c3d"]
    assert table["study_id"].tolist()[:2] == ["brax-01", "brax-02"]
    place = tmp_path / "images" / "id_0a1b" / "Study_1" / "Series_1" / "image-1.png"
    assert table["image"].iloc[0] == str(place)
    assert table["age"].tolist()[:3] == [45.0, 85.0, 50.0]
    assert table["sex"].astype(object).where(table["sex"].notna(), None).tolist() == [
        "Female", "Male", None, "Female",
    ]  # fmt: skip
    assert table["view"].tolist()[:2] == ["PA", "LATERAL"]
    assert table["view"].isna().tolist() == [False, False, True, True]
    assert [positives(r) for _, r in table.iterrows()] == [
        {"no_finding"}, {"edema"}, {"no_finding", "atelectasis"}, set(),
    ]  # fmt: skip
    assert pd.isna(table["pneumonia"].iloc[1])
    record = table.attrs["cxrcausal"]
    assert record["never_labelled"] == ["race"]
    assert record["notes"] == {
        "age written as a range, its lower end taken": 1,
        "age '85 or more' read as 85": 1,
        "sex 'O' read as unknown": 1,
        "view is none of the graph's": 1,
        "no_finding positive beside a finding": 1,
        "no_finding negative without a finding": 1,
    }


def test_numbers_alone_are_ages_too(tmp_path):
    file = write(
        tmp_path / "a.csv", HEADER, row(1, "x", "F", 45, "PA"), row(2, "y", "M", 50, "AP")
    )
    assert read_table(file, source="brax")["age"].tolist() == [45.0, 50.0]


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (("1", "x", "F", "old", "PA"), "'PatientAge', row 0: 'old' is not a number"),
        (("1", "x", "W", "45", "PA"), "'PatientSex', row 0: found 'W'"),
        (("1", "x", "F", "45", "oblique"), "'ViewPosition', row 0: found 'oblique'"),
    ],
)
def test_what_brax_does_not_have_is_refused(tmp_path, cells, words):
    file = write(tmp_path / "a.csv", HEADER, row(*cells))
    with pytest.raises(TableError, match=rf"a.csv': column {words}"):
        read_table(file, source="brax")
