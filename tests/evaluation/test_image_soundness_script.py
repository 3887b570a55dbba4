"""The benchmark of the image mechanism runs end to end on real radiographs, and says what it
measured."""

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from cxrcausal.graph import load_graph
from cxrcausal.image import RectifiedFlow, load_recipe, save_image_mechanism

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "image_soundness.py"


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(SCRIPT.parent))  # as `python benchmarks/image_soundness.py` has it
    spec = importlib.util.spec_from_file_location("image_soundness", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(SCRIPT.parent))


@pytest.fixture(scope="module")
def untrained(tmp_path_factory) -> Path:
    """A small network as it is before training: velocity zero, so the flow is the identity."""
    recipe = load_recipe("radit-tiny")
    network = dataclasses.replace(
        recipe.network, size=16, width=16, depth=1, heads=1, hidden=16, rank=2, embedding=4
    )
    mechanism = RectifiedFlow(
        load_graph("cxr19"),
        dataclasses.replace(recipe, network=network),
        {
            "dataset": ["NIH"],
            "sex": ["Female", "Male"],
            "view": ["PA", "AP"],
            "age": [2.0, 90.0],
            "pleural_effusion": ["negative", "positive"],
            "cardiomegaly": ["negative", "positive"],
        },
    )
    return save_image_mechanism(mechanism, tmp_path_factory.mktemp("untrained"))


def test_an_untrained_network_is_told_from_a_sound_one(script, untrained, shared_data, tmp_path):
    """It gives radiographs back exactly, and the report says why that is not enough."""
    command = ["--data", shared_data, "--model", untrained, "--output", tmp_path, "--quick"]
    numbers = script.main([str(part) for part in command])
    assert numbers["round_trip"]["mae"] < 1e-6
    assert numbers["noise"]["abducted"]["flatness"] < 0.9
    shifts = [e for e in numbers["effects"] if e["measure"] == "shift"]
    assert len(shifts) == 6 * 6
    assert all(abs(e["value"]) < 1e-4 for e in shifts)
    assert not any(e["excludes_null"] for e in shifts)
    holds = {row["what"]: row["holds"] for row in numbers["verdict"]}
    assert holds["round trip MAE in <= 50 evaluations"] == "yes"
    assert "no" in holds["shift of sex, nested 2.5"]
    losses = {
        row["network"]: row["loss"]
        for row in numbers["held_out_loss"]
        if row["conditioned on"] == "everything"
    }
    assert losses["this model"] == pytest.approx(losses["untrained"])
    written = json.loads((tmp_path / "report.json").read_text())
    assert np.isfinite(written["seconds"])
    report = (tmp_path / "report.md").read_text()
    assert "| sex | nested 2.5 |" in report
    table = (tmp_path / "readme.md").read_text()
    assert table == script.readme_table(written) + "\n"
    assert "| sex: crossed the predictor's threshold | ≥ .79 | 0.00 [" in table
    for name in (
        "counterfactuals_nested",
        "guidance_sex",
        "samples",
        "nearest_training_radiographs",
    ):
        assert (tmp_path / f"{name}.png").stat().st_size > 2_000
    assert (tmp_path / "predictor" / "predictor.safetensors").exists()  # a second run loads it
