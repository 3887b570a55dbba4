"""A disc stays round, whatever the file says of its pixels and however it was stored."""

import zlib

import numpy as np
import pytest
from dicom_file import dataset, write
from PIL import Image

from cxrcausal.data import read_image
from cxrcausal.data.geometry import square_pixels
from cxrcausal.errors import ImageError


def disc(height, width):
    """A disc that is round where each pixel is width / height times as high as wide."""
    down, across = np.mgrid[0:height, 0:width]
    y, x = (down + 0.5) / height - 0.5, (across + 0.5) / width - 0.5
    return (x**2 + y**2 < 0.35**2).astype(np.float64)


def height_over_width(path, size):
    seen = read_image(path, size=size)[0, 0].numpy() > 0.5
    return seen.any(1).sum() / seen.any(0).sum()


@pytest.mark.parametrize("size", [64, None])
@pytest.mark.parametrize(("shape", "pitch"), [((64, 128), (0.2, 0.1)), ((128, 64), (0.1, 0.2))])
@pytest.mark.parametrize(
    "name",
    ["PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"],
)
def test_dicom_pixels_that_are_not_square(tmp_path, name, shape, pitch, size):
    """Vertical before horizontal in every attribute (PS3.3 C.7.6.3.1.7, 10.7.1.3)."""
    value = [round(10 * p) for p in pitch] if name == "PixelAspectRatio" else list(pitch)
    path = write(tmp_path / "a.dcm", dataset(disc(*shape) * 4095, **{name: value}))
    assert height_over_width(path, size) == pytest.approx(1.0, abs=0.05)


def test_nearly_square_pixels_are_left_as_they_are(tmp_path):
    values = (disc(64, 64) * 4095).astype(int)
    plain = read_image(write(tmp_path / "a.dcm", dataset(values)))
    spaced = read_image(write(tmp_path / "b.dcm", dataset(values, PixelSpacing=[0.1430, 0.1425])))
    assert (plain == spaced).all()


@pytest.mark.parametrize("value", [[0, 0], [0.1, 0], [-1, 1]])
def test_a_spacing_that_no_pixel_has_is_ignored_and_said(tmp_path, value, caplog):
    values = (disc(64, 64) * 4095).astype(int)
    path = write(tmp_path / "a.dcm", dataset(values, PixelSpacing=value))
    assert read_image(path).shape == (1, 1, 64, 64)
    assert "PixelSpacing" in caplog.text


def test_png_pixels_that_are_not_square(tmp_path):
    grey = (disc(64, 128) * 255).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "dpi.png", dpi=(200, 100))
    written = (tmp_path / "dpi.png").read_bytes()
    start = written.index(b"pHYs")  # the unit of what stands behind it may be none
    chunk = b"pHYs" + (2).to_bytes(4, "big") + (1).to_bytes(4, "big") + b"\0"
    check = zlib.crc32(chunk).to_bytes(4, "big")
    (tmp_path / "ratio.png").write_bytes(written[:start] + chunk + check + written[start + 17 :])
    assert height_over_width(tmp_path / "dpi.png", 64) == pytest.approx(1.0, abs=0.05)
    assert height_over_width(tmp_path / "ratio.png", 64) == pytest.approx(1.0, abs=0.05)


def test_jpeg_pixels_that_are_not_square_also_when_turned(tmp_path):
    image = Image.fromarray((disc(64, 128) * 255).astype(np.uint8))
    image.save(tmp_path / "a.jpg", dpi=(200, 100), quality=95)
    assert height_over_width(tmp_path / "a.jpg", 64) == pytest.approx(1.0, abs=0.05)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    image.save(tmp_path / "b.jpg", dpi=(200, 100), quality=95, exif=exif)
    assert height_over_width(tmp_path / "b.jpg", 64) == pytest.approx(1.0, abs=0.05)


def test_a_ratio_that_would_fill_the_memory_is_refused(tmp_path):
    with pytest.raises(ImageError, match=r"10000 times as high as wide.*at most 1,000"):
        square_pixels(np.zeros((8, 8)), 1e4, 1000, tmp_path / "a.dcm")
