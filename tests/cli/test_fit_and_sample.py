"""The commands fit and sample do what Python does, and refuse in words."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

import cxrcausal as cx
from cxrcausal.cli.app import app
from cxrcausal.data import split_by_patient
from cxrcausal.errors import CheckpointError, TableError, UnobservedError

RUN = CliRunner()


def run(*words):
    return RUN.invoke(app, [*map(str, words)], catch_exceptions=False)


@pytest.fixture(scope="module")
def patients(tmp_path_factory):
    """Synthetic patients of a small graph, some of them seen twice."""
    folder = tmp_path_factory.mktemp("patients")
    table = cx.load_pretrained("cxr19-tiny").scm.sample(400, seed=1)
    table = table[["age", "sex", "view", "pleural_effusion"]]
    table = table.rename(columns={"pleural_effusion": "effusion"})
    table["age"] = table["age"].clip(20, 90)
    table["patient_id"] = [f"p{i // 2}" for i in range(len(table))]
    (folder / "graph.yaml").write_text(
        "name: small\nversion: '1'\nvariables:\n"
        "  age: {kind: continuous, role: demographic, unit: years, bounds: [0, 110], "
        "resolution: 1}\n"
        "  sex: {kind: binary, role: demographic, levels: [Female, Male]}\n"
        "  view: {kind: nominal, role: acquisition, levels: [PA, AP, LATERAL]}\n"
        "  effusion: {kind: binary, role: finding, levels: [negative, positive]}\n"
        "edges:\n"
        "  - {from: [age, sex], to: effusion, kind: risk, source: published, rationale: age}\n"
    )
    table.to_csv(folder / "patients.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def fitted(patients, tmp_path_factory):
    output = tmp_path_factory.mktemp("fitted") / "scm"
    done = run(
        "fit", "--table", patients / "patients.csv", "--graph", patients / "graph.yaml",
        "--output", output, "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return output, json.loads(done.stdout)


def test_it_fits_what_python_fits_and_scores_test_patients(patients, fitted):
    output, said = fitted
    graph = cx.load_graph(patients / "graph.yaml")
    table = cx.read_table(patients / "patients.csv", "graph", graph)
    test = split_by_patient(table) == "test"
    assert (said["fitted"], said["scored"]) == ((~test).sum(), test.sum())
    assert said["scored"] > 0
    scm = cx.FlowSCM(graph).fit(table[~test], groups="patient_id", seed=0)
    wanted = scm.score(table[test])
    pd.testing.assert_frame_equal(cx.FlowSCM.load(output).score(table[test]), wanted)
    lines = {line["variable"]: line for line in said["variables"]}
    assert set(lines) == {"age", "sex", "view", "effusion"}
    sex = table.loc[~test, "sex"].value_counts()
    share = (sex + 0.5) / (sex.sum() + 1)
    by_hand = table.loc[test, "sex"].astype(str).map(share.rename(index=str))
    assert lines["sex"]["frequencies"] == pytest.approx(by_hand.apply("log").mean())
    for name, line in lines.items():
        assert line["log_prob"] == pytest.approx(wanted[name].mean())
        assert line["gain"] == pytest.approx(line["log_prob"] - line["frequencies"])


def test_patients_are_drawn_from_what_was_fitted(fitted, tmp_path):
    output, _ = fitted
    asked = ["sample", "--model", output, "-n", 7, "--do", "sex=Male", "--seed", 3]
    done = run(*asked, "--output", tmp_path / "drawn.csv")
    assert done.exit_code == 0, done.output
    drawn = pd.read_csv(tmp_path / "drawn.csv")
    wanted = cx.FlowSCM.load(output).sample(7, {"sex": "Male"}, seed=3)
    assert (drawn["sex"] == "Male").all()
    assert drawn["age"].tolist() == wanted["age"].tolist()
    assert drawn["view"].tolist() == wanted["view"].astype(str).tolist()
    assert len(list(tmp_path.iterdir())) == 1


def test_radiographs_say_that_they_are_synthetic(tmp_path):
    model = cx.load_pretrained("cxr19-tiny")
    model.image.recipe = dataclasses.replace(
        model.image.recipe, solver=cx.image.Solver("euler", 1)
    )
    folder = model.save(tmp_path / "coarse")
    done = run("sample", "--model", folder, "--count", 2, "--output", tmp_path / "two")
    assert done.exit_code == 0, done.output
    table = pd.read_csv(tmp_path / "two" / "patients.csv")
    images, rows = model.sample(2, seed=0)
    assert table["age"].tolist() == rows["age"].tolist()
    for name, image in zip(table["image"], images, strict=True):
        with Image.open(tmp_path / "two" / name) as picture:
            assert "not a patient's radiograph" in picture.info["Synthetic"]
            assert json.loads(picture.info["Provenance"])["seed"] == 0
            grey = (image.clamp(0, 1) * 255).round().byte()[0].numpy()
            assert (np.asarray(picture) == grey).all()
    assert (tmp_path / "two" / "grid.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("change", "more", "says"),
    [
        (lambda t: t.drop(columns="patient_id"), [], "no column 'patient_id'"),
        (lambda t: t[split_by_patient(t) == "test"], [], "all rows are of test patients"),
        (lambda t: t[:0], [], "no rows"),
        (lambda t: t, ["--source", "graph", "--source", "nih"], "2 sources are given of 1"),
    ],
)
def test_what_cannot_be_fitted_is_refused(patients, tmp_path, change, more, says):
    change(pd.read_csv(patients / "patients.csv")).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(TableError, match=says):
        run(
            "fit", "--table", tmp_path / "t.csv", "--graph", patients / "graph.yaml",
            "--output", tmp_path / "scm", *more,
        )  # fmt: skip
    assert not (tmp_path / "scm").exists()


def test_all_rows_are_fitted_and_nobody_scored(patients, tmp_path):
    table = pd.read_csv(patients / "patients.csv").drop(columns="patient_id")
    table.to_csv(tmp_path / "t.csv", index=False)
    done = run(
        "fit", "--table", tmp_path / "t.csv", "--graph", patients / "graph.yaml",
        "--output", tmp_path / "scm", "--all",
    )  # fmt: skip
    assert f"fitted {len(table)} rows, scored 0" in done.output


def test_what_cannot_be_drawn_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="did you mean 'cxr19-tiny'"):
        run("sample", "--model", "cxr19-tyni", "--output", tmp_path / "x.csv")
    with pytest.raises(UnobservedError):
        run(
            "sample", "--model", "cxr19-tiny", "--do", "race=Black", "--output", tmp_path / "x.csv"
        )
    assert not list(tmp_path.iterdir())
