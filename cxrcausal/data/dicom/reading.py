"""A DICOM file to the grey values of one radiograph, or the reason why not.

What a file claims is checked before memory is given to it: its size on disk, what a deflated one
would swell to, its rows and columns, and what its compressed image says of itself (`codestream`).
The stored values are then cleared of bits that are not stored (PS3.5 8.1.1) and displayed by the
standard's grey-scale pipeline (`greyscale`).
"""

import io
import logging
import stat
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cxrcausal.data.dicom.codestream import Claim, check_scans, read_claim
from cxrcausal.data.dicom.greyscale import display_table
from cxrcausal.data.geometry import dicom_aspect
from cxrcausal.errors import ImageError, MissingExtraError, summarise

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.pixels.decoders.base import Decoder

__all__ = ["MODALITIES", "SYNTHETIC", "check_file", "parse_dicom", "read_dicom"]

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

SYNTHETIC = (
    "%s says that it is synthetic, no patient's radiograph: what is abducted from it is nobody"
)
"""The warning about generated images, of DICOM and PNG alike."""

MAX_BYTES = 2**28
"""Of a file, and of what a deflated one holds: twice the largest image that is read (16 bits in
`radiograph.MAX_PIXELS`), so that private elements have room too."""

DEFLATED = b"1.2.840.10008.1.2.1.99"
"""The one transfer syntax whose whole data set is compressed (PS3.5 A.5)."""

PREFACE = 132  # where the elements begin, behind the preamble and DICM: PS3.10 7.1

logger = logging.getLogger("cxrcausal")


def read_dicom(
    path: Path,
    allow_modalities: str | Sequence[str | None],
    max_pixels: int,
    window: int | str | None = 0,
) -> tuple[np.ndarray, float]:
    """Returns a DICOM radiograph as displayed, and the height of its pixels over their width.

    Arguments:
        path: A DICOM file (PS3.10).
        allow_modalities: Modalities to accept beside `MODALITIES`, one or several; an empty one,
            or None, accepts a file that names none.
        max_pixels: The most pixels that are decoded.
        window: Which VOI LUT or window where there are several, as `read_image`.

    Returns:
        Pixels (height, width) as float32 in [0, 1], lungs dark, and their aspect ratio.

    Raises:
        ImageError: If it is not one grey frame of a projection radiograph, or its header
            contradicts itself. Damaged files raise what pydicom raises; `read_image` turns that
            into an ImageError.
        MissingExtraError: If its compression needs a decoder that is not installed.
    """
    dataset = parse_dicom(path)
    allow = (allow_modalities,) if isinstance(allow_modalities, str) else allow_modalities
    _check(dataset, path, [str(name or "") for name in allow], max_pixels)
    bits = _stored_bits(dataset, path)
    table = display_table(bits, dataset, path, window)
    return table[bits], dicom_aspect(dataset, path)


def check_file(path: Path) -> None:
    """Refuses, before it is opened, what is no file or a larger one than a radiograph may be.

    Raises:
        ImageError: If so; a pipe, for one, would be waited for without end.
        OSError: If it is not there.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        what = "folder" if stat.S_ISDIR(status.st_mode) else "pipe, socket or device"
        raise ImageError(f"{str(path)!r} cannot be opened: it is a {what}, not a file")
    if status.st_size > MAX_BYTES:
        raise ImageError(
            f"{str(path)!r} has {status.st_size:,} bytes; a file of one radiograph has at most "
            f"{MAX_BYTES:,}"
        )


def parse_dicom(path: Path, *, pixels: bool = True) -> "Dataset":
    """Returns the data set of a DICOM file, in memory that the file's own size bounds.

    The file is read whole first: an element that claims four gigabytes then gets what there is.

    Arguments:
        path: A DICOM file (PS3.10).
        pixels: Whether to parse beyond the header.

    Raises:
        ImageError: If the file is larger than a radiograph may be, or would swell to that.
    """
    import pydicom

    check_file(path)
    with _Bounded(path) as file:
        _check_inflated(file, path)
        file.seek(0)
        return pydicom.dcmread(file, stop_before_pixels=not pixels)


class _Bounded(io.BufferedReader):
    """A file of which no more is read than there is.

    Python takes the memory that a read asks for before it looks whether there is as much.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.length = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """Returns the next bytes, as many as are asked for if there are as many."""
        left = max(0, self.length - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


def _check_inflated(file: _Bounded, path: Path) -> None:
    """Refuses a deflated data set that would swell beyond `MAX_BYTES`, in bounded memory."""
    from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

    at, deflated = file.seek(PREFACE), False
    while (head := file.read(8))[:2] == b"\x02\x00":  # the preface, always explicit: PS3.10 7.1
        long = head[4:6].decode("latin-1") in EXPLICIT_VR_LENGTH_32
        length = int.from_bytes(file.read(4) if long else head[6:], "little")
        deflated |= file.read(length).rstrip(b"\0 ") == DEFLATED
        at = file.tell()
    if not deflated:
        return
    file.seek(at)
    inflater, swollen = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while not inflater.eof and (packed := inflater.unconsumed_tail or file.read(2**20)):
        swollen += len(inflater.decompress(packed, 2**20))
        if swollen > MAX_BYTES:
            raise ImageError(
                f"{str(path)!r} is deflated and swells to more than {MAX_BYTES:,} bytes"
            )


def _check(dataset: "Dataset", path: Path, allow: Sequence[str], max_pixels: int) -> None:
    """Refuses, before anything is decoded, what is not one grey frame of a radiograph."""
    modality = str(dataset.get("Modality", "") or "")
    allowed = (*MODALITIES, *allow)
    if str(dataset.get("SyntheticData", "")) == "YES":  # C.12.1; our own exports say so
        logger.warning(SYNTHETIC, path)
        allowed = (*allowed, "OT")
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
    if "PixelData" not in dataset:
        raise ImageError(f"{str(path)!r} has no pixel data of whole numbers (7FE0,0010)")
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
    rows, columns = int(dataset.get("Rows", 0) or 0), int(dataset.get("Columns", 0) or 0)
    if not 0 < rows * columns <= max_pixels:
        raise ImageError(
            f"{str(path)!r} claims {columns} x {rows} pixels; from 1 to {max_pixels:,} are read"
        )


def _sop_class(dataset: "Dataset") -> str:
    """Returns the SOP class, of the file's preface where the data set has lost it, else ''."""
    preface = getattr(dataset, "file_meta", {}).get("MediaStorageSOPClassUID", "")
    return str(dataset.get("SOPClassUID", "") or preface or "")


def _stored_bits(dataset: "Dataset", path: Path) -> np.ndarray:
    """Returns the stored bits (height, width) as uint8 or uint16, decompressed where need be.

    They stand from bit 0 on and nothing stands beside them; a negative value is its two's
    complement.
    """
    from pydicom.pixels.utils import pixel_array

    allocated, bits = int(dataset.BitsAllocated), int(dataset.BitsStored)
    high_bit = int(dataset.get("HighBit", bits - 1))
    if not (allocated in (8, 16) and 1 <= bits <= allocated and bits - 1 <= high_bit < allocated):
        raise ImageError(
            f"{str(path)!r} has {allocated} bits allocated, {bits} stored and high bit "
            f"{high_bit}; the pixels need 8 or 16 bits allocated, and those stored within them"
        )
    decoder, claim = _decoder(dataset, path), _claim(dataset, path)
    words = _holds_words(dataset, bits, claim)
    # pydicom's own correction of unused bits supposes that they are the highest ones
    try:
        values = pixel_array(dataset, correct_unused_bits=not words, view_only=True)
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
    if values.dtype.kind not in "iu" or values.dtype.itemsize > 2:
        raise ImageError(f"{str(path)!r} holds pixels of {values.dtype}, not of 8 or 16 bits")
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    found = native.view(f"u{native.dtype.itemsize}")
    full = 8 * found.dtype.itemsize
    if words and high_bit >= bits:
        found = found >> (high_bit - bits + 1)
    # The bits beside the stored ones (an old overlay, say) are no grey value: 8.1.1
    mask = found.dtype.type((1 << bits) - 1)
    return found if bits == full or found.max() <= mask else found & mask


def _claim(dataset: "Dataset", path: Path) -> Claim | None:
    """Returns what the compressed image says of itself, None where its syntax says nothing.

    Raises:
        ImageError: If that is not the one grey image that the header speaks of.
    """
    from pydicom.encaps import get_frame
    from pydicom.uid import RLELossless

    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated or syntax == RLELossless:
        return None
    stream = get_frame(dataset.PixelData, 0, number_of_frames=1)
    check_scans(stream, path)
    claim = read_claim(stream)
    if claim is None:
        raise ImageError(
            f"{str(path)!r} holds no compressed image of {syntax.name!r}: none says its size"
        )
    if (claim.columns, claim.rows) != (dataset.Columns, dataset.Rows):
        raise ImageError(
            f"{str(path)!r} says {dataset.Columns} x {dataset.Rows} pixels, its compressed "
            f"image {claim.columns} x {claim.rows}"
        )
    if claim.samples != 1:
        raise ImageError(
            f"{str(path)!r} says that it is grey, its compressed image has {claim.samples} "
            "samples per pixel"
        )
    return claim


def _holds_words(dataset: "Dataset", bits: int, claim: Claim | None) -> bool:
    """Whether decoding gives whole words, in which the stored bits still have to be found.

    So it is without compression and with run lengths, which pack the words as they stand (PS3.5
    annex G), and where a JPEG stream says itself that it has more bits than are stored.
    """
    if claim is None:
        return True
    return int(dataset.get("HighBit", bits - 1)) != bits - 1 and claim.bits > bits


def _decoder(dataset: "Dataset", path: Path) -> "Decoder":
    """Returns what undoes the compression."""
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
    return decoder


def _missing_extra(dataset: "Dataset", path: Path) -> MissingExtraError:
    """Returns the error that says how to get a decoder."""
    return MissingExtraError(
        f"{str(path)!r} holds {dataset.BitsStored} bits compressed as "
        f"{dataset.file_meta.TransferSyntaxUID.name!r}, for which no decoder is installed; "
        f'python -m pip install "cxrcausal[dicom]"'
    )
