"""Expected counts against plain enumeration, however a row's completions are come by."""

import numpy as np
import pandas as pd
import pytest
import torch
from closed_form import COMPLETE, clinic, table_of, worlds

from cxrcausal.scm.evidence import read_evidence
from cxrcausal.scm.unknown import completion
from cxrcausal.scm.unknown.completion import ExpectationStep, FamilyCells, Patterns
from cxrcausal.scm.unknown.posterior import log_evidence

SCM = clinic()
NAMES = list(SCM.mechanisms)


def patterns_of(*known):
    """Patterns of rows that know some cells each, and the rows' values."""
    rows = pd.concat([table_of(SCM, some) for some in known], ignore_index=True)
    seen = read_evidence(rows, SCM.graph, SCM._fitted)
    patterns = Patterns.of(seen.values, np.arange(len(rows)), rows.index)
    return patterns, seen


def informed(known):
    """The unknown cells with a known descendant, by the graph."""
    return {v for v in NAMES if v not in known and set(SCM.graph.descendants(v)) & set(known)}


def step_on(*known, **options):
    patterns, seen = patterns_of(*known)
    return ExpectationStep(SCM.mechanisms, seen.supports, patterns, seed=3, **options)


@pytest.mark.parametrize("lacks", range(2 ** len(NAMES) - 1))
def test_expected_counts_of_every_pattern(lacks):
    """Each family's expected counts are its posterior, unless a cell in it says nothing."""
    known = {v: x for i, (v, x) in enumerate(COMPLETE.items()) if not lacks >> i & 1}
    step = step_on(known)
    expected = step.expect(SCM.mechanisms)
    there = informed(known) | set(known)
    enumerated = list(worlds(SCM, known))
    total = sum(p for _, p in enumerated)
    for name, mechanism in SCM.mechanisms.items():
        names = [name, *(p.name for p in mechanism.parents)]
        x, pa, weight = expected.cells(name)
        if not set(names) <= there:
            assert not weight.any()
            continue
        joint = {}
        for world, p in enumerated:
            key = tuple(world[v] for v in names)
            joint[key] = joint.get(key, 0.0) + p / total
        found = dict(
            zip(
                map(tuple, torch.stack([x, *pa.values()], 1).tolist()),
                weight.tolist(),
                strict=True,
            )
        )
        assert found == pytest.approx({key: joint[key] for key in found}, abs=1e-12)
        assert sum(found.values()) == pytest.approx(1.0)
    assert step.log_evidence(SCM.mechanisms).item() == pytest.approx(np.log(total), abs=1e-12)


def test_equal_rows_count_once():
    """Distinct rows with their numbers say what the rows say one by one."""
    some, other = {"effusion": 1.0}, {"effusion": 1.0, "age": 20.0}
    patterns, _ = patterns_of(some, other, some, some)
    assert patterns.count.tolist() == [3.0, 1.0]
    assert patterns.index.tolist() == [0, 1]
    together = step_on(some, other, some, some).expect(SCM.mechanisms)
    apart = [step_on(known).expect(SCM.mechanisms) for known in (some, other)]
    weight = together.cells("edema")[2].sum()
    assert weight == pytest.approx(
        3 * apart[0].cells("edema")[2].sum() + apart[1].cells("edema")[2].sum()
    )


@pytest.mark.parametrize("limits", [(1, 2**14), (1, 1)], ids=["listed and drawn", "eliminated"])
def test_draws_stand_for_what_is_too_many_to_keep(monkeypatch, limits):
    """Drawn counts agree with exact ones within five standard errors; the evidence is exact."""
    known = [{"effusion": 1.0}, {"severity": 2.0, "effusion": 0.0}, dict(COMPLETE)]
    exact = step_on(*known)
    monkeypatch.setattr(completion, "MOST_KEPT", limits[0])
    monkeypatch.setattr(completion, "MOST_LISTED", limits[1])
    n = 4000
    drawn = step_on(*known, num_samples=n)
    torch.testing.assert_close(
        drawn.log_evidence(SCM.mechanisms), exact.log_evidence(SCM.mechanisms)
    )
    for name in NAMES:
        counts = []
        for step in (exact, drawn):
            x, pa, weight = step.expect(SCM.mechanisms).cells(name)
            table = pd.Series(weight.numpy()).groupby(
                [x.numpy(), *(p.numpy() for p in pa.values())]
            )
            counts.append(table.sum())
        joint, found = counts[0].align(counts[1], fill_value=0.0)
        error = np.sqrt(joint.clip(lower=1e-9) / n)
        assert (np.abs(joint - found) <= 5 * error + 3 / n).all(), name


def test_draws_are_a_function_of_label_and_seed(monkeypatch):
    """In any company, the same label draws the same completions."""
    monkeypatch.setattr(completion, "MOST_KEPT", 1)
    alone = step_on({"effusion": 1.0}).expect(SCM.mechanisms).cells("edema")
    both = step_on({"effusion": 1.0}, {"severity": 1.0, "age": 20.0}).expect(SCM.mechanisms)
    weight = both.cells("edema")[2]
    assert weight.sum() == pytest.approx(2.0)
    assert alone[2].sum() == pytest.approx(1.0)
    again = step_on({"effusion": 1.0}, {"severity": 1.0, "age": 20.0}).expect(SCM.mechanisms)
    assert torch.equal(weight, again.cells("edema")[2])


def test_a_cell_is_a_family_in_one_state():
    """A cell without its parents has no log-probability."""
    values = {v: torch.tensor([x, x, np.nan]).double() for v, x in COMPLETE.items()}
    family = FamilyCells.of(SCM.mechanisms["edema"], values)
    assert family.cell.tolist() == [0, 0, 1]
    assert family.log_prob(SCM.mechanisms["edema"])[2] == 0.0
    assert family.weigh(torch.tensor([0.5, 0.25, 9.0]).double()).tolist() == [0.75]


def test_both_ways_to_the_evidence_agree():
    """Elimination by pattern and listing over all patterns are the same sum."""
    known = [
        {v: x for i, (v, x) in enumerate(COMPLETE.items()) if not lacks >> i & 1}
        for lacks in range(2 ** len(NAMES))
    ]
    patterns, seen = patterns_of(*known)
    listed = ExpectationStep(SCM.mechanisms, seen.supports, patterns, seed=0)
    by_listing = listed.log_evidence(SCM.mechanisms)
    torch.testing.assert_close(by_listing, log_evidence(seen), rtol=0, atol=1e-12)
