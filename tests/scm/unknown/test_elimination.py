"""Which unknown cells a question needs, and what is said of an impossible row."""

import numpy as np
import pytest
import torch
from closed_form import COMPLETE, clinic, table_of
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import enumerated, models, tables

from cxrcausal.errors import TableError
from cxrcausal.scm.evidence import read_evidence
from cxrcausal.scm.unknown.elimination import (
    Elimination,
    largest_table,
    refuse_impossible,
    summed,
    sums,
)
from cxrcausal.scm.unknown.pattern import absences

SCM = clinic()


def asked(known, facts):
    """The sum that a question about some facts needs in a row that knows some cells."""
    evidence = read_evidence(table_of(SCM, known), SCM.graph, SCM._fitted)
    (absence,) = absences(evidence.mechanisms, evidence.values)
    return Elimination.of(evidence, absence, facts)


def test_nothing_unknown_is_read():
    """Known facts need no sum."""
    found = asked(COMPLETE, ["edema"])
    assert found.cells == found.conditioned == ()
    assert found.read == ("edema",)


def test_a_confounder_hangs_together_with_what_it_causes():
    """Its known children are the evidence, and their parents are read."""
    known = {v: x for v, x in COMPLETE.items() if v not in ("sex", "edema")}
    found = asked(known, ["edema"])
    assert found.cells == ("sex", "edema")
    assert found.conditioned == ("view", "severity", "effusion")
    assert found.read == ("age", "view", "severity", "effusion")


def test_a_barren_cell_needs_its_causes_and_no_evidence():
    """What follows from it is not known, so nothing is conditioned on."""
    known = {"sex": 1.0, "age": 40.0, "edema": 1.0}
    found = asked(known, ["effusion"])
    assert found.cells == ("severity", "effusion")
    assert found.conditioned == ()
    assert found.read == ("sex", "edema")
    assert asked(known, ["view"]).cells == ("view",)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_marginals_against_enumeration(data):
    """What a cell may be, and how likely, given everything that is known of the row."""
    scm = data.draw(models())
    known = data.draw(tables(scm, most=1))
    name = data.draw(st.sampled_from(list(scm.mechanisms)))
    (absence,) = absences(scm.mechanisms, known.values)
    needed = Elimination.of(known, absence, [name])
    assert needed.is_exact
    rows = torch.tensor([0])
    network = needed.network(rows)
    cell = network.cell(name)
    assert largest_table(network, cell) >= 1
    value, weight = summed(network, cell, 1)
    world, p = enumerated(scm, {v: float(x[0]) for v, x in known.values.items()})
    for x, share in zip(value[0].tolist(), weight[0].softmax(0).tolist(), strict=True):
        expected = p[world[name] == x].sum() / p.sum()
        assert share == pytest.approx(float(expected), abs=1e-12)


def test_what_is_impossible_is_named():
    """The first such row by its label, how many more there are, and what was unknown."""
    rows = table_of(SCM, {"effusion": 1.0}, 3).set_axis(["a", "b", "c"])
    index = read_evidence(rows, SCM.graph, SCM._fitted).index
    weight = torch.tensor([0.0, -torch.inf, -torch.inf])
    with pytest.raises(TableError, match=r"row 'b' and 1 more are impossible .* of 'sex'"):
        refuse_impossible(weight, torch.arange(3), index, ("sex",))
    refuse_impossible(weight[:1], torch.arange(1), index, ("sex",))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_rows_with_one_sum_are_asked_together(data):
    """Each row belongs to the sum that is its own, and no two sums are alike."""
    scm = data.draw(models())
    known = data.draw(tables(scm))
    facts = data.draw(st.sets(st.sampled_from(sorted(known.mechanisms)), min_size=1))
    groups = absences(known.mechanisms, known.values)
    found = sums(known, groups, facts)
    rows = np.concatenate([rows for _, rows in found])
    assert sorted(rows) == list(range(len(known.index)))
    keys = [(one.cells, one.conditioned, one.read) for one, _ in found]
    assert len(set(keys)) == len(keys)
    at = {row: key for key, (_, rows) in zip(keys, found, strict=True) for row in rows}
    for absence in groups:
        own = Elimination.of(known, absence, facts)
        assert {at[row] for row in absence.rows} == {(own.cells, own.conditioned, own.read)}
