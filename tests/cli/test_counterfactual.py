"""The command line asks what Python asks, and its words mean what they say."""

import json

import numpy as np
import pandas as pd
import pydicom
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import cxrcausal as cx
from cxrcausal.cli.app import app, read_interventions, read_values
from cxrcausal.graph import CausalGraph

RUN = CliRunner()
GRAPH = CausalGraph.from_yaml("""
name: words
version: 1.0
variables:
  dose: {kind: continuous, unit: mg}
  word: {kind: nominal, levels: ["nan", "1e3", "007", "+1", "None"]}
  sex: {kind: binary, levels: [Female, Male]}
edges: []
""")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20", 20.0),
        ("+20", cx.shift(20)),
        ("-20", cx.shift(-20)),
        ("*1.5", cx.scale(1.5)),
        ("=-20", -20.0),
        ("=+20", 20.0),
        ("2e1", 20.0),
    ],
)
def test_a_sign_moves_and_a_number_sets(text, expected):
    assert read_interventions({"dose": text}, GRAPH) == {"dose": expected}


@pytest.mark.parametrize("text", ["+", "*x", "-abc", "=", "+-3x"])
def test_a_move_that_is_none_is_refused(text):
    with pytest.raises(typer.BadParameter, match="is no number; allowed: 40 or"):
        read_interventions({"dose": text}, GRAPH)


@pytest.mark.parametrize("word", GRAPH.variables["word"].levels)
def test_a_level_is_a_word_whatever_it_looks_like(word):
    assert read_interventions({"word": word}, GRAPH) == {"word": word}
    assert read_values({"word": word}, GRAPH) == {"word": word}


def test_a_level_may_be_a_number_but_not_a_move():
    assert read_interventions({"sex": "1"}, GRAPH) == {"sex": 1.0}
    assert read_interventions({"sex": "+1"}, GRAPH) == {"sex": "+1"}  # which no level is


@pytest.fixture
def folder(tmp_path):
    """A table in a folder of its own, its radiographs named relative to it."""
    data = tmp_path / "data"
    data.mkdir()
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))
    Image.fromarray(ramp).save(data / "radiograph.png")
    rows = {
        "image": ["radiograph.png"] * 2,
        "age": [34, 90],
        "sex": ["Female", "Male"],
        "view": "PA",
    }
    pd.DataFrame(rows).to_csv(data / "table.csv", index=False)
    return tmp_path


def asked(folder, *options):
    """Runs the command and returns its exit code, its words and the counterfactual table."""
    command = ["counterfactual", "--table", folder / "data" / "table.csv"]
    command += ["--output", folder / "out", *options]
    result = RUN.invoke(app, [str(word) for word in command])
    written = folder / "out" / "counterfactual.csv"
    said = result.output + str(result.exception or "")
    return result.exit_code, said, pd.read_csv(written) if written.exists() else None


@pytest.mark.parametrize(
    ("text", "ages"),
    [("age=+20", None), ("age=20", [20, 20]), ("age=-20", [14, 70]), ("age=*0.5", [17, 45])],
)
def test_moves_and_values_as_in_python(folder, text, ages):
    code, said, table = asked(folder, "--metadata-only", "--do", text)
    if ages is None:  # 110 is a bound that 90 + 20 meets; 91 would leave it
        ages = [54, 110]
    assert code == 0, said
    assert table["age"].tolist() == ages


def test_bounds_are_left_alone_or_clipped(folder):
    code, said, _ = asked(folder, "--metadata-only", "--do", "age=+30")
    assert code != 0
    assert "clip" in said
    code, said, table = asked(folder, "--metadata-only", "--do", "age=+30", "--clip")
    assert code == 0, said
    assert table["age"].tolist() == [64, 110]


def test_samples_and_imputed_cells(folder):
    ask = ["--metadata-only", "--do", "sex=Male", "--num-samples", 3]
    code, said, table = asked(folder, *ask)
    assert code == 0, said
    assert table["sample"].tolist() == [0, 1, 2] * 2
    assert table["edema"].isna().all()
    code, said, table = asked(folder, *ask, "--impute")
    assert code == 0, said
    assert table["edema"].notna().all()


@pytest.mark.parametrize("where", ["beside the table", "a folder that is given"])
def test_radiographs_are_where_the_table_says(folder, where, monkeypatch):
    """Not wherever the command happens to be run."""
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    options = []
    if where == "a folder that is given":
        (folder / "radiographs").mkdir()
        (folder / "data" / "radiograph.png").rename(folder / "radiographs" / "radiograph.png")
        options = ["--images", folder / "radiographs"]
    code, said, _ = asked(folder, "--do", "sex=Male", "--num-steps", 2, "--limit", 1, *options)
    assert code == 0, said
    assert (folder / "out" / "counterfactual_000000.png").exists()


def test_one_default_guidance_everywhere_and_every_weight_can_be_given(folder):
    """The recipe's, in Python, command line and demo."""
    recommended = cx.load_pretrained("cxr19-small").image.guidance
    assert (recommended.form, recommended.intervened) == ("nested", 1.5)
    assert recommended.own  # of single parents: they go where another weight is given
    few = ["--do", "sex=Male", "--num-steps", 1, "--limit", 1]
    for options, expected in (
        ([], recommended),
        (["--intervened", 2, "--descendants", 1.25], cx.Guidance("nested", 2.0, 1.25)),
        (["--form", "anchored", "--invariant", 0.5], cx.Guidance("anchored", 1.5, 1.0, 0.5)),
        (["--own", "sex=2"], cx.Guidance("nested", 1.5, own={"sex": 2.0})),
        (["--invariant", 1.0], recommended),
    ):
        code, said, _ = asked(folder, *few, *options)
        assert code == 0, said
        record = json.loads((folder / "out" / "provenance.json").read_text())
        assert cx.Guidance(**record["guidance"]) == expected


def test_a_weight_of_no_parent_is_refused_in_one_line(folder):
    code, said, _ = asked(folder, "--do", "sex=Male", "--limit", 1, "--own", "sec=2")
    assert code != 0
    assert "weight of 'sec', which is no parent of the image; did you mean 'sex'?" in said


def test_dicom_beside_the_png_and_alone(folder):
    """The same picture, marked; one image may be a file of its own, without a folder."""
    few = ["--do", "sex=Male", "--num-steps", 1]
    code, said, _ = asked(folder, *few, "--dicom", "--num-samples", 2, "--limit", 1)
    assert code == 0, said
    written = sorted((folder / "out").glob("*.dcm"))
    assert [path.name for path in written] == [f"counterfactual_00000{i}.dcm" for i in (0, 1)]
    headers = [pydicom.dcmread(path) for path in written]
    assert len({header.SeriesInstanceUID for header in headers}) == 1
    assert "do(sex = Male); model cxr19-small; graph cxr19" in headers[0].DerivationDescription
    alone = folder / "alone.dcm"
    code, said, _ = asked(folder, *few, "--limit", 1, "--no-mark", "--output", alone)
    assert code == 0, said
    assert not (folder / "alone").exists()
    image = cx.read_image(alone)
    png = cx.read_image(folder / "out" / "counterfactual_000000.png")
    assert (image - png).abs().max() <= 0.51 / 255
    marked = cx.read_image(written[0])
    different = (image - marked).abs()  # by rounding, where a batch has another size
    assert different[..., :18, :].max() > 0.1  # at 128 pixels the mark has two lines
    assert different[..., 18:, :].max() < 1e-3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--output", "a.dcm"], "'a.dcm' is one image, and 2 are asked for"),
        (["--dicom", "--metadata-only"], "this answer is of metadata alone"),
    ],
)
def test_what_is_no_one_radiograph_makes_no_dicom(folder, options, words):
    code, said, _ = asked(folder, "--do", "sex=Male", *options)
    assert code != 0
    assert words in said
