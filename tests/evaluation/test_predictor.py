"""The predictor reads what is there, is a function of its seed, and survives a save."""

import numpy as np
import pandas as pd
import pytest
import torch

from cxrcausal.errors import (
    CheckpointError,
    GraphError,
    ImageError,
    NotFittedError,
    TableError,
)
from cxrcausal.evaluation import Predictor, predictor_quality

TARGETS = ("sex", "view", "age", "pleural_effusion")
RADIOGRAPHS, SIZE = 240, 16


def radiographs(count: int = RADIOGRAPHS, seed: int = 0) -> tuple[torch.Tensor, pd.DataFrame]:
    """Grey squares: sex is a bright left half, view a bright corner, age the height of a bar."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "patient_id": [f"s{seed}-{i}" for i in range(count)],
            "sex": rng.choice(["Female", "Male"], count),
            "view": rng.choice(["PA", "AP"], count),
            "age": rng.integers(20, 90, count).astype(float),
            "pleural_effusion": rng.choice(["negative", "positive"], count),
        }
    )
    images = 0.4 + 0.05 * torch.randn(
        count, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(seed)
    )
    images[torch.tensor((table["sex"] == "Male").to_numpy()), :, :, :6] += 0.15
    images[torch.tensor((table["view"] == "AP").to_numpy()), :, :4, 12:] += 0.3
    for i, age in enumerate(table["age"]):
        images[i, :, SIZE - int(age / 100 * SIZE) :, 8:10] -= 0.3
    return images.clamp(0, 1), table


@pytest.fixture(scope="module")
def fitted() -> Predictor:
    predictor = Predictor("cxr19", TARGETS, size=SIZE, width=8, seed=1)
    images, table = radiographs()
    return predictor.fit(images, table, epochs=12, batch_size=24, augmentation=None)


def test_reads_what_is_in_the_radiograph_and_not_what_is_not(fitted):
    found = predictor_quality(fitted, *radiographs(seed=7), resamples=200)
    assert found.loc["sex", "value"] > 0.97
    assert found.loc["view", "value"] > 0.97
    assert found.loc["age", "value"] < 8
    assert found.loc["age", "metric"] == "MAE (years)"
    assert found.loc["pleural_effusion", "low"] < 0.5 < found.loc["pleural_effusion", "high"]


def test_scores_are_log_odds_of_the_probabilities(fitted):
    images, table = radiographs(5, seed=3)
    score, proba = fitted.score(images, table.index), fitted.predict_proba(images)
    male, female = proba["sex", "Male"], proba["sex", "Female"]
    assert np.allclose(score["sex"], np.log(male / female), atol=1e-6)
    assert np.allclose(proba.T.groupby(level=0).sum(), 1)
    assert (proba["view", "LATERAL"] == 0).all()  # never shown, so never said
    assert list(score) == list(TARGETS)


def test_threshold_is_the_prevalence_in_training(fitted):
    share = 1 / (1 + np.exp(-fitted.threshold["sex"]))
    assert 0.4 < share < 0.6


def test_the_seed_decides_and_the_global_state_is_left_alone():
    images, table = radiographs(60)
    settings = {"epochs": 2, "batch_size": 16}
    before = torch.random.get_rng_state()
    one, two, other = (
        Predictor("cxr19", TARGETS, size=SIZE, width=8, seed=s).fit(images, table, **settings)
        for s in (3, 3, 4)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one.score(images).equals(two.score(images))
    assert not np.allclose(one.score(images)["sex"], other.score(images)["sex"])


def test_answers_do_not_depend_on_the_batch(fitted):
    images, _ = radiographs(7, seed=2)
    alone = pd.concat([fitted.score(image[None]) for image in images], ignore_index=True)
    assert np.allclose(alone, fitted.score(images), atol=1e-4)


def test_unknown_cells_are_masked():
    """What stands beside an unknown cell still teaches; the loss of a target unknown in a whole
    batch is zero, not NaN."""
    images, table = radiographs(80)
    table.loc[table.index[:60], "sex"] = np.nan
    predictor = Predictor("cxr19", ("sex", "age"), size=SIZE, width=8)
    predictor.fit(
        images, table, epochs=2, batch_size=8, validation=table.index.to_numpy() % 4 == 0
    )
    assert np.isfinite(predictor.score(images).to_numpy()).all()
    assert np.isfinite([h["validation_loss"] for h in predictor.history]).all()
    assert predictor.truth(table)["sex"].isna().sum() == 60


def test_three_levels_give_a_column_each():
    images, table = radiographs(90)
    table["view"] = np.resize(["PA", "AP", "LATERAL"], 90)
    predictor = Predictor("cxr19", ("view",), size=SIZE, width=8)
    predictor.fit(images, table, epochs=1)
    score = predictor.score(images)
    assert list(score) == ["view=PA", "view=AP", "view=LATERAL"] == list(predictor.truth(table))
    p = 1 / (1 + np.exp(-score))
    assert np.allclose(p.sum(axis=1), 1, atol=1e-6)


def test_saves_and_loads_without_pickles(fitted, tmp_path):
    images, _ = radiographs(9, seed=5)
    loaded = Predictor.load(fitted.save(tmp_path))
    assert loaded.score(images).equals(fitted.score(images))
    assert loaded.threshold == fitted.threshold
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "predictor.json",
        "predictor.safetensors",
    ]


def test_another_architecture_reads_the_same_radiographs(fitted):
    """What both see does not depend on how one of them looks."""
    images, table = radiographs()
    other = Predictor("cxr19", TARGETS, size=SIZE, width=8, architecture="transformer", seed=1)
    other.fit(images, table, epochs=8, batch_size=24, learning_rate=3e-3, augmentation=None)
    found = predictor_quality(other, *radiographs(seed=7), resamples=20)
    assert found.loc["sex", "value"] > 0.95
    assert found.loc["view", "value"] > 0.95


def test_the_architecture_is_saved(tmp_path):
    images, table = radiographs(40)
    predictor = Predictor("cxr19", ("sex",), size=SIZE, width=8, architecture="transformer")
    predictor.fit(images, table, epochs=1)
    loaded = Predictor.load(predictor.save(tmp_path))
    assert loaded.architecture == "transformer"
    assert loaded.score(images).equals(predictor.score(images))
    with pytest.raises(ImageError, match="'residul' is unknown; did you mean 'residual'"):
        Predictor("cxr19", ("sex",), architecture="residul")


def test_larger_images_are_averaged_over_blocks(fitted):
    images, _ = radiographs(4, seed=5)
    doubled = images.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert np.allclose(fitted.score(doubled), fitted.score(images), atol=1e-4)
    assert torch.allclose(fitted.embed(doubled), fitted.embed(images), atol=1e-5)


def test_says_what_is_wrong_with_a_folder(fitted, tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no predictor.*predictor\.json"):
        Predictor.load(tmp_path)
    fitted.save(tmp_path)
    (tmp_path / "predictor.safetensors").write_bytes(b"\x10")
    with pytest.raises(CheckpointError, match="the file was changed"):
        Predictor.load(tmp_path)


def test_says_what_is_wrong_with_the_input(fitted):
    images, table = radiographs(20)
    with pytest.raises(GraphError, match="'sexx' is not in graph 'cxr19'; did you mean 'sex'"):
        Predictor("cxr19", ("sexx",))
    with pytest.raises(NotFittedError, match="call fit"):
        Predictor("cxr19", ("sex",), size=SIZE, width=8).score(images)
    with pytest.raises(ImageError, match=r"shape \(20, 1, 8, 16\); this predictor reads"):
        fitted.score(images[:, :, :8])
    with pytest.raises(ImageError, match="20 images stand beside 19 rows"):
        Predictor("cxr19", ("sex",), size=SIZE, width=8).fit(images, table.head(19))
    with pytest.raises(TableError, match="'sex' shows 1 values"):
        Predictor("cxr19", ("sex",), size=SIZE, width=8).fit(
            images, table.assign(sex="Male"), validation=table.index.to_numpy() < 5
        )
