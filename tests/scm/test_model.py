"""The SCM as its users meet it: tables in, tables out, and what it says when it cannot."""

import copy
import logging
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from closed_form import COMPLETE, LinearMechanism, clinic, table_of
from simulated import GRAPH, patients

from cxrcausal.errors import (
    CxrCausalError,
    GraphError,
    InterventionError,
    NotFittedError,
    OptionError,
    TableError,
    UnobservedError,
)
from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm import Exogenous, FlowSCM, healthy, scale, shift

TABLE = patients(400, seed=0, unknown=0.03)
ROWS = patients(40, seed=1, unknown=0.1, always=["pressure"])


@pytest.fixture(scope="module")
def scm():
    """A fitted SCM of the simulated hospital."""
    return FlowSCM(GRAPH, family="nsf", hidden=()).fit(TABLE, groups="patient", progress=False)


def test_fit_leaves_out_what_was_never_observed(scm):
    """No mechanism for it, and it is no parent; the levels and ranges that were seen are kept."""
    assert "ward" not in scm.mechanisms
    assert "ward" not in scm.observed
    assert [p.name for p in scm.mechanisms["edema"].parents] == ["site", "age", "sex", "pressure"]
    assert scm.observed["view"] == ("PA", "AP")
    assert scm.observed["age"] == (TABLE["age"].min(), TABLE["age"].max())
    assert "never observed: ward" in repr(scm)


def test_sample(scm):
    """New patients within the support, the never observed variable unknown."""
    new = scm.sample(500, seed=0)
    assert new.columns.tolist() == list(GRAPH.variables)
    assert new["ward"].isna().all()
    assert not new.drop(columns="ward").isna().any().any()
    assert set(new["view"]) == {"PA", "AP"}
    assert new["age"].between(0, 99).all()
    assert (new["age"] == new["age"].round()).all()
    pd.testing.assert_frame_equal(new, scm.sample(500, seed=0))
    assert not new.equals(scm.sample(500, seed=1))
    set_here = scm.sample(500, do={"sex": "Male", "age": shift(0)}, seed=0)
    assert (set_here["sex"] == "Male").all()
    pd.testing.assert_series_equal(set_here["age"], new["age"])


def test_score_and_log_prob_agree_on_complete_rows(scm):
    """The log-probability of a complete row is the sum of its scores."""
    complete = ROWS[ROWS.drop(columns="ward").notna().all(axis=1)]
    assert len(complete) > 5
    score = scm.score(complete)
    assert score.columns.tolist() == list(scm.mechanisms)
    np.testing.assert_allclose(score.sum(axis=1), scm.log_prob(complete), rtol=1e-12)
    total = scm.score(complete, per_variable=False)
    np.testing.assert_allclose(total, scm.log_prob(complete), rtol=1e-12)


def test_score_of_unknown_cells(scm):
    """NaN where the variable or an observed parent is unknown; a positive finding decides
    `clear`.
    """
    row = ROWS[ROWS.drop(columns="ward").notna().all(axis=1)].head(1)
    without = row.assign(edema=np.nan)
    score = scm.score(without).iloc[0]
    assert score[["edema", "stage", "effusion", "view"]].isna().all()
    assert score[["site", "age", "sex", "pressure"]].notna().all()
    decided = scm.score(without.assign(effusion="positive")).iloc[0]
    assert np.isfinite(decided["clear"])
    assert np.isnan(scm.score(without.assign(effusion="negative")).iloc[0]["clear"])


def test_table_comes_back_as_it_went_in(scm):
    """Same index, column order, further columns and attributes; the input is not modified."""
    rows = ROWS[["effusion", "patient", *(c for c in ROWS if c not in ("effusion", "patient"))]]
    rows = rows.assign(sex=rows["sex"].astype(object), note="kept")
    rows.attrs["cxrcausal"] = {"source": "simulated"}
    before = rows.copy(deep=True)
    world = scm.counterfactual(rows, {"sex": "Male"}, seed=0)
    pd.testing.assert_frame_equal(rows, before)
    assert world.columns.tolist() == rows.columns.tolist()
    assert world.index.equals(rows.index)
    assert (world["note"] == "kept").all()
    assert world.attrs == {"cxrcausal": {"source": "simulated"}}
    assert world["sex"].cat.categories.tolist() == ["Female", "Male"]


def test_unknown_cells_stay_unknown_unless_imputed(scm):
    """Except where they are set."""
    world = scm.counterfactual(ROWS, {"sex": "Male"}, seed=0)
    assert (world["sex"] == "Male").all()
    others = [c for c in scm.mechanisms if c != "sex"]
    pd.testing.assert_frame_equal(world[others].isna(), ROWS[others].isna())
    full = scm.counterfactual(ROWS, {"sex": "Male"}, seed=0, impute=True)
    assert not full[list(scm.mechanisms)].isna().any().any()
    known = world[others].notna()
    for name in others:
        assert (world[name][known[name]] == full[name][known[name]]).all()


def test_counterfactual_is_predict_of_abduct(scm):
    """Though it draws only what it needs."""
    do = {"sex": "Male", "pressure": shift(5)}
    noise = scm.abduct(ROWS, num_samples=2, seed=9)
    assert isinstance(noise, Exogenous)
    assert len(noise) == 2 * len(ROWS)
    for impute in (False, True):
        pd.testing.assert_frame_equal(
            scm.predict(noise, do, impute=impute),
            scm.counterfactual(ROWS, do, num_samples=2, seed=9, impute=impute),
        )


def test_only_needed_cells_are_drawn(monkeypatch):
    """A complete cause of the effect makes the posterior of everything else unnecessary."""
    from cxrcausal.scm import prediction

    asked = []
    real = prediction.fill_unknown

    def spy(*arguments, **options):
        filled = real(*arguments, **options)
        asked.append({v for v, x in filled.items() if not x.isnan().any()})
        return filled

    monkeypatch.setattr(prediction, "fill_unknown", spy)
    scm = clinic()
    known = {v: x for v, x in COMPLETE.items() if v not in ("age", "view", "sex")}
    scm.counterfactual(table_of(scm, known), {"severity": "none"}, seed=0)
    assert asked == [{"edema", "severity", "effusion"}]


def test_several_draws(scm):
    """More than one give a (row, sample) index; the first is the only one's."""
    three = scm.counterfactual(ROWS, {"sex": 0}, num_samples=3, seed=0)
    assert three.index.names == ["radiograph", "sample"]
    assert len(three) == 3 * len(ROWS)
    one = scm.counterfactual(ROWS, {"sex": 0}, seed=0)
    first = three.xs(0, level="sample")
    pd.testing.assert_frame_equal(first, one)


def test_series_in_do_is_aligned_on_rows_of_several_draws(scm):
    """One value per row, repeated for its draws."""
    wanted = pd.Series(np.arange(len(ROWS)) % 90, index=ROWS.index)[::-1]
    world = scm.counterfactual(ROWS, {"age": wanted}, num_samples=2, seed=0)
    assert world["age"].tolist() == np.repeat(wanted[::-1].to_numpy(), 2).tolist()


def test_shift_of_an_unknown_value_is_masked(scm):
    """What is set relative to an unknown value is itself unknown, unless imputed."""
    rows = ROWS.assign(age=np.where(np.arange(len(ROWS)) % 2, 40.0, np.nan))
    world = scm.counterfactual(rows, {"age": shift(3)}, seed=0, clip=True)
    assert world["age"].iloc[1::2].eq(43).all()
    assert world["age"].iloc[::2].isna().all()
    full = scm.counterfactual(rows, {"age": shift(3)}, seed=0, clip=True, impute=True)
    assert full["age"].notna().all()


def test_a_move_from_an_unknown_value_needs_clipping(scm):
    """Some draws of it would leave the bounds, so every question is refused alike, naming the
    rows.
    """
    rows = ROWS.head(3).assign(age=[40.0, np.nan, np.nan])
    words = (
        r"moves 'age' by Shift.* unknown in 2 row\(s\), 'radiograph-1', 'radiograph-2'.*clip=True"
    )
    for seed in range(3):
        with pytest.raises(InterventionError, match=words):
            scm.counterfactual(rows, {"age": shift(1)}, seed=seed)
    with pytest.raises(InterventionError, match=words):
        scm.counterfactual_probability(rows, {"age": shift(1)}, "edema")
    with pytest.raises(InterventionError, match=words):
        scm.predict(scm.abduct(rows, seed=0), {"age": shift(1)})
    for harmless in (shift(0), scale(0.5)):
        scm.counterfactual(rows, {"age": harmless}, seed=0)
    scm.counterfactual(rows.assign(pressure=np.nan), {"pressure": shift(5)}, seed=0)
    clipped = scm.counterfactual_probability(rows, {"age": shift(1)}, "edema", clip=True)
    assert clipped.notna().all().all()


def test_evidence_that_the_fit_never_saw(scm, caplog):
    """Ignored with one warning, or refused; the cells come back as they were given."""
    rows = ROWS.dropna(subset=["view"]).head(4).assign(ward="A", view="LATERAL")
    with caplog.at_level(logging.WARNING, logger="cxrcausal"):
        first = scm.log_prob(rows)
        scm.log_prob(rows)
    said = [r.message for r in caplog.records if "never observed" in r.message]
    assert said == [
        "evidence that the fit never observed is ignored: ward (4 rows), view=LATERAL (4 rows)"
    ]
    pd.testing.assert_series_equal(first, scm.log_prob(rows.assign(ward=None, view=None)))
    with pytest.raises(UnobservedError, match=r"never observed ward \(4 rows\), view=LATERAL"):
        scm.log_prob(rows, unobserved="error")
    untouched = scm.counterfactual(rows, {"stage": "0"}, seed=0)
    assert (untouched["view"] == "LATERAL").all()
    assert (untouched["ward"] == "A").all()
    moved = scm.counterfactual(rows, {"edema": "positive"}, seed=0)
    assert moved["view"].isna().all()


def test_unknown_cells_are_said_once(scm, caplog):
    """The assumption behind a posterior is stated, once for a model."""
    fresh = FlowSCM.from_mechanisms(scm.graph, scm.mechanisms, scm.observed)
    with caplog.at_level(logging.WARNING, logger="cxrcausal"):
        fresh.abduct(ROWS, seed=0)
        fresh.abduct(ROWS, seed=1)
    assert sum("missing at random" in r.message for r in caplog.records) == 1


def test_warning_beyond_the_observed_range(scm, caplog):
    """An age that no patient had is answered by extrapolation, and said."""
    with caplog.at_level(logging.WARNING, logger="cxrcausal"):
        scm.counterfactual(ROWS, {"pressure": 500.0}, seed=0)
    assert "'pressure' in 40 row(s) outside what the fit observed" in caplog.text


def test_clipping_is_recorded(scm):
    """How many rows stopped at the bounds is said with the answer."""
    rows = ROWS.assign(age=[98.0] * 10 + [50.0] * (len(ROWS) - 10))
    world = scm.counterfactual(rows, {"age": shift(5)}, seed=0, clip=True)
    assert world["age"].tolist() == [99.0] * 10 + [55.0] * (len(ROWS) - 10)
    assert world.attrs["clipped"] == {"age": 10}
    assert scm.counterfactual(rows, {"age": 120}, seed=0, clip=True).attrs["clipped"] == {
        "age": 40
    }
    assert "clipped" not in scm.counterfactual(rows, {"age": 20}, seed=0, clip=True).attrs


def test_healthy(scm):
    """Every finding of the definition negative; what follows, follows."""
    assert healthy(scm) == {"edema": "negative", "effusion": "negative"}
    world = scm.counterfactual(ROWS, healthy(scm), seed=0)
    assert (world["effusion"] == "negative").all()
    assert (world["clear"] == "positive").mean() > 0.8


def test_row_labels(scm):
    """Must be unique under a seed, since they decide the noise; without a seed need not be."""
    twice = pd.concat([ROWS.head(3), ROWS.head(3)])
    with pytest.raises(TableError, match=r"row labels must be unique.*repeated: 'radiograph-0'"):
        scm.abduct(twice, seed=0)
    noise = scm.abduct(twice)
    age = noise.noise["age"].squeeze(1)
    assert not torch.equal(age[:3], age[3:])


@pytest.mark.parametrize(
    "question",
    [
        lambda scm: scm.sample(1),
        lambda scm: scm.log_prob(ROWS),
        lambda scm: scm.counterfactual(ROWS, {}),
        lambda scm: scm.observed,
        lambda scm: scm.save("nowhere"),
    ],
)
def test_not_fitted(question):
    """Every question before the fit is refused, with the advice to fit."""
    with pytest.raises(NotFittedError, match="'hospital' is not fitted; call fit"):
        question(FlowSCM(GRAPH))


def test_errors_of_the_input(scm):
    """Wrong values and wrong interventions surface with their own words."""
    with pytest.raises(TableError, match=r"'age', row 'radiograph-0': found 200"):
        scm.abduct(ROWS.assign(age=200), seed=0)
    with pytest.raises(InterventionError, match=r"did you mean 'edema'\?"):
        scm.counterfactual(ROWS, {"oedema": 1}, seed=0)
    with pytest.raises(UnobservedError, match="'ward', which was never observed"):
        scm.counterfactual(ROWS, {"ward": "A"}, seed=0)
    with pytest.raises(InterventionError, match=r"'clear', which is a definition"):
        scm.counterfactual(ROWS, {"clear": "positive"}, seed=0)
    for ask in (scm.abduct, scm.counterfactual):
        with pytest.raises(OptionError, match="num_samples is at least 1; found 0"):
            ask(ROWS, num_samples=0)
        with pytest.raises(OptionError, match=r"num_samples is a whole number; found 2\.0"):
            ask(ROWS, num_samples=2.0)
    with pytest.raises(OptionError, match="n is at least 0; found -1"):
        scm.sample(-1)
    with pytest.raises(OptionError, match=r"n is a whole number; found 2\.0"):
        scm.sample(2.0)
    for ask in (lambda: scm.sample(2, seed=1.5), lambda: scm.counterfactual(ROWS, {}, seed="a")):
        with pytest.raises(OptionError, match="a seed is a whole number"):
            ask()
    with pytest.raises(CxrCausalError, match="device 'tpu9' is not known"):
        scm.to("tpu9")


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.int32])
def test_seeds_and_numbers_of_numpy(scm, kind, tmp_path):
    """`rng.integers` gives numpy's own integers; they ask the same question as Python's."""
    pd.testing.assert_frame_equal(scm.sample(kind(3), seed=kind(3)), scm.sample(3, seed=3))
    do = {"sex": "Male"}
    pd.testing.assert_frame_equal(
        scm.counterfactual(ROWS, do, kind(2), kind(3)), scm.counterfactual(ROWS, do, 2, 3)
    )
    scm.abduct(ROWS, kind(2), kind(3)).save(tmp_path / "noise")
    assert Exogenous.load(tmp_path / "noise").seed == 3
    few = {"graph": CausalGraph([GRAPH.variables["sex"]]), "hidden": (kind(4),)}
    fits = [FlowSCM(**few).fit(TABLE, seed=s, progress=False) for s in (kind(3), 3)]
    pd.testing.assert_series_equal(fits[0].log_prob(ROWS), fits[1].log_prob(ROWS))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"family": "foo"}, "'foo' is not a family of mechanisms. Allowed: 'auto', 'direct'"),
        ({"coupling": "gumble"}, "'gumble' is not a coupling.*did you mean 'gumbel'"),
        ({"hidden": 3}, r"hidden is 3; give the widths of the hidden layers, as in \(32, 32\)"),
        ({"hidden": ("a",)}, "give the widths of the hidden layers"),
        ({"hidden": (1.5,)}, "give the widths of the hidden layers"),
        ({"hidden": (8, 0)}, r"hidden is \(8, 0\); a layer has at least 1 unit"),
    ],
)
def test_options_are_refused_where_they_are_given(options, words):
    """Not at the fit, minutes later."""
    with pytest.raises(OptionError, match=words):
        FlowSCM(GRAPH, **options)


def test_a_clone_takes_the_very_options_that_it_is_given():
    """What scikit-learn's `clone` holds an estimator to."""
    params = FlowSCM(GRAPH, hidden=(8, 4)).get_params()
    again = FlowSCM(**params).get_params()
    assert all(again[key] is params[key] for key in params)


def test_never_observed_column_may_be_absent(scm):
    """What the fit knows nothing of need not be given."""
    rows = ROWS.drop(columns="ward")
    assert scm.counterfactual(rows, {"sex": 1}, seed=0).columns.equals(rows.columns)


def test_groups(scm):
    """A column that is not there, or unknown patients, are refused by name."""
    with pytest.raises(TableError, match=r"'pateint' is not a column.*did you mean 'patient'\?"):
        FlowSCM(GRAPH).fit(TABLE, groups="pateint")
    with pytest.raises(TableError, match="the table to fit: 3 groups for 400 rows"):
        FlowSCM(GRAPH).fit(TABLE, groups=np.arange(3))
    holes = TABLE["patient"].astype(float).mask(TABLE.index == "radiograph-7")
    with pytest.raises(TableError, match="the table to fit: row 'radiograph-7' has no group"):
        FlowSCM(GRAPH).fit(TABLE, groups=holes)
    with pytest.raises(TableError, match="has no rows"):
        FlowSCM(GRAPH).fit(TABLE.head(0))


def test_parent_levels_without_rows_are_said(caplog):
    """A mechanism that saw no row of a source extrapolates there, and that is said."""
    table = TABLE.copy()
    table["age"] = table["age"].mask(TABLE["site"] == "east")
    graph = CausalGraph(
        [GRAPH.variables[v] for v in ("site", "age", "edema")],
        [("site", "edema"), ("age", "edema")],
    )
    with caplog.at_level(logging.WARNING, logger="cxrcausal"):
        FlowSCM(graph, hidden=()).fit(table, progress=False)
    assert "edema (site=east)" in caplog.text


def test_fit_does_not_depend_on_global_state(scm):
    """Same table and seed, same numbers, whatever the global generator; which is left alone."""
    small = CausalGraph(
        [GRAPH.variables[v] for v in ("age", "sex", "edema")], [("age", "edema"), ("sex", "edema")]
    )
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = FlowSCM(small, hidden=(4,)).fit(TABLE, groups="patient", progress=False)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)
    second = FlowSCM(small, hidden=(4,)).fit(TABLE, groups="patient", progress=False)
    pd.testing.assert_frame_equal(first.score(ROWS), second.score(ROWS), check_exact=True)
    assert first.data_fingerprint == second.data_fingerprint
    assert first.fit(TABLE[::-1], progress=False).data_fingerprint == second.data_fingerprint
    assert first.fit(TABLE.head(50), progress=False).data_fingerprint != second.data_fingerprint


def test_pickle_copy_and_params(scm):
    """An SCM is an object like any other."""
    for other in (pickle.loads(pickle.dumps(scm)), copy.deepcopy(scm)):
        pd.testing.assert_series_equal(other.log_prob(ROWS.head(5)), scm.log_prob(ROWS.head(5)))
    assert FlowSCM(**scm.get_params()).get_params() == scm.get_params()


def test_noise_of_another_graph(scm):
    """Noise is only meaningful under the graph that it was abducted from."""
    noise = scm.abduct(ROWS, seed=0)
    other = clinic()
    with pytest.raises(GraphError, match=r"graph with fingerprint .* this SCM's graph 'clinic'"):
        other.predict(noise, {})


def test_mechanisms_must_fit_the_graph():
    """A mechanism that reads what is not its parent is refused."""
    x, y = Variable("x", "continuous"), Variable("y", "continuous")
    graph = CausalGraph([x, y], [("x", "y")])
    backwards = {"y": LinearMechanism(y, ()), "x": LinearMechanism(x, (y,), [1.0])}
    with pytest.raises(GraphError, match="mechanism of 'x' assigns 'x' and reads 'y'"):
        FlowSCM.from_mechanisms(graph, backwards)


def test_no_rows(scm):
    """No rows in, no rows out."""
    none = ROWS.head(0)
    assert scm.counterfactual(none, {"sex": "Male"}, seed=0).shape == none.shape
    assert len(scm.log_prob(none)) == 0
    assert len(scm.counterfactual_probability(none, {"sex": "Male"}, "edema")) == 0


def test_chunks_change_nothing_and_show_their_progress(scm, capsys):
    """The same answer for any chunk size, probabilities too; a bar only where asked for."""
    do = {"sex": {"Male": 0.5, "Female": 0.5}, "pressure": shift(5)}
    ask = {"num_samples": 3, "seed": 2}
    whole = scm.counterfactual(ROWS, do, **ask)
    assert capsys.readouterr().err == ""  # no terminal, no bar
    for size in (1, 7, 64):
        pd.testing.assert_frame_equal(scm.counterfactual(ROWS, do, batch_size=size, **ask), whole)
    noise = scm.abduct(ROWS, batch_size=11, **ask)
    pd.testing.assert_frame_equal(scm.predict(noise, do, batch_size=5), whole)
    scm.counterfactual(ROWS, do, batch_size=9, progress=True, **ask)
    shown = capsys.readouterr().err
    assert "counterfactual" in shown
    assert "/40.0" in shown
    scm.log_prob(ROWS, progress=True)
    assert "log_prob" in capsys.readouterr().err


def test_set_params_forgets_the_fit_and_refuses_what_there_is_not(scm):
    """As scikit-learn's searches need it; a fit under other options would be a lie."""
    other = copy.deepcopy(scm)
    assert other.set_params() is other
    assert other.is_fitted
    assert other.set_params(coupling="ordered", hidden=(8,)) is other
    assert other.get_params() == {**scm.get_params(), "coupling": "ordered", "hidden": (8,)}
    assert not other.is_fitted
    for wrong, words in (({"familly": "cnf"}, "did you mean 'family'"), ({"family": "x"}, "'x'")):
        with pytest.raises(OptionError, match=words):
            other.set_params(**wrong)
    assert other.coupling == "ordered"


def test_scikit_learn_clones_it(scm):
    """The clone is unfitted and has the same options."""
    base = pytest.importorskip("sklearn.base")
    clone = base.clone(scm)
    assert not clone.is_fitted
    assert clone.get_params() == scm.get_params()


def test_a_notebook_shows_every_mechanism(scm):
    """One line per variable, escaped; an unfitted SCM shows what is to be fitted."""
    shown = scm._repr_html_()
    for name, mechanism in scm.mechanisms.items():
        assert f"<td>{name}</td>" in shown
        assert type(mechanism).__name__ in shown
    unfitted = FlowSCM(scm.graph)._repr_html_()
    assert "not fitted" in unfitted
    assert all(f"<td>{name}</td>" in unfitted for name in scm.graph.variables)
