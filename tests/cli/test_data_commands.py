"""`cxrcausal data`: each command from its files to its files."""

from importlib.util import find_spec

import pandas as pd
import pytest
from synthetic_data import write_synthetic_data
from typer.testing import CliRunner

from cxrcausal.cli.app import app
from cxrcausal.data import read_shards

RUN = CliRunner()


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory):
    """A list of synthetic radiographs beside its images."""
    folder = tmp_path_factory.mktemp("data") / "data"
    return write_synthetic_data(folder, rows=20, radiographs=40) / "cxr-real" / "images.csv"


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
