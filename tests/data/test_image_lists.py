"""Several image lists as one table."""

from pathlib import Path

import pandas as pd
import pytest

from cxrcausal.data import read_image_lists
from cxrcausal.data.source.vocabulary import FINDINGS
from cxrcausal.errors import TableError


def write_list(folder: Path, names: list[str], source: str = "nih-chestxray14") -> Path:
    folder.mkdir(parents=True)
    table = pd.DataFrame(
        {
            "image": [f"images/{name}" for name in names],
            "source": source,
            "patient_id": [f"nih-{name[:3]}" for name in names],
            "age": 50,
            "sex": "F",
            "view": "PA",
            **{column: 0 for column in FINDINGS},
        }
    )
    table.to_csv(folder / "images.csv", index=False)
    return folder / "images.csv"


def test_a_radiograph_in_two_lists_is_read_once_from_the_first(tmp_path: Path) -> None:
    first = write_list(tmp_path / "a", ["001.png", "002.png"])
    second = write_list(tmp_path / "b", ["002.png", "003.png"])
    table = read_image_lists([first, second])
    folder = [Path(p).parent.parent.name for p in table["image"]]
    assert [Path(p).name for p in table["image"]] == ["001.png", "002.png", "003.png"]
    assert folder == ["a", "a", "b"]
    assert list(table.index) == [0, 1, 2]


def test_another_order_takes_the_other_copy(tmp_path: Path) -> None:
    first = write_list(tmp_path / "a", ["001.png", "002.png"])
    second = write_list(tmp_path / "b", ["002.png"])
    table = read_image_lists([second, first])
    assert [Path(p).parent.parent.name for p in table["image"]] == ["b", "a"]


def test_only_one_data_set_where_it_is_named(tmp_path: Path) -> None:
    nih = write_list(tmp_path / "a", ["001.png"])
    other = write_list(tmp_path / "b", ["002.png"], source="brax")
    assert len(read_image_lists([nih, other])) == 2
    table = read_image_lists([nih, other], dataset="NIH")
    assert [Path(p).name for p in table["image"]] == ["001.png"]


def test_no_list_one_path_and_an_absent_data_set_are_refused(tmp_path: Path) -> None:
    path = write_list(tmp_path / "a", ["001.png"])
    with pytest.raises(TableError, match="no image list"):
        read_image_lists([])
    with pytest.raises(TableError, match="must be several lists; found one"):
        read_image_lists(str(path))
    with pytest.raises(TableError, match="of dataset 'BRAX'; the lists have: \\['NIH'\\]"):
        read_image_lists([path], dataset="BRAX")
