"""Counterfactual inference on chest radiographs: causal graph, flow SCM, image mechanism RadiT."""

from cxrcausal import effect
from cxrcausal.counterfactual import Counterfactual, CounterfactualModel
from cxrcausal.data import read_image, read_table
from cxrcausal.graph import CausalGraph, Variable, list_graphs, load_graph
from cxrcausal.image import Guidance, RectifiedFlow, list_recipes, load_recipe
from cxrcausal.pretrained import list_pretrained, load_pretrained
from cxrcausal.scm import Exogenous, FlowSCM, Replace, healthy, scale, shift
from cxrcausal.version import __version__, show_versions

__all__ = [
    "load_graph",
    "list_graphs",
    "CausalGraph",
    "Variable",
    "read_table",
    "read_image",
    "FlowSCM",
    "Exogenous",
    "shift",
    "scale",
    "Replace",
    "healthy",
    "effect",
    "RectifiedFlow",
    "Guidance",
    "load_recipe",
    "list_recipes",
    "CounterfactualModel",
    "Counterfactual",
    "load_pretrained",
    "list_pretrained",
    "show_versions",
    "__version__",
]
