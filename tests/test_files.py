"""A file is complete or absent, and as private as the process that writes it."""

import hashlib
import os

import pytest

from cxrcausal.files import atomic_path, sha256_of


@pytest.fixture
def umask():
    """Sets the process's umask for one test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    target = tmp_path / "file.txt"
    target.write_text("old")

    def fail():
        with atomic_path(target) as beside:
            beside.write_text("half")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_first_write_leaves_nothing(tmp_path):
    def fail():
        with atomic_path(tmp_path / "new" / "file.txt"):
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fail()
    assert list((tmp_path / "new").iterdir()) == []


def test_nothing_stands_at_the_place_before_the_end(tmp_path):
    with atomic_path(tmp_path / "file.txt") as beside:
        beside.write_text("new")
        assert not (tmp_path / "file.txt").exists()
    assert (tmp_path / "file.txt").read_text() == "new"


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
@pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o600), (0o022, 0o644)])
def test_who_may_read_is_what_the_umask_says(tmp_path, umask, mask, mode):
    umask(mask)
    with atomic_path(tmp_path / "patients.csv") as beside:
        beside.write_text("age\n40\n")
    assert (tmp_path / "patients.csv").stat().st_mode & 0o777 == mode


def test_digest_is_of_the_bytes(tmp_path):
    (tmp_path / "weights").write_bytes(b"\0" * 100_000)
    assert sha256_of(tmp_path / "weights") == hashlib.sha256(b"\0" * 100_000).hexdigest()
