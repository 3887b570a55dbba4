"""`cxrcausal data`: from a download folder to tables and shards, one file per command."""

from cxrcausal.cli.data import audit, harmonise, shard  # noqa: F401  importing registers them
from cxrcausal.cli.data.group import data

__all__ = ["data"]
