"""A collection looked at before it is used: what to mend, what to look at, what to know."""

from cxrcausal.data.audit.finding import Audit, Finding
from cxrcausal.data.audit.images import audit_images
from cxrcausal.data.audit.page import write_audit
from cxrcausal.data.audit.table import audit_table

__all__ = ["Audit", "Finding", "audit_images", "audit_table", "write_audit"]
