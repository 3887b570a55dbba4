"""The image in two scales: the transform, the laws of a mechanism, and what is kept of it."""

import dataclasses

import pandas as pd
import pytest
import torch
from torch import nn

import cxrcausal as cx
from cxrcausal.errors import CheckpointError, ImageError, RecipeError
from cxrcausal.image import (
    Groups,
    Guidance,
    RectifiedFlow,
    RectifiedPath,
    Solver,
    Trainer,
    WaveletFlow,
    build_image_mechanism,
    held_out_loss,
    load_image_mechanism,
)
from cxrcausal.image.training.warm_start import warm_start
from cxrcausal.image.wavelet import haar, inverse_haar
from cxrcausal.randomness import label_words

FINE = Solver("rk4", num_steps=20)
FEW = slice(6)  # radiographs of the fixtures, where solving finely takes long


def detail_recipe(recipe, size: int = 16, channels: int = 1):
    network = dataclasses.replace(
        recipe.network, size=size, channels=3 * channels, context=channels, place_rank=2
    )
    return dataclasses.replace(
        recipe, name="detail", network=network, path=RectifiedPath(mean=0.0, std=0.05)
    )


def detail_of(flow, recipe) -> RectifiedFlow:
    """A flow of detail whose weights are all random, so that no branch of it is zero."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        detail = RectifiedFlow(flow.graph, recipe, flow.observed)
        for parameter in detail.parameters():
            nn.init.normal_(parameter, std=0.1)
    return detail


@pytest.fixture
def wavelet(flow, small_recipe) -> WaveletFlow:
    return WaveletFlow(flow, detail_of(flow, detail_recipe(small_recipe))).eval()


@pytest.fixture(scope="module")
def fine_radiographs(radiographs) -> torch.Tensor:
    """The small pictures at twice the size, with lines a pixel wide on them."""
    picture = radiographs.repeat_interleave(2, -1).repeat_interleave(2, -2) * 0.9
    picture[..., ::3] += 0.05
    return picture


def swapped(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(sex=table["sex"].cat.rename_categories(["Male", "Female"]))


def test_the_transform_is_known_and_orthonormal():
    low, detail = haar(torch.tensor([[1.0, 2.0], [3.0, 5.0]]).view(1, 1, 2, 2))
    assert low.flatten().tolist() == [5.5]
    assert detail.flatten().tolist() == [-1.5, -2.5, 0.5]
    image = torch.randn(3, 2, 8, 12)
    low, detail = haar(image)
    assert low.shape == (3, 2, 4, 6)
    assert detail.shape == (3, 6, 4, 6)
    torch.testing.assert_close(inverse_haar(low, detail), image)
    power = low.square().sum() + detail.square().sum()
    torch.testing.assert_close(power, image.square().sum())
    mean = torch.nn.functional.avg_pool2d(image, 2)
    torch.testing.assert_close(low / 2, mean)


def test_abduction_then_prediction_returns_the_image(wavelet, fine_radiographs, patients):
    images, parents = fine_radiographs[FEW], wavelet.encode(patients[FEW])[0]
    noise = wavelet.abduct(images, parents, solver=FINE)
    assert noise.shape == images.shape
    back = wavelet.predict(noise, parents, solver=FINE)
    torch.testing.assert_close(back, images, atol=3e-3, rtol=0)


def test_the_mean_is_the_coarse_models_answer(wavelet, fine_radiographs, patients):
    parents, other = wavelet.encode(patients)[0], wavelet.encode(swapped(patients))[0]
    noise = wavelet.abduct(fine_radiographs, parents)
    low, _ = haar(fine_radiographs)
    coarse = wavelet.coarse.abduct(low / 2, parents)
    torch.testing.assert_close(haar(noise)[0], coarse, atol=1e-4, rtol=1e-4)
    world = wavelet.from_noise(noise, other)
    torch.testing.assert_close(
        haar(world)[0] / 2, wavelet.coarse.from_noise(coarse, other), atol=1e-4, rtol=1e-4
    )
    assert (haar(world)[1] - haar(fine_radiographs)[1]).abs().mean() > 1e-4


@pytest.mark.parametrize("form", ["cfg", "decoupled", "anchored", "nested"])
def test_guidance_reaches_both_scales_and_no_null_intervention(
    wavelet, fine_radiographs, patients, form
):
    parents, other = wavelet.encode(patients)[0], wavelet.encode(swapped(patients))[0]
    column = wavelet.graph.image_parents.index("sex")
    none = torch.zeros_like(parents, dtype=torch.bool)
    was_set = none.clone()
    was_set[:, column] = True
    noise = wavelet.abduct(fine_radiographs, parents)
    strong = Guidance(form, intervened=3.0)
    back = wavelet.predict(noise, parents, guidance=strong, groups=Groups(none, none, ~none))
    torch.testing.assert_close(back, wavelet.predict(noise, parents))
    groups = Groups(was_set, none, ~was_set)
    guided = haar(wavelet.from_noise(noise, other, guidance=strong, groups=groups))
    plain = haar(wavelet.from_noise(noise, other))
    for scale, unguided in zip(guided, plain, strict=True):
        assert (scale - unguided).abs().mean() > 1e-4


def test_a_batch_is_what_its_rows_are(wavelet, fine_radiographs, patients):
    parents, _ = wavelet.encode(patients)
    together = wavelet.abduct(fine_radiographs, parents)
    apart = wavelet.abduct(fine_radiographs, parents, batch_size=5)
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        wavelet.predict(together, parents),
        wavelet.predict(together, parents, batch_size=7),
        atol=1e-5,
        rtol=1e-4,
    )


def test_its_noise_is_of_labels_alone(wavelet):
    labels = label_words(pd.Index(["a", "b", "c"]))
    noise = wavelet.prior(labels, seed=3)
    assert noise.shape == (3, 1, 32, 32)
    torch.testing.assert_close(noise[1:2], wavelet.prior(labels[1:2], seed=3))


def test_saved_and_loaded_it_answers_the_same(wavelet, fine_radiographs, patients, tmp_path):
    parents, _ = wavelet.encode(patients)
    wavelet.provenance = {"images_shown": 7}
    wavelet.coarse.provenance = {"images_shown": 5}
    wavelet.save(tmp_path)
    loaded = load_image_mechanism(tmp_path, wavelet.graph)
    assert isinstance(loaded, WaveletFlow)
    assert loaded.provenance == {"images_shown": 7}
    assert loaded.coarse.provenance == {"images_shown": 5}
    assert not any(p.requires_grad for p in loaded.parameters())
    torch.testing.assert_close(
        loaded.abduct(fine_radiographs, parents),
        wavelet.abduct(fine_radiographs, parents),
        rtol=0,
        atol=0,
    )
    (tmp_path / "coarse" / "image.json").unlink()
    with pytest.raises(CheckpointError, match="coarse holds no image model"):
        load_image_mechanism(tmp_path)


def test_a_model_of_both_goes_through_the_joint_call(
    wavelet, fine_radiographs, patients, tmp_path
):
    scm = cx.load_pretrained("cxr19-tiny").scm
    model = cx.CounterfactualModel(scm, wavelet)
    out = model.counterfactual(fine_radiographs[:3], patients.head(3), do={"sex": "Male"}, seed=1)
    assert out.images.shape == (3, 1, 32, 32)
    model.save(tmp_path)
    again = cx.load_pretrained(tmp_path).counterfactual(
        fine_radiographs[:3], patients.head(3), do={"sex": "Male"}, seed=1
    )
    torch.testing.assert_close(again.images, out.images, rtol=0, atol=0)


def test_training_moves_the_detail_alone(flow, small_recipe, fine_radiographs, patients, tmp_path):
    flow.save(tmp_path / "coarse-model")
    recipe = dataclasses.replace(
        detail_recipe(small_recipe), coarse=str(tmp_path / "coarse-model")
    )
    assert recipe.image_size == 32
    mechanism = build_image_mechanism(recipe, flow.graph)
    before = {k: v.clone() for k, v in mechanism.state_dict().items()}
    held = (fine_radiographs[:6], patients[:6])
    mechanism.observed = flow.observed
    untrained = held_out_loss(mechanism, held[0], mechanism.encode(held[1])[0])
    trainer = Trainer(
        mechanism, fine_radiographs[6:], patients[6:], tmp_path / "run", held_out=held
    )
    trained = trainer.run(progress=False)
    for name, value in trained.state_dict().items():
        if name.startswith("coarse."):
            assert torch.equal(value, before[name]), name
    assert held_out_loss(trained, held[0], trained.encode(held[1])[0]) < untrained
    assert pd.read_csv(tmp_path / "run" / "held_out.csv")["bound_complete"].notna().all()

    trained.save(tmp_path / "saved")
    other = build_image_mechanism(recipe, flow.graph)
    warm_start(other, tmp_path / "saved")
    for name, value in other.detail.state_dict().items():
        assert torch.equal(value, trained.detail.state_dict()[name]), name


def test_a_mean_may_be_of_two_scales_itself(wavelet, small_recipe, fine_radiographs, patients):
    recipe = detail_recipe(small_recipe, size=32)
    deep = WaveletFlow(wavelet, detail_of(wavelet, recipe)).eval()
    images = fine_radiographs[:2].repeat_interleave(2, -1).repeat_interleave(2, -2)
    parents, _ = deep.encode(patients.head(2))
    noise = deep.abduct(images, parents, solver=FINE)
    assert noise.shape == (2, 1, 64, 64)
    torch.testing.assert_close(
        deep.predict(noise, parents, solver=FINE), images, atol=5e-3, rtol=0
    )


def test_a_level_that_either_scale_never_saw_is_unknown(wavelet, patients):
    wavelet.observed = {**wavelet.observed, "view": ["PA"]}
    parents, unobserved = wavelet.encode(patients)
    column = wavelet.graph.image_parents.index("view")
    assert unobserved == {"view": ("AP",)}
    assert (parents[:, column].isnan() == torch.tensor((patients["view"] == "AP").values)).all()


def test_transports_of_both_scales_keep_the_round_trip(
    wavelet, fine_radiographs, patients, tmp_path
):
    parents, _ = wavelet.encode(patients)
    wavelet.fit_transport(fine_radiographs, parents, patients.index, solver=4)
    assert wavelet.coarse.transport is not None
    assert wavelet.detail.transport is not None
    images, parents = fine_radiographs[FEW], parents[FEW]
    noise = wavelet.abduct(images, parents, solver=FINE)
    back = wavelet.predict(noise, parents, solver=FINE)
    torch.testing.assert_close(back, images, atol=3e-3, rtol=0)
    wavelet.save(tmp_path)
    loaded = load_image_mechanism(tmp_path)
    torch.testing.assert_close(loaded.abduct(images, parents), wavelet.abduct(images, parents))
    wavelet.drop_transport()
    assert wavelet.detail.transport is None


def test_what_does_not_fit_is_refused(flow, small_recipe, wavelet, patients):
    with pytest.raises(RecipeError, match=r"over a coarse image \(1, 16, 16\) it has to be"):
        WaveletFlow(flow, flow)
    other = cx.load_graph("cxr19-extended")
    recipe = detail_recipe(small_recipe)
    with pytest.raises(RecipeError, match="the coarse model is of graph 'cxr19'"):
        WaveletFlow(flow, RectifiedFlow(other, recipe))
    parents, _ = wavelet.encode(patients)
    with pytest.raises(ImageError, match=r"this model reads \(batch, 1, 32, 32\)"):
        wavelet.abduct(torch.rand(len(patients), 1, 16, 16), parents)
    with pytest.raises(ImageError, match="context has shape"):
        wavelet.detail.to_noise(torch.rand(2, 3, 16, 16), parents[:2])
