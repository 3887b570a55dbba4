"""Tables of families: gathered from the whole one or asked for, they are the same."""

import numpy as np
import torch
from closed_form import LinearMechanism
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import evidence_on, models, tables

from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm import FlowSCM
from cxrcausal.scm.unknown import tables as module
from cxrcausal.scm.unknown.elimination import Elimination
from cxrcausal.scm.unknown.pattern import components, informed_cells, lacking_cells
from cxrcausal.scm.unknown.tables import FamilyTables


def parts_of(known):
    """Each component of unknown cells with its network of the rows, and what its factors are."""
    lacks = lacking_cells(known.mechanisms, known.values)
    informed = informed_cells(known.mechanisms, lacks)
    for part in components(known.mechanisms, lacks, informed, informed):
        names = tuple(known.mechanisms)
        sum_ = Elimination(known, part.cells, part.conditioned, names)
        yield part, sum_.network(torch.from_numpy(part.rows))


def check(known):
    """Every factor's table is that of the network of these rows."""
    by_table = FamilyTables(known)
    for part, network in parts_of(known):
        for factor, grid in zip(by_table.factors(network), network.factors.values(), strict=True):
            found = by_table.of(factor, part.rows)
            sizes = tuple(network.axes[axis] for axis in grid.axes)
            expected = np.broadcast_to(grid.table.numpy(), (len(part.rows), *sizes))
            found = np.broadcast_to(found, (len(part.rows), *sizes))
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_gathered_tables(data):
    """Of levels, with and without a definition's running bits."""
    scm = data.draw(models())
    check(data.draw(tables(scm)))


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_tables_that_are_asked_for(data):
    """Where the whole table would be too large."""
    scm = data.draw(models())
    known = data.draw(tables(scm))
    most, module.MOST_TABULATED = module.MOST_TABULATED, 1
    try:
        check(known)
    finally:
        module.MOST_TABULATED = most


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
