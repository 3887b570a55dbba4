"""Radiographs as a user has them: files and tables in their own words, and of any size."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image as PillowImage
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from cxrcausal.counterfactual import CounterfactualModel
from cxrcausal.data import phantom, read_images
from cxrcausal.data.phantom import PhantomMechanism, phantom_scm
from cxrcausal.errors import ImageError, OptionError, TableError
from cxrcausal.fairness import audit, torchxrayvision
from cxrcausal.fairness.radiographs import Radiographs, radiographs_of

SIZE, FINE, COUNT = 32, 80, 8
FAST = {"resamples": 100, "seed": 0}


@pytest.fixture(scope="module")
def model() -> CounterfactualModel:
    return CounterfactualModel(phantom_scm(), PhantomMechanism(SIZE), name="phantom")


@pytest.fixture(scope="module")
def study():
    found = phantom.sample(COUNT, seed=5, size=SIZE)
    return found.images.clamp(0, 1), found.table


@pytest.fixture(scope="module")
def folder(study, tmp_path_factory):
    """PNG files beside a table in the columns and words of NIH's Data_Entry_2017."""
    images, table = study
    folder = tmp_path_factory.mktemp("nih")
    pixels = F.interpolate(images, size=(FINE, FINE), mode="bicubic").clamp(0, 1)
    names = [f"{i:08}_000.png" for i in range(COUNT)]
    for name, x in zip(names, pixels, strict=True):
        PillowImage.fromarray((x[0] * 255).round().to(torch.uint8).numpy().copy()).save(
            folder / name
        )
    sick = table["pleural_effusion"].eq("positive")
    pd.DataFrame(
        {
            "Image Index": names,
            "Finding Labels": np.where(sick, "Effusion", "No Finding"),
            "Patient ID": range(COUNT),
            "Patient Age": table["age"].round().astype(int),
            "Patient Gender": table["sex"].map({"Female": "F", "Male": "M"}),
            "View Position": table["view"].where(table["view"] != "LATERAL", "PA"),
        }
    ).to_csv(folder / "Data_Entry_2017.csv", index=False)
    return folder


def brightness(images):
    return images.mean(dim=(1, 2, 3))


def test_files_and_nih_s_own_columns_are_read(folder):
    """A folder and its table give what reading them by hand gives."""
    mechanism = PhantomMechanism(SIZE)

    class Completes:  # what NIH does not label, and a phantom has
        def __getattr__(self, name):
            return getattr(mechanism, name)

        def encode(self, rows):
            parents, known = mechanism.encode(phantom.sample(len(rows), seed=0).table)
            asked = [v.name for v in mechanism.attributes if not rows[v.name].isna().any()]
            at = [v.name for v in mechanism.attributes].index
            for name in asked:
                values = rows[name]
                codes = values.cat.codes if hasattr(values, "cat") else values
                parents[:, at(name)] = torch.tensor(codes.to_numpy(np.float32))
            return parents, known

    model = CounterfactualModel(phantom_scm(), Completes())
    by_name = audit(
        brightness, model, folder, folder / "Data_Entry_2017.csv", "sex", columns="nih", **FAST
    )
    mapping = {
        "Image Index": "image",
        "Patient ID": "patient_id",
        "Patient Age": "age",
        "Patient Gender": {"to": "sex", "values": {"F": "Female", "M": "Male"}},
        "View Position": "view",
    }
    table = pd.read_csv(folder / "Data_Entry_2017.csv")
    files = [folder / name for name in table["Image Index"]]
    by_mapping = audit(brightness, model, files, table, "sex", columns=mapping, **FAST)
    assert by_name.effects["radiographs"].sum() > 0
    assert by_name.provenance["radiographs"] == by_mapping.provenance["radiographs"] == COUNT
    read = brightness(read_images(files, SIZE)).numpy()
    row = by_mapping.rows.drop_duplicates("row").set_index("row")["image"].sort_index()
    np.testing.assert_allclose(row, read[row.index], atol=1e-6)


def test_a_finer_classifier_sees_its_own_radiograph_with_the_difference_upon_it(model, study):
    """In closed form: x plus the enlarged difference of counterfactual and reconstruction."""
    images, table = study
    fine = F.interpolate(images, size=(FINE, FINE), mode="bicubic").clamp(0, 1)
    seen = []

    def watches(batch):
        seen.append(batch)
        return brightness(batch)

    result = audit(watches, model, fine, table, "sex", batch_size=COUNT, **FAST)
    assert {tuple(batch.shape[2:]) for batch in seen} == {(FINE, FINE)}
    torch.testing.assert_close(seen[0], fine)
    torch.testing.assert_close(seen[1], fine)  # its reconstruction is itself
    small = F.interpolate(fine, size=(SIZE, SIZE), mode="bicubic", antialias=True).clamp(0, 1)
    mechanism = model.image
    parents = mechanism.encode(table)[0]
    noise = mechanism.abduct(small, parents)
    women = torch.tensor((table["sex"] == "Female").to_numpy())
    after = parents.clone()
    after[:, [v.name for v in mechanism.attributes].index("sex")] = 1.0
    painted, here = (mechanism.predict(noise, pa).clamp(0, 1)[women] for pa in (after, parents))
    wanted = fine[women] + F.interpolate(painted - here, size=(FINE, FINE), mode="bicubic")
    torch.testing.assert_close(seen[2], wanted.clamp(0, 1), atol=1e-5, rtol=0)
    assert result.provenance["pixels"] == {"model": SIZE, "classifier": FINE}
    assert 0 <= result.provenance["clipped_share"] < 0.2
    assert f"painted at {SIZE} pixels and carried over to the classifier's {FINE}" in str(result)


def test_what_is_cut_off_is_counted():
    fine = torch.tensor([0.2, 0.9]).repeat_interleave(2).view(1, 1, 2, 2)
    both = Radiographs(torch.zeros(1, 1, 1, 1), fine)
    rows = np.array([0])
    shown = both.shown(rows, torch.full((1, 1, 1, 1), 0.3), torch.zeros(1, 1, 1, 1))
    torch.testing.assert_close(shown.flatten(), torch.tensor([0.5, 0.5, 1.0, 1.0]))
    assert both.clipped == 0.5
    same = Radiographs(torch.zeros(1, 1, 1, 1))
    assert same.shown(rows, fine, fine) is fine
    assert same.clipped == 0.0


def test_a_loader_is_its_tensor(model, study):
    images, table = study
    whole = audit(brightness, model, images, table, **FAST)
    for data in (TensorDataset(images, torch.arange(COUNT)), [{"image": x} for x in images]):
        loaded = audit(brightness, model, DataLoader(data, batch_size=5), table, **FAST)
        pd.testing.assert_frame_equal(whole.rows, loaded.rows)


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        (torch.zeros(3, 1, SIZE, SIZE), ImageError, "3 images stand beside 8 rows"),
        (torch.zeros(COUNT, SIZE, SIZE), ImageError, "allowed is"),
        (torch.full((COUNT, 1, FINE, FINE), 255.0), ImageError, r"to \[0, 1\] first"),
        (
            DataLoader(torch.zeros(COUNT, SIZE), batch_size=4),
            ImageError,
            "batch of the DataLoader",
        ),
        (torch.zeros(COUNT, 1, SIZE, SIZE, dtype=torch.uint8), ImageError, "must be floats"),
        ("somewhere", TableError, "no column 'image'"),
        (["a.png"] * 3, ImageError, "3 images stand"),
        (["a.png"] * COUNT, ImageError, "a.png"),
    ],
)
def test_radiographs_that_are_none_are_refused(study, given, error, says):
    table = study[1].drop(columns="image", errors="ignore")
    with pytest.raises(error, match=says):
        radiographs_of(given, table, SIZE)


def test_a_resolution_is_for_files(study):
    images, table = study
    with pytest.raises(OptionError, match="says how files are read"):
        radiographs_of(images, table, SIZE, 224)
    with pytest.raises(TableError, match="no file is named"):
        radiographs_of("x", table.assign(image=None), SIZE)


class OfTorchXRayVision(nn.Module):
    """As the package's networks are: grey values in [-1024, 1024], outputs by `pathologies`."""

    pathologies = ("Effusion", "", "Lung Opacity", "Hernia")

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        assert not self.training
        low, high = x.flatten(1).amin(1), x.flatten(1).amax(1)
        return self.scale * torch.stack([low, low * 0, high, high - low], dim=1)


def test_torchxrayvision_s_range_and_names():
    """Its own formula: (2 x / largest - 1) 1024, here with x in [0, 1]."""
    network = OfTorchXRayVision()
    found = torchxrayvision(network)(torch.linspace(0, 1, 12).view(1, 1, 3, 4))
    assert list(found.columns) == ["pleural_effusion", "lung_opacity", "hernia"]
    np.testing.assert_allclose(found.to_numpy(), [[-1024, 1024, 2048]])
    assert network.training
    with pytest.raises(OptionError, match="has no `pathologies`"):
        torchxrayvision(nn.Linear(2, 2))


def test_torchxrayvision_s_own_normalisation_agrees():
    package = pytest.importorskip("torchxrayvision", reason="torchxrayvision is not installed")
    x = np.linspace(0, 255, 12, dtype=np.float32).reshape(3, 4)
    theirs = package.datasets.normalize(x, 255)
    found = torchxrayvision(OfTorchXRayVision())(torch.from_numpy(x / 255)[None, None])
    np.testing.assert_allclose(found.iloc[0, :2], [theirs.min(), theirs.max()], rtol=1e-5)


def test_it_audits_a_network_of_torchxrayvision(model, study):
    images, table = study
    result = audit(torchxrayvision(OfTorchXRayVision()), model, images, table, **FAST)
    assert list(result.effects["output"].unique()) == [
        "pleural_effusion",
        "lung_opacity",
        "hernia",
    ]
    assert set(result.groups[result.groups["rate"] == "AUC"]["output"]) == {
        "pleural_effusion",
        "lung_opacity",
    }
