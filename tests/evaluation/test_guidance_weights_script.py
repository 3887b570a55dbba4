"""The choice of guidance weights: where a shift is 1, and the script as a whole."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from script import load_script

from cxrcausal.graph import load_graph
from cxrcausal.image import RectifiedFlow, load_recipe, save_image_mechanism

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "guidance_weights.py"


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(SCRIPT.parent))
    yield load_script(SCRIPT)
    sys.path.remove(str(SCRIPT.parent))


@pytest.mark.parametrize(
    ("shifts", "weight"),
    [
        ([0.8, 1.2, 1.4, 1.6], 1.25),  # halfway between 1 and 1.5
        ([0.5, 0.7, 0.9, 1.1], 2.5),
        ([0.2, 0.3, 0.4, 0.5], 3.0),  # never reached
        ([1.1, 1.2, 1.3, 1.4], 1.0),  # passed without any
        ([0.6, 0.9, 0.8, 1.1], 2.5),  # one that falls counts as the one before
    ],
)
def test_the_weight_is_where_the_shift_is_one(script, shifts, weight):
    assert script.weight_of(np.array(shifts)) == weight


def test_a_shift_is_the_target_s_own_and_the_excess_the_largest(script):
    """`shift of age` under an intervention on sex is no shift of sex."""
    lines = [
        {"variable": "age", "guidance": weight, "predictor": predictor, "measure": measure,
         "value": sign * float(weight) * size}
        for weight in ("1", "1.5", "2", "3")
        for predictor, sign in (("a", 1), ("b", 1), ("", 5))
        for measure, size in (("shift", 0.5), ("shift of sex", 9), ("excess of sex", -0.25),
                              ("excess of view", 0.125))
    ]  # fmt: skip
    frame = pd.DataFrame(lines)
    assert script.by_weight(frame, "shift").loc["age"].tolist() == [0.5, 0.75, 1.0, 1.5]
    assert script.by_weight(frame, "excess").loc["age"].tolist() == [0.25, 0.375, 0.5, 0.75]


def test_every_parent_gets_a_weight(script, shared_data, tmp_path):
    """Of a network that paints nothing: no weight moves anything, so each is the largest."""
    recipe = load_recipe("radit-tiny")
    small = {"size": 16, "width": 16, "depth": 1, "heads": 1, "hidden": 16, "rank": 2}
    network = dataclasses.replace(recipe.network, **small, embedding=4)
    seen = {
        "dataset": ["NIH"],
        "sex": ["Female", "Male"],
        "view": ["PA", "AP"],
        "age": [2.0, 90.0],
        "pleural_effusion": ["negative", "positive"],
        "cardiomegaly": ["negative", "positive"],
    }
    mechanism = RectifiedFlow(
        load_graph("cxr19"), dataclasses.replace(recipe, network=network), seen
    )
    folder = save_image_mechanism(mechanism, tmp_path / "model")
    command = ["--data", shared_data, "--model", folder, "--output", tmp_path / "out", "--quick"]
    numbers = script.main([str(part) for part in command])
    assert set(numbers["chosen"]) == {"view", "sex", "age", "pleural_effusion", "cardiomegaly"}
    assert set(numbers["chosen"].values()) == {3.0}
    written = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert written["own"] == numbers["own"]
    for shifts in written["shift"].values():
        assert list(shifts) == ["1", "1.5", "2", "3"]
        assert max(map(abs, shifts.values())) < 1e-4
