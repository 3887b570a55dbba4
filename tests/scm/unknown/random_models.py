"""Random small SCMs for hypothesis: tables over random arrows, a definition at the end of some."""

import itertools
import math

import numpy as np
import pandas as pd
import torch
from closed_form import TableMechanism, binary
from hypothesis import strategies as st

from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm import FlowSCM, LogicMechanism
from cxrcausal.scm.evidence import Evidence

STAGES = ("none", "mild", "severe")


@st.composite
def models(draw, most=5, definition=None):
    """An SCM of two to `most` binary and ordinal variables, with a definition or without one."""
    size = draw(st.integers(2, most))
    variables = [
        binary(f"v{i}") if draw(st.booleans()) else Variable(f"v{i}", "ordinal", STAGES)
        for i in range(size)
    ]
    edges = [
        (f"v{i}", f"v{j}")
        for i, j in itertools.combinations(range(size), 2)
        if draw(st.integers(0, 2))
    ]
    findings = [v.name for v in variables if v.kind == "binary"]
    has_one = draw(st.booleans()) if definition is None else definition
    if findings and has_one:
        variables.append(Variable("nothing", "binary", ("negative", "positive"), mechanism="nor"))
        edges += [(name, "nothing") for name in findings]
    graph = CausalGraph(variables, edges, name="random")
    chance = np.random.default_rng(draw(st.integers(0, 2**16)))
    mechanisms = {}
    for v in variables:
        parents = tuple(graph.variables[p] for p in graph.parents(v.name))
        if v.is_definition:
            mechanisms[v.name] = LogicMechanism(v, parents)
            mechanisms[v.name].rates.copy_(torch.from_numpy(chance.uniform(0.05, 0.95, (1, 2))))
        else:
            shape = [len(p.levels) for p in parents]
            table = chance.dirichlet(np.ones(len(v.levels)), shape)
            mechanisms[v.name] = TableMechanism(v, parents, table)
    return FlowSCM.from_mechanisms(graph, mechanisms)


@st.composite
def tables(draw, scm, most=6):
    """Evidence on up to `most` rows of a model, each cell known or not."""
    rows = draw(st.integers(1, most))
    values = {}
    for name, mechanism in scm.mechanisms.items():
        levels = st.sampled_from([math.nan, *mechanism.support.tolist()])
        cells = draw(st.lists(levels, min_size=rows, max_size=rows))
        values[name] = torch.tensor(cells, dtype=torch.float64)
    return evidence_on(scm, values)


def evidence_on(scm, values):
    """What values (rows,) say of the rows 0, 1, …, by the name of a variable."""
    index = pd.RangeIndex(len(next(iter(values.values()))))
    return Evidence.of(scm.mechanisms, scm._fitted.supports, values, index)


def enumerated(scm, known):
    """Every complete world that agrees with the known cells, and its probability."""
    names = list(scm.mechanisms)
    choices = [
        [known[n]] if not math.isnan(known[n]) else scm.mechanisms[n].support.tolist()
        for n in names
    ]
    world = dict(
        zip(names, torch.tensor(list(itertools.product(*choices))).double().T, strict=True)
    )
    log_p = sum(
        m.log_prob(world[n], {p.name: world[p.name] for p in m.parents})
        for n, m in scm.mechanisms.items()
    )
    return world, log_p.exp()
