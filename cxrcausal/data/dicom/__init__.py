"""DICOM: radiographs and their tags in, generated radiographs out.

Stored values become displayed ones in `reading` and `greyscale`, age, sex and view come from
`tags`, and `codestream` asks a compressed image for its size before anything is decoded. What a
model painted goes out by `export`, with a `mark` in its pixels.
"""

from cxrcausal.data.dicom.export import save_synthetic_dicom, save_synthetic_dicoms
from cxrcausal.data.dicom.reading import MODALITIES, read_dicom
from cxrcausal.data.dicom.tags import read_dicom_tags

__all__ = [
    "MODALITIES",
    "read_dicom",
    "read_dicom_tags",
    "save_synthetic_dicom",
    "save_synthetic_dicoms",
]
