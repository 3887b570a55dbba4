"""A density has no atoms: ties in what is declared a continuum are reported by name; rounding is
none.
"""

import logging

import numpy as np
import pytest
import torch

from cxrcausal.graph import Variable
from cxrcausal.scm.fit.atoms import against_a_continuum
from cxrcausal.scm.fit.choice import fit_mechanism

FREE = Variable("pressure", "continuous", unit="mmHg")
SHARE = Variable("share", "continuous", bounds=(0.0, 1.0))
ROWS = 1000


def normal(seed=0, rows=ROWS):
    return np.random.default_rng(seed).normal(size=rows)


def heaped(value, share, x):
    x = x.copy()
    x[: int(share * len(x))] = value
    return x


ATOMS = {
    "half are zero": (FREE, heaped(0.0, 0.5, np.exp(normal())), "500 of 1000 rows are exactly 0"),
    "at a detection limit": (FREE, np.maximum(normal(), -1), "rows are exactly -1"),
    "heaped exact values": (FREE, heaped(120.0, 0.12, 120 + 15 * normal()), "120 of 1000"),
    "heaped whole numbers": (
        FREE, heaped(120.0, 0.12, np.round(120 + 15 * normal())), "are exactly 120",
    ),
    "two heaps": (FREE, heaped(5.0, 0.2, heaped(0.0, 0.5, np.exp(normal()))), "are exactly 5"),
    "heap in few rows": (FREE, heaped(0.0, 0.5, normal(rows=30)), "15 of 30 rows"),
    "lower bound": (SHARE, np.clip(0.3 + 0.3 * normal(), 0, 0.999999), "exactly on its bound 0"),
    "upper bound": (SHARE, np.clip(0.7 + 0.3 * normal(), 1e-9, 1), "exactly on its bound 1"),
    "one row on a bound": (
        SHARE, np.append(0.5 + 0.05 * normal(), 1.0), "1 of 1001 rows lie exactly",
    ),
    "whole numbers": (FREE, np.round(60 + 10 * normal()), "different whole numbers"),
    "constant": (FREE, np.full(ROWS, 7.0), "a constant has no density"),
    "two values": (FREE, np.where(normal() > 0, 0.5, 1.5), "only 2 different values"),
}  # fmt: skip

CONTINUA = {
    "exact": (FREE, normal()),
    "two decimals": (FREE, np.round(normal(), 2)),
    "two decimals of many rows": (FREE, np.round(normal(rows=100_000), 2)),
    "two decimals, narrow": (FREE, np.round(0.5 + 0.05 * normal(rows=4000), 2)),
    "two decimals, skewed": (FREE, np.round(np.exp(normal(rows=4000)), 2)),
    "two decimals of few rows": (FREE, np.round(normal(rows=40), 2)),
    "within bounds": (SHARE, np.round(0.5 + 0.05 * normal(rows=4000), 3)),
    "large whole numbers": (FREE, np.round(1e6 * normal())),
    "two rows": (FREE, np.array([1.0, 2.0])),
    "nothing known": (FREE, np.full(5, np.nan)),
    "a grid": (Variable("n", "continuous", bounds=(0.0, 9.0), resolution=1.0), np.zeros(ROWS)),
    "levels": (Variable("sex", "binary", ("Female", "Male")), np.zeros(ROWS)),
}


@pytest.mark.parametrize(("variable", "x", "words"), ATOMS.values(), ids=ATOMS)
def test_atoms_are_told_of_by_name(variable, x, words):
    said = against_a_continuum(variable, torch.tensor(x))
    assert said is not None
    assert repr(variable.name) in said
    assert words in said
    assert "resolution" in said or "constant" in said


@pytest.mark.parametrize(("variable", "x"), CONTINUA.values(), ids=CONTINUA)
def test_a_rounded_continuum_is_one(variable, x):
    assert against_a_continuum(variable, torch.tensor(x)) is None


@pytest.mark.parametrize("shape", ["normal", "exponential", "uniform"])
def test_rounding_is_rarely_called_an_atom(shape):
    """Over sizes and steps of rounding, hardly ever: of 150 tables at most one."""
    draw, alarms = np.random.default_rng(5), 0
    for rows in (30, 300, 3000):
        for step in (0.001, 0.003, 0.01, 0.05):
            for _ in range(12):
                x = np.round(getattr(draw, shape)(size=rows) / step) * step + 0.05 * step
                alarms += against_a_continuum(FREE, torch.tensor(x)) is not None
    assert alarms <= 1


def test_unknown_cells_are_no_rows():
    x = np.append(np.full(50, np.nan), heaped(0.0, 0.5, normal()))
    assert "500 of 1000" in against_a_continuum(FREE, torch.tensor(x))


@pytest.mark.parametrize("family", ["cnf", "nsf"])
def test_a_fit_warns_and_a_resolution_quiets_it(caplog, family):
    """With the resolution that the warning asks for, the atom keeps its share."""
    x = torch.tensor(np.round(heaped(0.0, 0.5, 5 + np.exp(normal()))))
    with caplog.at_level(logging.WARNING, logger="cxrcausal"):
        fit_mechanism(FREE, (), {"pressure": x}, family=family)
    assert "'pressure' is declared a continuum" in caplog.text
    caplog.clear()
    grid = Variable("pressure", "continuous", bounds=(0.0, 40.0), resolution=1.0)
    with caplog.at_level(logging.WARNING, logger="cxrcausal"):
        mechanism = fit_mechanism(grid, (), {"pressure": x}, family=family)
    assert not caplog.records
    uniform = (torch.arange(2000, dtype=torch.float64)[:, None] + 0.5) / 2000
    drawn = mechanism.predict(mechanism.prior(uniform), {})
    assert float((drawn == 0).double().mean()) == pytest.approx(0.5, abs=0.02)
