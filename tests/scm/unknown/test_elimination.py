"""Which unknown cells a question needs, and what is said of an impossible row."""

import numpy as np
import pytest
import torch
from closed_form import COMPLETE, clinic, table_of
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import models, tables

from cxrcausal.errors import TableError
from cxrcausal.scm.evidence import read_evidence
from cxrcausal.scm.unknown.elimination import (
    Elimination,
    refuse_impossible,
    sums,
)
from cxrcausal.scm.unknown.pattern import absences
from cxrcausal.scm.unknown.tables import Tables

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
    found = sums(known, Tables(known.mechanisms, known.values), facts)
    keys = [(one.cells, one.conditioned, one.read) for one in found.each]
    assert len(set(keys)) == len(keys)
    for absence in absences(known.mechanisms, known.values):
        own = Elimination.of(known, absence, facts)
        at = {keys[number] for number in found.of_row[absence.rows]}
        assert at == {(own.cells, own.conditioned, own.read)}


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_rows_with_one_answer_are_asked_once(data):
    """Their answer is that of a row with the same sum that agrees in all that is read."""
    scm = data.draw(models())
    known = data.draw(tables(scm))
    facts = data.draw(st.sets(st.sampled_from(sorted(known.mechanisms)), min_size=1))
    count = len(known.index)
    beside = torch.arange(count).double() % 2
    both = Tables(known.mechanisms, {**known.values, "do x": beside})
    found = sums(known, both, facts, ["do x"])
    representative = np.concatenate(found.rows)
    read = {
        row: tuple(
            float(x[row])
            for x in [*(known.values[v] for v in found.each[found.of_row[row]].read), beside]
        )
        for row in range(count)
    }
    for row, place in enumerate(found.place):
        other = representative[place]
        assert found.of_row[other] == found.of_row[row]
        assert read[other] == read[row]
        sum_ = found.of_row[row]
        assert found.starts[sum_] <= place < found.starts[sum_] + len(found.rows[sum_])
    answers = {(found.of_row[row], read[row]) for row in representative}
    assert len(answers) == len(representative)
