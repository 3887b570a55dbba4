"""What was asked, what exists, what to do next: every error that the package raises on purpose.

Each message names the column, row, file or key at fault, what was found there and what is allowed.
All of them derive from `CxrCausalError`; those about a bad value are `ValueError` too, those about
a bad name `KeyError`-like but printed without quotes, so that the sentence reads as a sentence.
"""

import difflib
from collections.abc import Iterable

__all__ = [
    "CheckpointError",
    "CxrCausalError",
    "GraphError",
    "ImageError",
    "InterventionError",
    "MissingExtraError",
    "NotFittedError",
    "OptionError",
    "RecipeError",
    "TableError",
    "UnobservedError",
    "nearest",
    "summarise",
]


class CxrCausalError(Exception):
    """Base of every error that cxrcausal raises on purpose."""


class GraphError(CxrCausalError, ValueError):
    """A causal graph is malformed, or was asked about a variable that it does not have."""


class TableError(CxrCausalError, ValueError):
    """A metadata table lacks a column, holds a value not allowed, or has unusable labels."""


class InterventionError(CxrCausalError, ValueError):
    """An intervention names no variable or level, leaves the bounds, or sets a definition."""


class UnobservedError(InterventionError):
    """A question about a variable or level that the fit never observed."""


class NotFittedError(CxrCausalError, RuntimeError):
    """A model was asked a question before `fit`."""


class OptionError(CxrCausalError, ValueError):
    """An option is not allowed: a seed, a number of draws, a family of mechanisms."""


class ImageError(CxrCausalError, ValueError):
    """An image file is no readable radiograph, or an image tensor has a wrong shape or range."""


class RecipeError(CxrCausalError, ValueError):
    """A recipe of an image model has an unknown key or a value that is not allowed."""


class CheckpointError(CxrCausalError, ValueError):
    """A checkpoint is damaged, of another format, or belongs to another causal graph."""


class MissingExtraError(CxrCausalError, ImportError):
    """An optional dependency is absent; the message names the extra that installs it."""


def nearest(name: object, allowed: Iterable[object]) -> str:
    """Returns ``"; did you mean 'x'?"`` for the allowed name closest to `name`, or nothing.

    Names are held against each other without regard to case, so that what is another name by its
    case alone comes first: the letters of 'male' lie closer to 'Female' than to 'Male'. Where a
    sentence ends here, write ``nearest(...) or "."``.

    Arguments:
        name: What was found.
        allowed: What is allowed.
    """
    folded = {str(a).strip().casefold(): str(a) for a in allowed}
    close = difflib.get_close_matches(str(name).strip().casefold(), folded, n=1, cutoff=0.6)
    return f"; did you mean {folded[close[0]]!r}?" if close else ""


def summarise(items: Iterable[object], most: int = 5) -> str:
    """Returns the first `most` items separated by commas, and how many more there are.

    Arguments:
        items: What is listed, strings in quotation marks.
        most: How many are named.
    """
    items = list(items)
    shown = ", ".join(repr(i) if isinstance(i, str) else str(i) for i in items[:most])
    return shown + (f" and {len(items) - most} more" if len(items) > most else "")
