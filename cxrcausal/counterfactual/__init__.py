"""What would have been: abduction, action and prediction over metadata and radiograph together."""

from cxrcausal.counterfactual.causation import Causation, causation
from cxrcausal.counterfactual.claim import Claim
from cxrcausal.counterfactual.disparity import CtfEffects, ctf_effects
from cxrcausal.counterfactual.effect import Effect, ate, cate, ett
from cxrcausal.counterfactual.mediation import (
    NaturalEffects,
    natural_effects,
    path_specific_effect,
)
from cxrcausal.counterfactual.model import CounterfactualModel
from cxrcausal.counterfactual.result import Counterfactual
from cxrcausal.counterfactual.sensitivity import EValue, Sensitivity, e_value, sensitivity

__all__ = [
    "Causation",
    "Claim",
    "Counterfactual",
    "CounterfactualModel",
    "CtfEffects",
    "EValue",
    "Effect",
    "NaturalEffects",
    "Sensitivity",
    "ate",
    "cate",
    "causation",
    "ctf_effects",
    "e_value",
    "ett",
    "natural_effects",
    "path_specific_effect",
    "sensitivity",
]
