"""Files that are complete or absent: written beside their place, then renamed."""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

__all__ = ["atomic_path", "sha256_of"]


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a name beside `path` to write to; renames it to `path` when the block ends well.

    If the block raises, what stood at `path` still stands there, and nothing is left beside it. Who may
    read the file is what the process's umask says, as for any file that a program opens.
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

    Two files that belong together are renamed one after the other. The one that is written last holds
    this digest of the first, so that a reader can tell a mixture of two saves from either.
    """
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
