import filecmp
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import cxrcausal.data.parquet_file as module
from cxrcausal.data import read_images, read_shards, shard_images
from cxrcausal.data.workers import Refused, count_workers, over_files
from cxrcausal.errors import ImageError, MissingExtraError, OptionError, TableError

NEEDS_PYARROW = pytest.mark.skipif(
    find_spec("pyarrow") is None, reason="pyarrow is not installed; cxrcausal[shards]"
)


def write_radiographs(folder: Path, number: int, side: int = 40, seed: int = 0) -> pd.DataFrame:
    """Noise as PNG files in two folders, and their table."""
    rng = np.random.default_rng(seed)
    paths = []
    for i in range(number):
        path = folder / f"part{i % 2}" / f"film {i}.v1.png"  # a dot would end webdataset's key
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (side, side + i % 5), np.uint8)).save(path)
        paths.append(str(path))
    age = np.where(np.arange(number) % 3 == 0, np.nan, 40.0 + np.arange(number))
    sex = pd.Categorical(np.where(np.arange(number) % 2, "Male", "Female"))
    patient = [f"own-{i:04d}" for i in range(number)]
    return pd.DataFrame({"age": age, "sex": sex, "patient_id": patient, "image": paths})


def same(one: Path, other: Path) -> bool:
    """Whether two folders hold the same names and bytes."""
    names = sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file())
    if names != sorted(p.relative_to(other) for p in other.rglob("*") if p.is_file()):
        return False
    return not any(filecmp.cmpfiles(one, other, map(str, names), shallow=False)[1:])


@NEEDS_PYARROW
@pytest.mark.parametrize("bits", [8, 16])
def test_what_is_read_back_is_what_read_images_reads(tmp_path, bits):
    table = write_radiographs(tmp_path / "in", 23)
    quarantine = shard_images(table, tmp_path / "out", 16, bits=bits, shard_size=10, workers=1)
    assert quarantine.empty
    shards = read_shards(tmp_path / "out")
    assert shards.images.dtype == {8: torch.uint8, 16: torch.uint16}[bits]
    assert shards.images.shape == (23, 1, 16, 16)
    expected = read_images(table["image"], 16)
    error = (shards.pixels(slice(None)) - expected).abs().max()
    assert error <= 0.5001 / (2**bits - 1)
    picked = shards.pixels([3, 1])
    assert torch.equal(picked[0], shards.pixels(slice(3, 4))[0])
    assert list(shards.table["patient_id"]) == list(table["patient_id"])
    pd.testing.assert_series_equal(shards.table["age"], table["age"])
    assert list(shards.table["sex"].cat.categories) == ["Female", "Male"]
    assert shards.table["image"][0] == "part0/film 0.v1.png"  # not where the user keeps it
    assert shards.table["shard"].nunique() == 3


@NEEDS_PYARROW
def test_bytes_depend_neither_on_the_run_nor_on_the_workers(tmp_path):
    table = write_radiographs(tmp_path / "in", 45)
    table.loc[7, "image"] = str(tmp_path / "absent.png")
    shard_images(table, tmp_path / "one", 16, shard_size=10, workers=1)
    shard_images(table, tmp_path / "two", 16, shard_size=10, workers=2)
    assert same(tmp_path / "one", tmp_path / "two")


@NEEDS_PYARROW
def test_bad_files_are_listed_and_stop_nothing(tmp_path):
    table = write_radiographs(tmp_path / "in", 12)
    Path(table["image"][2]).write_bytes(b"no image")
    Path(table["image"][5]).unlink()
    table.loc[11, "image"] = np.nan
    found = shard_images(table, tmp_path / "out", 16, shard_size=5, workers=1)
    assert list(found["row"]) == [2, 5, 11]
    assert "none of PNG, JPEG and DICOM" in found["reason"][0]
    assert "cannot be opened" in found["reason"][1]
    assert "names no radiograph" in found["reason"][2]
    written = pd.read_csv(tmp_path / "out" / "quarantine.csv", keep_default_na=False)
    assert list(written["path"]) == [table["image"][2], table["image"][5], ""]
    shards = read_shards(tmp_path / "out")
    assert len(shards.table) == 9
    kept = table["image"].drop([2, 5, 11])
    assert torch.equal(shards.pixels(slice(None)), read_images(kept, 16).mul(255).round() / 255)
    with pytest.raises(TableError, match="none of 1 radiographs could be read; row 0"):
        shard_images(table.iloc[[2]], tmp_path / "none", 16, workers=1)
    assert not (tmp_path / "none" / "table.parquet").exists()


SCRIPT = """
import sys
import pandas as pd
from cxrcausal.data import shard_images
if __name__ == "__main__":
    table = pd.read_pickle(sys.argv[1])
    shard_images(table, sys.argv[2], 96, shard_size=20, workers=2, progress=False)
"""


def children(pid: int) -> list[int]:
    """The processes that a process started, and those that they did."""
    found = Path(f"/proc/{pid}/task/{pid}/children")
    direct = [int(child) for child in found.read_text().split()] if found.exists() else []
    return direct + [further for child in direct for further in children(child)]


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@NEEDS_PYARROW
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path):
    table = write_radiographs(tmp_path / "in", 400, side=128)
    table.loc[3, "image"] = str(tmp_path / "absent.png")
    table.to_pickle(tmp_path / "table.pickle")
    (tmp_path / "run.py").write_text(SCRIPT)
    out = tmp_path / "killed"
    command = [sys.executable, tmp_path / "run.py", tmp_path / "table.pickle", out]
    process = subprocess.Popen(command)
    while not (out / "shard-000001.tar").exists():
        assert process.poll() is None
        time.sleep(0.002)
    started = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    whole = {p: p.stat().st_mtime_ns for p in out.glob("shard-*.tar")}
    assert 2 <= len(whole) < 20
    assert not (out / "table.parquet").exists()
    with pytest.raises(ImageError, match="not finished"):
        read_shards(out)
    ended = time.monotonic() + 20
    while any(map(alive, started)):  # they end with their parent, however it ended
        assert time.monotonic() < ended
        time.sleep(0.05)
    shard_images(table, out, 96, shard_size=20, workers=1)
    assert all(p.stat().st_mtime_ns == at for p, at in whole.items())  # not done again
    shard_images(table, tmp_path / "whole", 96, shard_size=20, workers=1)
    assert same(out, tmp_path / "whole")


@NEEDS_PYARROW
def test_what_a_killed_run_left_beside_any_file_is_cleared(tmp_path):
    """A kill may come while any of the files is written, under its name beside the place."""
    table = write_radiographs(tmp_path / "in", 4)
    shard_images(table, tmp_path / "whole", 16, shard_size=2, workers=1)
    for path in list((tmp_path / "whole").rglob("*")):
        if path.is_file():
            left = tmp_path / "again" / path.relative_to(tmp_path / "whole")
            left.parent.mkdir(parents=True, exist_ok=True)
            left.with_name(f".{left.name}.{'0' * 16}").write_bytes(b"half a")
    shard_images(table, tmp_path / "again", 16, shard_size=2, workers=1)
    assert same(tmp_path / "whole", tmp_path / "again")


@NEEDS_PYARROW
def test_a_shard_that_lost_bytes_is_made_again(tmp_path):
    table = write_radiographs(tmp_path / "in", 12)
    for name in ("out", "whole"):
        shard_images(table, tmp_path / name, 16, shard_size=5, workers=1)
    shard = tmp_path / "out" / "shard-000001.tar"
    shard.write_bytes(shard.read_bytes()[:700])
    with pytest.raises(ImageError, match=r"shard-000001\.tar"):
        read_shards(tmp_path / "out")
    (tmp_path / "out" / ".shard-000002.tar.0123456789abcdef").write_bytes(b"half")
    shard_images(table, tmp_path / "out", 16, shard_size=5, workers=1)
    assert same(tmp_path / "out", tmp_path / "whole")


@NEEDS_PYARROW
def test_other_shards_are_not_overwritten(tmp_path):
    table = write_radiographs(tmp_path / "in", 4)
    shard_images(table, tmp_path / "out", 16, workers=1)
    with pytest.raises(OptionError, match="size 16, asked 8"):
        shard_images(table, tmp_path / "out", 8, workers=1)
    with pytest.raises(OptionError, match="table_sha256"):
        shard_images(table.iloc[::-1], tmp_path / "out", 16, workers=1)
    with pytest.raises(OptionError, match="is a file"):
        shard_images(table, table["image"][0], 16, workers=1)


@NEEDS_PYARROW
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size is 0"),
        ({"size": 5000}, "at most 4096"),
        ({"size": 16, "bits": 12}, "8 and 16"),
        ({"size": 16, "shard_size": 0}, "shard_size is 0"),
        ({"size": 16, "workers": 0}, "workers is 0"),
    ],
)
def test_options_are_checked_before_anything_is_written(tmp_path, options, message):
    table = write_radiographs(tmp_path / "in", 1)
    with pytest.raises(OptionError, match=message):
        shard_images(table, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@NEEDS_PYARROW
def test_tables_without_radiographs_are_refused(tmp_path):
    with pytest.raises(TableError, match="no column 'image'"):
        shard_images(pd.DataFrame({"age": [1.0]}), tmp_path / "out", 16)
    with pytest.raises(TableError, match="no rows"):
        shard_images(pd.DataFrame({"image": []}), tmp_path / "out", 16)
    with pytest.raises(ImageError, match="holds no shards"):
        read_shards(tmp_path)


def test_the_extra_is_named_where_it_is_absent(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"cxrcausal\[shards\]"):
        shard_images(pd.DataFrame({"image": ["a.png"]}), tmp_path / "out", 16)
    with pytest.raises(MissingExtraError, match=r"cxrcausal\[shards\]"):
        read_shards(tmp_path)


@NEEDS_PYARROW
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # it leaves files open
def test_webdataset_reads_the_shards(tmp_path):
    wds = pytest.importorskip("webdataset", exc_type=ImportError)
    table = write_radiographs(tmp_path / "in", 5)
    shard_images(table, tmp_path / "out", 16, shard_size=3, workers=1)
    urls = [str(path) for path in sorted((tmp_path / "out").glob("shard-*.tar"))]
    seen = list(wds.WebDataset(urls, shardshuffle=False).decode("l8"))
    assert [sample["__key__"] for sample in seen] == [f"{i:09d}" for i in range(5)]
    stored = read_shards(tmp_path / "out").images[:, 0].numpy()
    assert all((sample["png"] == stored[i]).all() for i, sample in enumerate(seen))
    assert seen[1]["json"]["patient_id"] == "own-0001"
    assert seen[0]["json"]["age"] is None


@NEEDS_PYARROW
def test_a_shard_is_a_plain_tar_of_no_one_and_no_time(tmp_path):
    table = write_radiographs(tmp_path / "in", 2)
    shard_images(table, tmp_path / "out", 16, workers=1)
    with tarfile.open(tmp_path / "out" / "shard-000000.tar") as tar:
        members = tar.getmembers()
        row = json.load(tar.extractfile("000000001.json"))
    assert [m.name for m in members] == [
        "000000000.png", "000000000.json", "000000001.png", "000000001.json"
    ]  # fmt: skip
    assert {(m.mtime, m.uid, m.gid, m.uname) for m in members} == {(0, 0, 0, "")}
    assert row["image"] == "part1/film 1.v1.png"


def crash_on(task: int) -> int:
    """What a decoder with a defect does to its process."""
    if task in (3, 30):
        os.kill(os.getpid(), signal.SIGKILL)
    if task == 5:
        raise ImageError("five")
    return 2 * task


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_a_file_that_ends_its_reader_is_found_and_survived():
    answers = list(over_files(crash_on, range(40), workers=2))
    expected = {i: 2 * i for i in range(40) if i not in (3, 5, 30)}
    assert {i: a for i, a in enumerate(answers) if not isinstance(a, Refused)} == expected
    assert answers[5] == Refused("five")
    assert "ended the process" in answers[3].reason
    assert "ended the process" in answers[30].reason


def test_workers_are_counted():
    assert count_workers(None) >= 1
    assert count_workers(3) == 3
    with pytest.raises(OptionError, match="workers is True"):
        count_workers(True)
