"""A mechanism of one's own is fitted, saved and loaded like those of the package, or refused in
words.
"""

import numpy as np
import pandas as pd
import pytest
import torch
from closed_form import LinearMechanism
from simulated import GRAPH, patients

import cxrcausal as cx
from cxrcausal.errors import CheckpointError, OptionError, TableError
from cxrcausal.scm import Mechanism, maximise_likelihood, register_mechanism
from cxrcausal.scm.fit.choice import resolve_family
from cxrcausal.scm.mechanism.registry import FAMILIES, MECHANISMS


@pytest.fixture(autouse=True)
def registry():
    """Puts the registry back to what it was."""
    mechanisms, families = dict(MECHANISMS), dict(FAMILIES)
    yield
    for store, before in ((MECHANISMS, mechanisms), (FAMILIES, families)):
        store.clear()
        store.update(before)


def regression():
    """Registers a linear regression with normal noise for exact numbers, family `line`."""

    @register_mechanism(family="line", serves=lambda v: v.kind == "continuous" and not v.grid)
    class LineMechanism(LinearMechanism):
        def __init__(self, variable, parents):
            super().__init__(variable, parents)
            self.w = torch.nn.Parameter(torch.zeros(len(parents) + 2, dtype=torch.float64))

        def mean(self, pa):
            terms = [w * pa[p.name] for w, p in zip(self.w[2:], self.parents, strict=True)]
            return 100 * self.w[0] + sum(terms, torch.zeros((), dtype=torch.float64))

        @property
        def scale(self):
            return 10 * self.w[1].exp()

        @scale.setter
        def scale(self, value):
            pass

        def log_prob(self, x, pa):
            return torch.distributions.Normal(self.mean(pa), self.scale).log_prob(x)

        @classmethod
        def fit(cls, variable, parents, values, weights, seed):
            assert not any(x.isnan().any() for x in values.values())
            return maximise_likelihood(cls(variable, parents), values, weights, penalty=0.0)

    return LineMechanism


def fitted():
    table = patients(3000, unknown=0.05)
    return cx.FlowSCM(GRAPH, family="line", hidden=()).fit(table, "patient", progress=False)


def test_a_registered_family_gets_the_variables_that_it_serves():
    line = regression()
    scm = fitted()
    pressure = scm.mechanisms["pressure"]
    assert type(pressure) is line
    assert all(type(m) is not line for n, m in scm.mechanisms.items() if n != "pressure")
    mean, _, age, sex = pressure.w.tolist()
    assert (100 * mean, age, sex) == pytest.approx((100, 0.5, 6), rel=0.15)
    assert not any(p.requires_grad for p in pressure.parameters())
    assert resolve_family(GRAPH.variables["edema"], "line") == "direct"
    assert resolve_family(GRAPH.variables["clear"], "line") == "direct"


def test_it_is_saved_and_loaded(tmp_path):
    regression()
    scm, rows = fitted(), patients(50, seed=5)
    scm.save(tmp_path / "scm")
    again = cx.FlowSCM.load(tmp_path / "scm")
    assert again.family == "line"
    do = {"age": cx.shift(1)}
    rows = rows[rows["age"] < 98]
    expected, found = (s.counterfactual(rows, do, seed=0) for s in (scm, again))
    pd.testing.assert_frame_equal(found, expected)
    change = found["pressure"] - rows["pressure"]
    np.testing.assert_allclose(change, float(scm.mechanisms["pressure"].w[2]), rtol=1e-9)


def test_loading_without_registering_says_what_to_do(tmp_path):
    regression()
    fitted().save(tmp_path / "scm")
    del MECHANISMS["LineMechanism"], FAMILIES["line"]
    with pytest.raises(CheckpointError, match=r"'LineMechanism'.* registered before loading"):
        cx.FlowSCM.load(tmp_path / "scm")


def test_a_class_is_registered_again_when_a_cell_is_run_twice():
    first, second = regression(), regression()
    assert MECHANISMS["LineMechanism"] is second is not first
    assert FAMILIES["line"].mechanism is second


def test_without_a_family_it_is_for_given_mechanisms(tmp_path):
    @register_mechanism()
    class Fixed(LinearMechanism):
        def __init__(self, variable, parents, slope=1.0):
            super().__init__(variable, parents)
            self.slope = slope

        def config(self):
            return {"slope": self.slope}

    dose = cx.Variable("dose", "continuous")
    graph = cx.CausalGraph([dose], [])
    cx.FlowSCM.from_mechanisms(graph, {"dose": Fixed(dose, (), 2.0)}).save(tmp_path / "scm")
    again = cx.FlowSCM.load(tmp_path / "scm")
    assert type(again.mechanisms["dose"]) is Fixed
    assert again.mechanisms["dose"].slope == 2.0
    assert again.observed["dose"] == (-np.inf, np.inf)  # which JSON has no word for
    assert not FAMILIES


class TestRefusals:
    def test_a_name_of_the_package(self):
        class IntervalMechanism(LinearMechanism):
            pass

        with pytest.raises(OptionError, match="'IntervalMechanism' is a mechanism of the package"):
            register_mechanism()(IntervalMechanism)
        with pytest.raises(OptionError, match="'cnf' is a family of the package"):
            register_mechanism(family="cnf")(LinearMechanism)

    def test_a_class_that_lacks_a_method(self):
        with pytest.raises(OptionError, match="LinearMechanism has no method fit"):
            register_mechanism(family="line")(LinearMechanism)
        with pytest.raises(OptionError, match="no class that derives from Mechanism"):
            register_mechanism()(dict)

    def test_a_fit_that_returns_something_else(self):
        line = regression()
        line.fit = classmethod(lambda cls, *arguments: None)
        with pytest.raises(OptionError, match=r"LineMechanism.fit returned None"):
            fitted()

    def test_a_variable_that_no_row_knows_with_its_parents(self):
        regression()
        table = patients(100)
        table.loc[table.index[:50], "pressure"] = np.nan
        table.loc[table.index[50:], "age"] = np.nan
        with pytest.raises(TableError, match="no row has 'pressure' and all of its parents"):
            cx.FlowSCM(GRAPH, family="line", hidden=()).fit(table, progress=False)

    def test_an_unknown_family_names_the_registered_ones(self):
        regression()
        with pytest.raises(OptionError, match=r"'lin' is not a family .*did you mean 'line'"):
            cx.FlowSCM(GRAPH, family="lin")


def test_every_mechanism_of_the_package_is_known():
    assert all(issubclass(cls, Mechanism) for cls in MECHANISMS.values())
