"""What goes out as DICOM is a Secondary Capture image by the standard, and nobody's radiograph."""

import json
import logging
import re

import numpy as np
import pydicom
import pytest
import torch
from pydicom import config
from pydicom.datadict import tag_for_keyword

import cxrcausal as cx
from cxrcausal.data import read_image, save_synthetic_dicom, save_synthetic_dicoms
from cxrcausal.data.dicom.mark import LETTERS, burn_mark
from cxrcausal.errors import ImageError, OptionError

PROVENANCE = {
    "synthetic": True,
    "do": {"sex": "Male", "age": "shift(20)"},
    "seed": 3,
    "model": "cxr19-tiny",
    "graph": "cxr19",
    "graph_fingerprint": "0123abcd",
    "cxrcausal": cx.__version__,
}

SC_IMAGE = {
    "Patient (C.7.1.1)": {
        2: ["PatientName", "PatientID", "PatientBirthDate", "PatientSex"],
    },
    "General Study (C.7.2.1)": {
        1: ["StudyInstanceUID"],
        2: ["StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"],
    },
    "General Series (C.7.3.1)": {1: ["Modality", "SeriesInstanceUID"], 2: ["SeriesNumber"]},
    "General Equipment (C.7.5.1)": {2: ["Manufacturer"]},
    "SC Equipment (C.8.6.1)": {1: ["ConversionType"]},
    # 2C: there is neither Image Orientation nor Image Position (Patient)
    "General Image (C.7.6.1)": {2: ["InstanceNumber", "PatientOrientation"]},
    "Image Pixel (C.7.6.3)": {
        1: [
            "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated",
            "BitsStored", "HighBit", "PixelRepresentation", "PixelData",
        ]
    },
    "VOI LUT (C.11.2)": {1: ["WindowCenter", "WindowWidth"]},
    # 1C: an expanded character set is used
    "SOP Common (C.12.1)": {1: ["SOPClassUID", "SOPInstanceUID", "SpecificCharacterSet"]},
}  # fmt: skip
"""The modules of PS3.3 table A.8-1 with attributes of type 1 (present and not empty) or 2
(present), as far as their conditions hold. General Acquisition and SC Image have none."""

ABSENT = [
    "PlanarConfiguration",  # 1C of several samples
    "PixelAspectRatio",  # 1C of pixels that are not square
    "RescaleIntercept", "RescaleSlope", "ModalityLUTSequence",  # grey values are as stored
    "VOILUTSequence",
    "Laterality", "ImageLaterality",  # 2C of paired structures, which a chest is not
    "NumberOfFrames",
    "ViewPosition", "AcquisitionDate", "AcquisitionTime", "KVP", "InstitutionName",
    "OperatorsName", "PatientAge", "PatientBirthName", "DeviceSerialNumber",
    "SourceImageSequence", "ReferencedImageSequence",
]  # fmt: skip


def radiograph(side=64):
    return torch.rand(1, side, side, generator=torch.Generator().manual_seed(side))


@pytest.fixture
def raising(monkeypatch):
    """Pydicom refuses to write what breaks a value representation."""
    monkeypatch.setattr(config.settings, "_writing_validation_mode", config.RAISE)
    monkeypatch.setattr(config.settings, "reading_validation_mode", config.RAISE)
    assert config.settings.writing_validation_mode == config.RAISE


@pytest.fixture
def written(tmp_path, raising):
    """Writes a radiograph and returns its data set and its path."""

    def write(image=None, **options):
        path = tmp_path / "synthetic.dcm"
        image = radiograph() if image is None else image
        assert save_synthetic_dicom(image, path, **{"provenance": PROVENANCE} | options) == path
        return pydicom.dcmread(path), path

    return write


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("mark", [True, False])
def test_every_attribute_that_the_standard_asks_for(written, bits, mark):
    data, _ = written(bits=bits, mark=mark)
    for module, types in SC_IMAGE.items():
        for kind, names in types.items():
            for name in names:
                assert name in data, (module, name)
                assert kind == 2 or not data[name].is_empty, (module, name)
    for name in ABSENT:
        assert tag_for_keyword(name) is not None, name
        assert name not in data, name


@pytest.mark.parametrize("bits", [8, 16])
def test_values_are_of_the_standards_terms(written, bits):
    data, _ = written(bits=bits)
    assert data.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert data.file_meta.MediaStorageSOPClassUID == data.SOPClassUID
    assert data.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage
    assert data.file_meta.MediaStorageSOPInstanceUID == data.SOPInstanceUID
    assert (data.BitsAllocated, data.BitsStored, data.HighBit) == (bits, bits, bits - 1)
    assert (data.SamplesPerPixel, data.PixelRepresentation) == (1, 0)
    assert data.PhotometricInterpretation == "MONOCHROME2"
    assert data["PixelData"].VR == ("OB" if bits == 8 else "OW")
    for element in data.iterall():  # every value within its representation: PS3.5 6.2
        pydicom.DataElement(element.tag, element.VR, element.value, validation_mode=config.RAISE)


def test_it_says_everywhere_that_it_is_synthetic(written):
    """To programs, to people and in the pixels."""
    data, _ = written()
    assert list(data.ImageType) == ["DERIVED", "SECONDARY"]
    assert (data.ConversionType, data.SyntheticData, data.Modality) == ("SYN", "YES", "OT")
    assert data.BurnedInAnnotation == "YES"
    for name in (
        "SeriesDescription",
        "StudyDescription",
        "DerivationDescription",
        "ImageComments",
    ):
        assert "SYNTHETIC" in data[name].value, name
    assert "not for diagnosis" in data.SeriesDescription
    assert str(data.PatientName).startswith("SYNTHETIC")
    assert data.PatientID == "SYNTHETIC"


def test_it_says_how_it_came_about(written):
    data, _ = written()
    said = data.DerivationDescription
    for words in ("sex = Male", "age = shift(20)", "model cxr19-tiny", "graph cxr19 0123abcd"):
        assert words in said
    assert f"cxrcausal {cx.__version__}" in said
    block = data.private_block(0x0071, "cxrcausal")
    assert json.loads(block[0x01].value) == PROVENANCE


def test_a_long_intervention_leaves_room_for_model_and_graph(written):
    """Short Text ends at 1,024 characters; the whole stands in the private element."""
    asked = {f"finding_{i}": "positive" for i in range(99)}
    data, _ = written(provenance={**PROVENANCE, "do": asked})
    assert len(data.DerivationDescription) <= 1024
    assert "finding_0 = positive" in data.DerivationDescription
    assert " …); model cxr19-tiny; graph cxr19 0123abcd" in data.DerivationDescription
    assert json.loads(data.private_block(0x0071, "cxrcausal")[0x01].value)["do"] == asked


def test_names_in_any_script_come_back(written):
    model = "C:\\modèles\\胸部"
    data, _ = written(provenance={**PROVENANCE, "model": model, "do": {"Größe": "groß"}})
    assert "Größe = groß" in data.DerivationDescription
    assert model in data.DerivationDescription
    assert data.ManufacturerModelName == "C:/modèles/胸部"


def test_identifiers_are_new(written):
    names = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
    first, second = written()[0], written()[0]
    found = [data[name].value for data in (first, second) for name in names]
    assert len(set(found)) == 6
    assert all(re.fullmatch(r"2\.25\.[1-9]\d*", uid) and len(uid) <= 64 for uid in found)


def test_a_patients_id_is_kept_where_it_is_given_and_nothing_else(written):
    data, _ = written(patient_id="P-0017")
    assert data.PatientID == "P-0017"
    assert str(data.PatientName).startswith("SYNTHETIC")
    assert data.SyntheticData == "YES"


# --- pixels


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("shape", [(64, 64), (7, 5), (48, 96)])
def test_it_reads_back_to_the_same_pixels(written, bits, shape, caplog):
    image = torch.rand(1, *shape, generator=torch.Generator().manual_seed(1))
    image[0, 0, :2] = torch.tensor([-0.1, 1.1])
    data, path = written(image, bits=bits, mark=False)
    assert "BurnedInAnnotation" not in data
    with caplog.at_level(logging.WARNING, logger="cxrcausal"):
        back = read_image(path)
    full = 2**bits - 1
    assert torch.equal((back[0] * full).round(), (image.double().clamp(0, 1) * full).round())
    assert (back[0] - image.clamp(0, 1)).abs().max() <= 0.5 / full + 1e-7


def test_our_own_reader_says_that_it_is_synthetic(written, caplog):
    """Offered as a patient's radiograph, it is read and warned of; a PNG of ours as well."""
    _, path = written()
    with caplog.at_level(logging.WARNING, logger="cxrcausal"):
        read_image(path)
    assert "synthetic.dcm says that it is synthetic, no patient's radiograph" in caplog.text


def test_our_own_reader_says_it_of_a_png_too(tmp_path, caplog):
    from cxrcausal.counterfactual.result import save_synthetic

    save_synthetic(radiograph(), tmp_path / "a.png", PROVENANCE)
    with caplog.at_level(logging.WARNING, logger="cxrcausal"):
        read_image(tmp_path / "a.png")
    assert "a.png says that it is synthetic" in caplog.text


@pytest.mark.parametrize("side", [56, 64, 128, 256, 1024])
def test_the_mark_is_legible_on_any_background(side):
    """White dots on black, whole pixels each, the letters' own shapes."""
    for grey in (0.0, 1.0):
        marked = burn_mark(np.full((side, side), grey))
        dot = max(1, side // 200)
        word = marked[dot : 8 * dot : dot, dot : 54 * dot : dot]
        assert set(np.unique(word)) == {0.0, 1.0}
        for at, letter in enumerate("SYNTHETIC"):
            drawn = word[:, 6 * at : 6 * at + 5] == 1
            asked = np.array([[d == "#" for d in row] for row in LETTERS[letter].split()])
            assert np.array_equal(drawn, asked), letter
        assert (marked == grey).mean() > 0.5
        assert (marked[side // 3 :] == grey).all()


def test_the_marks_lines_break_where_an_image_is_narrow():
    marked = burn_mark(np.full((64, 32), 0.5))
    assert (marked[:18] != 0.5).any()
    assert (marked[18:] == 0.5).all()


def test_the_mark_leaves_the_image_given_alone():
    image = np.full((64, 64), 0.5)
    burn_mark(image)
    assert (image == 0.5).all()


# --- what is refused


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"bits": 12}, OptionError, "bits is 12; allowed: 8 and 16"),
        ({"image": torch.rand(3, 8, 8)}, ImageError, r"shape \(3, 8, 8\); allowed: one grey chan"),
        ({"image": torch.rand(8, 8)}, ImageError, "has shape"),
        ({"image": torch.full((1, 64, 64), torch.nan)}, ImageError, "no number"),
        ({"image": torch.rand(1, 8, 8)}, ImageError, "8 x 8 pixels has no room for the mark"),
        ({"image": torch.rand(1, 5, 5)}, ImageError, "no room for the mark"),
        ({"provenance": {"do": {}}}, OptionError, "the provenance has no 'model'"),
        ({"patient_id": "x" * 65}, OptionError, r"synthetic\.dcm' cannot be written: .*64"),
        ({"patient_id": "a\\b"}, OptionError, "holds a backslash, which parts two"),
        ({"study_uid": "1.2.x"}, OptionError, "cannot be written"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(
    written, tmp_path, options, error, words
):
    with pytest.raises(error, match=words):
        written(**options)
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_what_was_there(written, tmp_path, monkeypatch):
    _, path = written()
    before = path.read_bytes()

    def fail(self, path, **options):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(pydicom.Dataset, "save_as", fail)
    with pytest.raises(OSError, match="No space"):
        written()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_answer_of_several_patients_is_a_study_each(tmp_path, raising):
    (tmp_path / "counterfactual_000009.dcm").write_bytes(b"of a larger answer")
    images = torch.rand(4, 1, 64, 64)
    paths = save_synthetic_dicoms(
        images, tmp_path, [PROVENANCE] * 4, num_samples=2, patient_ids=["a", "a", "b", "b"]
    )
    assert sorted(tmp_path.iterdir()) == paths
    data = [pydicom.dcmread(path) for path in paths]
    assert [d.PatientID for d in data] == ["a", "a", "b", "b"]
    assert [d.InstanceNumber for d in data] == [1, 2, 1, 2]
    for name in ("StudyInstanceUID", "SeriesInstanceUID"):
        found = [d[name].value for d in data]
        assert found[::2] == found[1::2]
        assert len(set(found)) == 2
    assert len({d.SOPInstanceUID for d in data}) == 4
    before = [path.read_bytes() for path in paths]
    with pytest.raises(OptionError, match="bits is 12"):
        save_synthetic_dicoms(images[:2], tmp_path, [PROVENANCE] * 2, bits=12)
    assert [path.read_bytes() for path in paths] == before  # an answer that fails removes none
    with pytest.raises(OptionError, match="4 images stand beside 1 provenances"):
        save_synthetic_dicoms(images, tmp_path, [PROVENANCE])
