"""The shipped default, asked about synthetic patients of its own."""

import logging

import numpy as np
import pandas as pd
import pytest
import torch

import cxrcausal as cx
from cxrcausal.errors import (
    CheckpointError,
    CxrCausalError,
    ImageError,
    InterventionError,
    TableError,
    UnobservedError,
)

STEPS = 3


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
    lines = answer.blocked.groupby("unknown")["row"].agg(list)
    assert lines["atelectasis"] == lines["support_devices"] == list(changed)
    assert set(answer.blocked["cause"]) == {"pleural_effusion"}
    assert answer.table["atelectasis"].isna().all()


def test_unseen_levels_are_listed(model, patients):
    images, rows = patients
    race = rows.assign(race=pd.Categorical(["Asian"] * 5, ["White", "Black", "Asian"]))
    answer = model.counterfactual(images, race, {"age": 50}, num_steps=STEPS, seed=0)
    assert answer.unobserved == {"race": ("Asian",)}
    with pytest.warns(FutureWarning, match="called unobserved"):
        assert answer.unseen == answer.unobserved


def test_metadata_alone(model, patients):
    rows = patients[1]
    answer = model.counterfactual(None, rows, {"sex": "Male"}, metadata_only=True, seed=3)
    assert answer.images is None
    assert (answer.table["sex"] == "Male").all()
    with pytest.raises(ImageError, match="metadata alone; there is no image"):
        answer.plot()
    asked = {"sex": "Male"}
    unknown = rows.assign(pleural_effusion=np.nan)
    for impute, blocked in ((False, True), (True, False)):
        answer = model.counterfactual(
            None, unknown, asked, metadata_only=True, impute=impute, seed=3
        )
        assert answer.blocked.empty is not blocked


def test_imputed_cells_do_not_change_the_image(model, patients):
    """Composition: nothing was set, so whatever was drawn for unknown cells, the image stays."""
    images, rows = patients
    unknown = rows.assign(view=np.nan, pleural_effusion=np.nan)
    answer = model.counterfactual(images, unknown, {}, impute=True, num_steps=STEPS, seed=0)
    assert answer.table["pleural_effusion"].notna().all()
    assert answer.invariant.to_numpy().all()
    torch.testing.assert_close(answer.images, answer.reconstruction)
    masked = model.counterfactual(
        images, unknown, {"sex": "Male"}, impute=False, num_steps=STEPS, seed=0
    )
    imputed = model.counterfactual(
        images, unknown, {"sex": "Male"}, impute=True, num_steps=STEPS, seed=0
    )
    torch.testing.assert_close(imputed.images, masked.images)
    pd.testing.assert_frame_equal(imputed.blocked, masked.blocked)


def test_an_imputed_answer_warns_once(model, patients, caplog):
    """And its table counts the clipped rows, as that without imputed cells does."""
    unknown = patients[1].assign(pleural_effusion=np.nan)
    asked = {"age": cx.shift(+200)}
    answer = model.counterfactual(
        None, unknown, asked, metadata_only=True, impute=True, clip=True, seed=0
    )
    said = [r for r in caplog.records if r.message.startswith("do leaves the observed support")]
    assert len(said) == 1
    assert answer.table["pleural_effusion"].notna().all()
    plain = model.counterfactual(None, unknown, asked, metadata_only=True, clip=True, seed=0)
    assert answer.table.attrs["clipped"] == plain.table.attrs["clipped"] == {"age": len(unknown)}


def test_clipping_stops_at_the_bounds_and_is_recorded(model, patients):
    images, rows = patients
    ask = {"age": cx.shift(+100)}
    with pytest.raises(InterventionError, match="clip=True"):
        model.counterfactual(images, rows, ask, num_steps=STEPS, seed=0)
    answer = model.counterfactual(images, rows, ask, clip=True, num_steps=STEPS, seed=0)
    assert (answer.table["age"] == 110).all()
    assert answer.table.attrs["clipped"] == {"age": 5}
    assert answer.provenance["clip"] is True


def test_unobserved_evidence_can_be_refused(model, patients):
    images, rows = patients
    race = rows.assign(race=pd.Categorical(["Asian"] * 5, ["White", "Black", "Asian"]))
    with pytest.raises(UnobservedError, match="race"):
        model.counterfactual(images, race, {"age": 50}, unobserved="error", num_steps=STEPS)


def test_no_rows_are_no_answer_and_no_error(model, patients):
    images, rows = patients
    answer = model.counterfactual(images[:0], rows.head(0), {"sex": "Male"}, num_steps=STEPS)
    assert answer.images.shape == (0, 1, 64, 64)
    assert answer.table.empty
    assert model.sample(0, seed=0)[0].shape == (0, 1, 64, 64)
    with pytest.raises(ImageError, match="no rows"):
        answer.plot()


def test_absent_columns_are_unknown(model, patients):
    images, rows = patients
    few = rows[["age", "sex"]]
    answer = model.counterfactual(images, few, {"age": 40}, num_steps=STEPS, seed=0)
    assert answer.table["view"].isna().all()
    assert (answer.table["age"] == 40).all()


@pytest.mark.parametrize(
    ("column", "variable"),
    [("Age", "age"), ("agee", "age"), ("Pleural Effusion", "pleural_effusion"), ("VIEW", "view")],
)
def test_a_mistyped_column_is_not_taken_as_unknown(model, patients, column, variable):
    images, rows = patients
    words = f"{column!r} is not a variable .*{variable!r} has no column; did you mean {variable!r}"
    with pytest.raises(TableError, match=words):
        model.counterfactual(images, rows.rename(columns={variable: column}), {"sex": "Male"})


def test_further_columns_may_stand_beside_absent_variables(model, patients):
    """Names that are only somewhat alike ('image' and 'age') are no mistyped ones."""
    rows = patients[1][["sex", "edema"]].assign(
        image="a.png", patient_id=range(5), date="2020", review="", path=""
    )
    answer = model.counterfactual(None, rows, {"sex": "Male"}, metadata_only=True, seed=0)
    assert answer.table["age"].isna().all()
    named = rows.assign(age=np.nan, page=7)
    model.counterfactual(None, named, {"sex": "Male"}, metadata_only=True, seed=0)


def test_no_intervention_is_the_null_intervention(model, patients):
    images, rows = patients
    answer = model.counterfactual(images[:1], rows.head(1), None, num_steps=STEPS, seed=0)
    assert answer.provenance["do"] == {}
    torch.testing.assert_close(answer.images, answer.reconstruction)


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


def test_a_model_of_metadata_leaves_no_older_image_mechanism(model, tmp_path):
    model.save(tmp_path)
    cx.CounterfactualModel(model.scm).save(tmp_path)
    assert cx.load_pretrained(tmp_path).image is None
    names = ["replicates.safetensors", "scm.json", "scm.safetensors"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names


def test_sampling_refuses_what_the_image_mechanism_never_saw(model, caplog):
    """As a counterfactual does: a row must not say LATERAL beside an image of an unknown view."""
    joint = cx.CounterfactualModel(cx.load_pretrained("cxr19-public").scm, model.image)
    with pytest.raises(UnobservedError, match=r"LATERAL.*model\.scm\.sample"):
        joint.sample(2, {"view": "LATERAL"}, seed=0, num_steps=STEPS)
    with caplog.at_level(logging.WARNING, "cxrcausal"):
        joint.sample(8, seed=0, num_steps=STEPS)
    assert "painted as unknown, never observed by the image mechanism" in caplog.text


def test_device_by_name(model):
    assert model.to("auto") is model
    assert cx.load_pretrained("cxr19-tiny", device="auto").image is not None
    with pytest.raises(CxrCausalError, match="allowed: auto, cpu"):
        model.to("cudda")
    with pytest.raises(CxrCausalError, match="ask for auto or cpu"):
        model.to("cuda:99")
    model.to("cpu")


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
        (list(torch.rand(5, 1, 64, 64)), r"images are a list; give a tensor \(batch, 1, 64, 64\)"),
        (np.zeros((5, 1, 64, 64), np.uint8), r"images are uint8; they must be floats in \[0, 1\]"),
        (np.zeros((5, 64, 64)), r"images have shape \(5, 64, 64\)"),
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
