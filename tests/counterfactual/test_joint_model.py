"""The shipped default, asked about synthetic patients of its own."""

import io
import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image as PillowImage

import cxrcausal as cx
from cxrcausal.errors import (
    CheckpointError,
    CxrCausalError,
    ImageError,
    InterventionError,
    RecipeError,
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


def test_arrays_of_floats_are_images(model, patients):
    images, rows = patients

    def ask(films):
        return model.counterfactual(
            films, rows.head(2), {"sex": "Male"}, num_steps=STEPS, seed=0
        ).images

    array = images[:2].numpy().astype(np.float64)
    array.flags.writeable = False
    flipped = np.ascontiguousarray(array[:, :, ::-1])[:, :, ::-1]
    for films in (array, array.astype(">f4"), flipped, images[:2].clone().requires_grad_()):
        torch.testing.assert_close(ask(films), ask(images[:2]))


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


def test_save_writes_synthetic_images_and_their_provenance(answer, tmp_path):
    answer.save(tmp_path)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names[:3] == ["blocked.csv", "changes.csv", "counterfactual.csv"]
    with PillowImage.open(tmp_path / "counterfactual_000000.png") as picture:
        assert "not a patient's radiograph" in picture.info["Synthetic"]
        assert json.loads(picture.info["Provenance"])["do"] == {"sex": "Male"}
        assert picture.size == (64, 64)
    record = json.loads((tmp_path / "provenance.json").read_text())
    assert record["synthetic"] is True
    assert record["seed"] == 3
    assert record["model"] == "cxr19-tiny"


def test_each_image_tells_its_own_patient_alone(model, patients, tmp_path):
    """One value per row: an image holds what was asked of its patient, and of nobody else."""
    images, rows = patients
    turned = pd.Series([61.0, 62.0, 63.0, 64.0, 65.0], index=rows.index)[::-1]
    answer = model.counterfactual(
        images, rows, {"age": turned, "sex": "Male"}, num_samples=2, num_steps=STEPS, seed=0
    )
    assert answer.provenance["do"]["age"] == [61.0, 62.0, 63.0, 64.0, 65.0]
    answer.save(tmp_path)
    for position in range(10):
        with PillowImage.open(tmp_path / f"counterfactual_{position:06d}.png") as picture:
            asked = json.loads(picture.info["Provenance"])["do"]
        assert asked == {"age": 61.0 + position // 2, "sex": "Male"}


def add_ten(rows):
    return rows["age"] + 10


def test_provenance_names_a_function(model, patients):
    answer = model.counterfactual(
        None, patients[1], {"age": add_ten, "sex": np.str_("Male")}, clip=True, metadata_only=True
    )
    assert answer.provenance["do"]["age"].endswith("test_joint_model.add_ten")
    assert json.loads(json.dumps(answer.provenance))["do"]["sex"] == "Male"


def test_a_smaller_answer_leaves_nothing_of_a_larger_one(model, patients, answer, tmp_path):
    answer.save(tmp_path)
    small = model.counterfactual(
        patients[0][:1], patients[1].head(1), {"sex": "Male"}, num_steps=STEPS, seed=3
    )
    small.save(tmp_path)
    assert [p.name for p in tmp_path.glob("*.png")] == ["counterfactual_000000.png"]
    model.counterfactual(None, patients[1], {"sex": "Male"}, metadata_only=True, seed=3).save(
        tmp_path
    )
    assert not list(tmp_path.glob("*.png"))
    assert len(pd.read_csv(tmp_path / "counterfactual.csv")) == 5


def test_plot_is_a_figure_and_a_file(answer, tmp_path):
    figure = answer.plot(tmp_path / "figure.png", most=2)
    assert len(figure.axes) == 8
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_every_figure_says_that_it_is_synthetic(answer, tmp_path):
    figure = answer.plot(tmp_path / "figure.PNG", most=1)
    figure.savefig(tmp_path / "again.png", metadata={"Title": "sex"})
    for name in ("figure.PNG", "again.png"):
        with PillowImage.open(tmp_path / name) as picture:
            assert "no patient's radiographs" in picture.info["Synthetic"]
    assert picture.info["Title"] == "sex"
    stream = io.BytesIO()
    figure.savefig(stream)
    assert b"no patient's radiographs" in stream.getvalue()
    for name in ("figure.svg", "figure.pdf"):
        figure.savefig(tmp_path / name)
        assert b"generated images" in (tmp_path / name).read_bytes()


def test_a_figure_is_complete_or_absent(answer, tmp_path, monkeypatch):
    """What stood at the path still stands there when writing ends half-way."""
    figure = answer.plot(tmp_path / "figure.png", most=1)
    before = (tmp_path / "figure.png").read_bytes()

    def half(self, file, **options):
        Path(file).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", half)
    with pytest.raises(KeyboardInterrupt):
        figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["figure.png"]


@pytest.mark.parametrize(
    ("path", "options", "words"),
    [
        ("x.foo", {}, "cannot be written as 'foo'. Allowed.*: png, pdf, svg"),
        ("x.jpg", {}, "cannot be written as 'jpg'"),
        (None, {"most": 0}, "most is 0; it must be a whole number, at least 1"),
        (None, {"most": 1.5}, r"most is 1\.5"),
    ],
)
def test_impossible_figures_are_refused(answer, tmp_path, path, options, words):
    with pytest.raises(ImageError, match=words):
        answer.plot(path and tmp_path / path, **options)
    assert not list(tmp_path.iterdir())


def test_an_answer_is_not_saved_over_a_file(answer, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(CxrCausalError, match="out' is a file; give a folder"):
        answer.save(tmp_path / "out")


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
