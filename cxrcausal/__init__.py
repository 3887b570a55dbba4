"""Counterfactual inference on chest radiographs: graph, flow SCM, and the image mechanism RadiT."""

__version__ = "0.1.0"

from cxrcausal.data import read_image, read_table
from cxrcausal.graph import CausalGraph, Variable, list_graphs, load_graph
from cxrcausal.image import Guidance

__all__ = [
    "CausalGraph",
    "Guidance",
    "Variable",
    "__version__",
    "list_graphs",
    "load_graph",
    "read_image",
    "read_table",
]
