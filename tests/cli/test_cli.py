import dataclasses
import inspect
import runpy
import subprocess
import sys

import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import cxrcausal as cx
from cxrcausal import cli
from cxrcausal.cli import main
from cxrcausal.cli.app import app, read_assignments
from cxrcausal.errors import CxrCausalError
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
        assert "no patient's radiographs" in figure.info["Synthetic"]
    with Image.open(tmp_path / "synthetic_patient.png") as picture:
        assert "Synthetic" in picture.info


@pytest.fixture
def coarse(tmp_path):
    """The shipped default, but painted in one step of the flow."""
    model = cx.load_pretrained("cxr19-tiny")
    model.image.recipe = dataclasses.replace(
        model.image.recipe, solver=cx.image.Solver("euler", 1)
    )
    return model.save(tmp_path / "coarse")


def test_demo_on_a_file(tmp_path, coarse):
    pixels = (torch.rand(80, 100) * 255).byte().numpy()
    Image.fromarray(pixels).save(tmp_path / "radiograph.png")
    known = ["--metadata", "age=40", "--metadata", "sex=Male"]
    result = RUN.invoke(
        app,
        [
            "demo",
            "--image",
            str(tmp_path / "radiograph.png"),
            *known,
            "--model",
            str(coarse),
            "--output",
            str(tmp_path / "out"),
        ],
    )
    assert result.exit_code == 0, result.output
    table = pd.read_csv(
        tmp_path / "out" / "counterfactuals.csv", index_col=["question", "variable"]
    )
    assert table.loc[("do(sex = Female)", "sex"), "factual"] == "Male"
    assert float(table.loc[("do(age = 70)", "age"), "counterfactual"]) == 70


def test_errors_are_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "radiograph.png").write_bytes(b"no image")
    monkeypatch.setattr(
        "sys.argv",
        [
            "cxrcausal",
            "demo",
            "--image",
            str(tmp_path / "radiograph.png"),
            "--output",
            str(tmp_path),
        ],
    )
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("ImageError: ")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["radiograph.png"]


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


def refused(*arguments):
    """What is said of a command line that is refused: one sentence, no traceback."""
    result = RUN.invoke(app, list(map(str, arguments)), env={"COLUMNS": "400"})
    assert result.exit_code != 0
    if isinstance(result.exception, SystemExit):
        return result.output
    assert isinstance(result.exception, CxrCausalError), result.exception
    return str(result.exception)


@pytest.fixture
def radiograph(tmp_path):
    Image.new("L", (64, 64), 90).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.fixture
def table(tmp_path, radiograph):
    """Three patients with a radiograph each, in the graph's own layout."""
    rows = {"image": [str(radiograph)] * 3, "age": [50, 60, 70], "sex": ["Male"] * 3}
    unknown = {name: [None] * 3 for name in load_graph("cxr19").variables if name not in rows}
    pd.DataFrame(rows | unknown).to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


@pytest.mark.parametrize(
    ("key", "words"),
    [("sexx", "did you mean 'sex'"), ("agee", "did you mean 'age'"), ("weight", "It has: ")],
)
def test_metadata_of_no_variable_are_refused(tmp_path, radiograph, key, words):
    said = refused(
        "demo", "--image", radiograph, "--metadata", f"{key}=5", "--output", tmp_path / "out"
    )
    assert f"--metadata {key!r} is not a variable of graph 'cxr19'" in said
    assert words in said
    assert not (tmp_path / "out").exists()


def test_one_key_has_one_value(tmp_path, radiograph, table):
    twice = ["--metadata", "sex=Male", "--metadata", "sex=Female"]
    assert "--metadata gives 'sex' twice" in refused("demo", "--image", radiograph, *twice)
    twice = ["--do", "sex=Male", "--do", " sex=Female"]
    said = refused("counterfactual", "--table", table, *twice, "--output", tmp_path / "out")
    assert "--do gives 'sex' twice" in said


def test_a_demo_of_a_graph_without_its_questions_is_refused(tmp_path):
    graph = cx.CausalGraph([cx.Variable("a", "binary", ("n", "p"))], name="small")
    scm = cx.FlowSCM(graph).fit(pd.DataFrame({"a": ["n", "p"] * 20}), progress=False)
    cx.CounterfactualModel(scm).save(tmp_path / "model")
    said = refused("demo", "--model", tmp_path / "model", "--output", tmp_path / "out")
    assert "graph 'small' has no 'sex', 'age', 'pleural_effusion'" in said


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_is_a_number_of_rows(tmp_path, table, limit):
    said = refused(
        "counterfactual", "--table", table, "--do", "sex=Female", "--limit", limit,
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert "Invalid value for '--limit'" in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows.drop(columns="image"), "the table has no column 'image'"),
        (lambda rows: rows.assign(image=[*rows["image"][:2], None]), "'image', row 2: no radiog"),
        (lambda rows: rows.head(0), "has no rows"),
    ],
    ids=["no column", "an empty cell", "no rows"],
)
def test_a_table_that_names_no_radiographs_is_refused(tmp_path, table, change, words):
    change(pd.read_csv(table)).to_csv(table, index=False)
    said = refused(
        "counterfactual", "--table", table, "--do", "sex=Female", "--output", tmp_path / "out"
    )
    assert words in said
    assert not (tmp_path / "out").exists()


def test_a_graph_is_drawn_in_a_format_that_is_known(tmp_path):
    said = refused("graph", "--output", tmp_path / "g.xyz")
    assert "--output ends in '.xyz'; allowed: .png, .pdf, .svg" in said
    assert not list(tmp_path.iterdir())


def test_the_package_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "cxrcausal", "--version"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == cx.__version__


def test_the_command_line_runs_as_a_module(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["cxrcausal.cli", "--version"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module("cxrcausal.cli", run_name="__main__")
    assert stopped.value.code == 0
    assert capsys.readouterr().out.strip() == cx.__version__


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
         "--num-steps", "1", "--output", str(tmp_path / "out")],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "counterfactual_000000.png").exists()
    assert (tmp_path / "out" / "figure.png").exists()


def test_version():
    assert RUN.invoke(app, ["--version"]).output.strip() == "0.1.0"


def test_assignments():
    assert read_assignments(["age=40", "sex = Male"], "--do") == {"age": "40", "sex": "Male"}
