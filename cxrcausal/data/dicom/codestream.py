"""What a compressed image says of itself, read from its first bytes without decoding it.

A small malicious stream may claim any size, and decoders believe it: they take the memory first.
So the claim is read here, from the frame header of JPEG and JPEG-LS (ISO 10918-1 B.2.2, ISO
14495-1 C.2.2) or the SIZ segment of JPEG 2000 (ISO 15444-1 A.5.1), bare or in a JP2 file.

Each scan of a JPEG may pass over all of its pixels in a few bytes (ISO 10918-1 G.1), so scans are
counted too.
"""

from pathlib import Path
from typing import NamedTuple

from cxrcausal.errors import ImageError

__all__ = ["Claim", "check_scans", "read_claim"]

SOC_SIZ = b"\xff\x4f\xff\x51"
JP2 = b"jP  "
"""The type of a JP2 file's first box, behind its length of four bytes (ISO 15444-1 I.5.1)."""
NO_FRAME = (0xC4, 0xC8, 0xCC)  # among SOF's neighbours: tables, a reserved marker, arithmetic
FRAME_LS = 0xF7
START_OF_SCAN = b"\xff\xda"
MAX_SCANS = 500
"""Encoders write about ten; this many over the most pixels take some seconds."""


class Claim(NamedTuple):
    """What a stream says: pixels across and down, bits of a sample, and samples of a pixel."""

    columns: int
    rows: int
    bits: int
    samples: int


def read_claim(stream: bytes) -> Claim | None:
    """Returns what a JPEG, JPEG-LS or JPEG 2000 stream claims, or None if it is none of them.

    Arguments:
        stream: The whole compressed frame, or its beginning.
    """
    if stream[4:8] == JP2 and (at := stream.find(SOC_SIZ)) >= 0:
        stream = stream[at:]
    if stream.startswith(SOC_SIZ) and len(stream) > 42:
        right, bottom, left, top = (
            int.from_bytes(stream[at : at + 4], "big") for at in (8, 12, 16, 20)
        )
        # Csiz and Ssiz, the depth of the first component, stand behind the tiles' sizes
        samples = int.from_bytes(stream[40:42], "big")
        return Claim(right - left, bottom - top, (stream[42] & 0x7F) + 1, samples)
    if not stream.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 9 < len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xFF:  # markers may have fill bytes before them: B.1.1.2
            at += 1
            continue
        if marker == FRAME_LS or (0xC0 <= marker <= 0xCF and marker not in NO_FRAME):
            rows, columns = (int.from_bytes(stream[at + i : at + i + 2], "big") for i in (5, 7))
            return Claim(columns, rows, stream[at + 4], stream[at + 9])
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return None


def check_scans(stream: bytes, path: Path) -> None:
    """Refuses a JPEG that would pass over its pixels until tomorrow.

    Arguments:
        stream: The whole compressed image. Its entropy-coded data holds no marker, and the odd
            thumbnail or profile hardly one.
        path: The file, for an error.

    Raises:
        ImageError: If it has more than `MAX_SCANS` scans.
    """
    if (scans := stream.count(START_OF_SCAN)) > MAX_SCANS:
        raise ImageError(
            f"{str(path)!r} has {scans:,} scans; a JPEG has about ten, and at most {MAX_SCANS} "
            "are read"
        )
