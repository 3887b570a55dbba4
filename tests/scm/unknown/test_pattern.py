"""Patterns of absence against d-separation, in random models."""

import itertools

import numpy as np
import torch
from closed_form import clinic
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import models, tables

from cxrcausal.scm.unknown.pattern import (
    absences,
    components,
    distinct_rows,
    informed_cells,
    lacking_cells,
)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_components_are_what_evidence_ties_together(data):
    """Two informed cells are in one component if and only if d-connected given what is known."""
    scm = data.draw(models())
    known = data.draw(tables(scm))
    lacks = lacking_cells(scm.mechanisms, known.values)
    informed = informed_cells(scm.mechanisms, lacks)
    found = components(scm.mechanisms, lacks, informed, informed)
    for row in range(len(known.index)):
        observed = {v for v in scm.mechanisms if not lacks[v][row]}
        cells = [v for v in scm.mechanisms if informed[v][row]]
        assert cells == [
            v
            for v in scm.mechanisms
            if v not in observed and observed & set(scm.graph.descendants(v))
        ]
        here = [part for part in found if row in part.rows]
        assert sorted(v for part in here for v in part.cells) == sorted(cells)
        of = {v: number for number, part in enumerate(here) for v in part.cells}
        for a, b in itertools.combinations(cells, 2):
            assert (of[a] != of[b]) == scm.graph.d_separated(a, b, given=observed)
        for part in here:
            assert list(part.conditioned) == [
                v
                for v in scm.mechanisms
                if v in observed and set(scm.graph.parents(v)) & set(part.cells)
            ]


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_absences_say_the_same_of_each_pattern(data):
    """Every row is in the group that lacks what it lacks."""
    scm = data.draw(models())
    known = data.draw(tables(scm))
    lacks = lacking_cells(scm.mechanisms, known.values)
    informed = informed_cells(scm.mechanisms, lacks)
    groups = absences(scm.mechanisms, known.values)
    assert sorted(np.concatenate([g.rows for g in groups])) == list(range(len(known.index)))
    for group in groups:
        for row in group.rows:
            assert set(group.unknown) == {v for v in lacks if lacks[v][row]}
            tied = {v for part in group.components for v in part}
            assert tied == {v for v in informed if informed[v][row]}
            assert set(group.barren) == set(group.unknown) - tied


def test_only_wanted_components_are_returned():
    """What is not asked for is not summed out."""
    mechanisms = clinic().mechanisms
    unknown = torch.tensor([True, True])
    lacks = {v: unknown if v in ("sex", "severity") else ~unknown for v in mechanisms}
    informed = informed_cells(mechanisms, lacks)
    wanted = {v: lacks[v] & torch.tensor([v == "severity", False]) for v in mechanisms}
    (found,) = components(mechanisms, lacks, informed, wanted)
    assert found.cells == ("sex", "severity")
    assert found.conditioned == ("view", "edema", "effusion")
    assert found.rows.tolist() == [0]


def test_distinct_rows():
    """NaN is a value like others."""
    x = torch.tensor([1.0, torch.nan, 1.0, torch.nan]).double()
    y = torch.tensor([0.0, 0.0, 0.0, 1.0]).double()
    unique, inverse = distinct_rows({"x": x, "y": y}, ["x", "y"], np.arange(4))
    assert unique.tolist() == [0, 1, 3]
    assert inverse.tolist() == [0, 1, 0, 2]
