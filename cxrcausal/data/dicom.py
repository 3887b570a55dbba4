"""Stored values to displayed values: the grey-scale pipeline of a DICOM radiograph.

In the order of PS3.4 N.2 and PS3.3: stored values (bits that are not stored removed, PS3.5 8.1.1),
the modality LUT or rescale (C.11.1), the VOI LUT or window (C.11.2), and the photometric sense of
the result (C.7.6.3.1.2). Padding outside the exposed field is black (C.7.5.1.1.2). Without a VOI
the second step is the identity over the values that the stored bits can hold, so that an 8-bit
radiograph gives the same pixels as its PNG.

`PresentationLUTShape` is not applied on top: for a MONOCHROME1 image INVERSE says the same thing
once more (C.11.6.1.2), and inverting twice is the classical mistake.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cxrcausal.data.geometry import dicom_aspect
from cxrcausal.errors import ImageError, MissingExtraError, summarise

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.pixels.decoders.base import Decoder

__all__ = ["MODALITIES", "read_dicom"]

MODALITIES = ("CR", "DX", "DR", "RG")
"""Projection radiographs, digital or from film (PS3.3 C.7.3.1.1.1). DR is not a defined term, and
written by many."""

PROJECTIONS = (
    "1.2.840.10008.5.1.4.1.1.1",  # Computed Radiography Image Storage
    "1.2.840.10008.5.1.4.1.1.1.1",  # Digital X-Ray Image Storage, for presentation
    "1.2.840.10008.5.1.4.1.1.1.1.1",  # the same, for processing
)
"""SOP classes (PS3.4 B.5) that hold nothing but radiographs: they speak where a de-identified file
has lost its Modality."""

DARK = 0.25
"""A radiograph that uses less than this share of its range was probably meant to be windowed."""

MOSTLY = 0.9  # a window that holds less than the rest was written for other values

logger = logging.getLogger("cxrcausal")


def read_dicom(
    path: Path, allow_modalities: str | Sequence[str | None], max_pixels: int
) -> tuple[np.ndarray, float]:
    """Returns a DICOM radiograph as displayed, and the height of its pixels over their width.

    Arguments:
        path: A DICOM file (PS3.10).
        allow_modalities: Modalities to accept beside `MODALITIES`, one or several; an empty one,
            or None, accepts a file that names none.
        max_pixels: The most pixels that are decoded.

    Returns:
        Pixels (height, width) as float32 in [0, 1], lungs dark, and their aspect ratio.

    Raises:
        ImageError: If it is not one grey frame of a projection radiograph, or its header
            contradicts itself. Damaged files raise what pydicom raises; `read_image` turns that
            into an ImageError.
        MissingExtraError: If its compression needs a decoder that is not installed.
    """
    import pydicom

    dataset = pydicom.dcmread(path)
    allow = (allow_modalities,) if isinstance(allow_modalities, str) else allow_modalities
    _check(dataset, path, [str(name or "") for name in allow], max_pixels)
    stored = _stored(dataset, path)
    values, low, high = _modality(stored, dataset, path)
    shown = _voi(values, low, high, dataset, path)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shown = 1.0 - shown  # the lowest value is white, after the VOI: C.7.6.3.1.2
    shown[_padding(stored, dataset)] = 0.0
    return shown.astype(np.float32), dicom_aspect(dataset, path)


def _check(dataset: "Dataset", path: Path, allow: Sequence[str], max_pixels: int) -> None:
    """Refuses, before anything is decoded, what is not one grey frame of a radiograph."""
    modality = str(dataset.get("Modality", "") or "")
    allowed = (*MODALITIES, *allow)
    if not modality and "" not in allow and _sop_class(dataset) not in PROJECTIONS:
        raise ImageError(
            f"{str(path)!r} names no Modality (0008,0060), and its SOP class "
            f"{_sop_class(dataset)!r} is not one of radiographs alone; allowed: "
            f"{summarise(allowed, most=20)}; pass allow_modalities=('',) to read files that name "
            "none"
        )
    if modality and modality not in allowed:
        raise ImageError(
            f"{str(path)!r} has Modality {modality!r}; allowed: {summarise(allowed, most=20)}; "
            f"pass allow_modalities=({modality!r},) to read it all the same"
        )
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    if frames != 1:
        raise ImageError(f"{str(path)!r} has {frames} frames; a radiograph has one")
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    samples = int(dataset.get("SamplesPerPixel", 1))
    if samples != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise ImageError(
            f"{str(path)!r} has {samples} sample(s) per pixel and photometric interpretation "
            f"{photometric!r}; allowed: 1 and 'MONOCHROME1' or 'MONOCHROME2'"
        )
    if "PixelData" not in dataset:
        raise ImageError(f"{str(path)!r} has no pixel data of whole numbers (7FE0,0010)")
    rows, columns = int(dataset.get("Rows", 0) or 0), int(dataset.get("Columns", 0) or 0)
    if not 0 < rows * columns <= max_pixels:
        raise ImageError(
            f"{str(path)!r} claims {columns} x {rows} pixels; from 1 to {max_pixels:,} are read"
        )


def _sop_class(dataset: "Dataset") -> str:
    """Returns the SOP class, of the file's preface where the data set has lost it, else ''."""
    preface = getattr(dataset, "file_meta", {}).get("MediaStorageSOPClassUID", "")
    return str(dataset.get("SOPClassUID", "") or preface or "")


def _stored(dataset: "Dataset", path: Path) -> np.ndarray:
    """Returns the stored values (height, width) as int32, decompressed where need be."""
    from pydicom.pixels.utils import pixel_array

    decoder = _decoder(dataset, path)
    allocated, bits = int(dataset.BitsAllocated), int(dataset.BitsStored)
    high_bit = int(dataset.get("HighBit", bits - 1))
    if not (allocated in (8, 16) and 1 <= bits <= allocated and bits - 1 <= high_bit < allocated):
        raise ImageError(
            f"{str(path)!r} has {allocated} bits allocated, {bits} stored and high bit "
            f"{high_bit}; the pixels need 8 or 16 bits allocated, and those stored within them"
        )
    words = _holds_words(dataset, bits)
    # pydicom's own correction of unused bits supposes that they are the highest ones
    try:
        values = pixel_array(dataset, correct_unused_bits=not words).astype(np.int32)
    except RuntimeError as error:
        # Pillow alone decodes 8 bits of the syntaxes of which it knows some
        if bits > 8 and any("pylibjpeg" in missing for missing in decoder.missing_dependencies):
            raise _missing_extra(dataset, path) from error
        raise
    if values.shape != (dataset.Rows, dataset.Columns):
        raise ImageError(
            f"{str(path)!r} says {dataset.Columns} x {dataset.Rows} pixels and holds "
            f"{' x '.join(map(str, values.shape[::-1]))}"
        )
    if words:
        # The bits beside the stored ones (an old overlay, say) are no grey value: 8.1.1
        values = (values >> (high_bit - bits + 1)) & ((1 << bits) - 1)
        if dataset.PixelRepresentation == 1:
            values -= (values >> (bits - 1)) << bits  # two's complement
    return values


def _holds_words(dataset: "Dataset", bits: int) -> bool:
    """Whether decoding gives whole words, in which the stored bits still have to be found.

    So it is without compression and with run lengths, which pack the words as they stand (PS3.5
    annex G), and where a JPEG stream says itself that it has more bits than are stored.
    """
    from pydicom.encaps import get_frame
    from pydicom.uid import RLELossless

    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated or syntax == RLELossless:
        return True
    if int(dataset.get("HighBit", bits - 1)) == bits - 1:
        return False
    found = _codestream(get_frame(dataset.PixelData, 0, number_of_frames=1))
    return found is not None and found[2] > bits


def _decoder(dataset: "Dataset", path: Path) -> "Decoder":
    """Returns what undoes the compression; refuses images larger than the header says."""
    from pydicom.pixels.decoders.base import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise ImageError(
            f"{str(path)!r} has transfer syntax {syntax.name!r} ({syntax}), which is not one of "
            f"still grey images"
        ) from error
    if not decoder.is_available:
        raise _missing_extra(dataset, path)
    if syntax.is_encapsulated:
        from pydicom.encaps import get_frame

        claimed = _codestream(get_frame(dataset.PixelData, 0, number_of_frames=1))
        if claimed is not None and claimed[:2] != (dataset.Columns, dataset.Rows):
            raise ImageError(
                f"{str(path)!r} says {dataset.Columns} x {dataset.Rows} pixels, its compressed "
                f"image {claimed[0]} x {claimed[1]}"
            )
    return decoder


def _missing_extra(dataset: "Dataset", path: Path) -> MissingExtraError:
    """Returns the error that says how to get a decoder."""
    return MissingExtraError(
        f"{str(path)!r} holds {dataset.BitsStored} bits compressed as "
        f"{dataset.file_meta.TransferSyntaxUID.name!r}, for which no decoder is installed; "
        f'python -m pip install "cxrcausal[dicom]"'
    )


def _codestream(stream: bytes) -> tuple[int, int, int] | None:
    """Returns (columns, rows, bits) that a JPEG, JPEG-LS or JPEG 2000 stream claims, else None."""
    if stream.startswith(b"\xff\x4f\xff\x51"):  # SOC, SIZ: ISO 15444-1 A.5.1
        right, bottom, left, top = (
            int.from_bytes(stream[i : i + 4], "big") for i in (8, 12, 16, 20)
        )
        # Ssiz, the depth of the first component, stands behind the sizes and offsets of the tiles
        bits = (stream[42] & 0x7F) + 1 if len(stream) > 42 else 0
        return right - left, bottom - top, bits
    if not stream.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 9 <= len(stream) and stream[at] == 0xFF:
        marker, length = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4], "big")
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            rows, columns = (int.from_bytes(stream[at + i : at + i + 2], "big") for i in (5, 7))
            return columns, rows, stream[at + 4]  # a frame header: ISO 10918-1 B.2.2
        at += 2 + length
    return None


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
    bits = int(dataset.BitsStored)
    first = -(1 << (bits - 1)) if dataset.PixelRepresentation == 1 else 0
    ends = (slope * first + intercept, slope * (first + (1 << bits) - 1) + intercept)
    return slope * stored + intercept, min(ends), max(ends)


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
    values: np.ndarray, low: float, high: float, dataset: "Dataset", path: Path
) -> np.ndarray:
    """Returns values of interest in [0, 1]: by the first VOI LUT, else the first window, else all.

    Where both are present the choice is the application's (C.11.2.1.1); the table says more.
    """
    if dataset.get("VOILUTSequence"):
        shown, highest = _look_up(values, dataset.VOILUTSequence[0], dataset, path, low < 0)
        return np.clip(shown / highest, 0.0, 1.0)
    blank = [_blank(dataset, "WindowCenter"), _blank(dataset, "WindowWidth")]
    if all(blank):
        if (span := float(np.ptp(values)) / (high - low)) < DARK:
            logger.warning(
                "%s has neither window nor VOI LUT and uses %.0f %% of its range: it looks flat",
                path,
                100 * span,
            )
        return np.clip((values - low) / (high - low), 0.0, 1.0)
    if any(blank):
        raise ImageError(f"{str(path)!r} has a window centre or a width without the other")
    centre, width = (_first(dataset[name].value) for name in ("WindowCenter", "WindowWidth"))
    return _window(values, centre, width, str(dataset.get("VOILUTFunction", "") or "LINEAR"), path)


def _window(
    values: np.ndarray, centre: float, width: float, function: str, path: Path
) -> np.ndarray:
    """Returns values through a window, in [0, 1] (C.11.2.1.2.1 and C.11.2.1.3)."""
    least = 1.0 if function == "LINEAR" else 0.0
    usable = np.isfinite(centre) and np.isfinite(width) and width >= least and width > 0
    if not usable:
        raise ImageError(
            f"{str(path)!r} has window centre {centre} and width {width}; the width must be "
            f"{'at least 1' if least else 'above 0'} (PS3.3 C.11.2.1.2)"
        )
    beside = float(((values < centre - width / 2) | (values > centre + width / 2)).mean())
    if beside > MOSTLY:
        logger.warning(
            "%s has a window from %g to %g, and %.0f %% of its values, %g to %g, lie beside it",
            path, centre - width / 2, centre + width / 2, 100 * beside, values.min(), values.max(),
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


def _blank(dataset: "Dataset", name: str) -> bool:
    """Whether an attribute is absent or empty."""
    value = dataset.get(name)
    return value is None or value == "" or (hasattr(value, "__len__") and len(value) == 0)


def _first(value: object) -> float:
    """Returns the first of one or several numbers."""
    first = value if isinstance(value, str | int | float) else next(iter(value))  # type: ignore[call-overload]
    return float(first)
