"""A local page: one patient, an intervention, and what would have been."""

from cxrcausal.explore.explorer import Explorer
from cxrcausal.explore.reading import Readings, analyse_readings
from cxrcausal.explore.server import make_server

__all__ = ["Explorer", "Readings", "analyse_readings", "make_server"]
