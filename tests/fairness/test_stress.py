"""Stress tests of classifiers whose answers are known: on phantoms, whose counterfactuals are
true."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

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
from cxrcausal.fairness import Stress, standard_stresses, stress_test
from cxrcausal.fairness.limits import Limit
from cxrcausal.scm import scale, shift

SIZE, COUNT = 32, 36
FAST = {"resamples": 200, "seed": 0}


@pytest.fixture(scope="module")
def model() -> CounterfactualModel:
    return CounterfactualModel(phantom_scm(), PhantomMechanism(SIZE), name="phantom")


@pytest.fixture(scope="module")
def study():
    """Phantoms, pixels held in [0, 1] as a file would."""
    found = phantom.sample(COUNT, seed=3, size=SIZE)
    return found.images.clamp(0, 1), found.table


def tube(images: torch.Tensor) -> torch.Tensor:
    """Brightness of the neck and the upper mediastinum, where a tube and a line lie."""
    return images[:, 0, 1:9, 12:17].mean(dim=(1, 2))


def constant(images: torch.Tensor) -> torch.Tensor:
    return torch.full((len(images),), 0.25)


def truth(model, images, table, **do) -> torch.Tensor:
    """The phantom's own counterfactual: parents set, noise kept."""
    mechanism = model.image
    parents = mechanism.encode(table)[0]
    noise = mechanism.abduct(images, parents)
    other = mechanism.encode(table.assign(**do))[0]
    return mechanism.predict(noise, other).clamp(0, 1)


@pytest.fixture(scope="module")
def devices(model, study):
    """Two classifiers under the devices: one reads the tube, one nothing."""
    images, table = study
    both = {"tube": tube, "constant": constant}
    names = ["device insertion", "device removal"]
    middle = float(tube(images).median())
    return stress_test(
        both, model, images, table, names,
        outputs=["pneumothorax"], thresholds=middle, **FAST,
    )  # fmt: skip


def test_a_classifier_that_reads_the_tube_is_caught(devices):
    effects = devices.effects.set_index(["classifier", "stress"])
    inserted = effects.loc["tube", "device insertion"]
    removed = effects.loc["tube", "device removal"]
    assert inserted["differs"]
    assert removed["differs"]
    assert removed["shift_high"] < 0 < inserted["shift_low"]
    # An exact mechanism leaves nothing there and back but what clipping to [0, 1] cuts off.
    assert (effects["there_and_back"].abs() <= 0.05 * effects["shift"].abs()).all()
    fair = effects.loc["constant"]
    for name in ("shift", "there_and_back", "placebo", "flip_rate", "worst"):
        assert (fair[name] == 0).all()
    assert not fair["differs"].any()
    assert devices.worst["stresses_that_differ"] == 2


def test_the_shift_is_the_difference_to_the_true_counterfactual(model, study, devices):
    images, table = study
    for stress, now, then in [
        ("device insertion", "negative", "positive"),
        ("device removal", "positive", "negative"),
    ]:
        here = (table["support_devices"] == now).to_numpy()
        change = tube(truth(model, images, table, support_devices=then)) - tube(images)
        of = devices.effects[devices.effects["classifier"] == "tube"].set_index("stress")
        assert of.loc[stress, "shift"] == pytest.approx(change.numpy()[here].mean(), abs=1e-5)
        assert of.loc[stress, "radiographs"] == here.sum()
        assert (of.loc[stress, "from"], of.loc[stress, "to"]) == (now, then)


def test_the_label_is_held_while_the_radiograph_changes(model, study, devices):
    """Sensitivity, specificity and AUC by hand: of the same patients, here and under the
    stress."""
    images, table = study
    here = (table["support_devices"] == "negative").to_numpy()
    sick = (table["pneumothorax"] == "positive").to_numpy()[here]
    before = tube(images).numpy()[here]
    after = tube(truth(model, images, table, support_devices="positive")).numpy()[here]
    middle = float(tube(images).median())

    def auc(score):
        over = score[sick][:, None] - score[~sick][None]
        return float(((over > 0) + 0.5 * (over == 0)).mean())

    lines = devices.accuracy.query("classifier == 'tube' and stress == 'device insertion'")
    lines = lines.set_index("rate")
    expected = {
        "AUC": (auc(before), auc(after)),
        "sensitivity": ((before[sick] > middle).mean(), (after[sick] > middle).mean()),
        "specificity": ((before[~sick] <= middle).mean(), (after[~sick] <= middle).mean()),
    }
    for rate, (one, other) in expected.items():
        line = lines.loc[rate]
        assert line["reconstruction"] == pytest.approx(one, abs=1e-3)
        assert line["stressed"] == pytest.approx(other, abs=1e-3)
        assert line["change"] == pytest.approx(other - one, abs=2e-3)
        assert (line["positives"], line["negatives"]) == (sick.sum(), (~sick).sum())
    # A tube in every trachea: who is healthy is called ill, and nothing of this is generation.
    assert lines.loc["specificity", "change_high"] < 0
    assert lines.loc["specificity", "there_and_back"] == pytest.approx(0, abs=0.05)


def test_a_release_fails_by_what_was_found(model, study, devices):
    worst = devices.worst
    drop = devices.accuracy.query("rate == 'specificity'")["change"].min()
    assert worst["largest_specificity_drop"] == pytest.approx(-drop)
    assert Limit.read("largest_specificity_drop > .1").exceeded(worst)
    assert worst["largest_stress_flip_rate"] == devices.effects["flip_rate"].max()
    assert Limit.read(f"largest_stress_shift >= {worst['largest_stress_shift']!r}").exceeded(worst)
    assert Limit.read("stresses_not_asked <= 0").exceeded(worst)
    images, table = study
    unlabelled = stress_test(constant, model, images, table, "PA view", **FAST)
    assert unlabelled.accuracy.empty
    with pytest.raises(OptionError, match="did not measure"):
        Limit.read("largest_auc_drop > .1").exceeded(unlabelled.worst)


def test_a_sweep_is_a_curve_of_the_same_patients(model, study):
    """Every point is the mean score of all patients at that age, by the phantom's own
    counterfactual."""
    images, table = study

    def heart(batch):
        return batch[:, 0, SIZE // 2 :, SIZE // 3 : 2 * SIZE // 3].mean(dim=(1, 2))

    result = stress_test(heart, model, images, table, {"age": {"age": [30, 50, 70]}}, **FAST)
    assert result.curves["value"].tolist() == [30, 50, 70]
    assert (result.curves["radiographs"] == COUNT).all()
    for _, point in result.curves.iterrows():
        score = heart(truth(model, images, table, age=point["value"]))
        assert point["score"] == pytest.approx(float(score.mean()), abs=1e-5)
        assert point["score_low"] < point["score"] < point["score_high"]
    assert result.curves["score"].is_monotonic_increasing  # the heart grows with age
    pd.testing.assert_series_equal(result.curves["shift"], result.effects["shift"])
    assert len(result.plot().axes) == 1
    own = result.rows[result.rows["to"] == "50"].set_index("row")
    same = table.index[table["age"] == 50]
    assert len(same)
    assert np.allclose(own.loc[same, "counterfactual"], own.loc[same, "reconstruction"])


def test_the_standard_stresses(study):
    images, table = study[0][:12], study[1][:12]
    mechanism = PhantomMechanism(SIZE)
    mechanism.observed |= {"dataset": sorted(table["dataset"].unique()), "age": [50.0, 65.0]}
    model = CounterfactualModel(phantom_scm(), mechanism, name="phantom")
    result = stress_test({"a": tube, "b": constant}, model, images, table, **FAST)
    assert list(standard_stresses(model)) == list(result.effects["stress"].unique())
    assert result.not_asked.empty
    of = result.effects[result.effects["classifier"] == "a"].set_index("stress")
    assert (of.loc["AP view", "from"], of.loc["AP view", "to"]) == ("PA", "AP")
    assert of.loc["PA view", "radiographs"] == (table["view"] == "AP").sum()
    sites = of.loc["site"].set_index("to")["radiographs"]
    assert sites.sum() == (len(model.image.observed["dataset"]) - 1) * len(table)
    assert sites["NIH"] == (table["dataset"] != "NIH").sum()
    assert len(result.plot().axes) == 2
    assert len(result.rows) == 2 * of["radiographs"].sum()


def test_stresses_of_one_s_own(model, study):
    """Several attributes at once, a shift, and radiographs of one kind, each in closed form."""
    images, table = study
    stresses = {
        "portable": {"view": "AP", "support_devices": True},
        "older": Stress({"age": shift(15.4)}, where={"sex": "Male"}),
        "either": {"view": ["PA", "AP"]},
    }
    result = stress_test(tube, model, images, table, stresses, **FAST)
    of = result.effects.set_index(["stress", "to"])
    frontal = ((table["view"] == "AP") & (table["support_devices"] == "positive")).to_numpy()
    change = tube(truth(model, images, table, view="AP", support_devices="positive"))
    change = (change - tube(images)).numpy()[~frontal]
    line = of.loc["portable", "AP, positive"]
    assert line["shift"] == pytest.approx(change.mean(), abs=1e-5)
    assert line["radiographs"] == (~frontal).sum()
    assert line["attribute"] == "view, support_devices"
    assert abs(line["there_and_back"]) < 0.05 * abs(line["shift"])
    older = (table["sex"] == "Male").to_numpy() & (table["age"] + 15 <= 110).to_numpy()
    moved = table["age"].where(~older, table["age"] + 15)  # ages are recorded by the year
    change = tube(truth(model, images, table, age=moved)) - tube(images)
    line = of.loc["older", "+15.4"]
    assert line["shift"] == pytest.approx(change.numpy()[older].mean(), abs=1e-5)
    assert of.loc["either", "PA"]["radiographs"] == (table["view"] != "PA").sum()
    assert result.curves.empty


def test_what_sets_the_label_does_not_hold_it(model, study):
    """Under a stress that makes a disease, the old label is no longer true."""
    images, table = study
    table = table.assign(own=np.arange(COUNT) % 2, no_finding=np.arange(COUNT) % 2)
    stresses = {"large heart": {"cardiomegaly": "positive"}, "AP": {"view": "AP"}}

    def three(batch):
        return torch.stack([tube(batch)] * 3, dim=1)

    result = stress_test(
        three, model, images, table, stresses,
        outputs=["cardiomegaly", "no_finding", "own"], **FAST,
    )  # fmt: skip
    known = result.accuracy.groupby("stress")["output"].unique().map(set)
    assert known["large heart"] == {"own"}
    assert known["AP"] == {"cardiomegaly", "no_finding", "own"}
    assert set(result.not_asked["stress"]) == {"large heart"}
    assert result.not_asked["why"].str.contains("the stress sets its label").all()
    assert result.worst["stresses_not_asked"] == 0


@pytest.fixture
def one_site(study):
    """A mechanism that saw NIH alone, no device, and one half of life."""
    mechanism = PhantomMechanism(SIZE)
    mechanism.observed |= {"dataset": ["NIH"], "support_devices": [], "age": [18.0, 60.0]}
    return CounterfactualModel(phantom_scm(), mechanism, name="one site")


def test_what_was_never_observed_is_not_asked_and_said(one_site, study):
    images, table = study[0][:12], study[1][:12]
    result = stress_test(constant, one_site, images, table, **FAST)
    why = result.not_asked.set_index("stress")["why"]
    assert list(why.index) == ["site", "device insertion", "device removal"]
    assert "never observed 'dataset' vary (it saw 'NIH')" in why["site"]
    assert "(it saw nothing)" in why["device removal"]
    assert result.curves["value"].tolist() == [20, 35, 50]
    assert list(standard_stresses(one_site)) == ["AP view", "PA view", "age"]
    assert "not asked, site: the image mechanism never observed" in str(result)
    assert result.worst["stresses_not_asked"] == 3
    lateral = stress_test(constant, one_site, images, table.assign(view="LATERAL"), **FAST)
    why = lateral.not_asked.set_index("stress")["why"]
    assert "changes none of these radiographs" in why["AP view"]


@pytest.mark.parametrize(
    ("stresses", "error", "says"),
    [
        ("site", UnobservedError, "never observed 'dataset' vary"),
        ({"tube": {"support_devices": "positive"}}, UnobservedError, "it saw nothing"),
        ({"old": {"age": [40, 80]}}, UnobservedError, "observed: 18 to 60"),
        ({"old": {"age": 140}}, InterventionError, "0 to 110"),
        ({"old": {"age": "x"}}, InterventionError, "or a shift"),
        ({"old": {"age": scale(2)}}, InterventionError, "or a shift"),
        ({"old": {"age": []}}, InterventionError, "no value"),
        ({"old": {"age": [30, 40], "sex": ["Male", "Female"]}}, InterventionError, "one attrib"),
        ({"view": {"veiw": "AP"}}, InterventionError, "did you mean 'view'"),
        ({"view": {"view": "APP"}}, InterventionError, "did you mean 'AP'"),
        ({"none": {"no_finding": "positive"}}, InterventionError, "not a parent"),
        ({"view": Stress({"view": "AP"}, {"view": "P"})}, InterventionError, "'PA', 'AP'"),
        ({"view": Stress({"view": "AP"}, {"vew": "PA"})}, InterventionError, "'dataset'"),
        ({"view": Stress({"view": "AP"}, {"view": "AP"})}, TableError, "changes none"),
        ({"view": "AP"}, OptionError, "give what it sets"),
        ({"view": {}}, OptionError, "give what it sets"),
        (["ages"], OptionError, "did you mean 'age'"),
        ([], OptionError, "no stress"),
    ],
)
def test_what_cannot_be_asked_is_refused(one_site, study, stresses, error, says):
    images, table = study
    with pytest.raises(error, match=f"(?i){says}"):
        stress_test(constant, one_site, images[:8], table[:8], stresses)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"classifier": 3}, OptionError, "classifier is a int"),
        ({"thresholds": {"scor": 1}}, OptionError, "did you mean 'score'"),
        ({"labels": {"score": "efusion"}}, OptionError, "no column"),
        ({"groups": "patient"}, TableError, "no column 'patient' of patients"),
        ({"batch_size": 0}, ImageError, "at least 1"),
        ({"confidence": 1.0}, TableError, "strictly between"),
    ],
)
def test_it_is_refused_before_anything_is_painted(study, options, error, says):
    images, table = study
    mechanism = PhantomMechanism(SIZE)

    class Idle:
        def __getattr__(self, name):
            assert name not in ("abduct", "predict", "prior")
            return getattr(mechanism, name)

    idle = CounterfactualModel(phantom_scm(), Idle())
    options = {"classifier": constant, **options}
    with pytest.raises(error, match=f"(?i){says}"):
        stress_test(options.pop("classifier"), idle, images, table, **options)


def test_a_model_of_metadata_and_other_images_are_refused(model, study):
    images, table = study
    with pytest.raises(ImageError, match="of metadata alone"):
        stress_test(constant, CounterfactualModel(phantom_scm()), images, table)
    with pytest.raises(ImageError, match=f"{COUNT} images stand beside 3 rows"):
        stress_test(constant, model, images, table[:3])


def test_a_batch_is_its_rows_and_an_answer_is_a_function_of_its_seed(model, study):
    images, table = study
    table = table.set_axis([f"film {i}" for i in range(len(table))])
    names = "device insertion"
    whole, one = (
        stress_test(tube, model, images[:5], table[:5], names, batch_size=size, **FAST)
        for size in (64, 1)
    )
    pd.testing.assert_frame_equal(whole.rows, one.rows, atol=1e-6)
    again = stress_test(tube, model, images[:5], table[:5], names, **FAST)
    assert again.to_dict() == whole.to_dict()
    turned = stress_test(tube, model, images[:5].flip(0), table[:5][::-1], names, **FAST)
    keys = ["row", "to"]
    left = turned.rows.set_index(keys)["counterfactual"]
    right = whole.rows.set_index(keys)["counterfactual"].loc[left.index]
    np.testing.assert_allclose(left, right, atol=1e-6)


def test_a_finer_radiograph_is_what_the_classifier_is_given(model, study):
    """At twice the model's size: what is painted is carried over, and labels are held."""
    images, table = study[0][:6], study[1][:6]
    fine = torch.nn.functional.interpolate(images, scale_factor=2)
    sizes = set()

    def sees(batch):
        sizes.add(batch.shape[-1])
        return batch[:, 0, 2:18, 24:34].mean(dim=(1, 2))

    result = stress_test(sees, model, fine, table, "device insertion", **FAST)
    assert sizes == {2 * SIZE}
    assert result.provenance["pixels"] == {"model": SIZE, "classifier": 2 * SIZE}
    assert result.effects["shift"].item() > 0


def test_radiographs_that_do_not_come_back_are_set_apart(study):
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
    lossy.far = mechanism.abduct(images, mechanism.encode(table)[0])[::3, 0, -1, -1]
    model = CounterfactualModel(phantom_scm(), lossy)
    stresses = {"two": {"age": 40, "support_devices": "positive"}}
    result = stress_test(tube, model, images, table, stresses, **FAST)
    assert result.not_reconstructed.to_numpy().nonzero()[0].tolist() == list(range(0, COUNT, 3))
    assert result.effects["radiographs"].tolist() == [COUNT * 2 // 3]
    assert f"{COUNT // 3} did not come back" in str(result)
    lossy.far = mechanism.abduct(images, mechanism.encode(table)[0])[:, 0, -1, -1]
    with pytest.raises(ImageError, match=f"none of the {COUNT} radiographs comes back"):
        stress_test(tube, model, images, table, stresses, **FAST)


def test_the_page_the_tables_and_the_numbers_say_the_same(model, study, devices, tmp_path):
    page = devices.save(tmp_path / "stress").read_text(encoding="utf-8")
    assert "not for diagnosis" in page
    assert "device insertion: negative → positive" in page
    assert page.count("<img") == 1
    assert 'src="data:' in page
    assert page.rstrip().endswith("</html>")
    report = json.loads((tmp_path / "stress" / "report.json").read_text(encoding="utf-8"))
    assert report["worst"] == pytest.approx(devices.worst)
    assert report["effects"][0]["shift"] == pytest.approx(devices.effects["shift"][0], rel=1e-12)
    for name in ("effects", "accuracy", "rows"):
        kept = pd.read_csv(tmp_path / "stress" / f"{name}.csv")
        assert len(kept) == len(getattr(devices, name)) > 0
    assert f"largest drop of specificity {-devices.worst['largest_specificity_drop']:+.3f}" in str(
        devices
    )
