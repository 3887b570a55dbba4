"""Labels as a list per radiograph: what is listed was found, what is not was not mentioned.

ChestX-ray14 and PadChest write what they found as a list from a vocabulary of their own. Each
label is one of four kinds: it is one of the graph's findings; it makes one *unclear* (NIH's
Fibrosis mostly is an opacity, but NIH does not say so: an answer of either kind would be ours, not
the data's); it has no counterpart; or it is the word for a radiograph on which nothing was found.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import final

import numpy as np
import pandas as pd

from cxrcausal.data.source.vocabulary import Columns, Policies, levels
from cxrcausal.errors import TableError, nearest, summarise

__all__ = ["LabelList"]


@final
@dataclass(frozen=True)
class LabelList:
    """An owner's vocabulary of labels, and what each of them says of the graph's findings.

    Arguments:
        owner: Whose vocabulary it is.
        normal: The label of a radiograph on which nothing was found.
        mapping: The labels that are each of the graph's findings.
        unclear: Labels under which a finding that is not listed is unknown.
        vague: Labels under which every finding that is not listed is unknown, as *unchanged* is.
        devices: Labels that are no finding (Irvin et al. 2019): a list of them alone does not say
            whether anything was found.
        others: Labels without a counterpart.
    """

    owner: str
    normal: str
    mapping: Mapping[str, tuple[str, ...]]
    unclear: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    vague: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Every label of the vocabulary, once."""
        listed = (*self.mapping.values(), *self.unclear.values(), self.vague, self.devices)
        every = (self.normal, *(label for labels in listed for label in labels), *self.others)
        return tuple(dict.fromkeys(every))

    def described(self) -> dict[str, str]:
        """Returns for each finding which labels make it positive or unclear."""
        said = {"no_finding": f"{self.normal} positive, any other finding negative"}
        for name, theirs in self.mapping.items():
            unclear = [label for label in self.unclear.get(name, ()) if label not in theirs]
            said[name] = f"positive: {', '.join(theirs)}" + (
                f"; unknown where not listed but: {', '.join(unclear)}" if unclear else ""
            )
        return said

    def read(
        self,
        cells: pd.Series,
        parts: Callable[[str], Iterable[str]],
        policies: Policies,
        notes: dict[str, int],
    ) -> Columns:
        """Returns the graph's findings; each of the distinct lists is read once.

        Arguments:
            cells: The lists, as text (rows,); an empty one is unknown throughout.
            parts: How a cell becomes its labels.
            policies: `not_mentioned` decides a finding that is not listed; under `unknown`, all of
                them are still negative where the label of the normal stands.
            notes: Counts of cells that are not taken as written, added to in place.

        Raises:
            TableError: If a label is not of this vocabulary, with the nearest that is.
        """
        codes, distinct = pd.factorize(cells)
        known = {_folded(label): label for label in self.labels}
        lists, respelled = [], []
        first = dict(zip(*np.unique(codes, return_index=True), strict=True))
        for i, cell in enumerate(distinct):
            row = cells.index[first[i]]
            found, other = self._spelled(_parts(cell, parts, cells.name, row), known, cells, row)
            lists.append(found)
            respelled.append(other)
        rows = np.array([*respelled, False], bool)[codes]
        notes[f"label in another spelling than {self.owner}'s"] = int(rows.sum())
        columns: Columns = {}
        for name in self.mapping:
            each = [self._level(name, found, policies) for found in lists]
            columns[name] = levels(codes, [*each, None], cells)  # code -1, an empty cell: None
        none = [self._no_finding(found) for found in lists]
        columns["no_finding"] = levels(codes, [*none, None], cells)
        return columns

    def _spelled(
        self, parts: list[str], known: Mapping[str, str], cells: pd.Series, row: object
    ) -> tuple[frozenset[str], bool]:
        """Returns the labels of one list in the owner's spelling, and whether any had another."""
        found = []
        for part in parts:
            if _folded(part) not in known:
                raise TableError(
                    f"column {cells.name!r}, row {row!r}: {part.strip()!r} is not a finding of "
                    f"{self.owner}{nearest(part, self.labels) or '.'} Allowed: "
                    f"{summarise(self.labels, most=20)}"
                )
            found.append(known[_folded(part)])
        return frozenset(found), any(a.strip() != b for a, b in zip(parts, found, strict=True))

    def _level(self, name: str, found: frozenset[str], policies: Policies) -> str | None:
        if not found.isdisjoint(self.mapping[name]):
            return "positive"
        normal = self.normal in found  # which mentions every finding, whatever else is vague
        doubt = (*self.unclear.get(name, ()), *(() if normal else self.vague))
        silent = policies.not_mentioned == "unknown" and not normal
        return None if silent or not found or not found.isdisjoint(doubt) else "negative"

    def _no_finding(self, found: frozenset[str]) -> str | None:
        if self.normal in found:
            return "positive"
        return "negative" if found - {*self.devices, *self.vague} else None


def _folded(label: str) -> str:
    """Returns a label without what spellings of it differ in: case, spaces, underscores."""
    return " ".join(label.replace("_", " ").casefold().split())


def _parts(
    cell: object, parts: Callable[[str], Iterable[str]], column: object, row: object
) -> list[str]:
    """Returns the labels of one cell, empty ones left out."""
    try:
        return [part for part in parts(str(cell)) if part.strip()]
    except (ValueError, SyntaxError, AttributeError, TypeError) as error:
        raise TableError(
            f"column {column!r}, row {row!r}: {str(cell)[:80]!r} is not a list of labels"
        ) from error
