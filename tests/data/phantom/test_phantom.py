"""The phantom: its SCM as declared, its abduction exact, its findings where they belong."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

import cxrcausal as cx
from cxrcausal.data import phantom
from cxrcausal.data.phantom import PhantomMechanism, phantom_scm
from cxrcausal.data.phantom.anatomy import TRAITS
from cxrcausal.data.phantom.metadata import LOG_ODDS
from cxrcausal.data.phantom.primitives import chord, edge, grid, segment, stroke
from cxrcausal.errors import CxrCausalError, ImageError, InterventionError, TableError
from cxrcausal.randomness import label_words

GRAPH = cx.load_graph("cxr19")
FINDINGS = tuple(LOG_ODDS)


@pytest.fixture(scope="module")
def study() -> phantom.Study:
    return phantom.sample(24, seed=5)


@pytest.fixture(scope="module")
def mechanism() -> PhantomMechanism:
    return PhantomMechanism(64)


def healthy(study: phantom.Study, view: str = "PA") -> pd.DataFrame:
    """The patients' table with no finding, in one view."""
    table = study.table.drop(columns="patient_id").copy()
    for name in FINDINGS:
        table[name] = pd.Categorical(["negative"] * len(table), GRAPH.variables[name].levels)
    table["view"] = pd.Categorical([view] * len(table), GRAPH.variables["view"].levels)
    return table


def with_level(table: pd.DataFrame, name: str, level: str) -> pd.DataFrame:
    return table.assign(
        **{name: pd.Categorical([level] * len(table), GRAPH.variables[name].levels)}
    )


# --- shapes with known answers ------------------------------------------------------------------


def test_shapes_are_what_their_names_say():
    x, y = grid(200, torch.zeros(1))
    area = chord(x, y, (0.1, -0.2), (0.5, 0.3)).mean() * 4
    assert float(area) == pytest.approx(2 / 3 * math.pi * 0.5 * 0.3, rel=1e-3)  # half an ellipsoid
    assert chord(torch.tensor(0.1), torch.tensor(-0.2), (0.1, -0.2), (0.5, 0.3)) == 1
    full = chord(torch.tensor(0.5), torch.tensor(0.5), (0, 0), (1, 1), power=4)
    assert float(full) == pytest.approx(math.sqrt(1 - 2 / 16))
    turned = chord(torch.tensor(0.0), torch.tensor(0.4), (0, 0), (0.5, 0.1), tilt=math.pi / 2)
    assert float(turned) == pytest.approx(0.6)
    assert float(edge(torch.tensor(0.0), 0.1)) == 0.5
    assert float(stroke(torch.tensor(0.2), 0.2)) == pytest.approx(math.exp(-0.5))
    far = segment(torch.tensor([0.5, 2.0]), torch.tensor([1.0, 0.0]), (0.0, 0.0), (1.0, 0.0))
    assert far.tolist() == [1.0, 1.0]


# --- the metadata -------------------------------------------------------------------------------


@pytest.mark.parametrize(("age", "sex"), [(30.0, "Female"), (80.0, "Male")])
@pytest.mark.parametrize("name", ["cardiomegaly", "pneumothorax"])
def test_its_equations_are_the_declared_ones(age, sex, name):
    known = {"age": age, "sex": sex, "race": "Black", "fracture": "positive"}
    row = pd.DataFrame({column: [known.get(column, np.nan)] for column in GRAPH.variables})
    found = phantom_scm().counterfactual_probability(row, None, of=name)
    odds = LOG_ODDS[name]
    logit = odds[""] + odds["age"] * (age - 50) / 10 + odds["sex=Male"] * (sex == "Male")
    logit += odds.get("race=Black", 0.0) + odds.get("fracture", 0.0)
    assert float(found["positive"].iloc[0]) == pytest.approx(1 / (1 + math.exp(-logit)))


def test_a_population_has_every_finding_and_adult_ages():
    table = phantom_scm().sample(4000, seed=1)
    assert table["age"].between(18, 95).all()
    assert abs(table["age"].mean() - 55) < 2
    for name in FINDINGS:
        assert 0.04 < (table[name] == "positive").mean() < 0.6, name
    assert set(table["view"]) == {"PA", "AP", "LATERAL"}


# --- the laws of an image mechanism -------------------------------------------------------------


def test_abduction_is_exact_and_finds_the_very_noise(study, mechanism):
    parents, unobserved = mechanism.encode(study.table)
    assert not unobserved
    noise = mechanism.abduct(study.images, parents)
    torch.testing.assert_close(noise, study.noise.image, atol=1e-2, rtol=0)
    torch.testing.assert_close(mechanism.predict(noise, parents), study.images, atol=1e-6, rtol=0)


def test_any_image_comes_back(study, mechanism):
    parents, _ = mechanism.encode(study.table)
    other = study.images.flip(-1) * 0.8 + 0.1
    back = mechanism.predict(mechanism.abduct(other, parents), parents)
    torch.testing.assert_close(back, other, atol=1e-4, rtol=0)


def test_there_and_back_is_where_it_was(study):
    there = phantom.counterfactual(study.noise, {"sex": "Male", "pneumothorax": "positive"})
    assert (there.table["pneumothorax"] == "positive").all()
    back = phantom.counterfactual(there.noise)
    assert torch.equal(back.images, study.images)
    pd.testing.assert_frame_equal(back.table, study.table)


def test_a_batch_is_what_its_rows_are(study, mechanism):
    parents, _ = mechanism.encode(study.table)
    apart = mechanism.predict(study.noise.image, parents, batch_size=5)
    torch.testing.assert_close(apart, study.images, atol=1e-6, rtol=0)


def test_a_seed_decides_and_a_larger_sample_begins_with_the_smaller(study):
    again = phantom.sample(24, seed=5)
    assert torch.equal(again.images, study.images)
    assert not torch.equal(phantom.sample(24, seed=6).images, study.images)
    first = phantom.sample(3, seed=5)
    torch.testing.assert_close(first.images, study.images[:3], atol=1e-6, rtol=0)
    pd.testing.assert_frame_equal(first.table, study.table.head(3))


def test_what_follows_has_the_distribution_of_the_world_that_is_set():
    """Phantoms who are made men have the findings of men, under the seed that made them too."""
    study = phantom.sample(3000, seed=0, size=32)
    answer = phantom.counterfactual(study.noise, {"sex": "Male"}).table
    men = phantom_scm().sample(20_000, seed=1, do={"sex": "Male"})
    changed = [name for name in LOG_ODDS if (answer[name] != study.table[name]).any()]
    assert changed
    for name in changed:
        p = float((men[name] == "positive").mean())
        noise = 4 * math.sqrt(p * (1 - p) * (1 / 3000 + 1 / 20_000))
        assert abs(float((answer[name] == "positive").mean()) - p) < noise, name


def test_its_density_is_that_of_its_own_noise(study, mechanism):
    """Change of variables: log p(x) = log p(u) less the logarithm of every grain."""
    parents, _ = mechanism.encode(study.table)
    traits = study.noise.image[:, 0, 0, : len(TRAITS)]
    _, grain = mechanism.render(traits, parents)
    normal = torch.distributions.Normal(0.0, 1.0)
    expected = normal.log_prob(study.noise.image.double()).flatten(1).sum(1)
    expected = expected - grain.double().log().flatten(1).sum(1)
    found = mechanism.log_prob(study.images, parents)
    torch.testing.assert_close(found, expected, atol=0.5, rtol=1e-4)


def test_images_lie_in_the_grey_scale(study):
    assert study.images.min() >= 0
    assert study.images.max() <= 1


# --- what the parents do ------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["PA", "AP", "LATERAL"])
def test_race_leaves_every_pixel(study, mechanism, view):
    table = healthy(study, view)
    images = [
        mechanism.predict(study.noise.image, mechanism.encode(with_level(table, "race", race))[0])
        for race in GRAPH.variables["race"].levels
    ]
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[0], images[2])


@pytest.mark.parametrize("view", ["PA", "AP", "LATERAL"])
@pytest.mark.parametrize("name", FINDINGS)
def test_every_finding_shows_in_every_patient(study, mechanism, name, view):
    table = healthy(study, view)
    without = mechanism.predict(study.noise.image, mechanism.encode(table)[0])
    present = with_level(table, name, "positive")
    changed = mechanism.predict(study.noise.image, mechanism.encode(present)[0])
    assert ((changed - without).abs().flatten(1).amax(1) > 0.05).all()


def difference(study, mechanism, name: str) -> torch.Tensor:
    table = healthy(study)
    without = mechanism.predict(study.noise.image, mechanism.encode(table)[0])
    present = mechanism.encode(with_level(table, name, "positive"))[0]
    return (mechanism.predict(study.noise.image, present) - without)[:, 0]


def test_findings_act_where_radiology_says(study, mechanism):
    x, y = grid(64, torch.zeros(1))
    fluid = difference(study, mechanism, "pleural_effusion").clamp(min=0)
    height = (fluid * y).sum((1, 2)) / fluid.sum((1, 2))
    assert (height > 0.15).all()  # at the base, and white
    assert (fluid.sum((1, 2)) > 5).all()
    heart = difference(study, mechanism, "cardiomegaly").abs()
    assert ((heart * (x.abs() < 0.6)).sum((1, 2)) > 0.9 * heart.sum((1, 2))).all()
    free = difference(study, mechanism, "pneumothorax")
    assert (free.clamp(max=0).sum((1, 2)) < -1).all()  # free air is darker
    wide = difference(study, mechanism, "enlarged_cardiomediastinum").abs()
    assert ((wide * (x.abs() < 0.4)).sum((1, 2)) > 0.9 * wide.sum((1, 2))).all()
    for name in ("edema", "consolidation", "pneumonia", "lung_opacity", "lung_lesion"):
        assert (difference(study, mechanism, name).mean((1, 2)) > 0).all(), name


def test_one_sided_findings_keep_their_side_between_worlds(study, mechanism):
    right = study.noise.image[:, 0, 0, TRAITS.index("side")] > 0
    x, _ = grid(64, torch.zeros(1))
    fluid = difference(study, mechanism, "pleural_effusion").clamp(min=0)
    on_the_left = (fluid * (x < 0)).sum((1, 2)) > (fluid * (x > 0)).sum((1, 2))
    assert torch.equal(on_the_left, right)


def test_devices_do_not_hide_behind_findings(study):
    world = phantom.counterfactual(study.noise, {"pneumothorax": "positive"})
    rises = (world.table["support_devices"] == "positive").mean()
    assert rises >= (study.table["support_devices"] == "positive").mean()


# --- the whole library over it ------------------------------------------------------------------


def test_the_joint_call_gives_the_true_counterfactual(study, mechanism):
    model = cx.CounterfactualModel(study.noise.scm, mechanism)
    table = study.table.drop(columns="patient_id")
    out = model.counterfactual(study.images, table, do={"view": "AP"}, seed=5)
    truth = phantom.counterfactual(study.noise, {"view": "AP"})
    torch.testing.assert_close(out.images, truth.images, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [32, 96])
def test_other_sizes_show_the_same_patients(study, size):
    small = phantom.sample(4, seed=5, size=size)
    assert small.images.shape == (4, 1, size, size)
    pd.testing.assert_frame_equal(small.table, study.table.head(4))


def test_bad_input_is_refused_in_words(study, mechanism):
    with pytest.raises(ImageError, match="at least 32 pixels wide; found 16"):
        PhantomMechanism(16)
    parents, _ = mechanism.encode(study.table.assign(edema=np.nan))
    with pytest.raises(TableError, match="column 'edema' is unknown"):
        mechanism.predict(study.noise.image, parents)
    with pytest.raises(ImageError, match="this phantom has"):
        mechanism.abduct(study.images[..., :32], parents)
    with pytest.raises(ImageError, match="no finite number"):
        mechanism.abduct(study.images * math.nan, parents)
    with pytest.raises(ImageError, match="no weights to save"):
        mechanism.save("anywhere")
    with pytest.raises(InterventionError):
        phantom.counterfactual(study.noise, {"sex": "Mail"})
    with pytest.raises(CxrCausalError):
        phantom.sample(-1)


def test_its_prior_is_of_labels_alone(mechanism):
    labels = label_words(pd.Index(["a", "b"]))
    noise = mechanism.prior(labels, seed=2)
    assert torch.equal(noise[1:], mechanism.prior(labels[1:], seed=2))
