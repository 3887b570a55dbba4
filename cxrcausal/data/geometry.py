"""Pixels that are not square: how high over how wide, as a file says, and made square.

A heart has its width only where a pixel is as high as it is wide. Detectors and scanners that read
their two directions at different pitch say so in the file (DICOM PS3.3 C.7.6.3.1.7 and 10.7.1.1,
PNG's `pHYs`, JPEG's JFIF density), and an image that is taken as a plain array of pixels shows
every disc as an ellipse.
"""

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from cxrcausal.errors import ImageError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["dicom_aspect", "display_aspect", "square_pixels"]

SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
"""Distances in mm between rows, then columns: at the patient, at the detector, on the film."""

TOLERANCE = 0.01  # a heart wider by less than this is within what two readers measure

logger = logging.getLogger("cxrcausal")


def dicom_aspect(dataset: "Dataset", path: Path) -> float:
    """Returns the height of a pixel over its width; 1 where the file does not say.

    Arguments:
        dataset: The DICOM header.
        path: Its file, for a warning.
    """
    for name in (*SPACINGS, "PixelAspectRatio"):
        value = dataset.get(name)
        if value is None or value == "" or not len(value):
            continue
        pair = [float(number) for number in value]
        if len(pair) == 2 and all(math.isfinite(number) and number > 0 for number in pair):
            return pair[0] / pair[1]  # vertical, then horizontal, in all of them
        logger.warning("%s has %s %s, which is no size of a pixel; ignored", path, name, pair)
    return 1.0


def display_aspect(image: Image.Image) -> float:
    """Returns the height of a pixel over its width as a PNG or JPEG says; 1 where it does not.

    Arguments:
        image: The image as opened, before it is turned upright.
    """
    across, down = 1.0, 1.0
    if "aspect" in image.info:  # PNG: pHYs without a unit
        across, down = image.info["aspect"]
    elif image.info.get("jfif_unit") == 0:  # JPEG: densities without a unit
        across, down = image.info.get("jfif_density", (1, 1))
    elif "dpi" in image.info:
        across, down = image.info["dpi"]
    across, down = float(across), float(down)
    if not (math.isfinite(across) and math.isfinite(down) and across > 0 and down > 0):
        return 1.0
    return across / down  # the denser the pixels stand, the smaller they are


def square_pixels(pixels: np.ndarray, aspect: float, max_pixels: int, path: Path) -> np.ndarray:
    """Returns the image (height, width) with its coarser direction resampled to the finer one.

    Arguments:
        pixels: The image in [0, 1].
        aspect: The height of a pixel over its width.
        max_pixels: The most pixels that are made.
        path: The file, for an error.

    Raises:
        ImageError: If the result would be too large.
    """
    if abs(math.log(aspect)) < TOLERANCE:
        return pixels
    height, width = pixels.shape
    if aspect > 1.0:
        height = round(height * aspect)
    else:
        width = round(width / aspect)
    if height * width > max_pixels:
        raise ImageError(
            f"{str(path)!r} says that its pixels are {aspect:g} times as high as wide; square, it "
            f"would have {width} x {height}; at most {max_pixels:,} are made"
        )
    image = Image.fromarray(np.ascontiguousarray(pixels, np.float32))
    # Lanczos overshoots at edges, by design; the range is the tensor convention's
    return np.clip(np.asarray(image.resize((width, height), Image.Resampling.LANCZOS)), 0.0, 1.0)
