"""VinDr-CXR, from small files made by hand in its format."""

import pandas as pd
import pydicom
import pytest
from owners_format import positives, write

from cxrcausal.data import read_table
from cxrcausal.data.source.vindr_cxr import FINDINGS, WITHOUT_COUNTERPART
from cxrcausal.errors import TableError

LABELS = (
    "Aortic enlargement,Atelectasis,Calcification,Cardiomegaly,Clavicle fracture,Consolidation,"
    "Edema,Emphysema,Enlarged PA,ILD,Infiltration,Lung Opacity,Lung cavity,Lung cyst,"
    "Mediastinal shift,Nodule/Mass,Pleural effusion,Pleural thickening,Pneumothorax,"
    "Pulmonary fibrosis,Rib fracture,Other lesion,COPD,Lung tumor,Pneumonia,Tuberculosis,"
    "Other diseases,No finding"
).split(",")


def row(image, radiologist, *found):
    cells = ",".join(str(int(name in found)) for name in LABELS)
    return ",".join([image, *([radiologist] if radiologist else []), cells])


@pytest.fixture
def folder(tmp_path):
    write(
        tmp_path / "annotations" / "image_labels_train.csv",
        ",".join(["image_id", "rad_id", *LABELS]),
        row("0aa1", "R1", "Cardiomegaly", "Nodule/Mass"),
        row("7bb2", "R9", "No finding"),
        row("0aa1", "R2", "Cardiomegaly", "Lung tumor"),
        row("7bb2", "R9", "No finding"),
        row("0aa1", "R3", "Rib fracture"),
        row("7bb2", "R10", "Infiltration"),
    )
    write(
        tmp_path / "annotations" / "image_labels_test.csv",
        ",".join(["image_id", *LABELS]).replace("Other diseases", "Other disease"),
        row("9cc3", None, "Pleural effusion", "Pneumothorax"),
    )
    return tmp_path


def headers(folder, **images):
    """DICOM files of two tags."""
    for name, (age, sex) in images.items():
        part = folder / ("test" if name == "9cc3" else "train")
        part.mkdir(exist_ok=True)
        data = pydicom.Dataset()
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
        data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        data.PatientAge, data.PatientSex = age, sex
        data.save_as(part / f"{name.lstrip('_')}.dicom", enforce_file_format=True)


def test_golden(folder):
    headers(folder, _0aa1=("058Y", "M"), _7bb2=("000Y", "O"), **{"9cc3": ("", "F")})
    table = read_table(folder, source="vindr_cxr")
    assert table["patient_id"].tolist() == ["vindr-0aa1", "vindr-7bb2", "vindr-9cc3"]
    assert table["image"].tolist() == [
        str(folder / "train" / "0aa1.dicom"),
        str(folder / "train" / "7bb2.dicom"),
        str(folder / "test" / "9cc3.dicom"),
    ]
    assert table["split"].tolist() == ["train", "train", "test"]
    assert table["age"].iloc[0] == 58.0
    assert table["age"].isna().tolist() == [False, True, True]
    assert table["sex"].iloc[[0, 2]].tolist() == ["Male", "Female"]
    assert table["view"].tolist() == ["PA"] * 3
    # two of three say heart; two say lesion under two names, one each, which is no majority
    assert [positives(r) for _, r in table.iterrows()] == [
        {"cardiomegaly"},
        {"no_finding"},
        {"pleural_effusion", "pneumothorax"},
    ]
    assert table["fracture"].tolist() == ["negative"] * 3
    record = table.attrs["cxrcausal"]
    assert record["never_labelled"] == ["race", "enlarged_cardiomediastinum", "support_devices"]
    assert record["policies"] == {}
    assert record["notes"] == {
        "age written with its unit, as 058Y": 2,
        "age 0 read as unknown": 1,
        "sex 'O' read as unknown": 1,
        "image on which radiologists disagree, by majority": 2,
    }


def test_without_dicom_files_age_and_sex_are_unknown(folder):
    (folder / "annotations" / "image_labels_test.csv").unlink()
    table = read_table(folder, source="vindr_cxr", keep="rad_id")
    assert len(table) == 2
    assert table["rad_id"].tolist() == ["R1", "R9"]
    assert table[["age", "sex"]].isna().all(axis=None)
    notes = table.attrs["cxrcausal"]["notes"]
    assert notes["no DICOM files beside the labels: age and sex unknown"] == 2


def test_an_unreadable_header_is_unknown(folder):
    headers(folder, _0aa1=("058Y", "M"))
    write(folder / "train" / "7bb2.dicom", "no DICOM")
    table = read_table(folder, source="vindr_cxr")
    assert table["age"].isna().tolist() == [False, True, True]
    notes = table.attrs["cxrcausal"]["notes"]
    assert notes["DICOM header cannot be read: age and sex unknown"] == 1


def test_one_table_alone_keeps_its_own_index(folder):
    frame = pd.read_csv(folder / "annotations" / "image_labels_train.csv")
    frame.index = list("abcdef")
    frame["PatientAge"], frame["PatientSex"] = 40, "F"
    table = read_table(frame, source="vindr_cxr")
    assert table.index.tolist() == ["a", "b"]
    assert table["image"].tolist() == ["0aa1.dicom", "7bb2.dicom"]
    assert table["age"].tolist() == [40.0, 40.0]


def test_every_label_is_known():
    mapped = {label for labels in FINDINGS.values() for label in labels}
    assert mapped | set(WITHOUT_COUNTERPART) == {*LABELS, "Other disease"}


@pytest.mark.parametrize(
    ("cell", "words"), [("2", "found 2.0"), ("", "is empty"), ("x", "'x' is")]
)
def test_what_is_no_answer_is_refused(folder, cell, words):
    frame = pd.read_csv(folder / "annotations" / "image_labels_train.csv", dtype="str")
    frame.loc[3, "Edema"] = cell or None
    file = folder / "a.csv"
    frame.to_csv(file, index=False)
    with pytest.raises(TableError, match=rf"a.csv'.*'Edema', row 3.*{words}"):
        read_table(file, source="vindr_cxr")
