"""What an audit asks beside the shift: two attributes, intersections, labels, unknown parents."""

import numpy as np
import pandas as pd
import pytest
import torch
from audited import COUNT, FAST, SIZE, Completes, constant, follows_sex, of

from cxrcausal.bootstrap import PatientBootstrap
from cxrcausal.counterfactual import CounterfactualModel
from cxrcausal.data.phantom import PhantomMechanism, phantom_scm
from cxrcausal.errors import (
    OptionError,
)
from cxrcausal.fairness import audit
from cxrcausal.fairness.estimates import gaps, group_rates, with_label_noise
from cxrcausal.scm import shift


def test_two_attributes_at_once_interact_as_their_scores_do(model, study):
    """In closed form, of the exact counterfactuals of each and of both."""
    images, table = study

    def curved(batch):  # not additive, so that there is an interaction
        return follows_sex(batch).square() * batch.mean(dim=(1, 2, 3))

    result = audit(curved, model, images, table, [("sex", "age")], steps={"age": 30}, **FAST)
    assert set(result.effects["attribute"]) == {"sex", "age", "sex, age"}
    mechanism = model.image
    before = mechanism.encode(table)[0]
    noise = mechanism.abduct(images, before)
    names = [v.name for v in mechanism.attributes]
    at_sex, at_age = names.index("sex"), names.index("age")
    line = of(result, **{"attribute": "sex, age", "from": "Female, as it is", "to": "Male, +30"})
    _, high = mechanism.observed["age"]
    rows = (before[:, at_sex] == 0) & (before[:, at_age] + 30 <= high)
    assert line["radiographs"].item() == int(rows.sum())

    def score(sex: bool, age: bool) -> torch.Tensor:
        after = before[rows].clone()
        if sex:
            after[:, at_sex] = 1
        if age:
            after[:, at_age] += 30
        return curved(mechanism.predict(noise[rows], after).clamp(0, 1))

    none, sex, age, both = (score(*on) for on in ((0, 0), (1, 0), (0, 1), (1, 1)))
    assert line["shift"].item() == pytest.approx((both - none).mean().item(), abs=1e-5)
    wanted = (both - sex - age + none).mean().item()
    assert abs(wanted) > 1e-5
    assert line["interaction"].item() == pytest.approx(wanted, abs=1e-6)
    assert of(result, attribute="sex")["interaction"].isna().all()
    assert result.worst["largest_interaction"] >= abs(wanted) - 1e-6
    assert result.provenance["together"] == [["sex", "age"]]


def test_intersections_are_groups(model, study):
    images, table = study
    groups = audit(constant, model, images, table, [("sex", "race")], **FAST).groups
    both = groups[(groups["attribute"] == "sex, race") & ~groups["group"].str.startswith("gap")]
    wanted = table.groupby(["sex", "race"], observed=True).size()
    assert set(both["group"]) == {f"{sex}, {race}" for sex, race in wanted.index}
    for _, line in both.iterrows():
        assert line["radiographs"] == wanted[tuple(line["group"].split(", "))]


@pytest.mark.parametrize("pair", [("sex",), ("sex", "sex"), ("sex", "age", "race"), 3])
def test_two_at_once_are_two(model, study, pair):
    images, table = study
    with pytest.raises(OptionError, match="two different ones"):
        audit(constant, model, images, table, [pair], **FAST)


def test_calibration_is_the_mean_score_less_the_share_of_positives(model, study):
    images, table = study
    result = audit(
        constant, model, images, table, labels={"score": "pleural_effusion"}, **FAST
    ).groups.set_index(["rate", "group"])["value"]
    sick = table["pleural_effusion"].eq("positive")
    for sex in ("Female", "Male"):
        share = sick[table["sex"] == sex].mean()
        assert result["calibration", sex] == pytest.approx(0.25 - share)
    log_odds = audit(
        lambda x: constant(x) - 1,
        model,
        images,
        table,
        labels={"score": "pleural_effusion"},
        **FAST,
    ).groups
    assert "calibration" not in set(log_odds["rate"])


def test_label_noise_explains_the_gap_that_it_made():
    """Rates of two groups alike in truth, of which one's labels were spoilt by a known share."""
    rng = np.random.default_rng(0)
    sick = np.repeat([1.0, 0.0], 40_000)
    score = (rng.random(80_000) < np.where(sick == 1, 0.8, 0.1)).astype(float)
    woman = rng.random(80_000) < 0.5
    named = sick.copy()
    wrong = woman & (sick == 0) & (rng.random(80_000) < 0.1)  # negatives that are called positive
    named[wrong] = 1
    share = wrong.sum() / (woman & (named == 1)).sum()
    bootstrap = PatientBootstrap(np.arange(80_000), resamples=2)
    lines = with_label_noise(
        [*gaps({"women": woman, "men": ~woman}, group_rates(score, named, 0.5), bootstrap)]
    )
    (gap,) = [x for x in lines if x["rate"] == "TPR" and x["group"].startswith("gap")]
    assert gap["group"] == "gap, men over women"
    assert gap["label_noise"] == pytest.approx(share, abs=0.02)


def test_single_radiographs_have_a_curve(model, study):
    images, table = study
    result = audit(follows_sex, model, images, table, **FAST)
    curves = result.individual
    moved = (result.rows["counterfactual"] - result.rows["reconstruction"]).abs()
    middle = curves.iloc[len(curves) // 2]
    assert middle["shift"] == pytest.approx((moved > middle["more_than"]).mean())
    assert (curves[["shift", "there_and_back", "placebo"]].diff().iloc[1:] <= 0).all(axis=None)
    assert curves["shift"].iloc[-1] == 0
    assert len(result.plot_individual().axes) == 1
    assert len(result.plot_groups().axes) == result.groups["rate"].nunique()


def test_unknown_parents_are_drawn_and_left_unknown_beside(study):
    images, table = study
    painted = Completes(PhantomMechanism(SIZE))
    model = CounterfactualModel(phantom_scm(), painted)
    some = np.arange(len(table)) % 3 == 0
    blind = table.assign(cardiomegaly=table["cardiomegaly"].where(~some))
    blind = blind.assign(race=None)
    result = audit(follows_sex, model, images, blind, ["sex"], **FAST)
    again = audit(follows_sex, model, images, blind, ["sex"], **FAST)
    pd.testing.assert_frame_equal(result.effects, again.effects)
    assert result.provenance["imputed"] == {"race": COUNT, "cardiomegaly": int(some.sum())}
    # Whoever asks what is unknown as the first level, asks what is left unknown.
    first = table.assign(cardiomegaly=table["cardiomegaly"].where(~some, "negative"), race="White")
    known = audit(follows_sex, model, images, first, ["sex"], **FAST).effects
    assert "unimputed_shift" not in known
    np.testing.assert_allclose(result.effects["unimputed_shift"], known["shift"], atol=1e-6)
    assert f"race in {COUNT}, cardiomegaly in {some.sum()}" in str(result)
    whole = audit(follows_sex, model, images, table, ["sex"], **FAST)
    assert whole.provenance["imputed"] == {}
    assert "drawn given" not in str(whole)


def test_rates_of_the_other_world_use_its_labels(model, study):
    """Under the total effect of age findings follow, and a decision is right of its own world."""
    images, table = study
    named = {"labels": {"score": "cardiomegaly"}, "steps": {"age": 30}, **FAST}

    def size_of_heart(batch):
        return batch[:, 0, SIZE // 2 :, SIZE // 3 : 2 * SIZE // 3].mean(dim=(1, 2))

    threshold = float(size_of_heart(images).median())
    total = audit(
        size_of_heart, model, images, table, ["age"], path="total", thresholds=threshold, **named
    )
    direct = audit(size_of_heart, model, images, table, ["age"], thresholds=threshold, **named)
    for result, path in ((total, "total"), (direct, "direct")):
        for _, line in result.effects.iterrows():
            rows = result.rows[result.rows["to"] == line["to"]]
            before = table.loc[rows["row"], "cardiomegaly"].eq("positive").to_numpy()
            after = before
            if path == "total":
                do = {"age": shift(float(line["to"]))}
                asked = table.loc[rows["row"]]
                world = model.counterfactual(None, asked, do, seed=0, metadata_only=True).table
                after = world["cardiomegaly"].eq("positive").to_numpy()
            here = (rows["reconstruction"] > threshold).to_numpy()
            there = (rows["counterfactual"] > threshold).to_numpy()
            wanted = there[after].mean() - here[before].mean() if after.any() else np.nan
            assert line["tpr_change"] == pytest.approx(wanted, nan_ok=True)


def test_fairlearn_counts_the_same_rates(model, study):
    metrics = pytest.importorskip("fairlearn.metrics", reason="fairlearn is not installed")
    images, table = study
    threshold = float(follows_sex(images).median())
    named = {"labels": {"score": "pleural_effusion"}, "thresholds": threshold}
    result = audit(follows_sex, model, images, table, [("sex", "race")], **named, **FAST)
    asked = {"FPR": metrics.false_positive_rate, "positive rate": metrics.selection_rate}
    rates = result.groups.set_index(["rate", "group"])["value"]
    for attributes in ("sex", ["sex", "race"]):
        theirs = result.metric_frame(asked, attributes).by_group
        for group, line in theirs.iterrows():
            name = group if isinstance(group, str) else ", ".join(group)
            for rate in asked:
                assert line[rate] == pytest.approx(rates[rate, name], nan_ok=True)
    with pytest.raises(OptionError, match="no attribute of this audit"):
        result.metric_frame(asked, "view")
    blind = audit(follows_sex, model, images, table, **FAST)
    with pytest.raises(OptionError, match="no label is known"):
        blind.metric_frame(asked, "sex")


def test_a_card_says_what_was_measured_and_what_nobody_said(model, study):
    images, table = study
    result = audit({"a": follows_sex, "b": constant}, model, images, table, ["sex"], **FAST)
    with pytest.raises(OptionError, match="Give one of: 'a', 'b'"):
        result.model_card()
    card = result.model_card("a", intended_use="Triage of | phantoms.", funding="None.")
    line = of(result, classifier="a").iloc[0]
    assert f"{line['shift']:.3f} [{line['shift_low']:.3f}, {line['shift_high']:.3f}]" in card
    assert "## Intended use\n\nTriage of | phantoms." in card
    assert "## Training data\n\nNot stated" in card
    assert "## Funding\n\nNone." in card
    assert "not for diagnosis" in card
    assert "nan" not in card


def test_the_shift_of_those_that_are_read_back_stands_beside(model, study):
    """The check reads what the classifier reads: those in which it passes a threshold."""
    images, table = study
    middle = float(follows_sex(images).median())

    def reads(batch):  # women where the lower lung fields are bright
        return pd.DataFrame({"sex": (follows_sex(batch) < middle).float()})

    result = audit(follows_sex, model, images, table, ["sex", "age"], check=reads, **FAST)
    for _, line in of(result, attribute="sex").iterrows():
        rows = result.rows[(result.rows["attribute"] == "sex") & (result.rows["to"] == line["to"])]
        male = rows["counterfactual"] < middle
        kept = rows[male if line["to"] == "Male" else ~male]
        assert 0 < len(kept) < len(rows)
        assert line["effective"] == pytest.approx(len(kept) / len(rows))
        wanted = (kept["counterfactual"] - kept["reconstruction"]).mean()
        assert line["effective_shift"] == pytest.approx(wanted, abs=1e-6)
    assert of(result, attribute="age")["effective"].isna().all()
    with pytest.raises(OptionError, match="no check reads 'sex'"):
        audit(
            constant,
            model,
            images,
            table,
            check=lambda x: pd.DataFrame({"a": x[:, 0, 0, 0]}),
            **FAST,
        )
