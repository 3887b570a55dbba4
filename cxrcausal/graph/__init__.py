"""Who causes whom: variables, arrows, hidden causes, and what follows from them."""

from cxrcausal.graph.adjustment import AdjustmentSets
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.graph.diff import GraphDiff
from cxrcausal.graph.edge import EDGE_KINDS, Edge, EdgeKind, HiddenCause, Selection
from cxrcausal.graph.falsify import Falsification
from cxrcausal.graph.identify import Hedge, Identification
from cxrcausal.graph.read import list_graphs, load_graph
from cxrcausal.graph.separation import Independence
from cxrcausal.graph.variable import Kind, Variable

__all__ = [
    "EDGE_KINDS",
    "AdjustmentSets",
    "CausalGraph",
    "Edge",
    "EdgeKind",
    "Falsification",
    "GraphDiff",
    "Hedge",
    "HiddenCause",
    "Identification",
    "Independence",
    "Kind",
    "Selection",
    "Variable",
    "list_graphs",
    "load_graph",
]
