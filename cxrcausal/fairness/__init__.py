"""Does a classifier treat a patient differently because of sex, race or age? Asked by worlds."""

from cxrcausal.fairness.audit import audit
from cxrcausal.fairness.augmentation import Augmented, augment, read_augmented
from cxrcausal.fairness.balancing import AugmentationPlan, plan_augmentation
from cxrcausal.fairness.classifier import Classifier, torchxrayvision
from cxrcausal.fairness.path_decomposition import PathDecomposition
from cxrcausal.fairness.paths import decompose
from cxrcausal.fairness.result import FairnessAudit
from cxrcausal.fairness.stress import stress_test
from cxrcausal.fairness.stress_result import StressTest
from cxrcausal.fairness.stresses import Stress, standard_stresses

__all__ = [
    "AugmentationPlan",
    "Augmented",
    "Classifier",
    "FairnessAudit",
    "PathDecomposition",
    "Stress",
    "StressTest",
    "audit",
    "augment",
    "decompose",
    "plan_augmentation",
    "read_augmented",
    "standard_stresses",
    "stress_test",
    "torchxrayvision",
]
