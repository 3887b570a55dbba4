"""Who causes whom: variables, arrows, hidden causes, and what follows from them."""

from cxrcausal.graph.dag import CausalGraph
from cxrcausal.graph.diff import GraphDiff
from cxrcausal.graph.edge import EDGE_KINDS, Edge, EdgeKind, HiddenCause, Selection
from cxrcausal.graph.falsification.falsify import Falsification
from cxrcausal.graph.identification.adjustment import AdjustmentSets
from cxrcausal.graph.identification.identify import Hedge, Identification
from cxrcausal.graph.identification.separation import Independence
from cxrcausal.graph.load import list_graphs, load_graph
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
