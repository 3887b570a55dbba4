"""Whose radiographs: one module per source, found by its name."""

from cxrcausal.data.source.source import (
    Reader,
    Source,
    list_sources,
    load_source,
    register_source,
)
from cxrcausal.data.source.vocabulary import FINDINGS, Columns, Policies, soft_evidence

__all__ = [
    "FINDINGS",
    "Columns",
    "Policies",
    "Reader",
    "Source",
    "list_sources",
    "load_source",
    "register_source",
    "soft_evidence",
]
