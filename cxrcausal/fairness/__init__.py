"""Does a classifier treat a patient differently because of sex, race or age? Asked by worlds."""

from cxrcausal.fairness.audit import audit
from cxrcausal.fairness.classifier import Classifier, torchxrayvision
from cxrcausal.fairness.path_decomposition import PathDecomposition
from cxrcausal.fairness.paths import decompose
from cxrcausal.fairness.result import FairnessAudit

__all__ = [
    "Classifier",
    "FairnessAudit",
    "PathDecomposition",
    "audit",
    "decompose",
    "torchxrayvision",
]
