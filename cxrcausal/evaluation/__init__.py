"""Is the answer sound: what counterfactual images must show, read back and held against chance."""

from cxrcausal.bootstrap import (
    Interval,
    PatientBootstrap,
    weighted_auc,
    weighted_mean,
    weighted_slope,
)
from cxrcausal.evaluation.assessment import assess
from cxrcausal.evaluation.axioms import (
    Effect,
    RoundTrip,
    effectiveness,
    groups_of,
    paint,
    round_trip,
)
from cxrcausal.evaluation.figure import counterfactual_grid, image_grid
from cxrcausal.evaluation.frechet import frechet_distance
from cxrcausal.evaluation.identity import Identity, IdentityEmbedding
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
from cxrcausal.evaluation.similarity import (
    Closeness,
    peak_signal_to_noise,
    structural_similarity,
)
from cxrcausal.evaluation.standardisation import Standardised
from cxrcausal.evaluation.study import soundness
from cxrcausal.page import Page
from cxrcausal.patients import patient_folds

__all__ = [
    "Closeness",
    "Effect",
    "Identity",
    "IdentityEmbedding",
    "Interval",
    "Memorisation",
    "Neighbours",
    "NoiseStatistics",
    "Page",
    "PatientBootstrap",
    "Predictor",
    "Question",
    "RoundTrip",
    "Standardised",
    "assess",
    "conv_probe",
    "counterfactual_grid",
    "effectiveness",
    "flip",
    "groups_of",
    "frechet_distance",
    "image_grid",
    "memorisation",
    "move",
    "noise_statistics",
    "paint",
    "patient_folds",
    "peak_signal_to_noise",
    "predictor_quality",
    "radial_spectrum",
    "ridge_probe",
    "round_trip",
    "soundness",
    "structural_similarity",
    "weighted_auc",
    "weighted_mean",
    "weighted_slope",
]
