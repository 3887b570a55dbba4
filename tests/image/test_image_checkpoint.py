import json

import pytest
import torch

import cxrcausal as cx
from cxrcausal.errors import CheckpointError
from cxrcausal.image import load_image_mechanism, save_image_mechanism


def edit(folder, **changes):
    record = json.loads((folder / "image.json").read_text())
    (folder / "image.json").write_text(json.dumps(record | changes))


def test_saved_and_loaded_paints_the_same(flow, radiographs, patients, tmp_path):
    save_image_mechanism(flow, tmp_path, training={"images_shown": 5})
    loaded = load_image_mechanism(tmp_path, flow.graph)
    parents = flow.encode(patients)[0]
    assert torch.equal(loaded.abduct(radiographs, parents), flow.abduct(radiographs, parents))
    assert loaded.observed == flow.observed
    assert loaded.recipe == flow.recipe


def test_half_precision_stays_close(flow, radiographs, patients, tmp_path):
    save_image_mechanism(flow, tmp_path, dtype=torch.float16)
    loaded = load_image_mechanism(tmp_path)
    parents = flow.encode(patients)[0]
    assert next(loaded.parameters()).dtype == torch.float32
    torch.testing.assert_close(
        loaded.abduct(radiographs, parents), flow.abduct(radiographs, parents), atol=2e-2, rtol=0
    )


def test_checkpoint_of_another_graph_is_refused(flow, tmp_path):
    save_image_mechanism(flow, tmp_path)
    with pytest.raises(
        CheckpointError, match=r"belongs to graph 'cxr19' .* not to 'cxr19-extended'"
    ):
        load_image_mechanism(tmp_path, cx.load_graph("cxr19-extended"))


def test_tampered_graph_is_refused(flow, tmp_path):
    save_image_mechanism(flow, tmp_path)
    edit(tmp_path, graph_fingerprint="0" * 16)
    with pytest.raises(CheckpointError, match="graph_fingerprint says 0000"):
        load_image_mechanism(tmp_path)


def test_newer_format_is_refused(flow, tmp_path):
    save_image_mechanism(flow, tmp_path)
    edit(tmp_path, format_version=99)
    with pytest.raises(
        CheckpointError, match=r"image\.json: key 'format_version' is 99; this version .* reads 1"
    ):
        load_image_mechanism(tmp_path)


def test_missing_key_and_file_are_named(flow, tmp_path):
    save_image_mechanism(flow, tmp_path)
    record = json.loads((tmp_path / "image.json").read_text())
    del record["recipe"]
    (tmp_path / "image.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="key 'recipe' is missing"):
        load_image_mechanism(tmp_path)
    with pytest.raises(CheckpointError, match="holds no image model"):
        load_image_mechanism(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["image.json", "image.safetensors"])
def test_half_a_model_is_not_one_of_metadata_alone(flow, tmp_path, name):
    """Whichever file is gone, it is named; only a folder with neither is of metadata alone."""
    shipped = cx.load_pretrained("cxr19-tiny")
    shipped.save(tmp_path)
    (tmp_path / name).unlink()
    for load in (load_image_mechanism, cx.load_pretrained):
        with pytest.raises(CheckpointError, match=rf"holds no image model: {name} is absent"):
            load(tmp_path)
    for file in tmp_path.glob("image.*"):
        file.unlink()
    assert cx.load_pretrained(tmp_path).image is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"graph": 5}, r"image\.json: key 'graph' is 5; expected str"),
        ({"graph": None}, r"image\.json: key 'graph' is None; expected str"),
        ({"graph": "variables: ["}, r"image\.json: key 'graph' is not a causal graph: .*YAML"),
        ({"recipe": "radit-tiny"}, r"image\.json: key 'recipe' is 'radit-tiny'; expected dict"),
        ({"recipe": {"nam": 1}}, r"image\.json describes no image mechanism: recipe: unknown key"),
        ({"observed": None}, r"image\.json: key 'observed' is None; expected dict"),
        ({"observed": ["sex"]}, r"image\.json: key 'observed' is \['sex'\]; expected dict"),
        (
            {"observed": {"sexx": ["Male"]}},
            r"image\.json .*'sexx', which is no parent.*mean 'sex'\?",
        ),
        (
            {"observed": {"sex": ["Fem"]}},
            r"of 'sex' is \['Fem'\]; allowed: some of 'Female', 'Male'",
        ),
        ({"observed": {"sex": ["Male"] * 2}}, r"what training saw of 'sex'"),
        ({"observed": {"sex": "Male"}}, r"what training saw of 'sex' is 'Male'"),
        ({"observed": {"sex": None}}, r"what training saw of 'sex' is None"),
        (
            {"observed": {"age": [90]}},
            r"what training saw of 'age' is \[90\]; allowed: \(lowest, high",
        ),
        ({"observed": {"age": [90, 2]}}, r"what training saw of 'age'"),
        ({"observed": {"age": ["a", "b"]}}, r"what training saw of 'age'"),
    ],
    ids=repr,
)
def test_entries_of_another_type_are_named(flow, tmp_path, changes, words):
    """By file and key, as an error of the checkpoint, before anything is painted with them."""
    save_image_mechanism(flow, tmp_path)
    edit(tmp_path, **changes)
    with pytest.raises(CheckpointError, match=words):
        load_image_mechanism(tmp_path)


def test_a_mixture_of_two_saves_is_refused(flow, tmp_path):
    """Equal shapes, other weights: only the digest tells a crash between the two renames."""
    save_image_mechanism(flow, tmp_path / "first")
    for parameter in flow.parameters():
        parameter.add_(0.01)
    save_image_mechanism(flow, tmp_path / "second")
    (tmp_path / "second" / "image.safetensors").replace(tmp_path / "first" / "image.safetensors")
    with pytest.raises(CheckpointError, match="the two are of different saves"):
        load_image_mechanism(tmp_path / "first")


def test_truncated_weights_are_refused(flow, tmp_path):
    save_image_mechanism(flow, tmp_path)
    weights = tmp_path / "image.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="the file was changed"):
        load_image_mechanism(tmp_path)


def test_weights_of_another_recipe_are_named(flow, tmp_path):
    save_image_mechanism(flow, tmp_path)
    recipe = flow.recipe.to_dict()
    recipe["network"] |= {"depth": 3}
    edit(tmp_path, recipe=recipe)
    with pytest.raises(
        CheckpointError, match=r"does not fit its recipe; at fault: 'network\.blocks"
    ):
        load_image_mechanism(tmp_path)
