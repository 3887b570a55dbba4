"""What an audit found, drawn: shifts beside their controls, groups, and single radiographs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_groups", "plot_individual", "plot_shifts"]

_MARKS = {
    "shift": ("o", "C0", 0.18, "attribute changed"),
    "there_and_back": ("s", "0.45", 0.0, "there and back"),
    "placebo": ("D", "0.7", -0.18, "another patient's difference, of random sign"),
}


def plot_shifts(frame: pd.DataFrame, labels: Sequence[str], confidence: float) -> "Figure":
    """Draws every mean shift with its interval, beside there and back and the placebo.

    Arguments:
        frame: `FairnessAudit.effects`.
        labels: What each line is of.
        confidence: Of the intervals.
    """
    from matplotlib.figure import Figure

    frame = frame.iloc[::-1].reset_index(drop=True)
    figure = Figure(figsize=(8.0, 0.55 * len(frame) + 1.9), layout="constrained")
    axis = figure.subplots()
    place = np.arange(len(frame))
    for name, (mark, colour, lift, label) in _MARKS.items():
        axis.errorbar(
            frame[name], place + lift, xerr=_ends(frame, name), fmt=mark, color=colour,
            capsize=2, markersize=4, label=label,
        )  # fmt: skip
    axis.axvline(0, color="black", linewidth=0.6)
    axis.set_yticks(place, labels[::-1])
    axis.set_ylim(-0.7, len(frame) - 0.3)
    axis.set_xlabel(f"mean change of the score, {confidence:.0%} intervals by patient")
    figure.legend(loc="outside upper left", ncols=1, frameon=False)
    return figure


def plot_groups(groups: pd.DataFrame, confidence: float) -> "Figure":
    """Draws every rate of every group with its interval, a panel per rate.

    Arguments:
        groups: `FairnessAudit.groups`.
        confidence: Of the intervals.
    """
    from matplotlib.figure import Figure

    frame = groups[~groups["group"].str.startswith("gap, ")]
    rates = list(frame["rate"].unique())
    frame = frame.assign(whose=_whose(frame))
    whose = list(frame["whose"].unique())
    figure = Figure(
        figsize=(2.6 * len(rates) + 2.4, 0.28 * len(whose) + 1.2), layout="constrained"
    )
    axes = np.atleast_1d(figure.subplots(1, len(rates), sharey=True))
    for axis, rate in zip(axes, rates, strict=True):
        part = frame[frame["rate"] == rate]
        place = [len(whose) - 1 - whose.index(one) for one in part["whose"]]
        axis.errorbar(
            part["value"], place, xerr=_ends(part, "value"), fmt="o", color="C0", capsize=2,
            markersize=4,
        )  # fmt: skip
        axis.set_title(rate, fontsize="medium")
        axis.grid(axis="x", linewidth=0.4)
    axes[0].set_yticks(np.arange(len(whose)), whose[::-1])
    figure.supxlabel(f"radiographs as they are, {confidence:.0%} intervals by patient", size=9)
    return figure


def plot_individual(curves: pd.DataFrame) -> "Figure":
    """Draws in which share of radiographs the score moves by more than so much.

    Arguments:
        curves: `FairnessAudit.individual`.
    """
    from matplotlib.figure import Figure

    curves = curves.assign(whose=_whose(curves))
    whose = list(curves["whose"].unique())
    across = min(3, len(whose))
    down = -(-len(whose) // across)
    figure = Figure(figsize=(3.1 * across + 0.4, 2.4 * down + 0.8), layout="constrained")
    axes = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    for axis, one in zip(axes, whose, strict=False):
        part = curves[curves["whose"] == one]
        for name, (_, colour, _, label) in _MARKS.items():
            axis.plot(part["more_than"], part[name], color=colour, label=label)
        axis.set_title(one, fontsize="small")
        axis.set_ylim(-0.02, 1.02)
        axis.grid(linewidth=0.4)
    for axis in axes[len(whose) :]:
        axis.set_visible(False)
    figure.supxlabel("change of the score, either way", size=9)
    figure.supylabel("share of radiographs that move by more", size=9)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", frameon=False)
    return figure


def _whose(frame: pd.DataFrame) -> pd.Series:
    """Returns what a line is of: classifier if there are several, output, attribute, group."""
    names = ["classifier"] if frame["classifier"].nunique() > 1 else []
    whose = frame[[*names, "output", "attribute"]].astype(str).agg(", ".join, axis=1)
    return whose + ": " + frame["group"] if "group" in frame else whose


def _ends(frame: pd.DataFrame, name: str) -> np.ndarray:
    """Returns how far the ends of intervals lie from their figures, (2, lines)."""
    value = frame[name].to_numpy()
    spread = np.stack([value - frame[f"{name}_low"], frame[f"{name}_high"] - value])
    return np.nan_to_num(spread).clip(min=0)
