"""Effects against what is known on paper, and against the definition counted cell by cell."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from closed_form import (
    LinearMechanism,
    TableMechanism,
    binary,
    clinic,
    table_of,
    table_scm,
    worlds,
)
from response import expect

import cxrcausal as cx
from cxrcausal.effect import (
    ate,
    cate,
    causation,
    ctf_effects,
    ett,
    expectation,
    natural_effects,
    path_specific_effect,
)
from cxrcausal.errors import (
    GraphError,
    InterventionError,
    OptionError,
    TableError,
    UnobservedError,
)
from cxrcausal.graph import CausalGraph, HiddenCause, Selection, Variable
from cxrcausal.scm import FlowSCM, GumbelMechanism

FEW = {"groups": None, "resamples": 50}


def numbers(row):
    """A row of the clinic as the numbers that the counting reads."""
    sex, age, view, edema, severity, effusion = row
    return {
        "sex": ["Female", "Male"].index(sex),
        "age": age,
        "view": ["PA", "AP", "LATERAL"].index(view),
        "edema": ["negative", "positive"].index(edema),
        "severity": ["none", "mild", "severe"].index(severity),
        "effusion": ["negative", "positive"].index(effusion),
    }


@pytest.fixture(scope="module")
def seen():
    """The clinic, some of its patients, and what the cause leaves alone in each."""
    scm = clinic()
    rows = scm.sample(40, seed=3)
    return scm, rows, [numbers(row) for row in rows.itertuples(index=False)]


def averaged(seen, cause, function, *hears):
    scm, _, patients = seen
    alone = ("sex", "age") if cause == "edema" else ("age",)
    kinds = pd.Series([tuple(p[v] for v in alone) for p in patients]).value_counts()
    return sum(
        count
        * expect(scm, dict(zip(alone, kind, strict=True)), cause, "effusion", function, *hears)
        for kind, count in kinds.items()
    ) / len(patients)


def always(x):
    return lambda path: x


def along(*paths):
    return lambda path: float(path in paths)


def plain(y):
    return y


# --- totals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", ["edema", "sex"])
def test_average_effect_is_the_counted_one(seen, cause):
    scm, rows, _ = seen
    truth = [averaged(seen, cause, plain, always(x)) for x in (0, 1)]
    found = ate(scm, rows, cause, "effusion", **FEW)
    assert found.arms == pytest.approx(truth, abs=1e-12)
    assert found.estimate == pytest.approx(truth[1] - truth[0], abs=1e-12)
    ratio = ate(scm, rows, cause, "effusion", scale="ratio", **FEW)
    assert ratio.estimate == pytest.approx(truth[1] / truth[0])
    assert found.monte_carlo_error == 0
    assert found.identified


def test_effect_among_the_treated_weights_patients_by_their_chance(seen):
    """ETT = Σ_i p(x | z_i) E[Y_x' − Y_x | z_i] / Σ_i p(x | z_i)."""
    scm, rows, patients = seen
    effect, weight = 0.0, 0.0
    for patient in patients:
        facts = {v: patient[v] for v in ("sex", "age")}
        y = [expect(scm, facts, "edema", "effusion", plain, always(x)) for x in (0, 1)]
        p = scm.mechanisms["edema"].table[facts["sex"], int(facts["age"] - 20) // 10, 1].item()
        effect, weight = effect + p * (y[1] - y[0]), weight + p
    found = ett(scm, rows, "edema", "effusion", **FEW)
    assert found.estimate == pytest.approx(effect / weight, abs=1e-12)


def test_treated_are_everybody_where_the_cause_is_a_root(seen):
    scm, rows, _ = seen
    treated = ett(scm, rows, "sex", "effusion", **FEW)
    assert treated.estimate == ate(scm, rows, "sex", "effusion", **FEW).estimate
    assert "same as the ATE" in treated.statement


def test_conditional_effect_is_that_of_the_rows(seen):
    scm, rows, _ = seen
    given = {"sex": "Male", "age": (30, 50)}
    here = rows[(rows["sex"] == "Male") & rows["age"].between(30, 50)]
    found = cate(scm, rows, "edema", "effusion", given, **FEW)
    assert found.estimate == pytest.approx(ate(scm, here, "edema", "effusion", **FEW).estimate)
    assert found.rows == len(here)
    several = cate(scm, rows, "edema", "effusion", {"sex": ["Male", "Female"]}, **FEW)
    assert several.estimate == pytest.approx(ate(scm, rows, "edema", "effusion", **FEW).estimate)


def test_an_unknown_cell_is_summed_out():
    """With sex unknown, E[Y_x] averages over its posterior given all that is known, effects included."""
    scm = clinic()
    known = {"age": 40.0, "view": 1.0, "severity": 2.0, "effusion": 1.0}
    share = np.zeros(2)
    for world, weight in worlds(scm, known):
        share[int(world["sex"])] += weight
    share /= share.sum()
    truth = sum(
        share[s]
        * expect(
            scm,
            {"sex": s, "age": 40.0},
            "edema",
            "effusion",
            lambda a, b: b - a,
            always(0),
            always(1),
        )
        for s in (0, 1)
    )
    found = ate(scm, table_of(scm, known, 3), "edema", "effusion", **FEW)
    assert found.estimate == pytest.approx(truth, abs=1e-12)


def test_patients_not_rows_are_resampled(seen):
    """Ten copies of each row say nothing new, if they are said to be of one patient."""
    scm, rows, _ = seen
    copies = pd.concat([rows] * 10, ignore_index=True).assign(
        who=np.tile(np.arange(len(rows)), 10)
    )
    once = ate(scm, rows, "edema", "effusion", groups=None)
    again = ate(scm, copies, "edema", "effusion", groups="who")
    naive = ate(scm, copies, "edema", "effusion", groups=None)
    assert (again.low, again.high) == pytest.approx((once.low, once.high), abs=0.01)
    assert naive.high - naive.low < 0.5 * (once.high - once.low)
    assert again.patients == len(rows)
    assert once.low <= once.estimate <= once.high


def test_refits_hold_what_the_fit_leaves_open():
    """Of a pair, the interval is that of a difference of two shares; with the fit held there is none."""
    graph = CausalGraph([binary("x"), binary("y")], [("x", "y")], name="pair")
    n, p, q = 2000, 0.3, 0.55
    draw = np.random.default_rng(0)
    x = draw.random(n) < 0.4
    rows = pd.DataFrame({"x": x, "y": draw.random(n) < np.where(x, q, p)})
    scm = FlowSCM(graph).fit(rows)
    held = ate(scm, rows, "x", "y", groups=None, parameters="fixed")
    assert np.isnan([held.low, held.high]).all()
    assert "patients that do not differ" in str(held)
    found = ate(scm, rows, "x", "y", groups=None, refits=40)
    assert found.estimate == held.estimate
    half = 1.96 * np.sqrt(p * (1 - p) / (0.6 * n) + q * (1 - q) / (0.4 * n))
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.35)
    assert found.low < q - p < found.high
    with pytest.raises(OptionError, match="at least 2"):
        ate(scm, rows, "x", "y", groups=None, refits=1)
    given = clinic()
    with pytest.raises(OptionError, match="given, not fitted"):
        ate(given, given.sample(5, seed=0), "edema", "effusion", groups=None, refits=5)


# --- on paper --------------------------------------------------------------------------------------


class SquareMechanism(LinearMechanism):
    """A continuum: M² + weight·X·M + X + normal."""

    def mean(self, pa):
        x, m = pa["x"], pa["m"]
        return m**2 + self.weights * x * m + x


def continuous_scm(outcome, **arguments):
    variables = [Variable(name, "continuous") for name in ("x", "m", "y")]
    graph = CausalGraph(variables, [("x", "m"), ("x", "y"), ("m", "y")], name="continuous")
    x, m, y = (graph.variables[name] for name in ("x", "m", "y"))
    return FlowSCM.from_mechanisms(
        graph,
        {
            "x": LinearMechanism(x, ()),
            "m": LinearMechanism(m, (x,), (0.7,), intercept=0.3, scale=1.2),
            "y": outcome(y, (x, m), **arguments),
        },
    )


def test_linear_model_has_its_textbook_effects():
    """Y = .5 X + .4 M, M = .3 + .7 X: direct .5, indirect .28, total .78 per unit."""
    scm = continuous_scm(LinearMechanism, weights=(0.5, 0.4))
    rows = scm.sample(30, seed=0)
    found = natural_effects(scm, rows, "x", "y", levels=(-1.0, 2.0), **FEW)
    assert found.total.estimate == pytest.approx(3 * 0.78, abs=1e-9)
    assert found.direct.estimate == pytest.approx(3 * 0.5, abs=1e-9)
    assert found.indirect.estimate == pytest.approx(3 * 0.28, abs=1e-9)
    assert ett(scm, rows, "x", "y", levels=(-1.0, 2.0), **FEW).estimate == pytest.approx(3 * 0.78)


def test_interaction_is_in_neither_natural_effect_alone():
    """Y = M² + w X M + X with M = .3 + .7 X + 1.2 u, from 0 to 1: every mean is a polynomial."""
    w = 0.6
    scm = continuous_scm(SquareMechanism, weights=w)
    rows = scm.sample(30, seed=0)

    def y(x, in_m):
        mean = 0.3 + 0.7 * in_m
        return mean**2 + 1.2**2 + w * x * mean + x

    found = natural_effects(scm, rows, "x", "y", levels=(0.0, 1.0), **FEW)
    assert found.total.estimate == pytest.approx(y(1, 1) - y(0, 0), abs=1e-9)
    assert found.direct.estimate == pytest.approx(y(1, 0) - y(0, 0), abs=1e-9)
    assert found.indirect.estimate == pytest.approx(y(0, 1) - y(0, 0), abs=1e-9)
    assert found.reverse.estimate == pytest.approx(y(1, 0) - y(1, 1), abs=1e-9)


@pytest.mark.parametrize(("p", "q"), [(0.2, 0.7), (0.05, 0.1), (0.4, 0.4)])
def test_monotone_pair_has_its_textbook_probabilities_of_causation(p, q):
    """PNS = q − p, PN = (q − p) / q, PS = (q − p) / (1 − p); data alone leave [q − p, min(q, 1 − p)]."""
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
    """P = (.5, .3, .2) → Q = (.2, .5, .3): who is in level k with the cause and was not without."""
    x, y = binary("x"), Variable("y", "nominal", ("a", "b", "c"))
    graph = CausalGraph([x, y], [("x", "y")], name="nominal")
    mechanism = GumbelMechanism(y, (x,))
    with torch.no_grad():
        for parameter in mechanism.parameters():
            parameter.zero_()
    law = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3]], dtype=torch.float64)
    mechanism._log_masses = lambda theta: law.log().expand(max(len(theta), 2), -1)[: len(theta)]
    scm = FlowSCM.from_mechanisms(
        graph, {"x": TableMechanism(x, (), [0.5, 0.5]), "y": mechanism.requires_grad_(False)}
    )
    rows = pd.DataFrame({"x": ["negative", "positive"], "y": ["a", "b"]})
    stays = {"a": 0.2, "b": 0.3, "c": 0.2 * 0.9677}  # P(Y = Y* = k), table of PEERS
    for k, level in enumerate("abc"):
        found = causation(scm, rows, "x", "y", level=level, **FEW).both
        assert found.estimate == pytest.approx(law[1, k].item() - stays[level], abs=1e-4)
        assert found.bounds[0] - 1e-12 <= found.estimate <= found.bounds[1] + 1e-12


# --- paths and worlds, against the definition ------------------------------------------------------


def test_natural_effects_are_the_counted_ones(seen):
    scm, rows, _ = seen
    found = natural_effects(scm, rows, "edema", "effusion", **FEW)
    straight, bent = ("edema", "effusion"), ("edema", "severity", "effusion")
    before = averaged(seen, "edema", plain, along())
    direct = averaged(seen, "edema", plain, along(straight)) - before
    indirect = averaged(seen, "edema", plain, along(bent)) - before
    assert found.direct.estimate == pytest.approx(direct, abs=1e-12)
    assert found.indirect.estimate == pytest.approx(indirect, abs=1e-12)
    assert found.direct.identified


PATHS = [
    ("sex", "edema", "effusion"),
    ("sex", "severity", "effusion"),
    ("sex", "edema", "severity", "effusion"),
]


@pytest.mark.parametrize("chosen", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2), ()])
def test_path_specific_effects_are_the_counted_ones(seen, chosen):
    scm, rows, _ = seen
    paths = [PATHS[i] for i in chosen]
    truth = averaged(seen, "sex", plain, along(*paths)) - averaged(seen, "sex", plain, along())
    found = path_specific_effect(scm, rows, "sex", "effusion", paths=paths, **FEW)
    assert found.estimate == pytest.approx(truth, abs=1e-12)
    recanting = (0 in chosen) != (2 in chosen)  # edema would have to hear of both
    assert found.claim.basis == (
        "construction" if not chosen else "coupling" if recanting else "data"
    )


def test_paths_by_what_they_pass(seen):
    scm, rows, _ = seen
    named = path_specific_effect(scm, rows, "sex", "effusion", through="severity", **FEW)
    listed = path_specific_effect(scm, rows, "sex", "effusion", paths=PATHS[1:], **FEW)
    assert named.estimate == listed.estimate
    whole = path_specific_effect(scm, rows, "sex", "effusion", paths=PATHS, **FEW)
    assert whole.estimate == ate(scm, rows, "sex", "effusion", **FEW).estimate


def test_some_mediators(seen):
    """Held severity alone: what edema does directly follows the cause, and severity reads neither."""
    scm, rows, _ = seen
    found = natural_effects(scm, rows, "sex", "effusion", mediators=["severity"], **FEW)
    truth = averaged(seen, "sex", plain, along(PATHS[0])) - averaged(seen, "sex", plain, along())
    assert found.direct.estimate == pytest.approx(truth, abs=1e-12)
    assert found.direct.claim.basis == "coupling"


@pytest.mark.parametrize("cause", ["edema", "sex"])
def test_mediated_probabilities_of_causation_are_the_counted_ones(seen, cause):
    scm, rows, _ = seen
    both = averaged(seen, cause, lambda a, b: float(a > b), always(1), always(0))
    found = causation(scm, rows, cause, "effusion", **FEW)
    assert found.both.estimate == pytest.approx(both, abs=1e-12)
    for effect in (found.necessity, found.sufficiency, found.both):
        low, high = effect.bounds
        assert -1e-12 <= low <= effect.estimate + 1e-12
        assert effect.estimate <= high + 1e-12 <= 1 + 2e-12


def test_bounds_hold_whatever_the_model():
    """100 random confounded and mediated models: the coupling's value lies within Tian and Pearl's."""
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


# --- identities ------------------------------------------------------------------------------------


def test_decompositions_add_up(seen):
    scm, rows, _ = seen
    for cause in ("edema", "sex"):
        parts = natural_effects(scm, rows, cause, "effusion", **FEW)
        assert abs(parts.total.estimate - parts.direct.estimate + parts.reverse.estimate) < 1e-9
        ctf = ctf_effects(scm, rows, cause, "effusion", **FEW)
        summed = ctf.spurious.estimate + ctf.indirect.estimate - ctf.direct.estimate
        assert abs(ctf.variation.estimate - summed) < 1e-9


def test_group_difference_of_many_sampled_patients_is_the_observed_one():
    """TV comes from the SCM; of patients drawn from it, the table shows the same within its interval."""
    scm = clinic()
    found = ctf_effects(scm, scm.sample(4000, seed=0), "edema", "effusion", **FEW)
    assert found.observed.low < found.variation.estimate < found.observed.high
    assert found.spurious.claim.basis == "data"


@pytest.fixture(scope="module")
def public():
    """The shipped fit of cxr19, and patients drawn from it."""
    scm = cx.load_pretrained("cxr19-public").scm
    return scm, scm.sample(200, seed=0)


@pytest.mark.parametrize("outcome", ["lung_opacity", "edema", "no_finding"])
def test_demographics_of_cxr19_have_no_spurious_part(public, outcome):
    scm, rows = public
    found = ctf_effects(scm, rows, "sex", outcome, **FEW)
    spurious = found.spurious
    assert (spurious.estimate, spurious.low, spurious.high) == (0, 0, 0)
    assert spurious.claim.basis == "construction"
    summed = spurious.estimate + found.indirect.estimate - found.direct.estimate
    assert abs(found.variation.estimate - summed) < 1e-9
    assert (found.direct.claim.basis == "construction") == (outcome != "edema")
    assert (found.indirect.claim.basis == "construction") == (outcome == "edema")
    age = ctf_effects(scm, rows, "age", outcome, levels=(40, 70), **FEW)
    assert age.spurious.estimate == 0


def test_effects_of_cxr19_agree_with_counterfactual_probabilities(public):
    """Averaged over patients of the model, its row-level law gives the effect back (consistency)."""
    scm, _ = public
    rows = scm.sample(3000, seed=1)
    law = [
        scm.counterfactual_probability(rows, {"pleural_effusion": x}, "support_devices")[
            "positive"
        ]
        for x in ("negative", "positive")
    ]
    found = ate(scm, rows, "pleural_effusion", "support_devices", **FEW)
    spread = (law[1] - law[0]).std() / np.sqrt(len(rows))
    assert found.estimate == pytest.approx((law[1] - law[0]).mean(), abs=5 * spread)


# --- draws -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", ["edema", "sex"])
def test_draws_agree_with_tables_within_their_error(seen, cause, monkeypatch):
    scm, rows, _ = seen
    exact = [
        *dataclasses.astuple(natural_effects(scm, rows, cause, "effusion", **FEW))[:3],
        *dataclasses.astuple(causation(scm, rows, cause, "effusion", **FEW)),
    ]
    monkeypatch.setattr(expectation, "MOST_ENTRIES", 0)
    parts = natural_effects(scm, rows, cause, "effusion", num_samples=2000, **FEW)
    chances = causation(scm, rows, cause, "effusion", num_samples=2000, **FEW)
    drawn = [parts.total, parts.direct, parts.indirect]
    drawn += [chances.necessity, chances.sufficiency, chances.both]
    for truth, found in zip(exact, drawn, strict=True):
        if found.claim.basis == "construction":
            continue
        assert 0 < found.monte_carlo_error < 0.02
        assert "Monte-Carlo error" in str(found)
        assert abs(found.estimate - truth[2]) < 5 * found.monte_carlo_error


def test_a_mean_by_draws(monkeypatch):
    scm = continuous_scm(SquareMechanism, weights=0.6)
    rows = scm.sample(50, seed=0)
    exact = ate(scm, rows, "x", "y", levels=(0.0, 1.0), **FEW)
    monkeypatch.setattr(expectation, "MOST_ENTRIES", 0)
    found = ate(scm, rows, "x", "y", levels=(0.0, 1.0), **FEW)
    assert abs(found.estimate - exact.estimate) < 5 * found.monte_carlo_error


# --- what it rests on ------------------------------------------------------------------------------


def hidden_scm(**parts):
    names = [binary(n) for n in "xmy"]
    graph = CausalGraph(names, [("x", "m"), ("m", "y")], name="hidden", **parts)
    half = [[0.7, 0.3], [0.2, 0.8]]
    x, m, y = (graph.variables[n] for n in "xmy")
    mechanisms = {
        "x": TableMechanism(x, (), [0.5, 0.5]),
        "m": TableMechanism(m, (x,), half),
        "y": TableMechanism(y, (m,), half),
    }
    return FlowSCM.from_mechanisms(graph, mechanisms)


@pytest.mark.parametrize(
    ("parts", "basis", "words"),
    [
        ({}, "data", "nothing"),
        ({"hidden": [HiddenCause("u", ("m", "y"))]}, "model", "u"),
        ({"hidden": [HiddenCause("u", ("x", "y"))]}, "model", "does not count"),  # front door
        ({"hidden": [HiddenCause("u", ("x", "m", "y"))]}, "model", "hedge"),
        ({"selection": [Selection("s", ("x", "y"))]}, "model", "selection"),
    ],
)
def test_verdict_follows_from_the_graph(parts, basis, words):
    """An effect that is identified by a formula which is not the SCM's is still the model's claim."""
    scm = hidden_scm(**parts)
    found = ate(scm, scm.sample(10, seed=0), "x", "y", **FEW)
    assert found.claim.basis == basis
    assert found.identified == (basis == "data")
    assert words in found.statement
    parts = natural_effects(scm, scm.sample(10, seed=0), "x", "y", **FEW)
    assert parts.indirect.claim.basis == basis


def test_what_the_fit_never_observed_is_hidden(public):
    """Race is in no public table, and causes both cardiomegaly and edema."""
    scm, rows = public
    assert "race" not in scm.mechanisms
    found = ate(scm, rows, "sex", "lung_opacity", **FEW)
    assert not found.identified
    assert ate(scm, rows, "pleural_effusion", "support_devices", **FEW).identified


def test_an_effect_is_one_line(seen):
    scm, rows, _ = seen
    line = str(ate(scm, rows, "edema", "effusion", **FEW))
    assert "\n" not in line
    assert line.startswith("ATE, edema negative → positive on P(effusion = positive): -0.")
    assert line.endswith("follows from data, the graph granted (adjust for sex)")
    assert "bounds" in str(causation(scm, rows, "edema", "effusion", **FEW))
    assert "Ctf-SE" in str(ctf_effects(scm, rows, "edema", "effusion", **FEW))
    assert "mediators: severity" in str(natural_effects(scm, rows, "edema", "effusion", **FEW))


# --- levels as numbers and truth values --------------------------------------------------------------

SPELLINGS = [
    1,
    True,
    1.0,
    np.int64(1),
    np.float32(1),
    np.bool_(True),
    np.str_("Male"),
    np.array(1),
]


@pytest.mark.parametrize("one", SPELLINGS, ids=repr)
def test_levels_are_named_as_in_a_table(seen, one):
    """Wherever a level is named: given=, levels= and level= take what tables and `do` take."""
    scm, rows, _ = seen
    word = cate(scm, rows, "edema", "effusion", {"sex": "Male"}, **FEW)
    for wanted in (one, [one], (one, one)):
        assert str(cate(scm, rows, "edema", "effusion", {"sex": wanted}, **FEW)) == str(word)
    assert word.name == "CATE (sex = Male)"
    other = ~np.bool_(True) if isinstance(one, bool | np.bool_) else 0
    if isinstance(one, str):
        other = "Female"
    back = ate(scm, rows, "sex", "effusion", levels=(one, other), **FEW)
    assert str(back) == str(ate(scm, rows, "sex", "effusion", levels=("Male", "Female"), **FEW))
    assert "sex Male → Female" in back.of
    if not isinstance(one, str):
        asked = ate(scm, rows, "sex", "effusion", level=one, **FEW)
        assert str(asked) == str(ate(scm, rows, "sex", "effusion", **FEW))
        chances = causation(scm, rows, "sex", "effusion", level=one, **FEW)
        assert str(chances) == str(causation(scm, rows, "sex", "effusion", **FEW))


def test_a_level_by_number_is_that_of_the_table(seen):
    """levels=(0, 1) is the default of a binary cause, level=0 the other one of a binary outcome."""
    scm, rows, _ = seen
    plain = ate(scm, rows, "sex", "effusion", **FEW)
    for levels in ((0, 1), [False, True], np.array([0, 1]), pd.Series([0, 1])):
        assert str(ate(scm, rows, "sex", "effusion", levels=levels, **FEW)) == str(plain)
    negative = ate(scm, rows, "sex", "effusion", level=0, **FEW)
    assert negative.estimate == pytest.approx(-plain.estimate)
    assert "effusion = negative" in negative.of


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"sex": 2}, "'sex' has no level 2. Allowed: Female, Male"),
        ({"sex": np.int64(7)}, "'sex' has no level 7. Allowed"),
        ({"sex": None}, "'sex' has no level None"),
        ({"sex": np.nan}, "'sex' has no level nan"),
        ({"sex": pd.NA}, "'sex' has no level <NA>"),
        ({"sex": []}, "no level of 'sex' is asked for; allowed: 'Female', 'Male'"),
        ({"sex": [["Male"]]}, "'sex' has no level"),
        ({"age": True}, "give a number or"),
        ({"age": None}, "give a number or"),
        ({"age": (50, 30)}, "give a number or"),
        ({"age": (30, 40, 50)}, "give a number or"),
        ({"age": (30, np.nan)}, "give a number or"),
        ("sex", "given is a mapping"),
    ],
)
def test_a_level_that_does_not_exist_is_refused(seen, given, match):
    scm, rows, _ = seen
    with pytest.raises(OptionError, match=match):
        cate(scm, rows, "edema", "effusion", given, **FEW)


@pytest.mark.parametrize(
    "levels", [0.5, "Male", ("Male",), ([0, 1], 1), ({"Male": 1.0}, 0), (str, 0)]
)
def test_levels_that_are_not_two_values_are_refused(seen, levels):
    scm, rows, _ = seen
    with pytest.raises(OptionError, match="are two values"):
        ate(scm, rows, "sex", "effusion", levels=levels, **FEW)


@pytest.mark.parametrize("levels", [(0, 2), (None, 1), (0, np.nan)])
def test_the_cause_is_set_only_to_what_do_takes(seen, levels):
    scm, rows, _ = seen
    with pytest.raises(InterventionError, match=r"(?i)allowed: 'Female', 'Male'"):
        ate(scm, rows, "sex", "effusion", levels=levels, **FEW)


# --- few patients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 6])
def test_one_patient_has_no_interval(seen, rows):
    """Resamples of one patient are all the same: an interval of no width would claim certainty."""
    scm, table, _ = seen
    some = table.head(rows).assign(who="one")
    ask = {"groups": "who", "resamples": 50}
    parts = natural_effects(scm, some, "edema", "effusion", **ask)
    chances = causation(scm, some, "edema", "effusion", **ask)
    ctf = ctf_effects(scm, some, "edema", "effusion", **ask)
    effects = [parts.total, parts.indirect, chances.both, ctf.variation, ctf.spurious]
    effects += [ett(scm, some, "edema", "effusion", **ask)]
    for effect in effects:
        assert np.isnan([effect.low, effect.high]).all()
        assert "without an interval (1 patient)" in str(effect)
    assert np.isnan(chances.both.bounds_interval).all()
    assert np.isnan([ctf.observed.low, ctf.observed.high]).all()


# --- what cannot be asked --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "match", "arguments", "options"),
    [
        (GraphError, "did you mean 'edema'", ("edemaa", "effusion"), {}),
        (GraphError, "'lungs' is not in graph", ("edema", "lungs"), {}),
        (GraphError, "zero by construction", ("effusion", "edema"), {}),
        (GraphError, "zero by construction", ("edema", "edema"), {}),
        (
            OptionError,
            "two different values",
            ("edema", "effusion"),
            {"levels": ("positive",) * 2},
        ),
        (OptionError, r"levels=\(from, to\)", ("age", "effusion"), {}),
        (OptionError, "are two values", ("edema", "effusion"), {"levels": "positive"}),
        (InterventionError, "allowed", ("edema", "effusion"), {"levels": ("negative", "pos")}),
        (InterventionError, "out of bounds", ("age", "effusion"), {"levels": (30, 300)}),
        (OptionError, "did you mean 'positive'", ("edema", "effusion"), {"level": "positiv"}),
        (OptionError, "Allowed: none, mild, severe", ("edema", "severity"), {}),
        (OptionError, "'difference' or 'ratio'", ("edema", "effusion"), {"scale": "odds"}),
        (OptionError, "seed", ("edema", "effusion"), {"seed": 0.5}),
        (TableError, "'patient' is not a column", ("edema", "effusion"), {"groups": "patient"}),
        (TableError, "3 groups for 40 rows", ("edema", "effusion"), {"groups": np.zeros(3)}),
        (OptionError, "between 0 and 1; found 1.5", ("edema", "effusion"), {"confidence": 1.5}),
    ],
)
def test_a_question_that_cannot_be_answered(seen, error, match, arguments, options):
    scm, rows, _ = seen
    with pytest.raises(error, match=match):
        ate(scm, rows, *arguments, **{**FEW, **options})


def test_patients_that_cannot_be_chosen(seen):
    scm, rows, _ = seen
    ask = ("edema", "effusion")
    with pytest.raises(GraphError, match="changes with 'edema'"):
        cate(scm, rows, *ask, {"severity": "mild"}, **FEW)
    with pytest.raises(OptionError, match="no level 'male'; did you mean 'Male'"):
        cate(scm, rows, *ask, {"sex": "male"}, **FEW)
    with pytest.raises(OptionError, match="number or"):
        cate(scm, rows, *ask, {"age": "old"}, **FEW)
    with pytest.raises(TableError, match="no row has"):
        cate(scm, rows, *ask, {"age": (21, 22)}, **FEW)
    with pytest.raises(TableError, match="no rows"):
        ate(scm, rows.head(0), *ask, **FEW)


def test_paths_that_do_not_exist(seen):
    scm, rows, _ = seen
    with pytest.raises(OptionError, match="give either"):
        path_specific_effect(scm, rows, "sex", "effusion", **FEW)
    with pytest.raises(GraphError, match="sex → view → effusion is not a causal path"):
        path_specific_effect(
            scm, rows, "sex", "effusion", paths=[("sex", "view", "effusion")], **FEW
        )
    with pytest.raises(GraphError, match="does not mediate"):
        path_specific_effect(scm, rows, "sex", "effusion", through="view", **FEW)
    with pytest.raises(GraphError, match="does not mediate"):
        natural_effects(scm, rows, "sex", "effusion", mediators=["age"], **FEW)


def test_continuous_outcomes_have_means_only():
    scm = continuous_scm(LinearMechanism, weights=(0.5, 0.4))
    rows = scm.sample(10, seed=0)
    with pytest.raises(OptionError, match="risk ratio"):
        ate(scm, rows, "x", "y", levels=(0.0, 1.0), scale="ratio", **FEW)
    with pytest.raises(OptionError, match="ask of an event"):
        causation(scm, rows, "x", "y", levels=(0.0, 1.0), **FEW)
    with pytest.raises(OptionError, match="leave level out"):
        ate(scm, rows, "x", "y", levels=(0.0, 1.0), level="high", **FEW)


def test_what_was_never_observed_cannot_be_asked(public):
    scm, rows = public
    with pytest.raises(UnobservedError, match="race"):
        ate(scm, rows, "race", "edema", levels=("White", "Black"), **FEW)
