"""Radiographs per second out of DICOM files, beside a plain loop over pydicom and Pillow in the
same run.

    python benchmarks/dicom_decoding.py [--rows 2500] [--columns 2048] [--files 4] [--rounds 5]
        [--workers N] [--output FILE.json]

The files are written by the script: a procedural chest with quantum noise, 12 bits stored in 16,
with a window; uncompressed, as run lengths, JPEG 2000 and JPEG-LS without loss, and as baseline
JPEG of 8 bits, those of which an encoder is installed (JPEG-LS: pyjpegls). Each is read to a
square of 256 pixels in [0, 1], four ways:

    | ours      `read_image`
    | plain     pydicom's pixel_array, apply_modality_lut and apply_voi_lut, then Pillow's Lanczos
    | bare      pixel_array stretched from its minimum to its maximum, then Pillow's Lanczos: what
    |           tutorials do, and not what the file says
    | raw speed of the machine: the plain loop in as many processes as ours

Rounds alternate, and ratios are taken within a round, so that what else the machine does meets
all of them; the load is said. Processes are timed from the first file's start to the last one's
end, without their own start.
"""

import argparse
import functools
import io
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from cxrcausal.data import read_image
from cxrcausal.data.workers import CHUNK, count_workers, over_files
from cxrcausal.files import atomic_path

SIDE = 256


def chest(rows, columns, seed):
    """Returns 12-bit stored values of something between two lungs, with a detector's noise."""
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    lungs = np.exp(-4 * ((np.abs(x) - 0.45) ** 2 / 0.16 + (y + 0.1) ** 2) ** 2)
    ribs = 0.05 * np.sin(22 * y + 6 * np.abs(x))
    grey = 2600 - 1700 * lungs + 900 * ribs
    noise = np.random.default_rng(seed).normal(size=grey.shape)
    return np.clip(grey + 0.25 * np.sqrt(grey) * noise, 0, 4095).astype(np.uint16)


def header(stored, bits, syntax):
    """Returns a data set of a digital radiograph with its window."""
    from pydicom import Dataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, generate_uid

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.SOPClassUID = DigitalXRayImageStorageForPresentation
    data.SOPInstanceUID = generate_uid()
    data.Modality, data.PhotometricInterpretation = "DX", "MONOCHROME2"
    data.SamplesPerPixel, data.PixelRepresentation = 1, 0
    data.Rows, data.Columns = stored.shape
    data.BitsAllocated = 8 if bits == 8 else 16
    data.BitsStored, data.HighBit = bits, bits - 1
    data.WindowCenter, data.WindowWidth = (1 << bits) * 0.45, (1 << bits) * 0.6
    return data


def write(folder, name, stored):
    """Writes one file in a transfer syntax; returns its path, None where nothing encodes it."""
    from pydicom import uid
    from pydicom.encaps import encapsulate

    path = folder / f"{name}.dcm"
    if "jpeg-baseline" in name:
        data = header(stored, 8, uid.JPEGBaseline8Bit)
        buffer = io.BytesIO()
        Image.fromarray((stored >> 4).astype(np.uint8)).save(buffer, format="JPEG", quality=95)
        data.PixelData = encapsulate([buffer.getvalue()])
        data["PixelData"].VR = "OB"
    else:
        data = header(stored, 12, uid.ExplicitVRLittleEndian)
        data.PixelData = stored.astype("<u2").tobytes()
        data["PixelData"].VR = "OW"
        packed = {
            "run-lengths": uid.RLELossless,
            "jpeg-ls": uid.JPEGLSLossless,
            "jpeg-2000": uid.JPEG2000Lossless,
        }
        for word, syntax in packed.items():
            if word in name:
                try:
                    data.compress(syntax, generate_instance_uid=False)
                except (RuntimeError, NotImplementedError):
                    return None
    data.save_as(path, enforce_file_format=True)
    return path


def square(eight):
    """Returns the middle square of 8-bit pixels, resampled by Pillow, in [0, 1]."""
    height, width = eight.shape
    short = min(height, width)
    shape = (round(width * SIDE / short), round(height * SIDE / short))
    small = np.asarray(Image.fromarray(eight).resize(shape, Image.Resampling.LANCZOS), np.float32)
    top, left = (small.shape[0] - SIDE) // 2, (small.shape[1] - SIDE) // 2
    return small[top : top + SIDE, left : left + SIDE] / 255


def plain(path):
    """Reads a radiograph as the file says, by pydicom's functions."""
    from pydicom import dcmread
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    data = dcmread(path)
    shown = apply_voi_lut(apply_modality_lut(data.pixel_array, data), data)
    shown = shown / ((1 << data.BitsStored) - 1)
    if data.PhotometricInterpretation == "MONOCHROME1":
        shown = 1 - shown
    return square((shown * 255).astype(np.uint8))


def bare(path):
    """Reads a radiograph from its darkest to its lightest value."""
    from pydicom import dcmread

    values = dcmread(path).pixel_array.astype(np.float32)
    low, high = values.min(), values.max()
    return square(((values - low) / (high - low) * 255).astype(np.uint8))


def ours(path):
    """Reads a radiograph by this package."""
    return read_image(path, SIDE)[0, 0].numpy()


WAYS = {"ours": ours, "plain": plain, "bare": bare}


READY = set()
"""The ways that this process has read a file by, and so has imported what they take."""


def timed(path, name):
    """Returns when reading a file began and ended, and how much of a core's time it took."""
    if name not in READY:
        WAYS[name](path)
        READY.add(name)
    start, cpu = time.perf_counter(), time.thread_time()
    WAYS[name](path)
    return start, time.perf_counter(), time.thread_time() - cpu


def rate(name, paths, workers):
    """Returns radiographs per second of wall time, and per second of one core's time."""
    read = functools.partial(timed, name=name)
    times = np.array(list(over_files(read, paths, workers)))
    wall, cpu = times[:, 1].max() - times[:, 0].min(), times[:, 2].sum()
    return float(len(paths) / wall), float(len(paths) / cpu)


def compare(paths, rounds, workers):
    """Returns the rates of every way of reading, round by round, in turn."""
    several = [paths[i % len(paths)] for i in range(CHUNK * workers)]  # each process has as many
    report = []
    for number in range(rounds + 1):
        line = {"load": os.getloadavg()[0]}
        for name in ("plain", "ours", "bare"):
            line[name], line[f"{name}_cpu"] = rate(name, paths, 1)
        for name in ("ours", "plain"):
            line[f"{name}_parallel"], _ = rate(name, several, workers)
        if number:  # the first warms up
            report.append(line)
    return report


def ratios(rounds, workers):
    """Returns the medians over rounds of the ratios that were asked for."""
    usable = [line["plain_parallel"] / line["plain"] for line in rounds]
    taken = {
        "one process / plain": [line["ours"] / line["plain"] for line in rounds],
        "one process / bare": [line["ours"] / line["bare"] for line in rounds],
        "one process / plain, CPU time": [line["ours_cpu"] / line["plain_cpu"] for line in rounds],
        "one process / bare, CPU time": [line["ours_cpu"] / line["bare_cpu"] for line in rounds],
        "parallel / (plain x cores)": [
            line["ours_parallel"] / line["plain"] / workers for line in rounds
        ],
        "parallel / plain in parallel": [
            line["ours_parallel"] / line["plain_parallel"] for line in rounds
        ],
        "cores that the plain loop found": usable,
        "load": [line["load"] for line in rounds],
    }
    return {name: statistics.median(values) for name, values in taken.items()}


def markdown(report):
    """Returns the report as a table."""
    names = list(next(iter(report["files"].values()))["ratios"])
    lines = [
        f"{report['rows']} x {report['columns']} pixels to {SIDE} x {SIDE}, "
        f"{report['workers']} processes, medians of {report['rounds']} rounds.",
        "",
        "| file | radiographs/s, one process | " + " | ".join(names) + " |",
        "|---" * (len(names) + 2) + "|",
    ]
    for file, entry in report["files"].items():
        speed = statistics.median(line["ours"] for line in entry["rounds"])
        cells = " | ".join(f"{entry['ratios'][name]:.2f}" for name in names)
        lines.append(f"| {file} | {speed:.1f} | {cells} |")
    return "\n".join(lines) + "\n"


def main():
    """Writes the files, compares, prints and keeps the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=2500)
    parser.add_argument("--columns", type=int, default=2048)
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    workers = count_workers(asked.workers)
    report = {
        "rows": asked.rows, "columns": asked.columns, "rounds": asked.rounds, "workers": workers,
        "files": {},
    }  # fmt: skip
    kinds = ("uncompressed", "run-lengths", "jpeg-baseline", "jpeg-ls", "jpeg-2000")
    with tempfile.TemporaryDirectory() as folder:
        images = [chest(asked.rows, asked.columns, seed) for seed in range(2)]
        for kind in kinds:
            written = [write(Path(folder), f"{kind}-{i}", image) for i, image in enumerate(images)]
            if None in written:
                print(f"{kind}: no encoder is installed; left out")
                continue
            paths = [written[i % len(written)] for i in range(asked.files)]
            rounds = compare(paths, asked.rounds, workers)
            report["files"][kind] = {"rounds": rounds, "ratios": ratios(rounds, workers)}
            for ending, text in (
                (".json", json.dumps(report, indent=1) + "\n"),
                (".md", markdown(report)),
            ):
                if asked.output is not None:  # after each kind: the last ones take long
                    with atomic_path(asked.output.with_suffix(ending)) as beside:
                        beside.write_text(text, encoding="utf-8")
    print(markdown(report))


if __name__ == "__main__":
    main()
