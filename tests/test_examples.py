"""Every example runs in its tiny mode on the real data, as a reader would start it."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
WRITES = {
    "fit_metadata": ["scm.json", "scm.safetensors"],
    "train_radit": ["image.json", "image.safetensors", "loss.csv", "held_out.csv"],
    "counterfactual": ["sex/figure.png", "effusion/counterfactual.csv", "older/provenance.json"],
    "fairness_audit": ["audit.csv", "audit.png"],
}


def test_every_example_is_here():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(WRITES)


@pytest.mark.parametrize("name", WRITES)
def test_example(name, shared_data, tmp_path):
    run = subprocess.run(
        [
            sys.executable,
            EXAMPLES / f"{name}.py",
            "--data",
            shared_data,
            "--output",
            tmp_path,
            "--tiny",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    for file in WRITES[name]:
        assert (tmp_path / file).stat().st_size > 0
