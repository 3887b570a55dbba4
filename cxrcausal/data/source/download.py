"""What an owner hands out: the files of a download folder, each by the name its owner gave it.

A download is one table or several, packed or not, in the folder itself or in one below it. Whoever
misses a file is told its name, what its owner calls it and where it was looked for, never an empty
table.
"""

import glob
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import pandas as pd

from cxrcausal.data.csv_file import read_csv
from cxrcausal.errors import TableError, nearest, summarise
from cxrcausal.graph.dag import CausalGraph

__all__ = ["SourceFile", "read_files"]


@final
@dataclass(frozen=True)
class SourceFile:
    """A file of a download.

    Arguments:
        names: What it is called; the first is its present name, others are of earlier editions.
            A CSV file may be packed (`.gz`) or not, whatever the name says.
        what: What its owner calls it, or what it holds.
        places: Folders it may lie in, relative to the download folder; `*` stands for any name.
        needed: Whether the source cannot be read without it.
    """

    names: tuple[str, ...]
    what: str
    places: tuple[str, ...] = ("",)
    needed: bool = True

    def find(self, folder: Path) -> Path | None:
        """Returns where the file lies; None if it does not and is not needed.

        Raises:
            TableError: If a file that is needed is not there.
        """
        for place in self.places:
            there = glob.glob(os.path.join(glob.escape(str(folder)), place))
            for parent in sorted(there, reverse=True):  # the latest of several versions
                for name in self.names:
                    for spelled in (name, f"{name}.gz", name.removesuffix(".gz")):
                        if (path := Path(parent) / spelled).is_file():
                            return path
        if not self.needed:
            return None
        present = sorted(path.name for path in folder.iterdir())
        raise TableError(
            f"folder {os.fspath(folder)!r} has no {' or '.join(map(repr, self.names))}, "
            f"{self.what}{nearest(self.names[0], present) or '.'} Looked in "
            f"{summarise([place or 'the folder itself' for place in self.places], 10)}; it has: "
            f"{summarise(present, 20)}"
        )


def read_files(
    files: Sequence[SourceFile],
    folder: Path,
    graph: CausalGraph,
    names: Collection[str],
    keep: Collection[str],
) -> pd.DataFrame:
    """Returns the rows of a download's CSV files one after the other, on an index from 0.

    Arguments:
        files: Which files; those that are not needed may be absent.
        folder: The download folder.
        graph: Whose levels are words, whatever else they may mean.
        names: Columns of names, which stay as written.
        keep: Columns that nobody reads here.

    Raises:
        TableError: If a file that is needed is absent, or one cannot be read.
    """
    found = [path for path in (file.find(folder) for file in files) if path is not None]
    frames = [read_csv(path, graph, names, keep) for path in found]
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
