"""From a recipe and a table to a model in a folder, and the command that does it."""

import dataclasses
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from typer.testing import CliRunner

import cxrcausal as cx
from cxrcausal.cli.app import app
from cxrcausal.data import read_image_lists, read_shards, shard_images, split_by_patient
from cxrcausal.errors import CheckpointError, ImageError, OptionError, TableError
from cxrcausal.image import ImageRecipe, RectifiedFlow, load_image_mechanism
from cxrcausal.image.recipe import NetworkRecipe, TrainingRecipe
from cxrcausal.image.solver import Solver
from cxrcausal.image.training.trainer import Trainer
from cxrcausal.image.training.warm_start import warm_start
from cxrcausal.pretraining import VALIDATION, train_image_model

GRAPH = cx.load_graph("cxr19")


@pytest.fixture(scope="module")
def small_recipe() -> ImageRecipe:
    network = NetworkRecipe(
        size=16, patch=4, width=32, depth=1, heads=2, hidden=48, rank=4, embedding=8, place_rank=2
    )
    training = TrainingRecipe(num_images=160, batch_size=8, warmup_steps=2, seed=3)
    return ImageRecipe("small", network=network, solver=Solver(num_steps=2), training=training)


@pytest.fixture(scope="module")
def folder(synthetic_data: Path) -> Path:
    return synthetic_data


@pytest.fixture(scope="module")
def table(folder: Path) -> pd.DataFrame:
    return read_image_lists([folder / "cxr-real-64" / "images.csv"], dataset="NIH")


def test_a_model_is_trained_saved_and_says_of_what(small_recipe, table, tmp_path):
    mechanism = train_image_model(small_recipe, table, tmp_path, num_steps=3, progress=False)
    kept = load_image_mechanism(tmp_path)
    for name, value in mechanism.state_dict().items():
        assert torch.allclose(kept.state_dict()[name], value.half().float()), name
    part = split_by_patient(table, validation=(0.36, 0.39))
    record = yaml.safe_load((tmp_path / "image.json").read_text())["training"]
    assert record["radiographs"] == (part == "train").sum()
    assert record["images_shown"] == 3 * small_recipe.training.batch_size


def test_a_training_begins_from_the_weights_of_another(small_recipe, table, tmp_path):
    network = dataclasses.replace(small_recipe.network, place_rank=0)
    plain = dataclasses.replace(small_recipe, name="plain", network=network)
    train_image_model(plain, table, tmp_path / "a", num_steps=2, progress=False)
    first = load_image_mechanism(tmp_path / "a")
    widened = RectifiedFlow(GRAPH, small_recipe)
    record = warm_start(widened, tmp_path / "a")
    assert record["recipe"] == "plain"
    assert record["images_shown"] == 2 * plain.training.batch_size
    parents = first.encode(table.head(3))[0]
    question = (torch.randn(3, 1, 16, 16), torch.rand(3), parents, ~parents.isnan())
    assert torch.allclose(widened.velocity(*question), first.velocity(*question), atol=1e-6)

    start = tmp_path / "a"
    train_image_model(
        small_recipe, table, tmp_path / "b", num_steps=1, start=start, progress=False
    )
    written = yaml.safe_load((tmp_path / "b" / "image.json").read_text())["training"]
    assert written["started_from"]["recipe"] == "plain"

    other = dataclasses.replace(
        small_recipe, network=dataclasses.replace(network, width=16, hidden=24)
    )
    with pytest.raises(CheckpointError, match=r"cannot start a training of recipe 'small'.*here"):
        warm_start(RectifiedFlow(GRAPH, other), start)


def test_a_stopped_run_goes_on_and_ends_as_one_that_was_not(small_recipe, table, tmp_path):
    recipe = dataclasses.replace(
        small_recipe, training=dataclasses.replace(small_recipe.training, balanced=True)
    )
    whole = train_image_model(recipe, table, tmp_path / "a", num_steps=5, progress=False)
    train_image_model(recipe, table, tmp_path / "b", num_steps=2, progress=False)
    parts = train_image_model(recipe, table, tmp_path / "b", num_steps=3, progress=False)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name


@pytest.fixture(scope="module", params=[8, 16])
def shards(request, table, tmp_path_factory) -> Path:
    pytest.importorskip("pyarrow", reason="pyarrow, which shards need, is not installed")
    folder = tmp_path_factory.mktemp("shards") / str(request.param)
    shard_images(table, folder, size=16, bits=request.param)
    return folder


def test_shards_train_what_their_pixels_train(small_recipe, shards, tmp_path):
    """Kept as they were stored until a batch is drawn, they are the same radiographs."""
    read = read_shards(shards)
    stored = train_image_model(small_recipe, read, tmp_path / "a", num_steps=3, progress=False)
    held = (split_by_patient(read.table) == "test").to_numpy()
    assert held.any()
    part = split_by_patient(read.table, validation=VALIDATION).to_numpy()
    torch.manual_seed(small_recipe.training.seed)
    mechanism = RectifiedFlow(GRAPH, small_recipe)
    rows = torch.tensor(part == "train")
    trainer = Trainer(mechanism, read.pixels(rows), read.table[part == "train"], tmp_path / "b")
    floats = trainer.run(num_steps=3, progress=False)
    for name, value in stored.state_dict().items():
        assert torch.allclose(value, floats.state_dict()[name], atol=1e-7), name


def test_the_command_trains_on_shards(small_recipe, shards, tmp_path):
    recipe = tmp_path / "small.yaml"
    recipe.write_text(yaml.safe_dump(small_recipe.to_dict()), encoding="utf-8")
    command = ["train", "--images", shards, "--recipe", recipe, "--output", tmp_path / "out"]
    done = CliRunner().invoke(app, [*map(str, command), "--num-steps", "2", "--dataset", "NIH"])
    assert done.exit_code == 0, done.output
    assert load_image_mechanism(tmp_path / "out").observed["dataset"] == ["NIH"]
    for more, says in (
        (["--images", str(shards)], "give it alone"),
        (["--dataset", "BRAX"], "no radiograph is of dataset 'BRAX'"),
    ):
        with pytest.raises(OptionError, match=says):
            CliRunner().invoke(app, [*map(str, command), *more], catch_exceptions=False)


def test_shards_of_another_size_are_refused(small_recipe, shards, tmp_path):
    network = dataclasses.replace(small_recipe.network, size=32)
    larger = dataclasses.replace(small_recipe, network=network)
    with pytest.raises(ImageError, match="the shards are of 16 pixels"):
        train_image_model(larger, read_shards(shards), tmp_path, num_steps=1, progress=False)


def test_no_time_left_is_one_step(small_recipe, table, tmp_path):
    train_image_model(small_recipe, table, tmp_path, minutes=0, progress=False)
    assert pd.read_csv(tmp_path / "loss.csv")["step"].tolist() == [1]


def test_what_is_called_at_a_saved_state_holds_the_average(small_recipe, table, tmp_path):
    seen = []

    def keep(mechanism, step):
        assert not mechanism.training
        seen.append((step, {k: v.clone() for k, v in mechanism.state_dict().items()}))

    last = train_image_model(
        small_recipe, table, tmp_path, num_steps=4, save_every=2, on_save=keep, progress=False
    )
    assert [step for step, _ in seen] == [2, 4]
    for name, value in last.state_dict().items():
        assert torch.equal(value, seen[-1][1][name]), name


def test_only_test_patients_are_refused(small_recipe, table, tmp_path):
    tested = table[split_by_patient(table, validation=(0.36, 0.39)) == "test"]
    with pytest.raises(TableError, match="of a patient to train on"):
        train_image_model(small_recipe, tested, tmp_path, progress=False)


def test_another_recipe_in_the_folder_is_refused(small_recipe, table, tmp_path):
    train_image_model(small_recipe, table, tmp_path, num_steps=1, progress=False)
    other = dataclasses.replace(
        small_recipe, path=dataclasses.replace(small_recipe.path, late_share=0.5)
    )
    with pytest.raises(CheckpointError, match="another recipe; its \\['path'\\] differ"):
        train_image_model(other, table, tmp_path, num_steps=1, progress=False)


def test_the_command_trains_draws_samples_and_resumes(
    small_recipe: ImageRecipe, folder: Path, tmp_path: Path
):
    recipe = tmp_path / "small.yaml"
    recipe.write_text(yaml.safe_dump(small_recipe.to_dict()))
    command = [
        "train", "--images", str(folder / "cxr-real-64" / "images.csv"), "--dataset", "NIH",
        "--recipe", str(recipe), "--output", str(tmp_path / "model"), "--num-steps", "2",
        "--save-every", "2",
    ]  # fmt: skip
    for steps in ([2], [2, 4]):
        run = CliRunner().invoke(app, command)
        assert run.exit_code == 0, run.output
        names = sorted(path.name for path in (tmp_path / "model" / "samples").iterdir())
        assert names == [f"{step:07d}.png" for step in steps]
        log = pd.read_csv(tmp_path / "model" / "held_out.csv")
        assert log["step"].tolist() == steps
        assert {"loss_complete", "nats_gap", "nats_gap_late", "bound_complete"} <= set(log)
