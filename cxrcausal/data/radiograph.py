"""A radiograph as a tensor: pixels in [0, 1], lungs dark, whatever the file was.

PNG and JPEG are taken as they are displayed: 8 bits over 255, 16 bits over 65,535. DICOM goes
through its own grey-scale transformations in `dicom`. A file that cannot be a radiograph (in
colour, several frames, another modality, no image at all) is refused by name and never guessed at.

Pixels that the file says are not square are made so (`geometry`), and what comes out as nearly one
grey is warned of: what is abducted from it is nobody.

To make a square, the short side is brought to the asked size by Lanczos resampling, which filters
before it thins out, and the middle of the long side is kept: a thorax fills its radiograph.
"""

import logging
import math
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from numbers import Integral
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, JpegImagePlugin, PngImagePlugin
from torch import Tensor

from cxrcausal.data.dicom.codestream import check_scans
from cxrcausal.data.dicom.reading import SYNTHETIC, check_file, read_dicom
from cxrcausal.data.geometry import display_aspect, square_pixels
from cxrcausal.data.workers import Refused, over_files
from cxrcausal.errors import CxrCausalError, ImageError

__all__ = ["MAX_PIXELS", "read_image", "read_images"]

MAX_PIXELS = 2**26
"""Larger files are refused before they are decoded: some four times the finest detector,
and what a small malicious file may claim costs memory. No larger image is made either."""

PNG, JPEG, DICM = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"DICM"
PREAMBLE = 128  # bytes before DICM, PS3.10 7.1
GREY_TOLERANCE = 4
"""Of 255: JPEG's colour transform leaves grey radiographs a rounding step from grey."""
FLAT = 0.1
"""A radiograph is warned of if 98 % of its pixels lie within less than this share of the scale."""
BAND = 256  # rows that are resampled at once: few enough for a processor's cache
LOOKED_AT = 2**16  # pixels by which it is judged, at even distances

logger = logging.getLogger("cxrcausal")


def read_image(
    path: str | os.PathLike,
    size: int | None = None,
    allow_modalities: str | Sequence[str | None] = (),
    *,
    window: int | str | None = 0,
) -> Tensor:
    """Reads a PNG, JPEG or DICOM radiograph.

    Arguments:
        path: The file; what it is follows from its first bytes, not from its name.
        size: The side in pixels of the square to return; as stored if left out, but for pixels
            that are not square, which are resampled to the finer of their two sides.
        allow_modalities: DICOM modalities to accept beside CR, DX, DR and RG, one or several; ''
            or None for a file that names none and whose SOP class is not of radiographs either.
        window: Which view of a DICOM file that offers several (PS3.3 C.11.2): a number from 0,
            which counts its VOI LUTs if it has any and else its windows, or what one of them is
            called in the file (LUTExplanation, WindowCenterWidthExplanation). None shows the whole
            range of the stored bits, as does a number where there is nothing to choose from.

    Returns:
        A float32 tensor (1, 1, height, width) in [0, 1], lungs dark (MONOCHROME2). One that is
        nearly one grey throughout is logged as a warning, and so is one that says that it is
        synthetic: what is abducted from it is nobody.

    Raises:
        ImageError: If the file is missing, damaged, too large, not an image or not a radiograph,
            has no such window, or `size` is no side of a square.
        MissingExtraError: If a compressed DICOM needs a decoder that is not installed.
    """
    if not isinstance(path, str | os.PathLike):
        raise ImageError(f"path is {path!r}; give the path of a PNG, JPEG or DICOM file")
    if size is not None:
        _check_size(size)
    if isinstance(window, bool) or not (window is None or isinstance(window, int | str)):
        raise ImageError(f"window is {window!r}; give a number from 0, a name, or None")
    pixels, aspect = _read(Path(path), allow_modalities, window)
    _warn_if_flat(pixels, Path(path))
    pixels = square_pixels(pixels, aspect, MAX_PIXELS, Path(path))
    if size is not None:
        pixels = _square(pixels, size, Path(path))
    return torch.from_numpy(np.ascontiguousarray(pixels, np.float32))[None, None]


def read_images(
    paths: Iterable[str | os.PathLike],
    size: int,
    workers: int = 1,
    allow_modalities: str | Sequence[str | None] = (),
    *,
    window: int | str | None = 0,
    processes: bool = False,
) -> Tensor:
    """Reads radiographs as one batch of squares.

    Arguments:
        paths: The files, in the order of the batch.
        size: The side of the squares in pixels.
        workers: How many threads read, or how many processes.
        allow_modalities: As `read_image`.
        window: As `read_image`, the same of every file.
        processes: Whether the workers are processes. Decoders of JPEG 2000, JPEG-LS and lossless
            JPEG hold the interpreter's lock, so that of DICOM files compressed by them only
            processes read several at once. They take seconds to start, and a script calls this
            below ``if __name__ == "__main__":``.

    Returns:
        A float32 tensor (files, 1, size, size) in [0, 1].

    Raises:
        ImageError: As `read_image`; the first file at fault is named.
        MissingExtraError: As `read_image`.
        OptionError: If new processes cannot start here.
    """
    if isinstance(paths, str | os.PathLike):
        raise ImageError(f"paths must be several files; found one, {os.fspath(paths)!r}")
    _check_size(size)
    files = list(paths)
    batch = torch.empty(len(files), 1, size, size)

    def read(i: int) -> None:
        batch[i] = read_image(files[i], size, allow_modalities, window=window)[0]

    if workers <= 1:
        for i in range(len(files)):
            read(i)
    elif processes:
        one = partial(_square_of, size=size, allow_modalities=allow_modalities, window=window)
        for i, answer in enumerate(over_files(one, files, workers)):
            if isinstance(answer, Refused):
                raise ImageError(f"{os.fspath(files[i])!r}: {answer.reason}")
            if isinstance(answer, CxrCausalError):
                raise answer
            batch[i, 0] = torch.from_numpy(answer)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(read, range(len(files))))
    return batch


def _square_of(
    path: str | os.PathLike,
    size: int,
    allow_modalities: str | Sequence[str | None],
    window: int | str | None,
) -> np.ndarray | CxrCausalError:
    """Returns a square (size, size), or the error, as another process can hand them over."""
    try:
        return read_image(path, size, allow_modalities, window=window)[0, 0].numpy()
    except CxrCausalError as error:
        return error


def _read(
    path: Path, allow_modalities: str | Sequence[str | None], window: int | str | None
) -> tuple[np.ndarray, float]:
    """Returns pixels (height, width) in [0, 1] and their aspect ratio.

    Anything that a decoder raises names the file.
    """
    try:
        check_file(path)
        with path.open("rb") as file:
            head = file.read(PREAMBLE + len(DICM))
    except OSError as error:
        raise ImageError(f"{str(path)!r} cannot be opened: {error.strerror or error}") from error
    except ImageError:  # which is a ValueError too
        raise
    except ValueError as error:  # a zero byte in its name
        raise ImageError(f"{str(path)!r} cannot be opened: {error}") from error
    if not head:
        raise ImageError(f"{str(path)!r} is empty; allowed: PNG, JPEG and DICOM")
    try:
        if head.startswith(PNG):
            return _display(PngImagePlugin.PngImageFile, path)
        if head.startswith(JPEG):
            check_scans(path.read_bytes(), path)
            return _display(JpegImagePlugin.JpegImageFile, path)
        if head[PREAMBLE:] == DICM:
            return read_dicom(path, allow_modalities, MAX_PIXELS, window)
    except CxrCausalError:
        raise
    except MemoryError as error:
        raise ImageError(f"{str(path)!r} does not fit into memory") from error
    except Exception as error:  # decoders of damaged files raise nearly everything
        raise ImageError(
            f"{str(path)!r} is damaged and cannot be decoded: {type(error).__name__}: {error}"
        ) from error
    raise ImageError(
        f"{str(path)!r} is none of PNG, JPEG and DICOM: it begins with {head[:8]!r} and has no "
        f"DICM prefix at byte {PREAMBLE} (PS3.10 7.1)"
    )


def _display(
    decoder: type[PngImagePlugin.PngImageFile | JpegImagePlugin.JpegImageFile], path: Path
) -> tuple[np.ndarray, float]:
    """Returns a PNG or JPEG as displayed, in [0, 1], and the aspect ratio of its pixels.

    The decoder is called by its own name: `Image.open` would also try every other format, and
    warns about large files through a filter that is global, where we count pixels ourselves.
    """
    with decoder(path) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ImageError(
                f"{str(path)!r} claims {image.width} x {image.height} pixels; "
                f"at most {MAX_PIXELS:,} are read"
            )
        if (frames := getattr(image, "n_frames", 1)) > 1:
            raise ImageError(f"{str(path)!r} has {frames} frames; a radiograph has one")
        image.load()
        if "Synthetic" in image.info:  # the text that our own PNGs bear
            logger.warning(SYNTHETIC, path)
        aspect = display_aspect(image)
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)  # by 90 degrees
        upright = ImageOps.exif_transpose(image)
        return _grey(upright, path), 1.0 / aspect if turned else aspect


def _warn_if_flat(pixels: np.ndarray, path: Path) -> None:
    """Logs a radiograph that is nearly one grey: its window, LUT or depth may not be its own."""
    if not pixels.size:
        return
    apart = math.isqrt(max(1, pixels.size // LOOKED_AT))
    low, high = np.quantile(pixels[::apart, ::apart], (0.01, 0.99))
    if high - low < FLAT:
        logger.warning(
            "%s is nearly one grey: 98 %% of its pixels lie between %.3f and %.3f of the scale; "
            "its window, look-up table or depth may belong to other values",
            path, low, high,
        )  # fmt: skip


def _grey(image: Image.Image, path: Path) -> np.ndarray:
    """Returns the grey values of a decoded image over its full scale."""
    if image.mode in ("L", "I;16", "I;16B", "I"):
        scale = 255.0 if image.mode == "L" else 65535.0  # PNG's 16 bits reach us as I;16 or I
        return np.asarray(image, np.float32) / np.float32(scale)
    if image.mode in ("RGB", "RGBA", "LA", "P", "PA"):
        stored = np.asarray(image.convert("RGBA"), np.int16)
        if (stored[..., 3] < 255).any():
            raise ImageError(f"{str(path)!r} is transparent in places; give an opaque image")
        colours = stored[..., :3]
        spread = int((colours.max(-1) - colours.min(-1)).max())
        if spread <= GREY_TOLERANCE:
            return colours.mean(-1, dtype=np.float32) / np.float32(255.0)
        raise ImageError(
            f"{str(path)!r} is in colour (channels differ by up to {spread} of 255); "
            f"a radiograph is grey"
        )
    raise ImageError(
        f"{str(path)!r} has pixels of mode {image.mode!r}; allowed: grey of 8 or 16 bits, "
        f"and RGB whose channels are equal"
    )


def _check_size(size: object) -> None:
    """Refuses what is not the side in pixels of a square that fits into memory."""
    allowed = range(1, math.isqrt(MAX_PIXELS) + 1)
    if not isinstance(size, Integral) or isinstance(size, bool) or int(size) not in allowed:
        raise ImageError(
            f"the asked size is {size!r} pixels; it must be a whole number from 1 to "
            f"{allowed[-1]:,}"
        )


def _square(pixels: np.ndarray, size: int, path: Path) -> np.ndarray:
    """Returns the middle square with sides of `size` pixels, the short side resampled to it."""
    height, width = pixels.shape
    short = min(height, width)
    if short != size:
        shape = (max(size, round(width * size / short)), max(size, round(height * size / short)))
        if shape[0] * shape[1] > MAX_PIXELS:
            raise ImageError(
                f"{str(path)!r} has {width} x {height} pixels and would have {shape[0]} x "
                f"{shape[1]} before its middle {size} x {size} are kept; at most {MAX_PIXELS:,} "
                "are made"
            )
        wide, high = shape
        left, top = (wide - size) // 2, (high - size) // 2
        # only the middle is made; what stands beside it still counts where the filter reaches it
        middle = (
            left * width / wide,
            top * height / high,
            (left + size) * width / wide,
            (top + size) * height / high,
        )
        # Lanczos overshoots at edges, by design; the range is the tensor convention's
        return np.clip(_resampled(np.ascontiguousarray(pixels, np.float32), size, middle), 0, 1)
    top, left = (height - size) // 2, (width - size) // 2
    return pixels[top : top + size, left : left + size]


def _resampled(
    pixels: np.ndarray, size: int, box: tuple[float, float, float, float]
) -> np.ndarray:
    """Returns a part of an image (height, width) as `size` x `size` pixels, by Lanczos.

    Pillow's filter is separable and goes across first, so that bands of rows can go through it one
    by one: the same numbers, without a second copy of a large image.

    Arguments:
        pixels: The image, contiguous float32.
        size: The side of the result.
        box: The part's left, upper, right and lower end, in pixels.
    """
    left, top, right, bottom = box
    reach = 3 * max(1.0, (bottom - top) / size) + 1  # of Lanczos's three lobes
    first, last = max(0, math.floor(top - reach)), min(len(pixels), math.ceil(bottom + reach))
    bands = []
    for start in range(first, last, BAND):
        band = Image.fromarray(pixels[start : min(start + BAND, last)])
        across = (left, 0, right, band.height)
        bands.append(
            np.asarray(band.resize((size, band.height), Image.Resampling.LANCZOS, across))
        )
    narrow = Image.fromarray(np.concatenate(bands))
    down = (0, top - first, size, bottom - first)
    return np.asarray(narrow.resize((size, size), Image.Resampling.LANCZOS, down))
