"""What a source of radiographs is: whose table, in which layout, read how, and on what terms.

A source is one module of this folder with a `SOURCE` in it, and touches nothing else: the registry
finds it there. A source of one's own joins by `register_source`.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import final

import pandas as pd

from cxrcausal.data.source.vocabulary import Columns, Policies
from cxrcausal.errors import TableError, nearest, summarise
from cxrcausal.graph.dag import CausalGraph

__all__ = ["Reader", "Source", "list_sources", "load_source", "register_source"]

Reader = Callable[[pd.DataFrame, CausalGraph, Policies, dict[str, int]], Columns]
"""From a source's table, the graph, the policies and a count of remarks (added to in place) to the
graph's columns, `patient_id` and `image`."""


@final
@dataclass(frozen=True)
class Source:
    """A public collection of radiographs, or a layout of tables.

    Arguments:
        name: What `read_table(source=...)` calls it.
        title: What its owners call it.
        read: How its table becomes the graph's columns.
        columns: The source's columns that each of the graph's variables is read from.
        never_labelled: Variables for which it has no column, so that they are unknown throughout.
        names: Columns that hold names rather than numbers, whatever they look like.
        has_reports: Whether labels were mined from reports, so that policies decide what silence
            and uncertainty are.
        images_beside: Whether image names are relative to the table's own folder.
        licence: On what terms the data may be used.
        citation: What to cite.
    """

    name: str
    title: str
    read: Reader
    columns: Mapping[str, str] = field(default_factory=dict)
    never_labelled: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    has_reports: bool = False
    images_beside: bool = False
    licence: str = ""
    citation: str = ""


_REGISTERED: dict[str, Source] = {}


def register_source(source: Source) -> Source:
    """Makes a source known by its name, and returns it.

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
