"""Weighted draws against closed forms, elimination and quadrature, within their stated error."""

import numpy as np
import pandas as pd
import pytest
from closed_form import COMPLETE, LinearMechanism, clinic, table_of, worlds

from cxrcausal.errors import TableError
from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm import FlowSCM, importance_posterior

SCM = clinic()
X, Y, Z = (Variable(n, "continuous") for n in "xyz")
LINE = FlowSCM.from_mechanisms(
    CausalGraph([X, Y, Z], [("x", "y"), ("y", "z")], name="line"),
    {
        "x": LinearMechanism(X, ()),
        "y": LinearMechanism(Y, (X,), [2.0]),
        "z": LinearMechanism(Z, (Y,), [1.0], scale=0.5),
    },
)


def within(found, expected, errors=5):
    """Whether an estimate lies within so many of its standard errors."""
    return abs(found["estimate"].item() - expected) <= errors * found["standard_error"].item()


def test_two_unknown_continua():
    """x ~ N(0, 1), y = 2x + u, z = y + v/2: given z, x and y are normal on paper."""
    drawn = importance_posterior(
        LINE, pd.DataFrame({"x": [np.nan], "y": np.nan, "z": 1.5}), 20_000, 0
    )
    total = 4 + 1 + 0.25
    assert within(drawn.mean("x"), 2 * 1.5 / total)
    assert within(drawn.mean("y"), 5 * 1.5 / total)
    assert within(drawn.mean("x", lambda x: x**2), (1 - 4 / total) + (3 / total) ** 2)
    evidence = -0.5 * 1.5**2 / total - 0.5 * np.log(2 * np.pi * total)
    assert within(drawn.log_evidence, evidence)
    size = drawn.effective_sample_size.item()
    assert 500 < size < 20_000
    assert drawn.mean("x")["standard_error"].item() < 0.02


def test_against_quadrature():
    """The quantile cells of elimination and weighted draws agree within the stated error."""
    rows = pd.DataFrame({"x": [np.nan, 0.3], "y": [1.5, np.nan], "z": [1.0, -2.0]})
    drawn = importance_posterior(LINE, rows, 20_000, 1)
    by_cells = LINE.abduct(rows, num_samples=20_000, seed=2)
    for row, name in ((0, "x"), (1, "y")):
        exact = by_cells.values[name].reshape(2, -1)[row]
        error = float(exact.std()) / np.sqrt(20_000)
        found = drawn.mean(name).iloc[row]
        allowed = 5 * np.hypot(found["standard_error"], error) + 2e-3  # 128 cells
        assert abs(found["estimate"] - float(exact.mean())) <= allowed
    exact = LINE.log_prob(rows)
    allowed = 5 * drawn.log_evidence["standard_error"] + 2e-2
    assert (np.abs(drawn.log_evidence["estimate"] - exact) <= allowed).all()


@pytest.mark.parametrize("unknown", [("sex",), ("severity", "age"), ("sex", "edema", "view")])
def test_levels_against_enumeration(unknown):
    """Posterior probabilities and the evidence, within five standard errors of the exact sums."""
    known = {v: x for v, x in COMPLETE.items() if v not in unknown}
    drawn = importance_posterior(SCM, table_of(SCM, known), 20_000, 3)
    weighted = list(worlds(SCM, known))
    total = sum(p for _, p in weighted)
    assert within(drawn.log_evidence, np.log(total))
    for name in unknown:
        expected = sum(p * world[name] for world, p in weighted) / total
        assert within(drawn.mean(name), expected)


def test_nothing_unknown_is_worth_every_draw():
    """All weights are alike, and the evidence is exact."""
    rows = table_of(SCM, COMPLETE)
    drawn = importance_posterior(SCM, rows, 50, 0)
    assert drawn.effective_sample_size.item() == pytest.approx(50)
    assert drawn.log_evidence["estimate"].item() == pytest.approx(SCM.log_prob(rows).item())


def test_draws_are_a_function_of_the_label():
    """A row is answered alike in any company, and an unknown name is named."""
    known = {"effusion": 1.0}
    rows = pd.concat([table_of(SCM, known), table_of(SCM, COMPLETE)]).set_axis(["a", "b"])
    both = importance_posterior(SCM, rows, 20, 4)
    alone = importance_posterior(SCM, rows.loc[["a"]], 20, 4)
    assert both.values["edema"][0].tolist() == alone.values["edema"][0].tolist()
    with pytest.raises(TableError, match=r"'edmea' is not among.*did you mean 'edema'"):
        both.mean("edmea")
