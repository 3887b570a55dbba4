"""CheXpert and CheXpert Plus as folders, from small files made by hand in their format."""

import pandas as pd
import pytest
from owners_format import CHEXPERT, FINDINGS, labels, positives, write, write_json_lines

from cxrcausal.data import read_table
from cxrcausal.errors import TableError

PLUS = "df_chexpert_plus_240401.csv"
HEADER = (
    "path_to_image,path_to_dcm,frontal_lateral,ap_pa,deid_patient_id,patient_report_date_order,"
    "report,section_impression,age,sex,race,ethnicity,interpreter_needed,insurance_type,"
    "recent_bmi,deceased,split"
)


def row(path, side, view, patient, age, sex, race, part):
    dicom = path.replace(".jpg", ".dcm")
    return f'{path},{dicom},{side},{view},{patient},1,"FINAL, a report","1. No, none.",{age},{sex},{race},x,No,Medicare,22.5,No,{part}'  # noqa: E501


PATHS = [
    "train/patient00001/study1/view1_frontal.jpg",
    "train/patient00001/study1/view2_lateral.jpg",
    "valid/patient64541/study1/view1_frontal.jpg",
    "train/patient00002/study7/view1_frontal.jpg",
]


def label_row(path, **given):
    named = dict(zip(FINDINGS, CHEXPERT.split(","), strict=True))
    return {"path_to_image": path} | {named[n]: given.get(n) for n in FINDINGS}


@pytest.fixture
def plus(tmp_path):
    write(
        tmp_path / PLUS,
        HEADER,
        row(PATHS[0], "Frontal", "AP", "patient00001", 68.0, "Female", "White", "train"),
        row(PATHS[1], "Lateral", "", "patient00001", 68.0, "Female", "White", "train"),
        row(
            PATHS[2], "Frontal", "PA", "patient64541", 90.0, "Male",
            "Black or African American", "valid",
        ),
        row(PATHS[3], "Frontal", "AP", "patient00002", 0, "Unknown", "Other", "train"),
    )  # fmt: skip
    write_json_lines(
        tmp_path / "chexbert_labels" / "impression_fixed.json",
        label_row(PATHS[0], edema=1.0, fracture=0.0),
        label_row(PATHS[2], no_finding=1.0, support_devices=1.0),
        label_row(PATHS[1], edema=1.0, pneumonia=-1.0),
    )
    (tmp_path / "PNG").mkdir()
    return tmp_path


def test_chexpert_plus_golden(plus):
    table = read_table(plus, source="chexpert_plus")
    assert table["patient_id"].tolist()[::2] == ["chexpert-patient00001", "chexpert-patient64541"]
    assert table["study_id"].iloc[3] == "chexpert-patient00002-study7"
    assert table["image"].iloc[0] == str(plus / "PNG" / PATHS[0].replace(".jpg", ".png"))
    assert table["split"].tolist() == ["train", "train", "validation", "train"]
    assert table["age"].tolist()[:3] == [68.0, 68.0, 90.0]
    assert table["sex"].tolist()[:3] == ["Female", "Female", "Male"]
    assert table["race"].tolist()[:3] == ["White", "White", "Black"]
    assert table.loc[3, ["age", "sex", "race"]].isna().all()
    assert table["view"].tolist() == ["AP", "LATERAL", "PA", "AP"]
    assert [positives(r) for _, r in table.iterrows()] == [
        {"edema"},
        {"edema"},
        {"no_finding", "support_devices"},
        set(),
    ]
    assert pd.isna(table["pneumonia"].iloc[1])
    assert table["no_finding"].iloc[0] == "negative"
    assert table[FINDINGS].iloc[3].isna().all()
    assert table.attrs["cxrcausal"]["notes"] == {
        "age 0 read as unknown": 1,
        "sex 'Unknown' read as unknown": 1,
        "race is none of the graph's": 1,
        "row without any report label, its findings unknown": 1,
        "study whose views differ in a label": 1,
    }


def test_chexpert_plus_reads_the_whole_reports_labels_where_no_others_are(plus):
    labels_of = plus / "chexbert_labels"
    (labels_of / "impression_fixed.json").rename(labels_of / "report_fixed.json")
    assert read_table(plus, source="chexpert_plus")["edema"].iloc[0] == "positive"
    (labels_of / "report_fixed.json").rename(labels_of / "findings_fixed.json")
    with pytest.raises(TableError, match=r"no 'impression_fixed.json' or 'report_fixed.json'"):
        read_table(plus, source="chexpert_plus")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["no json"], "is not one JSON object per line"),
        (['{"Edema": 1}'], "is not one JSON object per line"),
        (["[1, 2]"], "is not one JSON object per line"),
        (['{"path_to_image": "a", "Edema": 1}'] * 2, "labels 'a' twice"),
    ],
)
def test_broken_label_files_are_refused(plus, lines, words):
    write(plus / "chexbert_labels" / "impression_fixed.json", *lines)
    with pytest.raises(TableError, match=words):
        read_table(plus, source="chexpert_plus")


def test_an_unknown_race_is_refused_with_the_nearest(plus):
    write(
        plus / PLUS,
        HEADER,
        row(PATHS[0], "Frontal", "AP", "patient00001", 68, "Female", "Whyte", "train"),
    )
    with pytest.raises(TableError, match=r"'race', row 0: found 'Whyte'; did you mean 'White'\?"):
        read_table(plus, source="chexpert_plus")


def test_chexpert_as_a_folder(tmp_path):
    head = f"Path,Sex,Age,Frontal/Lateral,AP/PA,{CHEXPERT}"
    small = "CheXpert-v1.0-small"
    write(tmp_path / "train.csv", head, f"{small}/{PATHS[0]},Female,68,Frontal,AP,{labels()}")
    alone = read_table(tmp_path, source="chexpert")
    assert len(alone) == 1
    write(
        tmp_path / "valid.csv", head, f"{small}/{PATHS[2]},Male,40,Frontal,PA,{labels(edema=1.0)}"
    )
    table = read_table(tmp_path, source="chexpert")
    assert table["image"].tolist() == [str(tmp_path / PATHS[0]), str(tmp_path / PATHS[2])]
    assert table["split"].tolist() == ["train", "validation"]
    assert table["study_id"].tolist() == [
        "chexpert-patient00001-study1",
        "chexpert-patient64541-study1",
    ]
    assert [positives(r) for _, r in table.iterrows()] == [set(), {"edema"}]
    with pytest.raises(TableError, match=r"has no 'train.csv', the labels of the training part"):
        read_table(tmp_path / "..", source="chexpert")
