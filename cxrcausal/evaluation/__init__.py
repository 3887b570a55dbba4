"""Is the answer sound: what counterfactual images must show, read back and held against chance."""

from cxrcausal.bootstrap import (
    Interval,
    PatientBootstrap,
    weighted_auc,
    weighted_mean,
    weighted_slope,
)
from cxrcausal.evaluation.axioms import (
    Effect,
    RoundTrip,
    effectiveness,
    groups_of,
    paint,
    round_trip,
)
from cxrcausal.evaluation.figure import counterfactual_grid, image_grid
from cxrcausal.evaluation.nearest_neighbour import Memorisation, Neighbours, memorisation
from cxrcausal.evaluation.predictor import Predictor
from cxrcausal.evaluation.probe import (
    NoiseStatistics,
    conv_probe,
    noise_statistics,
    radial_spectrum,
    ridge_probe,
)
from cxrcausal.evaluation.quality import predictor_quality
from cxrcausal.evaluation.question import Question, flip, move
from cxrcausal.evaluation.study import soundness
from cxrcausal.patients import patient_folds

__all__ = [
    "Effect",
    "Interval",
    "Memorisation",
    "Neighbours",
    "NoiseStatistics",
    "PatientBootstrap",
    "Predictor",
    "Question",
    "RoundTrip",
    "conv_probe",
    "counterfactual_grid",
    "effectiveness",
    "flip",
    "groups_of",
    "image_grid",
    "memorisation",
    "move",
    "noise_statistics",
    "paint",
    "patient_folds",
    "predictor_quality",
    "radial_spectrum",
    "ridge_probe",
    "round_trip",
    "soundness",
    "weighted_auc",
    "weighted_mean",
    "weighted_slope",
]
