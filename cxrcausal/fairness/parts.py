"""A plan worked through in parts, by one process or many, and gone on with after a death.

A *part* is some candidates of one cell; its outcome is one shard (of what was kept) and one record
(of what became of each candidate). In a *round* every cell tries as many candidates as it still
lacks, so that no radiograph is made that is not needed; what the first round refused, the next one
makes up for. Which parts there are follows from the plan and from the outcomes of earlier rounds,
never from the number of processes: process r of n paints parts r, r + n, ... of a round, waits for
the others', and paints those itself that do not come. A part stands in its place whole or not at
all.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from cxrcausal.data.shard_file import is_whole, read_json, record_path, write_json
from cxrcausal.errors import OptionError

__all__ = ["Part", "claim", "completed", "processes"]

PATIENCE = 600.0
"""After so many seconds without a part of another process it is taken for dead."""
_POLL = 0.2

logger = logging.getLogger("cxrcausal")


@final
@dataclass(frozen=True)
class Part:
    """Some candidates of one cell.

    Arguments:
        number: Which shard they go to.
        cell: Their cell, a row of `AugmentationPlan.cells`.
        first: The place of the first one in the cell's order.
        last: The place after the last one.
    """

    number: int
    cell: int
    first: int
    last: int


def completed(
    folder: Path,
    needed: np.ndarray,
    available: np.ndarray,
    part_size: int,
    paint: Callable[[Part], None],
) -> list[tuple[Part, dict[str, Any]]]:
    """Returns every part of a plan with its record, those painted that were not there.

    Arguments:
        folder: Where shards and records stand.
        needed: How many radiographs each cell lacks, (cells,).
        available: How many candidates it has, (cells,).
        part_size: Candidates per part at most.
        paint: Writes one part, its record first.
    """
    rank, count = processes()
    tried, kept = np.zeros_like(needed), np.zeros_like(needed)
    found: list[tuple[Part, dict[str, Any]]] = []
    patience = PATIENCE
    while True:
        parts = _round(len(found), needed - kept, tried, available, part_size)
        if not parts:
            return found
        for part in parts[rank::count]:
            if not is_whole(folder, part.number):
                paint(part)
        for part in parts:  # of others, or replaced by one that raced with this process
            while not is_whole(folder, part.number):
                if not _appears(folder, part.number, patience):
                    patience = 0.0
                    logger.warning("part %d has not come; it is painted here", part.number)
                    paint(part)
        for part in parts:
            record = read_json(record_path(folder, part.number))
            assert record is not None
            found.append((part, record))
            tried[part.cell] = part.last
            kept[part.cell] += len(record["kept"])


def processes() -> tuple[int, int]:
    """Returns which process of how many this is, as `torchrun` says it in the environment.

    Raises:
        OptionError: If RANK and WORLD_SIZE are no such numbers.
    """
    said = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    try:
        rank, count = map(int, said)
    except ValueError:
        rank, count = -1, 0
    if not 0 <= rank < count:
        raise OptionError(
            f"RANK is {said[0]!r} and WORLD_SIZE {said[1]!r} in the environment; they are whole "
            "numbers, RANK from 0 and below WORLD_SIZE"
        )
    return rank, count


def claim(folder: Path, request: Mapping[str, Any]) -> None:
    """Makes a folder ours, or goes on with it if it was made by the same request.

    Raises:
        OptionError: If something else stands there.
    """
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"output {str(folder)!r} is a file; give a folder")
    found = read_json(folder / "shards.json")
    if found is not None and found != request:
        other = sorted(key for key in request if found.get(key) != request[key])
        said = "; ".join(f"{key}: {found.get(key)!r}, asked {request[key]!r}" for key in other)
        raise OptionError(f"{str(folder)!r} holds other shards ({said}); give another folder")
    if found is None and folder.is_dir() and any(folder.glob("shard-*.tar")):
        raise OptionError(f"{str(folder)!r} holds shards without shards.json; give another folder")
    if processes()[1] == 1:  # of others' files beside their place, some are being written
        for left in [*folder.glob(".*.tar.*"), *folder.glob("records/.*.json.*")]:
            left.unlink(missing_ok=True)
    if found is None:
        write_json(folder / "shards.json", dict(request))


def _round(
    number: int, short: np.ndarray, tried: np.ndarray, available: np.ndarray, part_size: int
) -> list[Part]:
    """Returns the parts of the next round, numbered from `number`; none if nothing can be done."""
    parts: list[Part] = []
    for cell, lacks in enumerate(short):
        first, end = int(tried[cell]), int(min(tried[cell] + max(lacks, 0), available[cell]))
        for start in range(first, end, part_size):
            last = min(start + part_size, end)
            parts.append(Part(number + len(parts), cell, start, last))
    return parts


def _appears(folder: Path, number: int, patience: float) -> bool:
    """Returns whether a part is there within so many seconds."""
    until = time.monotonic() + patience
    while not is_whole(folder, number):
        if time.monotonic() >= until:
            return False
        time.sleep(_POLL)
    return True
