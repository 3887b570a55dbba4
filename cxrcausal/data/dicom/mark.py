"""A mark in the pixels of a generated radiograph, which no de-identifier and no export strips.

The letters are drawn from dots, 5 across and 7 down, so that they are legible at 64 pixels and the
same whatever fonts a machine has. They stand white on black, since a radiograph is either.
"""

import numpy as np

from cxrcausal.errors import ImageError

__all__ = ["burn_mark"]

WORDS = ("SYNTHETIC", "NOT A PATIENT")
"""What is written; the second line only where it fits."""

LETTERS = {
    " ": "..... ..... ..... ..... ..... ..... .....",
    "A": ".###. #...# #...# ##### #...# #...# #...#",
    "C": ".###. #...# #.... #.... #.... #...# .###.",
    "E": "##### #.... #.... ####. #.... #.... #####",
    "H": "#...# #...# #...# ##### #...# #...# #...#",
    "I": ".###. ..#.. ..#.. ..#.. ..#.. ..#.. .###.",
    "N": "#...# ##..# ##..# #.#.# #..## #..## #...#",
    "O": ".###. #...# #...# #...# #...# #...# .###.",
    "P": "####. #...# #...# ####. #.... #.... #....",
    "S": ".#### #.... #.... .###. ....# ....# ####.",
    "T": "##### ..#.. ..#.. ..#.. ..#.. ..#.. ..#..",
    "Y": "#...# #...# .#.#. ..#.. ..#.. ..#.. ..#..",
}
PITCH, LINE = 6, 9  # dots from letter to letter and from line to line
MARGIN = 1  # black dots around the letters
DOT = 200
"""Pixels of the image's width for each pixel of a dot: the mark is two fifths across, or as much
as its letters need."""


def burn_mark(pixels: np.ndarray) -> np.ndarray:
    """Returns a copy of an image in [0, 1] with the mark in its upper left corner.

    Arguments:
        pixels: The image (height, width).

    Raises:
        ImageError: If the image is too small for one legible word.
    """
    height, width = pixels.shape
    dot = max(1, min(width // DOT, height // (DOT // 2)))
    across = (width // dot - 2 * MARGIN + 1) // PITCH  # letters that fit on a line
    if across < 1:
        raise ImageError(_too_small(height, width))
    first = WORDS[0]
    lines = [first[at : at + across] for at in range(0, len(first), across)]
    if len(lines) == 1 and len(WORDS[1]) <= across:
        lines.append(WORDS[1])
    drawn = np.zeros((LINE * len(lines), PITCH * max(map(len, lines)) - 1 + 2 * MARGIN))
    for row, line in enumerate(lines):
        for column, letter in enumerate(line):
            dots = [[d == "#" for d in dots] for dots in LETTERS[letter].split()]
            top, left = MARGIN + LINE * row, MARGIN + PITCH * column
            drawn[top : top + 7, left : left + 5] = dots
    mark = np.kron(drawn, np.ones((dot, dot)))
    if mark.shape[0] > height or mark.shape[1] > width:
        raise ImageError(_too_small(height, width))
    marked = pixels.copy()
    marked[: mark.shape[0], : mark.shape[1]] = mark
    return marked


def _too_small(height: int, width: int) -> str:
    return (
        f"an image of {width} x {height} pixels has no room for the mark {WORDS[0]!r}; export a "
        "larger one, or pass mark=False"
    )
