"""A definition: two rates, known positives that decide, and what stays open."""

import math

import pytest
import torch
from mechanisms import CLEAR, EDEMA, FRACTURE, SEX, SOURCE, uniforms

from cxrcausal.errors import GraphError
from cxrcausal.graph.variable import Variable
from cxrcausal.scm.mechanism.definition import LogicMechanism, definition_parts

NAN = math.nan


def numbers(values):
    return torch.tensor(values, dtype=torch.float64)


def columns(**values):
    return {name: torch.tensor(v, dtype=torch.float64) for name, v in values.items()}


def fitted(parents, rows):
    x, pa = rows.pop("x"), rows
    mechanism = LogicMechanism(CLEAR, parents)
    mechanism.fit_in_closed_form(x, pa, torch.ones_like(x))
    return mechanism


def test_rates_are_smoothed_shares():
    """Half a row of each kind is added: (1 + .5)/(2 + 1) with none positive, .5/(3 + 1)
    with any.
    """
    rows = columns(x=[1, 0, 0, 0, 0], edema=[0, 0, 1, 0, 1], fracture=[0, 0, 0, 1, 1])
    mechanism = fitted((EDEMA, FRACTURE), rows)
    torch.testing.assert_close(mechanism.rates, numbers([[1.5 / 3, 0.5 / 4]]))


def test_each_context_has_its_own_rates():
    """A context with many rows keeps its own share; one without rows takes the overall rate."""
    source = [0.0] * 1000 + [1.0] * 1000
    x = [1.0] * 900 + [0.0] * 100 + [1.0] * 500 + [0.0] * 500
    rows = columns(x=x, source=source, edema=[0.0] * 2000)
    rates = fitted((SOURCE, EDEMA), rows).rates[:, 0]
    torch.testing.assert_close(rates, numbers([0.9, 0.5, 0.7]), rtol=1e-3, atol=0)


def test_a_known_positive_decides():
    """Unknown findings matter only where none is known to be positive."""
    mechanism = LogicMechanism(CLEAR, (EDEMA, FRACTURE))
    mechanism.rates.copy_(numbers([[0.9, 0.1]]))
    pa = columns(edema=[1, 0, NAN, NAN, 0], fracture=[NAN, NAN, 1, NAN, 0])
    found = mechanism.log_prob(torch.ones(5).double(), pa).exp()
    expected = numbers([0.1, NAN, 0.1, NAN, 0.9])
    torch.testing.assert_close(found, expected, equal_nan=True)
    u = torch.zeros(5, 1).double()
    expected = numbers([0, NAN, 0, NAN, 1])
    torch.testing.assert_close(mechanism.predict(u, pa), expected, equal_nan=True)
    x = torch.zeros(5).double()
    assert mechanism.abduct(x, pa, uniforms(5, 1)).isnan().squeeze(-1).tolist() == [
        False, True, False, True, False,
    ]  # fmt: skip
    chance = mechanism.transition(x, pa, columns(edema=[0] * 5, fracture=[0] * 5))
    assert chance.isnan().any(-1).tolist() == [False, True, False, True, False]


def test_rows_that_leave_it_open_are_not_counted():
    """An unknown finding beside negative ones, an unknown value, an unknown context: left out."""
    rows = columns(
        x=[1, 1, 1, NAN, 0, 0],
        source=[0, 0, NAN, 0, 0, 0],
        edema=[0, 0, 0, 0, 1, NAN],
        fracture=[0, NAN, 0, 0, NAN, 1],
    )
    counted = fitted((SOURCE, EDEMA, FRACTURE), rows).rates[0]
    rows = columns(x=[1, 0, 0], source=[0, 0, 0], edema=[0, 1, 0], fracture=[0, 0, 1])
    assert torch.equal(counted, fitted((SOURCE, EDEMA, FRACTURE), rows).rates[0])


def test_weights_count_as_repeated_rows():
    """A row of weight three is three rows."""
    x, pa = columns(x=[1, 0])["x"], columns(edema=[0, 0])
    weighted, repeated = LogicMechanism(CLEAR, (EDEMA,)), LogicMechanism(CLEAR, (EDEMA,))
    weighted.fit_in_closed_form(x, pa, numbers([3.0, 1.0]))
    repeated.fit_in_closed_form(
        columns(x=[1, 1, 1, 0])["x"], columns(edema=[0] * 4), torch.ones(4).double()
    )
    assert torch.equal(weighted.rates, repeated.rates)


def test_healthy_and_ill_are_a_monotone_pair():
    """Had the findings been absent, P(no_finding* = 1 | any, 0) = (r0 − r1)/(1 − r1)."""
    mechanism = LogicMechanism(CLEAR, (EDEMA,))
    mechanism.rates.copy_(numbers([[0.9, 0.1]]))
    chance = mechanism.transition(torch.zeros(1).double(), columns(edema=[1]), columns(edema=[0]))
    assert chance[0, 1].item() == pytest.approx(0.8 / 0.9, abs=1e-12)


def test_which_parents_are_counted():
    """Binary findings and devices are; what only sets the scene is context."""
    counted, context = definition_parts((SOURCE, EDEMA, SEX, FRACTURE))
    assert [p.name for p in counted] == ["edema", "fracture"]
    assert [p.name for p in context] == ["source", "sex"]


def test_a_continuous_parent_is_refused():
    """The message names the arrow to remove."""
    with pytest.raises(GraphError, match="its parent 'dose' is continuous"):
        LogicMechanism(CLEAR, (EDEMA, Variable("dose", "continuous")))
