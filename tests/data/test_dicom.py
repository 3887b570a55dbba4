"""Stored values become displayed values by the standard's rules, or an error names the file."""

import io
import logging

import numpy as np
import pytest
import torch
from dicom_file import RAMP, dataset, lut, shown, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_windowing
from pydicom.sequence import Sequence
from pydicom.uid import (
    MPEG2MPML,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from cxrcausal.data import read_image, read_images
from cxrcausal.errors import ImageError, MissingExtraError

# --- stored values


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 15, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_without_a_window_the_stored_bits_are_the_range(tmp_path, bits, signed):
    """Neither a window nor a VOI LUT: the identity (PS3.3 C.11.2)."""
    low = -(2 ** (bits - 1)) if signed else 0
    stored = np.linspace(low, low + 2**bits - 1, 64 * 64).round().astype(np.int32).reshape(64, 64)
    image = shown(tmp_path, stored, bits=bits, signed=signed)
    assert np.allclose(image, (stored - low) / (2**bits - 1), atol=1e-7)
    assert (image.min(), image.max()) == (0, 1)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_every_byte_order_and_encoding(tmp_path, syntax):
    assert np.allclose(shown(tmp_path, RAMP, syntax=syntax), RAMP / 4095, atol=1e-7)


def test_an_8_bit_radiograph_shows_what_its_png_shows(tmp_path):
    stored = (RAMP % 256).astype(np.uint8)
    Image.fromarray(stored).save(tmp_path / "radiograph.png")
    assert np.array_equal(
        shown(tmp_path, stored, bits=8),
        read_image(tmp_path / "radiograph.png")[0, 0].double().numpy(),
    )


@pytest.mark.parametrize("signed", [False, True])
def test_bits_that_are_not_stored_are_no_grey_value(tmp_path, signed):
    """An overlay in the four high bits of 16 (PS3.5 8.1.1) must not shine through."""
    values = RAMP - 2048 if signed else RAMP
    overlay = np.where(np.arange(64) % 3 == 0, 0xF000, 0)[None]
    dirty = ((values & 0x0FFF) | overlay).astype(np.uint16).view(np.int16 if signed else np.uint16)
    expected = shown(tmp_path, values, signed=signed)
    assert np.array_equal(shown(tmp_path, dirty, signed=signed), expected)


def test_values_that_stand_in_the_high_bits(tmp_path):
    image = shown(tmp_path, RAMP << 4, bits=12, HighBit=15)
    assert np.allclose(image, RAMP / 4095, atol=1e-7)


def test_a_radiograph_with_an_odd_number_of_bytes(tmp_path):
    stored = np.arange(15, dtype=np.uint8).reshape(3, 5)
    data = dataset(stored, bits=8)
    data.PixelData += b"\0"  # values have even length: PS3.5 7.1.1
    image = read_image(write(tmp_path / "odd.dcm", data))
    assert np.array_equal(np.rint(image[0, 0].numpy() * 255), stored)


# --- photometric sense, modality, window


def test_monochrome1_is_inverted(tmp_path):
    """The lowest value is white (PS3.3 C.7.6.3.1.2), after the window."""
    plain = shown(tmp_path, RAMP, WindowCenter=1000, WindowWidth=500)
    inverted = shown(
        tmp_path, RAMP, WindowCenter=1000, WindowWidth=500, PhotometricInterpretation="MONOCHROME1"
    )
    assert np.allclose(inverted, 1 - plain, atol=1e-7)


def test_presentation_lut_shape_does_not_invert_twice(tmp_path):
    """INVERSE accompanies MONOCHROME1 and says the same thing (PS3.3 C.11.6.1.2)."""
    once = shown(tmp_path, RAMP, PhotometricInterpretation="MONOCHROME1")
    twice = shown(
        tmp_path, RAMP, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"
    )
    assert np.array_equal(once, twice)


def test_rescale_comes_before_the_window(tmp_path):
    """The window is in rescaled units (PS3.3 C.11.1 before C.11.2)."""
    window = {"WindowCenter": 0, "WindowWidth": 1001, "RescaleSlope": 2, "RescaleIntercept": -4000}
    image = shown(tmp_path, RAMP, **window)
    assert np.allclose(image, np.clip((2 * RAMP - 4000 + 0.5) / 1000 + 0.5, 0, 1), atol=1e-6)


def test_rescale_without_a_window_keeps_the_radiograph(tmp_path):
    image = shown(tmp_path, RAMP, RescaleSlope="0.5", RescaleIntercept="-1024")
    assert np.allclose(image, RAMP / 4095, atol=1e-6)


def test_a_negative_slope_turns_the_radiograph(tmp_path):
    image = shown(tmp_path, RAMP, RescaleSlope=-1, RescaleIntercept=4095)
    assert np.allclose(image, 1 - RAMP / 4095, atol=1e-6)


def test_a_modality_lut_is_looked_up(tmp_path):
    """PS3.3 C.11.1.1.1: entries beyond the table's ends take the first and the last."""
    table = np.linspace(65535, 0, 3000).astype(int)
    image = shown(tmp_path, RAMP, ModalityLUTSequence=Sequence([lut(500, 16, table)]))
    expected = table[np.clip(RAMP - 500, 0, 2999)] / 65535
    assert np.allclose(image, expected, atol=1e-6)


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(2048, 1000), (700.5, 33.25), (4000, 4096)])
def test_windows_agree_with_pydicoms(tmp_path, function, centre, width):
    """Ours give [0, 1] at once; pydicom's fill the stored bits. The two must be one map."""
    attributes = {"WindowCenter": centre, "WindowWidth": width}
    if function:
        attributes["VOILUTFunction"] = function
    image = shown(tmp_path, RAMP, **attributes)
    theirs = apply_windowing(RAMP.astype(np.uint16), dataset(RAMP, **attributes)) / 4095
    assert np.allclose(image, theirs, atol=1e-6)


def test_a_linear_window_is_the_standards_pseudo_code(tmp_path):
    """PS3.3 C.11.2.1.2.1, Note 2: centre 2048 and width 4096 are the identity on 12 bits."""
    image = shown(tmp_path, RAMP, WindowCenter=2048, WindowWidth=4096)
    assert np.allclose(image, RAMP / 4095, atol=1e-7)
    step = shown(tmp_path, RAMP, WindowCenter=100, WindowWidth=1)
    assert np.array_equal(step, (RAMP > 99.5).astype(float))


def test_the_first_of_several_windows_is_used(tmp_path):
    first = shown(tmp_path, RAMP, WindowCenter=1000, WindowWidth=200)
    several = shown(tmp_path, RAMP, WindowCenter=[1000, 3000], WindowWidth=[200, 50])
    assert np.array_equal(first, several)


def several():
    """Two LUTs and two windows, each called something."""
    dark, light = lut(0, 12, np.arange(4096) // 2), lut(0, 12, np.minimum(2 * RAMP.ravel(), 4095))
    dark.LUTDescriptor, light.LUTDescriptor = [4096, 0, 12], [4096, 0, 12]
    dark.LUTExplanation, light.LUTExplanation = "NORMAL", "HARDER"
    windows = {
        "WindowCenter": [1000, 3000],
        "WindowWidth": [200, 50],
        "WindowCenterWidthExplanation": ["LUNG", "BONE"],
    }
    return Sequence([dark, light]), windows


def test_one_of_several_windows_can_be_chosen(tmp_path):
    """By its number or its name (PS3.3 C.11.2.1.2.1); none of them is the whole range."""
    _, windows = several()
    path = write(tmp_path / "several.dcm", dataset(RAMP, **windows))
    only = shown(tmp_path, RAMP, WindowCenter=3000, WindowWidth=50)
    for window in (1, "BONE", " bone"):
        assert np.array_equal(read_image(path, window=window)[0, 0].double().numpy(), only)
        assert torch.equal(
            read_images([path], 64, window=window), read_image(path, size=64, window=window)
        )
    whole = read_image(path, window=None)[0, 0].double().numpy()
    assert np.allclose(whole, RAMP / 4095, atol=1e-7)


def test_one_of_several_luts_can_be_chosen_and_a_window_beside_them(tmp_path):
    tables, windows = several()
    path = write(tmp_path / "several.dcm", dataset(RAMP, VOILUTSequence=tables, **windows))
    light = np.minimum(2 * RAMP, 4095) / 4095
    for window in (1, "harder"):
        image = read_image(path, window=window)[0, 0].double().numpy()
        assert np.allclose(image, light, atol=1e-6)
    assert np.array_equal(
        read_image(path, window="LUNG")[0, 0].double().numpy(),
        shown(tmp_path, RAMP, WindowCenter=1000, WindowWidth=200),
    )


def test_a_window_that_is_not_there_is_refused_by_what_is(tmp_path):
    tables, windows = several()
    path = write(tmp_path / "several.dcm", dataset(RAMP, VOILUTSequence=tables, **windows))
    with pytest.raises(
        ImageError, match="no VOI LUT or window called 'SOFT'; it has 'NORMAL', 'H"
    ):
        read_image(path, window="SOFT")
    with pytest.raises(ImageError, match=r"has 2 VOI LUT\(s\); there is no number 2"):
        read_image(path, window=2)
    plain = write(tmp_path / "plain.dcm", dataset(RAMP))
    assert torch.equal(read_image(plain, window=1), read_image(plain))  # nothing to choose from
    with pytest.raises(ImageError, match="called 'SOFT'; it has no names"):
        read_image(plain, window="SOFT")
    for window in (1.0, True, ["SOFT"]):
        with pytest.raises(ImageError, match="give a number from 0, a name, or None"):
            read_image(plain, window=window)


def test_rescaling_beyond_all_numbers_is_refused(tmp_path):
    with pytest.raises(ImageError, match="which leave the range of numbers"):
        shown(tmp_path, RAMP, RescaleSlope="1e308", RescaleIntercept="1e308")


def test_a_voi_lut_is_looked_up_and_goes_before_the_window(tmp_path):
    table = np.round(1023 * np.linspace(0, 1, 4096) ** 0.5)
    image = shown(
        tmp_path,
        RAMP,
        VOILUTSequence=Sequence([lut(0, 10, table)]),
        WindowCenter=1,
        WindowWidth=1,
    )
    assert np.allclose(image, table[RAMP] / 1023, atol=1e-6)


def test_a_voi_lut_is_looked_up_in_rescaled_units(tmp_path):
    table = np.linspace(0, 255, 4096).round()
    image = shown(
        tmp_path, RAMP, VOILUTSequence=Sequence([lut(1000, 8, table)]), RescaleIntercept=1000
    )
    assert np.allclose(image, table[RAMP] / 255, atol=1e-6)


def test_entries_of_8_bits_may_be_packed(tmp_path):
    table = np.linspace(255, 0, 4096).round().astype(np.uint8)
    packed = lut(0, 8, [0])
    packed.LUTDescriptor = [4096, 0, 8]
    packed.add_new("LUTData", "OW", table.tobytes())
    image = shown(tmp_path, RAMP, VOILUTSequence=Sequence([packed]))
    assert np.allclose(image, table[RAMP] / 255, atol=1e-6)


def test_a_lut_with_too_few_entries_is_refused(tmp_path):
    short = lut(0, 12, np.arange(100))
    short.LUTDescriptor = [4096, 0, 12]
    with pytest.raises(ImageError, match="has a LUT of 4096 entries of 12 bits in 200 bytes"):
        shown(tmp_path, RAMP, VOILUTSequence=Sequence([short]))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black(tmp_path, photometric):
    """What is outside the exposed field contributes no grey (PS3.3 C.7.5.1.1.2)."""
    stored = RAMP.copy()
    stored[:8] = 4095
    image = shown(tmp_path, stored, PhotometricInterpretation=photometric, PixelPaddingValue=4095)
    clean = shown(tmp_path, RAMP, PhotometricInterpretation=photometric)
    assert (image[:8] == 0).all()
    assert np.array_equal(image[8:-1], clean[8:-1])


def test_padding_may_be_a_range_and_signed(tmp_path):
    image = shown(
        tmp_path, RAMP - 2048, signed=True, PixelPaddingValue=-2048, PixelPaddingRangeLimit=-1949
    )
    assert (image.ravel()[:100] == 0).all()
    assert (image.ravel()[100:] > 0).all()


def test_a_flat_looking_radiograph_is_logged(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="cxrcausal"):
        shown(tmp_path, RAMP // 16)
    assert "neither window nor VOI LUT" in caplog.text


# --- compression


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
@pytest.mark.parametrize("signed", [False, True])
def test_lossless_compression_changes_nothing(tmp_path, syntax, signed):
    values = RAMP - 2048 if signed else RAMP
    data = dataset(values, signed=signed)
    plain = read_image(write(tmp_path / "plain.dcm", data))
    data.compress(syntax, generate_instance_uid=False)
    assert torch.equal(read_image(write(tmp_path / "packed.dcm", data)), plain)


def jpeg(stored):
    data = dataset(stored, bits=8, syntax=JPEGBaseline8Bit)
    buffer = io.BytesIO()
    Image.fromarray(stored.astype(np.uint8)).save(buffer, format="JPEG", quality=95)
    data.PixelData = encapsulate([buffer.getvalue()])
    data["PixelData"].VR = "OB"
    return data


def test_baseline_jpeg_is_read_within_its_loss(tmp_path):
    stored = RAMP // 16
    image = read_image(write(tmp_path / "radiograph.dcm", jpeg(stored)))
    assert np.abs(image[0, 0].numpy() * 255 - stored).max() < 6


def test_a_missing_decoder_names_the_extra(tmp_path, monkeypatch):
    path = write(tmp_path / "radiograph.dcm", jpeg(RAMP // 16))
    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.is_available", False)
    with pytest.raises(
        MissingExtraError, match=r"radiograph\.dcm.*JPEG Baseline.*cxrcausal\[dicom\]"
    ):
        read_image(path)


def test_12_bits_that_pillow_alone_cannot_decode_name_the_extra(tmp_path, monkeypatch):
    data = jpeg(RAMP // 16)
    data.file_meta.TransferSyntaxUID = JPEGExtended12Bit
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    from pydicom.pixels.decoders.base import Decoder, get_decoder

    decoder = get_decoder(JPEGExtended12Bit)
    monkeypatch.setattr(decoder, "_available", {"pillow": decoder._available["pillow"]})
    monkeypatch.setattr(Decoder, "missing_dependencies", ["pylibjpeg - requires pylibjpeg"])
    path = write(tmp_path / "radiograph.dcm", data)
    with pytest.raises(MissingExtraError, match=r"12 bits compressed as 'JPEG Ext.*\[dicom\]"):
        read_image(path)


def test_a_radiograph_is_no_video(tmp_path):
    path = write(
        tmp_path / "radiograph.dcm",
        dataset(RAMP, syntax=MPEG2MPML, PixelData=encapsulate([b"1234"])),
    )
    with pytest.raises(ImageError, match=r"transfer syntax 'MPEG2 Main Profile.*not one of still"):
        read_image(path)


@pytest.mark.parametrize("make", [jpeg, dataset])
def test_a_compressed_image_of_another_size_is_refused_before_decoding(tmp_path, make):
    data = make(RAMP // 16)
    if make is dataset:
        data.compress(JPEG2000Lossless, generate_instance_uid=False)
    data.Rows = 32
    with pytest.raises(ImageError, match="says 64 x 32 pixels, its compressed image 64 x 64"):
        read_image(write(tmp_path / "radiograph.dcm", data))


# --- what is refused


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"Modality": "CT"}, r"has Modality 'CT'; allowed: 'CR', 'DX', 'DR', 'RG'"),
        (
            {"Modality": "", "SOPClassUID": SecondaryCaptureImageStorage},
            r"names no Modality \(0008,0060\).*allowed: 'CR', 'DX'.*allow_modalities=\(''",
        ),
        ({"NumberOfFrames": 2}, "has 2 frames; a radiograph has one"),
        (
            {"PhotometricInterpretation": "PALETTE COLOR"},
            "interpretation 'PALETTE COLOR'; allowed",
        ),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, r"has 3 sample\(s\) per pix"),
        ({"Rows": 0}, "claims 64 x 0 pixels"),
        ({"Rows": 60000, "Columns": 60000}, "claims 60000 x 60000 pixels; from 1 to"),
        ({"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}, "has 32 bits allocated"),
        ({"BitsStored": 20, "HighBit": 19}, "20 stored"),
        ({"RescaleSlope": 0}, "has rescale slope 0.0"),
        ({"WindowCenter": 5}, "a window centre or a width without the other"),
        ({"WindowCenter": 5, "WindowWidth": 0}, "width must be at least 1"),
        (
            {"WindowCenter": 5, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"},
            "width must be above 0",
        ),
        (
            {"WindowCenter": 5, "WindowWidth": 9, "VOILUTFunction": "CUBIC"},
            "VOI LUT function 'CUBIC'; allowed: 'LINEAR', 'LINEAR_EXACT', 'SIGMOID'",
        ),
    ],
)
def test_what_is_no_grey_radiograph_is_refused(tmp_path, attributes, words):
    path = write(tmp_path / "radiograph.dcm", dataset(RAMP, **attributes))
    with pytest.raises(ImageError, match=rf"radiograph\.dcm.*{words}"):
        read_image(path)


def test_another_modality_can_be_allowed(tmp_path):
    path = write(tmp_path / "radiograph.dcm", dataset(RAMP, Modality="OT"))
    assert read_image(path, allow_modalities=("OT",)).shape == (1, 1, 64, 64)
    assert read_image(path, allow_modalities="OT").shape == (1, 1, 64, 64)
    one_letter = write(tmp_path / "letter.dcm", dataset(RAMP, Modality="O"))
    with pytest.raises(ImageError, match=r"has Modality 'O'; allowed: .*'OT'"):
        read_image(one_letter, allow_modalities="OT")


@pytest.mark.parametrize("missing", ["PixelData", "Rows", "BitsStored"])
def test_a_data_set_without_what_an_image_needs_is_refused(tmp_path, missing):
    data = dataset(RAMP)
    delattr(data, missing)
    with pytest.raises(ImageError, match=r"radiograph\.dcm"):
        read_image(write(tmp_path / "radiograph.dcm", data))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_data_set_is_refused(tmp_path, share):
    path = write(tmp_path / "radiograph.dcm", dataset(RAMP))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ImageError, match=r"radiograph\.dcm"):
        read_image(path)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    compressed=st.booleans(),
    changes=st.lists(
        st.tuples(st.integers(128, 900), st.integers(0, 255)), min_size=1, max_size=6
    ),
)
def test_damaged_bytes_give_a_radiograph_or_an_image_error(tmp_path, compressed, changes):
    """Whatever happens to the header, the answer is in range or a sentence that names the file."""
    path = tmp_path / "damaged.dcm"
    write(path, jpeg(RAMP // 16) if compressed else dataset(RAMP, WindowCenter=9, WindowWidth=9))
    content = bytearray(path.read_bytes())
    for at, value in changes:
        content[at % len(content)] = value
    path.write_bytes(content)
    try:
        image = read_image(path)
    except (ImageError, MissingExtraError) as error:
        image, words = None, str(error)
    if image is None:
        assert "damaged.dcm" in words
    else:
        assert image.isfinite().all()
        assert 0 <= image.min() <= image.max() <= 1


# --- the shared files


def test_the_shared_radiographs(shared_data):
    folder = shared_data / "dicom"
    for name in ("nih_00000001_000", "nih_00000002_000", "nih_00000061_002", "rsna_ap_jpeg"):
        path = folder / f"{name}.dcm"
        image = read_image(path)
        assert image.shape == (1, 1, 1024, 1024)
        # these headers have no window and 8 bits: what is stored is what is shown
        assert np.array_equal(np.rint(image[0, 0].numpy() * 255), dcmread(path).pixel_array)


def test_the_shared_radiograph_of_a_false_modality_is_refused_unless_allowed(shared_data):
    false = shared_data / "dicom" / "nih_00000002_000_modality_altered.dcm"
    with pytest.raises(ImageError, match="has Modality 'CT'"):
        read_image(false)
    true = read_image(shared_data / "dicom" / "nih_00000002_000.dcm", size=64)
    assert torch.equal(read_image(false, size=64, allow_modalities=("CT",)), true)


def test_the_shared_radiograph_that_says_monochrome1_is_shown_inverted(shared_data):
    altered = read_image(shared_data / "dicom" / "rsna_pa_jpeg_monochrome1_altered.dcm")
    plain = read_image(shared_data / "dicom" / "rsna_pa_jpeg.dcm")
    assert torch.allclose(altered, 1 - plain, atol=1e-6)
