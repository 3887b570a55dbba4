"""What is kept comes back exactly; what is damaged, mixed or of another kind is named."""

import json
import os

import pytest
import torch

from cxrcausal.checkpoint import entry, read_record, read_tensors, write_checkpoint
from cxrcausal.errors import CheckpointError

RECORD = {"format_version": 3, "kind": "Thing", "words": ["a", "ä"]}
TENSORS = {"w": torch.arange(6.0).reshape(2, 3).T, "n": torch.tensor([1, 2])}


def test_round_trip(tmp_path):
    """Views, integers and words that are not ASCII; other files of the folder stay."""
    (tmp_path / "other.txt").write_text("stays")
    assert write_checkpoint(tmp_path, "thing", RECORD, TENSORS) == tmp_path
    record = read_record(tmp_path / "thing.json", 3, "Thing")
    assert {key: record[key] for key in RECORD} == RECORD
    tensors = read_tensors(tmp_path / "thing.safetensors", record)
    assert all(torch.equal(tensors[name], x) for name, x in TENSORS.items())
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "other.txt", "thing.json", "thing.safetensors",
    ]  # fmt: skip


def test_files_of_two_saves_are_refused(tmp_path):
    write_checkpoint(tmp_path / "a", "thing", RECORD, TENSORS)
    write_checkpoint(tmp_path / "b", "thing", RECORD, {"w": torch.zeros(3, 2)})
    (tmp_path / "b" / "thing.safetensors").replace(tmp_path / "a" / "thing.safetensors")
    record = read_record(tmp_path / "a" / "thing.json", 3)
    with pytest.raises(
        CheckpointError, match=r"thing\.safetensors: its SHA-256 .*different saves"
    ):
        read_tensors(tmp_path / "a" / "thing.safetensors", record)


@pytest.mark.parametrize("links", [True, False])
def test_a_save_that_dies_anywhere_leaves_one_checkpoint_or_the_other(
    tmp_path, monkeypatch, links
):
    """Killed before any one of its renames, again and again over its own remains."""
    if not links:
        monkeypatch.setattr(os, "link", lambda *paths: (_ for _ in ()).throw(OSError("no links")))
    rename, left = os.replace, [0]

    def rename_unless_dead(source, target):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "replace", rename_unless_dead)
    number, more = 0, {"more": {"m": torch.zeros(1)}}
    left[0] = 99
    write_checkpoint(tmp_path, "thing", RECORD | {"number": 0}, {"w": torch.zeros(1)}, more)
    for lives in (0, 1, 2, 3, 4, 2, 3, 1, 4, 0, 5, 3):
        left[0] = lives
        number += 1
        parts = {"more": {"m": torch.full((1,), float(number))}}
        tensors = {"w": torch.full((1,), float(number))}
        written = True
        try:
            write_checkpoint(tmp_path, "thing", RECORD | {"number": number}, tensors, parts)
        except KeyboardInterrupt:
            written = False
        record = read_record(tmp_path / "thing.json", 3)
        found = record["number"]
        assert written == (found == number)
        assert read_tensors(tmp_path / "thing.safetensors", record)["w"] == found
        beside = tmp_path / "more.safetensors"
        assert read_tensors(beside, record["more"], tmp_path / "thing.json")["m"] == found
    left[0] = 99
    write_checkpoint(tmp_path, "thing", RECORD | {"number": 99}, {"w": torch.zeros(1)}, more)
    names = ["more.safetensors", "thing.json", "thing.safetensors"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names


def test_a_failed_write_leaves_what_stood_there(tmp_path):
    write_checkpoint(tmp_path, "thing", RECORD, TENSORS)
    before = (tmp_path / "thing.json").read_text()
    with pytest.raises(CheckpointError, match="cannot be written as JSON"):
        write_checkpoint(tmp_path, "thing", RECORD | {"bad": object()}, TENSORS)
    with pytest.raises(CheckpointError, match="cannot be written as JSON"):
        write_checkpoint(tmp_path, "thing", RECORD | {"bad": float("nan")}, TENSORS)
    assert (tmp_path / "thing.json").read_text() == before
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda r: r | {"format_version": 4},
            r"key 'format_version' is 4; this version .* reads 3",
        ),
        (lambda r: r | {"kind": "Other"}, "key 'kind' is 'Other'; expected 'Thing'"),
        (lambda r: {"kind": "Thing"}, "key 'format_version' is missing"),
        (lambda r: [r], "found a list; expected an object"),
    ],
)
def test_a_record_of_another_kind_is_named(tmp_path, change, words):
    write_checkpoint(tmp_path, "thing", RECORD, TENSORS)
    file = tmp_path / "thing.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    with pytest.raises(CheckpointError, match=rf"thing\.json: {words}"):
        read_record(file, 3, "Thing")


def test_files_that_are_none_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"thing\.json: there is no such file"):
        read_record(tmp_path / "thing.json", 3)
    (tmp_path / "thing.json").write_text("{")
    with pytest.raises(CheckpointError, match="not readable as JSON"):
        read_record(tmp_path / "thing.json", 3)
    with pytest.raises(CheckpointError, match=r"thing\.safetensors: there is no such file"):
        read_tensors(tmp_path / "thing.safetensors", {})


def test_an_entry_has_the_type_that_is_expected(tmp_path):
    assert entry(tmp_path, {"a": 1}, "a", int) == 1
    with pytest.raises(CheckpointError, match=r"key 'x\.a' is 1; expected str"):
        entry(tmp_path, {"a": 1}, "a", str, "x.")
