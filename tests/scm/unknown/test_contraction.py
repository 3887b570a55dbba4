"""Sums of many rows at once are those of each row alone, by listing every world."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import enumerated, models, tables

from cxrcausal.scm.unknown import contraction
from cxrcausal.scm.unknown.contraction import Part, Plan, contractions, values_kept
from cxrcausal.scm.unknown.elimination import sums
from cxrcausal.scm.unknown.tables import Tables


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from([1, 2**22]))
def test_marginals_against_enumeration(data, budget):
    """What a cell may be, and how likely, given all that is known of its row."""
    scm = data.draw(models())
    known = data.draw(tables(scm))
    name = data.draw(st.sampled_from(list(scm.mechanisms)))
    tables_ = Tables(known.mechanisms, known.values)
    asked = sums(known, tables_, [name])
    parts = []
    for number, (one, rows) in enumerate(zip(asked.each, asked.rows, strict=True)):
        assert one.is_exact
        network = one.network()
        parts.append(Part(Plan.of(network, network.cell(name)), rows, number))
    answered = []
    before, contraction.BUDGET = contraction.BUDGET, budget
    try:
        for chunk in contractions(tables_, parts):
            for part, _, shares in chunk.answers():
                values = np.broadcast_to(values_kept(tables_, part), shares.shape)
                answered += zip(part.rows, values, shares, strict=True)
                assert np.array_equal(
                    part.rows, asked.rows[part.number][part.start : part.start + len(part.rows)]
                )
    finally:
        contraction.BUDGET = before
    assert sorted(row for row, _, _ in answered) == sorted(np.concatenate(asked.rows))
    for row, values, shares in answered:
        world, p = enumerated(scm, {v: float(x[row]) for v, x in known.values.items()})
        for x, share in zip(values, shares, strict=True):
            expected = p[world[name] == x].sum() / p.sum()
            assert share == pytest.approx(float(expected), abs=1e-12)
