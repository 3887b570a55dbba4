"""What a cause does on average: in total, along its paths, to groups, and under hidden causes."""

from cxrcausal.effect.basis import Claim
from cxrcausal.effect.causes_of_effect import Causation, causation
from cxrcausal.effect.disparity import CtfEffects, ctf_effects
from cxrcausal.effect.mediation import NaturalEffects, natural_effects, path_specific_effect
from cxrcausal.effect.question import EffectOptions, EffectQuestion
from cxrcausal.effect.result import Effect
from cxrcausal.effect.sensitivity_analysis import EValue, Sensitivity, e_value, sensitivity
from cxrcausal.effect.total import ate, cate, ett

__all__ = [
    "EffectQuestion",
    "EffectOptions",
    "ate",
    "cate",
    "ett",
    "Effect",
    "Claim",
    "natural_effects",
    "path_specific_effect",
    "NaturalEffects",
    "causation",
    "Causation",
    "ctf_effects",
    "CtfEffects",
    "e_value",
    "EValue",
    "sensitivity",
    "Sensitivity",
]
