"""A PNG or JPEG radiograph becomes grey pixels in [0, 1], or an error that names the file."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cxrcausal.data import read_image, read_images
from cxrcausal.errors import ImageError


def radiograph(height=40, width=30, seed=0):
    """Grey values 0..255 that a JPEG keeps well: a smooth field with both ends of the range."""
    y, x = np.mgrid[0:height, 0:width]
    wave = np.sin(x / 7 + seed) + np.cos(y / 9)
    wave = (wave - wave.min()) / np.ptp(wave)
    return np.round(255 * wave).astype(np.uint8)


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def png_chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def test_an_8_bit_png_is_its_values_over_255(tmp_path):
    pixels = radiograph()
    image = read_image(save(tmp_path / "a.png", pixels))
    assert image.shape == (1, 1, 40, 30)
    assert image.dtype == torch.float32
    assert np.array_equal(image[0, 0].numpy(), pixels.astype(np.float32) / np.float32(255))
    assert (image.min(), image.max()) == (0, 1)


def test_a_16_bit_png_is_its_values_over_65535(tmp_path):
    pixels = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    pixels[-1, -1] = 65535
    image = read_image(save(tmp_path / "a.png", pixels))
    assert np.allclose(image[0, 0].numpy(), pixels / 65535, atol=1e-7)
    assert image.max() == 1


def test_a_jpeg_is_read_within_its_loss(tmp_path):
    pixels = radiograph()
    image = read_image(save(tmp_path / "a.jpg", pixels, quality=95))
    assert (image[0, 0] - torch.from_numpy(pixels) / 255).abs().max() < 0.03


def test_the_first_bytes_say_what_a_file_is_not_its_name(tmp_path):
    pixels = radiograph()
    image = read_image(save(tmp_path / "a.dcm", pixels, format="PNG"))
    assert np.array_equal(image[0, 0].numpy() * 255, pixels)


def test_grey_stored_in_three_channels_is_grey(tmp_path):
    pixels = radiograph()
    grey = read_image(save(tmp_path / "grey.png", pixels))
    for mode in ("RGB", "RGBA", "LA", "P"):
        path = tmp_path / f"{mode}.png"
        Image.fromarray(pixels).convert(mode).save(path)
        assert torch.equal(read_image(path), grey), mode
    colour_jpeg = tmp_path / "rgb.jpg"
    Image.fromarray(pixels).convert("RGB").save(colour_jpeg, quality=95)
    assert (read_image(colour_jpeg) - grey).abs().max() < 0.03


def test_colour_is_refused(tmp_path):
    pixels = np.stack([radiograph(seed=s) for s in range(3)], axis=-1)
    for name in ("a.png", "a.jpg"):
        with pytest.raises(
            ImageError, match=rf"{name}.*is in colour .channels differ by up to \d+"
        ):
            read_image(save(tmp_path / name, pixels))


def test_a_little_colour_is_refused_too(tmp_path):
    pixels = np.repeat(radiograph()[..., None], 3, axis=-1)
    pixels[20:24, 10:14] = (200, 30, 30)  # an arrow drawn by hand
    with pytest.raises(ImageError, match="is in colour"):
        read_image(save(tmp_path / "arrow.png", pixels))


def test_transparency_is_refused(tmp_path):
    pixels = np.stack([radiograph(), np.full((40, 30), 128, np.uint8)], axis=-1)
    with pytest.raises(ImageError, match="is transparent in places"):
        read_image(save(tmp_path / "a.png", pixels))


def test_other_pixel_modes_and_animations_are_refused(tmp_path):
    bilevel = tmp_path / "one.png"
    Image.fromarray(radiograph()).convert("1").save(bilevel)
    with pytest.raises(ImageError, match="pixels of mode '1'; allowed: grey of 8 or 16 bits"):
        read_image(bilevel)
    ink = tmp_path / "ink.jpg"
    Image.fromarray(radiograph()).convert("CMYK").save(ink)
    with pytest.raises(ImageError, match="pixels of mode 'CMYK'"):
        read_image(ink)
    frames = [Image.fromarray(radiograph(seed=s)) for s in range(3)]
    frames[0].save(tmp_path / "many.png", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="has 3 frames; a radiograph has one"):
        read_image(tmp_path / "many.png")


def test_a_radiograph_is_turned_as_its_file_says(tmp_path):
    upright = radiograph()
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side: turn clockwise to show
    sideways = Image.fromarray(np.rot90(upright).copy())
    sideways.save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png")[0, 0].numpy() * 255, upright)


# --- squares


def test_the_middle_of_the_long_side_is_kept(tmp_path):
    pixels = np.zeros((60, 20), np.uint8)
    pixels[20:40] = 255
    path = save(tmp_path / "tall.png", pixels)
    assert torch.equal(read_image(path, size=20), torch.ones(1, 1, 20, 20))
    wide = save(tmp_path / "wide.png", np.ascontiguousarray(pixels.T))
    assert torch.equal(read_image(wide, size=20), torch.ones(1, 1, 20, 20))


@pytest.mark.parametrize("shape", [(64, 64), (100, 64), (64, 333), (17, 23), (1, 1)])
def test_every_shape_becomes_the_asked_square(tmp_path, shape):
    path = save(
        tmp_path / "a.png", radiograph(*shape) if min(shape) > 1 else np.full(shape, 9, np.uint8)
    )
    image = read_image(path, size=64)
    assert image.shape == (1, 1, 64, 64)
    assert 0 <= image.min() <= image.max() <= 1


def test_shrinking_filters_before_it_thins_out(tmp_path):
    """Stripes finer than the new pixels must turn grey; taking every eighth pixel keeps them."""
    stripes = np.zeros((256, 256), np.uint8)
    stripes[:, ::2] = 255
    image = read_image(save(tmp_path / "a.png", stripes), size=32)[0, 0]
    assert (image[:, 2:-2] - 0.5).abs().max() < 0.02


def test_a_flat_radiograph_stays_flat(tmp_path):
    path = save(tmp_path / "a.png", np.full((97, 61), 51, np.uint8))
    assert torch.allclose(read_image(path, size=16), torch.full((1, 1, 16, 16), 0.2), atol=1e-6)


@pytest.mark.parametrize("size", [0, -1, 2.5, "64", (64, 64), True, 10_000_000])
def test_what_is_no_side_of_a_square_is_refused(tmp_path, size):
    path = save(tmp_path / "a.png", radiograph())
    words = r"asked size is .* pixels; it must be a whole number from 1 to 8,192"
    with pytest.raises(ImageError, match=words):
        read_image(path, size=size)
    with pytest.raises(ImageError, match=words):
        read_images([path], size=size)


def test_a_size_may_be_a_number_of_numpy(tmp_path):
    path = save(tmp_path / "a.png", radiograph())
    assert torch.equal(read_image(path, size=np.int64(9)), read_image(path, size=9))


def test_a_long_and_narrow_radiograph_is_not_blown_up(tmp_path):
    path = save(tmp_path / "strip.png", np.zeros((2, 4000), np.uint8))
    with pytest.raises(
        ImageError, match=r"strip\.png' has 4000 x 2 pixels and would have 2000000 x 1000"
    ):
        read_image(path, size=1000)


@pytest.mark.parametrize("path", [None, 3, float("nan")], ids=repr)
def test_what_is_no_path_is_refused(path):
    with pytest.raises(
        ImageError, match=r"path is .*; give the path of a PNG, JPEG or DICOM file"
    ):
        read_image(path)


# --- batches


def test_a_batch_is_the_radiographs_in_order_whatever_the_workers(tmp_path):
    paths = [save(tmp_path / f"{i}.png", radiograph(seed=i, height=30 + i)) for i in range(7)]
    alone = torch.cat([read_image(path, size=16) for path in paths])
    for workers in (1, 3):
        assert torch.equal(read_images(paths, size=16, workers=workers), alone)
    assert read_images([], size=16).shape == (0, 1, 16, 16)


def test_a_batch_names_the_file_at_fault(tmp_path):
    paths = [save(tmp_path / "good.png", radiograph()), tmp_path / "absent.png"]
    for workers in (1, 2):
        with pytest.raises(ImageError, match=r"absent\.png"):
            read_images(paths, size=16, workers=workers)


def test_one_path_is_not_a_batch(tmp_path):
    with pytest.raises(ImageError, match="paths must be several files"):
        read_images(str(save(tmp_path / "a.png", radiograph())), size=16)


# --- files that are no radiographs


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"GIF89a" + bytes(200), r"is none of PNG, JPEG and DICOM: it begins with b'GIF89a"),
        (b"<html>not found</html>", "is none of PNG, JPEG and DICOM"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "is damaged and cannot be decoded"),
        (b"\xff\xd8\xff\xe0" + bytes(40), "is damaged and cannot be decoded"),
        (bytes(128) + b"DICM" + b"\x01" * 60, "DICM|damaged|Modality"),
    ],
)
def test_a_file_that_is_no_radiograph_is_named(tmp_path, content, words):
    path = tmp_path / "strange.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=rf"strange\.png.*({words})"):
        read_image(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(ImageError, match=r"absent\.png' cannot be opened: No such file"):
        read_image(tmp_path / "absent.png")
    with pytest.raises(ImageError, match="cannot be opened"):
        read_image(tmp_path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_truncated_radiograph_is_refused(tmp_path, name, share):
    rng = np.random.default_rng(0)
    path = save(tmp_path / name, rng.integers(0, 255, (64, 64), np.uint8))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ImageError, match=rf"{name}.*is damaged"):
        read_image(path)


def test_a_small_file_that_claims_to_be_huge_is_refused_before_decoding(tmp_path):
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(60_001) * 10)
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", rows)
        + png_chunk(b"IEND", b"")
    )
    with pytest.raises(ImageError, match=r"bomb\.png' claims 60000 x 60000 pixels; at most"):
        read_image(path)


def test_the_limit_does_not_touch_pillows_own(tmp_path):
    before = Image.MAX_IMAGE_PIXELS
    read_image(save(tmp_path / "a.png", radiograph()))
    assert before == Image.MAX_IMAGE_PIXELS


def encoded(kind):
    buffer = io.BytesIO()
    Image.fromarray(radiograph(24, 24)).save(buffer, format=kind)
    return buffer.getvalue()


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    kind=st.sampled_from(["PNG", "JPEG"]),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6),
    keep=st.integers(0, 10_000),
)
def test_damaged_bytes_give_a_radiograph_or_an_image_error(tmp_path, kind, changes, keep):
    """Whatever happens to the bytes, the answer is in range or a sentence that names the file."""
    content = bytearray(encoded(kind))
    for at, value in changes:
        content[at % len(content)] = value
    path = tmp_path / "damaged.bin"
    path.write_bytes(content[: keep if keep < len(content) else None])
    try:
        image = read_image(path)
    except ImageError as error:
        image, words = None, str(error)
    if image is None:
        assert "damaged.bin" in words
    else:
        assert image.isfinite().all()
        assert 0 <= image.min() <= image.max() <= 1


def test_processes_read_what_threads_read(tmp_path):
    """One batch, in the files' order; an error is the file's own, as it is without them."""
    paths = []
    for i in range(5):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(np.full((8, 9), 40 * i, np.uint8)).save(paths[-1])
    batch = read_images(paths, 8, workers=2, processes=True)
    assert torch.equal(batch, read_images(paths, 8))
    paths[3].write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"3\.png' is none of PNG, JPEG and DICOM"):
        read_images(paths, 8, workers=2, processes=True)
