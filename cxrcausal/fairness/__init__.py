"""Does a classifier treat a patient differently because of sex, race or age? Asked by worlds."""

from cxrcausal.fairness.audit import audit
from cxrcausal.fairness.classifier import Classifier, torchxrayvision
from cxrcausal.fairness.path_decomposition import PathDecomposition
from cxrcausal.fairness.paths import decompose
from cxrcausal.fairness.result import FairnessAudit
from cxrcausal.fairness.stress import stress_test
from cxrcausal.fairness.stress_result import StressTest
from cxrcausal.fairness.stresses import Stress, standard_stresses

__all__ = [
    "Classifier",
    "FairnessAudit",
    "PathDecomposition",
    "Stress",
    "StressTest",
    "audit",
    "decompose",
    "standard_stresses",
    "stress_test",
    "torchxrayvision",
]
