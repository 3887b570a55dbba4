"""A patient is in one part, whatever table or radiograph shows them."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from cxrcausal.data import patient_fraction, read_table, split_by_patient
from cxrcausal.errors import TableError


def people(n, radiographs=3):
    ids = [f"nih-{i:08d}" for i in range(n)]
    return pd.DataFrame({"patient_id": np.repeat(ids, radiographs)})


def test_the_fraction_is_the_published_hash():
    digest = hashlib.sha256(b"cxr-real-v1:nih-00000013").hexdigest()
    assert patient_fraction(["nih-00000013"])[0] == int(digest, 16) / 2**256


def test_the_fraction_of_a_patient_does_not_depend_on_the_others():
    ids = [f"nih-{i:08d}" for i in range(50)]
    alone = [patient_fraction([i])[0] for i in ids]
    assert patient_fraction(ids + ids[::-1]).tolist() == alone + alone[::-1]


def test_no_patient_is_in_two_parts_and_nobody_is_lost():
    table = people(2000).sample(frac=1, random_state=0)
    parts = split_by_patient(table)
    assert parts.index.equals(table.index)
    assert set(parts) == {"train", "validation", "test"}
    assert (parts.groupby(table["patient_id"]).nunique() == 1).all()


def test_each_part_has_the_share_of_patients_that_its_range_has():
    table = people(20_000, radiographs=1)
    share = split_by_patient(table, test=(0.2, 0.36), validation=(0.36, 0.44)).value_counts(True)
    # four standard deviations of a share of 20,000 fair draws
    for part, expected in {"test": 0.16, "validation": 0.08, "train": 0.76}.items():
        assert abs(share[part] - expected) < 4 * np.sqrt(expected * (1 - expected) / 20_000)


def test_the_ranges_are_half_open():
    table = people(100, radiographs=1)
    edge = float(patient_fraction(table["patient_id"])[7])
    assert split_by_patient(table, test=(edge, 1.0), validation=(0, 0)).iloc[7] == "test"
    assert split_by_patient(table, test=(0.0, edge), validation=(1, 1)).iloc[7] == "train"


def test_a_range_of_no_width_keeps_nobody():
    parts = split_by_patient(people(500), validation=(0.5, 0.5))
    assert set(parts) == {"train", "test"}


def test_the_input_is_not_modified():
    table = people(10)
    before = table.copy(deep=True)
    split_by_patient(table)
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize(
    ("ranges", "words"),
    [
        ({"test": (0.2, 0.4), "validation": (0.36, 0.44)}, "overlap"),
        ({"test": (0.4, 0.2)}, r"the test range is \(0.4, 0.2\); it must ascend within \[0, 1\]"),
        ({"validation": (0.9, 1.1)}, "the validation range is"),
    ],
)
def test_unusable_ranges_are_refused(ranges, words):
    with pytest.raises(TableError, match=words):
        split_by_patient(people(3), **ranges)


def test_a_missing_column_names_the_nearest():
    with pytest.raises(TableError, match=r"no column 'patientid'.*did you mean 'patient_id'"):
        split_by_patient(people(3), column="patientid")


@pytest.mark.parametrize("missing", [None, float("nan"), ""])
def test_a_row_without_a_patient_cannot_be_split(missing):
    table = pd.DataFrame({"patient_id": ["nih-00000001", missing]}, dtype=object)
    with pytest.raises(TableError, match=r"row 1 .* has none"):
        split_by_patient(table)


def test_the_shared_tables_and_radiographs_have_the_stated_parts(shared_data):
    table = read_table(shared_data / "metadata" / "nih_train.csv.gz", source="nih")
    radiographs = pd.concat(
        [
            read_table(shared_data / folder / "images.csv", source="image_list")
            for folder in ("cxr-real", "cxr-real-64")
        ],
        ignore_index=True,
    )
    radiographs = radiographs[radiographs["dataset"] == "NIH"]
    assert (len(table), int((split_by_patient(table) != "test").sum())) == (89_650, 71_335)
    assert (len(radiographs), int((split_by_patient(radiographs) != "test").sum())) == (
        2_048,
        1_664,
    )
    tested = set(table["patient_id"][split_by_patient(table) == "test"])
    trained = set(radiographs["patient_id"][split_by_patient(radiographs) != "test"])
    assert not tested & trained
