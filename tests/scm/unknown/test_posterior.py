"""Unknown cells against plain enumeration, and what a posterior refuses."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from closed_form import (
    COMPLETE,
    LinearMechanism,
    TableMechanism,
    binary,
    clinic,
    grid_of,
    table_of,
    table_scm,
    worlds,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import enumerated, models, tables

from cxrcausal.errors import TableError
from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm import FlowSCM, LogicMechanism
from cxrcausal.scm.draws import draws_of
from cxrcausal.scm.unknown import contraction, elimination, posterior
from cxrcausal.scm.unknown.posterior import fill_unknown, log_evidence

SCM = clinic()
NAMES = list(SCM.mechanisms)


@pytest.mark.parametrize("lacks", range(2 ** len(NAMES)))
def test_log_prob_of_every_pattern(lacks):
    """The likelihood of the known cells is the sum over all that the unknown ones may be."""
    known = {v: x for i, (v, x) in enumerate(COMPLETE.items()) if not lacks >> i & 1}
    total = sum(weight for _, weight in worlds(SCM, known))
    assert SCM.log_prob(table_of(SCM, known)).item() == pytest.approx(np.log(total), abs=1e-12)


@pytest.mark.parametrize(
    "unknown",
    [
        ("sex",),  # a confounder of edema and severity
        ("severity",),  # a mediator
        ("sex", "edema", "severity"),
        ("age", "effusion"),  # one informed, one barren
        ("view", "sex"),
        NAMES,
    ],
    ids=lambda names: "-".join(names),
)
def test_draws_follow_the_joint_posterior(unknown):
    """Frequencies of the joint draws agree with enumeration."""
    n = 20_000
    known = {v: x for v, x in COMPLETE.items() if v not in unknown}
    noise = SCM.abduct(table_of(SCM, known), num_samples=n, seed=1)
    joint = {tuple(w[v] for v in unknown): p for w, p in worlds(SCM, known)}
    total = sum(joint.values())
    drawn = torch.stack([noise.values[v] for v in unknown], 1).tolist()
    counts = dict.fromkeys(joint, 0)
    for row in drawn:
        counts[tuple(row)] += 1
    expected = np.array([n * p / total for p in joint.values()])
    found = np.array(list(counts.values()))
    assert found.sum() == n
    # five standard errors in every cell, with the variance of a multinomial
    assert np.all(np.abs(found - expected) <= 5 * np.sqrt(expected * (1 - expected / n)) + 3)


def test_known_cells_are_kept():
    """A draw completes the facts; it does not touch them."""
    known = {"age": 30.0, "effusion": 0.0}
    noise = SCM.abduct(table_of(SCM, known, 5), num_samples=3, seed=2)
    assert noise.values["age"].tolist() == [30.0] * 15
    assert noise.values["effusion"].tolist() == [0.0] * 15
    assert noise.known["age"].tolist() == [True] * 5
    assert noise.known["sex"].tolist() == [False] * 5


def test_definition_over_unknown_findings():
    """The chain of running bits is the table over all findings at once."""
    findings = [binary(f"f{i}") for i in range(5)]
    cause = binary("cause")
    nothing = Variable("nothing", "binary", ("negative", "positive"), mechanism="nor")
    edges = [("cause", f.name) for f in findings] + [(f.name, "nothing") for f in findings]
    graph = CausalGraph([cause, *findings, nothing], edges)
    draw = np.random.default_rng(3)
    mechanisms = {"cause": TableMechanism(cause, (), [0.7, 0.3])}
    mechanisms |= {
        f.name: TableMechanism(f, (cause,), draw.dirichlet([1, 1], 2)) for f in findings
    }
    definition = LogicMechanism(nothing, tuple(findings))
    definition.rates.copy_(torch.tensor([[0.9, 0.02]], dtype=torch.float64))
    scm = FlowSCM.from_mechanisms(graph, {**mechanisms, "nothing": definition})
    for known in (
        {"nothing": 1.0},
        {"nothing": 0.0, "f1": 0.0},
        {"nothing": 0.0, "f1": 1.0, "cause": 1.0},
    ):
        total = 0.0
        for bits in itertools.product((0, 1), repeat=6):
            world = dict(zip(["cause", *(f.name for f in findings)], bits, strict=True))
            if any(world[v] != x for v, x in known.items() if v in world):
                continue
            p = [0.7, 0.3][world["cause"]]
            for f in findings:
                p *= mechanisms[f.name].table[world["cause"], world[f.name]].item()
            rate = 0.02 if any(bits[1:]) else 0.9
            total += p * (rate if known["nothing"] else 1 - rate)
        found = scm.log_prob(table_of(scm, known)).item()
        assert found == pytest.approx(np.log(total), abs=1e-12)


def test_unknown_continuum():
    """A hidden cause x ~ N(0, 1) of y = 2x + u: x given y is N(.4 y, .2), y is N(0, 5)."""
    x, y = Variable("x", "continuous"), Variable("y", "continuous")
    graph = CausalGraph([x, y], [("x", "y")])
    scm = FlowSCM.from_mechanisms(
        graph, {"x": LinearMechanism(x, ()), "y": LinearMechanism(y, (x,), [2.0])}
    )
    rows = pd.DataFrame({"x": [np.nan], "y": [1.5]})
    expected = -0.5 * 1.5**2 / 5 - 0.5 * np.log(2 * np.pi * 5)
    assert scm.log_prob(rows).item() == pytest.approx(expected, abs=2e-3)
    drawn = scm.abduct(rows, num_samples=20_000, seed=0).values["x"]
    assert drawn.mean().item() == pytest.approx(0.6, abs=0.02)
    assert drawn.std().item() == pytest.approx(np.sqrt(0.2), abs=0.02)


def test_too_large_a_sum_is_refused(monkeypatch):
    """The message names the row and the pattern instead of running for hours."""
    for module in (posterior, elimination):
        monkeypatch.setattr(module, "MOST_ENTRIES", 8)
    rows = table_of(SCM, {"effusion": 1.0}).set_axis(["patient 7"])
    with pytest.raises(TableError, match=r"row 'patient 7' .*lack 'sex'.*above the limit of 8"):
        SCM.log_prob(rows)


def test_impossible_rows_are_refused():
    """No completion agrees with a level of probability zero."""
    a, b = binary("a"), binary("b")
    scm = table_scm([a, b], [("a", "b")], [[0.5, 0.5], [[1.0, 0.0], [1.0, 0.0]]])
    with pytest.raises(TableError, match=r"row 0 .* impossible under the fitted model"):
        scm.abduct(table_of(scm, {"b": 1.0}), seed=0)


def test_chunks_of_the_sum_change_nothing(monkeypatch):
    """How many table entries are held at once is a matter of memory alone."""
    rows = pd.concat([table_of(SCM, {"age": a, "effusion": 1.0}) for a in (20.0, 30.0, 40.0)])
    rows = rows.reset_index(drop=True)
    whole, drawn = SCM.log_prob(rows), SCM.abduct(rows, seed=4)
    monkeypatch.setattr(contraction, "BUDGET", 1)
    pd.testing.assert_series_equal(SCM.log_prob(rows), whole)
    again = SCM.abduct(rows, seed=4)
    assert all(torch.equal(again.values[v], drawn.values[v]) for v in NAMES)


def test_grid_values_are_drawn():
    """An unknown age is a whole value of its grid."""
    drawn = SCM.abduct(table_of(SCM, {"edema": 1.0}), num_samples=50, seed=0).values["age"]
    assert set(drawn.tolist()) <= set(grid_of(SCM.graph.variables["age"]).tolist())


@pytest.mark.parametrize("unknown", ["ab", "abc"])
def test_draws_under_a_known_definition(unknown):
    """Findings that a definition counts are drawn jointly, whether or not any is positive."""
    n, chances = 20_000, dict(zip("abc", (0.3, 0.4, 0.2), strict=True))
    findings = [binary(name) for name in "abc"]
    nothing = Variable("nothing", "binary", ("negative", "positive"), mechanism="nor")
    graph = CausalGraph([*findings, nothing], [(f.name, "nothing") for f in findings])
    mechanisms = {
        f.name: TableMechanism(f, (), [1 - chances[f.name], chances[f.name]]) for f in findings
    }
    definition = LogicMechanism(nothing, tuple(findings))
    definition.rates.copy_(torch.tensor([[0.5, 0.1]], dtype=torch.float64))
    scm = FlowSCM.from_mechanisms(graph, {**mechanisms, "nothing": definition})
    known = {"nothing": 0.0} | {f.name: 0.0 for f in findings if f.name not in unknown}
    drawn = scm.abduct(table_of(scm, known), num_samples=n, seed=0).values
    drawn = torch.stack([drawn[name] for name in unknown], 1)
    weight = {}
    for world in itertools.product((0.0, 1.0), repeat=len(unknown)):
        p = [
            chances[name] if x else 1 - chances[name]
            for name, x in zip(unknown, world, strict=True)
        ]
        weight[world] = np.prod(p) * (0.9 if any(world) else 0.5)
    for world, p in weight.items():
        share = (drawn == torch.tensor(world)).all(1).double().mean().item()
        assert share == pytest.approx(p / sum(weight.values()), abs=5 * np.sqrt(0.25 / n))


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_random_models_against_enumeration(data):
    """Log-evidence of every row of a table whose rows lack all kinds of cells."""
    scm = data.draw(models())
    known = data.draw(tables(scm))
    found = log_evidence(known)
    for row in range(len(known.index)):
        _, p = enumerated(scm, {v: float(x[row]) for v, x in known.values.items()})
        assert found[row].item() == pytest.approx(float(p.sum().log()), abs=1e-11)


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_draws_of_random_models(data):
    """Joint frequencies agree with enumeration, whatever else is in the table."""
    scm = data.draw(models(most=4))
    known = data.draw(tables(scm, most=3))
    n = 4000
    filled = fill_unknown(known, draws_of(known.index, 0, n))
    drawn = torch.stack([filled[v].reshape(-1, n) for v in scm.mechanisms], -1)
    for row in range(len(known.index)):
        world, p = enumerated(scm, {v: float(x[row]) for v, x in known.values.items()})
        expected = p / p.sum()
        joint = torch.stack([world[v] for v in scm.mechanisms], 1)
        share = (drawn[row][:, None] == joint).all(-1).double().mean(0)
        error = (expected * (1 - expected) / n).sqrt()
        assert (share.sum() - 1).abs() < 1e-12
        assert ((share - expected).abs() <= 6 * error + 6 / n).all()


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_row_is_drawn_alike_in_any_company(data):
    """All rows at once draw what each draws alone, and what it draws in parts."""
    scm = data.draw(models())
    known = data.draw(tables(scm))
    draws = draws_of(known.index, 3, 2)
    together = fill_unknown(known, draws)
    for row in range(len(known.index)):
        alone = fill_unknown(known.take(torch.tensor([row])), draws.take(np.array([row])))
        for name, x in together.items():
            assert torch.equal(x[2 * row : 2 * row + 2], alone[name])
