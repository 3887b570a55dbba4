"""Every benchmark runs from end to end on synthetic patients, small; nothing here is timed."""

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from script import load_script, run_script

import cxrcausal as cx
from cxrcausal.image import ImageRecipe, RectifiedFlow, Solver, load_image_mechanism
from cxrcausal.image.recipe import NetworkRecipe

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
SMALL = {
    "falsify": ["--output", "falsify"],
    "metadata_likelihood": ["--graphs", "cxr19", "--fits", "NIH", "--patients", "1500"],
    "million_rows": ["--rows", "300", "--batches", "64", "7"],
    "missing_data": ["--rows", "200", "--patients", "200", "--graphs", "cxr19", "--threads", "1"],
    "scm_speed": ["--rows", "200", "--rounds", "1"],
    "mechanisms": ["--rows", "200", "--rounds", "1", "--patients", "150"],
    "own_graphs": ["--rows", "400", "--seeds", "1"],
    "ground_truth": ["--rows", "400", "--only", "nominal", "collider-lin", "--families", "nsf"],
    "scm_vs_peers": ["--rows", "100", "--rounds", "1", "--models", "cxrcausal"],
    "labels": ["--graphs", "16", "--most", "4"],
    "selection_verdicts": ["--graphs", "20", "--most", "5"],
    "interval_coverage": ["--studies", "2", "--hidden"],
    "training_speed": ["--batch-size", "2", "--steps", "1", "--rounds", "1"],
    "noise_transport": ["--radiographs", "120", "--tested", "60", "--permutations", "3"],
    "dicom_decoding": ["--rows", "80", "--columns", "60", "--rounds", "1", "--workers", "1"],
    "solver_choice": ["--model", "cxr19-tiny", "--radiographs", "2"],
}


IN_A_PROCESS = ("million_rows", "missing_data", "scm_vs_peers")
"""As a reader starts them: they measure the memory of their process, or start more of them."""


def run(name: str, data: Path, folder: Path, *more: str) -> str:
    """Runs a benchmark; returns what it printed."""
    script, options = BENCHMARKS / f"{name}.py", [*SMALL[name], *more]
    if name not in (
        "dicom_decoding",
        "million_rows",
        "training_speed",
        "ground_truth",
        "own_graphs",
        "selection_verdicts",
        "labels",
        "interval_coverage",
    ):
        options += ["--data", data]
    if name not in IN_A_PROCESS:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            run_script(script, *options, folder=folder)
        return printed.getvalue()
    done = subprocess.run(
        [sys.executable, script, *options],
        cwd=folder, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
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


@pytest.mark.slow
def test_missing_data_is_fitted_both_ways(synthetic_data, tmp_path):
    """Both kinds of gaps, each fit scored on the same rows; the report on disk is what is
    printed."""
    printed = run("missing_data", synthetic_data, tmp_path)
    report = json.loads((tmp_path / "missing_data.json").read_text())
    at_random, pooled, everything = (part["lines"] for part in report["parts"])
    assert [line["test"] for line in at_random] == 2 * ["complete", "30 % removed"]
    assert [line["test"] for line in pooled] == ["NIH", "CheXpert"]
    for line in at_random + pooled:
        assert line["gain"] == pytest.approx(line["em"] - line["available"])
        assert line["standard_error"] > 0
    assert everything[0]["peak_gib"] > 0
    assert (tmp_path / "missing_data.md").read_text() in printed


@pytest.mark.slow
def test_behaviour_is_as_recorded_and_a_changed_cell_is_found(synthetic_data, tmp_path):
    """A record is as itself; one cell in it, one figure or one pixel is a difference."""
    script = [sys.executable, BENCHMARKS / "behaviour.py"]
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    ask = ["record", "--data", synthetic_data, "--output", one, "--rows", "80"]
    done = subprocess.run([*script, *ask], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert subprocess.run([*script, "compare", one, one], check=False).returncode == 0
    for name in ("cells/nih 0", "pixels/noise", "numbers/effects"):
        changed = load_file(one)
        assert changed[name].isfinite().all()
        changed[name].view(-1)[0] += 1
        save_file(changed, other)
        found = subprocess.run([*script, "compare", one, other], capture_output=True, text=True)
        assert found.returncode == 1
        assert name in found.stdout


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_many_rows_have_one_answer_by_any_chunk(synthetic_data, tmp_path):
    run("million_rows", synthetic_data, tmp_path)
    report = json.loads((tmp_path / "million_rows.json").read_text())
    assert report["same_answer"]
    assert [line["rows"] for line in report["lines"]] == [30, 300, 300]


def test_scm_speed_checks_what_it_times(synthetic_data, tmp_path):
    report = json.loads(run("scm_speed", synthetic_data, tmp_path))
    assert report["cxrcausal"]["composition"] == 1.0
    assert report["cxrcausal"]["valid_rows"] == 1.0
    unknown = report["unknown cells"]
    assert unknown["complete"]["unknown"] == 0.0 < unknown["their own"]["unknown"]
    assert unknown["30 % removed"]["unknown"] > 0.25


@pytest.mark.slow
def test_mechanisms_tell_every_family_of_every_kind(synthetic_data, tmp_path):
    printed = run("mechanisms", synthetic_data, tmp_path)
    for kind in ("continuous", "ordinal", "count", "binary", "nominal"):
        assert kind in printed
    for word in ("direct", "cnf", "nsf", "gumbel", "ordered"):
        assert word in printed


def test_known_counterfactuals_are_met(tmp_path):
    """Few rows, so wide margins; the peers answer where they are installed, and in words where
    not."""
    printed = run("ground_truth", Path(), tmp_path)
    lines = json.loads((tmp_path / "ground_truth.json").read_text())["lines"]
    found = {(line["scm"], line["model"]): line for line in lines}
    assert found["nominal", "cxrcausal"]["total_variation"] < 0.1
    assert found["collider-lin", "cxrcausal nsf"]["rmse"] < 0.3
    assert all(line["valid_rows"] == 1 for key, line in found.items() if key[1][:3] == "cxr")
    assert "| nominal | total variation |" in printed


def test_no_verdict_under_selection_is_false(tmp_path):
    """The recursion and exact models agree with every verdict; some effects are claimed."""
    run("selection_verdicts", Path(), tmp_path)
    counts = json.loads((tmp_path / "selection_verdicts.json").read_text())["counts"]
    assert counts["false"] == counts["missed"] == counts["beyond"] == 0
    assert counts["given_false"] == counts.get("given_missed", 0) == 0
    assert 0 < counts["given_selected_claimed"] < counts["given_selected"]
    assert counts["clause_adjusted"] == 0 < counts["clause"]
    assert 0 < counts["claimed"] < counts["questions"]


def test_no_label_of_an_effect_is_false(tmp_path):
    """Exact models agree with every label, and the library's figures are those of the tables."""
    run("labels", Path(), tmp_path)
    counts = json.loads((tmp_path / "labels.json").read_text())["counts"]
    assert counts["false label"] == counts["false bounds"] == counts["false figure"] == 0
    assert counts["false formula"] == 0 < counts["formula named"]
    assert min(counts["label data"], counts["label construction"], counts["figures"]) > 0
    assert counts["bounds said to follow from data"] > 0


@pytest.mark.slow
def test_simple_data_are_answered_like_least_squares(tmp_path):
    """On few rows too; every mechanism of the timed table has a finite held-out score."""
    printed = run("own_graphs", Path(), tmp_path)
    report = json.loads((tmp_path / "own_graphs.json").read_text())
    assert [line["graph"] for line in report["accuracy"]] == ["joe", "diamond", "units"]
    assert all(line["ours"] < 2 * line["ols"] + 0.02 for line in report["accuracy"])
    assert len(report["time"]) == 6
    assert all(-20 < line["nats"] < 0 for line in report["time"])
    assert "Joe, 1.90 by the book" in printed


@pytest.mark.slow
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


def test_noise_transport_is_measured_and_saved(synthetic_data, tmp_path):
    """Whatever it gains, the model's folder holds it afterwards, and noise is kept."""
    recipe = ImageRecipe(
        name="small",
        network=NetworkRecipe(
            size=16, patch=4, width=32, depth=1, heads=2, hidden=48, rank=4, embedding=8
        ),
        solver=Solver("euler", num_steps=2),
    )
    observed = {"age": [0.0, 94.0], "sex": ["Female", "Male"], "view": ["PA", "AP"]}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        flow = RectifiedFlow(cx.load_graph("cxr19"), recipe, observed)
    flow.save(tmp_path / "model", dtype=torch.float16)
    printed = run("noise_transport", synthetic_data, tmp_path, "--model", "model", "--save")
    assert "| what the parents bring |" in printed
    report = json.loads((tmp_path / "runs/noise-transport/noise_transport.json").read_text())
    saved = load_image_mechanism(tmp_path / "model")
    assert saved.transport.record.nats == pytest.approx(report["fit"]["nats"])
    assert saved.transport.record.nats > 0  # an untrained flow leaves nearly everything
    kept = json.loads((tmp_path / "runs/noise-transport/noise.json").read_text())
    assert len(kept["images"]) == 180


@pytest.mark.slow
def test_solver_choice_prints_both_errors_of_every_candidate(synthetic_data, tmp_path):
    printed = run("solver_choice", synthetic_data, tmp_path)
    assert printed.count("| midpoint | 12 |") == 5


def test_the_flow_of_one_number_agrees_with_torchdiffeq(tmp_path, capsys):
    run_script(BENCHMARKS / "solver_choice.py", "--numbers", "--rounds", 1, folder=tmp_path)
    gaps = [float(line.split("|")[-2]) for line in capsys.readouterr().out.splitlines()[2:]]
    assert len(gaps) == 8
    assert max(gaps) < 1e-14


def test_the_exact_abduction_keeps_what_the_other_changes(tmp_path):
    """The figure's claim, by its own script: a wrong distribution moves levels nobody set."""
    script = load_script(BENCHMARKS / "discrete_abduction.py")
    report = script.main(["--output", str(tmp_path / "figure.png")])
    for (_, q), found in zip(script.CASES.values(), report.values(), strict=True):
        assert found["cxrcausal"]["flipped"] == 0.0
        assert found["cxrcausal"]["distribution"] == pytest.approx(q[-1], abs=1e-12)
        assert found["truncated at the maximum's distribution"]["distribution"] == pytest.approx(
            q[-1], abs=0.005
        )
        assert found["truncated at the winner's own distribution"]["flipped"] > 0.3
    assert (tmp_path / "figure.png").stat().st_size > 0


def test_falsify_counts_every_claim_of_both_graphs(synthetic_data, tmp_path):
    output = tmp_path / "falsify"
    run("falsify", synthetic_data, tmp_path)
    report = json.loads(output.with_suffix(".json").read_text())
    assert set(report["counts"]) == {
        f"{graph}, {kind}"
        for graph in ("cxr19", "cxr19-extended")
        for kind in ("independence", "edge")
    }
    assert "independencies" in output.with_suffix(".md").read_text()


def test_intervals_are_counted_in_every_design(tmp_path):
    """Two studies: too few for a coverage, enough to see that fixed parameters are too narrow."""
    printed = run("interval_coverage", Path(), tmp_path)
    report = json.loads((tmp_path / "interval_coverage.json").read_text())
    found = {(f["design"], f["interval"], f["effect"]): f for f in report["found"]}
    assert len(found) == 3 * 2 * 3
    for design in ("independent", "clustered", "other patients"):
        for effect in ("ATE", "NIE", "ETT"):
            default, fixed = (
                found[design, interval, effect] for interval in ("default", "parameters fixed")
            )
            assert default["mean"] == fixed["mean"]
            assert default["width"] > 5 * fixed["width"] > 0
            assert 0 < default["truth"] < 0.3
    assert (tmp_path / "interval_coverage.md").read_text() in printed


def test_dicom_is_decoded_beside_a_plain_loop(tmp_path):
    output = tmp_path / "dicom_decoding.json"
    printed = run("dicom_decoding", Path(), tmp_path, "--output", str(output))
    report = json.loads(output.read_text())
    assert {"uncompressed", "run-lengths", "jpeg-baseline"} <= set(report["files"])
    for entry in report["files"].values():
        assert entry["ratios"]["one process / plain"] > 0
        assert len(entry["rounds"]) == 1
    assert output.with_suffix(".md").read_text() in printed
