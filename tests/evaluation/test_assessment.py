"""One page on an image model, from Python and from the command line."""

import base64
import dataclasses
import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image as PillowImage
from typer.testing import CliRunner

import cxrcausal as cx
from cxrcausal.cli.app import app
from cxrcausal.data import read_image_lists, read_images, split_by_patient
from cxrcausal.errors import ImageError, TableError
from cxrcausal.evaluation import Page, Predictor, assess
from cxrcausal.image import ImageRecipe, RectifiedFlow, load_image_mechanism
from cxrcausal.image.recipe import NetworkRecipe, TrainingRecipe
from cxrcausal.image.solver import Solver
from cxrcausal.pretraining import train_image_model


@pytest.fixture(scope="module")
def lists(synthetic_data: Path) -> Path:
    return synthetic_data / "cxr-real-64" / "images.csv"


@pytest.fixture(scope="module")
def table(lists: Path) -> pd.DataFrame:
    return read_image_lists([lists], dataset="NIH")


@pytest.fixture(scope="module")
def folder(table: pd.DataFrame, tmp_path_factory) -> Path:
    """A model that was trained for two steps."""
    network = NetworkRecipe(
        size=16, patch=4, width=32, depth=1, heads=2, hidden=48, rank=4, embedding=8
    )
    training = TrainingRecipe(num_images=16, batch_size=8, warmup_steps=2)
    recipe = ImageRecipe("small", network=network, solver=Solver(num_steps=2), training=training)
    output = tmp_path_factory.mktemp("model")
    train_image_model(recipe, table, output, progress=False)
    return output


@pytest.fixture(scope="module")
def mechanism(folder: Path) -> RectifiedFlow:
    return load_image_mechanism(folder)


@pytest.fixture(scope="module")
def tested(table: pd.DataFrame) -> pd.DataFrame:
    return table[split_by_patient(table) == "test"].head(24).reset_index(drop=True)


@pytest.fixture(scope="module")
def predictor(table: pd.DataFrame) -> Predictor:
    train = table[split_by_patient(table) == "train"].head(64)
    found = Predictor(cx.load_graph("cxr19"), ("sex", "age"), size=16)
    found.fit(read_images(train["image"], size=16), train, epochs=1)
    return found


@pytest.fixture
def one_shown(monkeypatch):
    """Drawing its grid of radiographs takes most of the time of a page."""
    monkeypatch.setattr("cxrcausal.evaluation.assessment.SHOWN", 1)


def test_the_page_says_what_was_measured_and_shows_it(mechanism, tested, predictor, tmp_path):
    images = read_images(tested["image"], size=16)
    page = assess(
        mechanism, images, tested, {"reader <1>": predictor}, permutations=5, resamples=20
    )
    page.save(tmp_path / "report.html")
    written = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"24 radiographs of {tested['patient_id'].nunique()} patients" in written
    for words in ("There and back", "nats per radiograph", "neighbours", "shift", "recommended"):
        assert words in written
    assert "reader &lt;1&gt;" in written  # names are text, not HTML
    assert "nan" not in re.sub(r'src="[^"]+"', "", written)
    assert "<script" not in written
    for coded in re.findall(r"data:image/png;base64,([^\"]+)", written):
        figure = tmp_path / "figure.png"
        figure.write_bytes(base64.b64decode(coded))
        with PillowImage.open(figure) as opened:
            assert "no patient" in opened.text["Synthetic"]


@pytest.mark.usefixtures("one_shown")
def test_without_predictors_interventions_are_drawn_alone(mechanism, tested):
    few = tested.head(4)
    page = assess(mechanism, read_images(few["image"], size=16), few, permutations=2, resamples=10)
    said = "\n".join(page.parts)
    assert "read by predictors" not in said
    assert said.count("<img") == 2


def test_one_patient_is_too_few(mechanism, tested):
    one = tested.head(3).assign(patient_id="nih-1")
    with pytest.raises(TableError, match="of two patients at least"):
        assess(mechanism, read_images(one["image"], size=16), one)


def test_images_of_another_size_are_refused(mechanism, tested):
    with pytest.raises(ImageError, match=r"this model reads \(batch, 1, 16, 16\)"):
        assess(mechanism, torch.zeros(len(tested), 1, 8, 8), tested)


@pytest.mark.usefixtures("one_shown")
def test_the_command_measures_test_patients_alone(folder, lists, predictor, tmp_path):
    predictor.save(tmp_path / "reader")
    page = tmp_path / "out" / "report.html"
    command = [
        "evaluate", "--model", folder, "--images", lists, "--dataset", "NIH", "--limit", 12,
        "--predictor", tmp_path / "reader", "--output", page,
    ]  # fmt: skip
    run = CliRunner().invoke(app, [str(word) for word in command])
    assert run.exit_code == 0, run.output
    written = page.read_text(encoding="utf-8")
    assert "12 radiographs of" in written
    assert "<td>reader</td>" in written


def test_a_model_that_is_not_there_is_refused(lists, tmp_path):
    command = ["evaluate", "--model", "cxr19-tinny", "--images", lists, "--output", tmp_path / "a"]
    run = CliRunner().invoke(app, [str(word) for word in command])
    assert "did you mean 'cxr19-tiny'" in str(run.exception)


def test_cells_and_words_are_escaped(tmp_path):
    page = Page("a < b")
    page.say("c & d")
    page.table(pd.DataFrame({"<x>": ["<y>", None]}))
    page.save(tmp_path / "page.html")
    written = (tmp_path / "page.html").read_text()
    assert "<title>a &lt; b</title>" in written
    assert "<p>c &amp; d</p>" in written
    assert "<th>&lt;x&gt;</th>" in written
    assert "None" not in written
    assert dataclasses.asdict(page)["title"] == "a < b"
