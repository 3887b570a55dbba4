"""An embedding of identity knows patients it was not trained on, and who is somebody else."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from cxrcausal.errors import CheckpointError, ImageError, TableError
from cxrcausal.evaluation import Identity, IdentityEmbedding, PatientBootstrap

SIZE, VISITS = 16, 3


def radiographs(patients: int, seed: int) -> tuple[torch.Tensor, pd.DataFrame]:
    """Each patient is two bars, one across and one down, wherever they are; visits differ by
    noise."""
    rng = np.random.default_rng(seed)
    images = 0.4 + 0.03 * torch.from_numpy(rng.normal(size=(patients * VISITS, 1, SIZE, SIZE)))
    for i in range(patients):
        own = images[i * VISITS : (i + 1) * VISITS]
        own[:, :, rng.integers(SIZE - 2) :][:, :, :2] += 0.3
        own[..., rng.integers(SIZE - 2) :][..., :2] -= 0.3
    names = np.repeat([f"s{seed}-{i}" for i in range(patients)], VISITS)
    return images.float().clamp(0, 1), pd.DataFrame({"patient_id": names})


@pytest.fixture(scope="module")
def fitted() -> IdentityEmbedding:
    images, table = radiographs(60, seed=0)
    embedding = IdentityEmbedding(size=SIZE, width=8, dimensions=8)
    stop = np.arange(len(table)) >= 50 * VISITS
    return embedding.fit(
        images, table, validation=stop, epochs=8, patients_per_step=25, augmentation=None
    )


def measured(embedding, images, table, world):
    everything = SimpleNamespace(asked=np.ones(len(table)))
    bootstrap = PatientBootstrap(table["patient_id"], resamples=20)
    return Identity(embedding, images, table).measure(everything, world, bootstrap)


def test_patients_are_known_by_their_other_radiographs(fitted):
    images, table = radiographs(20, seed=5)
    found = measured(fitted, images, table, images)
    assert found["real identity AUC"].value > 0.9
    assert found["real identity rank-1"].value > 0.6
    assert found["identity AUC"] == found["real identity AUC"]


def test_somebody_else_is_not_taken_for_the_patient(fitted):
    """Counterfactuals that show the next patient: nearer to others than to their own."""
    images, table = radiographs(20, seed=5)
    found = measured(fitted, images, table, images.roll(VISITS, 0))
    assert found["identity AUC"].value < 0.7
    assert found["identity rank-1"].value == 0


def test_auc_and_rank_are_those_of_a_sphere_where_all_is_known(fitted):
    """Patient a at 0 and 20 degrees, b at 10 and 90: of a's first, b's one is nearer, one not."""
    identity = Identity(fitted, *radiographs(2, seed=1))
    angle = torch.deg2rad(torch.tensor([0.0, 20.0, 10.0, 90.0]))
    identity.points = torch.stack([angle.cos(), angle.sin()], dim=1)
    identity.codes = np.array([0, 0, 1, 1])
    auc, first = identity.nearness(identity.points[:1], np.array([0]))
    assert (auc[0], first[0]) == (0.5, 0.0)
    identity.codes = np.array([0, 1, 0, 1])
    auc, first = identity.nearness(identity.points[:1], np.array([0]))
    assert (auc[0], first[0]) == (1.0, 1.0)
    identity.codes = np.array([0, 1, 1, 1])  # no other radiograph: nothing to be near to
    assert np.isnan(identity.nearness(identity.points[:1], np.array([0]))).all()


def test_saves_and_loads(fitted, tmp_path):
    images, _ = radiographs(3, seed=2)
    loaded = IdentityEmbedding.load(fitted.save(tmp_path))
    assert torch.equal(loaded.embed(images), fitted.embed(images))
    assert torch.allclose(fitted.embed(images).norm(dim=1), torch.ones(len(images)))
    with pytest.raises(CheckpointError, match="holds no embedding of identity"):
        IdentityEmbedding.load(tmp_path / "elsewhere")


def test_says_what_is_missing(fitted):
    images, table = radiographs(4, seed=3)
    stop = np.arange(len(table)) < 2 * VISITS
    with pytest.raises(ImageError, match="this embedding is fitted"):
        fitted.fit(images, table, validation=stop)
    alone = pd.DataFrame({"patient_id": [str(i) for i in range(len(table))]})
    with pytest.raises(TableError, match="0 patients have two radiographs among 6"):
        IdentityEmbedding(size=SIZE, width=8).fit(images, alone, validation=stop)
