"""The parts of a difference between groups add up to it, and are zero where the graph says so."""

import pytest
from closed_form import clinic

from cxrcausal.data.phantom import phantom_scm
from cxrcausal.effect import ctf_effects, natural_effects

FEW = {"groups": None, "resamples": 50}


def test_decompositions_add_up(clinic_rows):
    scm, rows, _ = clinic_rows
    for cause in ("edema", "sex"):
        parts = natural_effects(scm, rows, cause, "effusion", **FEW)
        assert abs(parts.total.estimate - parts.direct.estimate + parts.reverse.estimate) < 1e-9
        ctf = ctf_effects(scm, rows, cause, "effusion", **FEW)
        summed = ctf.spurious.estimate + ctf.indirect.estimate - ctf.direct.estimate
        assert abs(ctf.variation.estimate - summed) < 1e-9


def test_group_difference_of_many_sampled_patients_is_the_observed_one():
    """TV comes from the SCM; a table drawn from it shows the same within its interval."""
    scm = clinic()
    found = ctf_effects(scm, scm.sample(4000, seed=0), "edema", "effusion", **FEW)
    assert found.observed.low < found.variation.estimate < found.observed.high
    assert found.spurious.claim.basis == "data"


@pytest.mark.parametrize("outcome", ["lung_opacity", "edema", "no_finding"])
def test_demographics_of_cxr19_have_no_spurious_part(public, outcome):
    scm, rows = public
    how = FEW | {"parameters": "fixed"}
    found = ctf_effects(scm, rows, "sex", outcome, **how)
    spurious = found.spurious
    assert (spurious.estimate, spurious.low, spurious.high) == (0, 0, 0)
    assert spurious.claim.basis == "construction"
    summed = spurious.estimate + found.indirect.estimate - found.direct.estimate
    assert abs(found.variation.estimate - summed) < 1e-9
    assert (found.direct.claim.basis == "construction") == (outcome != "edema")
    assert (found.indirect.claim.basis == "construction") == (outcome == "edema")
    age = ctf_effects(scm, rows, "age", outcome, levels=(40, 70), **how)
    assert age.spurious.estimate == 0


def test_mechanisms_that_were_given_may_ask_for_gradients():
    """Known equations of torch parameters, such as a phantom's, were never frozen by a fit."""
    scm = phantom_scm()
    assert any(p.requires_grad for m in scm.mechanisms.values() for p in m.parameters())
    found = ctf_effects(scm, scm.sample(20, seed=0), "sex", "pleural_effusion", **FEW)
    assert found.indirect.estimate != 0
