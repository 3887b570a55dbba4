import csv
import dataclasses

import pandas as pd
import pytest
import torch

import cxrcausal as cx
from cxrcausal.errors import CheckpointError, ImageError, RecipeError
from cxrcausal.image import RectifiedFlow, Trainer, load_image_mechanism
from cxrcausal.image.training.trainer import held_out_loss, images_fingerprint


def with_training(recipe, **changes):
    """The recipe with other training settings."""
    return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, **changes))


def fresh(recipe) -> RectifiedFlow:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return RectifiedFlow(cx.load_graph("cxr19"), recipe)


def trainer(recipe, radiographs, patients, folder, **options) -> Trainer:
    return Trainer(fresh(recipe), radiographs, patients, folder, **options)


def test_training_lowers_the_held_out_loss(small_recipe, radiographs, patients, tmp_path):
    """Four radiographs are not shown; what was learnt of the others holds for them."""
    recipe = with_training(small_recipe, num_images=1600)
    run = trainer(recipe, radiographs[4:], patients[4:], tmp_path)
    others = radiographs[:4], run.mechanism.encode(patients[:4])[0]
    before = held_out_loss(run.mechanism, *others)
    assert held_out_loss(run.run(progress=False), *others) < 0.8 * before


def test_resume_is_exact(small_recipe, radiographs, patients, tmp_path):
    """Stopped at any step and resumed by a new process, a run ends with the same weights, bit by
    bit."""
    whole = trainer(small_recipe, radiographs, patients, tmp_path / "whole").run(progress=False)
    trainer(small_recipe, radiographs, patients, tmp_path / "parts").run(
        num_steps=7, progress=False
    )
    resumed = trainer(small_recipe, radiographs, patients, tmp_path / "parts").run(progress=False)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def steps_of(path) -> list[int]:
    return [int(row["step"]) for row in csv.DictReader(path.read_text().splitlines())]


def test_resume_tells_each_step_once(small_recipe, radiographs, patients, tmp_path):
    """Steps after the last saved state are taken again; the log keeps the second telling alone."""
    held_out = radiographs[:4], patients.head(4)
    first = trainer(small_recipe, radiographs, patients, tmp_path, held_out=held_out)
    first.run(num_steps=6, log_every=2, save_every=4, progress=False)
    saved = torch.load(first.state_file, weights_only=True)
    assert saved["engine"]["steps"] == 6
    assert steps_of(tmp_path / "held_out.csv") == [4, 6]
    saved["engine"]["steps"] = 4
    torch.save(saved, first.state_file)  # as if stopped before the last save
    again = trainer(small_recipe, radiographs, patients, tmp_path, held_out=held_out)
    again.run(num_steps=4, log_every=2, save_every=4, progress=False)
    assert steps_of(tmp_path / "loss.csv") == [2, 4, 6, 8]
    assert steps_of(tmp_path / "held_out.csv") == [4, 8]


def test_a_loss_that_is_not_finite_is_never_saved(small_recipe, radiographs, patients, tmp_path):
    run = trainer(small_recipe, radiographs, patients, tmp_path)
    run.run(num_steps=2, save_every=2, progress=False)
    run.loss = lambda *batch: run.mechanism(*batch) * torch.nan
    with pytest.raises(FloatingPointError, match="the loss is nan"):
        run.run(log_every=1000, save_every=3, progress=False)
    state = torch.load(run.state_file, weights_only=True)
    assert state["engine"]["steps"] == 2
    assert all(value.isfinite().all() for value in state["engine"]["module"].values())


def test_bfloat16_learns_as_float32_does(small_recipe, radiographs, patients, tmp_path):
    """The same draws in half the bits: the held-out losses agree to a few per mille."""
    recipe = with_training(small_recipe, num_images=800)
    losses = {}
    for precision in ("float32", "bfloat16"):
        run = trainer(recipe, radiographs[4:], patients[4:], tmp_path / precision,
                      precision=precision)  # fmt: skip
        others = radiographs[:4], run.mechanism.encode(patients[:4])[0]
        losses[precision] = held_out_loss(run.run(progress=False), *others)
        assert {p.dtype for p in run.mechanism.parameters()} == {torch.float32}
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.01)


def test_training_drops_the_transport_of_the_old_weights(
    small_recipe, radiographs, patients, tmp_path
):
    first = trainer(small_recipe, radiographs, patients, tmp_path / "first")
    flow = first.run(num_steps=1, progress=False)
    flow.fit_transport(radiographs, flow.encode(patients)[0], patients.index)
    assert flow.transport is not None
    run = Trainer(flow, radiographs, patients, tmp_path / "second")
    assert run.run(num_steps=1, progress=False).transport is None


def test_an_unknown_precision_is_refused(small_recipe, radiographs, patients, tmp_path):
    with pytest.raises(RecipeError, match="precision is 'half'; allowed: auto, float32, bfloat16"):
        trainer(small_recipe, radiographs, patients, tmp_path, precision="half")


def test_another_graph_in_the_folder_is_refused(small_recipe, radiographs, patients, tmp_path):
    """Even one with as many parents of the image, which fits the weights."""
    trainer(small_recipe, radiographs, patients, tmp_path).run(num_steps=1, progress=False)
    with torch.random.fork_rng():
        graph = cx.load_graph("cxr19").without_edge("race", "edema")
        other = Trainer(RectifiedFlow(graph, small_recipe), radiographs, patients, tmp_path)
    with pytest.raises(CheckpointError, match=r"trained under the graph .* give another folder"):
        other.run(progress=False)


def test_fingerprint_is_of_images_and_table_not_of_their_place(radiographs, patients):
    found = images_fingerprint(radiographs, patients)
    assert found == images_fingerprint(radiographs, patients.assign(image="/elsewhere"))
    assert found != images_fingerprint(radiographs.flip(0), patients[::-1])


def test_global_random_state_is_untouched(small_recipe, radiographs, patients, tmp_path):
    run = trainer(small_recipe, radiographs, patients, tmp_path)
    before = torch.get_rng_state()
    run.run(num_steps=2, progress=False)
    assert torch.equal(torch.get_rng_state(), before)


def test_log_has_the_loss_per_time(small_recipe, radiographs, patients, tmp_path):
    held_out = (radiographs[:4], patients.head(4))
    trainer(small_recipe, radiographs, patients, tmp_path, held_out=held_out).run(
        log_every=5, progress=False
    )
    rows = list(csv.DictReader((tmp_path / "loss.csv").read_text().splitlines()))
    assert [int(r["step"]) for r in rows] == [5, 10, 15, 20]
    assert all(0 < float(r["loss"]) < 10 for r in rows)
    assert "loss_t0.5" in rows[0]
    held = list(csv.DictReader((tmp_path / "held_out.csv").read_text().splitlines()))
    assert float(held[-1]["loss_complete"]) > 0


def test_training_records_what_it_saw(small_recipe, radiographs, patients, tmp_path):
    run = trainer(small_recipe, radiographs, patients, tmp_path)
    assert run.mechanism.observed["sex"] == ["Female", "Male"]
    assert run.mechanism.observed["race"] == []
    assert run.mechanism.observed["age"] == [patients["age"].min(), patients["age"].max()]


def test_every_epoch_shows_every_radiograph_once(small_recipe, radiographs, patients, tmp_path):
    run = trainer(small_recipe, radiographs, patients, tmp_path)
    shown = []
    for step in range(6):  # 6 steps of 8 radiographs are two epochs of 24
        run.engine.steps = step
        shown.append(run._rows())
    for epoch in (torch.cat(shown[:3]), torch.cat(shown[3:])):
        assert sorted(epoch.tolist()) == list(range(24))


def test_other_data_in_the_folder_are_refused(small_recipe, radiographs, patients, tmp_path):
    trainer(small_recipe, radiographs, patients, tmp_path).run(num_steps=1, progress=False)
    with pytest.raises(CheckpointError, match=r"was trained on data .* give another folder"):
        trainer(small_recipe, radiographs * 0.5, patients, tmp_path).run(progress=False)


def test_another_recipe_in_the_folder_is_refused(small_recipe, radiographs, patients, tmp_path):
    trainer(small_recipe, radiographs, patients, tmp_path).run(num_steps=1, progress=False)
    other = with_training(small_recipe, learning_rate=0.1)
    with pytest.raises(CheckpointError, match=r"another recipe; its \['training'\] differ"):
        trainer(other, radiographs, patients, tmp_path).run(progress=False)


def test_images_and_rows_must_match(small_recipe, radiographs, patients, tmp_path):
    with pytest.raises(ImageError, match="24 images stand beside 23 rows"):
        trainer(small_recipe, radiographs, patients.head(23), tmp_path)


def test_a_flow_that_was_loaded_to_answer_learns_again(
    small_recipe, radiographs, patients, tmp_path
):
    fresh(small_recipe).save(tmp_path / "model")
    flow = load_image_mechanism(tmp_path / "model", cx.load_graph("cxr19"))
    assert not any(p.requires_grad for p in flow.parameters())
    before = {name: value.clone() for name, value in flow.state_dict().items()}
    tuned = Trainer(flow, radiographs, patients, tmp_path / "run").run(num_steps=2, progress=False)
    moved = [name for name, value in tuned.state_dict().items() if not value.equal(before[name])]
    assert moved


def test_what_was_frozen_by_hand_stays(small_recipe, radiographs, patients, tmp_path):
    flow = fresh(small_recipe)
    flow.network.out.requires_grad_(False)
    kept = flow.network.out.weight.clone()
    tuned = Trainer(flow, radiographs, patients, tmp_path).run(num_steps=2, progress=False)
    assert tuned.network.out.weight.equal(kept)


def test_of_two_scales_the_detail_alone_learns_again(tmp_path):
    model = cx.load_pretrained("cxr19-small")
    images, rows = torch.rand(2, 1, 128, 128), pd.DataFrame({"age": [40, 60]})
    Trainer(model.image, images, rows, tmp_path)
    assert all(p.requires_grad for p in model.image.detail.parameters())
    assert not any(p.requires_grad for p in model.image.coarse.parameters())
