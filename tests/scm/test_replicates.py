"""Replicates of a fit's parameters vary as the parameters do from one sample of patients to
another.
"""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch
from closed_form import binary
from simulated import GRAPH, patients

import cxrcausal as cx
from cxrcausal.errors import CheckpointError, OptionError
from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm.fit.choice import fit_mechanism
from cxrcausal.scm.fit.nodewise import keep_replicates
from cxrcausal.scm.replicates import (
    DRAWS,
    parameter_count,
    patient_weights,
    replicate,
    stepped,
    words_of_patients,
)
from cxrcausal.scm.table import check_table, encode

X, Y = binary("x"), binary("y")
MARK = Variable("mark", "nominal", ("a", "b", "c"))
SIZE = Variable("size", "continuous")
LOOSE = (
    0.25  # of DRAWS normal numbers the standard deviation is off by a fourteenth: three and a half
)


def pair(rows, seed=0, p=(0.3, 0.55)):
    draw = np.random.default_rng(seed)
    x = draw.random(rows) < 0.4
    return pd.DataFrame({"x": x, "y": draw.random(rows) < np.where(x, p[1], p[0])})


def fitted(variables, edges, table, groups=None, **options):
    graph = CausalGraph(variables, edges, name="small")
    return cx.FlowSCM(graph, **options).fit(table, groups, progress=False)


def spread(scm, name):
    return scm._state.replicates.steps[name].std(0).numpy()


# --- weights -------------------------------------------------------------------------------------


def test_weights_belong_to_patients():
    """The same label has the same weights, wherever it stands; another label or seed has
    others.
    """
    codes, words = words_of_patients(np.array(["b", "a", "b", 3], object), pd.RangeIndex(4))
    assert codes.tolist() == [0, 1, 0, 2]
    weights = patient_weights(words, seed=1)
    assert weights.shape == (3, DRAWS)
    _, again = words_of_patients(np.array([3.0, "a"], object), pd.RangeIndex(2))
    assert (patient_weights(again, seed=1) == weights[[2, 1]]).all()
    assert (patient_weights(words, 1, slice(10, 20)) == weights[:, 10:20]).all()
    assert abs(np.corrcoef(patient_weights(words, 2)[0], weights[0])[0, 1]) < 0.4


def test_weights_have_mean_zero_and_variance_one():
    weights = patient_weights(words_of_patients(None, pd.RangeIndex(5000))[1], seed=0)
    assert weights.min() > -1
    assert weights.mean() == pytest.approx(0, abs=0.01)
    assert weights.var() == pytest.approx(1, abs=0.03)
    assert np.abs(np.corrcoef(weights.T) - np.eye(DRAWS)).max() < 0.08


# --- against closed forms ------------------------------------------------------------------------


def test_a_logit_varies_by_its_information():
    """Of one binary parent: Var(logit p) = 1 / (n p (1 − p)), of the difference the sum of two."""
    n = 3000
    scm = fitted([X, Y], [("x", "y")], pair(n))
    weight, bias = spread(scm, "y")
    without, within = (1 / (share * n * p * (1 - p)) for share, p in ((0.6, 0.3), (0.4, 0.55)))
    assert bias == pytest.approx(np.sqrt(without), rel=LOOSE)
    assert weight == pytest.approx(np.sqrt(without + within), rel=LOOSE)


def test_radiographs_of_one_patient_count_once():
    """Ten copies of every row, said to be of one patient, leave the spread; taken as rows, a
    third.
    """
    table = pair(600)
    copies = pd.concat([table] * 10, ignore_index=True).assign(who=np.tile(np.arange(600), 10))
    once, again = fitted([X, Y], [("x", "y")], table), fitted([X, Y], [("x", "y")], copies, "who")
    assert spread(again, "y") == pytest.approx(spread(once, "y"), rel=0.02)
    naive = fitted([X, Y], [("x", "y")], copies)
    assert spread(naive, "y") == pytest.approx(spread(once, "y") / np.sqrt(10), rel=LOOSE)
    assert (once._state.replicates.by_patient, again._state.replicates.by_patient) == (False, True)
    assert (again._state.replicates.patients, naive._state.replicates.patients) == (600, 6000)


def refitted(scm, name, table, function, times=60):
    """Returns a function of mechanisms that are fitted anew, weighted as the Bayesian bootstrap
    weights.
    """
    variable, parents = scm.mechanisms[name].variable, scm.mechanisms[name].parents
    values = encode(check_table(table, scm.graph), scm.graph)
    draw, found = np.random.default_rng(7), []
    for _ in range(times):
        weights = draw.exponential(size=len(table))
        anew = fit_mechanism(
            variable, parents, values, family=scm.family, hidden=scm.hidden, weights=weights
        )
        found.append(function(anew))
    return np.array(found)


def replicated(scm, name, function):
    """Returns the function of every replicate of a mechanism, to first order."""
    fitted, steps = np.array(function(scm.mechanisms[name])), scm._state.replicates.steps
    worlds = stepped(scm.mechanisms, {name: steps[name]}, share=0.1)
    return fitted + np.array([function(world[name]) - fitted for world in worlds]) / 0.1


def test_levels_vary_as_those_of_refits():
    """Three levels of two parents, one of them continuous: the probabilities at three places."""
    draw, n = np.random.default_rng(2), 900
    x, size = draw.random(n) < 0.5, draw.normal(size=n)
    logits = np.stack([np.zeros(n), 0.8 * x + 0.5 * size, -0.5 + 0.7 * size], 1)
    mark = (logits + draw.gumbel(size=(n, 3))).argmax(1)
    table = pd.DataFrame({"x": x, "size": size, "mark": np.array(["a", "b", "c"])[mark]})
    edges = [("x", "mark"), ("size", "mark")]
    scm = fitted([X, SIZE, MARK], edges, table, hidden=())
    at = {"x": torch.tensor([0.0, 1, 1]).double(), "size": torch.tensor([-1.0, 0, 1.2]).double()}

    def chance(mechanism):
        return mechanism.log_probs(at).exp().flatten().numpy()

    ours, theirs = replicated(scm, "mark", chance), refitted(scm, "mark", table, chance)
    assert ours.std(0) == pytest.approx(theirs.std(0), rel=0.4)
    assert np.median(ours.std(0) / theirs.std(0)) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("family", ["nsf", "cnf"])
def test_a_mean_varies_by_the_error_of_least_squares(family):
    """Y = 2 X + normal: the mean of Y at X = 1 is one of .4 n rows, so off by 1 / √(.4 n)."""
    n = 2000
    table = pair(n).drop(columns="y")
    table["size"] = 2.0 * table["x"] + np.random.default_rng(3).normal(size=n)
    scm = fitted([X, SIZE], [("x", "size")], table, family=family)
    z = torch.linspace(-4, 4, 81, dtype=torch.float64)
    weight = torch.softmax(-0.5 * z**2, 0)

    def mean(mechanism):
        return [float(mechanism.predict(z[:, None], {"x": torch.ones(81).double()}) @ weight)]

    assert replicated(scm, "size", mean).std() == pytest.approx(1 / np.sqrt(0.4 * n), rel=0.35)


def test_ages_at_their_bounds_are_no_obstacle():
    """The outermost intervals are open, and their curvature is a number all the same."""
    table = pair(3000).drop(columns="y")
    age = 50 + 8 * table["x"] + 20 * np.random.default_rng(5).normal(size=len(table))
    table["age"] = age.round().clip(0, 100)
    assert {0.0, 100.0} <= set(table["age"])
    years = Variable("age", "continuous", bounds=(0.0, 100.0), resolution=1.0)
    scm = fitted([X, years], [("x", "age")], table, family="cnf")
    assert torch.isfinite(scm._state.replicates.steps["age"]).all()
    assert spread(scm, "age")[0] > 0


def test_rates_of_a_definition_vary_as_shares():
    table = patients(3000, seed=0)
    scm = cx.FlowSCM(GRAPH, hidden=()).fit(table, "patient", progress=False)
    rate, step = scm.mechanisms["clear"].rates, spread(scm, "clear")
    assert step.shape == (rate.numel(),)
    assert ((replicated(scm, "clear", lambda m: m.rates.flatten().numpy())) > 0).all()
    values = encode(check_table(table, GRAPH), GRAPH)
    counted = torch.stack([values[p.name] for p in scm.mechanisms["clear"].counted]).amax(0)
    for state in (0, 1):
        n, p = int((counted == state).sum()), float(rate.flatten()[state])
        assert step[state] == pytest.approx(np.sqrt(p * (1 - p) / n), rel=2 * LOOSE)


def test_what_replicates_share():
    """Of one residual more in both: the errors of two mechanisms that are the same function are
    the same.
    """
    table = pair(800).assign(z=lambda t: t["y"])
    scm = fitted([X, Y, binary("z")], [("x", "y"), ("x", "z")], table)
    steps = scm._state.replicates.steps
    assert torch.allclose(steps["y"], steps["z"])


def test_directions_make_up_the_steps():
    """A few parameters need a few directions; no mechanism, and none without steps, needs none."""
    scm = fitted([X, Y], [("x", "y")], pair(300))
    kept = scm._state.replicates
    times, directions = kept.directions(["x", "y"])
    assert times.shape == (DRAWS, 3)
    for name in ("x", "y"):
        assert directions[name].shape[0] == 3
        step = torch.from_numpy(times) @ directions[name]
        torch.testing.assert_close(step, kept.steps[name])
    assert (times**2).mean(0) == pytest.approx([1, 1, 1])


# --- keeping -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hospital():
    table = patients(800, seed=0, unknown=0.05)
    return cx.FlowSCM(GRAPH).fit(table, "patient", progress=False), table


def test_every_parameter_of_a_regression_is_stepped(hospital):
    scm, table = hospital
    kept = scm._state.replicates
    for name, step in kept.steps.items():
        assert step.shape == (DRAWS, parameter_count(scm.mechanisms[name]))
        assert torch.isfinite(step).all()
    with_parents = {name for name, m in scm.mechanisms.items() if m.parents}
    assert with_parents <= set(kept.steps)
    before = {name: m.state_dict() for name, m in scm.mechanisms.items()}
    again = replicate(
        scm.mechanisms,
        encode(check_table(table, GRAPH), GRAPH),
        table["patient"],
        table.index,
        kept.seed,
    )
    for name, step in kept.steps.items():
        assert torch.equal(again.steps[name], step)
    assert len(list(stepped(scm.mechanisms, kept.steps))) == DRAWS
    for name, state in before.items():  # the fitted ones are left as they are
        for key, tensor in scm.mechanisms[name].state_dict().items():
            assert torch.equal(tensor, state[key])


def test_order_of_rows_does_not_matter(hospital):
    scm, table = hospital
    mixed = table.sample(frac=1, random_state=0)
    other = replicate(
        scm.mechanisms,
        encode(check_table(mixed, GRAPH), GRAPH),
        mixed["patient"],
        mixed.index,
        scm._state.replicates.seed,
    )
    for name, step in scm._state.replicates.steps.items():
        torch.testing.assert_close(other.steps[name], step, atol=1e-8, rtol=1e-6)


def test_what_keeps_no_replicates(hospital):
    scm, table = hospital
    assert cx.FlowSCM.from_mechanisms(GRAPH, scm.mechanisms)._state.replicates is None
    em = cx.FlowSCM(GRAPH, hidden=()).fit(table.head(200), "patient", missing="em", progress=False)
    assert em._state.replicates is None


def test_saved_and_read(hospital, tmp_path):
    scm, _ = hospital
    scm.save(tmp_path / "scm")
    kept, read = scm._state.replicates, cx.FlowSCM.load(tmp_path / "scm")._state.replicates
    assert set(read.steps) == set(kept.steps)
    for name, step in kept.steps.items():
        torch.testing.assert_close(read.steps[name], step, atol=1e-7, rtol=1e-6)
        assert read.steps[name].dtype == torch.float64
    plain = {f.name for f in dataclasses.fields(kept)} - {"steps"}
    assert all(getattr(read, name) == getattr(kept, name) for name in plain)


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda f, d: (f / "replicates.safetensors").unlink(), "there is no such file"),
        (lambda f, d: (f / "replicates.safetensors").write_bytes(b"0"), "of different saves"),
        (lambda f, d: d["replicates"].pop("seed"), r"key 'replicates\.seed' is missing"),
        (lambda f, d: d["replicates"].update(patients="9"), "expected int"),
        (lambda f, d: d["replicates"].pop("tensors_sha256"), "'tensors_sha256' is missing"),
    ],
)
def test_damaged_replicates_are_refused(hospital, tmp_path, damage, match):
    folder = tmp_path / "scm"
    hospital[0].save(folder)
    description = json.loads((folder / "scm.json").read_text())
    damage(folder, description)
    (folder / "scm.json").write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match=match):
        cx.FlowSCM.load(folder)


def test_replicates_of_other_mechanisms_are_refused(hospital, tmp_path):
    """Two saves of one folder name: each file is whole, but they do not belong together."""
    small = fitted([X, Y], [("x", "y")], pair(200))
    kept = dataclasses.replace(
        small._state.replicates, steps={"y": torch.zeros(DRAWS, 5, dtype=torch.float64)}
    )
    small._fitted = dataclasses.replace(small._fitted, replicates=kept)
    small.save(tmp_path / "scm")
    with pytest.raises(CheckpointError, match=r"'y' has shape \(100, 5\); its mechanism needs"):
        cx.FlowSCM.load(tmp_path / "scm")


def test_replicates_are_drawn_later_from_the_fits_own_table(hospital):
    """The same ones, for an SCM that kept none; another table, a given SCM and EM are refused."""
    scm, table = hospital
    old = cx.FlowSCM(GRAPH)
    old._fitted = dataclasses.replace(scm._fitted, replicates=None)
    with pytest.raises(OptionError, match=f"{scm.data_fingerprint}.*this table has other rows"):
        keep_replicates(old, table.head(50), "patient")
    assert old._state.replicates is None
    keep_replicates(old, table, "patient", seed=scm._state.replicates.seed)
    for name, step in scm._state.replicates.steps.items():
        assert torch.equal(old._state.replicates.steps[name], step)
    given = cx.FlowSCM.from_mechanisms(GRAPH, scm.mechanisms)
    with pytest.raises(OptionError, match="its mechanisms were given"):
        keep_replicates(given, table, "patient")
    em = cx.FlowSCM(GRAPH, hidden=()).fit(table.head(200), "patient", missing="em", progress=False)
    with pytest.raises(OptionError, match="fitted by EM"):
        keep_replicates(em, table.head(200), "patient")


def test_a_folder_from_before_is_read(hospital, tmp_path):
    scm, _ = hospital
    scm.save(tmp_path / "scm")
    description = json.loads((tmp_path / "scm" / "scm.json").read_text())
    del description["replicates"]
    (tmp_path / "scm" / "scm.json").write_text(json.dumps(description))
    assert cx.FlowSCM.load(tmp_path / "scm")._state.replicates is None
