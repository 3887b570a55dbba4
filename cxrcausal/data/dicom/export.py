"""Generated radiographs as DICOM files that cannot be mistaken for a patient's.

Each is a Secondary Capture image (PS3.3 A.8.1) that says what it is in every place where a viewer,
an archive or a person may look: ImageType DERIVED, Conversion Type SYN and Synthetic Data YES for
programs, descriptions and a patient's name for people, and a mark in the pixels for whoever has
the pixels alone. Modality is OT, so that no reader of radiographs takes it for one unasked.

All unique identifiers are new. Nothing of the patient whose radiograph was asked about is written:
neither name nor dates nor the identifiers of the radiograph, and an id only where it is given.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import Tensor

from cxrcausal.data.dicom.mark import burn_mark
from cxrcausal.errors import ImageError, OptionError, nearest
from cxrcausal.files import atomic_path
from cxrcausal.version import __version__

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["save_synthetic_dicom", "save_synthetic_dicoms"]

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
CREATOR, GROUP = "cxrcausal", 0x0071
"""Of the private block (PS3.5 7.8.1) whose first element holds the whole provenance as JSON."""
SAYS = "SYNTHETIC counterfactual, not a patient, not for diagnosis"
NEEDED = ("do", "model", "graph", "graph_fingerprint")
LONGEST = 1024  # characters of a Short Text, PS3.5 6.2


def save_synthetic_dicom(
    image: Tensor,
    path: str | os.PathLike,
    provenance: Mapping[str, Any],
    *,
    bits: Literal[8, 16] = 16,
    mark: bool = True,
    patient_id: str | None = None,
    study_uid: str | None = None,
    series_uid: str | None = None,
    number: int = 1,
) -> Path:
    """Writes a generated radiograph as a Secondary Capture image (PS3.3 A.8.1).

    Arguments:
        image: The radiograph (1, height, width) in [0, 1], lungs dark; beyond it is clipped.
        path: The file, which is complete or absent.
        provenance: What was asked of which model, as `Counterfactual.provenance_of` gives it:
            `do`, `model`, `graph` and `graph_fingerprint`, and whatever else JSON can hold.
        bits: How many bits are stored: a grey value is rounded to a 255th or a 65,535th.
        mark: Whether SYNTHETIC is written into the upper left corner of the pixels.
        patient_id: The PatientID to write; else SYNTHETIC. The patient's name is
            SYNTHETIC^COUNTERFACTUAL in either case.
        study_uid: The study that the image belongs to, else a new one. Never a patient's own.
        series_uid: The series that the image belongs to, else a new one.
        number: The instance number in the series, from 1.

    Returns:
        The path.

    Raises:
        ImageError: If the image has another shape, is not finite, or has no room for the mark.
        OptionError: If an option is not allowed, or the provenance lacks what has to be said.
    """
    pixels = _pixels(image)
    if bits not in (8, 16):
        raise OptionError(f"bits is {bits!r}; allowed: 8 and 16")
    for key in NEEDED:
        if key not in provenance:
            raise OptionError(
                f"the provenance has no {key!r}{nearest(key, provenance) or '.'} It needs "
                f"{', '.join(NEEDED)}"
            )
    if "\\" in (patient_id or ""):
        raise OptionError(f"patient_id {patient_id!r} holds a backslash, which parts two values")
    if mark:
        pixels = burn_mark(pixels)
    full = (1 << bits) - 1
    stored = np.rint(pixels * full).astype(f"<u{bits // 8}")
    attributes = {
        **_of_nobody(patient_id),
        **_study_and_series(study_uid, series_uid, number),
        **_origin(provenance, mark),
        **_image(stored, bits),
    }
    try:
        dataset = _dataset(attributes, provenance)
    except (TypeError, ValueError) as error:  # pydicom's, of a value that the standard forbids
        raise OptionError(f"{str(path)!r} cannot be written: {error}") from error
    with atomic_path(Path(path)) as beside:
        dataset.save_as(beside, enforce_file_format=True)
    return Path(path)


def save_synthetic_dicoms(
    images: Tensor,
    folder: str | os.PathLike,
    provenances: Sequence[Mapping[str, Any]],
    *,
    num_samples: int = 1,
    patient_ids: Sequence[str] | None = None,
    bits: Literal[8, 16] = 16,
    mark: bool = True,
) -> list[Path]:
    """Writes the radiographs of an answer, ``counterfactual_000000.dcm`` and on; older ones go.

    Arguments:
        images: The radiographs (batch, 1, height, width) in [0, 1].
        folder: The folder to write to.
        provenances: The provenance of each, as `save_synthetic_dicom`.
        num_samples: How many images in a row are of one patient: they make up one study.
        patient_ids: The PatientID to write into each image, if any.
        bits: As `save_synthetic_dicom`.
        mark: As `save_synthetic_dicom`.

    Returns:
        The files, in the order of the images.

    Raises:
        ImageError: As `save_synthetic_dicom`.
        OptionError: As `save_synthetic_dicom`, or if there is not one provenance for each image.
    """
    if len(provenances) != len(images):
        raise OptionError(f"{len(images)} images stand beside {len(provenances)} provenances")
    if patient_ids is not None and len(patient_ids) != len(images):
        raise OptionError(f"{len(images)} images stand beside {len(patient_ids)} patient_ids")
    if num_samples < 1:
        raise OptionError(f"num_samples is {num_samples}; it must be at least 1")
    folder = Path(folder)
    study, paths = "", []
    for position, image in enumerate(images):
        sample = position % num_samples
        if sample == 0:
            study, series = _new_uid(), _new_uid()
        paths.append(
            save_synthetic_dicom(
                image,
                folder / f"counterfactual_{position:06d}.dcm",
                provenances[position],
                bits=bits,
                mark=mark,
                patient_id=None if patient_ids is None else patient_ids[position],
                study_uid=study,
                series_uid=series,
                number=sample + 1,
            )
        )
    for older in {*folder.glob(f"counterfactual_{'[0-9]' * 6}.dcm")} - {*paths}:
        older.unlink()  # of a larger answer, which this one takes the place of
    return paths


def _pixels(image: Tensor) -> np.ndarray:
    """Returns the image (height, width) as float64 in [0, 1]."""
    if image.ndim != 3 or len(image) != 1 or not 0 < min(image.shape) <= max(image.shape) < 2**16:
        raise ImageError(
            f"the image has shape {tuple(image.shape)}; allowed: one grey channel, (1, height, "
            "width), of up to 65,535 pixels a side"
        )
    pixels = image[0].detach().double().cpu().numpy()
    if not np.isfinite(pixels).all():
        raise ImageError("the image has values that are no number (NaN or infinite)")
    return pixels.clip(0.0, 1.0)


def _of_nobody(patient_id: str | None) -> dict[str, Any]:
    """Returns the Patient module (PS3.3 C.7.1.1)."""
    return {
        "PatientName": "SYNTHETIC^COUNTERFACTUAL",
        "PatientID": "SYNTHETIC" if patient_id is None else patient_id,
        "PatientBirthDate": "",
        "PatientSex": "",
        "PatientComments": "Not a patient: the images were generated by a model.",
    }


def _study_and_series(study: str | None, series: str | None, number: int) -> dict[str, Any]:
    """Returns the General Study and General Series modules (PS3.3 C.7.2.1, C.7.3.1)."""
    now = datetime.now().astimezone()
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S.%f")
    return {
        "StudyInstanceUID": study or _new_uid(),
        "StudyDate": date,
        "StudyTime": time,
        "ReferringPhysicianName": "",
        "StudyID": "SYNTHETIC",
        "AccessionNumber": "",
        "StudyDescription": "SYNTHETIC images, research only",
        "Modality": "OT",
        "BodyPartExamined": "CHEST",  # not paired, so that no laterality is due (2C)
        "SeriesInstanceUID": series or _new_uid(),
        "SeriesNumber": 1,
        "SeriesDescription": SAYS,
        "InstanceNumber": number,
        "ContentDate": date,
        "ContentTime": time,
        "InstanceCreationDate": date,
        "InstanceCreationTime": time,
        "DateOfSecondaryCapture": date,
        "TimeOfSecondaryCapture": time,
    }


def _origin(provenance: Mapping[str, Any], mark: bool) -> dict[str, Any]:
    """Returns where the image comes from (PS3.3 C.7.5.1, C.7.6.1, C.8.6 and C.12.1)."""
    model = str(provenance["model"]).replace("\\", "/")  # which would part two values
    says = {
        "ImageType": ["DERIVED", "SECONDARY"],
        "DerivationDescription": _derivation(provenance),
        "ConversionType": "SYN",  # synthetic image, C.8.6.1
        "Manufacturer": "cxrcausal",
        "ManufacturerModelName": model[:64],
        "SoftwareVersions": str(provenance.get("cxrcausal", __version__))[:64],
        "SecondaryCaptureDeviceManufacturer": "cxrcausal",
        "ImageComments": SAYS,
        "SOPClassUID": SECONDARY_CAPTURE,
        "SOPInstanceUID": _new_uid(),
        "SyntheticData": "YES",
        "SpecificCharacterSet": "ISO_IR 192",  # UTF-8: a level may have any name
    }
    # What letters the model itself painted is not known, so without the mark nothing is said
    return says | ({"BurnedInAnnotation": "YES"} if mark else {})


def _derivation(provenance: Mapping[str, Any]) -> str:
    """Returns the sentence on how the image came about, the intervention shortened if need be."""
    do = ", ".join(f"{name} = {value}" for name, value in provenance["do"].items())
    start = f"{SAYS}. do("
    end = (
        f"); model {provenance['model']}; graph {provenance['graph']} "
        f"{provenance['graph_fingerprint']}; seed {provenance.get('seed')}; "
        f"cxrcausal {provenance.get('cxrcausal', __version__)}"
    )
    room = max(0, LONGEST - len(start) - len(end))
    return (start + (do if len(do) <= room else do[: room - 2] + " …") + end)[:LONGEST]


def _image(stored: np.ndarray, bits: int) -> dict[str, Any]:
    """Returns the Image Pixel and VOI LUT modules (PS3.3 C.7.6.3, C.11.2), stored bits as shown.

    A LINEAR window of centre 2^(bits-1) and width 2^bits is the identity (C.11.2.1.2.1, Note 2);
    without any, many viewers stretch what they find.
    """
    height, width = stored.shape
    packed = stored.tobytes()
    return {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": height,
        "Columns": width,
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
        "PatientOrientation": "",  # 2C: a model is not asked which way its patients stand
        "WindowCenter": 1 << (bits - 1),
        "WindowWidth": 1 << bits,
        "WindowCenterWidthExplanation": "WHOLE RANGE",
        "PixelData": packed + b"\0" * (len(packed) % 2),  # even length, PS3.5 7.1.1
    }


def _dataset(attributes: Mapping[str, Any], provenance: Mapping[str, Any]) -> "Dataset":
    """Returns the data set, every value checked against its value representation (PS3.5 6.2)."""
    from pydicom import DataElement, Dataset, FileMetaDataset
    from pydicom.config import RAISE
    from pydicom.uid import ExplicitVRLittleEndian

    dataset = Dataset()
    for element in _elements(attributes):
        # pydicom's own setting is global; this one is of the element alone
        dataset.add(DataElement(*element, validation_mode=RAISE))
    block = dataset.private_block(GROUP, CREATOR, create=True)
    block.add_new(0x01, "UT", json.dumps(dict(provenance), ensure_ascii=False))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def _elements(attributes: Mapping[str, Any]) -> Iterator[tuple[int, str, Any]]:
    """Yields tag, value representation and value of each attribute."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    for name, value in attributes.items():
        tag = tag_for_keyword(name)
        assert tag is not None, name
        words = "OB" if attributes["BitsAllocated"] == 8 else "OW"
        yield tag, words if name == "PixelData" else dictionary_VR(tag), value


def _new_uid() -> str:
    """Returns a new unique identifier, from a UUID (PS3.5 B.2)."""
    from pydicom.uid import generate_uid

    return str(generate_uid(prefix=None))
