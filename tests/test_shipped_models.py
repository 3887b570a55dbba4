"""What is shipped is what the recipe, the graph and the curves beside it say."""

import json

import pandas as pd
import pytest

import cxrcausal as cx
from cxrcausal.effect import ate
from cxrcausal.image import ImageRecipe, load_recipe
from cxrcausal.shipped import shipped_folder

TINY = shipped_folder("generative") / "cxr19-tiny"


def test_the_shipped_models_are_these():
    assert cx.list_pretrained() == ("cxr19-public", "cxr19-tiny")
    assert cx.load_pretrained("cxr19-public").image is None


@pytest.mark.parametrize("name", cx.list_pretrained())
def test_a_shipped_model_is_of_the_shipped_graph(name):
    assert cx.load_pretrained(name).graph == cx.load_graph("cxr19")


def test_the_image_model_was_trained_by_the_shipped_recipe():
    record = json.loads((TINY / "image.json").read_text(encoding="utf-8"))
    assert ImageRecipe.from_dict(record["recipe"]) == load_recipe("radit-tiny")
    assert record["training"]["images_shown"] == load_recipe("radit-tiny").training.num_images
    loss = pd.read_csv(TINY / "loss.csv")
    assert loss["step"].is_monotonic_increasing
    assert loss["images"].iloc[-1] == record["training"]["images_shown"]


def test_parents_help_on_held_out_radiographs():
    """The curve that is shipped ends with a lower loss where the parents are told."""
    held_out = pd.read_csv(TINY / "held_out.csv")
    assert held_out["loss_complete"].iloc[-1] < held_out["loss_null"].iloc[-1]


def test_a_level_asks_for_what_it_is_called():
    """Seen levels stand in the graph's order, so that a parent's row of weights is its own."""
    model = cx.load_pretrained("cxr19-tiny")
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
