"""Files of every kind, and what accidents and malice do to them: an image, or a typed error."""

import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_file import RAMP, dataset, write
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from cxrcausal.data import read_dicom_tags, read_image
from cxrcausal.errors import CxrCausalError, ImageError

FOLDER = Path(pydicom.__file__).parent / "data"
THEIRS = sorted(
    path
    for folder in ("test_files", "charset_files")
    for path in (FOLDER / folder).rglob("*")
    if path.is_file()
)
"""The files that lie in pydicom's wheel; the larger ones that it downloads are not asked for."""
ANYTHING = ("CT", "MR", "US", "NM", "OT", "SEG", "RTDOSE", "XA", "SC", "")

pytestmark = pytest.mark.filterwarnings("ignore")  # pydicom's, about files that are wrong


def outcome(path):
    """The image, or the typed error; whatever else is raised fails the test."""
    try:
        return read_image(path, allow_modalities=ANYTHING)
    except CxrCausalError as error:
        answer = error
    assert path.name in str(answer)
    return answer


@pytest.mark.parametrize("path", THEIRS, ids=lambda path: str(path.relative_to(FOLDER)))
def test_pydicoms_files_are_read_or_refused(path):
    image = outcome(path)
    if not isinstance(image, CxrCausalError):
        assert image.shape[:2] == (1, 1)
        assert image.isfinite().all()
        assert 0 <= image.min() <= image.max() <= 1
    assert len(read_dicom_tags([path], damaged="skip")) <= 1


def test_many_of_pydicoms_files_are_read():
    read = [path for path in THEIRS if not isinstance(outcome(path), CxrCausalError)]
    assert len(read) >= 40


@pytest.mark.parametrize(
    "name",
    [
        "693_J2KI",
        "CT_small",
        "J2K_pixelrep_mismatch",
        "JPEG2000",
        "JPEGLSNearLossless_08",
        "JPEGLSNearLossless_16",
        "MR_small_RLE",
        "MR_small_bigendian",
        "MR_small_jp2klossless",
        "MR_small_jpeg_ls_lossless",
        "examples_overlay",
        "image_dfl",
    ],
)
def test_what_is_read_is_what_pydicom_shows(name):
    """Every compression, held against the reference: the same image but for origin and scale."""
    path = FOLDER / "test_files" / f"{name}.dcm"
    ours = read_image(path, allow_modalities=ANYTHING)[0, 0].double().numpy().ravel()
    data = pydicom.dcmread(path)
    theirs = apply_modality_lut(data.pixel_array, data)
    theirs = np.asarray(apply_voi_lut(theirs, data, prefer_lut=True), np.float64).ravel()
    if data.PhotometricInterpretation == "MONOCHROME1":
        theirs = -theirs
    if "PixelPaddingValue" in data:
        shown = data.pixel_array.ravel() != data.PixelPaddingValue
        ours, theirs = ours[shown], theirs[shown]
    assert np.ptp(ours) > 0
    design = np.stack([theirs, np.ones_like(theirs)], 1)
    line = np.linalg.lstsq(design, ours, rcond=None)[0]
    assert line[0] > 0
    assert np.abs(design @ line - ours).max() < 2e-3  # pydicom's window is rounded to whole steps


def test_the_shared_files_are_read_or_refused(shared_data):
    for path in sorted((shared_data / "dicom").iterdir()):
        image = outcome(path)
        assert isinstance(image, ImageError) == (path.suffix != ".dcm")


# --- damage

READ = """
import json, resource, sys, time, warnings
warnings.simplefilter("ignore")
import logging; logging.disable(logging.CRITICAL)
from pathlib import Path
import pydicom.pixels, pydicom.encaps, openjpeg, libjpeg, scipy.special
from cxrcausal.data import read_image, read_dicom_tags
from cxrcausal.errors import CxrCausalError
mapped = int(next(s for s in open("/proc/self/status") if s.startswith("VmSize")).split()[1])
limit = mapped * 1024 + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in sorted(Path(sys.argv[1]).iterdir()):
    print(path.name, end=" ", flush=True)
    start = time.thread_time()
    for read in (read_image, lambda path: read_dicom_tags([path])):
        try:
            read(path)
            said = "read"
        except CxrCausalError as error:
            said = f"{type(error).__name__}: {error}"
        print(json.dumps(said), end=" ")
    print(time.thread_time() - start, flush=True)
"""


def read_all(folder, memory):
    """Reads every file in a process that may not take more memory; returns seconds by name."""
    done = subprocess.run(
        [sys.executable, "-c", READ, folder, str(memory)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout[-400:], done.stderr[-2000:])
    lines = done.stdout.splitlines()
    assert len(lines) == len(list(folder.iterdir()))
    return {line.split(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines}, lines


def wholes():
    """One file of each make: plain, deflated, run lengths, JPEG 2000, and pydicom's own."""
    noise = np.random.default_rng(0).integers(0, 64, RAMP.shape)
    image = np.clip(RAMP + noise, 0, 4095)
    made = {"plain": dataset(image, WindowCenter=2000, WindowWidth=4000, PatientAge="058Y")}
    made["deflated"] = dataset(image, syntax=DeflatedExplicitVRLittleEndian)
    for name, syntax in (("run-lengths", RLELossless), ("jpeg2000", JPEG2000Lossless)):
        made[name] = dataset(image)
        made[name].compress(syntax, generate_instance_uid=False)
    for name in ("MR_small_jpeg_ls_lossless", "JPGExtended", "JPEG-lossy"):
        made[name] = pydicom.dcmread(FOLDER / "test_files" / f"{name}.dcm")
        made[name].Modality = "DX"
    return made


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures memory by Linux")
def test_damaged_files_are_read_or_refused_in_little_memory(tmp_path):
    """Cut short, with bits flipped and bytes overwritten: no crash, no hang, 2 GiB at the most."""
    generator = np.random.default_rng(7)
    folder = tmp_path / "damaged"
    folder.mkdir()
    for name, data in wholes().items():
        whole = write(tmp_path / "whole.dcm", data).read_bytes()
        for number in range(20):
            content = bytearray(whole)
            kind = number % 4
            if kind == 0:
                del content[int(generator.integers(0, len(content))) :]
            for _ in range(0 if kind == 0 else int(generator.integers(1, 12))):
                # half of the damage where the header is, a quarter where the image begins
                end = len(content) if kind == 1 else min(len(content), 900)
                at = int(generator.integers(132, end))
                content[at] = (
                    content[at] ^ (1 << int(generator.integers(8)))
                    if kind < 3
                    else int(generator.choice([0, 1, 127, 128, 254, 255]))
                )
            (folder / f"{name}-{number:02d}.dcm").write_bytes(content)
    seconds, lines = read_all(folder, 2**31)
    assert len(seconds) == 140
    assert max(seconds.values()) < 20, max(seconds, key=seconds.get)
    assert sum('"read"' in line for line in lines) > 10  # and some of it did no harm


def claims(**attributes):
    """A small file that claims much."""
    return dataset(RAMP, **attributes)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures memory by Linux")
def test_what_a_small_file_claims_takes_no_memory(tmp_path):
    """Absurd rows, columns, lengths and a bomb, in half a GiB: refused, but for the one file whose
    image is all there behind a length of four GiB."""
    folder = tmp_path / "claims"
    folder.mkdir()
    write(folder / "rows.dcm", claims(Rows=65535, Columns=65535))
    write(folder / "many-rows.dcm", claims(Rows=8192, Columns=8192))
    write(folder / "frames.dcm", claims(NumberOfFrames=2**31 - 1))
    run_lengths = dataset(RAMP)
    run_lengths.compress(RLELossless, generate_instance_uid=False)
    run_lengths.Rows = run_lengths.Columns = 8192
    write(folder / "run-lengths.dcm", run_lengths)
    whole = write(tmp_path / "whole.dcm", dataset(RAMP, PatientID="0" * 64)).read_bytes()
    pixels = whole.rfind(len(RAMP.astype("u2").tobytes()).to_bytes(4, "little"))
    (folder / "length.dcm").write_bytes(
        whole[:pixels] + (2**32 - 2).to_bytes(4, "little") + whole[pixels + 4 :]
    )
    other = write(tmp_path / "other.dcm", dataset(RAMP)).read_bytes()
    elements = b"\x09\x00\x10\x00OB\x00\x00" + (2**32 - 16).to_bytes(4, "little")
    at = other.find(b"\x28\x00\x02\x00")
    (folder / "private.dcm").write_bytes(other[:at] + elements + other[at:])
    preface = write(
        tmp_path / "deflated.dcm", dataset(RAMP, syntax=DeflatedExplicitVRLittleEndian)
    ).read_bytes()
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = b"\x09\x00\x10\x00OB\x00\x00" + (2**31).to_bytes(4, "little")
    head = packer.compress(bomb) + packer.flush(zlib.Z_FULL_FLUSH)
    # from a full flush to the next, what is packed can be unpacked by itself: so also 40 times
    zeros = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    swollen = head + 40 * zeros
    starts = preface.find(b"\x02\x00\x00\x00UL") + 12
    starts += int.from_bytes(preface[starts - 4 : starts], "little")
    (folder / "bomb.dcm").write_bytes(preface[:starts] + swollen + packer.flush())
    _, lines = read_all(folder, 2**29)
    for line in lines:
        assert line.split(" ")[1] != '"read"' or line.startswith("length.dcm"), line
        assert "memory" not in line.replace("to read memory", ""), line
    said = {line.split(" ", 1)[0]: line for line in lines}
    assert "swells to more than" in said["bomb.dcm"]
    assert "claims 65535 x 65535 pixels" in said["rows.dcm"]


def test_a_file_larger_than_a_radiograph_is_refused_unread(tmp_path):
    path = write(tmp_path / "large.dcm", dataset(RAMP))
    os.truncate(path, 2**28 + 2)  # a hole, which takes no disk
    with pytest.raises(ImageError, match=r"large\.dcm' has 268,435,458 bytes; a file of one"):
        read_image(path)


def test_a_compressed_image_in_colour_is_refused(tmp_path):
    data = pydicom.dcmread(FOLDER / "test_files" / "GDCMJ2K_TextGBR.dcm")
    data.Modality, data.SamplesPerPixel = "DX", 1
    data.PhotometricInterpretation = "MONOCHROME2"
    with pytest.raises(ImageError, match="its compressed image has 3 samples per pixel"):
        read_image(write(tmp_path / "a.dcm", data))


def test_a_compressed_image_that_is_none_is_refused(tmp_path):
    data = dataset(RAMP, syntax=JPEG2000Lossless, PixelData=pydicom.encaps.encapsulate([b"none"]))
    data["PixelData"].VR = "OB"
    with pytest.raises(ImageError, match="holds no compressed image of 'JPEG 2000"):
        read_image(write(tmp_path / "a.dcm", data))
