"""Stored values to displayed values: the grey-scale pipeline of a DICOM radiograph.

In the order of PS3.4 N.2 and PS3.3: stored values, the modality LUT or rescale (C.11.1), the VOI
LUT or window (C.11.2), and the photometric sense of the result (C.7.6.3.1.2). Padding outside the
exposed field is black (C.7.5.1.1.2). Without a VOI the second step is the identity over the values
that the stored bits can hold, so that an 8-bit radiograph gives the same pixels as its PNG.

Each step maps a value without regard to its neighbours, and there are 65,536 values at most: the
steps are taken once over all values that the bits can hold, and the image is looked up in the
result.

`PresentationLUTShape` is not applied on top: for a MONOCHROME1 image INVERSE says the same thing
once more (C.11.6.1.2), and inverting twice is the classical mistake.
"""

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cxrcausal.errors import ImageError, summarise

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["display_table"]

DARK = 0.25
"""A radiograph that uses less than this share of its range was probably meant to be windowed."""

MOSTLY = 0.9  # a window that holds less than the rest was written for other values

LOOKED_AT = 2**16  # pixels that a warning is judged by

logger = logging.getLogger("cxrcausal")


def display_table(
    bits: np.ndarray, dataset: "Dataset", path: Path, window: int | str | None = 0
) -> np.ndarray:
    """Returns what each pattern of stored bits is displayed as, float32 in [0, 1].

    Arguments:
        bits: The image (height, width) as patterns of its stored bits, from 0 to 2^BitsStored - 1:
            two's complement where the pixels are signed. Only warnings look at it.
        dataset: The DICOM header.
        path: Its file, for what is to be said of it.
        window: Which of several VOI LUTs or windows (C.11.2.1.2.1), as `read_image`.

    Returns:
        A table of 2^BitsStored entries: ``table[bits]`` is the radiograph, lungs dark.

    Raises:
        ImageError: If the header contradicts itself, or has no such window.
    """
    stored = np.arange(1 << int(dataset.BitsStored), dtype=np.int32)
    if dataset.PixelRepresentation == 1:
        half = len(stored) // 2
        stored[half:] -= len(stored)
    padding = _padding(stored, dataset)
    apart = math.isqrt(max(1, bits.size // LOOKED_AT))
    used = np.bincount(bits[::apart, ::apart].ravel(), minlength=len(stored))
    if used[~padding].any():
        used[padding] = 0
    values, low, high = _modality(stored, dataset, path)
    shown = _voi(values, used, (low, high), dataset, path, window)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shown = 1.0 - shown  # the lowest value is white, after the VOI: C.7.6.3.1.2
    shown[padding] = 0.0
    return shown.astype(np.float32)


def _modality(
    stored: np.ndarray, dataset: "Dataset", path: Path
) -> tuple[np.ndarray, float, float]:
    """Returns modality values and the lowest and highest that the stored bits allow (C.11.1)."""
    if dataset.get("ModalityLUTSequence"):
        signed = dataset.PixelRepresentation == 1
        values, highest = _look_up(stored, dataset.ModalityLUTSequence[0], dataset, path, signed)
        return values, 0.0, highest
    slope = 1.0 if _blank(dataset, "RescaleSlope") else float(dataset.RescaleSlope)
    intercept = 0.0 if _blank(dataset, "RescaleIntercept") else float(dataset.RescaleIntercept)
    if slope == 0.0 or not (np.isfinite(slope) and np.isfinite(intercept)):
        raise ImageError(
            f"{str(path)!r} has rescale slope {slope} and intercept {intercept}; the slope must "
            f"be finite and not 0"
        )
    with np.errstate(over="ignore"):
        values = slope * stored + intercept
    if not np.isfinite(values).all():
        raise ImageError(
            f"{str(path)!r} has rescale slope {slope:g} and intercept {intercept:g}, which leave "
            "the range of numbers"
        )
    return values, float(values.min()), float(values.max())


def _look_up(
    values: np.ndarray, item: "Dataset", dataset: "Dataset", path: Path, signed: bool
) -> tuple[np.ndarray, float]:
    """Returns values through a table, and the highest that its bits allow.

    Below the first mapped value stands the first entry, beyond the last one the last (C.11.1.1.1,
    C.11.2.1.1). Entries of 8 bits may be packed two to a word, which pydicom does not unpack. Some
    vendors declare 16 bits and fill 12: the bits that an entry needs are the scale then, as in
    viewers.
    """
    entries, first, depth = (int(number) for number in item.LUTDescriptor)
    entries = entries % 2**16 or 2**16  # 16 bits cannot say 65,536, so 0 does
    if signed and first >= 2**15:  # the descriptor's sign is easily lost: US or SS
        first -= 2**16
    order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
    data = item.LUTData
    packed = (
        data if isinstance(data, bytes) else np.atleast_1d(data).astype(f"{order}u2").tobytes()
    )
    word = 2 if len(packed) >= 2 * entries else 1
    if not 1 <= depth <= 8 * word or len(packed) < word * entries:
        raise ImageError(
            f"{str(path)!r} has a LUT of {entries} entries of {depth} bits in {len(packed)} bytes"
        )
    table = np.frombuffer(packed, f"{order}u{word}", entries).astype(np.float64)
    at = np.clip(np.rint(values) - first, 0, entries - 1).astype(np.int64)
    needed = max(1, int(table.max()).bit_length())
    if needed < depth:
        logger.warning(
            "%s has a LUT that declares %d bits and holds %d; these are taken as its grey scale",
            path, depth, needed,
        )  # fmt: skip
    return table[at], 2.0 ** min(depth, needed) - 1


def _voi(
    values: np.ndarray,
    used: np.ndarray,
    ends: tuple[float, float],
    dataset: "Dataset",
    path: Path,
    window: int | str | None,
) -> np.ndarray:
    """Returns values of interest in [0, 1]: by a VOI LUT, else by a window, else all of them.

    Where both are present the choice is the application's (C.11.2.1.1); the table says more.

    Arguments:
        values: The modality values of every pattern of bits.
        used: How many pixels have each.
        ends: The lowest and highest of the scale.
        dataset: The DICOM header.
        path: Its file.
        window: Which VOI LUT or window.
    """
    low, high = ends
    tables = [] if _blank(dataset, "VOILUTSequence") else list(dataset.VOILUTSequence)
    centres, widths = (_numbers(dataset, name, path) for name in ("WindowCenter", "WindowWidth"))
    if bool(centres) != bool(widths):
        raise ImageError(f"{str(path)!r} has a window centre or a width without the other")
    centres = centres[: len(widths)]  # a width that is missing makes no window
    if window is None or not (tables or centres or isinstance(window, str)):
        found = values[used > 0]
        if window is not None and (span := float(np.ptp(found)) / (high - low)) < DARK:
            logger.warning(
                "%s has neither window nor VOI LUT and uses %.0f %% of its range: it looks flat",
                path,
                100 * span,
            )
        return np.clip((values - low) / (high - low), 0.0, 1.0)
    chosen = _choose(window, tables, centres, dataset, path)
    if isinstance(chosen, int):
        function = str(dataset.get("VOILUTFunction", "") or "LINEAR")
        return _window(values, used, centres[chosen], widths[chosen], function, path)
    shown, highest = _look_up(values, chosen, dataset, path, low < 0)
    return np.clip(shown / highest, 0.0, 1.0)


def _choose(
    window: int | str,
    tables: list["Dataset"],
    centres: list[float],
    dataset: "Dataset",
    path: Path,
) -> "int | Dataset":
    """Returns the VOI LUT that is meant, or the number of the window.

    A number counts the VOI LUTs where there are any, else the windows; words are what a LUT or a
    window says of itself (LUTExplanation, WindowCenterWidthExplanation).
    """
    if isinstance(window, int):
        offered = len(tables or centres)
        if not 0 <= window < offered:
            what = "VOI LUT(s)" if tables else "window(s)"
            raise ImageError(
                f"{str(path)!r} has {offered} {what}; there is no number {window}, counted from 0"
            )
        return tables[window] if tables else window
    said = dataset.get("WindowCenterWidthExplanation", "") or ""
    said = [said] if isinstance(said, str) else list(said)
    words = [str(table.get("LUTExplanation", "") or "") for table in tables]
    for table, word in zip(tables, words, strict=True):
        if word.strip().casefold() == window.strip().casefold():
            return table
    for number, word in enumerate(map(str, said[: len(centres)])):
        if word.strip().casefold() == window.strip().casefold():
            return number
    raise ImageError(
        f"{str(path)!r} has no VOI LUT or window called {window!r}; it has "
        f"{summarise([word for word in (*words, *map(str, said)) if word], most=20) or 'no names'}"
    )


def _window(
    values: np.ndarray, used: np.ndarray, centre: float, width: float, function: str, path: Path
) -> np.ndarray:
    """Returns values through a window, in [0, 1] (C.11.2.1.2.1 and C.11.2.1.3)."""
    least = 1.0 if function == "LINEAR" else 0.0
    usable = np.isfinite(centre) and np.isfinite(width) and width >= least and width > 0
    if not usable:
        raise ImageError(
            f"{str(path)!r} has window centre {centre} and width {width}; the width must be "
            f"{'at least 1' if least else 'above 0'} (PS3.3 C.11.2.1.2)"
        )
    outside = (values < centre - width / 2) | (values > centre + width / 2)
    beside = float(used[outside].sum() / used.sum())
    if beside > MOSTLY:
        found = values[used > 0]
        logger.warning(
            "%s has a window from %g to %g, and %.0f %% of its values, %g to %g, lie beside it",
            path, centre - width / 2, centre + width / 2, 100 * beside, found.min(), found.max(),
        )  # fmt: skip
    if function == "LINEAR":
        if width == 1.0:
            return (values > centre - 0.5).astype(np.float64)
        return np.clip((values - (centre - 0.5)) / (width - 1.0) + 0.5, 0.0, 1.0)
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0.0, 1.0)
    if function == "SIGMOID":
        from scipy.special import expit

        return expit(4.0 * (values - centre) / width)
    raise ImageError(
        f"{str(path)!r} has VOI LUT function {function!r}; "
        f"allowed: 'LINEAR', 'LINEAR_EXACT', 'SIGMOID' (PS3.3 C.11.2.1.3)"
    )


def _padding(stored: np.ndarray, dataset: "Dataset") -> np.ndarray:
    """Returns where there is padding instead of image, compared in stored values (C.7.5.1.1.2)."""
    if _blank(dataset, "PixelPaddingValue"):
        return np.zeros(stored.shape, bool)
    ends = [_padding_value(dataset, "PixelPaddingValue")]
    if not _blank(dataset, "PixelPaddingRangeLimit"):
        ends.append(_padding_value(dataset, "PixelPaddingRangeLimit"))
    return (stored >= min(ends)) & (stored <= max(ends))


def _padding_value(dataset: "Dataset", name: str) -> int:
    """Returns a padding value in the sign of the pixels, even if it was written in the other."""
    value, full = int(dataset[name].value), 1 << int(dataset.BitsAllocated)
    if dataset.PixelRepresentation == 0:
        return value % full
    return value - full if value >= full // 2 else value


def _numbers(dataset: "Dataset", name: str, path: Path) -> list[float]:
    """Returns the numbers of an attribute that may hold none, one or several."""
    if _blank(dataset, name):
        return []
    value = dataset[name].value
    several = [value] if isinstance(value, str | int | float) else list(value)
    try:
        return [float(number) for number in several]
    except (TypeError, ValueError) as error:
        raise ImageError(f"{str(path)!r} has {name} {value!r}, which is no number") from error


def _blank(dataset: "Dataset", name: str) -> bool:
    """Whether an attribute is absent or empty."""
    value = dataset.get(name)
    return value is None or value == "" or (hasattr(value, "__len__") and len(value) == 0)
