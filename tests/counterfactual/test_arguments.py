"""Arguments are taken in every usual form, and refused before any work where they cannot be."""

import json

import numpy as np
import pytest
import torch

import cxrcausal as cx
from cxrcausal.errors import ImageError, InterventionError, RecipeError

STEPS = 3


def test_arrays_of_floats_are_images(model, patients):
    images, rows = patients

    def ask(given):
        return model.counterfactual(
            given, rows.head(2), {"sex": "Male"}, num_steps=1, seed=0
        ).images

    expected = ask(images[:2])
    array = images[:2].numpy().astype(np.float64)
    array.flags.writeable = False
    flipped = np.ascontiguousarray(array[:, :, ::-1])[:, :, ::-1]
    for given in (array, array.astype(">f4"), flipped, images[:2].clone().requires_grad_()):
        torch.testing.assert_close(ask(given), expected)


def test_numbers_of_numpy_are_numbers(model, patients, tmp_path):
    guidance = cx.Guidance("nested", intervened=np.float32(2), descendants=np.int64(1))
    model.counterfactual(
        patients[0][:1],
        patients[1].head(1),
        {"sex": "Male"},
        guidance=guidance,
        num_steps=np.int64(STEPS),
        batch_size=np.int64(2),
        seed=0,
    ).save(tmp_path)
    record = json.loads((tmp_path / "provenance.json").read_text())
    assert record["guidance"]["intervened"] == 2
    assert record["image"]["solver"]["num_steps"] == STEPS


def add_ten(rows):
    return rows["age"] + 10


def test_provenance_names_a_function(model, patients):
    answer = model.counterfactual(
        None, patients[1], {"age": add_ten, "sex": np.str_("Male")}, clip=True, metadata_only=True
    )
    assert answer.provenance["do"]["age"].endswith("test_arguments.add_ten")
    assert json.loads(json.dumps(answer.provenance))["do"]["sex"] == "Male"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"batch_size": 0}, ImageError, "batch_size is 0; it must be a whole number, at least 1"),
        ({"batch_size": -1}, ImageError, "batch_size is -1"),
        ({"batch_size": 2.0}, ImageError, r"batch_size is 2\.0"),
        ({"batch_size": True}, ImageError, "batch_size is True"),
        ({"num_steps": 1.5}, RecipeError, r"num_steps 1\.5 must be a whole number, at least 1"),
        ({"num_steps": 0}, RecipeError, "num_steps 0"),
        ({"num_steps": "4"}, RecipeError, "num_steps '4'"),
        ({"guidance": "nested"}, InterventionError, r"guidance is 'nested'; give a Guidance, as"),
        ({"guidance": {"form": "cfg"}}, InterventionError, "give a Guidance"),
        ({"guidance": cx.Guidance}, InterventionError, "give a Guidance"),
    ],
)
def test_impossible_options_are_refused(model, patients, options, error, words):
    with pytest.raises(error, match=words):
        model.counterfactual(*patients, {"sex": "Male"}, **options)
    if "guidance" not in options:
        with pytest.raises(error, match=words):
            model.sample(2, seed=0, **options)
