"""What is shipped is what the recipe, the graph and the curves beside it say."""

import json

import pandas as pd
import pytest

import cxrcausal as cx
from cxrcausal.effect import ate
from cxrcausal.image import ImageRecipe, load_recipe
from cxrcausal.shipped import shipped_folder

IMAGE_MODELS = {"cxr19-small": "radit-small", "cxr19-tiny": "radit-tiny"}
"""The shipped image models, and the recipes that trained them."""


def folder_of(name):
    return shipped_folder("generative") / name


def test_the_shipped_models_are_these():
    assert cx.list_pretrained() == ("cxr19-public", *IMAGE_MODELS)
    assert cx.load_pretrained("cxr19-public").image is None


@pytest.mark.parametrize("name", cx.list_pretrained())
def test_a_shipped_model_is_of_the_shipped_graph(name):
    assert cx.load_pretrained(name).graph == cx.load_graph("cxr19")


@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_an_image_model_was_trained_by_the_shipped_recipe(name):
    folder, recipe = folder_of(name), load_recipe(IMAGE_MODELS[name])
    record = json.loads((folder / "image.json").read_text(encoding="utf-8"))
    assert ImageRecipe.from_dict(record["recipe"]) == recipe
    assert record["training"]["images_shown"] == recipe.training.num_images
    loss = pd.read_csv(folder / "loss.csv")
    assert loss["step"].is_monotonic_increasing
    assert loss["images"].iloc[-1] == record["training"]["images_shown"]


def test_the_mean_of_the_larger_model_is_the_smaller_model():
    """One coarse model: what is known of cxr19-tiny holds of cxr19-small at half the size."""
    of_mean = folder_of("cxr19-small") / "coarse" / "image.safetensors"
    assert of_mean.read_bytes() == (folder_of("cxr19-tiny") / "image.safetensors").read_bytes()


@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_parents_help_on_held_out_radiographs(name):
    """The curve that is shipped ends with a lower loss where the parents are told."""
    held_out = pd.read_csv(folder_of(name) / "held_out.csv")
    assert held_out["loss_complete"].iloc[-1] < held_out["loss_null"].iloc[-1]


@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_a_level_asks_for_what_it_is_called(name):
    """Seen levels stand in the graph's order, so that a parent's row of weights is its own."""
    model = cx.load_pretrained(name)
    for name, seen in model.image.observed.items():
        levels = model.graph.variables[name].levels
        if levels:
            assert list(seen) == [level for level in levels if level in seen]


@pytest.mark.parametrize("name", ["cxr19-tiny", "cxr19-public"])
def test_effects_of_shipped_models_count_their_fit(name):
    """On patients of any table: the error of the parameters came with the checkpoint."""
    scm = cx.load_pretrained(name).scm
    found = ate(scm, scm.sample(50, seed=0), "pleural_effusion", "atelectasis", groups=None)
    assert (found.parameters, found.caveat) == ("estimated", "")
    assert 0.002 < found.high - found.low < 0.05  # of 71,335 rows and 213,137
