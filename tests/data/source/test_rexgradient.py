"""ReXGradient-160K, from small files made by hand in its format."""

import json

import pytest
from owners_format import CHEXPERT, FINDINGS, positives, write

from cxrcausal.data import read_table
from cxrcausal.errors import TableError


def study(patient, age, sex, views, **more):
    uid = f"1.2.826.{patient}"
    path = f"../deid_png/{patient}/ACC/studies/{uid}/series/1.2/instances/"
    return {
        "PatientID": patient,
        "AccessionNumber": "ACC",
        "StudyInstanceUid": uid,
        "PatientSex": sex,
        "PatientAge": age,
        "StudyDate": 20110101,
        "Findings": "Clear, no effusion.",
        "Impression": "Normal.",
        "ImagePath": [f"{path}{i}.png" for i in range(len(views))],
        "ImageViewPosition": views,
        "ImageShape": [[1, 2]] * len(views),
        **more,
    }


@pytest.fixture
def folder(tmp_path):
    parts = {
        "train": {
            "a": study("GRDN01", "059Y", "F", ["PA", "LATERAL"]),
            "b": study("GRDN02", "002D", "O", ["UNKNOWN"]),
        },
        "test": {"c": study("GRDN03", None, "M", ["POSTERO_ANTERIOR", None])},
    }
    for part, studies in parts.items():
        write(tmp_path / "metadata" / f"{part}_metadata_view_position.json", json.dumps(studies))
    return tmp_path


def test_golden(folder):
    table = read_table(folder, source="rexgradient", keep="Impression")
    assert table["patient_id"].tolist() == [
        *["rexgradient-GRDN01"] * 2, "rexgradient-GRDN02", *["rexgradient-GRDN03"] * 2,
    ]  # fmt: skip
    assert table["study_id"].iloc[0] == "rexgradient-1.2.826.GRDN01"
    place = folder / "deid_png" / "GRDN01" / "ACC" / "studies" / "1.2.826.GRDN01"
    assert table["image"].iloc[1] == str(place / "series" / "1.2" / "instances" / "1.png")
    assert table["split"].tolist() == ["train", "train", "train", "test", "test"]
    assert table["age"].tolist()[:3] == [59.0, 59.0, 0.0]
    assert table["view"].iloc[[0, 1, 3]].tolist() == ["PA", "LATERAL", "PA"]
    assert table["view"].isna().tolist() == [False, False, True, False, True]
    assert table[FINDINGS].isna().all(axis=None)  # reports alone are published
    assert table["Impression"].tolist() == ["Normal."] * 5
    record = table.attrs["cxrcausal"]
    assert set(record["never_labelled"]) == {"race", *FINDINGS}
    assert record["notes"] == {
        "age written with its unit, as 058Y": 3,
        "view is none of the graph's": 1,
        "sex read as unknown": 1,
    }


def test_one_file_with_labels_of_ones_own(folder):
    own = dict.fromkeys(CHEXPERT.split(","))
    labelled = {"a": study("GRDN01", "059Y", "F", ["AP"], **(own | {"Edema": 1, "Fracture": 0}))}
    file = folder / "labelled.json"
    write(file, json.dumps(labelled))
    table = read_table(file, source="rexgradient")
    assert positives(table.iloc[0]) == {"edema"}
    assert "split" not in table
    assert table["image"].iloc[0].startswith("deid_png/GRDN01/")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not one JSON object per study"),
        ("3", "is not one JSON object per study"),
        ('{"a": 3}', "study 0: expected an object with a list 'ImagePath'"),
        ('[{"ImagePath": "a.png"}]', "study 0: expected an object with a list 'ImagePath'"),
        ("[" * 100_000, "is not one JSON object per study"),
        ("{}", "needs the column 'ImageViewPosition'"),
    ],
)
def test_broken_files_are_refused(folder, content, words):
    write(folder / "metadata" / "train_metadata_view_position.json", content)
    (folder / "metadata" / "test_metadata_view_position.json").unlink()
    with pytest.raises(TableError, match=words):
        read_table(folder, source="rexgradient")


def test_the_table_of_studies_has_no_images(folder):
    file = write(folder / "train_metadata.csv", "id,PatientSex,PatientAge", "1,F,059Y")
    with pytest.raises(TableError, match="needs the column 'ImageViewPosition'"):
        read_table(file, source="rexgradient")
