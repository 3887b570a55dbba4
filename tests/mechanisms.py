"""One mechanism of every kind, with weights that nobody fitted, for the laws that all must
obey."""

import torch

from cxrcausal.graph.variable import Variable
from cxrcausal.scm.mechanism.continuous import FlowMechanism
from cxrcausal.scm.mechanism.definition import LogicMechanism
from cxrcausal.scm.mechanism.flow import ContinuousFlow, LocatedFlow
from cxrcausal.scm.mechanism.interval import IntervalMechanism
from cxrcausal.scm.mechanism.nominal import GumbelMechanism
from cxrcausal.scm.mechanism.spline import SplineFlow
from cxrcausal.scm.mechanism.thresholds import DirectEdges, FlowEdges

LEVELS = ("negative", "positive")
SEX = Variable("sex", "binary", ("Female", "Male"), role="demographic")
AGE = Variable("age", "continuous", unit="years", bounds=(0.0, 110.0), resolution=1.0)
DOSE = Variable("dose", "continuous", unit="mGy")
WIDTH = Variable("width", "continuous", unit="mm", bounds=(100.0, 400.0))
SOURCE = Variable("source", "nominal", ("A", "B", "C"), role="context")
STAGE = Variable("stage", "ordinal", ("none", "mild", "moderate", "severe"))
VIEW = Variable("view", "nominal", ("PA", "AP", "LATERAL", "other"))
EDEMA = Variable("edema", "binary", LEVELS, role="finding")
FRACTURE = Variable("fracture", "binary", LEVELS, role="finding")
CLEAR = Variable("no_finding", "binary", LEVELS, role="summary", mechanism="nor")
CAUSES = (SOURCE, SEX, AGE, DOSE)


def draw_weights(mechanism, seed, scale=0.5):
    """Fills every weight of the network with normal numbers, and returns the mechanism frozen."""
    generator = torch.Generator().manual_seed(seed)
    network = mechanism.conditioner.network
    network.initialise(generator)
    for parameter in network.parameters():
        parameter.data.add_(scale * torch.randn(parameter.shape, generator=generator))
    return mechanism.eval().requires_grad_(False)


def interval(variable, parents, source, seed=0, scale=0.5):
    return draw_weights(IntervalMechanism(variable, parents, source), seed, scale)


def logic():
    mechanism = LogicMechanism(CLEAR, (SOURCE, EDEMA, FRACTURE))
    mechanism.rates.copy_(torch.tensor([[0.9, 0.02], [0.7, 1e-7], [0.999, 0.3]]))
    return mechanism.requires_grad_(False)


def discrete_mechanisms():
    """Returns one mechanism of each kind that has a table of values, by name."""
    hidden = (8,)
    return {
        "binary direct": interval(EDEMA, CAUSES, DirectEdges(CAUSES, 2, hidden)),
        "binary cnf": interval(EDEMA, CAUSES, FlowEdges(CAUSES, 2, ContinuousFlow(4), hidden)),
        "binary few": interval(EDEMA, (SOURCE, SEX), DirectEdges((SOURCE, SEX), 2, hidden)),
        "ordinal direct": interval(STAGE, CAUSES, DirectEdges(CAUSES, 4, hidden)),
        "ordinal cnf": interval(STAGE, CAUSES, FlowEdges(CAUSES, 4, ContinuousFlow(4), hidden)),
        "nominal in order": interval(VIEW, (SEX,), DirectEdges((SEX,), 4)),
        "age direct": interval(AGE, (SOURCE,), DirectEdges((SOURCE,), 111)),
        "age cnf": interval(AGE, (SOURCE, SEX), age_edges(ContinuousFlow(6, 6.0), (SOURCE, SEX))),
        "age located": interval(
            AGE, (SOURCE, SEX), age_edges(LocatedFlow(6), (SOURCE, SEX)), scale=0.3
        ),
        "age nsf": interval(AGE, (SEX, DOSE), age_edges(SplineFlow(8), (SEX, DOSE)), scale=0.1),
        "age alone": interval(AGE, (), age_edges(ContinuousFlow(4), ())),
        "nominal gumbel": draw_weights(GumbelMechanism(VIEW, CAUSES, hidden), 1),
        "nominal alone": draw_weights(GumbelMechanism(VIEW, ()), 2),
        "no finding": logic(),
    }


def continuous_mechanisms():
    """Returns one mechanism of each kind whose values are a continuum, by name."""
    parents, hidden = (SEX, AGE), (8,)
    return {
        "cnf": draw_weights(FlowMechanism(DOSE, parents, ContinuousFlow(6), hidden), 3, 0.3),
        "located cnf": draw_weights(
            FlowMechanism(DOSE, parents, LocatedFlow(6), hidden, knots=10), 9, 0.2
        ),
        "nsf": draw_weights(FlowMechanism(DOSE, parents, SplineFlow(8), hidden), 4, 0.3),
        "cnf in bounds": draw_weights(FlowMechanism(WIDTH, parents, ContinuousFlow(6)), 5, 0.3),
        "cnf alone": draw_weights(FlowMechanism(DOSE, (), ContinuousFlow(6)), 6),
    }


def age_edges(flow, parents):
    source = FlowEdges(parents, 111, flow)
    years = torch.arange(111, dtype=torch.float64)
    source.start_at(1000 * torch.exp(-(((years - 50) / 20) ** 2)) + 500 * (years == 90))
    return source


def parent_values(mechanism, rows, seed=0):
    """Returns values of a mechanism's parents (rows,), drawn from all that they may be."""
    generator = torch.Generator().manual_seed(seed)
    values = {}
    for parent in mechanism.parents:
        if parent.is_discrete:
            drawn = torch.randint(len(parent.levels), (rows,), generator=generator)
            values[parent.name] = drawn.to(torch.float64)
        elif parent.grid is not None:
            drawn = torch.randint(len(parent.grid), (rows,), generator=generator)
            values[parent.name] = torch.tensor(parent.grid, dtype=torch.float64)[drawn]
        else:
            drawn = torch.randn(rows, generator=generator, dtype=torch.float64)
            values[parent.name] = drawn
    return values


def uniforms(*shape, seed=0):
    """Returns uniforms strictly inside (0, 1)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)


def kolmogorov_smirnov(drawn, cdf):
    """Returns the largest distance between the empirical and a given distribution function."""
    ordered = drawn.sort().values
    steps = torch.arange(len(ordered) + 1, dtype=torch.float64) / len(ordered)
    reached = cdf(ordered)
    return max(float((reached - steps[:-1]).max()), float((steps[1:] - reached).max()))
