"""The command audits what Python audits, and its exit code says whether a limit was passed."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from cxrcausal.cli.app import app
from cxrcausal.counterfactual import CounterfactualModel
from cxrcausal.data import split_by_patient
from cxrcausal.data.source import FINDINGS
from cxrcausal.errors import OptionError, TableError
from cxrcausal.evaluation import Predictor
from cxrcausal.graph import load_graph
from cxrcausal.image import RectifiedFlow, Solver, load_recipe
from cxrcausal.pretrained import load_pretrained

RUN = CliRunner()


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory):
    """Six grey images of three patients in a list, as `cxrcausal.data.source.image_list` reads."""
    folder = tmp_path_factory.mktemp("list")
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "image": [f"{i}.png" for i in range(6)],
            "source": "nih-chestxray14",
            "patient_id": [f"p{i // 2}" for i in range(6)],
            "age": [30, 31, 50, 51, 60, 61],
            "sex": ["Female", "Female", "Male", "Male", "Female", "Female"],
            "view": "PA",
            **dict.fromkeys(FINDINGS, 0),
            "Pleural Effusion": [0, 1, 0, 1, 0, 1],
            "No Finding": [1, 0, 1, 0, 1, 0],
        }
    )
    for name in table["image"]:
        pixels = np.kron(rng.integers(60, 200, (8, 8)), np.ones((8, 8)))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
    table.to_csv(folder / "images.csv", index=False)
    (folder / "own_classifier.py").write_text(
        "def effusion(images):\n    return images.mean(dim=(1, 2, 3))\n"
    )
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The shipped metadata with a new image network, which replays a radiograph's own noise."""
    recipe = load_recipe("radit-tiny")
    network = dataclasses.replace(
        recipe.network, width=32, depth=1, heads=2, hidden=48, rank=4, embedding=8
    )
    recipe = dataclasses.replace(recipe, network=network, solver=Solver("midpoint", 2))
    shipped = load_pretrained("cxr19-tiny")
    image = RectifiedFlow(load_graph("cxr19"), recipe, observed=shipped.image.observed)
    folder = tmp_path_factory.mktemp("model") / "new"
    CounterfactualModel(shipped.scm, image, name="new").save(folder)
    return folder


@pytest.fixture
def asked(radiographs, model):
    def run(output, *more):
        command = ["fairness", "--images", radiographs / "images.csv", "--output", output]
        command += ["--model", model, "--all", *more]
        return RUN.invoke(app, [*map(str, command)], catch_exceptions=False)

    return run


def test_own_classifiers_and_predictors_answer_side_by_side(
    asked, radiographs, tmp_path, monkeypatch
):
    monkeypatch.chdir(radiographs)
    folder = tmp_path / "reader"
    predictor = Predictor("cxr19", ["pleural_effusion", "sex"], size=64, width=8)
    images = np.random.default_rng(1).random((8, 1, 64, 64)).astype(np.float32)
    rows = pd.DataFrame(
        {
            "patient_id": [*"abcdefgh"],
            "pleural_effusion": ["negative", "positive"] * 4,
            "sex": ["Female", "Male"] * 4,
        }
    )
    predictor.fit(torch.from_numpy(images), rows, validation=np.arange(8) < 2, epochs=1)
    predictor.save(folder)
    run = asked(
        tmp_path / "out", "--classifier", "own_classifier:effusion",
        "--predictor", folder, "--json", "--fail-if", "largest_shift > 10",
    )  # fmt: skip
    assert run.exit_code == 0, run.output
    printed = json.loads(run.stdout)
    names = {(e["classifier"], e["output"]) for e in printed["effects"]}
    assert names == {("own_classifier:effusion", "score"), ("reader", "pleural_effusion")}
    assert printed == json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert (tmp_path / "out" / "report.html").exists()


def test_a_limit_that_is_passed_is_an_exit_code_and_the_page_is_there(
    asked, radiographs, tmp_path, monkeypatch
):
    monkeypatch.chdir(radiographs)
    run = asked(
        tmp_path / "out", "--classifier", "own_classifier:effusion",
        "--fail-if", "largest_shift >= 0", "--fail-if", "largest_flip_rate > 1",
    )  # fmt: skip
    assert run.exit_code == 3
    assert "failed: largest_shift >= 0" in run.stderr
    assert "largest_flip_rate" not in run.stderr
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--classifier", "own_classifier"], "takes module:name"),
        (["--classifier", "no_such_module:f"], "no module 'no_such_module'"),
        (["--classifier", "own_classifier:efusion"], "has no attribute 'efusion'"),
        ([], "no classifier"),
        (["--fail-if", "largest shift > 1"], "is no comparison"),
    ],
)
def test_what_is_no_classifier_is_refused(asked, radiographs, tmp_path, monkeypatch, more, says):
    monkeypatch.chdir(radiographs)
    with pytest.raises(OptionError, match=says):
        asked(tmp_path / "out", *more)
    assert not (tmp_path / "out").exists()


def test_a_list_without_test_patients_is_refused(radiographs, tmp_path, monkeypatch):
    monkeypatch.chdir(radiographs)
    table = pd.read_csv("images.csv")
    table = table[split_by_patient(table) != "test"]
    table.to_csv("training.csv", index=False)
    command = ["fairness", "--images", "training.csv", "--output", str(tmp_path / "out")]
    with pytest.raises(TableError, match="0 radiographs are of test patients"):
        RUN.invoke(
            app, [*command, "--classifier", "own_classifier:effusion"], catch_exceptions=False
        )


def test_a_table_in_nih_s_columns_at_the_classifier_s_size(
    radiographs, model, tmp_path, monkeypatch
):
    """Two attributes at once, radiographs twice the model's size, the table as NIH writes it."""
    monkeypatch.chdir(radiographs)
    rows = pd.read_csv(radiographs / "images.csv")
    pd.DataFrame(
        {
            "Image Index": rows["image"],
            "Finding Labels": np.where(rows["Pleural Effusion"] == 1, "Effusion", "No Finding"),
            "Patient ID": rows["patient_id"].str[1:].astype(int),
            "Patient Age": rows["age"],
            "Patient Gender": rows["sex"].str[0],
            "View Position": rows["view"],
        }
    ).to_csv(radiographs / "Data_Entry_2017.csv", index=False)
    command = ["fairness", "--images", radiographs / "Data_Entry_2017.csv", "--source", "nih"]
    command += ["--classifier", "own_classifier:effusion", "--model", model, "--all"]
    command += ["--protected", "sex+age", "--resolution", 128, "--output", tmp_path]
    done = RUN.invoke(app, [*map(str, command), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["provenance"]["together"] == [["sex", "age"]]
    assert report["provenance"]["pixels"] == {"model": 64, "classifier": 128}
    assert {line["attribute"] for line in report["effects"]} == {"sex", "age", "sex, age"}
