"""The Pyro program says the same as the SCM."""

import numpy as np
import pandas as pd
import pyro
import pytest
import torch
from closed_form import COMPLETE, LinearMechanism, clinic, table_of
from pyro.infer import TraceEnum_ELBO, infer_discrete
from simulated import GRAPH, patients

from cxrcausal.errors import TableError
from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm import FlowSCM

SCM = clinic()


def nothing(*_):
    """An empty guide."""


def test_sites_are_the_variables():
    """One site for each, and the trace's log-probability is the SCM's."""
    rows = SCM.sample(20, seed=0)
    trace = pyro.poutine.trace(SCM.to_pyro()).get_trace(rows)
    sites = [name for name, site in trace.nodes.items() if site["type"] == "sample"]
    assert sites == ["rows", *SCM.mechanisms]
    assert trace.log_prob_sum().item() == pytest.approx(SCM.log_prob(rows).sum(), rel=1e-12)
    for name, score in SCM.score(rows).items():
        trace.compute_log_prob()
        np.testing.assert_allclose(trace.nodes[name]["log_prob"], score, rtol=1e-12)


@pytest.mark.parametrize("unknown", [("sex",), ("edema", "severity"), ("age", "sex", "effusion")])
def test_enumeration_agrees_with_the_sum_over_unknown_cells(unknown):
    """Pyro's parallel enumeration and the SCM's elimination are the same sum."""
    known = {v: x for v, x in COMPLETE.items() if v not in unknown}
    rows = table_of(SCM, known, 2)
    loss = TraceEnum_ELBO(max_plate_nesting=1).loss(SCM.to_pyro(), nothing, rows)
    assert -loss == pytest.approx(SCM.log_prob(rows).sum(), rel=1e-12)


def test_posterior_draws_agree():
    """Draws by Pyro's infer_discrete have the frequencies of the SCM's own."""
    n = 4000
    rows = table_of(SCM, {"age": 30.0, "effusion": 1.0, "severity": 0.0, "view": 1.0}, n)
    pyro.set_rng_seed(0)
    drawn = infer_discrete(SCM.to_pyro(), first_available_dim=-2)(rows)
    own = SCM.abduct(rows, seed=0).values
    for name in ("sex", "edema"):
        assert drawn[name].mean().item() == pytest.approx(own[name].mean().item(), abs=0.05)


def test_fitted_mechanisms_of_every_kind():
    """Gumbel, interval, flow and definition are sites alike, continua included."""
    table = patients(300, seed=0)
    scm = FlowSCM(GRAPH, family="nsf", hidden=()).fit(table, progress=False)
    rows = patients(15, seed=1)
    trace = pyro.poutine.trace(scm.to_pyro()).get_trace(rows)
    assert trace.log_prob_sum().item() == pytest.approx(scm.log_prob(rows).sum(), rel=1e-10)
    hidden = rows.assign(edema=None, stage=None)
    loss = TraceEnum_ELBO(max_plate_nesting=1).loss(scm.to_pyro(), nothing, hidden)
    assert -loss == pytest.approx(scm.log_prob(hidden).sum(), rel=1e-10)
    with torch.random.fork_rng():
        pyro.set_rng_seed(0)
        new = scm.to_pyro()(size=7)
    assert all(value.shape == (7,) for value in new.values())
    assert set(new["view"].tolist()) <= {0.0, 1.0}  # no lateral radiograph was seen


def test_sampling_follows_the_distribution():
    """Free draws of a continuum have the mean and the spread of its equation."""
    x = Variable("x", "continuous")
    scm = FlowSCM.from_mechanisms(
        CausalGraph([x]), {"x": LinearMechanism(x, (), intercept=2.0, scale=0.5)}
    )
    with torch.random.fork_rng():
        pyro.set_rng_seed(0)
        drawn = scm.to_pyro()(size=20_000)["x"]
    assert drawn.mean().item() == pytest.approx(2.0, abs=0.02)
    assert drawn.std().item() == pytest.approx(0.5, abs=0.02)


def test_values_may_be_given_as_tensors():
    """A mapping of values conditions like a table; a wrong name is refused with the nearest."""
    rows = SCM.sample(5, seed=1)
    values = SCM.abduct(rows, seed=0).values
    trace = pyro.poutine.trace(SCM.to_pyro()).get_trace(values)
    assert trace.log_prob_sum().item() == pytest.approx(SCM.log_prob(rows).sum(), rel=1e-12)
    with pytest.raises(TableError, match=r"'efusion' is no site.*did you mean 'effusion'\?"):
        SCM.to_pyro()({"efusion": values["effusion"]})


def test_mixed_absence_is_refused():
    """One program conditions all of its rows alike."""
    rows = pd.concat([table_of(SCM, COMPLETE), table_of(SCM, {"sex": 1.0})], ignore_index=True)
    with pytest.raises(TableError, match="'age' is known in some rows and unknown in others"):
        SCM.to_pyro()(rows)
