"""A folder of tensors and JSON: what is kept of a model, and read again without running any code.

`NAME.safetensors` holds numbers, `NAME.json` everything else, the format's version and the SHA-256
of the numbers, so that files of two different saves are refused. Classes import this module; it
imports none.
"""

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from types import UnionType
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cxrcausal.errors import CheckpointError
from cxrcausal.files import previous_path, sha256_of, written_folder
from cxrcausal.version import __version__

__all__ = ["entry", "read_record", "read_tensors", "write_checkpoint"]


def write_checkpoint(
    folder: str | PathLike[str],
    name: str,
    record: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    further: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> Path:
    """Writes the files of a checkpoint, whole or not at all, and returns the folder.

    Older files of these names are replaced, others in the folder are kept. A writer that dies
    leaves the older checkpoint or this one: the JSON moves last, and until it has moved the
    tensors that the older one means stay beside, where `read_tensors` finds them.

    Arguments:
        folder: Made if absent.
        name: The files' name, without its ending.
        record: What JSON can hold, `format_version` among it.
        tensors: By name; kept contiguous, on the CPU.
        further: Other files of tensors, by their name without ending. What the record says of each
            stands under its name, with the SHA-256 of the file.

    Raises:
        CheckpointError: If something cannot be written as JSON, or the folder cannot be written.
    """
    record = dict(record)
    for key, value in record.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise CheckpointError(
                f"{name}.json: key {key!r} cannot be written as JSON: {error}"
            ) from error
    with written_folder(folder, last=f"{name}.json") as beside:
        record["tensors_sha256"] = _written(beside / f"{name}.safetensors", tensors)
        for other, parts in (further or {}).items():
            digest = _written(beside / f"{other}.safetensors", parts)
            record[other] = {**record.get(other, {}), "tensors_sha256": digest}
        text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
        (beside / f"{name}.json").write_text(text, encoding="utf-8")
    return Path(folder)


def _written(file: Path, tensors: Mapping[str, Tensor]) -> str:
    """Writes tensors, and returns the SHA-256 of the file."""
    kept = {key: x.detach().cpu().contiguous().clone() for key, x in tensors.items()}
    save_file(kept, file, metadata={"format": "pt"})
    return sha256_of(file)


def read_record(file: Path, format_version: int, kind: str | None = None) -> dict[str, Any]:
    """Returns the JSON of a checkpoint, its format checked.

    Arguments:
        file: The JSON file.
        format_version: The version that the caller reads.
        kind: What it must be of, if it says so.

    Raises:
        CheckpointError: If the file is missing, is not a JSON object, or has another format or
            kind.
    """
    if not file.is_file():
        raise CheckpointError(f"{file}: there is no such file; a saved folder has one")
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: not readable as JSON: {error}") from error
    if not isinstance(record, dict):
        raise CheckpointError(f"{file}: found a {type(record).__name__}; expected an object")
    found = entry(file, record, "format_version")
    if found != format_version:
        raise CheckpointError(
            f"{file}: key 'format_version' is {found!r}; this version of cxrcausal "
            f"({__version__}) reads {format_version}"
        )
    if kind is not None and entry(file, record, "kind") != kind:
        raise CheckpointError(f"{file}: key 'kind' is {record['kind']!r}; expected {kind!r}")
    return record


def read_tensors(
    file: Path, record: Mapping[str, Any], described_in: Path | None = None
) -> dict[str, Tensor]:
    """Returns the tensors of a checkpoint, those that its JSON was written with.

    If a later save died before its own JSON was there, they are beside the file (`previous_path`).

    Arguments:
        file: The safetensors file.
        record: What holds its digest under `tensors_sha256`.
        described_in: The file that this comes from; the JSON of the same name if None.

    Raises:
        CheckpointError: If the file is missing, belongs to another record, or is damaged.
    """
    if not file.is_file():
        raise CheckpointError(f"{file}: there is no such file; a saved folder has one")
    beside = described_in or file.with_suffix(".json")
    wanted = entry(beside, record, "tensors_sha256")
    try:
        found = sha256_of(file)
        previous = previous_path(file)
        if found != wanted and previous.is_file() and sha256_of(previous) == wanted:
            found, file = wanted, previous
        tensors = load_file(file) if found == wanted else {}
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{file}: not readable as safetensors: {error}") from error
    if found != wanted:
        raise CheckpointError(
            f"{file}: its SHA-256 is {found[:16]}…, but key 'tensors_sha256' of {beside.name} is "
            f"{str(wanted)[:16]}…: the file was changed, or the two are of different saves. Save "
            "again"
        )
    return tensors


def entry(
    file: Path,
    record: object,
    key: str,
    kind: type | UnionType = object,
    path: str = "",
) -> Any:  # noqa: ANN401
    """Returns one entry of a record, of the type that the reader expects.

    Arguments:
        file: Where the record stands, for an error.
        record: The record, or a part of it.
        key: The entry's name.
        kind: The type that it must have.
        path: The names of the parts that lead to it, each with a point behind.

    Raises:
        CheckpointError: If there is no such entry, or it is of another type.
    """
    if not isinstance(record, Mapping) or key not in record:
        raise CheckpointError(f"{file}: key {path + key!r} is missing")
    found = record[key]
    if not isinstance(found, kind):
        name = kind.__name__ if isinstance(kind, type) else str(kind)
        raise CheckpointError(f"{file}: key {path + key!r} is {found!r:.60}; expected {name}")
    return found
