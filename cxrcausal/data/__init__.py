"""What was seen: tables of patients and radiographs, from their sources into one form."""

from cxrcausal.data.audit import Audit, Finding, audit_images, audit_table, write_audit
from cxrcausal.data.dicom import (
    read_dicom_tags,
    save_synthetic_dicom,
    save_synthetic_dicoms,
)
from cxrcausal.data.image_lists import read_image_lists
from cxrcausal.data.radiograph import read_image, read_images
from cxrcausal.data.several import join_tables
from cxrcausal.data.shard import Shards, read_shards, shard_images
from cxrcausal.data.source import (
    Source,
    list_sources,
    load_source,
    register_source,
    soft_evidence,
)
from cxrcausal.data.split import patient_fraction, split_by_patient
from cxrcausal.data.table import read_table
from cxrcausal.data.unknown import unknown_as_level, with_unknown_level

__all__ = [
    "Audit",
    "Finding",
    "Shards",
    "Source",
    "audit_images",
    "audit_table",
    "join_tables",
    "list_sources",
    "load_source",
    "patient_fraction",
    "read_dicom_tags",
    "read_image",
    "read_image_lists",
    "read_images",
    "read_shards",
    "read_table",
    "register_source",
    "save_synthetic_dicom",
    "save_synthetic_dicoms",
    "shard_images",
    "soft_evidence",
    "split_by_patient",
    "unknown_as_level",
    "with_unknown_level",
    "write_audit",
]
