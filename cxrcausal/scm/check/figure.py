"""The figure of a check: scores and energy above, reliability and PIT between, noises below.

A band is where a calibrated model stays with probability 95 %, patients counted; what fails its
test (unadjusted, at 1 %) is red.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from cxrcausal.scm.check.energy import Energy
    from cxrcausal.scm.check.report import FitCheck

__all__ = ["check_figure"]

PLAIN, BAD, BAND, INK = "#2a6fad", "#b3123f", "#d9dde3", "#1a1a1a"
ALPHA = 0.01
ACROSS = 6
MOST_PANELS = 24
MOST_PAIRS = 12


def check_figure(check: "FitCheck") -> "Figure":
    """Returns the figure; no window shows it, and `savefig` writes it."""
    from matplotlib.figure import Figure

    panels = _panels(check)
    deep = max(1, -(-len(panels) // ACROSS))
    tall = max(3.0, 0.21 * len(check.scores) + 1.0)
    heights = [tall, 1.85 * deep + 0.3, 0.24 * MOST_PAIRS + 1.1]
    figure = Figure(figsize=(11.5, sum(heights)), dpi=120, layout="constrained")
    grid = figure.add_gridspec(3, 1, height_ratios=heights)
    top, middle, bottom = (figure.add_subfigure(grid[i]) for i in range(3))
    left, right = top.subplots(1, 2, width_ratios=[1.5, 1])
    _scores(left, check.scores)
    _energy(right, check.energy)
    _draw_panels(middle, panels, deep)
    _noises(bottom.subplots(), check.noises)
    warning = "; the rows of the fit" if check.on_fitted_rows else ""
    figure.suptitle(
        f"{check.graph}: {check.rows:,} rows of {check.patients:,} patients{warning}", fontsize=10
    )
    return figure


def _bare(axis: "Axes", title: str, size: float = 9) -> None:
    axis.set_title(title, fontsize=size, loc="left")
    axis.tick_params(labelsize=7)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _colour(p: float) -> str:
    return BAD if p < ALPHA else PLAIN


def _scores(axis: "Axes", scores: pd.DataFrame) -> None:
    """Draws the gain over the marginal of each variable, with two standard errors."""
    position = np.arange(len(scores))
    colours = [_colour(p) for p in scores["p"]]
    axis.barh(position, scores["gain"], color=colours, height=0.7)
    axis.errorbar(
        scores["gain"], position, xerr=2 * scores["standard_error"], fmt="none", ecolor=INK, lw=0.8
    )
    axis.set_yticks(
        position, [f"{v.replace('_', ' ')}  ({x:.3f})" for v, x in scores["nats"].items()]
    )
    axis.set_ylim(len(scores) - 0.4, -0.6)
    axis.set_xscale("symlog", linthresh=1e-3, linscale=0.6)
    axis.axvline(0, color=INK, linewidth=0.6)
    axis.set_xlabel("nats per row above the marginal", fontsize=8)
    _bare(axis, "scores of other patients  (in brackets: nats per row)")


def _energy(axis: "Axes", energy: "Energy") -> None:
    """Draws the energy distance in the distribution that permutations give it."""
    axis.hist(energy.permuted, bins=30, color=BAND, label="permutations")
    axis.axvline(energy.share, color=_colour(energy.p), label="observed against sampled")
    axis.axvline(energy.shuffled, color=INK, ls="--", lw=0.9, label="against shuffled columns")
    axis.set_yticks([])
    axis.set_xlabel("share of the mean distance", fontsize=8)
    axis.legend(frameon=False, fontsize=7, loc="upper center")
    _bare(axis, f"energy distance, p {energy.p:.2g}")


def _panels(check: "FitCheck") -> list[tuple[str, pd.DataFrame, pd.Series]]:
    """Returns what is drawn small: kind, bins, and the summary of them."""
    panels = [
        ("pit", check.pit_bins[check.pit_bins["variable"] == name], line)
        for name, line in check.pit.iterrows()
    ]
    for key, line in check.calibration.iterrows():
        bins = check.reliability
        own = bins[(bins["variable"] == key[0]) & (bins["level"] == key[1])]
        panels.append(("reliability", own, line))
    panels.sort(key=lambda panel: len(panel[1]) == 1)  # those of a single bin show least
    return panels[:MOST_PANELS]


def _draw_panels(
    figure: "SubFigure", panels: list[tuple[str, pd.DataFrame, pd.Series]], deep: int
) -> None:
    axes = figure.subplots(deep, ACROSS, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (kind, bins, line) in zip(axes.flat, panels, strict=False):
        draw = _pit if kind == "pit" else _reliability
        draw(axis, bins, line)
    if len(panels):
        figure.supylabel("observed share (PIT: density)", fontsize=8)
        figure.supxlabel("predicted probability (PIT: F(x | parents))", fontsize=8)


def _pit(axis: "Axes", bins: pd.DataFrame, line: pd.Series) -> None:
    width = float(bins["to"].iloc[0] - bins["from"].iloc[0])
    middle = bins["from"] + width / 2
    axis.fill_between([0, 1], bins["low"].min() / width, bins["high"].max() / width, color=BAND)
    axis.bar(middle, bins["share"] / width, width * 0.85, color=_colour(line["p"]), alpha=0.8)
    axis.axhline(1, color=INK, lw=0.6)
    axis.set_xlim(0, 1)
    name = str(bins["variable"].iloc[0]).replace("_", " ")
    _bare(axis, f"PIT: {name}\np {line['p']:.2g}", 7.5)


def _reliability(axis: "Axes", bins: pd.DataFrame, line: pd.Series) -> None:
    top = 1.12 * float(max(bins[["predicted", "observed", "high"]].max())) or 1.0
    axis.plot([0, top], [0, top], color=INK, lw=0.6)
    if len(bins) > 1:
        axis.fill_between(bins["predicted"], bins["low"], bins["high"], color=BAND, lw=0)
    else:
        axis.vlines(bins["predicted"], bins["low"], bins["high"], color=BAND, lw=5)
    axis.plot(bins["predicted"], bins["observed"], ".-", ms=4, lw=0.8, color=_colour(line["p"]))
    axis.set_xlim(0, top)
    axis.set_ylim(0, top)
    variable, level = bins["variable"].iloc[0], bins["level"].iloc[0]
    name = variable if level == "positive" else f"{variable} = {level}"
    p = "too few" if np.isnan(line["p"]) else f"p {line['p']:.2g}"
    _bare(axis, f"{name.replace('_', ' ')}\n{p}", 7.5)


def _noises(axis: "Axes", noises: pd.DataFrame) -> None:
    """Draws the strongest dependences, the first at the top."""
    shown = noises.head(MOST_PAIRS)
    position = np.arange(len(shown))
    axis.barh(position, shown["nats"], color=[_colour(p) for p in shown["p"]], height=0.7)
    axis.set_yticks(position, [_pair(row) for _, row in shown.iterrows()])
    axis.set_ylim(max(len(shown), 1) - 0.4, -0.6)
    axis.axvline(0, color=INK, linewidth=0.6)
    axis.set_xlabel("nats per row  (in brackets: correlation of the noises)", fontsize=8)
    _bare(axis, f"dependence of the abducted noises, the strongest of {len(noises)} pairs")


def _pair(row: pd.Series) -> str:
    rho = "" if np.isnan(row["correlation"]) else f"  ({row['correlation']:+.2f})"
    words = {
        "noise": "{x}, {y}",
        "parent": "{x}, parent {y}",
        "spread": "spread of {x}, parent {y}",
    }
    return words[row["kind"]].format(x=row["x"], y=row["y"]).replace("_", " ") + rho
