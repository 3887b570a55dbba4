"""Audits of classifiers whose answers are known: on phantoms, whose counterfactuals are true."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from audited import COUNT, FAST, SIZE, constant, follows_sex, of
from torch import nn

from cxrcausal.counterfactual import CounterfactualModel
from cxrcausal.data.phantom import PhantomMechanism, phantom_scm
from cxrcausal.errors import (
    CxrCausalError,
    ImageError,
    InterventionError,
    OptionError,
    TableError,
    UnobservedError,
)
from cxrcausal.fairness import audit
from cxrcausal.fairness.worlds import _others


def test_the_shift_is_the_difference_to_the_true_counterfactual(model, study):
    """In closed form: score of the phantom's own counterfactual less that of the phantom."""
    images, table = study
    result = audit(follows_sex, model, images, table, ["sex"], **FAST)
    mechanism = model.image
    parents = mechanism.encode(table)[0]
    place = [v.name for v in mechanism.attributes].index("sex")
    women = (table["sex"] == "Female").to_numpy()
    set_to = parents.clone()
    set_to[:, place] = 1 - parents[:, place]
    noise = mechanism.abduct(images, parents)
    truth = mechanism.predict(noise, set_to).clamp(0, 1)
    change = (follows_sex(truth) - follows_sex(images)).numpy()[women]
    (line,) = of(result, **{"from": "Female"}).to_dict("records")
    assert line["shift"] == pytest.approx(change.mean(), abs=1e-5)
    assert line["radiographs"] == women.sum()
    assert line["worst"] == pytest.approx(change[np.abs(change).argmax()], abs=1e-5)


def test_a_classifier_that_follows_sex_differs_both_ways(model, study):
    images, table = study
    result = audit(follows_sex, model, images, table, ["sex"], **FAST)
    assert result.effects["differs"].all()
    there, back = result.effects["shift"]
    assert np.sign(there) == -np.sign(back)
    # An exact mechanism leaves nothing there and back but what clipping to [0, 1] cuts off.
    assert (result.effects["there_and_back"].abs() < 0.05 * result.effects["shift"].abs()).all()
    assert (result.effects["beyond_low"] > 0).all()


def test_a_classifier_that_looks_at_nothing_is_told_fair(model, study):
    images, table = study
    result = audit(constant, model, images, table, ["sex", "age"], **FAST)
    for name in ("shift", "there_and_back", "placebo", "flip_rate", "mean_absolute", "worst"):
        assert (result.effects[name] == 0).all()
    assert not result.effects["differs"].any()
    assert (result.effects["p"] == 1).all()


def test_what_has_no_visual_effect_changes_no_score(model, study):
    """Race changes no pixel of a phantom, so any classifier is fair to it."""
    images, table = study
    result = audit(follows_sex, model, images, table, ["race"], **FAST)
    origins = table["race"].nunique()
    assert len(result.effects) == origins * (len(model.image.observed["race"]) - 1)
    assert result.effects["shift"].abs().max() < 1e-6
    assert not result.effects["differs"].any()


def test_flips_are_counted_at_the_threshold(model, study):
    images, table = study
    threshold = float(follows_sex(images).median())
    result = audit(follows_sex, model, images, table, ["sex"], thresholds=threshold, **FAST)
    for _, line in result.effects.iterrows():
        rows = result.rows[result.rows["from"] == line["from"]]
        flipped = (rows["counterfactual"] > threshold) != (rows["reconstruction"] > threshold)
        assert line["flip_rate"] == pytest.approx(flipped.mean())
    assert result.effects["flip_rate"].max() > 0


def test_total_effects_follow_the_metadata(model, study):
    """Direct effects hold the findings; under the total effect of age those of its children
    move."""
    images, table = study

    def heart(batch):
        return batch[:, 0, SIZE // 2 :, SIZE // 3 : 2 * SIZE // 3].mean(dim=(1, 2))

    how = {"steps": {"age": 30}, **FAST}
    direct = audit(heart, model, images, table, ["age"], **how)
    total, again = (
        audit(heart, model, images, table, ["age"], path="total", **how) for _ in range(2)
    )
    assert set(direct.effects["to"]) == {"+30", "-30"}
    assert not np.allclose(direct.effects["shift"], total.effects["shift"])
    pd.testing.assert_frame_equal(again.effects, total.effects)


def test_several_classifiers_answer_for_the_same_counterfactuals(model, study):
    images, table = study
    both = audit({"a": follows_sex, "b": constant}, model, images, table, "sex", **FAST)
    alone = audit(follows_sex, model, images, table, **FAST)
    left = of(both, classifier="a")[["shift", "placebo", "beyond_low", "flip_rate"]]
    right = alone.effects[["shift", "placebo", "beyond_low", "flip_rate"]]
    pd.testing.assert_frame_equal(left.reset_index(drop=True), right)
    assert (of(both, classifier="b")["shift"] == 0).all()


def test_groups_have_rates_and_the_gap_between_the_furthest(model, study):
    images, table = study
    sick = (table["pleural_effusion"] == "positive").astype(float).to_numpy()
    truth = iter([torch.tensor(sick)])

    def cheats(batch):  # it knows the labels of the radiographs as they are
        found = next(truth, None)
        return torch.zeros(len(batch)) if found is None else found

    result = audit(
        cheats, model, images, table, outputs=["effusion"],
        labels={"effusion": "pleural_effusion"}, batch_size=len(images), **FAST,
    )  # fmt: skip
    rates = result.groups.set_index(["rate", "group"])["value"]
    for sex in ("Female", "Male"):
        assert rates["AUC", sex] == 1.0
        assert rates["TPR", sex] == 1.0
        assert rates["FPR", sex] == 0.0
        here = (table["sex"] == sex).to_numpy()
        assert rates["positive rate", sex] == pytest.approx(sick[here].mean())
    (gap,) = (g for r, g in rates.index if r == "positive rate" and g.startswith("gap"))
    shares = [rates["positive rate", s] for s in ("Female", "Male")]
    assert rates["positive rate", gap] == pytest.approx(abs(shares[0] - shares[1]))


def test_equal_groups_have_a_gap_of_nothing_between_two(model, study):
    images, table = study
    groups = audit(constant, model, images, table, **FAST).groups
    (gap,) = groups[groups["group"].str.startswith("gap")].to_dict("records")
    assert gap["value"] == 0
    assert set(gap["group"].removeprefix("gap, ").split(" over ")) == {"Female", "Male"}


def test_a_batch_is_its_rows(model, study):
    images, table = study
    some, one = (
        audit(follows_sex, model, images[:9], table[:9], batch_size=size, **FAST)
        for size in (64, 1)
    )
    pd.testing.assert_frame_equal(some.rows, one.rows, atol=1e-6)


def test_a_module_is_evaluated_without_gradients_and_left_as_it_was(model, study):
    images, table = study
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(SIZE * SIZE, 2))
    network.train()
    network[1].eval()
    first = audit(network, model, images, table, outputs=["x", "y"], **FAST)
    assert (network.training, network[1].training, network[2].training) == (True, False, True)
    assert all(p.grad is None for p in network.parameters())
    again = audit(network, model, images, table, outputs=["x", "y"], **FAST)
    pd.testing.assert_frame_equal(first.effects, again.effects)
    assert list(first.effects["output"].unique()) == ["x", "y"]


def test_radiographs_that_do_not_come_back_are_set_apart(study):
    """A mechanism that loses every third radiograph: those are counted, and asked nothing."""
    images, table = study
    mechanism = PhantomMechanism(SIZE)

    class Lossy:
        def __getattr__(self, name):
            return getattr(mechanism, name)

        def encode(self, rows):  # phantoms are not drawn from unknown parents
            return mechanism.encode(table[: len(rows)] if rows["sex"].isna().all() else rows)

        def predict(self, noise, parents, **options):
            painted = mechanism.predict(noise, parents, **options)
            lost = torch.isin(noise[:, 0, -1, -1], self.far)
            return torch.where(lost[:, None, None, None], 1 - painted, painted)

    lossy = Lossy()
    noise = mechanism.abduct(images, mechanism.encode(table)[0])
    lossy.far = noise[::3, 0, -1, -1]
    model = CounterfactualModel(phantom_scm(), lossy)
    result = audit(follows_sex, model, images, table, **FAST)
    assert result.not_reconstructed.to_numpy().nonzero()[0].tolist() == list(range(0, COUNT, 3))
    assert result.effects["radiographs"].sum() == COUNT * 2 // 3
    assert f"{COUNT // 3} did not come back" in str(result)


def test_what_guidance_does_by_itself_is_not_taken_for_the_classifier_s(study):
    """A mechanism that brightens a corner whenever anything is set: there and back does it twice,
    so a classifier that reads the corner moves, and is not said to differ."""
    images, table = study
    mechanism = PhantomMechanism(SIZE)

    class Brightens:
        def __getattr__(self, name):
            return getattr(mechanism, name)

        def predict(self, noise, parents, *, groups=None, **options):
            painted = mechanism.predict(noise, parents, **options)
            if groups is not None:
                painted[:, 0, -4:, -4:] += 0.1 * groups[0].any(dim=1)[:, None, None]
            return painted

    def corner(batch):
        return batch[:, 0, -4:, -4:].mean(dim=(1, 2))

    model = CounterfactualModel(phantom_scm(), Brightens())
    result = audit(corner, model, images * 0.7, table, ["race"], **FAST)  # no pixel is clipped
    assert result.effects["shift"].to_numpy() == pytest.approx(0.1, abs=1e-3)
    assert result.effects["there_and_back"].to_numpy() == pytest.approx(0.2, abs=1e-3)
    assert (result.effects["p"] < 0.01).all()
    assert not result.effects["differs"].any()


def test_the_page_the_table_and_the_numbers_say_the_same(model, study, tmp_path):
    images, table = study
    result = audit(follows_sex, model, images, table, ["sex"], **FAST)
    page = result.save(tmp_path / "audit").read_text(encoding="utf-8")
    assert "not for diagnosis" in page
    assert "sex: Female → Male" in page
    assert page.count("<img") == 3
    report = json.loads((tmp_path / "audit" / "report.json").read_text(encoding="utf-8"))
    assert report["effects"][0]["shift"] == pytest.approx(result.effects["shift"][0], rel=1e-12)
    assert report["provenance"]["radiographs"] == COUNT
    assert len(pd.read_csv(tmp_path / "audit" / "rows.csv")) == len(result.rows) == COUNT
    assert len(result.plot().axes) == 1


@pytest.mark.parametrize(
    ("classifier", "options", "error", "says"),
    [
        (constant, {"protected": ["sec"]}, InterventionError, "did you mean 'sex'"),
        (constant, {"path": "indirect"}, OptionError, "direct, total"),
        (3, {}, OptionError, "classifier is a int"),
        ({}, {}, OptionError, "no classifier"),
        (lambda x: x.mean(), {}, ImageError, r"scores \(\)"),
        (lambda x: x[:, 0, :2, 0], {"outputs": ["a"]}, ImageError, "2 outputs; 1"),
        (lambda x: {"a": 1}, {}, ImageError, "gives a dict"),
        (lambda x: constant(x) / 0, {}, ImageError, "finite"),
        (constant, {"thresholds": {"scor": 1}}, OptionError, "did you mean 'score'"),
        (constant, {"labels": {"score": "efusion"}}, OptionError, "no column"),
        (constant, {"groups": "patient"}, TableError, "no column 'patient' of patients"),
        (constant, {"protected": 3}, OptionError, "give attributes"),
        (constant, {"protected": []}, OptionError, "no protected attribute"),
        (constant, {"guidance": "strong"}, InterventionError, "give a Guidance"),
        (constant, {"thresholds": float("nan")}, OptionError, "finite number"),
        (constant, {"thresholds": {"score": "half"}}, OptionError, "finite number"),
        (constant, {"labels": {"score": "image"}}, TableError, "says nothing of what is true"),
        (constant, {"protected": "age", "steps": {"age": 0}}, InterventionError, "beside 0"),
        (constant, {"protected": "age", "steps": {"aeg": 9}}, InterventionError, "did you mean"),
        (constant, {"check": "resnet"}, OptionError, "the check is a str"),
    ],
)
def test_what_cannot_be_asked_is_refused(model, study, classifier, options, error, says):
    images, table = study
    table = table[:8].assign(image="a.png")
    with pytest.raises(error, match=f"(?i){says}"):
        audit(classifier, model, images[:8], table, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"classifier": lambda x: x.mean()},
        {"thresholds": {"effusion": 0.5}},
        {"labels": {"effusion": "edema"}},
        {"patients": "one unknown"},
    ],
)
def test_it_is_refused_before_anything_is_painted(study, options):
    images, table = study
    mechanism = PhantomMechanism(SIZE)

    class Idle:
        def __getattr__(self, name):
            assert name not in ("abduct", "predict", "prior")
            return getattr(mechanism, name)

    options = dict(options)
    if options.pop("patients", None):
        some = np.arange(len(table)) != 3
        table = table.assign(patient_id=table["patient_id"].astype(object).where(some))
    model = CounterfactualModel(phantom_scm(), Idle())
    with pytest.raises(CxrCausalError):
        audit(options.pop("classifier", constant), model, images, table, **options)


def test_a_row_is_answered_alike_in_any_company_and_keeps_its_label(model, study):
    """Under a total effect what follows is a function of the row's label, not of its place."""
    images, table = study
    table = table.set_axis([f"film {i}" for i in range(len(table))])
    how = {"steps": {"age": 30}, "path": "total", **FAST}
    whole = audit(follows_sex, model, images, table, ["age"], **how)
    some = audit(follows_sex, model, images.flip(0)[:9], table[::-1][:9], ["age"], **how)
    assert set(some.rows["row"]) <= set(table.index[-9:])
    left = some.rows.set_index(["row", "to"])["counterfactual"]
    right = whole.rows.set_index(["row", "to"])["counterfactual"].loc[left.index]
    np.testing.assert_allclose(left, right, atol=1e-6)
    assert whole.not_reconstructed.index.equals(table.index)


@pytest.mark.parametrize("sizes", [[1, 1], [1] * 9, [4, 1, 2, 3], [3, 3], [2, 5, 1, 2]])
def test_the_placebo_is_another_patient_s(sizes):
    patients = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    donors = _others(patients, np.random.default_rng(1))
    assert sorted(donors) == list(range(len(patients)))
    assert (patients[donors] != patients).all()


def test_what_the_model_never_saw_is_refused(model, study):
    images, table = study
    mechanism = PhantomMechanism(SIZE)
    mechanism.observed = {**mechanism.observed, "race": []}
    blind = CounterfactualModel(phantom_scm(), mechanism)
    with pytest.raises(UnobservedError, match="never observed 'race' vary"):
        audit(constant, blind, images[:8], table[:8], ["race"])
    with pytest.raises(ImageError, match="36 images stand beside 35 rows"):
        audit(constant, model, images, table[:35])
