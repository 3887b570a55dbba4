"""Figures are drawn without a window, and leave blank what was not asked."""

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from cxrcausal.errors import ImageError
from cxrcausal.evaluation import counterfactual_grid, image_grid


def test_a_grid_has_a_radiograph_and_a_difference_per_world(tmp_path):
    radiographs = torch.rand(2, 1, 8, 8)
    older = (radiographs + 0.1).clamp(0, 1)
    older[1] = torch.nan  # not asked of the second radiograph
    figure = counterfactual_grid(
        radiographs,
        radiographs,
        {"age +30": older},
        rows=["a", "b"],
        captions={"age +30": ["70", "80"]},
    )
    axes = figure.axes
    drawn = [len(axis.images) for axis in axes[:12]]
    assert drawn == [1, 1, 1, 0, 1, 1, 1, 1, 0, 0, 1, 0]
    change = axes[5].images[0].get_array()
    assert np.allclose(change, (older[0, 0] - radiographs[0, 0]).numpy())
    figure.savefig(tmp_path / "grid.png", dpi=40)
    assert (tmp_path / "grid.png").stat().st_size > 1000
    image_grid({"samples": radiographs}).savefig(tmp_path / "rows.png", dpi=40)
    for name in ("grid.png", "rows.png"):
        with PillowImage.open(tmp_path / name) as picture:
            assert "no patient's radiographs" in picture.info["Synthetic"]


def test_rows_of_unequal_length_are_drawn():
    figure = image_grid({"a": torch.rand(3, 1, 8, 8), "b": torch.rand(2, 1, 8, 8)}, title="two")
    assert sum(axis.get_visible() for axis in figure.axes) == 5


def test_worlds_must_match_the_radiographs():
    with pytest.raises(ImageError, match=r"'sex' has shape \(1, 1, 8, 8\); the radiographs have"):
        counterfactual_grid(
            torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8), {"sex": torch.rand(1, 1, 8, 8)}
        )
