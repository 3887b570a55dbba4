r"""Radiographs that were turned, mirrored or inverted, held against the mean radiograph.

A radiograph may stand in sixteen ways: eight turns and mirrorings, each as it is or with its grey
values inverted. Undo each in turn and ask which result is the most typical radiograph, by its
distance from the mean in the metric of the spread about it,

.. math:: E_h(x) = (h x - m)^\top (\Sigma + \lambda I)^{-1} (h x - m).

What is compared is local contrast, not grey value: a child on a large white cassette is a chest
all the same. Mean and spread are those of the audited radiographs themselves, each half judged by
the other, without those that already looked turned: what is typical differs between a ward and a
screening centre. A small mean radiograph of NIH's ChestX-ray14 that is shipped beside this file
says which way is up for the folder as a whole, and alone judges folders too small to have a mean
of their own.

No threshold is set by hand. An image turned by h has the margins of an upright one turned back, so
that the distribution of :math:`E_h - E` over the radiographs is, with its sign reversed, also that
of turned ones: zero is where both errors are equal, and the share of radiographs beyond the margin
says how often a turned one is found. For mirrored radiographs that share is the same sum, but the
two distributions overlap: the heart is left of the middle, by little. They are ranked, not named.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import final

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

__all__ = ["FEWEST", "Standing", "local_contrast", "stand"]

SIDE = 32
"""Pixels of a side that are compared: a heart is some ten wide, a rib one."""

FEWEST = 60
"""Fewer radiographs have no mean of their own that one of them cannot shift."""

TURNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "upright": lambda x: x,
    "mirrored": lambda x: x[..., ::-1],
    "upside down, mirrored": lambda x: x[..., ::-1, :],
    "upside down": lambda x: x[..., ::-1, ::-1],
    "turned by 90 degrees clockwise": lambda x: np.rot90(x, 1, (-2, -1)),
    "turned by 90 degrees anticlockwise": lambda x: np.rot90(x, 3, (-2, -1)),
    "turned by 90 degrees, mirrored": lambda x: np.swapaxes(x, -2, -1),
    "turned by 90 degrees, mirrored otherwise": lambda x: np.swapaxes(x[..., ::-1, ::-1], -2, -1),
}
"""How an image stands, and what sets it upright."""

BACK = {
    "turned by 90 degrees clockwise": "turned by 90 degrees anticlockwise",
    "turned by 90 degrees anticlockwise": "turned by 90 degrees clockwise",
}
STANDINGS = [(turn, inverted) for turn in TURNS for inverted in (False, True)]
UPRIGHT, MIRRORED = STANDINGS.index(("upright", False)), STANDINGS.index(("mirrored", False))
PLAIN = [i for i in range(len(STANDINGS)) if i != MIRRORED]


@final
@dataclass(frozen=True)
class Standing:
    """How each of some radiographs stands.

    Arguments:
        names: In words, '' where upright (radiograph,).
        margin: How much more typical each is when it is set upright, in robust standard
            deviations of that margin over all; 0 where upright (radiograph,).
        mirrored: How much more typical each is when it is mirrored, likewise (radiograph,).
        all_of_them: How the folder as a whole stands against the shipped mean, '' if upright.
        found: For each way to stand, the least share of such images that is expected to be found.
        mirrored_found: The share of mirrored images whose `mirrored` is above 0, and
        mirrored_false: that of others.
        distance: How unlike the mean each is in the way that suits it best (radiograph,).
    """

    names: np.ndarray
    margin: np.ndarray
    mirrored: np.ndarray
    all_of_them: str
    found: dict[str, float]
    mirrored_found: float
    mirrored_false: float
    distance: np.ndarray


def local_contrast(images: np.ndarray) -> np.ndarray:
    """Returns images (image, height, width) as their contrast to the neighbourhood, of norm 1.

    Exposure, windows and borders leave it nearly as it is, and inversion changes its sign. An
    image without contrast is 0. The result is (image, height * width), float32.
    """
    grey = images.astype(np.float32) / 255.0
    about = (0.0, 4.0, 4.0)
    detail = grey - gaussian_filter(grey, about, mode="nearest")
    strength = np.sqrt(gaussian_filter(detail**2, about, mode="nearest"))
    flat = (detail / (strength + 0.02)).reshape(len(grey), -1)
    flat -= flat.mean(1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.where(norm > 1e-3, flat / np.maximum(norm, 1e-3), 0.0).astype(np.float32)


def stand(contrast: np.ndarray) -> Standing:
    """Says how radiographs stand.

    Arguments:
        contrast: What `local_contrast` returns for images of 32 x 32 pixels (radiograph, 1024).
    """
    energy = 2.0 - 2.0 * _agreement(contrast, _shipped_mean())
    best = np.array(PLAIN)[energy[PLAIN].argmin(0)]
    number = np.bincount(best, minlength=len(STANDINGS))
    as_a_whole = int(number.argmax()) if len(contrast) >= FEWEST else UPRIGHT
    if as_a_whole != UPRIGHT:  # the others are judged against the majority, as it is
        contrast = _set_upright(contrast, as_a_whole)
        energy = 2.0 - 2.0 * _agreement(contrast, _shipped_mean())
        best = np.array(PLAIN)[energy[PLAIN].argmin(0)]
    if len(contrast) >= FEWEST:
        for _ in range(2):  # the second time without what the first found
            energy = _energies(contrast, best == UPRIGHT)
            best = np.array(PLAIN)[energy[PLAIN].argmin(0)]
    margins = energy - energy[UPRIGHT]
    usual = best == UPRIGHT
    spread = [_robust_deviation(margins[i, usual]) for i in range(len(STANDINGS))]
    everyone = np.arange(len(best))
    scale = np.array(spread)[best]
    margin = np.where(usual, 0.0, -margins[best, everyone] / np.where(scale > 0, scale, 1.0))
    found = {
        # Over all, so at least: what really is turned counts against it
        _words(i): float((margins[_back(i)] > 0).mean())
        for i in PLAIN
        if i != UPRIGHT
    }
    right = float((margins[MIRRORED, usual] > 0).mean()) if usual.any() else float("nan")
    return Standing(
        names=np.array([_words(i) for i in best], object),
        margin=margin,
        mirrored=-margins[MIRRORED] / (spread[MIRRORED] or 1.0),
        all_of_them=_words(as_a_whole),
        found=found,
        mirrored_found=right,
        mirrored_false=1.0 - right,
        distance=energy.min(0),
    )


def _energies(contrast: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Returns how unlike the mean each is in each standing (standing, radiograph).

    Each half is held against the mean and spread of the usual ones of the other half: an image
    that helped to make the mean would be judged by itself.
    """
    energy = np.empty((len(STANDINGS), len(contrast)))
    half = np.arange(len(contrast)) % 2 == 0
    for judged in (half, ~half):
        others = contrast[~judged & usual].astype(np.float64)
        if len(others) < 2:
            others = contrast[~judged].astype(np.float64)
        mean = np.median(others, 0)
        about = np.cov((others - mean).T)
        features = about.shape[0]
        # The fewer there are, the less of their spread is known: rounder then
        ridge = max(0.2, features / len(others)) * np.trace(about) / features
        metric = np.linalg.inv(about + ridge * np.eye(features))
        here = contrast[judged].astype(np.float64)
        for i, (turn, inverted) in enumerate(STANDINGS):
            if inverted:
                continue  # the same but for the sign of one term, below
            turned = _turn(here, turn)
            moved = turned @ metric
            square = np.einsum("ij,ij->i", moved, turned) + mean @ metric @ mean
            cross = 2.0 * moved @ mean
            energy[i, judged] = square - cross
            energy[i + 1, judged] = square + cross
    return energy


def _agreement(contrast: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Returns the correlation with a mean in each standing (standing, radiograph)."""
    turned = {turn: _turn(contrast, turn) @ mean for turn in TURNS}
    return np.stack([-turned[turn] if inverted else turned[turn] for turn, inverted in STANDINGS])


def _turn(contrast: np.ndarray, turn: str) -> np.ndarray:
    shape = contrast.shape
    return TURNS[turn](contrast.reshape(-1, SIDE, SIDE)).reshape(shape)


def _set_upright(contrast: np.ndarray, standing: int) -> np.ndarray:
    turn, inverted = STANDINGS[standing]
    return (-1.0 if inverted else 1.0) * _turn(contrast, turn)


def _back(standing: int) -> int:
    turn, inverted = STANDINGS[standing]
    return STANDINGS.index((BACK.get(turn, turn), inverted))


def _words(standing: int) -> str:
    """Returns a standing in words, '' if upright."""
    turn, inverted = STANDINGS[standing]
    words = ([] if turn == "upright" else [turn]) + (["inverted"] if inverted else [])
    return ", ".join(words)


def _robust_deviation(values: np.ndarray) -> float:
    if not len(values):
        return 1.0
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


@cache
def _shipped_mean() -> np.ndarray:
    """Returns the local contrast of the mean of 8,806 radiographs of ChestX-ray14.

    PA and AP of adults and children; the mean is no patient's radiograph (Wang et al., CVPR 2017;
    NIH Clinical Center, no restriction on use).
    """
    stored = (files("cxrcausal.data.audit") / "mean_radiograph.png").read_bytes()
    with Image.open(BytesIO(stored)) as image:
        grey = np.asarray(image, np.float32)
    small = grey.reshape(SIDE, 2, SIDE, 2).mean((1, 3))
    return local_contrast(small[None])[0]
