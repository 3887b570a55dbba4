r"""Radiographs that are there twice: the same pixels, or the same picture after a small change.

The same pixels have the same hash. A copy that was compressed, brightened, resized or disturbed by
a little noise still has the local contrast of its original, while two radiographs of one patient
differ by breath and posture. How alike two *different* radiographs become at most depends on the
collection (its size, how often it images the same patient), so the threshold is taken from it:
each radiograph's correlation with its nearest neighbour, on Fisher's scale
:math:`z = \operatorname{artanh} r`, has a tail that falls off exponentially, and the threshold is
where it would leave less than one pair of different radiographs. Copies that were cropped or
turned by more than a pixel of the thumbnail are not found.
"""

from dataclasses import dataclass
from typing import final

import numpy as np

__all__ = ["Duplicates", "find_duplicates"]

BLOCK = 2048
HIGHEST = 0.99
"""A correlation above which two are the same picture, however alike a collection is in itself."""


@final
@dataclass(frozen=True)
class Duplicates:
    """Pairs of radiographs that show the same picture.

    Arguments:
        exact: Pairs of positions with the same pixels, each later one with the first (pair, 2).
        near: Pairs of positions of nearly the same picture (pair, 2), and
        correlation: how alike they are (pair,).
        threshold: The correlation from which on two are called nearly the same.
        nearest: Each radiograph's correlation with its nearest neighbour (radiograph,).
    """

    exact: np.ndarray
    near: np.ndarray
    correlation: np.ndarray
    threshold: float
    nearest: np.ndarray


def find_duplicates(contrast: np.ndarray, hashes: list[str]) -> Duplicates:
    """Finds radiographs that are there twice.

    Arguments:
        contrast: What `local_contrast` returns (radiograph, features).
        hashes: The hash of each one's pixels.

    Returns:
        The pairs. Images without contrast are nobody's near duplicate.
    """
    first: dict[str, int] = {}
    exact = [(first.setdefault(h, i), i) for i, h in enumerate(hashes)]
    exact = [(i, j) for i, j in exact if i != j]
    alone = np.ones(len(hashes), bool)
    alone[[j for _, j in exact]] = False
    alone &= np.any(contrast != 0.0, axis=1)
    where = np.flatnonzero(alone)
    nearest = np.full(len(hashes), np.nan)
    distinct = np.ascontiguousarray(contrast[where])
    nearest[where] = _nearest(distinct)
    threshold = _threshold(nearest[where])
    pairs, correlation = _above(distinct, threshold)
    return Duplicates(
        np.array(exact, np.int64).reshape(-1, 2),
        where[pairs].reshape(-1, 2),
        correlation,
        threshold,
        nearest,
    )


def _nearest(contrast: np.ndarray) -> np.ndarray:
    """Returns each row's greatest correlation with another; -1 where there is none."""
    best = np.full(len(contrast), -1.0, np.float32)
    for a in range(0, len(contrast), BLOCK):
        for b in range(a, len(contrast), BLOCK):
            alike = contrast[a : a + BLOCK] @ contrast[b : b + BLOCK].T
            if a == b:
                np.fill_diagonal(alike, -1.0)
            np.maximum(best[a : a + BLOCK], alike.max(1), out=best[a : a + BLOCK])
            np.maximum(best[b : b + BLOCK], alike.max(0), out=best[b : b + BLOCK])
    return best


def _above(contrast: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns pairs of rows (pair, 2) that are as alike as `threshold`, and how alike."""
    pairs, values = [np.empty((0, 2), np.int64)], [np.empty(0, np.float32)]
    for a in range(0, len(contrast), BLOCK):
        for b in range(a, len(contrast), BLOCK):
            alike = contrast[a : a + BLOCK] @ contrast[b : b + BLOCK].T
            if a == b:
                alike[np.tril_indices(len(alike))] = -1.0
            i, j = np.nonzero(alike >= threshold)
            pairs.append(np.stack([i + a, j + b], 1))
            values.append(alike[i, j])
    return np.concatenate(pairs), np.concatenate(values)


def _threshold(nearest: np.ndarray) -> float:
    """Returns the correlation that less than one of so many different radiographs reaches.

    The tail's slope is taken between the median and the 80th percentile, which duplicates do not
    move until they are a fifth of the collection.
    """
    if len(nearest) < 20:
        return HIGHEST
    middle, upper = np.quantile(np.arctanh(np.clip(nearest, -0.999999, 0.999999)), (0.5, 0.8))
    slope = (upper - middle) / np.log(0.5 / 0.2)
    return float(min(np.tanh(upper + slope * np.log(0.2 * len(nearest))), HIGHEST))
