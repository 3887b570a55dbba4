import dataclasses

import pandas as pd
import pytest
import torch

import cxrcausal as cx
from cxrcausal.errors import (
    GraphError,
    ImageError,
    InterventionError,
    NotFittedError,
    RecipeError,
    TableError,
)
from cxrcausal.image import Groups, Guidance, RectifiedFlow, RectifiedPath, Solver, load_recipe
from cxrcausal.randomness import label_words


def test_abduction_then_prediction_returns_the_image(flow, radiographs, patients):
    parents, _ = flow.encode(patients)
    solver = Solver("rk4", num_steps=40)
    noise = flow.abduct(radiographs, parents, solver=solver)
    assert (noise - flow.path.scale(radiographs)).abs().mean() > 0.05
    torch.testing.assert_close(
        flow.predict(noise, parents, solver=solver), radiographs, atol=2e-3, rtol=0
    )


def test_other_parents_give_another_image(flow, radiographs, patients):
    noise = flow.abduct(radiographs, flow.encode(patients)[0])
    other = patients.assign(sex=patients["sex"].cat.rename_categories(["Male", "Female"]))
    changed = flow.predict(noise, flow.encode(other)[0])
    assert (changed - radiographs).abs().mean() > 1e-3


@pytest.mark.parametrize("form", ["none", "cfg", "decoupled", "anchored", "nested"])
def test_null_intervention_is_unguided(flow, radiographs, patients, form):
    parents, _ = flow.encode(patients)
    none = torch.zeros_like(parents, dtype=torch.bool)
    noise = flow.abduct(radiographs, parents)
    guided = flow.predict(
        noise, parents, guidance=Guidance(form, intervened=3.0), groups=Groups(none, none, ~none)
    )
    torch.testing.assert_close(guided, flow.predict(noise, parents))


def test_guidance_by_its_name_alone_is_refused(flow, radiographs, patients):
    parents, _ = flow.encode(patients)
    with pytest.raises(InterventionError, match="guidance is 'cfg'; give a Guidance"):
        flow.predict(radiographs, parents, guidance="cfg")


def test_images_with_a_history_are_read_without_it(flow, radiographs, patients):
    """A warning of torch's would fail this test too."""
    parents, _ = flow.encode(patients)
    noise = flow.abduct(radiographs.clone().requires_grad_(), parents, solver=1)
    torch.testing.assert_close(noise, flow.abduct(radiographs, parents, solver=1), rtol=0, atol=0)


def test_guidance_moves_what_is_set_further(flow, radiographs, patients):
    parents, _ = flow.encode(patients)
    noise = flow.abduct(radiographs, parents)
    column = flow.graph.image_parents.index("sex")
    other = parents.clone()
    other[:, column] = 1 - other[:, column]
    was_set = torch.zeros_like(parents, dtype=torch.bool)
    was_set[:, column] = True
    groups = Groups(was_set, torch.zeros_like(was_set), ~was_set)
    base = flow.predict(noise, parents)
    plain = flow.predict(noise, other, guidance=Guidance("nested"), groups=groups)
    strong = flow.predict(noise, other, guidance=Guidance("nested", 3.0), groups=groups)
    assert (strong - base).abs().mean() > (plain - base).abs().mean()


def test_unseen_levels_enter_as_unknown(flow, patients):
    lateral = patients.assign(
        view=pd.Categorical(["LATERAL"] * len(patients), ["PA", "AP", "LATERAL"])
    )
    parents, unseen = flow.encode(lateral)
    assert unseen == {"view": ("LATERAL",)}
    assert parents[:, flow.graph.image_parents.index("view")].isnan().all()


def test_what_training_saw_must_be_known(small_recipe, patients):
    """Nothing observed would make every known level unknown."""
    with pytest.raises(NotFittedError, match="give `observed`"):
        RectifiedFlow(cx.load_graph("cxr19"), small_recipe).encode(patients)


def test_a_continuous_parent_needs_bounds(small_recipe):
    text = cx.load_graph("cxr19").to_yaml()
    unbounded = text.replace(", bounds: [0, 110], resolution: 1", "")
    assert unbounded != text
    with pytest.raises(GraphError, match=r"'age' .* without bounds.*add `bounds"):
        RectifiedFlow(cx.CausalGraph.from_yaml(unbounded), small_recipe)


@pytest.mark.parametrize("name", ["radit-s", "radit-b", "radit-l", "radit-xl"])
def test_a_recipe_of_latents_says_what_is_missing(name):
    recipe = load_recipe(name)
    assert "not in this version" in recipe.description
    with pytest.raises(RecipeError, match=r"32 channels.*Rad-VAE is not in this version"):
        RectifiedFlow(cx.load_graph("cxr19"), recipe)


def test_a_network_that_gives_the_image_has_no_loss(small_recipe, radiographs):
    """Also at the image end, where t is held below .98 on both sides."""
    path = RectifiedPath(prediction="x")
    noise = torch.randn(radiographs.shape, generator=torch.Generator().manual_seed(0))
    x = path.scale(radiographs)
    for time in (0.0, 0.5, 0.97, 0.99, 1.0):
        t = torch.full((len(radiographs),), time)
        velocity = path.velocity(x, path.between(noise, x, t), t)
        torch.testing.assert_close(velocity, path.target(noise, x, t), rtol=0, atol=0)
        if time < 0.98:
            torch.testing.assert_close(velocity, x - noise, rtol=0, atol=1e-4)


def test_image_prediction_is_trained_on_the_clamped_target(small_recipe, radiographs, patients):
    """A network of zero output at t = .99 has the loss of the clamped velocity of x, which is
    known."""
    recipe = dataclasses.replace(small_recipe, path=RectifiedPath(prediction="x"))
    flow = RectifiedFlow(cx.load_graph("cxr19"), recipe, {"age": [20.0, 90.0]})
    parents, _ = flow.encode(patients)
    keep, t = torch.ones_like(parents, dtype=torch.bool), torch.full((len(radiographs),), 0.99)
    noise = torch.zeros_like(radiographs)
    with torch.no_grad():
        loss = flow(radiographs, parents, keep, t, noise)
    expected = (flow.path.scale(radiographs) / 0.02).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(loss, expected)


def test_prior_is_a_function_of_label_and_seed(flow):
    labels = label_words(pd.Index(["a", "b", "c"]))
    noise = flow.prior(labels, seed=4)
    torch.testing.assert_close(flow.prior(labels[[2, 0]], seed=4), noise[[2, 0]], rtol=0, atol=0)
    assert not torch.equal(flow.prior(labels, seed=5), noise)
    many = flow.prior(label_words(pd.RangeIndex(400)), seed=0)
    assert abs(float(many.mean())) < 0.01
    assert abs(float(many.std()) - 1) < 0.01


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.zeros(2, 1, 8, 8), r"shape \(2, 1, 8, 8\); this model reads \(batch, 1, 16, 16\)"),
        (torch.zeros(16, 16), "size=16"),
        (torch.full((1, 1, 16, 16), 255.0), r"span \[255, 255\]; they must lie in \[0, 1\]"),
        (torch.full((1, 1, 16, 16), torch.nan), "span"),
        (torch.zeros(1, 1, 16, 16, dtype=torch.uint8), "torch.uint8; they must be floats"),
        ([[0.0]], r"images are a list; give a tensor \(batch, 1, 16, 16\), as read_images"),
    ],
)
def test_what_is_no_radiograph_is_refused(flow, patients, images, words):
    with pytest.raises(ImageError, match=words):
        flow.abduct(images, flow.encode(patients.head(len(images)))[0])


def test_loss_of_a_straight_path_is_its_variance(flow, radiographs, patients):
    """A network of zero output has the loss E|x - u|², which is known."""
    for parameter in flow.network.out.parameters():
        parameter.zero_()
    parents, _ = flow.encode(patients)
    noise = torch.randn(radiographs.shape, generator=torch.Generator().manual_seed(0))
    keep = torch.ones_like(parents, dtype=torch.bool)
    loss = flow(radiographs, parents, keep, torch.full((len(radiographs),), 0.5), noise)
    expected = (flow.path.scale(radiographs) - noise).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_batch_size_changes_no_image(flow, patients, radiographs, size):
    """Abducted and painted together or a few at a time, guided rows beside unguided ones."""
    parents = flow.encode(patients)[0]
    other = parents.clone()
    other[::2, 1] = 80.0
    asked = other != parents
    asked &= ~(other.isnan() & parents.isnan())
    none = torch.zeros_like(asked)
    groups = Groups(asked, none, ~asked)
    whole = flow.abduct(radiographs, parents)
    torch.testing.assert_close(flow.abduct(radiographs, parents, batch_size=size), whole)
    guided = {"guidance": Guidance("nested", 2.0), "groups": groups}
    expected = flow.predict(whole, other, **guided)
    found = flow.predict(whole, other, batch_size=size, **guided)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_sample_is_of_seed_and_label(flow, patients):
    """The same patient has the same radiograph in any company; without a seed they differ."""
    images = flow.sample(patients, seed=3, batch_size=2)
    assert images.shape == (len(patients), *flow.image_shape)
    assert 0 <= images.min()
    assert images.max() <= 1
    alone = flow.sample(patients.iloc[[2]], seed=3)
    torch.testing.assert_close(alone, images[[2]], atol=1e-5, rtol=0)
    assert not torch.allclose(flow.sample(patients, seed=4), images, atol=1e-3)
    assert not torch.allclose(flow.sample(patients), flow.sample(patients), atol=1e-3)
    with pytest.raises(TableError, match="unique"):
        flow.sample(patients.iloc[[0, 0]], seed=3)


def test_a_sample_is_what_its_noise_becomes(flow, patients):
    """Abducted, it gives back the noise that it was drawn from."""
    solver = Solver("rk4", num_steps=40)
    noise = flow.prior(label_words(patients.index), 3)
    images = flow.predict(noise, flow.encode(patients)[0], solver=solver)
    torch.testing.assert_close(flow.sample(patients, seed=3, solver=solver), images)
