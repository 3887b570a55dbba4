"""`cxrcausal data`: each command from its files to its files."""

import json
from importlib.util import find_spec

import pandas as pd
import pytest
from synthetic_data import write_synthetic_data
from typer.testing import CliRunner

from cxrcausal.cli.app import app
from cxrcausal.data import read_shards
from cxrcausal.errors import TableError

RUN = CliRunner()


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory):
    """A list of synthetic radiographs beside its images."""
    folder = tmp_path_factory.mktemp("data") / "data"
    return write_synthetic_data(folder, rows=20, radiographs=40) / "cxr-real" / "images.csv"


def test_audit_takes_a_mapping_and_the_split_that_it_names(tmp_path):
    (tmp_path / "mapping.yaml").write_text("MRN: patient_id\nPart: split\nGender: sex\n")
    rows = "".join(f"p{i // 2},{('train', 'test')[i % 2]},Male\n" for i in range(12))
    (tmp_path / "own.csv").write_text("MRN,Part,Gender\n" + rows)
    result = RUN.invoke(
        app,
        ["data", "audit", str(tmp_path / "own.csv"), "--source", str(tmp_path / "mapping.yaml"),
         "--output", str(tmp_path / "report.html")],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "6 patients (12 rows) are in more than one part of the column 'split'" in result.output


@pytest.mark.skipif(find_spec("pyarrow") is None, reason="pyarrow is not installed")
def test_shard_writes_what_can_be_read_and_says_what_cannot(tmp_path, radiographs):
    listed = pd.read_csv(radiographs)
    listed["image"] = [str(radiographs.parent / name) for name in listed["image"]]
    listed.loc[0, "image"] = str(tmp_path / "absent.png")
    listed.to_csv(tmp_path / "list.csv", index=False)
    result = RUN.invoke(
        app,
        ["data", "shard", str(tmp_path / "list.csv"), "--output", str(tmp_path / "out"),
         "--size", "32", "--bits", "16", "--workers", "1", "--shard-size", "7"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert f"wrote {len(listed) - 1} radiographs" in result.output
    assert "1 are in quarantine.csv" in result.output
    shards = read_shards(tmp_path / "out")
    assert shards.images.shape == (len(listed) - 1, 1, 32, 32)
    assert "cannot be opened" in (tmp_path / "out" / "quarantine.csv").read_text()


def test_audit_writes_a_page_and_says_what_to_do(tmp_path, radiographs):
    listed = pd.read_csv(radiographs)
    listed["image"] = [str(radiographs.parent / name) for name in listed["image"]]
    listed["Split"] = ["train", "test"] * (len(listed) // 2)
    listed["patient_id"] = [f"own-{i // 2}" for i in range(len(listed))]
    listed.to_csv(tmp_path / "list.csv", index=False)
    command = ["data", "audit", str(tmp_path / "list.csv"), "--workers", "1", "--output"]
    result = RUN.invoke(app, [*command, str(tmp_path / "report.html")])
    assert result.exit_code == 0, result.output
    assert "in more than one part of the column 'Split'" in result.output
    said = json.loads((tmp_path / "report.json").read_text())
    assert said["numbers"]["radiographs"] == len(listed)
    assert (tmp_path / "report.html").stat().st_size > 10_000
    result = RUN.invoke(app, [*command, str(tmp_path / "table.html"), "--no-pixels"])
    assert result.exit_code == 0, result.output
    assert "radiographs" not in json.loads((tmp_path / "table.json").read_text())["numbers"]


def test_a_table_that_is_not_there_leaves_no_page(tmp_path):
    with pytest.raises(TableError, match="no table at"):
        RUN.invoke(
            app,
            ["data", "audit", str(tmp_path / "no.csv"), "--output", str(tmp_path / "r.html")],
            catch_exceptions=False,
        )
    assert not (tmp_path / "r.html").exists()
