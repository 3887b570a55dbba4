"""A probe finds what leaks into the noise and finds nothing in white noise."""

import numpy as np
import pandas as pd
import pytest
import torch

from cxrcausal.errors import TableError
from cxrcausal.evaluation import (
    conv_probe,
    noise_statistics,
    patient_folds,
    radial_spectrum,
    ridge_probe,
)
from cxrcausal.graph import load_graph

GRAPH = load_graph("cxr19")
RADIOGRAPHS, SIDE = 240, 16


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """160 patients, some with two radiographs; sex is a patient's, view and age are a
    radiograph's."""
    rng = np.random.default_rng(0)
    patient = np.sort(np.r_[np.arange(160), rng.choice(160, RADIOGRAPHS - 160, replace=False)])
    sex = rng.permutation(np.r_[np.zeros(80, int), np.ones(80, int)])
    return pd.DataFrame(
        {
            "patient_id": [f"p{i}" for i in patient],
            "sex": np.array(["Female", "Male"])[sex[patient]],
            "view": rng.choice(["PA", "AP"], RADIOGRAPHS),
            "age": rng.integers(20, 90, RADIOGRAPHS).astype(float),
        }
    )


def white(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(RADIOGRAPHS, 1, SIDE, SIDE, generator=generator)


def probe(noise: torch.Tensor, table: pd.DataFrame, **settings: object) -> pd.DataFrame:
    settings = {"permutations": 40, "resamples": 300, **settings}
    return ridge_probe(noise, table, GRAPH, **settings)


def test_white_noise_has_the_law_of_white_noise():
    found = noise_statistics(white(), rings=6)
    assert abs(found.mean) < 0.02
    assert found.std == pytest.approx(1, abs=0.02)
    assert found.ks < 0.01
    assert found.flatness > 0.99
    assert np.allclose(found.spectrum, 1, atol=0.1)
    assert abs(found.neighbour_correlation) < 0.02


def test_statistics_know_scale_shift_and_blur():
    scaled = noise_statistics(2 * white() + 1)
    assert scaled.mean == pytest.approx(1, abs=0.03)
    assert scaled.std == pytest.approx(2, abs=0.03)
    assert scaled.ks > 0.2
    blurred = noise_statistics(torch.nn.functional.avg_pool2d(white(), 3, 1, 1))
    assert blurred.flatness < 0.9
    assert blurred.neighbour_correlation > 0.4
    with pytest.raises(TableError, match="give two"):
        noise_statistics(white()[:1])


def test_the_spectrum_finds_a_wave_where_it_is():
    """A wave of four cycles over 16 pixels has a quarter cycle per pixel: the middle ring."""
    x = torch.arange(SIDE)
    wave = torch.cos(2 * torch.pi * 4 * x / SIDE).expand(3, 1, SIDE, SIDE)
    assert int(radial_spectrum(wave, rings=8).argmax()) == 3  # (3/16, 4/16] of a cycle per pixel


def test_white_noise_tells_nothing(table):
    found = probe(white(), table)
    assert (found["p"] > 0.02).all()
    assert found.loc[["sex", "view"], "value"].between(0.35, 0.65).all()
    assert abs(found.loc["age", "value"]) < 0.3


def test_a_leak_is_found_where_it_is_and_not_elsewhere(table):
    """A faint pattern with the sign of sex: no pixel shows it, the probe does, with errors
    left."""
    pattern = white(9)[:1] * 0.16
    sign = torch.tensor(np.where(table["sex"] == "Male", 1.0, -1.0), dtype=torch.float32)
    noise = white() + sign[:, None, None, None] * pattern
    found = probe(noise, table)
    assert found.loc["sex", "value"] > 0.9
    assert found.loc["sex", "low"] > found.loc["sex", "chance_high"]
    assert found.loc["sex", "p"] < 0.05
    assert found.loc["view", "value"] < 0.65


def test_age_is_read_as_a_correlation(table):
    age = torch.tensor((table["age"].to_numpy() - 55) / 20, dtype=torch.float32)
    found = probe(white() + age[:, None, None, None] * white(9)[:1] * 0.35, table)
    assert found.loc["age", "metric"] == "r"
    assert found.loc["age", "value"] > 0.7


def test_a_leak_in_the_variance_alone_needs_the_block_features(table):
    loud = torch.tensor(np.where(table["view"] == "AP", 1.25, 1.0), dtype=torch.float32)
    noise = white() * loud[:, None, None, None]
    assert probe(noise, table, features="blocks").loc["view", "value"] > 0.9
    assert probe(noise, table, features="pixels").loc["view", "value"] < 0.7


def test_chance_knows_that_radiographs_of_one_patient_resemble_one_another(table):
    """Noise that is the patient's own, and tells nothing of sex, is not taken for a leak."""
    patient = torch.from_numpy(pd.factorize(table["patient_id"])[0])
    own = white(4)[:160][patient]
    assert probe(own + 0.1 * white(), table).loc["sex", "p"] > 0.02


def test_only_the_scored_radiographs_count(table):
    scored = table.index.to_numpy() < 100
    found = probe(white(), table, variables=("sex",), scored=scored)
    assert found.loc["sex", "radiographs"] == 100


def test_the_convolutional_probe_finds_a_leak(table):
    """Texture: a checkerboard of random sign, whose mean over radiographs is zero for both
    sexes."""
    generator = torch.Generator().manual_seed(2)
    sign = torch.randint(0, 2, (RADIOGRAPHS, 1, 1, 1), generator=generator) * 2.0 - 1
    grid = (torch.arange(SIDE)[:, None] + torch.arange(SIDE)) % 2 * 2.0 - 1
    male = torch.tensor((table["sex"] == "Male").to_numpy())[:, None, None, None]
    noise = white() + male * sign * grid
    settings = {"folds": 2, "epochs": 15, "width": 8, "resamples": 300}
    found = conv_probe(noise, table, GRAPH, ("sex",), **settings)
    assert found.loc["sex", "value"] > 0.9
    assert found.loc["sex", "chance"] == pytest.approx(0.5, abs=0.05)
    training = patient_folds(table["patient_id"], 3) > 0
    found = conv_probe(noise, table, GRAPH, ("sex",), training=training, **settings)
    assert found.loc["sex", "value"] > found.loc["sex", "chance_high"]
    assert found.loc["sex", "radiographs"] == (~training).sum()


def test_leaks_beside_mean_and_variance_need_other_features(table):
    """Horizontal waves in one view, vertical ones in the other, their sign random: every pixel
    has the same mean and variance in both, the bands of frequency and the neighbours do not."""
    generator = torch.Generator().manual_seed(2)
    sign = torch.randint(0, 2, (RADIOGRAPHS, 1, 1, 1), generator=generator) * 2.0 - 1
    wave = torch.cos(torch.pi * (torch.arange(SIDE) + 0.5) * 5 / SIDE).expand(SIDE, SIDE)
    ap = torch.tensor((table["view"] == "AP").to_numpy())[:, None, None, None]
    noise = white() + 0.5 * sign * torch.where(ap, wave, wave.T)
    for features in ("bands", "neighbours"):
        assert probe(noise, table, features=features).loc["view", "value"] > 0.9
    assert probe(noise, table, features="pixels").loc["view", "value"] < 0.7
    flat = probe(white(), table, features="bands")
    assert (flat["p"] > 0.02).all()


def test_a_probe_is_fitted_on_some_patients_and_scored_on_others(table):
    """The leak is found, white noise tells nothing, and chance is that of the scored ones."""
    training = patient_folds(table["patient_id"], 2) == 0
    sign = torch.tensor(np.where(table["view"] == "AP", 1.0, -1.0), dtype=torch.float32)
    noise = white() + sign[:, None, None, None] * white(9)[:1] * 0.3
    found = probe(noise, table, training=training)
    assert found.loc["view", "value"] > 0.9
    assert found.loc["view", "p"] < 0.05
    assert found.loc["sex", "p"] > 0.02
    assert (found["radiographs"] == (~training).sum()).all()
    assert found.loc["view", "chance"] == pytest.approx(0.5, abs=0.05)
    with pytest.raises(TableError, match="patients both fit the probe and are scored by it"):
        probe(noise, table, training=table.index.to_numpy() % 2 == 0)


def test_folds_keep_patients_together(table):
    fold = patient_folds(table["patient_id"], 5)
    assert (table.assign(fold=fold).groupby("patient_id")["fold"].nunique() == 1).all()
    assert set(fold) == {0, 1, 2, 3, 4}
    with pytest.raises(TableError, match="3 patients cannot be dealt into 5 folds"):
        patient_folds(["a", "b", "c"], 5)


def test_a_variable_that_does_not_vary_is_refused(table):
    with pytest.raises(TableError, match="'sex' shows 1 values"):
        probe(white(), table.assign(sex="Male"), variables=("sex",))
