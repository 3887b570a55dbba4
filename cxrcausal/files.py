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

__all__ = ["atomic_path", "previous_path", "sha256_of", "written_folder"]


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

    Two files that belong together are renamed one after the other. The one that is renamed last
    holds this digest of the first, so that a reader can tell a mixture of two saves from either.
    """
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextlib.contextmanager
def written_folder(folder: str | PathLike[str], last: str) -> Iterator[Path]:
    """Yields an empty folder beside the wanted one, whose files move there if all went well.

    Each file is renamed by itself, the one called `last` after the others. It says which others
    it belongs to (`sha256_of`), and until it is there the files that it replaces stay as
    `previous_path`: a process that dies between two renames leaves one save or the other, whole.

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
        names = sorted(file.name for file in beside.iterdir() if file.name != last)
        for name in names:
            _keep(folder / name, folder / last)
            os.replace(beside / name, folder / name)
        os.replace(beside / last, folder / last)
        for name in names:
            previous_path(folder / name).unlink(missing_ok=True)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def previous_path(file: Path) -> Path:
    """Returns where a file stays while a save replaces it, and where it is if that save died."""
    return file.with_name(f".{file.name}.previous")


def _keep(file: Path, described_in: Path) -> None:
    """Keeps a file as the previous one, if it is what its description says.

    If it is not, an earlier save died over it, and what the description means is kept already.
    """
    if not file.is_file() or not described_in.is_file():
        return
    if sha256_of(file) not in described_in.read_text(encoding="utf-8", errors="replace"):
        return
    beside = file.with_name(f".{file.name}.kept")
    beside.unlink(missing_ok=True)  # of a save that died here
    try:
        os.link(file, beside)
    except OSError:  # a file system without hard links
        shutil.copy2(file, beside)
    try:
        os.replace(beside, previous_path(file))
    finally:
        beside.unlink(missing_ok=True)
