"""Radiographs decoded once: tar files of small squares that a training reads, and their table.

A shard is a plain tar in the layout of webdataset: for each radiograph ``<key>.png`` (one grey
channel) and ``<key>.json`` (its row of the table). What stands in which shard follows from the
order of the table alone, and no time, user or number of processes is written, so that two runs
over the same files give the same bytes. A shard is written beside its place and renamed, its
record first: a run that was killed goes on with the shards that are not there.

    | output/
    |   shards.json            how they were made
    |   shard-000000.tar ...   radiographs
    |   records/               per shard: its digest, its rows, and which files were refused
    |   table.parquet          the table's rows that have a radiograph, with `shard` and `key`
    |   quarantine.csv         row, path and reason of every file that has none

References:
    | WebDataset: the layout of shards, https://github.com/webdataset/webdataset
"""

import hashlib
import io
import json
import logging
import math
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, UInt
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from cxrcausal.data.parquet_file import need_pyarrow, read_parquet, write_parquet
from cxrcausal.data.radiograph import read_image
from cxrcausal.data.shard_file import (
    FORMAT,
    add_member,
    is_whole,
    plain_records,
    read_json,
    read_pixels,
    record_path,
    shard_key,
    shard_name,
    write_json,
)
from cxrcausal.data.workers import Refused, count_workers, over_files
from cxrcausal.errors import ImageError, OptionError, TableError
from cxrcausal.files import atomic_path, sha256_of

__all__ = ["Shards", "read_shards", "shard_images"]

BITS = {8: np.uint8, 16: np.uint16}
BESIDE = ("shards.json", "quarantine.csv", "table.parquet")
"""The files that stand beside the shards."""

logger = logging.getLogger("cxrcausal")


@final
@dataclass(frozen=True)
class Shards:
    """Radiographs in memory, as compact as they were stored, and their table.

    Arguments:
        images: Grey values as stored (radiograph, 1, size, size), uint8 or uint16.
        table: A row for each of them, in the same order, on an index from 0.
    """

    images: UInt[Tensor, "radiograph 1 size size"]
    table: pd.DataFrame

    def pixels(self, rows: Tensor | slice | Sequence[int]) -> Float[Tensor, "row 1 size size"]:
        """Returns the radiographs of these rows as float32 in [0, 1], lungs dark."""
        images = self.images[rows]
        return images.float() / float(torch.iinfo(images.dtype).max)


def shard_images(
    table: pd.DataFrame,
    output: str | os.PathLike,
    size: int,
    *,
    bits: int = 8,
    shard_size: int = 1000,
    workers: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Decodes each radiograph once and writes all of them as shards, with the table beside them.

    A run that was stopped goes on where it was when it is called again with the same arguments;
    one run at a time writes to a folder. Files are known by their names: one that changed under
    its name is not read again.

    Arguments:
        table: Rows with `image`, the file of each radiograph, as `read_table` returns; the other
            columns go along.
        output: The folder to write to; there, or in nothing that is not yet there.
        size: The side in pixels of the squares, made as `read_image` makes them.
        bits: 8 or 16, the depth of the stored grey values.
        shard_size: Rows per shard.
        workers: How many processes decode; one per core if left out.
        progress: Whether to show a progress bar on a terminal.

    Returns:
        The quarantine: a row for each radiograph that could not be read, with `row` (counted from
        0), `path` and `reason`.

    Raises:
        TableError: If the table has no column `image`, no rows, or no readable radiograph.
        OptionError: If `size`, `bits`, `shard_size` or `workers` is not allowed, or the folder
            holds shards that were made of another table or otherwise.
        MissingExtraError: If pyarrow, which writes the table, is not installed.
    """
    need_pyarrow()
    workers, folder = count_workers(workers), Path(output)
    plan = _plan(table, size, bits, shard_size)
    paths = table["image"].astype(object).where(table["image"].notna(), None).tolist()
    root = _common_folder(paths)
    rows = table.reset_index(drop=True)
    rows["image"] = [_beneath(root, path) for path in paths]
    _claim(folder, plan)
    missing = [k for k in range(plan["shards"]) if not is_whole(folder, k)]
    if len(missing) < plan["shards"]:
        logger.info("%d of %d shards are there", plan["shards"] - len(missing), plan["shards"])
    spans = {k: range(k * shard_size, min((k + 1) * shard_size, len(rows))) for k in missing}
    tasks = [(paths[i], size, bits) for k in missing for i in spans[k]]
    answers = over_files(_encode, tasks, workers)
    bar = tqdm(total=len(tasks), unit="image", disable=None if progress else True)
    with bar:
        for k in missing:
            _write_shard(folder, k, rows, spans[k], _counted(answers, bar))
    return _assemble(folder, plan, rows, paths)


def read_shards(folder: str | os.PathLike) -> Shards:
    """Reads all shards of a folder into memory.

    Arguments:
        folder: What `shard_images` wrote.

    Returns:
        The radiographs as stored (8 or 16 bits) and their table; `image` is the file each came
        from, relative to the folder that they have in common.

    Raises:
        ImageError: If the folder holds no shards, they are not finished, or they are damaged.
        MissingExtraError: If pyarrow, which reads the table, is not installed.
    """
    need_pyarrow()
    folder = Path(folder)
    plan = read_json(folder / "shards.json")
    if plan is None or plan.get("format") != FORMAT:
        raise ImageError(f"{str(folder)!r} holds no shards of format {FORMAT} (shards.json)")
    if not (folder / "table.parquet").is_file():
        raise ImageError(f"{str(folder)!r} has no table.parquet: its shards are not finished")
    try:
        table = read_parquet(folder / "table.parquet")
    except TableError as error:
        raise ImageError(f"{str(folder / 'table.parquet')!r} is damaged: {error}") from error
    size = plan["size"]
    stored = np.empty((len(table), 1, size, size), BITS[plan["bits"]])
    at = 0
    for name, part in table.groupby("shard", sort=False, observed=True):
        for key, pixels in read_pixels(folder / str(name)):
            if at >= len(table) or key != table["key"].iloc[at] or pixels.shape != (size, size):
                raise ImageError(f"{str(folder / str(name))!r} is not what table.parquet says")
            stored[at, 0] = pixels
            at += 1
        if at != part.index[-1] + 1:
            raise ImageError(f"{str(folder / str(name))!r} lacks radiographs of table.parquet")
    return Shards(torch.from_numpy(stored), table)


def _plan(table: pd.DataFrame, size: int, bits: int, shard_size: int) -> dict[str, Any]:
    """Returns what decides the bytes of every shard; refuses what cannot be made."""
    if "image" not in table.columns:
        raise TableError("the table has no column 'image', which names each row's radiograph")
    if not len(table):
        raise TableError("the table has no rows, so there is nothing to shard")
    for name, value in {"size": size, "shard_size": shard_size}.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise OptionError(f"{name} is {value!r}; give a whole number from 1")
    if size > (largest := 4096):
        raise OptionError(f"size is {size} pixels; at most {largest} are made")
    if bits not in BITS:
        raise OptionError(f"bits is {bits!r}; allowed: 8 and 16")
    written = table.to_csv(index=False).encode("utf-8", "surrogatepass")
    return {
        "format": FORMAT,
        "size": size,
        "bits": bits,
        "shard_size": shard_size,
        "rows": len(table),
        "shards": math.ceil(len(table) / shard_size),
        "table_sha256": hashlib.sha256(written).hexdigest(),
    }


def _claim(folder: Path, plan: dict[str, Any]) -> None:
    """Makes the folder ours, and clears what a killed run left beside its place.

    Raises:
        OptionError: If other shards stand there.
    """
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"output {str(folder)!r} is a file; give a folder")
    found = read_json(folder / "shards.json")
    if found is not None and found != plan:
        other = sorted(key for key in plan if found.get(key) != plan[key])
        said = ", ".join(f"{key} {found.get(key)!r}, asked {plan[key]!r}" for key in other)
        raise OptionError(f"{str(folder)!r} holds other shards ({said}); give another folder")
    if found is None and folder.is_dir() and any(folder.glob("shard-*.tar")):
        raise OptionError(f"{str(folder)!r} holds shards without shards.json; give another folder")
    unfinished = (".*.tar.*", "records/.*.json.*", *(f".{name}.*" for name in BESIDE))
    for left in (path for pattern in unfinished for path in folder.glob(pattern)):
        left.unlink()
    write_json(folder / "shards.json", plan)


def _counted(answers: Iterator[Any], bar: "tqdm[Any]") -> Iterator[Any]:
    for answer in answers:
        bar.update()
        yield answer


def _write_shard(
    folder: Path, k: int, rows: pd.DataFrame, span: range, answers: Iterator[bytes | Refused]
) -> None:
    """Writes one shard, its record first: a shard that stands in its place has one."""
    kept: list[int] = []
    refused: dict[int, str] = {}
    with atomic_path(folder / shard_name(k)) as beside:
        with tarfile.open(beside, "w", format=tarfile.USTAR_FORMAT) as tar:
            for i, row in zip(span, plain_records(rows.iloc[span.start : span.stop]), strict=True):
                answer = next(answers)
                if isinstance(answer, Refused):
                    refused[i] = answer.reason
                    continue
                kept.append(i)
                add_member(tar, f"{shard_key(i)}.png", answer)
                add_member(
                    tar, f"{shard_key(i)}.json", json.dumps(row, ensure_ascii=False).encode()
                )
        write_json(
            record_path(folder, k), {"sha256": sha256_of(beside), "kept": kept, "refused": refused}
        )


def _assemble(
    folder: Path, plan: dict[str, Any], rows: pd.DataFrame, paths: Sequence[str | None]
) -> pd.DataFrame:
    """Writes the table and the quarantine from the shards' records, and returns the quarantine."""
    kept: list[int] = []
    shards: list[str] = []
    lines: list[tuple[int, str, str]] = []
    for k in range(plan["shards"]):
        record = read_json(record_path(folder, k))
        assert record is not None
        kept += record["kept"]
        shards += [shard_name(k)] * len(record["kept"])
        lines += [(int(i), paths[int(i)] or "", why) for i, why in record["refused"].items()]
    quarantine = pd.DataFrame(lines, columns=["row", "path", "reason"])
    with atomic_path(folder / "quarantine.csv") as beside:
        quarantine.to_csv(beside, index=False)
    if not kept:
        raise TableError(
            f"none of {len(rows)} radiographs could be read; row {lines[0][0]}: {lines[0][2]}"
        )
    table = rows.iloc[kept].reset_index(drop=True)
    table["shard"], table["key"] = shards, [shard_key(i) for i in kept]
    with atomic_path(folder / "table.parquet") as beside:
        write_parquet(table, beside)
    return quarantine


def _encode(task: tuple[str | None, int, int]) -> bytes:
    """Returns one radiograph as the bytes of a PNG."""
    path, size, bits = task
    if path is None:
        raise ImageError("the row names no radiograph")
    pixels = read_image(path, size)[0, 0].numpy().astype(np.float64)
    stored = np.rint(pixels * (2**bits - 1)).astype(BITS[bits])
    buffer = io.BytesIO()
    Image.fromarray(stored).save(buffer, "PNG")
    return buffer.getvalue()


def _common_folder(paths: Sequence[str | None]) -> str:
    """Returns the folder that all files have in common: where they lie is nobody's business."""
    folders = {os.path.dirname(os.path.abspath(path)) for path in paths if path is not None}
    try:
        return os.path.commonpath(folders) if folders else os.curdir
    except ValueError:  # on several drives
        return os.curdir


def _beneath(root: str, path: str | None) -> str | None:
    return None if path is None else Path(os.path.relpath(path, root)).as_posix()
