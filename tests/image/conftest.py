"""A small image mechanism, and patients for it."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch

import cxrcausal as cx
from cxrcausal.image import ImageRecipe, RectifiedFlow
from cxrcausal.image.recipe import NetworkRecipe, TrainingRecipe
from cxrcausal.image.solver import Solver


@pytest.fixture(scope="session")
def small_recipe() -> ImageRecipe:
    return ImageRecipe(
        name="small",
        network=NetworkRecipe(
            size=16, patch=4, width=32, depth=2, heads=2, hidden=48, rank=4, embedding=8
        ),
        solver=Solver("heun", num_steps=4),
        training=TrainingRecipe(
            num_images=160, batch_size=8, warmup_steps=2, learning_rate=1e-3, seed=3
        ),
    )


@pytest.fixture(scope="session")
def patients() -> pd.DataFrame:
    """Twenty-four patients with known age, sex and view; all else unknown."""
    rng = np.random.default_rng(0)
    graph = cx.load_graph("cxr19")
    n = 24
    table = pd.DataFrame(
        {
            "dataset": pd.Categorical(["NIH"] * n, graph.variables["dataset"].levels),
            "age": rng.integers(20, 90, n).astype(float),
            "sex": pd.Categorical.from_codes(rng.integers(0, 2, n), ["Female", "Male"]),
            "view": pd.Categorical.from_codes(rng.integers(0, 2, n), ["PA", "AP", "LATERAL"]),
        },
        index=[f"row{i}" for i in range(n)],
    )
    for name, variable in graph.variables.items():
        if name not in table:
            codes = np.full(n, -1)
            table[name] = pd.Categorical.from_codes(codes, variable.levels)
    return table[list(graph.variables)]


@pytest.fixture(scope="session")
def radiographs(patients: pd.DataFrame) -> torch.Tensor:
    """Pictures whose brightness is the age and whose left half is dark in women."""
    age = torch.tensor(patients["age"].to_numpy()).float()[:, None, None, None] / 110
    picture = torch.ones(len(patients), 1, 16, 16) * age
    picture[torch.tensor((patients["sex"] == "Female").to_numpy()), :, :, :8] *= 0.5
    return picture


@pytest.fixture(scope="session")
def random_flow(small_recipe: ImageRecipe) -> RectifiedFlow:
    """A mechanism whose weights are all random, so that no branch of it is zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        seen = {
            "dataset": ["NIH"], "age": [20.0, 90.0], "sex": ["Female", "Male"],
            "view": ["PA", "AP"], "cardiomegaly": ["negative", "positive"],
            "pleural_effusion": ["negative", "positive"], "edema": ["negative", "positive"],
        }  # fmt: skip
        mechanism = RectifiedFlow(cx.load_graph("cxr19"), small_recipe, seen)
        for parameter in mechanism.parameters():
            torch.nn.init.normal_(parameter, std=0.15)
    return mechanism.eval().requires_grad_(False)


@pytest.fixture
def flow(random_flow: RectifiedFlow) -> RectifiedFlow:
    """That mechanism, for a test to change."""
    return copy.deepcopy(random_flow)
