"""The simulation of audits: its truth is what it says, and all of it runs."""

import json
from pathlib import Path

import pytest
from script import run_script

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "audit_coverage.py"


def test_the_truth_is_that_of_the_weights(tmp_path):
    run_script(SCRIPT, "--quick", "--output", tmp_path, folder=tmp_path)
    report = json.loads((tmp_path / "audit_coverage.json").read_text(encoding="utf-8"))
    by = {line["effect_left"]: line for line in report["lines"]}
    assert by[0.0]["mean_true_shift"] == pytest.approx(0, abs=1e-12)
    whole = by[1.0]["mean_true_shift"]
    assert whole > 0.01
    assert by[0.1]["mean_true_shift"] == pytest.approx(0.1 * whole)
    assert by[1.0]["says_differs"] == 1.0  # an effect of that size is found in twenty patients
    assert all(0 <= line["interval_holds"] <= 1 for line in report["lines"])
    low, high = report["holds_within"]
    assert low < 0.95 < high
    assert (tmp_path / "power.png").stat().st_size > 1_000
