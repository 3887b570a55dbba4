"""The shipped default, asked about synthetic patients of its own."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image as PillowImage

import cxrcausal as cx
from cxrcausal.errors import (
    CheckpointError,
    ImageError,
    InterventionError,
    TableError,
    UnobservedError,
)

STEPS = 3


@pytest.fixture(scope="module")
def model():
    return cx.load_pretrained("cxr19-tiny")


@pytest.fixture(scope="module")
def patients(model):
    return model.sample(5, seed=11, num_steps=STEPS)


@pytest.fixture(scope="module")
def answer(model, patients):
    images, rows = patients
    return model.counterfactual(images, rows, {"sex": "Male"}, num_steps=STEPS, seed=3)


def test_the_groups_partition_the_cells(answer):
    total = (
        answer.intervened.to_numpy().astype(int)
        + answer.descendants.to_numpy()
        + answer.invariant.to_numpy()
    )
    assert (total == 1).all()


def test_groups_say_what_the_tables_say(model, answer):
    below = set(model.graph.descendants("sex"))
    for name in model.graph.variables:
        before, after = answer.factual[name], answer.table[name]
        differs = ~((before == after) | (before.isna() & after.isna())).to_numpy()
        followed = answer.descendants[name].to_numpy()
        assert (followed == (differs if name in below else False)).all()
    assert (answer.intervened["sex"] == (answer.factual["sex"] == "Female")).all()
    assert (answer.table["sex"] == "Male").all()


def test_unchanged_patients_keep_their_reconstruction(answer):
    """Of whom no parent changed, the counterfactual radiograph is the reconstruction."""
    same = torch.tensor(answer.invariant.to_numpy().all(axis=1))
    assert same.any()
    assert (~same).any()
    torch.testing.assert_close(answer.images[same], answer.reconstruction[same])
    moved = (answer.images - answer.reconstruction)[~same].abs().mean(dim=(1, 2, 3))
    assert (moved > 1e-3).all()


@pytest.mark.parametrize("form", ["none", "cfg", "decoupled", "anchored", "nested"])
def test_null_intervention_is_the_reconstruction(model, patients, form):
    images, rows = patients
    answer = model.counterfactual(
        images, rows, {}, guidance=cx.Guidance(form, intervened=3.0), num_steps=STEPS, seed=0
    )
    pd.testing.assert_frame_equal(answer.table, answer.factual)
    torch.testing.assert_close(answer.images, answer.reconstruction)
    assert answer.changes().empty


def test_same_seed_same_answer_whatever_the_batch(model, patients):
    images, rows = patients
    guidance = cx.Guidance("nested", intervened=2.0, descendants=1.5)

    def ask(where, **options):
        return model.counterfactual(
            images[where],
            rows.iloc[where],
            {"sex": "Male", "age": 70},
            guidance=guidance,
            num_steps=STEPS,
            seed=5,
            **options,
        )

    whole = ask([0, 1, 2, 3, 4])
    parts = ask([0, 1, 2, 3, 4], batch_size=2)
    turned = ask([4, 1])
    pd.testing.assert_frame_equal(whole.table, parts.table)
    pd.testing.assert_frame_equal(whole.table.iloc[[4, 1]], turned.table)
    torch.testing.assert_close(whole.images, parts.images, atol=1e-4, rtol=0)
    torch.testing.assert_close(whole.images[[4, 1]], turned.images, atol=1e-4, rtol=0)


def test_several_samples_share_the_radiographs_noise(model, patients):
    images, rows = patients
    answer = model.counterfactual(
        images[:2], rows.head(2), {"age": 85}, num_samples=3, num_steps=STEPS, seed=0
    )
    assert answer.table.index.nlevels == 2
    assert answer.images.shape[0] == 6
    assert answer.noise.shape[0] == 2
    tables = answer.table.astype(str).to_numpy()
    for i in range(6):
        for j in range(6):
            if i // 3 == j // 3 and (tables[i] == tables[j]).all():
                torch.testing.assert_close(answer.images[i], answer.images[j])


def test_paths_into_unknown_cells_are_blocked(model, patients):
    images, rows = patients
    unknown = rows.assign(atelectasis=np.nan)
    answer = model.counterfactual(
        images, unknown, {"pleural_effusion": "positive"}, num_steps=STEPS, seed=0
    )
    changed = rows.index[rows["pleural_effusion"] != "positive"]
    assert list(answer.blocked[("pleural_effusion", "atelectasis")]) == list(changed)
    assert list(answer.blocked[("pleural_effusion", "support_devices")]) == list(changed)
    assert answer.table["atelectasis"].isna().all()


def test_unseen_levels_are_listed(model, patients):
    images, rows = patients
    race = rows.assign(race=pd.Categorical(["Asian"] * 5, ["White", "Black", "Asian"]))
    answer = model.counterfactual(images, race, {"age": 50}, num_steps=STEPS, seed=0)
    assert answer.unseen == {"race": ("Asian",)}


def test_metadata_alone(model, patients):
    rows = patients[1]
    answer = model.counterfactual(None, rows, {"sex": "Male"}, metadata_only=True, seed=3)
    assert answer.images is None
    assert (answer.table["sex"] == "Male").all()
    with pytest.raises(ValueError, match="metadata alone; there is no image"):
        answer.plot()


def test_absent_columns_are_unknown(model, patients):
    images, rows = patients
    few = rows[["age", "sex"]]
    answer = model.counterfactual(images, few, {"age": 40}, num_steps=STEPS, seed=0)
    assert answer.table["view"].isna().all()
    assert (answer.table["age"] == 40).all()


def test_save_writes_synthetic_images_and_their_provenance(answer, tmp_path):
    answer.save(tmp_path)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names[:2] == ["changes.csv", "counterfactual.csv"]
    with PillowImage.open(tmp_path / "counterfactual_000000.png") as picture:
        assert "not a patient's radiograph" in picture.info["Synthetic"]
        assert json.loads(picture.info["Provenance"])["do"] == {"sex": "Male"}
        assert picture.size == (64, 64)
    record = json.loads((tmp_path / "provenance.json").read_text())
    assert record["synthetic"] is True
    assert record["seed"] == 3
    assert record["model"] == "cxr19-tiny"


def test_plot_is_a_figure_and_a_file(answer, tmp_path):
    figure = answer.plot(tmp_path / "figure.png", most=2)
    assert len(figure.axes) == 8
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_samples_are_a_function_of_the_seed(model, patients):
    images, rows = model.sample(3, seed=11, num_steps=STEPS)
    pd.testing.assert_frame_equal(rows, patients[1].head(3))
    torch.testing.assert_close(images, patients[0][:3], atol=1e-4, rtol=0)


def test_saved_model_answers_the_same(model, patients, answer, tmp_path):
    loaded = cx.load_pretrained(model.save(tmp_path / "copy"))
    images, rows = patients
    again = loaded.counterfactual(images, rows, {"sex": "Male"}, num_steps=STEPS, seed=3)
    pd.testing.assert_frame_equal(again.table, answer.table)
    assert torch.equal(again.images, answer.images)


@pytest.mark.parametrize(
    ("do", "error", "words"),
    [
        ({"sexx": "Male"}, InterventionError, "'sexx'.*did you mean 'sex'"),
        ({"sex": "Mal"}, InterventionError, "'Mal'.*did you mean 'Male'"),
        ({"no_finding": "positive"}, InterventionError, "healthy"),
        ({"race": "Asian"}, UnobservedError, "race"),
        ({"view": "LATERAL"}, UnobservedError, "LATERAL"),
        ({"age": 150}, InterventionError, "150"),
    ],
)
def test_impossible_interventions_are_refused(model, patients, do, error, words):
    with pytest.raises(error, match=words):
        model.counterfactual(*patients, do, num_steps=STEPS)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.rand(5, 1, 32, 32), r"this model reads \(batch, 1, 64, 64\)"),
        (torch.rand(4, 1, 64, 64), "4 images stand beside 5 rows"),
        (None, "metadata_only=True"),
    ],
)
def test_images_that_do_not_fit_are_refused(model, patients, images, words):
    with pytest.raises(ImageError, match=words):
        model.counterfactual(images, patients[1], {"sex": "Male"})


def test_duplicate_labels_are_refused_under_a_seed(model, patients):
    images, rows = patients
    twice = rows.set_axis(["a", "a", "b", "c", "d"])
    with pytest.raises(TableError, match="row labels must be unique"):
        model.counterfactual(images, twice, {"sex": "Male"}, seed=0)


def test_parts_of_two_graphs_are_refused(model):
    other = cx.FlowSCM(cx.load_graph("cxr19-extended"))
    with pytest.raises(CheckpointError, match="belongs to graph 'cxr19-extended'"):
        cx.CounterfactualModel(other, model.image)


def test_unknown_model_names_the_nearest():
    with pytest.raises(CheckpointError, match="did you mean 'cxr19-tiny'"):
        cx.load_pretrained("cxr19-tny")
