"""The benchmark of the image mechanism runs end to end on real radiographs, and says what it
measured."""

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

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "image_soundness.py"


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(SCRIPT.parent))  # as `python benchmarks/image_soundness.py` has it
    yield load_script(SCRIPT)
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
    """It gives radiographs back exactly, and the table says why that is not enough."""
    names = pd.read_csv(shared_data / "cxr-real-128" / "images.csv")["image"]
    gold = pd.DataFrame({"Image Index": [Path(name).name[4:] for name in names]})
    for i, finding in enumerate(script.GOLD):
        gold[finding] = np.resize(["YES", "NO"], len(gold) + i)[i:]
    gold.to_csv(tmp_path / "gold.csv", index=False)
    command = ["--data", shared_data, "--model", untrained, "--output", tmp_path, "--quick"]
    command += ["--gold", tmp_path / "gold.csv"]
    numbers = script.main([str(part) for part in command])
    found = numbers["models"][untrained.name]
    assert found["round_trip"]["once"]["value"] < 1e-6
    assert found["noise"]["abducted"]["flatness"] < 0.9
    shifts = [e for e in found["effects"] if e["measure"] == "shift"]
    assert len(shifts) == 6 * 2 * 2  # interventions, guidances, predictors
    assert all(abs(e["value"]) < 1e-4 for e in shifts)
    assert not any(e["excludes_null"] for e in shifts)
    by = {(e["intervention"], e["guidance"], e["measure"]): e for e in found["effects"]}
    for name in ("AUC", "rank-1"):  # nothing was painted, so it is the patient
        real = by["sex", "none", f"real identity {name}"]["value"]
        assert by["sex", "none", f"identity {name}"]["value"] == pytest.approx(real)
    assert by["sex", "none", "SSIM"]["value"] == pytest.approx(1, abs=1e-6)
    families = {p["probe"] for p in found["probes"] if p["source"] == "noise"}
    assert families == {"pixels", "blocks", "bands", "neighbours", "network"}
    assert len({(e["intervention"], e["guidance"]) for e in found["forms"]}) == 3 * 9
    for name, distance in found["samples"]["frechet"].items():
        assert distance > found["samples"]["floor"][name]
    assert len(numbers["predictors"]) == 2 * 5
    assert len(numbers["gold"]) == 3 * 2
    assert all(line["radiographs"] > 0 for line in numbers["gold"])
    written = json.loads((tmp_path / "report.json").read_text())
    assert np.isfinite(written["seconds"])
    table = (tmp_path / "table.md").read_text()
    assert f"| on test patients | asked | {untrained.name} |" in table
    assert "| sex, no guidance: shift, transformer predictor | ≥ .85 | " in table
    for name in ("counterfactuals", "samples"):
        assert (tmp_path / untrained.name / f"{name}.png").stat().st_size > 2_000
    assert (tmp_path / "readers" / "transformer" / "predictor.safetensors").exists()


def test_the_weight_that_moves_the_whole_effect_is_interpolated(script):
    """From 1 to 1.5 the shift goes from .8 to 1.2, so at 1.25 it is 1, and all else halfway."""
    tables = sys.modules["soundness_tables"]

    def effects(guidance, shift, excess, back):
        common = {"intervention": "sex", "guidance": guidance}
        return [
            {**common, "predictor": "p", "measure": "shift", "value": shift},
            {**common, "predictor": "p", "measure": "excess of age", "value": excess},
            {**common, "predictor": "", "measure": "reversibility", "value": back},
        ]

    measured = effects("none", 0.8, 0.0, 0.01) + effects("cfg 1.5", 1.2, -0.2, 0.03)
    ((what, _), text), *others = tables._form_rows(measured + effects("nested 1.5", 0.9, 0, 0))
    assert what.startswith("sex, cfg at a shift of 1, p predictor")
    assert text == "1.25; 0.10; 0.0200"
    assert [text for _, text in others] == ["not reached"]


def test_models_of_one_name_are_refused(script, tmp_path, capsys):
    """Their figures would stand under one name."""
    command = ["--data", ".", "--output", tmp_path, "--model", "old/tiny", "--model", "new/tiny"]
    with pytest.raises(SystemExit):
        script.parse([str(part) for part in command])
    assert "names, which must differ" in capsys.readouterr().err
