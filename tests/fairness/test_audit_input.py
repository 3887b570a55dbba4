"""What users hand to an audit that is not as it should be, and what must not change an answer."""

import numpy as np
import pandas as pd
import pytest
import torch
from audited import FAST, SIZE, Completes, follows_sex
from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset

from cxrcausal.counterfactual import CounterfactualModel
from cxrcausal.data.phantom import PhantomMechanism, phantom_scm
from cxrcausal.errors import ImageError, InterventionError, OptionError, TableError
from cxrcausal.fairness import audit, decompose, stress_test


def test_a_classifier_that_writes_into_its_input_changes_nothing_else(model, study):
    """Preprocessing in place is common; controls and later classifiers read the same pixels."""
    images, table = study
    before = images.clone()

    def in_place(x):
        return follows_sex(x.sub_(0.5).mul_(2.0)) / 2 + 0.5

    both = {"in place": in_place, "plain": follows_sex}
    answer = audit(both, model, images, table, "sex", **FAST).effects
    assert torch.equal(images, before)
    one, other = (answer[answer["classifier"] == name] for name in both)
    np.testing.assert_allclose(one["shift"], other["shift"], atol=1e-6)
    np.testing.assert_allclose(one["placebo"], other["placebo"], atol=1e-6)


def test_rows_whose_attribute_is_unknown_are_in_no_group(study):
    images, table = study
    model = CounterfactualModel(phantom_scm(), Completes(PhantomMechanism(SIZE)), name="phantom")
    some = table.assign(sex=table["sex"].where(np.arange(len(table)) % 3 > 0))
    answer = audit(follows_sex, model, images, some, ["sex", ("sex", "race")], **FAST)
    groups = answer.groups
    of_sex = groups[(groups["attribute"] == "sex") & (groups["rate"] == groups["rate"].iloc[0])]
    assert set(some["sex"].dropna()) <= set(of_sex["group"])
    assert not any("nan" in str(group).lower() for group in groups["group"])
    assert answer.effects["radiographs"].max() <= some["sex"].notna().sum()


def test_a_negative_seed_is_a_seed(model, study):
    images, table = study
    ask = {"resamples": 200}
    first, second = (
        audit(follows_sex, model, images, table, "sex", seed=s, **ask) for s in (-1, -1)
    )
    pd.testing.assert_frame_equal(first.effects, second.effects)


def test_a_loader_that_shuffles_is_refused(model, study):
    images, table = study
    rows, batches = TensorDataset(images), [[2, 0], [1]]
    for how in (
        {"shuffle": True, "batch_size": 8},
        {"sampler": SubsetRandomSampler(range(len(images))), "batch_size": 8},
        {"batch_sampler": batches},
    ):
        with pytest.raises(OptionError, match="shuffle=False"):
            audit(follows_sex, model, DataLoader(rows, **how), table, "sex", **FAST)
    audit(follows_sex, model, DataLoader(rows, batch_size=8), table, "sex", **FAST)


@pytest.mark.parametrize("worst", [255.0, -1.0, float("nan")])
def test_images_outside_the_grey_scale_are_refused_by_every_mechanism(model, study, worst):
    images, table = study
    spoilt = images.clone()
    spoilt[3, 0, 5, 5] = worst
    with pytest.raises(ImageError, match=r"scale grey values to \[0, 1\]"):
        audit(follows_sex, model, spoilt, table, "sex", **FAST)


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"outputs": ["a", "a"]}, OptionError, "several outputs named 'a'"),
        ({"seed": "a"}, OptionError, "a seed is a whole number"),
        ({"protected": "age", "steps": {"age": "ten"}}, InterventionError, "step of 'age'"),
        ({"protected": "age", "steps": {"age": 500}}, TableError, "outside what the image"),
    ],
)
def test_options_are_refused_in_words(model, study, changed, error, words):
    images, table = study

    def twice(x):
        return torch.stack([follows_sex(x)] * 2, 1)

    with pytest.raises(error, match=words):
        audit(
            twice,
            model,
            images,
            table,
            **{"protected": "sex", "outputs": ["a", "b"]} | FAST | changed,
        )


def test_complex_scores_are_refused(model, study):
    images, table = study
    for make in (lambda x: follows_sex(x) + 1j, lambda x: follows_sex(x).numpy() + 1j):
        with pytest.raises(ImageError, match="complex"):
            decompose(make, model, images, table, "sex", **FAST)


def test_a_list_of_stresses_is_of_names(model, study):
    images, table = study
    with pytest.raises(OptionError, match="Give one of your own by name"):
        stress_test(follows_sex, model, images, table, [{"view": "AP"}], **FAST)


def test_a_margin_is_what_a_difference_must_lie_beyond(model, study):
    """Nothing but the verdict depends on it, and the page says what it is."""
    images, table = study
    plain = audit(follows_sex, model, images, table, "sex", **FAST)
    assert plain.effects["differs"].all()
    low = float(plain.effects["beyond_low"].min())
    for margin, differ in ((0.9 * low, True), (1.1 * low, False)):
        answer = audit(follows_sex, model, images, table, "sex", margin=margin, **FAST)
        assert answer.effects["differs"].all() == differ
        columns = [name for name in plain.effects if name != "differs"]
        pd.testing.assert_frame_equal(answer.effects[columns], plain.effects[columns])
        assert f"more than {margin:g}, the margin" in " ".join(answer._findings())
        assert f"only beyond {margin:g}" in str(answer)
        assert f"own error: {margin:g}." in answer.model_card()
    assert "is in no interval" in " ".join(plain._findings())
    for wrong in (-0.1, float("nan"), float("inf"), "much"):
        with pytest.raises(OptionError, match="margin"):
            audit(follows_sex, model, images, table, "sex", margin=wrong, **FAST)
