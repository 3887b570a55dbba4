"""Tables of families: gathered from the whole one or asked for, they are the same."""

import copy

import numpy as np
import torch
from closed_form import LinearMechanism, clinic, table_of
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import evidence_on, models, tables

from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm import FlowSCM
from cxrcausal.scm.evidence import read_evidence
from cxrcausal.scm.unknown import tables as module
from cxrcausal.scm.unknown.elimination import Elimination
from cxrcausal.scm.unknown.factor import Rows
from cxrcausal.scm.unknown.network import Network
from cxrcausal.scm.unknown.pattern import components, informed_cells, lacking_cells
from cxrcausal.scm.unknown.tables import Tables, distinct_codes


def parts_of(known):
    """Each component of unknown cells with the network of its rows."""
    lacks = lacking_cells(known.mechanisms, known.values)
    informed = informed_cells(known.mechanisms, lacks)
    for part in components(known.mechanisms, lacks, informed, informed):
        yield part, Elimination(known, part.cells, part.conditioned).network()


def check(known):
    """Every factor's table is what it is when it is made for these rows alone."""
    tables_of_all = Tables(known.mechanisms, known.values)
    for _ in range(2):  # a whole table is there once it has been asked for often enough
        for part, network in parts_of(known):
            rows = Rows(known.mechanisms, known.values_at(part.rows))
            for grid in network.factors.values():
                sizes = tuple(network.axes[axis] for axis in grid.axes)
                found = tables_of_all.of(grid, sizes, part.rows)
                expected = np.broadcast_to(grid.table(rows).numpy(), (len(part.rows), *sizes))
                found = np.broadcast_to(found, (len(part.rows), *sizes))
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from([0, 2**16]))
def test_tables_of_families(data, most):
    """Of levels, with and without running bits: made for the rows, or gathered from whole ones."""
    scm = data.draw(models())
    known = data.draw(tables(scm))
    before, module.MOST_TABULATED = module.MOST_TABULATED, most
    try:
        check(known)
    finally:
        module.MOST_TABULATED = before


def test_an_unknown_continuum_stands_in_quantile_cells():
    """Its children read its value, which depends on its own unknown causes."""
    x, y, z = (Variable(name, "continuous") for name in "xyz")
    scm = FlowSCM.from_mechanisms(
        CausalGraph([x, y, z], [("x", "y"), ("y", "z")], name="line"),
        {
            "x": LinearMechanism(x, ()),
            "y": LinearMechanism(y, (x,), [2.0]),
            "z": LinearMechanism(z, (y,), [1.0]),
        },
    )
    nan = torch.nan
    values = {"x": [nan, 1.0], "y": [nan, nan], "z": [0.5, 1.5]}
    check(evidence_on(scm, {v: torch.tensor(cells).double() for v, cells in values.items()}))


def test_under_another_mechanism_its_families_are_made_anew():
    """What does not ask it is kept."""
    scm = clinic()
    rows = table_of(scm, {"sex": 1.0, "age": 40.0, "edema": 1.0}, 300)
    known = read_evidence(rows, scm.graph, scm._fitted)
    mechanisms = known.mechanisms
    network = Network(mechanisms, known.supports, ["severity", "effusion"])
    tables_ = Tables(mechanisms, known.values)
    at = np.arange(300)

    def of(these, name):
        grid = network.factors[name]
        return these.of(grid, tuple(network.axes[axis] for axis in grid.axes), at)

    before = {name: of(tables_, name) for name in network.factors}
    other = copy.deepcopy(mechanisms["effusion"])
    other.table.copy_(other.table.flip(-1))
    changed = tables_.under({**mechanisms, "effusion": other})
    assert np.array_equal(of(changed, "severity"), before["severity"])
    np.testing.assert_allclose(of(changed, "effusion"), before["effusion"][..., ::-1])
    assert np.array_equal(of(tables_, "effusion"), before["effusion"])


def test_codes_tell_apart_what_differs_in_any_column(monkeypatch):
    """Also where there are more combinations than numbers."""
    draw = np.random.default_rng(0)
    columns = [(draw.integers(0, 3, 50), 3) for _ in range(4)]
    rows = np.arange(0, 50, 2)
    joint = np.stack([level[rows] for level, _ in columns])
    alike = (joint[:, :, None] == joint[:, None]).all(0)
    for most in (2**62, 5):
        monkeypatch.setattr(module, "MOST_CODES", most)
        code = distinct_codes(columns, rows)
        assert np.array_equal(code[:, None] == code, alike)
