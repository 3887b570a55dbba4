"""What would have been: abduction, action and prediction over metadata and radiograph together."""

from cxrcausal.counterfactual.model import CounterfactualModel
from cxrcausal.counterfactual.result import Counterfactual

__all__ = ["Counterfactual", "CounterfactualModel"]
