"""Soundness of a mechanism whose every effect is known: sex adds a constant, age a slope."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from cxrcausal.errors import InterventionError
from cxrcausal.evaluation import (
    PatientBootstrap,
    Standardised,
    effectiveness,
    flip,
    groups_of,
    move,
    paint,
    round_trip,
    soundness,
)
from cxrcausal.graph import load_graph
from cxrcausal.image import Guidance
from cxrcausal.scm.table import encode

GRAPH = load_graph("cxr19")
RADIOGRAPHS, SIDE = 60, 4
ONE = np.ones((1, RADIOGRAPHS))


class LinearPainter:
    """image = noise + sum of effect × attribute, guided by scaling what the intervened ones add.

    Arguments:
        drift: What every prediction adds, so that the null intervention is not the identity.
    """

    def __init__(self, effect: dict[str, float], drift: float = 0.0) -> None:
        self.graph, self.drift, self.predicted = GRAPH, drift, 0
        self.attributes = tuple(GRAPH.variables[n] for n in GRAPH.image_parents)
        self.effect = torch.tensor([effect.get(v.name, 0.0) for v in self.attributes])

    def encode(self, table):
        values = encode(table, GRAPH)
        return torch.stack([values[v.name] for v in self.attributes], dim=1).float(), {}

    def told(self, parents, weight=1.0):
        return (parents.nan_to_num() * self.effect * weight).sum(dim=1)[:, None, None, None]

    def abduct(self, images, parents, *, solver=None):
        return images - self.told(parents)

    def predict(self, noise, parents, *, guidance=None, groups=None, solver=None):
        self.predicted += len(noise)
        weight = torch.ones_like(parents)
        if groups is not None:
            weight = torch.where(groups.intervened, guidance.intervened, weight)
        return noise + self.told(parents, weight) + self.drift


class MeanReader:
    """Scores sex by the radiograph's mean brightness and age by its first pixel."""

    def __init__(self) -> None:
        self.graph = GRAPH
        self.observed = {"sex": ["Female", "Male"], "age": [50.0, 10.0]}
        self.threshold = {"sex": 0.0}

    def score(self, images, index=None):
        sex = images.mean(dim=(1, 2, 3)).double().numpy()
        return pd.DataFrame({"sex": sex, "age": 1000 * images[:, 0, 0, 0].numpy()}, index=index)

    def truth(self, table):
        sex = (table["sex"] == "Male").astype(float)
        return pd.DataFrame({"sex": sex, "age": table["age"]}, index=table.index)


@pytest.fixture
def world() -> SimpleNamespace:
    """Radiographs of a world in which the difference of the sexes is exactly one half."""
    table = pd.DataFrame(
        {
            "patient_id": [f"p{i // 2}" for i in range(RADIOGRAPHS)],
            "sex": np.resize(["Female", "Male", "Male", "Female"], RADIOGRAPHS),
            "age": np.resize([20.0, 40.0, 60.0, 80.0], RADIOGRAPHS),
        }
    )
    noise = 0.01 * torch.randn(
        RADIOGRAPHS, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0)
    )
    noise = noise - noise.mean(dim=(0, 1, 2, 3), keepdim=True) - 0.25
    mechanism = LinearPainter({"sex": 0.5})
    rows = flip(table, GRAPH, "sex").table.assign(
        sex=pd.Categorical(table["sex"], GRAPH.variables["sex"].levels)
    )
    images = mechanism.predict(noise, mechanism.encode(rows)[0])
    return SimpleNamespace(table=table, rows=rows, images=images, noise=noise, mechanism=mechanism)


def study(world, guidances, questions=None, mechanism=None, **settings):
    mechanism = mechanism or world.mechanism
    noise = mechanism.abduct(world.images, mechanism.encode(world.rows)[0])
    found = soundness(
        mechanism,
        {"mean": MeanReader()},
        world.images,
        world.table,
        noise,
        questions or [flip(world.table, GRAPH, "sex")],
        guidances,
        resamples=200,
        **settings,
    )
    assert set(found["predictor"]) == {"", "mean"}  # what two images differ by needs no predictor
    return found.set_index(["intervention", "guidance", "measure"])


def test_the_right_effect_is_one_whole_gap(world):
    """The mechanism moves the score by .5, real radiographs differ by .5 (up to their noise): the
    shift is 1."""
    found = study(world, {"none": Guidance("none")})
    shift = found.loc[("sex", "none", "shift")]
    assert shift["value"] == pytest.approx(1, abs=0.02)
    assert shift["low"] <= 1 <= shift["high"]
    assert shift["null"] == pytest.approx(0, abs=1e-6)
    assert shift["excludes_null"]
    for measure in ("moved", "reached", "crossed"):
        assert found.loc[("sex", "none", measure), "value"] == 1
        assert found.loc[("sex", "none", measure), "null"] == 0
    assert found.loc[("sex", "none", "change"), "value"] == pytest.approx(0.5, abs=1e-5)
    assert (found["radiographs"] == RADIOGRAPHS).all()
    assert (found["patients"] == RADIOGRAPHS // 2).all()


def test_guidance_amplifies_and_the_guided_null_shows_its_push(world):
    """At weight w the told half becomes w/2: M→F loses .5, F→M gains w/2, and so the mean is
    known;
    imposing the unchanged value adds (w-1)/2 to men's scores, against what was asked of them."""
    found = study(world, {"w": Guidance("cfg", intervened=3.0)})
    shift = found.loc[("sex", "w", "shift")]
    real = Standardised(MeanReader().score(world.images), world.table, GRAPH)
    gap = real.gap("sex")(ONE)[0]
    assert shift["value"] == pytest.approx((0.5 + 1.5) / 2 / gap, abs=1e-4)
    assert shift["guided_null"] == pytest.approx(-1.0 / 2 / gap, abs=1e-4)


def test_guided_nulls_can_be_left_out(world):
    forms = {"w": Guidance("cfg", intervened=3.0)}
    found, without = study(world, forms), study(world, forms, guided_nulls=False)
    assert without["value"].equals(found["value"])
    assert without["guided_null"].isna().all()
    assert without.loc[("sex", "w", "shift"), "excludes_null"]


def test_further_readers_report_under_no_predictor(world):
    class Count:
        def measure(self, question, painted, bootstrap):
            asked = np.where(np.isnan(question.asked), np.nan, 1.0)
            return {"count": bootstrap.interval(lambda weights: weights @ asked)}

    found = study(world, {"none": Guidance("none")}, readers=[Count()])
    count = found.loc[("sex", "none", "count")]
    assert (count["predictor"], count["value"], count["null"]) == ("", RADIOGRAPHS, RADIOGRAPHS)


def test_a_painter_without_effect_claims_nothing(world):
    """Drift moves every score, in the asked direction for half of the radiographs: no claim is
    made."""
    found = study(world, {"none": Guidance("none")}, mechanism=LinearPainter({}, drift=0.1))
    shift = found.loc[("sex", "none", "shift")]
    assert not shift["excludes_null"]
    assert shift["value"] == pytest.approx(shift["null"])
    assert found.loc[("sex", "none", "moved"), "value"] == pytest.approx(0.5)


def test_reversibility_adds_up_what_each_way_errs(world):
    """The mechanism drifts by .01 each time, so there and back is .02 off; so is the null."""
    mechanism = LinearPainter({"sex": 0.5}, drift=0.01)
    found = study(world, {"none": Guidance("none")}, mechanism=mechanism, reversed_images=10)
    back = found.loc[("sex", "none", "reversibility")]
    assert back["value"] == pytest.approx(0.02, abs=1e-5)
    assert back["null"] == pytest.approx(0.02, abs=1e-5)


def test_off_target_shifts_are_seen_and_what_is_real_of_them_is_no_fault(world):
    """Sex brightens every pixel, the first one too, by which age is read: in counterfactuals as
    in real radiographs, so nothing of it is in excess."""
    found = study(world, {"none": Guidance("none")})
    per_deviation = Standardised(MeanReader().score(world.images), world.table, GRAPH).gap("age")
    expected = 500.0 / abs(per_deviation(ONE)[0])
    assert found.loc[("sex", "none", "shift of age"), "value"] == pytest.approx(expected, rel=1e-4)
    excess = found.loc[("sex", "none", "excess of age")]
    assert abs(excess["value"]) < 0.05 * expected
    none = study(world, {"none": Guidance("none")}, mechanism=LinearPainter({}))
    excess = none.loc[("sex", "none", "excess of age"), "value"]
    assert excess == pytest.approx(-expected, rel=0.1)  # it leaves out what real radiographs show


def test_a_continuous_effect_is_held_against_the_slope_of_real_radiographs(world):
    """Half the slope of real radiographs gives half a shift, whatever the step."""
    slope = 0.002
    factual = LinearPainter({"age": slope})
    images = factual.predict(world.noise, factual.encode(world.rows)[0])
    half = LinearPainter({"age": slope / 2})
    world.images = images
    question = move(world.table, GRAPH, "age", 30, within=(0, 95))
    found = study(world, {"none": Guidance("none")}, [question], mechanism=half)
    shift = found.loc[("age +30", "none", "shift")]
    assert shift["value"] == pytest.approx(0.5, abs=0.1)
    assert shift["radiographs"] == (world.table["age"] + 30 <= 95).sum()


def test_equal_integrals_are_run_once(world):
    """`anchored` and `nested` are one sum when no descendant changed."""
    forms = {"anchored": Guidance("anchored", 2.0), "nested": Guidance("nested", 2.0)}
    noise = world.mechanism.abduct(world.images, world.mechanism.encode(world.rows)[0])
    plain = world.mechanism.predict(noise, world.mechanism.encode(world.rows)[0])
    world.mechanism.predicted = 0
    found = study(world, forms, reconstruction=plain)
    assert world.mechanism.predicted == 2 * RADIOGRAPHS  # the counterfactual and the guided null
    one, two = (found.xs(form, level="guidance")["value"] for form in forms)
    assert one.equals(two)


def test_what_was_painted_is_not_painted_again(world, tmp_path):
    """Another predictor may read it later: from the store, to the same figures."""
    forms = {"w": Guidance("cfg", intervened=2.0)}
    found = study(world, forms, reversed_images=5, store=tmp_path / "store")
    world.mechanism.predicted = 0
    again = study(world, forms, reversed_images=5, store=tmp_path / "store")
    assert world.mechanism.predicted == 0
    assert again["value"].equals(found["value"])


def test_a_question_can_be_asked_of_fewer_radiographs(world):
    rows = np.arange(RADIOGRAPHS) < 7
    question = flip(world.table, GRAPH, "sex").of(rows)
    found = study(world, {"none": Guidance("none")}, [question])
    assert (found["radiographs"] == 7).all()
    assert found.loc[("sex", "none", "shift"), "value"] == pytest.approx(1, abs=0.02)


def test_round_trip_counts_rounds(world):
    mechanism = LinearPainter({"sex": 0.5}, drift=0.01)
    trip = round_trip(
        mechanism, world.images, mechanism.encode(world.rows)[0], rounds=3, batch_size=16
    )
    assert trip.mae.shape == (3, RADIOGRAPHS)
    assert np.allclose(trip.mae.mean(axis=1), [0.01, 0.02, 0.03], atol=1e-5)
    assert torch.allclose(trip.noise, world.noise, atol=1e-5)
    assert trip.evaluations == 0  # this mechanism has no network


def test_groups_are_disjoint_and_complete(world):
    factual = world.mechanism.encode(world.rows)[0]
    parents = factual.clone()
    names = [v.name for v in world.mechanism.attributes]
    parents[:, names.index("sex")] = 1 - parents[:, names.index("sex")]
    parents[:3, names.index("age")] += 1
    intervened = torch.zeros_like(parents, dtype=torch.bool)
    intervened[:, names.index("sex")] = True
    groups = groups_of(factual, parents, intervened)
    assert (sum(g.int() for g in groups) == 1).all()
    assert groups.descendants.sum() == 3
    assert not groups.descendants[
        :, names.index("race")
    ].any()  # unknown in both worlds: unchanged
    painted = paint(world.mechanism, world.noise, factual, parents, intervened, Guidance("none"))
    assert painted.shape == world.images.shape


def test_flip_exchanges_the_two_levels_that_occur(world):
    table = world.table.assign(view=np.resize(["AP", "PA", None], RADIOGRAPHS))
    before = table.copy(deep=True)
    question = flip(table, GRAPH, "view")
    assert table.equals(before)
    assert question.table["view"].iloc[:2].tolist() == ["PA", "AP"]
    assert question.table["view"].iloc[2:3].isna().all()
    assert np.array_equal(question.asked[:3], [-1, 1, np.nan], equal_nan=True)


def test_questions_that_cannot_be_asked_say_so(world):
    with pytest.raises(InterventionError, match="did you mean 'age'"):
        move(world.table, GRAPH, "aeg", 1)
    with pytest.raises(InterventionError, match="'sex' is binary; only numbers can be moved"):
        move(world.table, GRAPH, "sex", 1)
    with pytest.raises(InterventionError, match="'sex' shows 1 levels in these radiographs"):
        flip(world.table.assign(sex="Male"), GRAPH, "sex")
    table = world.table.assign(no_finding=np.resize(["negative", "positive"], RADIOGRAPHS))
    question = flip(table, GRAPH, "no_finding")
    with pytest.raises(InterventionError, match="'no_finding' is not a parent of the image"):
        study(world, {"none": Guidance("none")}, [question])


def test_effectiveness_by_hand():
    """Two radiographs move up by 1 and 3, one asked to move down moves up by 1: mean (1 + 3 - 1) /
    3."""
    before, after = np.array([-1.0, -1.0, 1.0, 0.0]), np.array([0.0, 2.0, 2.0, 9.0])
    asked = np.array([1.0, 1.0, -1.0, np.nan])
    bootstrap = PatientBootstrap("abcd", resamples=20)
    found = effectiveness(before, after, asked, lambda w: np.full(len(w), 2.0), bootstrap, 0.5)
    assert found.shift.value == pytest.approx(0.5)
    assert found.moved.value == pytest.approx(2 / 3)
    assert found.reached.value == pytest.approx(1 / 3)
    assert found.crossed.value == pytest.approx(1 / 3)


class ViewReader:
    """Scores each of three views by the radiograph's mean brightness, as log-odds against the
    rest."""

    def __init__(self) -> None:
        self.graph = GRAPH
        self.observed = {"view": ["PA", "AP", "LATERAL"]}
        self.threshold = dict.fromkeys(("view=PA", "view=AP", "view=LATERAL"), 0.0)

    def score(self, images, index=None):
        ap = images.mean(dim=(1, 2, 3)).double().numpy()
        return pd.DataFrame({"view=PA": -ap, "view=AP": ap, "view=LATERAL": 0 * ap}, index=index)

    def truth(self, table):
        return pd.DataFrame(
            {f"view={v}": (table["view"] == v) * 1.0 for v in self.observed["view"]}
        )


def ask_view(world, reader):
    table = world.table.assign(view=np.resize(["PA", "AP"], RADIOGRAPHS))
    question = flip(table, GRAPH, "view")
    rows = table.assign(view=pd.Categorical(table["view"], GRAPH.variables["view"].levels))
    mechanism = LinearPainter({"view": 0.5})
    parents = mechanism.encode(rows)[0]
    images = mechanism.predict(world.noise, parents)
    none = {"none": Guidance("none")}
    found = soundness(
        mechanism, {"view": reader}, images, table, world.noise, [question], none, resamples=50
    )
    return found.set_index("measure")


def test_of_three_levels_the_two_that_are_exchanged_are_read(world):
    """PA to AP and back is one whole gap, read by the score of AP, whatever else was seen."""
    found = ask_view(world, ViewReader())
    assert found.loc["shift", "value"] == pytest.approx(1, abs=0.02)
    for measure in ("moved", "reached", "crossed"):
        assert found.loc[measure, "value"] == 1
    assert not any(measure.startswith("shift of view") for measure in found.index)


def test_a_predictor_that_never_saw_the_level_cannot_score_it(world):
    reader = ViewReader()
    reader.observed = {"view": ["PA", "LATERAL"]}
    with pytest.raises(InterventionError, match="the predictor tells apart 'PA', 'LATERAL'"):
        ask_view(world, reader)
