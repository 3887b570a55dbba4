"""Files that are complete or absent: written beside their place, then renamed."""

import contextlib
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

from cxrcausal.errors import CheckpointError

__all__ = ["atomic_path", "sha256_of", "written_folder"]


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a name beside `path` to write to; renames it to `path` when the block ends well.

    If the block raises, what stood at `path` still stands there, and nothing is left beside it.
    Who may read the file is what the process's umask says, as for any file that a program opens.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # less the umask
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def sha256_of(path: str | Path) -> str:
    """Returns the SHA-256 of a file's bytes, in hexadecimal.

    Two files that belong together are renamed one after the other. The one that is written last
    holds this digest of the first, so that a reader can tell a mixture of two saves from either.
    """
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextlib.contextmanager
def written_folder(folder: str | PathLike[str]) -> Iterator[Path]:
    """Yields an empty folder beside the wanted one, whose files move there if all went well.

    Each file is renamed by itself, so a process that dies between two leaves files of two saves:
    let one of them hold the `sha256_of` the other.

    Raises:
        CheckpointError: If the path cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder}: is a file; give a folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be written: {error}") from error
    try:
        yield beside
        folder.mkdir(exist_ok=True)
        for file in sorted(beside.iterdir()):
            os.replace(file, folder / file.name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
