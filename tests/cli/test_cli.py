import inspect

import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from cxrcausal import cli
from cxrcausal.cli import main
from cxrcausal.cli.app import app, read_assignments
from cxrcausal.graph import load_graph

RUN = CliRunner()


def test_demo_on_a_synthetic_patient(tmp_path):
    result = RUN.invoke(app, ["demo", "--output", str(tmp_path)])
    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "counterfactuals.csv")
    assert table["question"].nunique() == 3
    assert len(table) == 3 * 19
    asked = table[table["role"] == "intervened"]
    assert list(asked["variable"]) == ["sex", "age", "pleural_effusion"]
    with Image.open(tmp_path / "counterfactuals.png") as figure:
        assert figure.width > 1000
    with Image.open(tmp_path / "synthetic_patient.png") as picture:
        assert "Synthetic" in picture.info


def test_demo_on_a_file(tmp_path):
    pixels = (torch.rand(80, 100) * 255).byte().numpy()
    Image.fromarray(pixels).save(tmp_path / "film.png")
    known = ["--metadata", "age=40", "--metadata", "sex=Male"]
    result = RUN.invoke(
        app,
        ["demo", "--image", str(tmp_path / "film.png"), *known, "--output", str(tmp_path / "out")],
    )
    assert result.exit_code == 0, result.output
    table = pd.read_csv(
        tmp_path / "out" / "counterfactuals.csv", index_col=["question", "variable"]
    )
    assert table.loc[("do(sex = Female)", "sex"), "factual"] == "Male"
    assert float(table.loc[("do(age = 70)", "age"), "counterfactual"]) == 70


def test_errors_are_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "film.png").write_bytes(b"no image")
    monkeypatch.setattr(
        "sys.argv",
        ["cxrcausal", "demo", "--image", str(tmp_path / "film.png"), "--output", str(tmp_path)],
    )
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("ImageError: ")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["film.png"]


def test_an_output_that_cannot_be_written_is_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("no folder")
    output = tmp_path / "file" / "graph.svg"
    monkeypatch.setattr("sys.argv", ["cxrcausal", "graph", "--output", str(output)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert str(tmp_path / "file") in shown


def test_importing_the_command_line_shadows_no_command():
    """`cxrcausal.cli.graph` is the file of the command, as its name says."""
    assert all(inspect.ismodule(module) for module in (cli.graph, cli.demo, cli.counterfactual))
    assert {command.callback.__name__ for command in app.registered_commands} >= {
        "graph", "demo", "counterfactual",
    }  # fmt: skip


def test_metadata_without_an_image_is_refused(tmp_path):
    result = RUN.invoke(app, ["demo", "--metadata", "age=4", "--output", str(tmp_path)])
    assert result.exit_code == 2
    assert "give both" in result.output


def test_graph_in_three_forms(tmp_path):
    assert "lung_opacity ←" in RUN.invoke(app, ["graph", "cxr19"]).output
    assert "-->" in RUN.invoke(app, ["graph", "cxr19", "--mermaid"]).output
    assert RUN.invoke(app, ["graph", "--output", str(tmp_path / "g.svg")]).exit_code == 0
    assert "<svg" in (tmp_path / "g.svg").read_text()


def test_counterfactual_of_a_table(tmp_path):
    Image.new("L", (64, 64), 90).save(tmp_path / "a.png")
    rows = {"image": [str(tmp_path / "a.png")], "age": [50], "sex": ["Male"], "patient_id": ["x"]}
    unknown = {name: [None] for name in load_graph("cxr19").variables if name not in rows}
    pd.DataFrame(rows | unknown).to_csv(tmp_path / "t.csv", index=False)
    result = RUN.invoke(
        app,
        ["counterfactual", "--table", str(tmp_path / "t.csv"), "--do", "sex=Female",
         "--output", str(tmp_path / "out")],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "counterfactual_000000.png").exists()
    assert (tmp_path / "out" / "figure.png").exists()


def test_version():
    assert RUN.invoke(app, ["--version"]).output.strip() == "0.1.0"


def test_assignments():
    assert read_assignments(["age=40", "sex=Male"], "--do") == {"age": 40.0, "sex": "Male"}
