"""DICOM radiographs that a test describes in a line."""

import numpy as np
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    generate_uid,
)

from cxrcausal.data import read_image

RAMP = np.arange(4096, dtype=np.int32).reshape(64, 64)  # every value of 12 bits, once


def dataset(stored, bits=12, signed=False, syntax=ExplicitVRLittleEndian, **attributes):
    """A DX image of one grey frame that stores exactly the given values."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    data.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["a test"])
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID
    data.Modality = "DX"
    data.PhotometricInterpretation = "MONOCHROME2"
    data.SamplesPerPixel = 1
    data.Rows, data.Columns = stored.shape
    data.BitsAllocated = 8 if bits <= 8 else 16
    data.BitsStored, data.HighBit = bits, bits - 1
    data.PixelRepresentation = int(signed)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    kind = {(8, False): "u1", (8, True): "i1", (16, False): "u2", (16, True): "i2"}
    data.PixelData = stored.astype(order + kind[data.BitsAllocated, signed]).tobytes()
    data["PixelData"].VR = "OB" if data.BitsAllocated == 8 else "OW"
    for name, value in attributes.items():
        setattr(data, name, value)
    return data


def write(path, data):
    data.save_as(path, enforce_file_format=True)
    return path


def shown(path, *args, **kwargs):
    """The pixels that `read_image` shows for a data set made from the arguments."""
    return (
        read_image(write(path / "radiograph.dcm", dataset(*args, **kwargs)))[0, 0].double().numpy()
    )


def lut(first, depth, values):
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [len(values), first, depth])
    table.add_new("LUTData", "US", [int(v) for v in values])
    return table
