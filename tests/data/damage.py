"""Two hundred inputs that are damaged, absurd or hostile, made by a seed and named by their kind.

What accidents do to files: cut short, bits flipped, bytes overwritten, sent as text, stored under
another name or in another encoding. And what malice does: dimensions beyond any memory, streams
that swell a thousandfold, numbers that are none. Some of the damage does no harm, and such a file
may be read; what must not happen is the same for all of them.
"""

import base64
import bz2
import codecs
import functools
import gzip
import io
import lzma
import quopri
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pydicom
from dicom_file import RAMP, dataset
from PIL import Image
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

__all__ = ["KINDS", "damaged_images", "damaged_tables", "write_damaged"]

ACCIDENTS = ("truncated", "flipped", "overwritten")
KINDS = (*ACCIDENTS, "magic", "absurd", "bomb", "nan", "mixed", "encoding")
SIDE = 48
ROWS = 40
NIH = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"
)
GRAPH = "image,patient_id,age,sex,view,dataset,cardiomegaly,edema\n"


def write_damaged(folder: Path, seed: int = 0) -> list[Path]:
    """Writes all of them into a new folder, and returns their paths.

    A name is ``kind-what.suffix``; a table's ends in its source: ``kind-what.nih.csv.gz``.
    """
    folder.mkdir(parents=True)
    paths = []
    for name, content in (damaged_images(seed) | damaged_tables(seed)).items():
        paths.append(folder / name)
        paths[-1].write_bytes(content)
    return paths


def damaged_images(seed: int = 0) -> dict[str, bytes]:
    """PNG, JPEG and DICOM files by name: 125 of them."""
    generator = np.random.default_rng([seed, 0])
    made = _accidents(_whole_images(generator), generator, times=3)
    for kind, files in {
        "magic": _wrong_magic_images(generator),
        "absurd": _absurd_images(),
        "bomb": _image_bombs(),
        "nan": _images_without_numbers(),
        "mixed": _images_of_mixed_depth(generator),
        "encoding": _images_in_wrong_encodings(generator),
    }.items():
        made |= {f"{kind}-{name}": content for name, content in files.items()}
    return made


def damaged_tables(seed: int = 0) -> dict[str, bytes]:
    """CSV files by name, compressed or not: 75 of them."""
    generator = np.random.default_rng([seed, 1])
    graph, nih = _graph_table(generator), _nih_table(generator)
    wholes = {
        "a.graph.csv": graph,
        "a.nih.csv": nih,
        "b.graph.csv.gz": gzip.compress(graph, mtime=0),
        "b.nih.csv.gz": gzip.compress(nih, mtime=0),
    }
    made = _accidents(wholes, generator, times=2)
    for kind, files in {
        "magic": _wrong_magic_tables(graph, nih),
        "absurd": _absurd_tables(graph, nih),
        "bomb": _table_bombs(graph),
        "nan": _tables_without_numbers(),
        "mixed": _tables_of_mixed_types(graph),
        "encoding": _tables_in_wrong_encodings(graph, nih),
    }.items():
        made |= {f"{kind}-{name}": content for name, content in files.items()}
    return made


def _accidents(
    wholes: dict[str, bytes], generator: np.random.Generator, times: int
) -> dict[str, bytes]:
    """Each file cut short, with bits flipped and with bytes overwritten, at places by chance."""
    made = {}
    for name, whole in wholes.items():
        for number in range(times):
            made[f"truncated-{number}-{name}"] = whole[: int(generator.integers(1, len(whole)))]
            flipped, overwritten = bytearray(whole), bytearray(whole)
            for _ in range(int(generator.integers(1, 10))):
                flipped[int(generator.integers(len(whole)))] ^= 1 << int(generator.integers(8))
            for _ in range(int(generator.integers(1, 10))):
                # the header is where the claims are
                at = int(generator.integers(min(len(whole), 600)))
                overwritten[at] = int(generator.choice([0, 1, 127, 128, 254, 255]))
            made[f"flipped-{number}-{name}"] = bytes(flipped)
            made[f"overwritten-{number}-{name}"] = bytes(overwritten)
    return made


# --- images


def _grey(generator: np.random.Generator, top: int = 256) -> np.ndarray:
    """A gradient with noise, which compresses neither to nothing nor not at all."""
    slope = np.linspace(0, 0.7, SIDE)[:, None] + 0.3 * generator.random((SIDE, SIDE))
    return (slope * (top - 1)).astype(np.uint8 if top == 256 else np.uint16)


def _saved(pixels: np.ndarray, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def _dicom(**attributes: object) -> bytes:
    """A whole DICOM file of 12 bits."""
    return _written(dataset(RAMP, **attributes))


def _written(data: pydicom.Dataset) -> bytes:
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _compressed(syntax: str) -> pydicom.Dataset:
    data = dataset(RAMP)
    data.compress(syntax, generate_instance_uid=False)
    return data


def _chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG, with its checksum."""
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)


def _png(
    width: int, height: int, depth: int, colour: int, stored: bytes, *between: bytes
) -> bytes:
    """A PNG that claims what it is told to; `stored` is its compressed image."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [_chunk(b"IHDR", header), *between, _chunk(b"IDAT", stored), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@functools.cache
def _zeros(number: int) -> bytes:
    """That many bytes 0, compressed a thousandfold."""
    packer = zlib.compressobj(9)
    block = bytes(2**20)
    parts = [packer.compress(block[: number - at]) for at in range(0, number, len(block))]
    return b"".join([*parts, packer.flush()])


def _replaced(content: bytes, old: bytes, new: bytes) -> bytes:
    """The file with a text of it replaced, of the same length so that all else stands."""
    assert content.count(old) == 1
    return content.replace(old, new.ljust(len(old)))


def _whole_images(generator: np.random.Generator) -> dict[str, bytes]:
    return {
        "a.png": _saved(_grey(generator), "PNG"),
        "b.png": _saved(_grey(generator, 65536), "PNG"),
        "a.jpg": _saved(_grey(generator), "JPEG"),
        "b.jpg": _saved(_grey(generator), "JPEG", progressive=True),
        "a.dcm": _dicom(WindowCenter=2000, WindowWidth=4000, PatientAge="058Y"),
        "b.dcm": _written(_compressed(JPEG2000Lossless)),
    }


def _wrong_magic_images(generator: np.random.Generator) -> dict[str, bytes]:
    png, jpeg = _saved(_grey(generator), "PNG"), _saved(_grey(generator), "JPEG")
    return {
        "empty.png": b"",
        "zeros.dcm": bytes(4096),
        "one-byte.jpg": b"\xff",
        "gif.png": _saved(_grey(generator), "GIF"),
        "tiff.dcm": _saved(_grey(generator), "TIFF"),
        "bmp.jpg": _saved(_grey(generator), "BMP"),
        "page.png": b"<!DOCTYPE html><title>404 Not Found</title>",
        "jpeg-head-on-png.jpg": jpeg[:20] + png,
        "png-head-on-jpeg.png": png[:8] + jpeg,
        "dicom-head-on-jpeg.dcm": bytes(128) + b"DICM" + jpeg,
    }


def _absurd_images() -> dict[str, bytes]:
    jpeg = _saved(np.zeros((SIDE, SIDE), np.uint8), "JPEG")
    size = struct.pack(">HH", SIDE, SIDE)
    frame = jpeg.index(b"\xff\xc0") + 5
    assert jpeg[frame : frame + 4] == size
    few = zlib.compress(bytes(100))
    jpeg2000 = _compressed(JPEG2000Lossless)
    codestream = jpeg2000.PixelData
    at = codestream.index(b"\xff\x4f\xff\x51") + 8  # SIZ: the width and height of the grid
    jpeg2000.PixelData = codestream[:at] + b"\x7f\xff\xff\xff" * 2 + codestream[at + 8 :]
    return {
        "31-bits.png": _png(2**31 - 1, 2**31 - 1, 8, 0, few),
        "32-bits.png": _png(2**32 - 1, 2**32 - 1, 16, 0, few),
        "nothing.png": _png(0, 0, 8, 0, few),
        "line.png": _png(2**26, 1, 8, 0, few),
        "chunk.png": _png(SIDE, SIDE, 8, 0, few).replace(
            struct.pack(">I", len(few)) + b"IDAT", struct.pack(">I", 2**31 - 1) + b"IDAT"
        ),
        "most.png": _png(2**13, 2**13, 16, 0, few),
        "most.jpg": jpeg[:frame] + b"\xff\xff\xff\xff" + jpeg[frame + 4 :],
        "nothing.jpg": jpeg[:frame] + bytes(4) + jpeg[frame + 4 :],
        "most.dcm": _dicom(Rows=65535, Columns=65535),
        "nothing.dcm": _dicom(Rows=0),
        "jpeg2000.dcm": _written(jpeg2000),
    }


def _image_bombs() -> dict[str, bytes]:
    """Small files that would fill memory, or the day."""
    deflated = _written(dataset(RAMP, syntax=DeflatedExplicitVRLittleEndian))
    begins = 144 + int.from_bytes(deflated[140:144], "little")  # behind the preface
    element = b"\x09\x00\x10\x00OB\x00\x00" + (2**31 - 2).to_bytes(4, "little")
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    head = packer.compress(element) + packer.flush(zlib.Z_FULL_FLUSH)
    # from a full flush to the next, what is packed can be unpacked by itself: so also 20 times
    swollen = head + 20 * (packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH))
    run_lengths = _compressed(RLELossless)
    run_lengths.Rows = run_lengths.Columns = 8192
    pixels = zlib.compress(bytes((SIDE + 1) * SIDE))
    profile = b"icc\0\0" + _zeros(2**27)
    frames = _chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))
    return {
        "wide.png": _png(30_000, 30_000, 1, 0, _zeros(30_000 * 3751)),
        "inside.png": _png(5000, 5000, 8, 0, _zeros(5000 * 5001)),  # no more than is allowed
        "beyond.png": _png(SIDE, SIDE, 8, 0, _zeros(2**27)),
        "text.png": _png(SIDE, SIDE, 8, 0, pixels, _chunk(b"zTXt", b"a\0\0" + _zeros(2**27))),
        "texts.png": _png(
            SIDE, SIDE, 8, 0, pixels, *[_chunk(b"zTXt", b"a\0\0" + _zeros(2**19))] * 400
        ),
        "unicode.png": _png(
            SIDE, SIDE, 8, 0, pixels, _chunk(b"iTXt", b"a\0\1\0\0\0" + _zeros(2**27))
        ),
        "profile.png": _png(SIDE, SIDE, 8, 0, pixels, _chunk(b"iCCP", profile)),
        "frames.png": _png(SIDE, SIDE, 8, 0, pixels, frames),
        "scans.jpg": _many_scans(8000, 3000),
        "deflated.dcm": deflated[:begins] + swollen + packer.flush(),
        "run-lengths.dcm": _written(run_lengths),
        "frames.dcm": _dicom(NumberOfFrames=2**31 - 1),
    }


def _many_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG whose every scan says nothing, in few bytes, of each of its blocks."""
    whole = _saved(np.zeros((16, 16), np.uint8), "JPEG", progressive=True)
    frame = whole.index(b"\xff\xc2") + 5
    first = whole.index(b"\xff\xda")
    head = whole[:frame] + struct.pack(">HH", side, side) + whole[frame + 4 : first]
    # an alternating-current scan of one run of 32,767 empty blocks (EOB14) after another
    table = b"\xff\xc4\x00\x14\x10" + bytes([1]) + bytes(15) + b"\xe0"
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x00" + bytes(2 * (side * side // 64 // 16384))
    return head + table + scan * scans + b"\xff\xd9"


def _images_without_numbers() -> dict[str, bytes]:
    marked = {"RescaleSlope": "1.234567", "RescaleIntercept": "-2.34567"}
    rescaled = _dicom(**marked)
    window = _dicom(WindowCenter="2345.678", WindowWidth="3456.789")
    spaced = _dicom(PixelSpacing=["0.143000", "0.143001"])
    floats = dataset(RAMP)
    del floats.PixelData
    floats.BitsAllocated = 32
    floats.FloatPixelData = np.full(RAMP.shape, np.nan, np.float32).tobytes()
    age = _dicom(PatientAge="058Y", WindowCenter=2000, WindowWidth=4000)
    pixels = zlib.compress(bytes((SIDE + 1) * SIDE))
    return {
        "slope.dcm": _replaced(rescaled, b"1.234567", b"nan"),
        "infinite-slope.dcm": _replaced(rescaled, b"1.234567", b"1e999"),
        "intercept.dcm": _replaced(rescaled, b"-2.34567", b"-inf"),
        "no-slope.dcm": _replaced(rescaled, b"1.234567", b"0"),
        "centre.dcm": _replaced(window, b"2345.678", b"nan"),
        "width.dcm": _replaced(window, b"3456.789", b"inf"),
        "no-width.dcm": _replaced(window, b"3456.789", b"-0.0"),
        "word.dcm": _replaced(window, b"3456.789", b"wide"),
        "spacing.dcm": _replaced(spaced, b"0.143000", b"nan"),
        "no-spacing.dcm": _replaced(spaced, b"0.143000", b"1e-300"),
        "age.dcm": _replaced(age, b"058Y", b"NaNY"),
        "floats.dcm": _written(floats),
        "spacing.png": _png(
            SIDE, SIDE, 8, 0, pixels, _chunk(b"pHYs", struct.pack(">IIB", 0, 2**32 - 1, 0))
        ),
        "gamma.png": _png(SIDE, SIDE, 8, 0, pixels, _chunk(b"gAMA", bytes(4))),
    }


def _images_of_mixed_depth(generator: np.random.Generator) -> dict[str, bytes]:
    def noise(number: int) -> bytes:
        rows = generator.integers(0, 256, (SIDE, number), np.uint8)
        return zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))

    colours = generator.integers(0, 256, (SIDE, SIDE, 4), np.uint8)
    truth = dataset(RAMP % 256, bits=8)
    truth.BitsStored, truth.HighBit = 12, 11
    half = dataset(RAMP)
    half.PixelData = half.PixelData[: len(half.PixelData) // 2 + 1]
    signed = dataset(RAMP, signed=True)
    signed.PixelData = (RAMP - 2048).astype("<i2").tobytes()
    return {
        "16-bits-colour.png": _png(SIDE, SIDE, 16, 2, noise(6 * SIDE)),
        "16-bits-alpha.png": _png(SIDE, SIDE, 16, 4, noise(4 * SIDE)),
        "16-bits-of-8.png": _png(SIDE, SIDE, 16, 0, noise(SIDE)),
        "16-bits-odd.png": _png(SIDE, SIDE, 16, 0, noise(2 * SIDE - 1)),
        "3-bits.png": _png(SIDE, SIDE, 3, 0, noise(SIDE)),
        "1-bit.png": _png(SIDE, SIDE, 1, 0, noise(SIDE // 8)),
        "no-palette.png": _png(SIDE, SIDE, 8, 3, noise(SIDE)),
        "cmyk.jpg": _cmyk(colours),
        "colour.jpg": _saved(colours[..., :3], "JPEG"),
        "8-of-12.dcm": _written(truth),
        "odd-length.dcm": _written(half),
        "signed.dcm": _written(signed),
        "64-bits.dcm": _dicom(BitsAllocated=64),
    }


def _cmyk(colours: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(colours, "RGBA").convert("RGB").convert("CMYK").save(buffer, "JPEG")
    return buffer.getvalue()


def _images_in_wrong_encodings(generator: np.random.Generator) -> dict[str, bytes]:
    """Files that went through what takes them for text, or say another encoding than theirs."""
    png, jpeg = _saved(_grey(generator), "PNG"), _saved(_grey(generator), "JPEG")
    plain = _dicom(PatientName="Doe^Jane")
    uid = b"1.2.840.10008.1.2.1\0"
    return {
        "base64.png": base64.b64encode(png),
        "quoted.jpg": quopri.encodestring(jpeg),
        "text-mode.png": png.replace(b"\r\n", b"\n"),
        "utf-8.png": png.decode("latin-1").encode("utf-8"),
        "replaced.jpg": jpeg.decode("utf-8", "replace").encode("utf-8"),
        "carriage-returns.jpg": jpeg.replace(b"\n", b"\r\n"),
        "implicit.dcm": _replaced(plain, uid, ImplicitVRLittleEndian.encode().ljust(20, b"\0")),
        "big-endian.dcm": _replaced(plain, uid, ExplicitVRBigEndian.encode().ljust(20, b"\0")),
        "unknown.dcm": _replaced(plain, uid, b"1.2.840.10008.9.9.9\0"),
        "not-deflated.dcm": _replaced(
            _written(dataset(RAMP, syntax=DeflatedExplicitVRLittleEndian)),
            DeflatedExplicitVRLittleEndian.encode(),
            b"1.2.840.10008.1.2.1\0\0\0",
        ),
        "characters.dcm": _replaced(
            _dicom(SpecificCharacterSet="ISO_IR 100", PatientName="Doe^Jane"),
            b"ISO_IR 100",
            b"KLINGON-8",
        ),
    }


# --- tables


def _graph_table(generator: np.random.Generator) -> bytes:
    lines = [
        f"film{i}.png,p-{i:04d},{generator.integers(20, 90)},{'Male' if i % 2 else 'Female'},"
        f"{'PA' if i % 3 else 'AP'},NIH,{i % 2},{generator.choice(['0', '1', ''])}"
        for i in range(ROWS)
    ]
    return (GRAPH + "\n".join(lines) + "\n").encode()


def _nih_table(generator: np.random.Generator) -> bytes:
    labels = ["No Finding", "Cardiomegaly|Edema", "Infiltration"]
    lines = [
        f"{i:08}_000.png,{generator.choice(labels)},0,{i},{generator.integers(20, 90)},"
        f"{'M' if i % 2 else 'F'},PA,2682,2749,0.143,0.143"
        for i in range(1, ROWS)
    ]
    return (NIH + "\n".join(lines) + "\n").encode()


def _zipped(name: str, content: bytes, times: int = 1) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(times):
            member = zipfile.ZipInfo(f"{i}-{name}")  # of no time
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _wrong_magic_tables(graph: bytes, nih: bytes) -> dict[str, bytes]:
    return {
        "empty.graph.csv": b"",
        "packed.graph.csv": gzip.compress(graph, mtime=0),
        "plain.nih.csv.gz": nih,
        "empty.nih.csv.gz": b"",
        "image.graph.csv": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4,
        "no-zip.graph.csv.zip": b"PK\x03\x04" + graph,
        "two.graph.csv.zip": _zipped("a.csv", graph, times=2),
        "no-xz.nih.csv.xz": nih,
        "no-bz2.nih.csv.bz2": b"BZh9" + nih,
        "no-tar.graph.csv.tar": graph,
        "page.nih.csv": b"<!DOCTYPE html>\n<title>404 Not Found</title>\n",
    }


def _absurd_tables(graph: bytes, nih: bytes) -> dict[str, bytes]:
    names = ",".join(f"c{i}" for i in range(200_000)).encode()
    first = graph.split(b"\n")[1]
    return {
        "columns.graph.csv": names + b"\n" + b"," * 199_999 + b"\n",
        "fields.nih.csv": nih + b"," * 1_000_000 + b"\n",
        "cell.graph.csv": graph + b"x" * 5_000_000 + first[first.index(b",") :] + b"\n",
        "quote.nih.csv": nih.replace(b"No Finding", b'"No Finding', 1),
        "patient.nih.csv": nih.replace(b",0,7,", b",0," + b"9" * 400 + b",", 1),
        "large-patient.nih.csv": nih.replace(b",0,7,", b",0,1e300,", 1),
        "age.graph.csv": graph.replace(b"p-0007,", b"p-0007,1" + b"0" * 400, 1),
        "header.nih.csv": NIH.encode(),
    }


def _table_bombs(graph: bytes) -> dict[str, bytes]:
    """Small files that hold 128 MiB: compressed in pieces, which all of these formats join."""
    zeros, commas = bytes(2**23), b"," * 2**23
    row = graph[graph.index(b"\n") + 1 :]
    rows = row * (2**23 // len(row))
    packed = gzip.compress(zeros, mtime=0) * 16
    member = tarfile.TarInfo("a.csv")
    member.size = 2**27
    return {
        "zeros.nih.csv.gz": packed,
        "rows.graph.csv.gz": gzip.compress(graph, mtime=0) + gzip.compress(rows, mtime=0) * 16,
        "nested.nih.csv.gz": gzip.compress(packed, mtime=0),
        "commas.graph.csv.gz": gzip.compress(commas, mtime=0) * 16,
        "zeros.graph.csv.zip": _zipped("a.csv", bytes(2**27)),
        "zeros.graph.csv.tar.gz": gzip.compress(member.tobuf(), mtime=0) + packed,
        "zeros.graph.csv.xz": lzma.compress(zeros, preset=0) * 16,
        "zeros.nih.csv.bz2": bz2.compress(zeros, 9) * 16,
    }


def _tables_without_numbers() -> dict[str, bytes]:
    def ages(*written: str) -> bytes:
        rows = (f"a.png,p{i},{age},Male,PA,NIH,0,1\n" for i, age in enumerate(written))
        return (GRAPH + "".join(rows)).encode()

    patient = "a.png,No Finding,0,{},{},M,PA,2682,2749,0.143,0.143\n"
    return {
        "ages.graph.csv": ages("nan", "40", "NaN"),
        "infinite.graph.csv": ages("inf", "40"),
        "minus-infinite.graph.csv": ages("-inf", "40"),
        "overflow.graph.csv": ages("1e999", "40"),
        "patient.nih.csv": (NIH + patient.format("nan", 40)).encode(),
        "infinite-patient.nih.csv": (NIH + patient.format("inf", 40)).encode(),
        "age.nih.csv": (NIH + patient.format("1", "inf")).encode(),
    }


def _tables_of_mixed_types(graph: bytes) -> dict[str, bytes]:
    return {
        "ages.graph.csv": graph.replace(b"p-0007,", b"p-0007,forty-", 1),
        "truths.graph.csv": graph.replace(b",NIH,1,", b",NIH,True,", 1),
        "halves.graph.csv": graph.replace(b",NIH,1,", b",NIH,0.5,", 1),
        "dates.graph.csv": graph.replace(b"p-0007,", b"p-0007,2020-01-", 1),
        "short.graph.csv": graph + b"film.png\n",
        "units.graph.csv": graph.replace(b"p-0007,", b"p-0007,about ", 1),
        "twice.graph.csv": graph.replace(b"view", b"sex", 1),
    }


def _tables_in_wrong_encodings(graph: bytes, nih: bytes) -> dict[str, bytes]:
    accented = graph.decode().replace("film7", "Aufnahme-für-Zoë")
    return {
        "utf-16.graph.csv": accented.encode("utf-16"),
        "utf-16-bare.nih.csv": nih.decode().encode("utf-16-le"),
        "utf-32.graph.csv": accented.encode("utf-32"),
        "latin-1.graph.csv": accented.encode("latin-1"),
        "mark.graph.csv": codecs.BOM_UTF8 + accented.encode(),
        "ebcdic.nih.csv": nih.decode().encode("cp500"),
        "zeros.nih.csv": nih.replace(b"No Finding", b"No\0Finding", 1),
        "carriage-returns.nih.csv": nih.replace(b"\n", b"\r"),
        "latin-1.graph.csv.gz": gzip.compress(accented.encode("latin-1"), mtime=0),
        "surrogates.graph.csv": graph.replace(b"film7", b"film\xed\xa0\x80", 1),
    }
