"""Two hundred corrupted inputs (`damage`): none crashes, hangs, fills memory or leaves half a
file."""

import gzip
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import damage
import numpy as np
import pandas as pd
import pytest
import torch
from dicom_file import RAMP, dataset, write
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

import cxrcausal.errors
from cxrcausal.data import (
    csv_file,
    read_dicom_tags,
    read_image,
    read_images,
    read_shards,
    read_table,
    shard_images,
)
from cxrcausal.errors import ImageError, TableError

MEMORY = 3 * 2**29
"""For one file, beside what the libraries take: an image of the most pixels in some copies."""
SECONDS = 20
TYPED = [n for n in cxrcausal.errors.__all__ if n.endswith("Error")]

READ = """
import json, logging, resource, signal, sys, traceback, warnings
from pathlib import Path
warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
import pydicom.pixels, pydicom.encaps, openjpeg, scipy.special
from cxrcausal.data import read_image, read_table

def read(path):
    if ".csv" not in path.name:
        pixels = read_image(path)
        assert pixels.ndim == 4 and pixels.shape[:2] == (1, 1) and pixels.numel()
        assert pixels.isfinite().all() and pixels.min() >= 0 and pixels.max() <= 1
        return list(pixels.shape)
    table = read_table(path, source="nih" if ".nih." in path.name else "graph")
    assert not table.select_dtypes("number").isin([float("inf"), float("-inf")]).any(axis=None)
    return list(table.shape)

mapped = int(next(s for s in open("/proc/self/status") if s.startswith("VmSize")).split()[1])
limit = mapped * 1024 + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in sorted(Path(sys.argv[1]).iterdir()):
    print(json.dumps(path.name), flush=True)
    signal.alarm(int(sys.argv[3]))  # which ends the process, within a decoder too
    try:
        said = ["read", read(path)]
    except Exception as error:
        said = [type(error).__name__, str(error), traceback.format_exc()]
    signal.alarm(0)
    print(json.dumps(said), flush=True)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corrupted") / "in"
    assert len(damage.write_damaged(folder)) == 200
    return folder


@pytest.fixture(scope="module")
def outcomes(folder):
    """What reading each file came to, in a process with little memory and an alarm."""
    if not Path("/proc/self/status").exists():
        pytest.skip("measures memory by Linux")
    done = subprocess.run(
        [sys.executable, "-c", READ, folder, str(MEMORY), str(SECONDS)],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (done.returncode, lines[-1:], done.stderr[-2000:])
    return dict(zip(lines[::2], lines[1::2], strict=True))


@pytest.mark.parametrize("kind", damage.KINDS)
def test_they_are_read_or_refused_by_name(outcomes, kind):
    found = {name: said for name, said in outcomes.items() if name.split("-")[0] == kind}
    assert len(found) >= 19
    for name, (said, *why) in found.items():
        if said != "read":
            assert said in TYPED, (name, why[-1])
            assert name in why[0]
            assert "MemoryError" not in why[-1], name  # refused before it was asked for


def test_there_are_two_hundred_and_some_of_the_damage_does_no_harm(outcomes):
    assert len(outcomes) == 200
    assert {name.split("-")[0] for name in outcomes} == set(damage.KINDS)
    assert 20 < sum(said == "read" for said, *_ in outcomes.values()) < 120


def test_the_damage_depends_on_the_seed_alone(folder):
    for name, content in damage.damaged_tables(0).items():
        assert (folder / name).read_bytes() == content, name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bomb-wide.png", "claims 30000 x 30000 pixels"),
        ("bomb-scans.jpg", r"has 3,0\d\d scans; a JPEG has about ten"),
        ("bomb-deflated.dcm", "swells to more than"),
        ("bomb-zeros.nih.csv.gz", "unpacks to more than 67,108,864.*unpack it yourself"),
        ("bomb-rows.graph.csv.gz", "unpacks to more than .*100 times its size"),
        ("bomb-zeros.graph.csv.zip", "unpacks to more than"),
        ("bomb-zeros.graph.csv.tar.gz", "unpacks to more than"),
        ("bomb-zeros.graph.csv.xz", "unpacks to more than"),
        ("bomb-zeros.nih.csv.bz2", "unpacks to more than"),
        ("absurd-columns.graph.csv", "has more than 10,000 columns"),
        ("absurd-large-patient.nih.csv", "Patient ID"),
        ("magic-two.graph.csv.zip", "must hold one file"),
    ],
)
def test_it_is_refused_for_what_it_is(outcomes, name, message):
    said, why = outcomes[name][:2]
    assert said in ("ImageError", "TableError")
    assert re.search(message, why), why


def test_what_was_spared_is_read(outcomes):
    for name in ("encoding-mark.graph.csv", "mixed-signed.dcm", "bomb-inside.png"):
        assert outcomes[name][0] == "read", outcomes[name]


def test_a_table_packed_by_zstd_needs_its_package(tmp_path):
    path = tmp_path / "a.graph.csv.zst"
    path.write_bytes(b"no frame")
    zstandard = importlib.util.find_spec("zstandard")
    with pytest.raises(TableError, match=r"a\.graph\.csv\.zst") as refused:
        read_table(path, source="graph")
    assert ("pip install zstandard" in str(refused.value)) == (zstandard is None)
    if zstandard is not None:
        compress = importlib.import_module("zstandard").compress
        path.write_bytes(compress((damage.GRAPH + "a.png,p1,50,Male,PA,NIH,0,1\n").encode()))
        assert read_table(path, source="graph")["age"].tolist() == [50.0]
        path.write_bytes(compress(bytes(2**27)))
        with pytest.raises(TableError, match="unpacks to more than"):
            read_table(path, source="graph")


# --- what is no file at all


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")

    def waited(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, waited)
    signal.alarm(SECONDS)
    try:
        with pytest.raises(ImageError, match=r"pipe\.png' cannot be opened: it is a pipe"):
            read_image(tmp_path / "pipe.png")
        with pytest.raises(ImageError, match=r"pipe\.png' cannot be opened: it is a pipe"):
            read_dicom_tags([tmp_path / "pipe.png"])
        with pytest.raises(TableError, match=r"pipe\.png"):
            read_table(tmp_path / "pipe.png", source="graph")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_a_folder_or_an_impossible_name_is_no_radiograph(tmp_path):
    with pytest.raises(ImageError, match="cannot be opened: it is a folder"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match=r"a\\x00\.png' cannot be opened"):
        read_image(tmp_path / "a\0.png")
    with pytest.raises(TableError, match=r"a\\x00\.csv"):
        read_table(str(tmp_path / "a\0.csv"), source="graph")


def test_a_large_file_is_refused_unread(tmp_path, folder):
    path = tmp_path / "large.png"
    path.write_bytes((folder / "bomb-inside.png").read_bytes())
    os.truncate(path, 2**28 + 1)  # a hole, which takes no disk
    with pytest.raises(ImageError, match=r"large\.png' has 268,435,457 bytes; a file of one"):
        read_image(path)


def test_a_table_that_is_not_packed_has_no_limit(tmp_path, monkeypatch):
    """What the refusal advises helps: the same rows as a plain file."""
    monkeypatch.setattr(csv_file, "NO_BOMB", 1000)
    rows = damage.GRAPH + "a.png,p1,50,Male,PA,NIH,0,1\n" * 10_000
    (tmp_path / "a.csv").write_text(rows)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(rows.encode()))
    with pytest.raises(TableError, match="unpack it yourself"):
        read_table(tmp_path / "a.csv.gz", source="graph")
    assert len(read_table(tmp_path / "a.csv", source="graph")) == 10_000


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.bz2", ".csv.xz", ".zip", ".tar.gz"])
def test_packed_tables_are_the_table(tmp_path, suffix):
    table = pd.DataFrame({"age": [40.0, 50.0], "sex": ["Male", "Female"]})
    table.to_csv(tmp_path / f"a{suffix}", index=False)
    found = read_table(tmp_path / f"a{suffix}", source="graph")
    assert found["age"].tolist() == [40.0, 50.0]
    assert found["sex"].tolist() == ["Male", "Female"]


def test_scans_are_counted_within_dicom_too(tmp_path, folder):
    data = dataset(RAMP, bits=8)
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    data.PixelData = encapsulate([(folder / "bomb-scans.jpg").read_bytes()])
    with pytest.raises(ImageError, match=r"a\.dcm' has 3,0\d\d scans"):
        read_image(write(tmp_path / "a.dcm", data))


# --- all of them at once


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="needs cxrcausal[shards]")
def test_shards_hold_the_good_ones_and_the_quarantine_the_others(tmp_path, folder, outcomes):
    rng = np.random.default_rng(0)
    good = [tmp_path / "good" / f"{i}.png" for i in range(12)]
    good[0].parent.mkdir()
    for path in good:
        Image.fromarray(rng.integers(0, 256, (20, 20), np.uint8)).save(path)
    bad = sorted(folder.iterdir())
    others = [tmp_path / "good", tmp_path / "pipe.png"]  # a folder, and what would be waited for
    os.mkfifo(others[1])
    paths = [*good[:6], *others, *bad, *good[6:]]
    table = pd.DataFrame({"image": [*map(str, paths), None]})
    out = tmp_path / "out"
    quarantine = shard_images(table, out, 16, shard_size=50, workers=2, progress=False)

    refused = dict(zip(quarantine["path"], quarantine["reason"], strict=True))
    assert all(refused.values())
    assert all(Path(path).name in why for path, why in refused.items() if path)
    must = {str(p) for p in bad if ".csv" in p.name or outcomes[p.name][0] != "read"}
    assert must | {*map(str, others), ""} == set(refused)
    shards = read_shards(out)
    kept = table["image"].drop(quarantine["row"])
    assert list(shards.table["key"]) == [f"{i:09d}" for i in kept.index]
    ours = [i for i, path in enumerate(kept) if Path(path) in good]
    assert len(ours) == len(good)
    assert torch.equal(shards.pixels(ours), read_images(good, 16).mul(255).round() / 255)

    count = -(-len(table) // 50)
    whole = {"shards.json", "table.parquet", "quarantine.csv"}
    whole |= {f"shard-{k:06d}.tar" for k in range(count)}
    whole |= {f"records/shard-{k:06d}.json" for k in range(count)}
    assert {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()} == whole
