"""Total effects against the same counted cell by cell, on the clinic."""

import numpy as np
import pytest
from response import always, averaged, expect, plain

from cxrcausal.effect import ate, cate, ett

FEW = {"groups": None, "resamples": 50}


@pytest.mark.parametrize("cause", ["edema", "sex"])
def test_average_effect_is_the_counted_one(clinic_rows, cause):
    scm, rows, _ = clinic_rows
    truth = [averaged(clinic_rows, cause, plain, always(x)) for x in (0, 1)]
    found = ate(scm, rows, cause, "effusion", **FEW)
    assert found.arms == pytest.approx(truth, abs=1e-12)
    assert found.estimate == pytest.approx(truth[1] - truth[0], abs=1e-12)
    ratio = ate(scm, rows, cause, "effusion", scale="ratio", **FEW)
    assert ratio.estimate == pytest.approx(truth[1] / truth[0])
    assert found.monte_carlo_error == 0
    assert found.identified


def test_effect_among_the_treated_weights_patients_by_their_chance(clinic_rows):
    """ETT = Σ_i p(x | z_i) E[Y_x' − Y_x | z_i] / Σ_i p(x | z_i)."""
    scm, rows, patients = clinic_rows
    effect, weight = 0.0, 0.0
    for patient in patients:
        facts = {v: patient[v] for v in ("sex", "age")}
        y = [expect(scm, facts, "edema", "effusion", plain, always(x)) for x in (0, 1)]
        p = scm.mechanisms["edema"].table[facts["sex"], int(facts["age"] - 20) // 10, 1].item()
        effect, weight = effect + p * (y[1] - y[0]), weight + p
    found = ett(scm, rows, "edema", "effusion", **FEW)
    assert found.estimate == pytest.approx(effect / weight, abs=1e-12)


def test_treated_are_everybody_where_the_cause_is_a_root(clinic_rows):
    scm, rows, _ = clinic_rows
    treated = ett(scm, rows, "sex", "effusion", **FEW)
    assert treated.estimate == ate(scm, rows, "sex", "effusion", **FEW).estimate
    assert "same as the ATE" in treated.statement


def test_conditional_effect_is_that_of_the_rows(clinic_rows):
    scm, rows, _ = clinic_rows
    given = {"sex": "Male", "age": (30, 50)}
    here = rows[(rows["sex"] == "Male") & rows["age"].between(30, 50)]
    found = cate(scm, rows, "edema", "effusion", given, **FEW)
    assert found.estimate == pytest.approx(ate(scm, here, "edema", "effusion", **FEW).estimate)
    assert found.rows == len(here)
    several = cate(scm, rows, "edema", "effusion", {"sex": ["Male", "Female"]}, **FEW)
    assert several.estimate == pytest.approx(ate(scm, rows, "edema", "effusion", **FEW).estimate)


def test_effects_of_cxr19_agree_with_counterfactual_probabilities(public):
    """Averaged over patients of the model, its row-level distribution gives the effect back."""
    scm, _ = public
    rows = scm.sample(3000, seed=1)
    chances = [
        scm.counterfactual_probability(rows, {"pleural_effusion": x}, "support_devices")[
            "positive"
        ]
        for x in ("negative", "positive")
    ]
    found = ate(scm, rows, "pleural_effusion", "support_devices", **FEW)
    spread = (chances[1] - chances[0]).std() / np.sqrt(len(rows))
    assert found.estimate == pytest.approx((chances[1] - chances[0]).mean(), abs=5 * spread)
