"""Every example runs in its tiny mode, on synthetic and on real patients."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from script import run_script

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
WRITES = {
    "own_mechanism": ["scm/scm.json", "scm/scm.safetensors", "scores.csv"],
    "fit_metadata": ["scm.json", "scm.safetensors"],
    "train_radit": ["image.json", "image.safetensors", "loss.csv", "held_out.csv"],
    "counterfactual": ["sex/figure.png", "effusion/counterfactual.csv", "older/provenance.json"],
    "phantoms": ["samples.png", "variables-1.png", "variables-3.png"],
    "failures": ["not_radiographs.png", "guidance.png", "round_trip.csv"],
    "animations": ["age.gif", "view.gif", "pleural_effusion.gif", "guidance.gif"],
    "fairness_audit": ["audit.png", "report.html", "report.json", "effects.csv"],
    "underdiagnosis": ["underdiagnosis.png", "report.html", "rates.csv", "look.csv"],
    "counterfactual_augmentation": ["results.csv", "augmented/shards.json", "augmented/cells.csv"],
    "effects": ["identified.png", "bounded.png"],
    "causal_tutorial": ["1-falsify.png", "2-check.png", "3-identified.png", "4-patient.png"],
}

IN_A_PROCESS = "own_mechanism"
"""As a reader starts it: it registers a mechanism, which no other test should meet."""


def test_every_example_is_here():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(WRITES)


@pytest.mark.parametrize("name", WRITES)
def test_example(name, any_data, tmp_path):
    script, options = EXAMPLES / f"{name}.py", ["--data", any_data, "--output", tmp_path, "--tiny"]
    if name == IN_A_PROCESS:
        run = subprocess.run(
            [sys.executable, script, *options],
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
    else:
        run_script(script, *options, folder=tmp_path)
    for file in WRITES[name]:
        assert (tmp_path / file).stat().st_size > 0
    if name == "train_radit":
        training = json.loads((tmp_path / "image.json").read_text())["training"]
        assert set(training) == {
            "precision",
            "images_shown",
            "radiographs",
            "images_fingerprint",
            "date",
            "torch",
        }


def test_underdiagnosis_needs_no_data(tmp_path):
    """On phantoms: every group's rate for both classifiers, and what the look of sex adds."""
    script = EXAMPLES / "underdiagnosis.py"
    run_script(script, "--phantom", "--tiny", "--output", tmp_path, folder=tmp_path)
    rates, look = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("rates", "look"))
    assert set(rates["classifier"]) == {"clean", "underreported"}
    assert rates["value"].between(0, 1).all()
    people = rates.query("classifier == 'clean'").set_index("group")["radiographs"]
    assert people["Female"] == people["Female, under 50"] + people["Female, 50 and over"]
    assert look.groupby("classifier").size().tolist() == [5, 5]
    assert look["value"].between(-1, 1).all()


def test_augmentation_needs_no_data(tmp_path):
    """Its phantoms have exact counterfactuals: none of them fails to come back."""
    script = EXAMPLES / "counterfactual_augmentation.py"
    run_script(script, "--phantom", "--output", tmp_path, "--tiny", folder=tmp_path)
    cells = pd.read_csv(tmp_path / "augmented" / "cells.csv")
    assert cells["needed"].sum() > 0
    assert (cells["not_reconstructed"] == 0).all()
    results = pd.read_csv(tmp_path / "results.csv")
    assert set(results["trained"]) > {"as it is", "resampled", "counterfactuals"}
    with pytest.raises(SystemExit):
        run_script(script, "--output", tmp_path, folder=tmp_path)
