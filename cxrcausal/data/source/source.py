"""What a source of radiographs is: whose table, in which layout, read how, and on what terms.

A source is one module of this folder with a `SOURCE` in it, and touches nothing else: the registry
finds it there. A source of one's own joins by `register_source`.
"""

import importlib
import os
import pkgutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import final

import pandas as pd

from cxrcausal.data.csv_file import read_csv
from cxrcausal.data.parquet_file import read_parquet
from cxrcausal.data.source.download import SourceFile, read_files
from cxrcausal.data.source.vocabulary import Columns, Policies
from cxrcausal.errors import TableError, nearest, summarise
from cxrcausal.graph.dag import CausalGraph

__all__ = ["Loader", "Reader", "Source", "list_sources", "load_source", "register_source"]

Reader = Callable[[pd.DataFrame, CausalGraph, Policies, dict[str, int]], Columns]
"""From a source's table, the graph, the policies and a count of remarks (added to in place) to the
graph's columns, `patient_id`, `image`, and `study_id` and `split` where the source has them."""

Loader = Callable[[Path, CausalGraph, Collection[str]], pd.DataFrame]
"""From a download folder (or a file of it that is no CSV table), the graph and the columns to
carry along to one table in the source's layout, one row per radiograph, as the `Reader` takes it.
"""


@final
@dataclass(frozen=True)
class Source:
    """A public collection of radiographs, or a layout of tables.

    Arguments:
        name: What `read_table(source=...)` calls it.
        title: What its owners call it.
        read: How its table becomes the graph's columns.
        load: How its download folder becomes its table; if left out, its `files` are read and
            stand one after the other.
        files: The files of its download folder.
        columns: The source's columns that each of the graph's variables is read from.
        mapping: What becomes of their values, where it is not what the name says.
        never_labelled: Variables for which it has no column, so that they are unknown throughout.
        names: Columns that hold names rather than numbers, whatever they look like.
        has_reports: Whether labels were mined from reports, so that policies decide what silence
            and uncertainty are.
        not_mentioned: How the source writes that a report does not mention a finding; empty if it
            never does.
        uncertain: How it writes that a report calls a finding uncertain; empty if it never does.
        ages: What its ages are not: top-coded, grouped, reckoned.
        images_beside: Whether image names are relative to the table's own folder.
        image_layout: How an image's path is made, relative to the download folder.
        licence: On what terms the data may be used.
        citation: What to cite.
    """

    name: str
    title: str
    read: Reader
    load: Loader | None = None
    files: tuple[SourceFile, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    mapping: Mapping[str, str] = field(default_factory=dict)
    never_labelled: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    has_reports: bool = False
    not_mentioned: str = ""
    uncertain: str = ""
    ages: str = ""
    images_beside: bool = False
    image_layout: str = ""
    licence: str = ""
    citation: str = ""

    def frame(
        self, path: str | os.PathLike, graph: CausalGraph, keep: Collection[str] = ()
    ) -> pd.DataFrame:
        """Returns the source's own table, read from one file or from its download folder.

        Arguments:
            path: A CSV or parquet table in its layout, or its download folder.
            graph: Whose levels are words, whatever else they may mean.
            keep: Columns that nobody reads here.

        Raises:
            TableError: If a file is absent or cannot be read.
            MissingExtraError: If a parquet table needs pyarrow, which is not installed.
        """
        if not isinstance(path, str | os.PathLike):
            raise TableError(
                f"path is {path!r}; give a CSV file or a pandas DataFrame, or a download folder"
            )
        there = Path(path)
        if there.is_dir():
            if self.load is not None:
                return self.load(there, graph, keep)
            if not self.files:
                raise TableError(
                    f"{os.fspath(path)!r} is a folder; source {self.name!r} is read from one table"
                )
            return read_files(self.files, there, graph, self.names, keep)
        if there.suffix == ".parquet":
            return read_parquet(there)
        if there.suffix == ".json" and self.load is not None and there.is_file():
            return self.load(there, graph, keep)
        return read_csv(path, graph, self.names, keep)


_REGISTERED: dict[str, Source] = {}


def register_source(source: Source) -> Source:
    """Makes a source known by its name, and returns it.

    Arguments:
        source: The source; `read_table(source=...)` then takes its name.

    Raises:
        TableError: If another source has that name.
    """
    known = _shipped() | _REGISTERED
    if known.get(source.name, source) != source:
        raise TableError(f"there is another source {source.name!r}, of {known[source.name].title}")
    _REGISTERED[source.name] = source
    return source


def list_sources() -> tuple[str, ...]:
    """Returns the names of all sources."""
    return tuple(sorted(_shipped() | _REGISTERED))


def load_source(name: str) -> Source:
    """Returns the source of that name.

    Arguments:
        name: One of `list_sources`.

    Raises:
        TableError: If there is none.
    """
    known = _shipped() | _REGISTERED
    if name not in known:
        raise TableError(
            f"source {name!r} is not known{nearest(name, known) or '.'} "
            f"Allowed: {summarise(sorted(known), 20)}"
        )
    return known[name]


@cache
def _shipped() -> dict[str, Source]:
    """Returns the sources that stand beside this module, each in a module of its own."""
    package = importlib.import_module(__name__.rpartition(".")[0])
    modules = [
        importlib.import_module(f"{package.__name__}.{found.name}")
        for found in pkgutil.iter_modules(package.__path__)
    ]
    sources = [module.SOURCE for module in modules if hasattr(module, "SOURCE")]
    return {source.name: source for source in sources}
