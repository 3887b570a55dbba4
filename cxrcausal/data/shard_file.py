"""One shard: a tar of radiographs and their rows, its record beside it, and the names of both."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from cxrcausal.errors import ImageError
from cxrcausal.files import atomic_path, sha256_of

__all__ = [
    "FORMAT",
    "add_member",
    "is_whole",
    "plain_records",
    "read_json",
    "read_pixels",
    "record_path",
    "shard_key",
    "shard_name",
    "write_json",
]

FORMAT = 1
"""The version of the layout of a folder of shards."""


def is_whole(folder: Path, k: int) -> bool:
    """Whether shard k is there, and is what its record says."""
    record, shard = read_json(record_path(folder, k)), folder / shard_name(k)
    return record is not None and shard.is_file() and sha256_of(shard) == record.get("sha256")


def read_pixels(shard: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the key and the stored pixels of each radiograph of a shard."""
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                if not member.name.endswith(".png"):
                    continue
                file = tar.extractfile(member)
                assert file is not None
                with Image.open(file, formats=("PNG",)) as image:
                    yield member.name.removesuffix(".png"), np.asarray(image)
    except (OSError, EOFError, SyntaxError, tarfile.TarError) as error:
        raise ImageError(f"{str(shard)!r} cannot be read as a shard: {error}") from error


def add_member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Adds a file of no one and no time."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    tar.addfile(info, io.BytesIO(content))


def plain_records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Returns rows as plain values, unknown ones as None."""
    return json.loads(rows.to_json(orient="records", double_precision=15))


def shard_name(k: int) -> str:
    """Returns the name of shard k."""
    return f"shard-{k:06d}.tar"


def shard_key(i: int) -> str:
    """Returns the key of radiograph i."""
    return f"{i:09d}"  # a key of webdataset ends at its first dot, so no file name


def record_path(folder: Path, k: int) -> Path:
    """Returns where the record of shard k stands."""
    return folder / "records" / f"shard-{k:06d}.json"


def read_json(path: Path) -> dict[str, Any] | None:
    """Returns what a file of JSON holds; None where there is none, or it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a file of JSON, whole or not at all."""
    with atomic_path(path) as beside:
        beside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
