"""A table or folder of one's own: which of its columns is which variable, in a dict or a file.

A mapping names each column that is to be read and says what it is: a variable of the graph, or
`patient_id`, `study_id`, `image` or `split`. Where the words differ from the graph's levels, the
entry is a mapping itself, `to` the variable and `values` from their word to the level (or to
nothing: unknown); of `patient_id` and `study_id` it may give a `prefix`, so that the patient 7 of
two hospitals are two.

As YAML, where every word is taken as written (`no` is a word)::

    Patient Gender: sex
    Age (years): age
    MRN: {to: patient_id, prefix: ward-}
    Effusion: {to: pleural_effusion, values: {yes: positive, no: negative, "?": }}

What is not mapped is unknown; what is not understood is refused with the nearest that is known.
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import pandas as pd
import yaml

from cxrcausal.data.csv_file import read_csv
from cxrcausal.data.parquet_file import read_parquet
from cxrcausal.data.source.ages import years
from cxrcausal.data.source.source import Source
from cxrcausal.data.source.vocabulary import (
    Columns,
    Policies,
    as_written,
    column,
    levels,
    no_finding_conflicts,
    numbers,
    splits,
    text,
)
from cxrcausal.errors import TableError, nearest, summarise
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.scm.table import check_table

__all__ = ["mapped_source"]

NAMES = ("patient_id", "study_id", "image", "split")
KEYS = ("to", "values", "prefix")
UNKNOWN = ("", "~", "null")
"""What a YAML file writes for nothing."""


@final
@dataclass(frozen=True)
class _Entry:
    """What one column is: the variable, its words (None: as they stand), and a prefix of names."""

    to: str
    values: Mapping[str, str | None] | None = None
    prefix: str = ""


def mapped_source(mapping: Mapping[str, object] | str | os.PathLike) -> Source:
    """Returns the source whose columns a mapping describes.

    Arguments:
        mapping: From a column's name to what it is, or a YAML file of that (see the module).

    Raises:
        TableError: If it is no such mapping, or two columns are the same variable.
    """
    where = "the mapping"
    if isinstance(mapping, str | os.PathLike):
        where = f"mapping {os.fspath(mapping)!r}"
        mapping = _read(Path(mapping), where)
    if not isinstance(mapping, Mapping) or not mapping:
        raise TableError(f"{where} is empty; name columns, as in {{'Patient Gender': 'sex'}}")
    entries = {str(name): _entry(str(name), said, where) for name, said in mapping.items()}
    targets = [entry.to for entry in entries.values()]
    for name, entry in entries.items():
        if targets.count(entry.to) > 1:
            raise TableError(f"{where}: {name!r} and another column are both {entry.to!r}")

    def read(
        frame: pd.DataFrame, graph: CausalGraph, policies: Policies, notes: dict[str, int]
    ) -> Columns:
        return _columns(entries, frame, graph, notes, where)

    def load(folder: Path, graph: CausalGraph, keep: Collection[str]) -> pd.DataFrame:
        return _only_table(folder, graph, words, keep)

    words = tuple(n for n, e in entries.items() if e.to in NAMES or e.values is not None)
    return Source(
        name="mapping",
        title="a table of one's own, by a mapping of its columns",
        read=read,
        load=load,
        columns={entry.to: name for name, entry in entries.items()},
        names=words,
        images_beside=True,
    )


def _read(path: Path, where: str) -> Mapping[str, object]:
    """Returns what a YAML file says, every word as written and no key twice."""
    try:
        content = path.read_text(encoding="utf-8")
        root = yaml.compose(content, Loader=yaml.BaseLoader)
        _check_keys(root, where)
        said = yaml.load(content, Loader=yaml.BaseLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"{where} cannot be read: {error}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise TableError(f"{where} is not valid YAML: {error}") from error
    if not isinstance(said, dict):
        raise TableError(f"{where}: expected 'column: variable' on each line; found {said!r:.80}")
    return said


def _check_keys(node: yaml.Node | None, where: str) -> None:
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or keys.count(key.value) > 1:
                line = key.start_mark.line + 1
                raise TableError(f"{where}, line {line}: {key.value!r} stands there twice")
            _check_keys(value, where)


def _entry(name: str, said: object, where: str) -> _Entry:
    """Returns what is said of one column."""
    if isinstance(said, str):
        return _Entry(said)
    if not isinstance(said, Mapping) or not isinstance(said.get("to"), str):
        raise TableError(
            f"{where}: {name!r} is {said!r:.80}; give a variable, or {{to: variable, values: "
            "{their word: level}}"
        )
    for key in said:
        if key not in KEYS:
            raise TableError(
                f"{where}: {name!r} has the key {key!r}{nearest(key, KEYS) or '.'} "
                f"Allowed: {summarise(KEYS)}"
            )
    values = said.get("values")
    if values is not None and not isinstance(values, Mapping):
        raise TableError(f"{where}: {name!r} has values {values!r:.80}; give {{word: level}}")
    words = None
    if values is not None:
        words = {
            str(as_written(word)).strip(): None
            if level is None or level in UNKNOWN
            else str(level)
            for word, level in values.items()
        }
    return _Entry(said["to"], words, str(said.get("prefix", "")))


def _columns(
    entries: Mapping[str, _Entry],
    frame: pd.DataFrame,
    graph: CausalGraph,
    notes: dict[str, int],
    where: str,
) -> Columns:
    """Returns the mapped columns under the graph's names."""
    columns: Columns = {}
    for name, entry in entries.items():
        if entry.to not in (*graph.variables, *NAMES):
            allowed = (*graph.variables, *NAMES)
            raise TableError(
                f"{where}: {name!r} is to be {entry.to!r}, which is no variable of graph "
                f"{graph.name!r}{nearest(entry.to, allowed) or '.'} "
                f"Allowed: {summarise(allowed, 30)}"
            )
        values = column(frame, name, "mapping")
        columns[entry.to] = _column(values, entry, graph, notes, where)
    if "no_finding" in columns:
        notes |= no_finding_conflicts(columns)
    return columns


def _column(
    values: pd.Series,
    entry: _Entry,
    graph: CausalGraph,
    notes: dict[str, int],
    where: str,
) -> pd.Series:
    """Returns one column as its variable, in the graph's levels or unit."""
    if entry.to == "split":
        words = values if entry.values is None else _words(values, entry.values, where)
        return splits(words.astype("str").where(words.notna()).rename(values.name))
    if entry.to in NAMES:
        return entry.prefix + text(values)
    variable = graph.variables[entry.to]
    if entry.values is not None:
        for word, level in entry.values.items():
            if variable.is_discrete and level is not None and level not in variable.levels:
                raise TableError(
                    f"{where}: {values.name!r} reads {word!r} as {level!r}, no level of "
                    f"{entry.to!r}{nearest(level, variable.levels) or '.'} "
                    f"Allowed: {summarise(variable.levels)}"
                )
        values = _words(values, entry.values, where)
        if not variable.is_discrete:
            values = numbers(values.astype("str").where(values.notna()).rename(values.name))
    elif not variable.is_discrete:
        values = years(values, notes) if entry.to == "age" else numbers(values)
        if entry.to == "age":  # an age out of bounds is unknown and counted, as of every source
            return values
    what = f"the column {values.name!r}"
    return check_table(values.to_frame(entry.to), graph, (entry.to,), what)[entry.to]


def _words(values: pd.Series, words: Mapping[str, str | None], where: str) -> pd.Series:
    """Returns a column with each of its words replaced by what the mapping says it is."""
    codes, distinct = pd.factorize(values)
    found = []
    for i, cell in enumerate(distinct):
        word = str(as_written(cell)).strip()
        if word not in words:
            row = values.index[int(np.argmax(codes == i))]
            raise TableError(
                f"column {values.name!r}, row {row!r}: {where} does not say what {word!r} "
                f"is{nearest(word, words) or '.'} It says: {summarise(words, 20)}"
            )
        found.append(words[word])
    return levels(codes, [*found, None], values)


def _only_table(
    folder: Path, graph: CausalGraph, names: Collection[str], keep: Collection[str]
) -> pd.DataFrame:
    """Returns the one table that lies in a folder."""
    kinds = (".csv", ".csv.gz", ".parquet")
    tables = sorted(p for p in folder.iterdir() if p.name.lower().endswith(kinds) and p.is_file())
    if len(tables) != 1:
        found = summarise([path.name for path in tables], 10) or "none"
        raise TableError(
            f"folder {os.fspath(folder)!r} should hold one table (.csv, .csv.gz, .parquet); it "
            f"holds {found}; name the file"
        )
    if tables[0].suffix == ".parquet":
        return read_parquet(tables[0])
    return read_csv(tables[0], graph, names, keep)
