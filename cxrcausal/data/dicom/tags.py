"""Age, sex, view and maker of radiographs, from the tags of their DICOM files.

The view is that of View Position (0018,5101) and of nothing else: Patient Position says how a body
lies in a scanner, descriptions are free text, and both are filled with views by some who export.
What a tag says that the graph has no word for is unknown, and counted; nothing is guessed.
"""

import logging
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from cxrcausal.data.dicom.reading import parse_dicom
from cxrcausal.errors import CxrCausalError, ImageError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["age_in_years", "read_dicom_tags"]

YEARS = {"Y": 1.0, "M": 12.0, "W": 365.25 / 7.0, "D": 365.25}
"""How many of each unit of an Age String make a year (PS3.5 6.2)."""

SEXES = {"F": "Female", "M": "Male"}  # O, other, is no level of the graph: PS3.3 C.7.1.1

VIEWS = {"PA": "PA", "AP": "AP", "LL": "LATERAL", "RL": "LATERAL", "LATERAL": "LATERAL"}
"""PS3.3 C.8.11.5.1, and the word that some write out. Decubitus and oblique views are others."""

logger = logging.getLogger("cxrcausal")


def read_dicom_tags(
    paths: Iterable[str | os.PathLike], *, damaged: str = "refuse"
) -> pd.DataFrame:
    """Reads what the headers of DICOM radiographs say of patient and view; no pixels are decoded.

    Arguments:
        paths: The files.
        damaged: What to do about a file that is no DICOM file: `refuse` it, or `skip` it, which
            logs the reason and counts it.

    Returns:
        One row per file: `image` (its path), `patient_id`, `study_id` (strings), `age` in whole
        years (058Y, 011M, 003W, 002D; digits alone are years), `sex` (Female, Male), `view` (PA,
        AP, LATERAL) and `manufacturer`; None or NaN where the tag is absent, empty or has no
        level. ``read_table(tags, source="graph", keep="manufacturer")`` makes the graph's table of
        it. ``attrs["cxrcausal"]["notes"]`` counts the cells that could not be taken as written.

    Raises:
        ImageError: If a file is missing or no DICOM file, or `damaged` is another word.
    """
    if damaged not in ("refuse", "skip"):
        raise ImageError(f"damaged is {damaged!r}; allowed: 'refuse' and 'skip'")
    if isinstance(paths, str | os.PathLike):
        raise ImageError(f"paths must be several files; found one, {os.fspath(paths)!r}")
    notes: dict[str, int] = {}
    rows = []
    for path in map(Path, paths):
        try:
            rows.append(_tags(path, notes))
        except ImageError as error:
            if damaged == "refuse":
                raise
            logger.warning("skipped: %s", error)
            notes["files that are no DICOM"] = notes.get("files that are no DICOM", 0) + 1
    names = ["image", "patient_id", "study_id", "age", "sex", "view", "manufacturer"]
    table = pd.DataFrame(rows, columns=names).astype({"age": "float64"})
    table.attrs["cxrcausal"] = {"source": "dicom", "notes": notes}
    return table


def age_in_years(text: str) -> float | None:
    """Returns an Age String (PS3.5 6.2: nnnD, nnnW, nnnM or nnnY) in years, or None if it is none.

    Digits without a unit, which the standard does not know and many files have, are years.

    Arguments:
        text: The age as written.

    Example:
        >>> age_in_years("058Y"), age_in_years("006M"), age_in_years("62"), age_in_years("old")
        (58.0, 0.5, 62.0, None)
    """
    found = re.fullmatch(r"\s*(\d{1,3})\s*([DWMY]?)\s*", text.upper().strip("\0"), re.ASCII)
    if found is None:
        return None
    return int(found[1]) / YEARS[found[2] or "Y"]


def _tags(path: Path, notes: dict[str, int]) -> dict[str, object]:
    """Returns the row of one file; counts in `notes` what it could not take."""
    try:
        dataset = parse_dicom(path, pixels=False)
        age = _read(dataset, "PatientAge", age_in_years, notes)
        return {
            "image": str(path),
            "patient_id": _text(dataset, "PatientID"),
            "study_id": _text(dataset, "StudyInstanceUID"),
            "age": None if age is None else float(int(age)),  # in whole years, as it is asked
            "sex": _read(dataset, "PatientSex", lambda word: SEXES.get(word.upper()), notes),
            "view": _read(dataset, "ViewPosition", lambda word: VIEWS.get(word.upper()), notes),
            "manufacturer": _text(dataset, "Manufacturer"),
        }
    except CxrCausalError:
        raise
    except OSError as error:
        raise ImageError(f"{str(path)!r} cannot be opened: {error.strerror or error}") from error
    except Exception as error:  # the parser of a damaged file raises nearly everything
        raise ImageError(
            f"{str(path)!r} is damaged or no DICOM file: {type(error).__name__}: {error}"
        ) from error


def _text(dataset: "Dataset", name: str) -> str | None:
    """Returns an attribute as text, None where it is absent or empty; of several, the first."""
    value = dataset.get(name)
    if value is not None and not isinstance(value, str) and hasattr(value, "__iter__"):
        value = next(iter(value), None)
    return (str(value).strip(" \0") or None) if value is not None else None


def _read(dataset: "Dataset", name: str, read: Callable[[str], Any], notes: dict[str, int]) -> Any:  # noqa: ANN401
    """Returns what an attribute means; counts it under its own words where it means nothing."""
    word = _text(dataset, name)
    value = None if word is None else read(word)
    if word is not None and value is None:
        note = f"{name} {word[:20]!r} read as unknown"
        notes[note] = notes.get(note, 0) + 1
    return value
