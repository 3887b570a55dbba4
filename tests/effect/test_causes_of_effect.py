"""Probabilities of causation: their textbook values, their bounds, and the definition counted."""

import numpy as np
import pandas as pd
import pytest
import torch
from closed_form import TableMechanism, binary, table_scm
from response import always, averaged

from cxrcausal.effect import causation
from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm import FlowSCM, GumbelMechanism

FEW = {"groups": None, "resamples": 50}


@pytest.mark.parametrize(("p", "q"), [(0.2, 0.7), (0.05, 0.1), (0.4, 0.4)])
def test_monotone_pair_has_its_textbook_probabilities_of_causation(p, q):
    """PNS = q − p, PN = (q − p) / q, PS = (q − p) / (1 − p); the bounds of PNS are q − p and
    min(q, 1 − p)."""
    scm = table_scm(
        [binary("x"), binary("y")], [("x", "y")], [[0.6, 0.4], [[1 - p, p], [1 - q, q]]]
    )
    found = causation(scm, scm.sample(20, seed=0), "x", "y", **FEW)
    assert found.both.estimate == pytest.approx(q - p, abs=1e-12)
    assert found.necessity.estimate == pytest.approx((q - p) / q, abs=1e-12)
    assert found.sufficiency.estimate == pytest.approx((q - p) / (1 - p), abs=1e-12)
    assert found.both.bounds == pytest.approx((q - p, min(q, 1 - p)), abs=1e-12)
    assert found.necessity.bounds == pytest.approx(
        (max(0, (q - p) / q), min(1, (1 - p) / q)), abs=1e-12
    )
    assert found.sufficiency.bounds == pytest.approx(
        (max(0, (q - p) / (1 - p)), min(1, q / (1 - p))), abs=1e-12
    )
    assert not found.both.identified


def test_nominal_outcome_has_the_gumbel_coupling():
    """P = (.5, .3, .2) → Q = (.2, .5, .3): who has level k with the cause and not without."""
    x, y = binary("x"), Variable("y", "nominal", ("a", "b", "c"))
    graph = CausalGraph([x, y], [("x", "y")], name="nominal")
    mechanism = GumbelMechanism(y, (x,))
    with torch.no_grad():
        for parameter in mechanism.parameters():
            parameter.zero_()
    masses = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3]], dtype=torch.float64)
    mechanism._log_masses = lambda theta: masses.log().expand(max(len(theta), 2), -1)[: len(theta)]
    scm = FlowSCM.from_mechanisms(
        graph, {"x": TableMechanism(x, (), [0.5, 0.5]), "y": mechanism.requires_grad_(False)}
    )
    rows = pd.DataFrame({"x": ["negative", "positive"], "y": ["a", "b"]})
    stays = {"a": 0.2, "b": 0.3, "c": 0.2 * 0.9677}  # P(Y = Y* = k), table of PEERS
    for k, level in enumerate("abc"):
        found = causation(scm, rows, "x", "y", level=level, **FEW).both
        assert found.estimate == pytest.approx(masses[1, k].item() - stays[level], abs=1e-4)
        assert found.bounds[0] - 1e-12 <= found.estimate <= found.bounds[1] + 1e-12


@pytest.mark.parametrize("cause", ["edema", "sex"])
def test_mediated_probabilities_of_causation_are_the_counted_ones(clinic_rows, cause):
    scm, rows, _ = clinic_rows
    both = averaged(clinic_rows, cause, lambda a, b: float(a > b), always(1), always(0))
    found = causation(scm, rows, cause, "effusion", **FEW)
    assert found.both.estimate == pytest.approx(both, abs=1e-12)
    for effect in (found.necessity, found.sufficiency, found.both):
        low, high = effect.bounds
        assert -1e-12 <= low <= effect.estimate + 1e-12
        assert effect.estimate <= high + 1e-12 <= 1 + 2e-12


def test_bounds_hold_whatever_the_model():
    """Of 100 random models the coupling's value lies within Tian and Pearl's bounds."""
    draw = np.random.default_rng(5)
    for _ in range(100):
        z, x, m, y = (binary(name) for name in "zxmy")
        shapes = [(2,), (2, 2), (2, 2), (2, 2, 2, 2)]
        edges = [("z", "x"), ("x", "m"), ("z", "y"), ("x", "y"), ("m", "y")]
        tables = [draw.dirichlet([0.6] * s[-1], s[:-1]) for s in shapes]
        scm = table_scm([z, x, m, y], edges, tables)
        found = causation(scm, scm.sample(15, seed=1), "x", "y", groups=None, resamples=1)
        for effect in (found.necessity, found.sufficiency, found.both):
            assert effect.bounds[0] - 1e-9 <= effect.estimate <= effect.bounds[1] + 1e-9
