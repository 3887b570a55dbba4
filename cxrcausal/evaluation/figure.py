"""Figures that a person can read: radiographs, counterfactuals, and what changed.

Their files say that they are synthetic, see `SyntheticFigure`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from cxrcausal.errors import ImageError
from cxrcausal.shapes import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["counterfactual_grid", "image_grid"]


def counterfactual_grid(
    images: Image,
    reconstruction: Image,
    worlds: Mapping[str, Tensor],
    *,
    rows: Sequence[str] = (),
    captions: Mapping[str, Sequence[str]] | None = None,
    title: str = "",
    span: float = 0.35,
) -> "Figure":
    """Draws a row per radiograph: original, reconstruction, counterfactuals above differences.

    Differences are taken from the reconstruction (its own from the radiograph), so that the round
    trip's error is not mistaken for an effect.

    Arguments:
        images: Radiographs in [0, 1], (images, 1, height, width).
        reconstruction: What the mechanism gives back under unchanged parents.
        worlds: Counterfactuals, of the same shape, by the label of their column; NaN where the
            question was not asked.
        rows: What stands beside each radiograph.
        captions: What stands below each counterfactual, by column.
        title: Above all.
        span: The change, in [0, 1], at which the difference map saturates: red brighter, blue
            darker.

    Returns:
        A figure that no window shows; `savefig` writes it.

    Raises:
        ImageError: If the parts do not have one shape.
    """
    from cxrcausal.counterfactual.synthetic import SyntheticFigure

    for label, world in {"reconstruction": reconstruction, **worlds}.items():
        if world.shape != images.shape:
            raise ImageError(
                f"{label!r} has shape {tuple(world.shape)}; the radiographs have "
                f"{tuple(images.shape)}"
            )
    columns = {"radiograph": images, "reconstruction": reconstruction, **worlds}
    count = len(images)
    figure = SyntheticFigure(
        figsize=(1.5 * len(columns) + 0.9, 3.3 * count + 0.9), layout="constrained"
    )
    axes = figure.subplots(2 * count, len(columns), squeeze=False)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        for side in axis.spines.values():
            side.set_visible(False)
    shown = None
    for j, (label, world) in enumerate(columns.items()):
        axes[0, j].set_title(label, fontsize=10)
        for i in range(count):
            picture = world[i, 0].detach().cpu().numpy()
            if np.isnan(picture).any():
                axes[2 * i, j].text(
                    0.5, 0.5, "not asked", fontsize=9, color="0.4",
                    ha="center", va="center", transform=axes[2 * i, j].transAxes,
                )  # fmt: skip
                continue
            axes[2 * i, j].imshow(picture, cmap="gray", vmin=0, vmax=1)
            if captions and label in captions:
                axes[2 * i, j].set_xlabel(captions[label][i], fontsize=9)
            if j:
                other = images if j == 1 else reconstruction
                change = picture - other[i, 0].detach().cpu().numpy()
                below = axes[2 * i + 1, j]
                shown = below.imshow(change, cmap="RdBu_r", vmin=-span, vmax=span)
    for i, label in enumerate(rows):
        axes[2 * i, 0].set_ylabel(label, fontsize=9)
    if shown is not None:
        bar = figure.colorbar(shown, ax=axes, location="bottom", shrink=0.4, aspect=40, pad=0.01)
        bar.set_label(
            "reconstruction − radiograph; counterfactuals − reconstruction; brightness on [0, 1]",
            fontsize=9,
        )
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def image_grid(
    rows: Mapping[str, Image],
    *,
    title: str = "",
    captions: Mapping[str, Sequence[str]] | None = None,
) -> "Figure":
    """Draws rows of images under one another, their label on the left.

    Arguments:
        rows: Images (n, 1, height, width) by label, the same number in each.
        title: Above all.
        captions: What stands below each image, by row.
    """
    from cxrcausal.counterfactual.synthetic import SyntheticFigure

    count = max(len(images) for images in rows.values())
    figure = SyntheticFigure(
        figsize=(1.25 * count + 0.8, 1.5 * len(rows) + 0.5), layout="constrained"
    )
    axes = figure.subplots(len(rows), count, squeeze=False)
    for i, (label, images) in enumerate(rows.items()):
        axes[i, 0].set_ylabel(label, fontsize=8)
        for j in range(count):
            axis = axes[i, j]
            axis.set_xticks([])
            axis.set_yticks([])
            if j < len(images):
                axis.imshow(images[j, 0].detach().cpu().numpy(), cmap="gray", vmin=0, vmax=1)
                if captions and label in captions:
                    axis.set_xlabel(captions[label][j], fontsize=8)
            else:
                axis.set_visible(False)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure
