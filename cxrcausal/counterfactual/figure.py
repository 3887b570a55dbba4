"""Figures of counterfactual radiographs: what is, what would have been, and where they differ.

Differences are taken from the reconstruction, not from the original, so that the flow's own
round-trip error is not mistaken for an effect.
"""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

__all__ = ["draw_counterfactuals", "draw_questions"]

_SPAN = 0.35
"""Differences beyond this share of the grey scale are drawn at full colour."""


def draw_counterfactuals(
    originals: Tensor,
    reconstructions: Tensor,
    counterfactuals: Tensor,
    labels: Sequence[str],
    captions: Sequence[Sequence[str]],
) -> "Figure":
    """Draws original, reconstruction, counterfactual, difference and changes, one patient a row.

    Arguments:
        originals: The factual radiographs, (batch, channel, height, width) in [0, 1].
        reconstructions: The same, abducted and predicted again, of the same shape.
        counterfactuals: The counterfactual radiographs, of the same shape.
        labels: The name of each row.
        captions: What is to be said of each row, one sentence each: the cells that changed, and
            those that could not be followed.
    """
    figure, axes = _grid(len(originals), 4, extra_width=2.6)
    titles = ("original", "reconstruction", "counterfactual", "counterfactual − reconstruction")
    for row in range(len(originals)):
        _radiograph(axes[row][0], originals[row])
        _radiograph(axes[row][1], reconstructions[row])
        _radiograph(axes[row][2], counterfactuals[row])
        _difference(axes[row][3], counterfactuals[row] - reconstructions[row])
        axes[row][0].set_ylabel(labels[row], fontsize=8)
        lines = [textwrap.fill(line, 44) for line in captions[row][:9]]
        text = "\n".join(lines) or "nothing changed"
        axes[row][3].text(
            1.08, 0.5, text, transform=axes[row][3].transAxes, fontsize=7, va="center"
        )
        for axis, title in zip(axes[row], titles, strict=True):
            axis.set_title(title if row == 0 else "", fontsize=9)
    return figure


def draw_questions(
    original: Tensor,
    reconstruction: Tensor,
    answers: Sequence[tuple[str, Tensor, Sequence[str]]],
    heading: str,
) -> "Figure":
    """Draws several questions about one patient: the radiographs above, the differences below.

    Arguments:
        original: The radiograph (channel, height, width) in [0, 1].
        reconstruction: The same, abducted and predicted again.
        answers: The title, the counterfactual radiograph and what else changed, by question.
        heading: The words above: who the patient is, and whether the radiograph is real or
            synthetic.
    """
    figure, axes = _grid(2, 2 + len(answers), extra_height=0.4)
    _radiograph(axes[0][0], original, "original")
    _radiograph(axes[0][1], reconstruction, "reconstruction")
    axes[1][0].axis("off")
    shown = _difference(axes[1][1], reconstruction - original, "− original")
    scale = figure.colorbar(shown, cax=axes[1][0].inset_axes((0.6, 0.1, 0.07, 0.8)))
    scale.set_label("darker, brighter", fontsize=8)
    scale.ax.yaxis.set_label_position("left")
    scale.ax.tick_params(labelsize=7)
    for column, (title, image, changed) in enumerate(answers, start=2):
        _radiograph(axes[0][column], image, title)
        _difference(axes[1][column], image - reconstruction, "− reconstruction")
        also = "also changed:\n" + "\n".join(changed[:6]) if changed else "nothing else changed"
        axes[1][column].set_xlabel(also, fontsize=7)
    figure.suptitle(heading, fontsize=10)
    return figure


def _grid(
    rows: int, columns: int, *, extra_width: float = 0.0, extra_height: float = 0.0
) -> tuple["Figure", list[list["Axes"]]]:
    from cxrcausal.counterfactual.synthetic import SyntheticFigure

    size = (2.2 * columns + extra_width, 2.35 * rows + 0.4 + extra_height)
    figure = SyntheticFigure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, [list(row) for row in axes]


def _radiograph(axis: "Axes", image: Tensor, title: str = "") -> None:
    axis.imshow(image.float().mean(0).cpu().numpy(), cmap="gray", vmin=0, vmax=1)
    axis.set_title(title, fontsize=9)
    axis.set_xticks([])
    axis.set_yticks([])


def _difference(axis: "Axes", difference: Tensor, title: str = "") -> "AxesImage":
    picture = difference.float().mean(0).cpu().numpy()
    shown = axis.imshow(picture, cmap="RdBu_r", vmin=-_SPAN, vmax=_SPAN)
    axis.set_title(title, fontsize=9)
    axis.set_xticks([])
    axis.set_yticks([])
    return shown
