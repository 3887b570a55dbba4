"""The figure of a falsification: above, what the arrows deny and data show; below, weak edges.

One column per graph, on shared axes, so that two graphs are read side by side. Only what was
tested is drawn, the strongest of each graph; the numbers of the rest stand in the titles.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cxrcausal.errors import GraphError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cxrcausal.graph.falsification.falsify import Falsification

__all__ = ["falsify_figure"]

COLOURS = {
    "misfit": "#b3123f",
    "excused": "#d9a441",
    "holds": "#bdbdbd",
    "unsupported": "#6f6f6f",
    "supported": "#2a6fad",
}
SAID = {
    "misfit": "contradicted",
    "excused": "allowed by a hidden cause or selection",
    "holds": "holds",
    "unsupported": "edge not seen",
    "supported": "edge seen",
}


def falsify_figure(result: "Falsification", most: int = 12) -> "Figure":
    """Returns the figure.

    Arguments:
        result: What was found.
        most: The most independencies, and the most edges, per graph.

    Returns:
        A figure that no window shows; `savefig` writes it.

    Raises:
        GraphError: If `most` is below 1.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    if most < 1:
        raise GraphError(f"most is {most}; draw at least 1")
    graphs = result.graphs
    figure = Figure(
        figsize=(0.6 + 5.2 * len(graphs), 1.9 + 0.36 * most), dpi=150, layout="constrained"
    )
    axes = figure.subplots(2, len(graphs), squeeze=False, sharex="row")
    drawn: set[str] = set()
    for j, graph in enumerate(graphs):
        own = result.table[result.table["graph"] == graph]
        own = own[own["verdict"] != "untested"]
        apart = own[own["kind"] == "independence"].head(most)
        edges = own[own["kind"] == "edge"].iloc[::-1].head(most).iloc[::-1]
        count = own["verdict"].value_counts()
        independent = (own["kind"] == "independence").sum()
        title = f"{graph}\n{count.get('misfit', 0)} of {independent} independencies contradicted"
        _bars(axes[0, j], apart, title, result.tolerance)
        title = f"{count.get('unsupported', 0)} of {(own['kind'] == 'edge').sum()} edges not seen"
        _bars(axes[1, j], edges, title, result.tolerance)
        drawn |= {*apart["verdict"], *edges["verdict"]}
    for axis in axes[1]:
        axis.set_xlabel("nats per row  (in brackets: log odds ratio)", fontsize=8)
    handles = [Patch(color=COLOURS[v], label=SAID[v]) for v in COLOURS if v in drawn]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=max(1, min(len(handles), 2 * len(graphs) + 1)),
        frameon=False,
        fontsize=7,
    )
    return figure


def _bars(axis: "Axes", rows: pd.DataFrame, title: str, tolerance: float) -> None:
    """Draws one bar per claim, the first at the top, with the sign of its association."""
    place = np.arange(len(rows))
    axis.barh(place, rows["nats"], color=[COLOURS[v] for v in rows["verdict"]], height=0.7)
    axis.set_yticks(place, [_name(row) for _, row in rows.iterrows()], fontsize=7)
    axis.set_ylim(max(len(rows), 1) - 0.4, -0.6)
    axis.set_xscale("symlog", linthresh=max(tolerance, 1e-6), linscale=0.6)
    axis.axvline(0, color="#1a1a1a", linewidth=0.6)
    axis.tick_params(axis="x", labelsize=7)
    axis.set_title(title, fontsize=9, loc="left")
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _name(row: pd.Series) -> str:
    sign = "" if np.isnan(row["log_odds"]) else f"  ({row['log_odds']:+.1f})"
    pair = f"{row['y']} → {row['x']}" if row["kind"] == "edge" else f"{row['x']} ⊥ {row['y']}"
    return pair.replace("_", " ") + sign
