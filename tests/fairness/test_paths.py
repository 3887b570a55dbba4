"""Decompositions whose parts are known: linear equations on paper, and phantoms by their truth."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from closed_form import LinearMechanism, TableMechanism, binary

from cxrcausal.counterfactual import CounterfactualModel
from cxrcausal.data import phantom
from cxrcausal.data.phantom import PhantomMechanism, phantom_scm
from cxrcausal.errors import (
    ImageError,
    InterventionError,
    OptionError,
    TableError,
    UnobservedError,
)
from cxrcausal.fairness import audit, decompose
from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.graph.edge import HiddenCause, Selection
from cxrcausal.image import Guidance
from cxrcausal.scm import FlowSCM
from cxrcausal.scm.table import encode

ROWS, SIZE = 400, 32
FAST = {"resamples": 200, "seed": 0}

# score = .8 sex + .5 heart + .3 drain + .4 site + TWIST sex · heart + noise
# heart = .6 sex + .7 site + normal, drain = .2 sex + .9 heart + normal
SEX, HEART, DRAIN, SITE = 0.8, 0.5, 0.3, 0.4
TO_HEART, TO_DRAIN, OF_HEART, SITE_TO_HEART = 0.6, 0.2, 0.9, 0.7
SHARE = np.array([0.7, 0.2])
"""The shares of men at the two sites."""
ATTRIBUTES = ("site", "sex", "heart", "drain")
UNIT = 0.01
"""How much brighter one unit makes a radiograph: none is clipped."""


class LinearImage:
    """Radiographs of 2 × 2 pixels, each .5 + UNIT (parents · weights + noise): no more, no less.

    Arguments:
        graph: The graph.
        twist: The weight of the product of sex and heart.
        lift: What guidance adds per attribute that is set.
        tint: What a prediction adds that abduction does not take away.
    """

    guidance = None
    image_shape = (1, 2, 2)
    device = torch.device("cpu")

    def __init__(self, graph, twist=0.0, lift=0.0, tint=0.0):
        self.graph, self.twist, self.lift, self.tint = graph, twist, lift, tint
        self.attributes = tuple(graph.variables[n] for n in ATTRIBUTES)
        self.observed = {
            v.name: list(v.levels) if v.is_discrete else [-9.0, 9.0] for v in self.attributes
        }

    def check_images(self, images):
        assert images.shape[1:] == self.image_shape

    def describe(self, solver=None):
        return {"image": "linear"}

    def encode(self, table):
        values = encode(table, self.graph)
        return torch.stack([values[n] for n in ATTRIBUTES], dim=1).float(), {}

    def mean(self, parents):
        site, sex, heart, drain = parents.nan_to_num().double().unbind(1)
        found = SITE * site + SEX * sex + HEART * heart + DRAIN * drain + self.twist * sex * heart
        return found[:, None, None, None]

    def abduct(self, images, parents, *, batch_size=None, **options):
        return (images.double() - 0.5) / UNIT - self.mean(parents)

    def predict(self, noise, parents, *, guidance=None, groups=None, **options):
        lift = 0 if groups is None else self.lift * groups.intervened.sum(1)[:, None, None, None]
        tint = self.tint * parents[:, 1][:, None, None, None]
        return 0.5 + UNIT * (noise + self.mean(parents) + lift + tint)


def score(images):
    return (images.double().mean(dim=(1, 2, 3)) - 0.5).numpy() / UNIT


def variables():
    return [
        Variable("site", "binary", ("A", "B"), role="context"),
        Variable("sex", "binary", ("Female", "Male"), role="demographic"),
        Variable("heart", "continuous", role="finding"),
        Variable("drain", "continuous", role="device"),
    ]


EDGES = [
    ("site", "sex"),
    ("site", "heart"),
    ("sex", "heart"),
    ("sex", "drain"),
    ("heart", "drain"),
]


def linear(edges=EDGES, hidden=(), selection=(), **how):
    """The model in which the equations above hold; an arrow left out leaves its term out."""
    graph = CausalGraph(
        variables(), edges, name="linear", hidden=hidden, selection=selection,
        image_parents=ATTRIBUTES,
    )  # fmt: skip
    weight = {
        ("sex", "heart"): TO_HEART,
        ("site", "heart"): SITE_TO_HEART,
        ("sex", "drain"): TO_DRAIN,
        ("heart", "drain"): OF_HEART,
    }

    def parents(name):
        return tuple(graph.variables[p] for p in graph.parents(name))

    shares = np.stack([1 - SHARE, SHARE], 1) if graph.parents("sex") else [0.5, 0.5]
    mechanisms = {
        "site": TableMechanism(graph.variables["site"], (), [0.5, 0.5]),
        "sex": TableMechanism(graph.variables["sex"], parents("sex"), shares),
    }
    for name in ("heart", "drain"):
        weights = [weight[p, name] for p in graph.parents(name)]
        mechanisms[name] = LinearMechanism(graph.variables[name], parents(name), weights)
    return CounterfactualModel(
        FlowSCM.from_mechanisms(graph, mechanisms), LinearImage(graph, **how)
    )


def patients(model, count=ROWS, seed=1):
    """Radiographs and metadata that the model's own equations give."""
    table = model.scm.sample(count, seed=seed)
    noise = 0.3 * np.random.default_rng(seed).normal(size=(count, 1, 2, 2))
    return model.image.predict(torch.from_numpy(noise), model.image.encode(table)[0]), table


def of(result, part, through="", **at):
    frame = result.parts
    at = {"from": "Female", "to": "Male", **at}
    for name, value in {"part": part, "through": through, **at}.items():
        frame = frame[frame[name] == value]
    (line,) = frame.to_dict("records")
    return line


@pytest.mark.parametrize("twist", [0.0, 0.25])
def test_linear_equations_give_every_part_on_paper(twist):
    """Direct and indirect parts are coefficients; each kind alone differs by the twist."""
    model = linear(twist=twist)
    result = decompose(score, model, *patients(model), "sex", **FAST)
    heart = result_heart(model)
    there = {"from": "Female", "to": "Male"}
    back = {"from": "Male", "to": "Female"}
    women, men = (heart[heart["sex"] == s]["heart"].mean() for s in ("Female", "Male"))
    close = {"abs": 1e-4}  # images are held in single precision
    assert of(result, "direct", **there)["value"] == pytest.approx(SEX + twist * women, **close)
    assert of(result, "direct", **back)["value"] == pytest.approx(-SEX - twist * men, **close)
    for at, sign, sex in ((there, 1, 1), (back, -1, 0)):
        # The finding is followed where the attribute is changed, and alone where it is not.
        through = of(result, "indirect", "finding", **at)
        assert through["value"] == pytest.approx(sign * TO_HEART * (HEART + twist * sex), **close)
        alone = sign * TO_HEART * (HEART + twist * (1 - sex))
        assert through["alone"] == pytest.approx(alone, **close)
        drain = sign * DRAIN * (TO_DRAIN + OF_HEART * TO_HEART)
        assert of(result, "indirect", "device", **at)["value"] == pytest.approx(drain, **close)
        assert of(result, "indirect", "device", **at)["alone"] == pytest.approx(drain, **close)
        assert through["changed"] == 1.0


def result_heart(model):
    return patients(model)[1][["sex", "heart"]]


def test_the_spurious_part_is_what_the_common_cause_brings():
    """By Bayes' rule: how much more often men are at site B, times all that the site does."""
    model = linear()
    count = 4000
    result = decompose(score, model, *patients(model, count), "sex", metadata=False, **FAST)
    men, women = SHARE, 1 - SHARE
    more = men[1] / men.sum() - women[1] / women.sum()
    truth = more * (SITE + SITE_TO_HEART * (HEART + DRAIN * OF_HEART))
    line = of(result, "spurious")
    assert line["value"] == pytest.approx(truth, abs=0.05)
    assert line["value_low"] < truth < line["value_high"]
    assert line["basis"] == "data"
    back = of(result, "spurious", **{"from": "Male", "to": "Female"})
    assert back["value"] == pytest.approx(-truth, abs=0.05)


def summed(frame, *parts):
    return frame[frame["part"].isin(parts)]["value"].sum()


@pytest.mark.parametrize("tint", [0.0, 0.2])
def test_the_parts_add_up_to_the_difference_of_the_groups(tint):
    """Exactly, whatever the equations; the error of reconstruction is a line of its own."""
    model = linear(twist=0.25, tint=tint)
    images, table = patients(model)
    images = images - UNIT * tint * model.image.encode(table)[0][:, 1, None, None, None]
    result = decompose(score, model, images, table, "sex", **FAST)
    men = (table["sex"] == "Male").to_numpy()
    seen = score(images.float())
    for (_, _, _, origin, _), parts in result.parts.groupby(
        ["classifier", "output", "attribute", "from", "to"]
    ):
        total = summed(parts, "direct", "indirect")
        variation = summed(parts, "direct", "indirect", "spurious")
        observed = variation + summed(parts, "reconstruction")
        assert summed(parts, "total") == pytest.approx(total, abs=1e-9)
        assert summed(parts, "variation") == pytest.approx(variation, abs=1e-9)
        assert summed(parts, "observed") == pytest.approx(observed, abs=1e-9)
        sign = 1 if origin == "Female" else -1
        assert observed == pytest.approx(sign * (seen[men].mean() - seen[~men].mean()), abs=1e-5)
        assert summed(parts, "reconstruction") == pytest.approx(-sign * tint, abs=1e-4)


def test_the_direct_part_is_what_an_audit_finds():
    model = linear(twist=0.25, lift=0.1)
    images, table = patients(model)
    how = {"guidance": Guidance("nested", intervened=2.0), **FAST}
    result = decompose(score, model, images, table, ["sex", "heart"], steps={"heart": 1}, **how)
    found = audit(score, model, images, table, ["sex", "heart"], steps={"heart": 1}, **how)
    direct = result.parts[result.parts["part"] == "direct"]
    assert direct["value"].to_numpy() == pytest.approx(found.effects["shift"].to_numpy(), abs=1e-9)
    assert list(direct["to"]) == list(found.effects["to"])
    # Only the attribute counts as set: each part on top of it is lifted by it no more.
    assert of(result, "indirect", "device")["value"] == pytest.approx(
        DRAIN * (TO_DRAIN + OF_HEART * TO_HEART), abs=1e-4
    )
    assert of(result, "direct")["basis"] == "model"
    assert "guided" in of(result, "direct")["claim"]
    assert "intervened=2.0" in str(result)


def test_changes_are_carried_over_to_the_radiographs_that_a_classifier_reads():
    """A radiograph enlarged has the parts of the small one, and is its own reconstruction."""
    model = linear(twist=0.25)
    images, table = patients(model)
    fine = images.repeat_interleave(4, 2).repeat_interleave(4, 3)
    small, large = (decompose(score, model, x, table, "sex", **FAST) for x in (images, fine))
    np.testing.assert_allclose(small.parts["value"], large.parts["value"], atol=1e-3)
    assert large.provenance["pixels"] == {"model": 2, "classifier": 8}
    assert (large.parts[large.parts["part"] == "reconstruction"]["value"] == 0).all()


def test_what_the_graph_leaves_no_path_is_zero_by_construction_and_said():
    model = linear(edges=[("site", "heart"), ("heart", "drain")])
    result = decompose(score, model, *patients(model), "sex", **FAST)
    for kind, names in (("context", "site"), ("finding", "heart"), ("device", "drain")):
        line = of(result, "indirect", kind)
        assert (line["value"], line["basis"]) == (0.0, "construction")
        assert names in line["claim"]
    assert of(result, "total")["value"] == of(result, "direct")["value"]
    spurious = of(result, "spurious")
    assert spurious["basis"] == "construction"
    assert spurious["value_low"] < 0 < spurious["value_high"]  # an estimate all the same
    assert spurious["value"] != 0
    assert "zero by construction" in str(result)


def test_a_part_is_the_model_s_claim_where_two_worlds_of_a_patient_are_asked():
    """The drain is held while the finding that causes it moves: no data show both."""
    model = linear()
    result = decompose(score, model, *patients(model), "sex", **FAST)
    bases = {kind: of(result, "indirect", kind)["basis"] for kind in ("finding", "device")}
    assert bases == {"finding": "coupling", "device": "coupling"}
    assert of(result, "direct")["basis"] == of(result, "total")["basis"] == "data"
    apart = linear(edges=[e for e in EDGES if e != ("heart", "drain")])
    result = decompose(score, apart, *patients(apart), "sex", **FAST)
    assert of(result, "indirect", "finding")["basis"] == "data"


@pytest.mark.parametrize(
    ("declared", "spurious", "direct"),
    [
        ({}, "construction", "data"),
        ({"hidden": [HiddenCause("ward", ("sex", "image"))]}, "model", "model"),
        ({"hidden": [HiddenCause("ward", ("heart", "image"))]}, "construction", "model"),
        ({"selection": [Selection("imaged", ("sex", "site"))]}, "model", "model"),
    ],
)
def test_hidden_causes_and_selection_count(declared, spurious, direct):
    """Without an arrow into sex the spurious part is zero, unless something hidden ties it."""
    model = linear(edges=[e for e in EDGES if e[1] != "sex"], **declared)
    result = decompose(score, model, *patients(model), "sex", **FAST)
    assert of(result, "spurious")["basis"] == spurious
    assert of(result, "direct")["basis"] == direct


def test_binary_findings_stand_within_their_bounds():
    """Beside a part that is the model's claim: Tian and Pearl, and the shares on paper."""
    names = [*variables()[:2], binary("heart"), binary("drain", role="device")]
    edges = [("sex", "heart"), ("heart", "drain")]
    graph = CausalGraph(names, edges, name="binary", image_parents=ATTRIBUTES)
    v = graph.variables
    mechanisms = {
        "site": TableMechanism(v["site"], (), [0.5, 0.5]),
        "sex": TableMechanism(v["sex"], (), [0.5, 0.5]),
        "heart": TableMechanism(v["heart"], (v["sex"],), [[0.8, 0.2], [0.5, 0.5]]),
        "drain": TableMechanism(v["drain"], (v["heart"],), [[0.9, 0.1], [0.4, 0.6]]),
    }
    model = CounterfactualModel(FlowSCM.from_mechanisms(graph, mechanisms), LinearImage(graph))

    def heart(images):
        return pd.DataFrame({"heart": score(images)})

    images, table = patients(model)
    result = decompose(heart, model, images, table, "sex", **FAST)
    bounds = result.bounds.set_index(["from", "mediator", "event"])
    line = bounds.loc[("Female", "heart", "appears")]
    # Monotone: .3 of .8; none disappears. Without that, up to .5 of the .8 may appear.
    assert line["value"] == pytest.approx(0.3 / 0.8)
    assert (line["least"], line["most"]) == pytest.approx((0.3 / 0.8, 0.5 / 0.8))
    assert bounds.loc[("Female", "heart", "disappears")]["value"] == pytest.approx(0.0)
    assert bounds.loc[("Male", "heart", "disappears")]["value"] == pytest.approx(0.3 / 0.5)
    assert (bounds["least"] - 1e-9 <= bounds["value"]).all()
    assert (bounds["value"] <= bounds["most"] + 1e-9).all()
    assert set(result.bounds["mediator"]) == {"heart", "drain"}
    women = (table["sex"] == "Female").to_numpy()
    with_heart = (table["heart"] == "positive").to_numpy()
    expected = 0.3 / 0.8 * (1 - with_heart[women].mean())
    assert of(result, "indirect", "finding")["changed"] == pytest.approx(expected, abs=0.08)
    # The metadata's own parts: signs and patients of the score's.
    ctf = result.metadata.set_index(["from", "part"])["value"]
    assert ctf["Female", "direct"] == pytest.approx(0.3)
    assert ctf["Male", "direct"] == pytest.approx(-0.3)
    assert ctf["Female", "indirect"] == ctf["Female", "spurious"] == 0
    assert ctf["Female", "variation"] == pytest.approx(0.3)
    shares = [with_heart[women].mean(), with_heart[~women].mean()]
    assert ctf["Female", "observed"] == pytest.approx(shares[1] - shares[0])
    left = decompose(heart, model, images, table, "sex", metadata=False, **FAST)
    assert len(left.metadata) == len(left.bounds) == 0
    pd.testing.assert_frame_equal(left.parts, result.parts)


def test_bounds_say_where_a_hidden_cause_makes_them_the_model_s_claim_too():
    hidden = [HiddenCause("habit", ("sex", "heart"))]
    names = [*variables()[:2], binary("heart"), binary("drain", role="device")]
    graph = CausalGraph(
        names, [("sex", "heart")], name="hidden", image_parents=ATTRIBUTES, hidden=hidden
    )
    v = graph.variables
    mechanisms = {
        name: TableMechanism(v[name], (), [0.5, 0.5]) for name in ("site", "sex", "drain")
    }
    mechanisms["heart"] = TableMechanism(v["heart"], (v["sex"],), [[0.8, 0.2], [0.5, 0.5]])
    model = CounterfactualModel(FlowSCM.from_mechanisms(graph, mechanisms), LinearImage(graph))
    result = decompose(score, model, *patients(model), "sex", **FAST)
    assert of(result, "indirect", "finding")["basis"] == "model"
    assert len(result.bounds) == 4
    assert result.bounds["claim"].str.contains("bounds are a claim of the model too").all()


@pytest.mark.parametrize("blind", ["scm", "image"])
def test_a_mediator_that_was_never_observed_is_in_no_line_of_its_own(blind):
    """What the drain carries is not computed, and the line says where it is instead."""
    model = linear()
    images, table = patients(model)
    if blind == "scm":
        mechanisms = {n: m for n, m in model.scm.mechanisms.items() if n != "drain"}
        scm = FlowSCM.from_mechanisms(model.graph, mechanisms)
        model = CounterfactualModel(scm, model.image)
    else:
        model.image.observed["drain"] = []  # nor would one level do, which cannot vary
    result = decompose(score, model, images, table, "sex", **FAST)
    line = of(result, "indirect", "device")
    assert np.isnan(line["value"])
    assert line["basis"] == "model"
    assert {"scm": "in no part", "image": "counts as direct"}[blind] in line["claim"]
    assert "not computed" in str(result)
    parts = result.parts[result.parts["from"] == "Female"]
    whole = summed(parts, "direct", "indirect", "spurious")
    assert summed(parts, "variation") == pytest.approx(whole, abs=1e-9)


def test_unknown_mediators_are_drawn_and_counted():
    """And held at what was drawn, as an audit does."""
    model = linear(twist=0.25)
    images, table = patients(model)
    some = np.arange(ROWS) % 4 == 0
    table = table.assign(heart=table["heart"].mask(some), drain=table["drain"].mask(some[::-1]))
    result = decompose(score, model, images, table, "sex", **FAST)
    women = table[table["sex"] == "Female"]
    line = of(result, "indirect", "device")
    assert line["unknown"] == pytest.approx(women["drain"].isna().mean())
    assert line["changed"] == 1.0
    assert line["value"] == pytest.approx(DRAIN * (TO_DRAIN + OF_HEART * TO_HEART), abs=1e-4)
    shift = audit(score, model, images, table, "sex", **FAST).effects["shift"]
    direct = result.parts[result.parts["part"] == "direct"]["value"]
    assert direct.to_numpy() == pytest.approx(shift.to_numpy(), abs=1e-9)
    assert "unknown and drawn in" in str(result)


def test_patients_sampled_with_the_same_seed_follow_all_the_same(phantoms):
    """What decides who follows is drawn anew, not with the numbers that made the patients."""
    model = phantoms[0]
    study = phantom.sample(60, seed=0, size=SIZE)
    how = {"metadata": False, "resamples": 20, "seed": 0}
    result = decompose(lungs, model, study.images.clamp(0, 1), study.table, "sex", **how)
    assert of(result, "indirect", "finding")["changed"] > 0.05


def test_a_continuous_attribute_has_no_groups():
    model = linear()
    result = decompose(score, model, *patients(model), "heart", steps={"heart": 2}, **FAST)
    at = {"from": "as it is", "to": "+2"}
    assert of(result, "direct", **at)["value"] == pytest.approx(2 * HEART, abs=1e-4)
    through = of(result, "indirect", "device", **at)
    assert through["value"] == pytest.approx(2 * DRAIN * OF_HEART, abs=1e-4)
    for part in ("spurious", "variation", "reconstruction", "observed"):
        assert np.isnan(of(result, part, **at)["value"])
        assert "continuous" in of(result, part, **at)["claim"]
    assert len(result.plot().axes) == 2


def test_a_classifier_that_looks_at_nothing_has_no_parts():
    model = linear(twist=0.25)
    images, table = patients(model)
    both = {"blind": lambda batch: torch.full((len(batch),), 0.3), "sees": score}
    result = decompose(both, model, images, table, "sex", **FAST)
    blind, sees = (result.parts[result.parts["classifier"] == name] for name in both)
    assert (blind[["value"]] == 0).all(axis=None)
    assert blind["alone"].fillna(0).eq(0).all()
    alone = decompose(score, model, images, table, "sex", **FAST).parts
    pd.testing.assert_frame_equal(
        sees.drop(columns="classifier").reset_index(drop=True), alone.drop(columns="classifier")
    )


def test_a_seed_decides_all_of_it():
    model = linear(twist=0.25)
    images, table = patients(model)
    first, again = (decompose(score, model, images, table, "sex", **FAST) for _ in range(2))
    pd.testing.assert_frame_equal(first.parts, again.parts)
    assert str(first) == str(again)


def test_a_row_is_answered_alike_in_any_company(phantoms):
    """In another order, and in other batches."""
    model, images, table = phantoms
    images, table = images[:12], table[:12]
    how = {"metadata": False, **FAST}
    first = decompose(lungs, model, images, table, "sex", **how).parts
    turned = decompose(lungs, model, images.flip(0), table[::-1], "sex", batch_size=7, **how).parts
    left, right = (frame.sort_values("from", kind="stable")["value"] for frame in (first, turned))
    np.testing.assert_allclose(left, right, atol=1e-6)


def test_intervals_are_of_patients():
    """Four copies of every radiograph are no more patients: the intervals stay what they are."""
    model = linear(twist=0.25)
    images, table = patients(model, 60)
    table = table.assign(patient_id=np.arange(60))
    four = pd.concat([table] * 4, ignore_index=True)
    once = decompose(score, model, images, table, "sex", **FAST).parts
    often = decompose(score, model, images.repeat(4, 1, 1, 1), four, "sex", **FAST).parts
    ends = ["value", "value_low", "value_high"]
    np.testing.assert_allclose(once[ends], often[ends], atol=1e-6)
    assert (often["patients"] == once["patients"]).all()
    assert (often["radiographs"] == 4 * once["radiographs"]).all()


def test_radiographs_that_do_not_come_back_are_counted_and_left_out():
    model = linear()
    images, table = patients(model)
    mechanism = model.image
    far = np.arange(ROWS) % 5 == 0
    lost = mechanism.abduct(images, mechanism.encode(table)[0])[torch.tensor(far)]

    class Lossy:
        def __getattr__(self, name):
            return getattr(mechanism, name)

        def prior(self, labels, seed, draws=0):
            return torch.zeros(len(labels), 1, 2, 2, dtype=torch.float64)

        def predict(self, noise, parents, **options):
            painted = mechanism.predict(noise, parents, **options)
            away = (noise[:, None] - lost).abs().flatten(2).amax(2).amin(1) < 1e-3
            return torch.where(away[:, None, None, None], 1 - painted + 0.3, painted)

    lossy = CounterfactualModel(model.scm, Lossy())
    result = decompose(score, lossy, images, table, "sex", **FAST)
    assert result.not_reconstructed.to_numpy().tolist() == far.tolist()
    kept = decompose(score, model, images[~far], table[~far], "sex", **FAST)
    np.testing.assert_allclose(result.parts["value"], kept.parts["value"], atol=1e-6)
    assert f"{far.sum()} did not come back" in str(result)


@pytest.fixture(scope="module")
def phantoms():
    study = phantom.sample(100, seed=5, size=SIZE)
    model = CounterfactualModel(phantom_scm(), PhantomMechanism(SIZE), name="phantom")
    return model, study.images.clamp(0, 1), study.table


def lungs(images):
    """Brightness of the lower lung fields: a breast's shadow lies there, and an effusion."""
    return 10 * images[:, 0, SIZE // 2 : 3 * SIZE // 4].mean(dim=(1, 2))


def test_the_answer_is_text_figure_and_numbers(phantoms):
    model, images, table = phantoms
    images, table = images[:12], table[:12]

    def named(batch):
        return pd.DataFrame({"pleural_effusion": lungs(batch), "bright": lungs(batch)})

    result = decompose(named, model, images, table, ["sex"], **FAST)
    numbers = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert len(numbers["parts"]) == len(result.parts) == 2 * 2 * 11
    assert numbers["parts"][0]["value"] == pytest.approx(result.parts["value"][0], rel=1e-12)
    assert set(result.metadata["outcome"]) == {"pleural_effusion"}
    text = str(result)
    assert "pleural_effusion, sex: Female → Male" in text
    assert "through finding" in text
    assert f"Of {result.bounds['mediator'].nunique()} mediators" in text
    figure = result.plot()
    assert len(figure.axes) == 4
    marks = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert "through acquisition (zero by construction)" in marks
    assert len(result.bounds) == 2 * 2 * 13


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"protected": "sec"}, InterventionError, "did you mean 'sex'"),
        ({"protected": "heart"}, InterventionError, "say by how much"),
        ({"classifier": 3}, OptionError, "classifier is a int"),
        ({"classifier": {}}, OptionError, "no classifier"),
        ({"groups": "patient"}, TableError, "no column 'patient' of patients"),
        ({"confidence": 2}, TableError, "confidence"),
        ({"batch_size": 0}, ImageError, "batch_size"),
        ({"outputs": ["a", "b"]}, ImageError, "1 outputs; 2"),
        ({"unseen": "sex"}, UnobservedError, "never observed 'sex' vary"),
        ({"unknown": "sex"}, TableError, "in none of 400 rows"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_painted(options, error, says):
    model = linear()
    images, table = patients(model)
    mechanism = model.image

    class Idle:
        def __getattr__(self, name):
            assert name not in ("abduct", "predict", "prior")
            return getattr(mechanism, name)

    idle = Idle()
    options = {"classifier": score, "protected": "sex", **options}
    if "unseen" in options:
        idle.observed = {**mechanism.observed, options.pop("unseen"): []}
    if "unknown" in options:
        table = table.assign(**{options.pop("unknown"): None})
    model = CounterfactualModel(model.scm, idle)
    with pytest.raises(error, match=f"(?i){says}"):
        decompose(options.pop("classifier"), model, images, table, **options)
