"""Every benchmark runs from end to end on synthetic patients, small; nothing here is timed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
SMALL = {
    "metadata_likelihood": ["--graphs", "cxr19", "--fits", "NIH", "--patients", "1500"],
    "scm_speed": ["--rows", "200", "--rounds", "1"],
    "mechanisms": ["--rows", "200", "--rounds", "1", "--patients", "150"],
    "ground_truth": ["--rows", "400", "--only", "nominal", "collider-lin", "--families", "nsf"],
    "scm_vs_peers": ["--rows", "100", "--rounds", "1", "--models", "cxrcausal"],
    "training_speed": ["--batch-size", "2", "--steps", "1", "--rounds", "1"],
    "solver_choice": ["--model", "cxr19-tiny", "--films", "2"],
}


def run(name: str, data: Path, folder: Path) -> str:
    """Runs a benchmark as a reader would; returns what it printed."""
    command = [sys.executable, BENCHMARKS / f"{name}.py", *SMALL[name]]
    if name not in ("training_speed", "ground_truth"):
        command += ["--data", data]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_likelihood_is_told_beside_every_peer(synthetic_data, tmp_path):
    pytest.importorskip("sklearn")
    printed = run("metadata_likelihood", synthetic_data, tmp_path)
    assert "verdict:" in printed
    report = json.loads((tmp_path / "metadata_likelihood.json").read_text())
    groups = report["results"][0]["groups"]
    assert {"age", "no_finding", "all others", "whole row"} <= set(groups)
    assert "logistic" in printed
    assert "trees" in printed


def test_scm_speed_checks_what_it_times(synthetic_data, tmp_path):
    ours = json.loads(run("scm_speed", synthetic_data, tmp_path))["cxrcausal"]
    assert ours["composition"] == 1.0
    assert ours["valid_rows"] == 1.0


def test_mechanisms_tell_every_family_of_every_kind(synthetic_data, tmp_path):
    printed = run("mechanisms", synthetic_data, tmp_path)
    for kind in ("continuous", "ordinal", "count", "binary", "nominal"):
        assert kind in printed
    for word in ("direct", "cnf", "nsf", "gumbel", "ordered"):
        assert word in printed


def test_known_counterfactuals_are_met(tmp_path):
    """Few rows, so wide margins; the peers answer where they are installed, and in words where not."""
    printed = run("ground_truth", Path(), tmp_path)
    lines = json.loads((tmp_path / "ground_truth.json").read_text())["lines"]
    found = {(line["scm"], line["model"]): line for line in lines}
    assert found["nominal", "cxrcausal"]["total_variation"] < 0.1
    assert found["collider-lin", "cxrcausal nsf"]["rmse"] < 0.3
    assert all(line["valid_rows"] == 1 for key, line in found.items() if key[1][:3] == "cxr")
    assert "| nominal | total variation |" in printed


def test_peers_are_asked_beside_us(synthetic_data, tmp_path):
    printed = run("scm_vs_peers", synthetic_data, tmp_path)
    ours = json.loads((tmp_path / "scm_vs_peers.json").read_text())["models"]["cxrcausal"]
    assert ours["composition"] == 1.0
    assert ours["valid counterfactual"] == ours["valid interventional"] == 1.0
    assert "| cxrcausal |" in printed


def test_training_speed_compares_networks_of_equal_size(synthetic_data, tmp_path):
    report = json.loads(run("training_speed", synthetic_data, tmp_path))
    assert set(report["images_per_s"]) == {"RadiT", "plain DiT"}
    assert report["ratio_range"][0] <= report["ratio_median"] <= report["ratio_range"][1]


def test_solver_choice_prints_both_errors_of_every_candidate(synthetic_data, tmp_path):
    printed = run("solver_choice", synthetic_data, tmp_path)
    assert printed.count("| midpoint | 12 |") == 5
