"""Every example runs in its tiny mode, on synthetic and on real patients."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from script import run_script

import cxrcausal as cx

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
WRITES = {
    "own_mechanism": ["scm/scm.json", "scm/scm.safetensors", "scores.csv"],
    "fit_metadata": ["scm.json", "scm.safetensors"],
    "train_radit": ["image.json", "image.safetensors", "loss.csv", "held_out.csv"],
    "counterfactual": ["sex/figure.png", "effusion/counterfactual.csv", "older/provenance.json"],
    "phantoms": ["samples.png", "variables-1.png", "variables-3.png"],
    "animations": ["age.gif", "view.gif", "pleural_effusion.gif", "guidance.gif"],
    "fairness_audit": ["audit.csv", "audit.png"],
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


# --- the audit, with an image mechanism and classifiers whose answers are known


class Strips:
    """Paints sex and cardiomegaly each into a strip of its own; guidance brightens a third
    strip."""

    def __init__(self):
        graph = cx.load_graph("cxr19")
        self.attributes = [graph.variables[name] for name in ("sex", "cardiomegaly")]

    def encode(self, table):
        codes = [table[v.name].cat.codes.to_numpy().astype(np.float32) for v in self.attributes]
        return torch.tensor(np.stack(codes, axis=1)), {}

    def strips(self, parents, guided=0.0):
        out = torch.zeros(len(parents), 1, 3, 1)
        out[:, 0, :2, 0] = parents
        out[:, 0, 2, 0] = guided
        return out

    def abduct(self, images, parents, *, solver=None):
        return images - self.strips(parents)

    def predict(self, noise, parents, *, guidance=None, groups=None, solver=None):
        return noise + self.strips(parents, groups[0].any(dim=1) * guidance.intervened)


class Reads:
    """A classifier that reads one strip of the image."""

    def __init__(self, strip):
        self.strip = strip

    def score(self, images):
        return pd.DataFrame({"cardiomegaly": images[:, 0, self.strip, 0].double().numpy()})


@pytest.fixture
def audit(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    import fairness_audit

    return fairness_audit.audit


@pytest.mark.parametrize(
    ("strip", "beyond", "null"),
    [(0, [1.0, -1.0], 0.0), (1, [0.0, 0.0], 0.0), (2, [0.0, 0.0], 1.5)],
)
def test_audit_counts_what_goes_beyond_the_guided_null(audit, strip, beyond, null):
    """Only a classifier that reads sex moves: findings are held, and guidance stands in the null
    too."""
    rows = pd.DataFrame(
        {
            "sex": pd.Categorical(["Female", "Male", "Female", None, "Male"], ["Female", "Male"]),
            "cardiomegaly": pd.Categorical(["negative", "positive"] * 2 + ["negative"]),
            "patient_id": list("abcde"),
        }
    )
    images = torch.rand(5, 1, 3, 1, generator=torch.Generator().manual_seed(0))
    table = audit(SimpleNamespace(image=Strips()), Reads(strip), images, rows)
    assert list(table["radiographs"]) == [2, 2]  # the patient of unknown sex is left out
    np.testing.assert_allclose(table["beyond_null"], beyond, atol=1e-6)
    np.testing.assert_allclose(table["null"], null, atol=1e-6)
