"""Natural and path-specific effects: on paper, and against the definition counted cell by cell."""

import pytest
from closed_form import LinearMechanism, SquareMechanism, continuous_scm
from response import along, averaged, plain

from cxrcausal.effect import ate, ett, natural_effects, path_specific_effect
from cxrcausal.errors import GraphError, OptionError

FEW = {"groups": None, "resamples": 50}


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


def test_natural_effects_are_the_counted_ones(clinic_rows):
    scm, rows, _ = clinic_rows
    found = natural_effects(scm, rows, "edema", "effusion", **FEW)
    straight, bent = ("edema", "effusion"), ("edema", "severity", "effusion")
    before = averaged(clinic_rows, "edema", plain, along())
    direct = averaged(clinic_rows, "edema", plain, along(straight)) - before
    indirect = averaged(clinic_rows, "edema", plain, along(bent)) - before
    assert found.direct.estimate == pytest.approx(direct, abs=1e-12)
    assert found.indirect.estimate == pytest.approx(indirect, abs=1e-12)
    assert found.direct.identified


PATHS = [
    ("sex", "edema", "effusion"),
    ("sex", "severity", "effusion"),
    ("sex", "edema", "severity", "effusion"),
]


@pytest.mark.parametrize("chosen", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2), ()])
def test_path_specific_effects_are_the_counted_ones(clinic_rows, chosen):
    scm, rows, _ = clinic_rows
    paths = [PATHS[i] for i in chosen]
    truth = averaged(clinic_rows, "sex", plain, along(*paths)) - averaged(
        clinic_rows, "sex", plain, along()
    )
    found = path_specific_effect(scm, rows, "sex", "effusion", paths=paths, **FEW)
    assert found.estimate == pytest.approx(truth, abs=1e-12)
    recanting = (0 in chosen) != (2 in chosen)  # edema would have to read both
    assert found.claim.basis == (
        "construction" if not chosen else "coupling" if recanting else "data"
    )


def test_paths_by_what_they_pass(clinic_rows):
    scm, rows, _ = clinic_rows
    named = path_specific_effect(scm, rows, "sex", "effusion", through="severity", **FEW)
    listed = path_specific_effect(scm, rows, "sex", "effusion", paths=PATHS[1:], **FEW)
    assert named.estimate == listed.estimate
    whole = path_specific_effect(scm, rows, "sex", "effusion", paths=PATHS, **FEW)
    assert whole.estimate == ate(scm, rows, "sex", "effusion", **FEW).estimate


def test_some_mediators(clinic_rows):
    """With severity alone as mediator, what edema does directly follows the cause."""
    scm, rows, _ = clinic_rows
    found = natural_effects(scm, rows, "sex", "effusion", mediators=["severity"], **FEW)
    truth = averaged(clinic_rows, "sex", plain, along(PATHS[0])) - averaged(
        clinic_rows, "sex", plain, along()
    )
    assert found.direct.estimate == pytest.approx(truth, abs=1e-12)
    assert found.direct.claim.basis == "coupling"


def test_paths_that_do_not_exist(clinic_rows):
    scm, rows, _ = clinic_rows
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
