import json

import pytest
import torch

import cxrcausal as cx
from cxrcausal.errors import CheckpointError
from cxrcausal.image import load_image_mechanism, save_image_mechanism


def edit(folder, **changes):
    record = json.loads((folder / "image.json").read_text())
    (folder / "image.json").write_text(json.dumps(record | changes))


def test_saved_and_loaded_paints_the_same(flow, films, patients, tmp_path):
    save_image_mechanism(flow, tmp_path, training={"images_shown": 5})
    loaded = load_image_mechanism(tmp_path, flow.graph)
    parents = flow.encode(patients)[0]
    assert torch.equal(loaded.abduct(films, parents), flow.abduct(films, parents))
    assert loaded.seen == flow.seen
    assert loaded.recipe == flow.recipe


def test_half_precision_stays_close(flow, films, patients, tmp_path):
    save_image_mechanism(flow, tmp_path, dtype=torch.float16)
    loaded = load_image_mechanism(tmp_path)
    parents = flow.encode(patients)[0]
    assert next(loaded.parameters()).dtype == torch.float32
    torch.testing.assert_close(
        loaded.abduct(films, parents), flow.abduct(films, parents), atol=2e-2, rtol=0
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
    with pytest.raises(CheckpointError, match=r"format 99 .* reads format 1"):
        load_image_mechanism(tmp_path)


def test_missing_key_and_file_are_named(flow, tmp_path):
    save_image_mechanism(flow, tmp_path)
    record = json.loads((tmp_path / "image.json").read_text())
    del record["recipe"]
    (tmp_path / "image.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="lacks 'recipe'"):
        load_image_mechanism(tmp_path)
    with pytest.raises(CheckpointError, match="holds no image model"):
        load_image_mechanism(tmp_path / "nowhere")


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
    with pytest.raises(CheckpointError, match="is damaged"):
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
