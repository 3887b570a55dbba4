"""The audit by several models: a model beside itself differs by nothing, and all of it runs."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from script import run_script

from cxrcausal.graph import load_graph
from cxrcausal.image import RectifiedFlow, Solver, load_recipe

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "audit_models.py"


@pytest.fixture(scope="module")
def flow(tmp_path_factory) -> Path:
    """A flow of phantoms, new: it paints noise, and replays it under whatever parents."""
    recipe = load_recipe("radit-tiny")
    network = dataclasses.replace(
        recipe.network, width=32, depth=1, heads=2, hidden=48, rank=4, embedding=8
    )
    solver = Solver("midpoint", 2)
    recipe = dataclasses.replace(recipe, name="phantom", network=network, solver=solver)
    torch.manual_seed(0)
    mechanism = RectifiedFlow(load_graph("cxr19"), recipe)
    levels = {v.name: list(v.levels) for v in mechanism.attributes if v.is_discrete}
    mechanism.observed = {**levels, "age": [20.0, 90.0]}
    folder = tmp_path_factory.mktemp("flow")
    mechanism.save(folder)
    return folder


def test_the_bias_is_what_a_model_says_less_the_truth(flow, tmp_path):
    run_script(SCRIPT, "--phantom", flow, "--quick", "--output", tmp_path, folder=tmp_path)
    numbers = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    models = {line["model"] for line in numbers["effects"]}
    assert models == {"exact", "RadiT, no guidance", "RadiT, nested 1.5"}
    lines = {(x["model"], x["classifier"], x["contrast"]): x for x in numbers["effects"]}
    assert len(lines) == 3 * 2 * 2
    exact = lines["exact", "clean", "sex: Female → Male"]
    new = lines["RadiT, no guidance", "clean", "sex: Female → Male"]
    assert exact["there_and_back"] == pytest.approx(0, abs=1e-4)
    assert new["radiographs"] == exact["radiographs"]
    bias = new["shift"] - exact["shift"]
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert f"| {bias:.3f} |" in text
    assert (tmp_path / "exact" / "report.html").exists()
