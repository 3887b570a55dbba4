"""What a decomposition found: a table, a figure, and numbers for a machine."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pandas as pd

from cxrcausal.fairness.tables import records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PathDecomposition"]

_NAMES = {
    "direct": "direct, in the radiograph alone",
    "total": "= total, direct and indirect",
    "spurious": "spurious, by common causes",
    "variation": "= difference of the groups",
    "reconstruction": "error of reconstruction",
    "observed": "= difference, radiographs as they are",
}
_CAUTION = (
    "What SCM and image mechanism get wrong is in no interval; what is zero by construction is "
    "an assumption read from the graph."
)
_GUIDED = (
    "Changes were imposed more strongly than the mechanism has them (guidance=None asks for its "
    "own parts):"
)
_IN_METADATA = {
    "direct": "direct",
    "spurious": "spurious, by common causes",
    "variation": "= difference of the groups",
    "observed": "difference in the table",
}
_SUMS = ("total", "variation", "observed")
_COLOURS = {"direct": "C0", "indirect": "C2", "spurious": "C1", "reconstruction": "0.8"}
_KEY = ["classifier", "output", "attribute", "from", "to"]


@final
@dataclass(frozen=True)
class PathDecomposition:
    """The answer of `cxrcausal.fairness.decompose`.

    Arguments:
        parts: Per classifier, output and contrast: `direct`, `indirect` through each kind of
            mediators, `total` (their sum), `spurious`, `variation` (total + spurious, of
            reconstructions), `reconstruction`, and `observed` (variation + reconstruction, of the
            radiographs as they are). `value` with its interval; of mediators also `alone`, the
            share of radiographs in which one is `changed`, or `unknown` and drawn; what it rests
            on, `basis` and `claim`. A part that was not computed is NaN.
        metadata: The same parts of each finding that an output is named after.
        bounds: Of binary mediators of parts that are a claim of the model: in how many patients
            they follow the attribute, and the bounds `least` and `most` that data allow.
        not_reconstructed: Which radiographs did not come back from their own noise, and were left
            out.
        provenance: Model, graph, guidance, seeds, versions.
    """

    parts: pd.DataFrame
    metadata: pd.DataFrame
    bounds: pd.DataFrame
    not_reconstructed: pd.Series
    provenance: dict[str, Any]

    def __str__(self) -> str:
        """Says every part in a line, and what it rests on."""
        of = self.provenance
        lost = of["not_reconstructed"]
        words = [
            f"{of['radiographs']} radiographs of {of['patients']} patients, "
            f"{', '.join(of['protected'])}"
            + (f"; {lost} did not come back from their noise and were left out" if lost else "")
            + f". {_CAUTION}"
            + (f" {_GUIDED} {of['guidance']}." if of["guided"] else "")
        ]
        for title, part in self._contrasts():
            words.append(title)
            words += [_sentence(line) for _, line in part.iterrows()]
        for key, part in self.metadata.groupby([*_KEY[2:], "outcome"], sort=False):
            words.append(f"{key[3]} in the metadata, {key[0]}: {key[1]} → {key[2]}")
            words += [_sentence(line) for _, line in part.iterrows()]
        if len(self.bounds):
            words.append(
                f"Of {self.bounds['mediator'].nunique()} mediators `bounds` says in how many "
                "patients they follow, and how many data allow."
            )
        return "\n".join(words)

    def plot(self) -> "Figure":
        """Draws the parts of every contrast that were computed, each kind alone beside."""
        from matplotlib.figure import Figure

        contrasts = [(title, part[part["value"].notna()]) for title, part in self._contrasts()]
        sizes = [len(part) for _, part in contrasts]
        height = 0.28 * sum(sizes) + 0.75 * len(sizes) + 0.9
        figure = Figure(figsize=(8.0, height), layout="constrained")
        axes = figure.subplots(
            len(sizes), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": sizes}
        )[:, 0]
        for axis, (title, part) in zip(axes, contrasts, strict=True):
            _draw(axis, part.iloc[::-1].reset_index(drop=True))
            axis.set_title(title, fontsize="medium", loc="left")
        share = self.provenance["confidence"]
        axes[-1].set_xlabel(f"difference of the mean score, {share:.0%} intervals by patient")
        handles, labels = axes[0].get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside upper right", frameon=False)
        return figure

    def to_dict(self) -> dict[str, Any]:
        """Returns parts, metadata, bounds and provenance as numbers and texts; NaN is None."""
        return {
            "parts": records(self.parts),
            "metadata": records(self.metadata),
            "bounds": records(self.bounds),
            "provenance": self.provenance,
        }

    def _contrasts(self) -> Iterator[tuple[str, pd.DataFrame]]:
        several = self.parts["classifier"].nunique() > 1
        for key, part in self.parts.groupby(_KEY, sort=False):
            whose = f"{key[0]}, " if several else ""
            yield f"{whose}{key[1]}, {key[2]}: {key[3]} → {key[4]}", part


def _name(line: pd.Series) -> str:
    if line["part"] == "indirect":
        return f"through {line['through']}" if line.get("through") else "indirect"
    return (_IN_METADATA if "outcome" in line else _NAMES)[line["part"]]


def _sentence(line: pd.Series) -> str:
    if np.isnan(line["value"]):
        return f"  {_name(line)}: not computed; {line['claim']}"
    words = f"  {_name(line)}: {line['value']:+.4f}"
    if not np.isnan(line["value_low"]):
        words += f" [{line['value_low']:+.4f}, {line['value_high']:+.4f}]"
    if not np.isnan(line.get("alone", np.nan)):
        words += f", alone {line['alone']:+.4f}, changed in {line['changed']:.0%}"
    if line.get("unknown", 0) > 0:
        words += f", unknown and drawn in {line['unknown']:.0%}"
    return f"{words}; {line['claim']}"


def _draw(axis: "Axes", part: pd.DataFrame) -> None:
    """Draws bars of parts, outlined ones of sums, and open marks of kinds of mediators alone."""
    place = np.arange(len(part))
    value = part["value"].to_numpy(float)
    for at, line in part.iterrows():
        filled = line["part"] not in _SUMS
        axis.barh(
            at, value[at], height=0.6, edgecolor="0.2", linewidth=0.8,
            color=_COLOURS.get(line["part"], "none") if filled else "none",
        )  # fmt: skip
    spread = np.stack([value - part["value_low"], part["value_high"] - value])
    shown = np.nan_to_num(spread).clip(min=0)
    axis.errorbar(value, place, xerr=shown, fmt="none", ecolor="black", capsize=2, linewidth=1)
    if part["alone"].notna().any():
        axis.plot(part["alone"], place, "D", color="0.2", markersize=4, fillstyle="none",
                  linestyle="none", label="alone, all else held")  # fmt: skip
    axis.axvline(0, color="black", linewidth=0.6)
    axis.set_yticks(place, [_mark(line) for _, line in part.iterrows()])
    axis.spines[["top", "right"]].set_visible(False)


def _mark(line: pd.Series) -> str:
    return (
        f"{_name(line)} (zero by construction)" if line["basis"] == "construction" else _name(line)
    )
