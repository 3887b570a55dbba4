"""Age, sex and view are what their own tags say, or unknown and counted."""

import logging

import numpy as np
import pandas as pd
import pytest
from dicom_file import RAMP, dataset, write

from cxrcausal.data import read_dicom_tags, read_table
from cxrcausal.data.dicom.tags import age_in_years
from cxrcausal.errors import ImageError


@pytest.fixture
def tags(tmp_path):
    """What is read of a file with these attributes."""

    def read(**attributes):
        path = write(tmp_path / "a.dcm", dataset(RAMP, **attributes))
        table = read_dicom_tags([path])
        return table.iloc[0], table.attrs["cxrcausal"]["notes"]

    return read


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("058Y", 58),
        ("58Y", 58),
        ("000Y", 0),
        ("011M", 0),
        ("023M", 1),
        ("052W", 0),
        ("053W", 1),
        ("006D", 0),
        ("366D", 1),
        ("999Y", 999),
        ("62", 62),
        (" 058y ", 58),
    ],
)
def test_ages_are_whole_years(text, years):
    """PS3.5 6.2; whole years, as every source of the graph records them."""
    assert int(age_in_years(text)) == years


@pytest.mark.parametrize("text", ["", "Y", "1058Y", "-01Y", "58 years", "5.8Y", "O58Y", "٥٨Y"])
def test_what_is_no_age_is_unknown(text):
    assert age_in_years(text) is None


@pytest.mark.filterwarnings("ignore:Invalid value for VR AS")
def test_what_the_tags_say(tags):
    row, notes = tags(
        PatientAge="011M", PatientSex="F", ViewPosition="AP", Manufacturer="ACME",
        PatientID="17", StudyInstanceUID="1.2.3",
    )  # fmt: skip
    assert row[["age", "sex", "view", "manufacturer"]].tolist() == [0.0, "Female", "AP", "ACME"]
    assert row[["patient_id", "study_id"]].tolist() == ["17", "1.2.3"]
    assert notes == {}
    row, notes = tags(PatientAge="old", PatientSex="O", ViewPosition="LLD")
    assert row[["age", "sex", "view"]].isna().all()
    assert sorted(notes) == [
        "PatientAge 'old' read as unknown",
        "PatientSex 'O' read as unknown",
        "ViewPosition 'LLD' read as unknown",
    ]


@pytest.mark.parametrize("view", ["LL", "RL"])
def test_lateral_views_are_one_level(tags, view):
    assert tags(ViewPosition=view)[0]["view"] == "LATERAL"


def test_the_view_is_that_of_its_own_tag(tags):
    """Teaching files write PA into Patient Position; descriptions say anything (see dicom/)."""
    row, notes = tags(PatientPosition="PA", SeriesDescription="CHEST PA", StudyDescription="AP")
    assert row["view"] is None
    assert notes == {}


def test_absent_and_empty_tags_are_unknown_and_no_note(tags):
    row, notes = tags(PatientAge="", PatientSex="", ViewPosition="", Manufacturer="")
    assert row[["age", "sex", "view", "manufacturer"]].isna().all()
    assert notes == {}


def test_tags_are_a_table_that_the_graph_takes(tmp_path):
    paths = [
        write(tmp_path / f"{sex}.dcm", dataset(RAMP, PatientAge="058Y", PatientSex=sex))
        for sex in "FM"
    ]
    table = read_table(read_dicom_tags(paths), source="graph", keep="manufacturer")
    assert table["sex"].tolist() == ["Female", "Male"]
    assert table["age"].tolist() == [58.0, 58.0]
    assert table["image"].tolist() == list(map(str, paths))
    assert table["view"].isna().all()


def test_no_pixels_are_needed(tmp_path):
    data = dataset(RAMP, PatientSex="M")
    whole = write(tmp_path / "a.dcm", data).read_bytes()
    (tmp_path / "a.dcm").write_bytes(whole[: len(whole) // 2])
    assert read_dicom_tags([tmp_path / "a.dcm"])["sex"].tolist() == ["Male"]


def test_a_file_that_is_none_is_refused_or_skipped(tmp_path, caplog):
    good = write(tmp_path / "good.dcm", dataset(RAMP))
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(bytes(999))
    with pytest.raises(ImageError, match=r"bad\.dcm' is damaged or no DICOM file"):
        read_dicom_tags([good, bad])
    with pytest.raises(ImageError, match=r"none\.dcm' cannot be opened: No such file"):
        read_dicom_tags([tmp_path / "none.dcm"])
    with caplog.at_level(logging.WARNING, logger="cxrcausal"):
        table = read_dicom_tags([bad, good], damaged="skip")
    assert len(table) == 1
    assert table.attrs["cxrcausal"]["notes"] == {"files that are no DICOM": 1}
    assert "bad.dcm" in caplog.text
    with pytest.raises(ImageError, match="damaged is 'ignore'; allowed"):
        read_dicom_tags([good], damaged="ignore")
    with pytest.raises(ImageError, match="must be several files"):
        read_dicom_tags(good)


def test_no_files_are_an_empty_table():
    table = read_dicom_tags([])
    assert list(table) == [
        "image", "patient_id", "study_id", "age", "sex", "view", "manufacturer",
    ]  # fmt: skip
    assert table.empty


@pytest.mark.filterwarnings("ignore:Invalid value for VR AS")
def test_the_shared_files(shared_data):
    """As their README describes them: no view in its own tag where the header was made up."""
    names = ["nih_00000001_000", "nih_00000002_000", "rsna_pa_jpeg", "rsna_ap_jpeg"]
    table = read_dicom_tags([shared_data / "dicom" / f"{name}.dcm" for name in names])
    expected = {
        "age": [58.0, 81.0, 62.0, 68.0],
        "sex": ["Male", "Male", "Male", "Female"],
        "view": [np.nan, np.nan, "PA", "AP"],
    }
    for name, values in expected.items():
        pd.testing.assert_series_equal(
            table[name], pd.Series(values, name=name), check_dtype=False
        )
