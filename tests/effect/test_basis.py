"""What an effect says that it rests on: the graph with its hidden causes and its selection."""

import pytest
from closed_form import TableMechanism, binary

from cxrcausal.effect import (
    ate,
    cate,
    causation,
    ctf_effects,
    ett,
    natural_effects,
)
from cxrcausal.graph import CausalGraph, HiddenCause, Selection
from cxrcausal.scm import FlowSCM

FEW = {"groups": None, "resamples": 20}


def scm_of(arrows, hidden=(), selection=(), unobserved=()):
    """An SCM over binary variables, each more likely the more of its parents are positive."""
    edges = [tuple(e.split(">")) for e in arrows.split()]
    names = sorted({v for e in edges for v in e} | {v for h in hidden for v in h if v.islower()})
    graph = CausalGraph(
        [binary(v) for v in names],
        edges,
        hidden=[HiddenCause(f"u{i}", tuple(h)) for i, h in enumerate(hidden)],
        selection=[Selection(f"S{i}", tuple(s)) for i, s in enumerate(selection)],
    )
    mechanisms = {}
    for v in graph.topological_order:
        if v not in unobserved:
            parents = tuple(graph.variables[p] for p in graph.parents(v) if p not in unobserved)
            mechanisms[v] = TableMechanism(graph.variables[v], parents, table(len(parents)))
    return FlowSCM.from_mechanisms(graph, mechanisms)


def table(parents):
    if not parents:
        return [0.6, 0.4]
    less, more = table(parents - 1), table(parents - 1)
    return [shifted(less, -0.1), shifted(more, 0.15)]


def shifted(values, by):
    if isinstance(values[0], float):
        return [values[0] - by, values[1] + by]
    return [shifted(v, by) for v in values]


def test_a_conditional_effect_has_a_verdict_of_its_own():
    """One figure for both strata, which a hidden cause ties to the outcome, is the model's."""
    scm = scm_of("x>y", hidden=["zx", "zy"])
    rows = scm.sample(40, seed=0)
    assert ate(scm, rows, "x", "y", **FEW).identified
    strata = [cate(scm, rows, "x", "y", {"z": level}, **FEW) for level in ("negative", "positive")]
    assert strata[0].estimate == pytest.approx(strata[1].estimate)
    assert all(s.claim.basis == "model" and "hedge" in s.statement for s in strata)
    scm = scm_of("z>x z>y x>y")
    found = cate(scm, scm.sample(40, seed=0), "x", "y", {"z": "positive"}, **FEW)
    assert found.identified
    assert "P(" not in found.statement


def asked(scm, cause="x", outcome="y"):
    """Every effect of one cause on one outcome, by its name."""
    rows = scm.sample(40, seed=0)
    natural = natural_effects(scm, rows, cause, outcome, **FEW)
    ctf = ctf_effects(scm, rows, cause, outcome, **FEW)
    found = [
        ate(scm, rows, cause, outcome, **FEW),
        ett(scm, rows, cause, outcome, **FEW),
        natural.direct, natural.indirect, natural.reverse,
        ctf.variation, ctf.direct, ctf.indirect, ctf.spurious,
    ]  # fmt: skip
    return {effect.name: effect for effect in found}


def test_a_hidden_common_cause_is_no_construction():
    """The fitted parents of x are none, and yet a hidden cause ties it to y."""
    found = asked(scm_of("x>y", hidden=["xy"]))
    assert found["Ctf-SE"].claim.basis == "model"
    assert found["TV"].claim.basis == "data"  # two variables and an arrow: any difference fits
    assert found["ETT"].claim.basis == "model"
    assert "same as the ATE" not in found["ETT"].statement
    assert (
        found["Ctf-IE"].claim.basis == "construction"
    )  # nothing lies between, whatever is hidden
    apart = asked(scm_of("x>y z>y", hidden=["zy"]))
    assert apart["Ctf-SE"].claim.basis == "construction"
    assert "same as the ATE" in apart["ETT"].statement


def test_selection_ties_two_roots():
    """Who is selected depends on both, so among them one tells of the other."""
    tied = asked(scm_of("x>y z>y", selection=["xz"]))
    assert tied["Ctf-SE"].claim.basis == "model"
    assert tied["TV"].claim.basis == "model"
    assert "x depends on 'z' in the data, and not in the SCM" in tied["TV"].statement
    assert "observed difference" in tied["TV"].statement
    assert tied["ATE"].claim.basis == "model"
    alone = asked(scm_of("x>y z>y", selection=["x"]))
    assert alone["Ctf-SE"].claim.basis == "construction"
    assert {name for name, e in alone.items() if e.claim.basis == "data"} == {
        "ATE", "ETT", "NDE", "TV", "Ctf-DE of the way back",
    }  # fmt: skip
    below = asked(scm_of("x>y", selection=["y"]))
    assert below["Ctf-SE"].claim.basis == "model"  # zero among all, not among the selected
    assert below["ATE"].claim.basis == "model"


def test_a_difference_that_the_scm_does_not_have():
    """TV follows from data where the SCM has every dependence, whatever is hidden."""
    assert asked(scm_of("x>m m>y"))["TV"].claim.basis == "data"
    found = asked(scm_of("x>m m>y", hidden=["xy"]))["TV"]
    assert found.claim.basis == "model"
    assert "y depends on 'x' in the data, and not in the SCM" in found.statement


def test_what_the_fit_never_observed_may_carry_an_effect():
    """x acts on y through m too, which nobody recorded: no arrow in the SCM is no construction."""
    scm = scm_of("x>m m>y x>k k>y", unobserved=["m"])
    found = asked(scm)
    assert found["NDE"].claim.basis == found["ATE"].claim.basis == "model"
    assert "'x' acts on y through what the fit never observed" in found["NDE"].statement
    assert found["NDE"].estimate == 0
    assert asked(scm_of("x>k k>y"))["NDE"].claim.basis == "construction"


def test_what_the_fit_takes_for_unmoved_is_no_adjustment():
    """k descends from x through m, which nobody recorded; the SCM averages over it as it is."""
    scm = scm_of("x>m m>k k>y x>y", hidden=["my"], unobserved=["m"])
    found = asked(scm)
    for name in ("ATE", "ETT", "NDE"):
        assert found[name].claim.basis == "model"


@pytest.mark.parametrize(
    ("arrows", "hidden", "formula"),
    [
        ("x>m m>y", ["xy"], "Σ_{m} P(m | x) Σ_{x′} P(x′) P(y | x′, m)"),
        ("w>z z>x x>y", ["wx", "wy"], "[Σ_{w} P(w) P(x | w, z) P(y | w, z, x)] / ["),
    ],
)
def test_another_formula_is_named(arrows, hidden, formula):
    """The front door and the napkin are identified by data, by sums that are not taken here."""
    found = asked(scm_of(arrows, hidden=hidden))
    treated = "[P(y | do(x)) − P(x, y)] / P(x′) with P(y | do(x)) = "
    for name, before in (("ATE", ""), ("ETT", treated)):
        assert found[name].claim.basis == "model"
        assert not found[name].identified
        assert f"data identify it by {before}{formula}" in found[name].statement
        assert "which is not computed here (hidden causes tie" in found[name].statement
    assert "by" not in asked(scm_of("x>y", hidden=["xy"]))["ATE"].statement.split("(")[0]


def test_a_formula_of_those_alike():
    scm = scm_of("x>m m>y w>x w>y", hidden=["xy"])
    found = cate(scm, scm.sample(40, seed=0), "x", "y", {"w": "positive"}, **FEW)
    assert found.claim.estimand == scm.graph.identifiable("x", "y", "w").estimand
    pooled = {"w": ["positive", "negative"]}
    assert (
        "in each stratum" in cate(scm, scm.sample(40, seed=0), "x", "y", pooled, **FEW).statement
    )


def test_strata_that_are_pooled_have_shares():
    """Selection by w leaves the effect given w alone, not that given one of two values of w."""
    scm = scm_of("w>x w>y x>y", selection=["w"])
    rows = scm.sample(40, seed=0)
    assert cate(scm, rows, "x", "y", {"w": "positive"}, **FEW).identified
    assert not cate(scm, rows, "x", "y", {"w": ["positive", "negative"]}, **FEW).identified
    assert not ate(scm, rows, "x", "y", **FEW).identified


def test_bounds_of_causation_need_the_shares_of_both_groups():
    def statement(*parts, **more):
        scm = scm_of(*parts, **more)
        return causation(scm, scm.sample(40, seed=0), "x", "y", **FEW).both.statement

    assert "its bounds follow from data" in statement("w>x w>y x>y")
    assert "its bounds follow from data" in statement("x>y", selection=["x"])
    assert "bounds are a claim of the model" in statement("x>y", hidden=["xy"])
    assert "bounds are a claim of the model" in statement("w>x w>y x>y", selection=["x"])


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
    """An effect that data identify by a formula other than the SCM's is the model's claim."""
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
