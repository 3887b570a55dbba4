"""The master table of CXR7-1M, from a small table made by hand in its format."""

import pandas as pd
import pytest
from owners_format import CHEXPERT, FINDINGS, positives, write

from cxrcausal.data import read_table, with_unknown_level
from cxrcausal.errors import TableError
from cxrcausal.graph import load_graph

HEADER = f"ImagePath,PatientID,Dataset_name,Split,Age,Sex_name,Race_name,View_name,{CHEXPERT}"


def row(patient, dataset, part, age, sex, race, view, **given):
    cells = ",".join(str(given.get(name, 0)) for name in FINDINGS)
    return (
        f"cxr/x/512x512/{patient}.png,{patient},{dataset},{part},{age},{sex},{race},{view},{cells}"
    )


@pytest.fixture
def file(tmp_path):
    return write(
        tmp_path / "cxr" / "cxr7-1m_master.csv",
        HEADER,
        row("p1", "MIMIC-CXR", "train", 61, "Female", "White", "PA", no_finding=2, edema=1),
        row("0007", "NIH", "valid", 40.0, "Male", "Unknown", "AP", edema=2, no_finding=2),
        row("7", "VinDr-CXR", "test", -1, "Unknown", "Unknown", "Unknown", pneumonia=1),
    )


def test_golden(file, tmp_path):
    table = read_table(tmp_path, source="cxr7_1m")
    assert table["patient_id"].tolist() == [
        "cxr7-1m-mimic-cxr-p1", "cxr7-1m-nih-0007", "cxr7-1m-vindr-cxr-7",
    ]  # fmt: skip
    assert table["image"].iloc[0] == str(tmp_path / "cxr" / "x" / "512x512" / "p1.png")
    assert table["split"].tolist() == ["train", "validation", "test"]
    assert table["dataset"].tolist() == ["MIMIC-CXR", "NIH", "VinDr-CXR"]
    assert table["age"].tolist()[:2] == [61.0, 40.0]
    assert table["race"].tolist()[:1] == ["White"]
    assert table.loc[2, ["age", "sex", "race", "view"]].isna().all()
    assert [positives(r) for _, r in table.iterrows()] == [
        {"no_finding"}, {"edema", "no_finding"}, set(),
    ]  # fmt: skip
    assert table["edema"].iloc[0] == "negative"
    assert pd.isna(table["fracture"].iloc[0])  # 0 is unknown, whatever the policy
    assert table.attrs["cxrcausal"]["notes"] == {
        "age below 0 read as unknown": 1,
        "no_finding positive beside a finding": 1,
    }


def test_unknown_as_a_level_of_its_own(file):
    graph = with_unknown_level(load_graph("cxr19"))
    table = read_table(file, source="cxr7_1m", graph=graph, unknown="level")
    assert table["fracture"].tolist() == ["unknown"] * 3
    assert table["edema"].tolist() == ["negative", "positive", "unknown"]
    assert table["race"].tolist() == ["White", "unknown", "unknown"]
    assert pd.isna(table["age"].iloc[2])  # a number has no such level


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (("p", "Montgomery", "train", 1, "Male", "White", "PA"), "'Dataset_name', row 0.*Allowed"),
        (("p", "NIH", "fold1", 1, "Male", "White", "PA"), "'Split', row 0: found 'fold1'"),
        (("p", "NIH", "train", 1, "Male", "Blue", "PA"), "'Race_name', row 0: found 'blue'"),
    ],
)
def test_what_the_table_does_not_have_is_refused(tmp_path, cells, words):
    file = write(tmp_path / "m.csv", HEADER, row(*cells))
    with pytest.raises(TableError, match=rf"m.csv': column {words}"):
        read_table(file, source="cxr7_1m")
