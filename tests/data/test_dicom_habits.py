"""What vendors and de-identifiers do to DICOM files: shown right, or said."""

import logging

import numpy as np
import pydicom
import pytest
import torch
from dicom_file import RAMP, dataset, lut, shown, write
from PIL import Image
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000Lossless, RLELossless, SecondaryCaptureImageStorage

from cxrcausal.data import read_image


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_lut_that_declares_more_bits_than_it_holds_fills_the_scale(
    tmp_path, photometric, caplog
):
    """The bits that its entries need are the scale, whichever step the table belongs to."""
    images = {}
    for depth in (12, 16):
        for step in ("VOILUTSequence", "ModalityLUTSequence"):
            table = Sequence([lut(0, depth, np.arange(4096))])
            attributes = {step: table, "PhotometricInterpretation": photometric}
            images[depth, step] = shown(tmp_path, RAMP, **attributes)
    for image in images.values():
        assert np.array_equal(image, images[12, "VOILUTSequence"])
        assert (image.min(), image.max()) == (0.0, 1.0)
    assert "declares 16 bits and holds 12" in caplog.text


@pytest.mark.parametrize(("centre", "width"), [(40, 80), (50000, 1000), (-500, 2)])
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_a_window_beside_the_pixels_is_said(tmp_path, centre, width, function, caplog):
    radiograph = np.linspace(1000, 3000, 64 * 64).astype(int).reshape(64, 64)
    shown(tmp_path, radiograph, WindowCenter=centre, WindowWidth=width, VOILUTFunction=function)
    assert "lie beside it" in caplog.text
    assert "radiograph.dcm" in caplog.text


def test_a_window_that_fits_is_silent(tmp_path, caplog):
    radiograph = np.linspace(1000, 3000, 64 * 64).astype(int).reshape(64, 64)
    with caplog.at_level(logging.INFO, logger="cxrcausal"):
        shown(tmp_path, radiograph, WindowCenter=2000, WindowWidth=1800)
    assert not caplog.records


def test_a_lut_beside_the_pixels_is_said(tmp_path, caplog):
    """The first entry stands for all values below the first one that is mapped: one even grey."""
    shown(tmp_path, RAMP // 2, VOILUTSequence=Sequence([lut(3000, 12, np.arange(1096) * 3)]))
    assert "nearly one grey" in caplog.text


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_flat_picture_is_said_whichever_the_reader(tmp_path, suffix, caplog):
    Image.fromarray(np.full((64, 64), 77, np.uint8)).save(tmp_path / f"a.{suffix}")
    read_image(tmp_path / f"a.{suffix}", size=32)
    assert "nearly one grey" in caplog.text


def test_12_bits_in_a_16_bit_png_are_said(tmp_path, caplog):
    Image.fromarray(RAMP.astype(np.uint16)).save(tmp_path / "a.png")
    read_image(tmp_path / "a.png")
    assert "nearly one grey" in caplog.text


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_one_radiograph_whose_bits_stand_high_plain_and_compressed(tmp_path, syntax, signed):
    values = (RAMP - 2048 if signed else RAMP) << 4
    data = dataset(values, bits=12, signed=signed, HighBit=15)
    plain = read_image(write(tmp_path / "plain.dcm", data))
    assert float(plain.max() - plain.min()) == 1.0
    if syntax == JPEG2000Lossless:  # an encoder that is told of 16 bits writes 16 into its stream
        data.BitsStored = 16
    data.compress(syntax, generate_instance_uid=False)
    data.BitsStored = 12
    assert torch.equal(read_image(write(tmp_path / "packed.dcm", data)), plain)


def test_a_radiograph_by_its_class_needs_no_modality(tmp_path):
    """VinDr-CXR was de-identified to 25 tags, of which Modality is none."""
    data = dataset(RAMP)
    expected = read_image(write(tmp_path / "a.dcm", data))
    del data.Modality
    assert torch.equal(read_image(write(tmp_path / "b.dcm", data)), expected)
    del data.SOPClassUID  # the file's preface still says it
    pydicom.dcmwrite(tmp_path / "c.dcm", data, enforce_file_format=True)
    assert torch.equal(read_image(tmp_path / "c.dcm"), expected)


@pytest.mark.parametrize("allow", [("",), (None,), "", ("OT", None)])
def test_a_file_that_says_nothing_can_be_allowed(tmp_path, allow):
    data = dataset(RAMP, SOPClassUID=SecondaryCaptureImageStorage)
    expected = read_image(write(tmp_path / "a.dcm", data))
    del data.Modality
    path = write(tmp_path / "b.dcm", data)
    assert torch.equal(read_image(path, allow_modalities=allow), expected)
