"""An effect is one line, and one patient has no interval."""

import dataclasses

import numpy as np
import pytest

from cxrcausal.effect import ate, causation, ctf_effects, ett, natural_effects

FEW = {"groups": None, "resamples": 50}


def test_an_effect_is_one_line(clinic_rows):
    scm, rows, _ = clinic_rows
    line = str(ate(scm, rows, "edema", "effusion", **FEW))
    assert "\n" not in line
    assert line.startswith("ATE, edema negative → positive on P(effusion = positive): -0.")
    assert line.endswith("follows from data, the graph granted (adjust for sex)")
    assert "bounds" in str(causation(scm, rows, "edema", "effusion", **FEW))
    assert "Ctf-SE" in str(ctf_effects(scm, rows, "edema", "effusion", **FEW))
    assert "mediators: severity" in str(natural_effects(scm, rows, "edema", "effusion", **FEW))


@pytest.mark.parametrize("rows", [1, 6])
def test_one_patient_has_no_interval(clinic_rows, rows):
    """Resamples of one patient are all the same: an interval of no width would claim certainty."""
    scm, table, _ = clinic_rows
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


def test_a_notebook_shows_what_the_line_says(clinic_rows):
    """Figure, interval, what it rests on; a name is never read as HTML."""
    scm, rows, _ = clinic_rows
    effect = ate(scm, rows, "edema", "effusion", **FEW)
    shown = effect._repr_html_()
    assert f"{effect.estimate:.4g}" in shown
    assert f"[{effect.low:.4g}, {effect.high:.4g}]" in shown
    assert "adjust for sex" in shown
    assert "bounds by data" in causation(scm, rows, "edema", "effusion", **FEW).both._repr_html_()
    assert "<b>" not in dataclasses.replace(effect, of="<b>")._repr_html_()
    assert "none" in dataclasses.replace(effect, low=np.nan)._repr_html_()
