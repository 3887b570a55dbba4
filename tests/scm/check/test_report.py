"""A right model passes its check, each part finds what is wrong, and patients count once."""

import numpy as np
import pandas as pd
import pytest
import torch
from closed_form import LinearMechanism, TableMechanism, binary
from scipy.stats import kstest
from simulated import GRAPH, patients

import cxrcausal as cx
from cxrcausal.errors import NotFittedError, OptionError, TableError
from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm.mechanism.nominal import GumbelMechanism

AGE = Variable("age", "continuous", bounds=(20.0, 60.0), resolution=10.0, unit="years")
SEX = Variable("sex", "binary", ("Female", "Male"))
VIEW = Variable("view", "nominal", ("PA", "AP", "LATERAL"))
EDEMA, EFFUSION = binary("edema"), binary("effusion")
WIDTH = Variable("width", "continuous", unit="mm")
WARD = CausalGraph(
    [AGE, SEX, VIEW, EDEMA, EFFUSION, WIDTH],
    [
        ("age", "edema"),
        ("sex", "edema"),
        ("edema", "effusion"),
        ("sex", "view"),
        ("edema", "width"),
        ("sex", "width"),
    ],
    name="ward",
)
DRAW = np.random.default_rng(1)
EDEMA_TABLE = np.array([[[1 - p, p] for p in row] for row in DRAW.uniform(0.2, 0.6, (5, 2))])


def view(weight=1.0):
    mechanism = GumbelMechanism(VIEW, (SEX,))
    linear = mechanism.conditioner.network.linear
    linear.bias.data = torch.tensor([0.3, 0.0, -1.0]).double()
    linear.weight.data = weight * torch.tensor([[-0.6], [0.6], [0.2]]).double()
    return mechanism.requires_grad_(False)


def mechanisms():
    return {
        "age": TableMechanism(AGE, (), [0.1, 0.2, 0.3, 0.25, 0.15]),
        "sex": TableMechanism(SEX, (), [0.45, 0.55]),
        "view": view(),
        "edema": TableMechanism(EDEMA, (AGE, SEX), EDEMA_TABLE),
        "effusion": TableMechanism(EFFUSION, (EDEMA,), [[0.8, 0.2], [0.4, 0.6]]),
        "width": LinearMechanism(WIDTH, (SEX, EDEMA), (2.0, 1.0), 20.0, 1.5),
    }


def ward(**other):
    return cx.FlowSCM.from_mechanisms(WARD, mechanisms() | other)


TRUTH = ward()


def p_values(check):
    table = check.to_table()
    return table[table["part"] != "score"]


@pytest.fixture(scope="module")
def right():
    """The p-values of a right model on forty tables, and on twenty in which every row stands
    four times."""
    found = {}
    for times in (1, 4):
        tables = []
        for seed in range(40 if times == 1 else 20):
            rows = TRUTH.sample(800 // times, seed=seed)
            rows["patient"] = np.arange(len(rows))
            # the radiographs of a patient differ in nothing
            rows = pd.concat([rows] * times, ignore_index=True)
            tables.append(p_values(TRUTH.check(rows, "patient", seed=seed, permutations=99)))
        found[times] = pd.concat(tables)
    return found


@pytest.mark.parametrize("part", ["calibration", "PIT", "energy", "noise"])
def test_p_values_of_the_right_model_are_uniform(right, part):
    """Over forty tables; pairs of one table are related, hence one p-value of each test."""
    p = right[1].loc[right[1]["part"] == part]
    for _, own in p.groupby("what"):
        assert kstest(own["p"], "uniform").pvalue > 1e-3
    assert 0.01 < (p["p"] < 0.05).mean() < 0.1 or part in ("PIT", "energy")


@pytest.mark.parametrize("part", ["calibration", "PIT", "energy", "noise"])
def test_radiographs_of_one_patient_are_no_new_evidence(right, part):
    """Every row four times: a test that counted radiographs would reject a right model in four
    tables of ten, at the least."""
    p = right[4].loc[right[4]["part"] == part, "p"]
    assert (p < 0.05).mean() < 0.12


def test_the_right_model_has_no_misfit():
    check = TRUTH.check(TRUTH.sample(5000, seed=100), seed=0)
    assert check.misfits(alpha=0.01).empty
    assert (check.scores["gain"] > -2 * check.scores["standard_error"]).all()
    assert (check.calibration["gap"] < 3 * check.calibration["gap_by_chance"]).all()
    assert check.energy.share < 2 * check.energy.by_chance
    assert not check.on_fitted_rows


def failed(scm, part, rows=4000):
    check = scm.check(TRUTH.sample(rows, seed=7), seed=0)
    table = check.misfits()
    return table[table["part"] == part]["what"].tolist()


def test_wrong_probabilities_fail_calibration():
    """Too sure of itself by a factor in the odds: right on average, wrong at both ends."""
    odds = EDEMA_TABLE[..., 1] / EDEMA_TABLE[..., 0]
    sure = odds**2.5 / np.median(odds) ** 1.5
    table = np.stack([1 / (1 + sure), sure / (1 + sure)], -1)
    assert failed(ward(edema=TableMechanism(EDEMA, (AGE, SEX), table)), "calibration") == [
        "edema = positive"
    ]


def test_a_wrong_distribution_of_age_fails_the_pit():
    table = [0.15, 0.2, 0.2, 0.25, 0.2]
    assert failed(ward(age=TableMechanism(AGE, (), table)), "PIT") == ["age"]


def test_a_wrong_scale_fails_the_pit():
    narrow = LinearMechanism(WIDTH, (SEX, EDEMA), (2.0, 1.0), 20.0, 1.2)
    assert failed(ward(width=narrow), "PIT") == ["width"]


def test_a_lost_arrow_fails_energy_and_ties_two_noises():
    loose = ward(effusion=TableMechanism(EFFUSION, (), [0.63, 0.37]))
    assert failed(loose, "energy")
    assert failed(loose, "noise")[0] == "noise of effusion with noise of edema"


def test_a_wrong_form_leaves_the_parent_in_the_noise():
    flat = LinearMechanism(WIDTH, (SEX, EDEMA), (1.6, 1.0), 20.0, 1.5)
    assert "noise of width with its parent sex" in failed(ward(width=flat), "noise")[:2]


def test_a_spread_that_depends_on_a_parent_is_seen():
    """The mean is right, and so is the spread on average: only the squared noise knows."""
    draw, rows = np.random.default_rng(3), TRUTH.sample(4000, seed=8)
    male = (rows["sex"] == "Male").to_numpy()
    sick = (rows["edema"] == "positive").to_numpy()
    scale = np.where(male, 1.2, 1.8)
    rows["width"] = 20 + 2.0 * male + 1.0 * sick + scale * draw.normal(size=len(rows))
    noises = TRUTH.check(rows, seed=0).noises
    first = noises.iloc[0]
    assert (first["kind"], first["x"], first["y"]) == ("spread", "width", "sex")
    assert first["p"] < 1e-10


def test_a_wrong_nominal_mechanism_leaves_its_parent_in_every_gumbel():
    found = failed(ward(view=view(0.0)), "noise")
    assert any(what.startswith("noise of view = AP with its parent sex") for what in found)


def test_a_worse_model_than_the_marginal_fails_its_score():
    turned = TableMechanism(EFFUSION, (EDEMA,), [[0.4, 0.6], [0.8, 0.2]])
    assert failed(ward(effusion=turned), "score") == ["effusion"]


def test_scores_are_those_of_the_scm_and_of_frequencies():
    rows = TRUTH.sample(3000, seed=9)
    scores = TRUTH.check(rows, seed=0, permutations=9).scores
    np.testing.assert_allclose(scores["nats"], TRUTH.score(rows).mean(), rtol=1e-12)
    share = (rows["sex"] == "Male").mean()
    entropy = share * np.log(share) + (1 - share) * np.log(1 - share)
    assert scores.loc["sex", "marginal"] == pytest.approx(entropy, abs=1e-3)
    width = 0.5 * np.log(2 * np.pi * np.e * rows["width"].var())
    assert scores.loc["width", "marginal"] == pytest.approx(-width, abs=0.03)


@pytest.fixture(scope="module")
def hospital():
    train, test = patients(4000, seed=0, unknown=0.05), patients(2000, seed=1, unknown=0.05)
    return cx.FlowSCM(GRAPH, hidden=()).fit(train, "patient", progress=False), train, test


def test_a_fitted_model_with_unknown_cells(hospital):
    scm, train, test = hospital
    check = scm.check(test, "patient", seed=0, permutations=99)
    assert (check.rows, check.patients) == (2000, 1000)
    assert set(check.scores.index) == set(scm.mechanisms)
    assert set(check.pit.index) == {"age", "pressure", "stage"}
    assert ("view", "LATERAL") not in check.calibration.index  # never observed
    assert check.scores["rows"].max() < 2000
    assert "failed of" in str(check)
    assert not check.on_fitted_rows
    assert scm.check(train, "patient", permutations=9, most_rows=500).on_fitted_rows


def test_the_same_seed_gives_the_same_check(hospital):
    scm, _, test = hospital
    first, second = (scm.check(test, "patient", seed=3, permutations=49) for _ in range(2))
    pd.testing.assert_frame_equal(first.to_table(), second.to_table())
    assert str(first) == str(second)


def test_the_check_is_drawn_and_written(hospital, tmp_path):
    scm, _, test = hospital
    check = scm.check(test.head(300), "patient", permutations=49)
    figure = check.plot(tmp_path / "check.png")
    assert (tmp_path / "check.png").stat().st_size > 10_000
    titles = [axis.get_title(loc="left") for axis in figure.get_axes()]
    assert any(title.startswith("energy distance") for title in titles)
    assert any(title.startswith("PIT: age") for title in titles)


def test_what_cannot_be_checked_is_refused(hospital):
    scm, _, test = hospital
    with pytest.raises(NotFittedError, match="not fitted"):
        cx.FlowSCM(GRAPH).check(test)
    with pytest.raises(TableError, match="no rows"):
        scm.check(test.head(0))
    with pytest.raises(TableError, match="'patent' is not a column; did you mean 'patient'"):
        scm.check(test, "patent")
    with pytest.raises(OptionError, match="most_rows is 0"):
        scm.check(test, most_rows=0)
    with pytest.raises(OptionError, match="alpha is 2"):
        scm.check(test.head(100), permutations=9).misfits(alpha=2)


def test_a_table_of_one_row_is_told_without_tests():
    check = TRUTH.check(TRUTH.sample(1, seed=0), permutations=9)
    assert check.misfits().empty
    assert "1 rows of 1 patients" in str(check)


def test_the_rows_of_one_patient_are_told_without_tests():
    """Four hundred rows of one patient do not tell how patients vary: no p-value, no error."""
    rows = ward(edema=TableMechanism(EDEMA, (AGE, SEX), 1 - EDEMA_TABLE)).sample(400, seed=0)
    assert len(TRUTH.check(rows, permutations=9).misfits())
    check = TRUTH.check(rows.assign(who="one"), "who", permutations=9)
    assert check.misfits().empty
    assert check.to_table()["p"].isna().all()
    assert check.scores["standard_error"].isna().all()
    assert "400 rows of 1 patients" in str(check)
    check.plot()
