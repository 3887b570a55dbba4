"""Phantoms have the parts that their equations give them, and the benchmark says in how many."""

import json
from pathlib import Path

import numpy as np
import pytest
from script import load_script, run_script

from cxrcausal.counterfactual import CounterfactualModel
from cxrcausal.data.phantom import PhantomMechanism, phantom_scm

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "decomposition.py"


@pytest.fixture(scope="module")
def script():
    return load_script(SCRIPT)


@pytest.mark.parametrize("number", [0, 1])
def test_phantoms_have_their_true_parts(script, number):
    """Sex is a root; an effusion has causes that are seen in the radiograph too."""
    contrast = script.CONTRASTS[number]
    model = CounterfactualModel(phantom_scm(), PhantomMechanism(script.SIZE), name="phantom")
    truth = script.true_parts(model, contrast[0], 200)
    found = script.decomposed(model, contrast, 100, seed=5, resamples=500)
    for part, mean in truth.items():
        line = found[part]
        error = (line["value_high"] - line["value_low"]) / 2 / 1.96
        assert abs(line["value"] - mean.value) < 3.5 * np.hypot(error, mean.error), part
    assert found["spurious", ""]["basis"] == ("construction" if number == 0 else "data")
    direct = truth["direct", ""]
    assert abs(direct.value) > 5 * direct.error  # there is something to be found


def test_true_parts_add_up_to_the_difference_of_the_groups(script):
    """Of the very phantoms that are replayed: no term is left out or counted twice."""
    model = CounterfactualModel(phantom_scm(), PhantomMechanism(script.SIZE), name="phantom")
    attribute = "pleural_effusion"
    world, scores = script.replayed(model, 150, seed=6)
    parents = world()
    level = parents[:, [v.name for v in model.image.attributes].index(attribute)]
    groups = [scores(parents, level == x).mean() for x in (0, 1)]
    parts = script.true_parts(model, attribute, 150, seed=6)
    assert sum(part.value for part in parts.values()) == pytest.approx(groups[1] - groups[0])


def test_all_of_it_runs(tmp_path):
    run_script(SCRIPT, "--quick", "--output", tmp_path, folder=tmp_path)
    numbers = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert len(numbers["lines"]) == 8
    for line in numbers["lines"]:
        assert line["low"] <= line["value"] <= line["high"]
        assert 0 <= line["coverage"] <= 1
    assert "in 99 of 100 such runs" in (tmp_path / "report.md").read_text(encoding="utf-8")
