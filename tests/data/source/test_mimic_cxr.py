"""MIMIC-CXR-JPG with MIMIC-IV, from small files made by hand in their format."""

import pandas as pd
import pytest
from owners_format import CHEXPERT, FINDINGS, labels, positives, write

from cxrcausal.data import read_table
from cxrcausal.errors import TableError

METADATA = "mimic-cxr-2.0.0-metadata.csv.gz"
LABELS = "mimic-cxr-2.0.0-chexpert.csv.gz"


@pytest.fixture
def folder(tmp_path):
    """Three studies of two patients, one study without labels, MIMIC-IV unpacked beside it."""
    jpg, hosp = tmp_path / "mimic-cxr-jpg", tmp_path / "mimiciv" / "2.2" / "hosp"
    write(
        jpg / METADATA,
        "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,"
        "Columns,StudyDate,StudyTime,ProcedureCodeSequence_CodeMeaning,"
        "ViewCodeSequence_CodeMeaning,PatientOrientationCodeSequence_CodeMeaning",
        "02aa-1,10000032,50414267,CHEST (PA AND LAT),PA,3056,2544,21800506,213014.531,a,b,Erect",
        "174413ec,10000032,50414267,CHEST (PA AND LAT),LATERAL,3056,2544,21800506,213014.5,a,b,E",
        "2a2277a9,10000032,53189527,CHEST (PORTABLE AP),AP,2705,2539,21820626,165500.312,a,b,E",
        "e084de3b,10000935,50578979,CHEST (PORTABLE AP),LPO,2705,2539,21820626,1655.3,a,b,",
    )
    write(
        jpg / LABELS,
        f"subject_id,study_id,{CHEXPERT}",
        f"10000032,50414267,{labels(no_finding=1.0)}",
        f"10000032,53189527,{labels(edema=1.0, pneumonia=-1.0, pneumothorax=0.0)}",
    )
    write(
        jpg / "mimic-cxr-2.0.0-split.csv.gz",
        "dicom_id,study_id,subject_id,split",
        "02aa-1,50414267,10000032,train",
        "174413ec,50414267,10000032,train",
        "2a2277a9,53189527,10000032,validate",
        "e084de3b,50578979,10000935,test",
    )
    write(
        hosp / "patients.csv.gz",
        "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod",
        "10000032,F,52,2180,2014 - 2016,2180-09-09",
        "10000935,M,91,2180,2014 - 2016,",
    )
    write(
        hosp / "admissions.csv.gz",
        "subject_id,hadm_id,admittime,race",
        "10000032,1,2180-05-06 22:23:00,WHITE",
        "10000032,2,2180-06-26 18:27:00,WHITE - RUSSIAN",
        "10000032,3,2181-06-26 18:27:00,UNKNOWN",
        "10000935,4,2182-06-26 18:27:00,BLACK/AFRICAN AMERICAN",
        "10000935,5,2183-06-26 18:27:00,ASIAN - CHINESE",
    )
    return jpg


def test_golden(folder):
    table = read_table(folder, source="mimic_cxr")
    assert table["patient_id"].tolist() == ["mimic-10000032"] * 3 + ["mimic-10000935"]
    assert table["study_id"].tolist()[1:3] == ["mimic-50414267", "mimic-53189527"]
    place = folder / "files" / "p10" / "p10000032" / "s50414267" / "02aa-1.jpg"
    assert table["image"].iloc[0] == str(place)
    assert table["split"].tolist() == ["train", "train", "validation", "test"]
    assert table["age"].tolist() == [52.0, 52.0, 54.0, 91.0]
    assert table["sex"].tolist() == ["Female"] * 3 + ["Male"]
    assert table["view"].tolist()[:3] == ["PA", "LATERAL", "AP"]
    assert pd.isna(table["view"].iloc[3])
    assert table["race"].tolist()[:3] == ["White"] * 3
    assert pd.isna(table["race"].iloc[3])
    assert table["dataset"].tolist() == ["MIMIC-CXR"] * 4
    assert [positives(row) for _, row in table.iterrows()] == [
        {"no_finding"},
        {"no_finding"},
        {"edema"},
        set(),
    ]
    assert pd.isna(table["pneumonia"].iloc[2])
    assert table[["fracture", "no_finding"]].iloc[2].tolist() == ["negative", "negative"]
    # a study without a row of labels is not one whose report is silent
    assert table[FINDINGS].iloc[3].isna().all()
    record = table.attrs["cxrcausal"]
    assert record["never_labelled"] == []
    assert record["notes"] == {
        "age over 89, read as 91": 1,
        "view is none of the graph's": 1,
        "admissions disagree about race, unknown": 1,
        "row without any report label, its findings unknown": 1,
    }


def test_policies_reach_the_labels(folder):
    silent = read_table(folder, source="mimic_cxr", not_mentioned="unknown", uncertain="positive")
    assert pd.isna(silent["fracture"].iloc[2])
    assert silent["pneumonia"].iloc[2] == "positive"
    assert silent["pneumothorax"].iloc[2] == "negative"
    soft = read_table(folder, source="mimic_cxr", uncertain="likelihood")
    assert soft["pneumonia: likelihood"].notna().tolist() == [False, False, True, False]


def test_without_mimic_iv_the_patients_are_unknown_and_counted(folder, tmp_path):
    (tmp_path / "mimiciv").rename(tmp_path / "elsewhere.zip")
    table = read_table(folder, source="mimic_cxr")
    assert table[["age", "sex", "race"]].isna().all(axis=None)
    assert table.attrs["cxrcausal"]["notes"]["no MIMIC-IV patients.csv: age and sex unknown"] == 4


def test_an_age_before_a_top_coded_one_is_unknown(folder, tmp_path):
    write(
        tmp_path / "mimiciv" / "2.2" / "hosp" / "patients.csv.gz",
        "subject_id,gender,anchor_age,anchor_year",
        "10000032,F,2,2184",
        "10000935,M,91,2190",
    )
    table = read_table(folder, source="mimic_cxr")
    assert table["age"].tolist()[2] == 0.0
    assert table["age"].isna().tolist() == [True, True, False, True]
    notes = table.attrs["cxrcausal"]["notes"]
    assert notes["age below 0 by MIMIC-IV's anchor, unknown"] == 2
    assert notes["age before a top-coded one, unknown"] == 1


@pytest.mark.parametrize("missing", [METADATA, LABELS])
def test_a_missing_file_is_named_with_what_its_owner_calls_it(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(TableError, match=rf"has no '{missing}', the .*MIMIC-CXR-JPG.*Looked in"):
        read_table(folder, source="mimic_cxr")


def test_of_several_versions_of_mimic_iv_the_latest_is_read(folder, tmp_path):
    write(
        tmp_path / "mimiciv" / "3.1" / "hosp" / "patients.csv.gz",
        "subject_id,gender,anchor_age,anchor_year",
        "10000032,F,60,2180",
    )
    assert read_table(folder, source="mimic_cxr")["age"].tolist()[:3] == [60.0, 60.0, 62.0]


def test_unpacked_files_are_read_too(folder):
    packed = folder / LABELS
    text = pd.read_csv(packed, dtype="str")
    packed.unlink()
    text.to_csv(folder / LABELS.removesuffix(".gz"), index=False)
    assert read_table(folder, source="mimic_cxr")["edema"].iloc[2] == "positive"


def test_what_mimic_does_not_have_is_refused_by_file_row_and_column(folder):
    write(
        folder / LABELS,
        f"subject_id,study_id,{CHEXPERT}",
        f"10000032,53189527,{labels(edema=3)}",
    )
    with pytest.raises(TableError, match=r"mimic-cxr-jpg'.*'Edema', row 2: found 3.0.*Allowed"):
        read_table(folder, source="mimic_cxr")


def test_a_key_that_stands_twice_is_refused(folder):
    row = f"10000032,53189527,{labels(edema=1)}"
    write(folder / LABELS, f"subject_id,study_id,{CHEXPERT}", row, row)
    with pytest.raises(TableError, match=r"'study_id'\] \['10000032', '53189527'\] stands twice"):
        read_table(folder, source="mimic_cxr")
