"""The phantom's patients: a known SCM over the 19 variables of the expert graph.

Every published arrow acts, with the log odds below; they are chosen for a population in which no
finding is rare, and are no estimates of anything.
"""

from collections.abc import Mapping

import torch

from cxrcausal.graph import CausalGraph, load_graph
from cxrcausal.scm import FlowSCM
from cxrcausal.scm.mechanism.interval import IntervalMechanism
from cxrcausal.scm.mechanism.nominal import GumbelMechanism
from cxrcausal.scm.mechanism.thresholds import DirectEdges

__all__ = ["LOG_ODDS", "phantom_scm"]

SHARES: Mapping[str, tuple[float, ...]] = {
    "dataset": (0.25, 0.20, 0.15, 0.10, 0.15, 0.08, 0.07),
    "sex": (0.5, 0.5),
    "race": (0.5, 0.3, 0.2),
    "view": (0.5, 0.35, 0.15),
}
"""The shares of the levels of the variables that nothing causes."""

AGE = (55.0, 18.0)
"""Mean and standard deviation of age in years, before it is cut to 18 to 95."""

LOG_ODDS: Mapping[str, Mapping[str, float]] = {
    "cardiomegaly": {
        "": -2.0,
        "age": 0.25,
        "sex=Male": -0.3,
        "race=Black": 0.4,
        "race=Asian": -0.2,
    },
    "edema": {"": -2.2, "age": 0.25, "sex=Male": 0.2, "race=Black": 0.3, "race=Asian": -0.1},
    "pleural_other": {"": -2.4, "age": 0.20, "sex=Male": 0.5},
    "pneumonia": {"": -2.0, "age": 0.10, "sex=Male": 0.2},
    "fracture": {"": -2.4, "age": 0.15, "sex=Male": 0.3},
    "pneumothorax": {"": -2.3, "age": -0.15, "sex=Male": 0.5, "fracture": 1.6},
    "enlarged_cardiomediastinum": {"": -2.2, "cardiomegaly": 1.8},
    "consolidation": {"": -2.4, "pneumonia": 2.0},
    "pleural_effusion": {"": -2.2, "cardiomegaly": 1.3, "pleural_other": 1.0, "pneumonia": 1.0},
    "support_devices": {"": -1.2, "pneumothorax": 1.8, "pleural_effusion": 1.0},
    "atelectasis": {"": -1.8, "pneumothorax": 1.2, "pleural_effusion": 1.4},
    "lung_opacity": {
        "": -1.6,
        "edema": 1.2,
        "pleural_other": 0.6,
        "consolidation": 1.6,
        "atelectasis": 0.9,
    },
    "lung_lesion": {"": -2.2, "lung_opacity": 1.0},
}
"""Of each finding: the intercept at fifty years, then per decade of age and level of a parent."""


def phantom_scm(graph: CausalGraph | None = None) -> FlowSCM:
    """Returns the phantom's SCM of metadata: known equations, not a fit.

    Arguments:
        graph: The expert graph `cxr19`; loaded if left out.
    """
    graph = load_graph("cxr19") if graph is None else graph
    mechanisms = {name: _root(graph, name) for name in ("dataset", "age", "sex", "race", "view")}
    mechanisms |= {name: _finding(graph, name) for name in LOG_ODDS}
    return FlowSCM.from_mechanisms(graph, mechanisms)


def _root(graph: CausalGraph, name: str) -> IntervalMechanism | GumbelMechanism:
    variable = graph.variables[name]
    if name == "age":
        mean, spread = AGE
        edges = DirectEdges((), len(variable.grid or ()))
        years = torch.tensor(list(variable.grid or ()), dtype=torch.float64)
        log = -0.5 * ((years - mean) / spread).square()
        edges.offset.copy_(torch.where((years >= 18) & (years <= 95), log, -60.0))
        return IntervalMechanism(variable, (), edges)
    share = torch.tensor(SHARES[name], dtype=torch.float64)
    if variable.kind == "nominal":
        mechanism = GumbelMechanism(variable, ())
        mechanism.offset.copy_(share.log())
        return mechanism
    edges = DirectEdges((), len(variable.levels))
    edges.offset.copy_(share.log().diff())
    return IntervalMechanism(variable, (), edges)


@torch.no_grad()
def _finding(graph: CausalGraph, name: str) -> IntervalMechanism:
    """Returns a logistic regression with the log odds above."""
    parents = tuple(graph.variables[parent] for parent in graph.parents(name))
    edges = DirectEdges(parents, 2)
    odds = LOG_ODDS[name]
    linear, column, intercept = edges.conditioner.network.linear, 0, odds[""]
    for parent in parents:
        if parent.is_discrete:
            for level in parent.levels[1:]:
                at = f"{parent.name}={level}"
                linear.weight[0, column] = odds.get(at, odds.get(parent.name, 0.0))
                column += 1
        else:
            # The first column of an age is age itself, from 0 to 1 over its bounds.
            low, high = parent.bounds or (0.0, 1.0)
            linear.weight[0, column] = odds[parent.name] * (high - low) / 10
            intercept += odds[parent.name] * (low - 50) / 10
            column += edges.conditioner.knots - 1
    linear.bias.fill_(intercept)
    return IntervalMechanism(graph.variables[name], parents, edges)
