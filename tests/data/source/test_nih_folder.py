"""ChestX-ray14 as a folder, from small files made by hand in its format."""

import pandas as pd
import pytest
from owners_format import write

from cxrcausal.data import read_table
from cxrcausal.errors import TableError

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)


@pytest.fixture
def folder(tmp_path):
    write(
        tmp_path / "Data_Entry_2017.csv",
        HEADER,
        "00000001_000.png,Cardiomegaly|Effusion,0,1,058Y,M,PA,2682,2749,0.143,0.143,",
        "00000013_001.png,No Finding,1,13,414Y,F,AP,2500,2048,0.168,0.168,",
        "00000013_002.png,pleural thickening|MASS,2,13,060Y,F,AP,2500,2048,0.168,0.168,",
    )
    write(tmp_path / "train_val_list.txt", "00000001_000.png")
    write(tmp_path / "test_list.txt", "00000013_001.png", "00000013_002.png")
    for image in ("images_001/images/00000001_000.png", "images_012/images/00000013_001.png"):
        write(tmp_path / image, "")
    return tmp_path


def test_golden(folder):
    table = read_table(folder, source="nih")
    assert table["patient_id"].tolist() == ["nih-00000001", "nih-00000013", "nih-00000013"]
    assert table["split"].tolist() == ["train", "test", "test"]
    assert table["image"].tolist() == [
        str(folder / "images_001" / "images" / "00000001_000.png"),
        str(folder / "images_012" / "images" / "00000013_001.png"),
        str(folder / "00000013_002.png"),  # which lies nowhere
    ]
    assert table["age"].tolist()[::2] == [58.0, 60.0]
    assert pd.isna(table["age"].iloc[1])
    assert table.loc[2, ["pleural_other", "lung_lesion"]].tolist() == ["positive"] * 2
    assert table.attrs["cxrcausal"]["notes"] == {
        "age written with its unit, as 058Y": 3,
        "age out of bounds": 1,
        "label in another spelling than ChestX-ray14's": 1,
    }


def test_the_edition_of_2020_comes_first(folder):
    write(
        folder / "Data_Entry_2017_v2020.csv",
        HEADER[:-1],
        "00000001_000.png,Hernia,0,1,57,M,PA,2682,2749,0.143,0.143",
    )
    assert read_table(folder, source="nih")["age"].tolist() == [57.0]


def test_a_list_of_images_that_is_no_text_is_refused(folder):
    (folder / "test_list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TableError, match=r"test_list.txt' is no list of images"):
        read_table(folder, source="nih")


def test_a_folder_without_the_table(tmp_path):
    write(tmp_path / "Data_Entry_2017_v2021.csv", HEADER)
    with pytest.raises(TableError, match=r"did you mean 'Data_Entry_2017_v2021.csv'"):
        read_table(tmp_path, source="nih")
