"""`cxrcausal data harmonise`: folders and tables in, one table out."""

import pandas as pd
import pytest
from typer.testing import CliRunner

from cxrcausal.cli.app import app
from cxrcausal.data import read_table

RUN = CliRunner()
NIH = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position\n"
    "00000001_000.png,Cardiomegaly,0,1,057Y,M,PA\n"
    "00000002_000.png,No Finding|Mass,0,2,414Y,F,AP\n"
)
WARD = "id,gender,split\n1,F,train\n2,M,test\n"
MAPPING = "id: {to: patient_id, prefix: ward-}\ngender: {to: sex, values: {F: Female, M: Male}}\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "nih").mkdir()
    (tmp_path / "nih" / "Data_Entry_2017.csv").write_text(NIH)
    (tmp_path / "ward.csv").write_text(WARD)
    (tmp_path / "ward.yaml").write_text(MAPPING + "split: split\n")
    return tmp_path


def run(*arguments):
    return RUN.invoke(app, ["data", "harmonise", *map(str, arguments)])


def test_a_folder_becomes_a_table_and_notes_are_told(folder):
    output = folder / "out" / "table.csv"
    result = run(folder / "nih", "--source", "nih", "--output", output)
    assert result.exit_code == 0, result.output
    assert "(nih): 2 rows, 2 patients" in result.output
    assert "never labelled: race, fracture" in result.output
    assert "1  no_finding positive beside a finding" in result.output
    assert "1  age out of bounds" in result.output
    assert "wrote 2 rows" in result.output
    again = read_table(output, source="graph")
    direct = read_table(folder / "nih", source="nih")
    pd.testing.assert_frame_equal(again, direct)
    assert [p.name for p in output.parent.iterdir()] == ["table.csv"]


def test_several_inputs_each_of_its_own_source(folder):
    output = folder / "table.csv.gz"
    result = run(
        folder / "nih", folder / "ward.csv", "--source", "nih", "--source", folder / "ward.yaml",
        "--output", output,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    table = pd.read_csv(output)
    assert table["patient_id"].tolist() == ["nih-00000001", "nih-00000002", "ward-1", "ward-2"]
    assert table["sex"].tolist() == ["Male", "Female", "Female", "Male"]
    assert table["split"].tolist()[2:] == ["train", "test"]
    assert table["cardiomegaly"].isna().tolist() == [False, False, True, True]


def test_options_reach_the_reader(folder):
    output = folder / "table.csv"
    result = run(
        folder / "nih", "--source", "nih", "--output", output, "--not-mentioned", "unknown",
        "--unknown", "level", "--images", folder,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    table = pd.read_csv(output)
    assert table["edema"].tolist() == ["unknown", "negative"]
    assert table["image"].iloc[0] == str(folder / "00000001_000.png")


def test_a_parquet_table_keeps_levels_and_unknown_cells(folder):
    pytest.importorskip("pyarrow", reason="parquet tables need pyarrow")
    output = folder / "table.parquet"
    result = run(folder / "nih", "--source", "nih", "--output", output)
    assert result.exit_code == 0, result.output
    again = read_table(output, source="graph")
    pd.testing.assert_frame_equal(again, read_table(folder / "nih", source="nih"))


def test_parquet_without_pyarrow_names_the_remedy(folder, monkeypatch):
    monkeypatch.setattr("cxrcausal.data.parquet_file.find_spec", lambda name: None)
    output = folder / "table.parquet"
    result = run(folder / "nih", "--source", "nih", "--output", output)
    assert "need pyarrow" in str(result.exception)
    assert not output.exists()
    assert not [p for p in folder.iterdir() if p.name.startswith(".table")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--source", "nih", "--output", "t.xlsx"), "ends in one of"),
        (("--source", "nih", "--source", "brax", "--output", "t.csv"), "2 times for 1 inputs"),
    ],
)
def test_what_cannot_be_meant_is_refused(folder, arguments, words):
    result = run(folder / "nih", *arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.output.replace("│", " ").split())


def test_a_refused_input_leaves_what_stood_there(folder):
    output = folder / "table.csv"
    output.write_text("kept")
    (folder / "nih" / "Data_Entry_2017.csv").write_text(NIH.replace("Mass", "Moss"))
    result = run(folder / "nih", "--source", "nih", "--output", output)
    assert "'Moss' is not a finding of ChestX-ray14; did you mean 'Mass'?" in str(result.exception)
    assert output.read_text() == "kept"


def test_the_shared_tables_in_well_under_a_minute(shared_data, tmp_path):
    """Both real tables: every row arrives, and every count of the notes is that of the tables."""
    metadata = shared_data / "metadata"
    result = run(
        metadata / "nih_train.csv.gz", metadata / "chexpert_metadata.csv.gz",
        "--source", "nih", "--source", "chexpert", "--output", tmp_path / "t.csv",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "wrote 268,443 rows" in result.output
    assert "829  no_finding negative without a finding" in result.output
    table = pd.read_csv(tmp_path / "t.csv", usecols=["patient_id", "dataset"])
    assert table["patient_id"].nunique() == 24_732 + 51_647
    assert table["dataset"].value_counts().to_dict() == {"CheXpert-Plus": 178_793, "NIH": 89_650}
