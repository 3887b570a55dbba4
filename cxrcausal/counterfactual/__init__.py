"""What would have been: abduction, action and prediction over metadata and radiograph together."""

import importlib
import warnings
from typing import Any

from cxrcausal.counterfactual.model import CounterfactualModel
from cxrcausal.counterfactual.result import Counterfactual

__all__ = ["CounterfactualModel", "Counterfactual"]

_MOVED = {
    "Causation", "Claim", "CtfEffects", "EValue", "Effect", "NaturalEffects", "Sensitivity", "ate",
    "cate", "causation", "ctf_effects", "e_value", "ett", "natural_effects",
    "path_specific_effect", "sensitivity",
}  # fmt: skip
"""The average effects, which have a package of their own, `cxrcausal.effect`."""


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Returns a name that has moved, until version 0.2."""
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        f"cxrcausal.counterfactual.{name} is cxrcausal.effect.{name}, and only that from "
        f"version 0.2",
        DeprecationWarning,
        stacklevel=2,
    )
    return getattr(importlib.import_module("cxrcausal.effect"), name)
