"""What a stress test found: tables, a figure, a page, and numbers for a machine."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pandas as pd

from cxrcausal.fairness.tables import records, rounded, with_ends
from cxrcausal.files import atomic_path
from cxrcausal.page import Page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["StressTest"]

_TABLES = ("effects", "accuracy", "curves", "rows", "not_asked")
_MOST = 40  # lines of a figure that a reader can read

_MEANING = (
    "Each stress was made in the radiograph alone; findings and all other metadata were held, and "
    "so was what is true of the patient."
)
_CAUTION = (
    "Generated radiographs are not for diagnosis. A shift says how the classifier follows what "
    "the model changes in a radiograph under the stress, and the model may change more or less "
    "than another view, site, device or age would. Intervals are of patients; what the model "
    "itself gets wrong is not in them."
)


@final
@dataclass(frozen=True)
class StressTest:
    """The answer of `cxrcausal.fairness.stress_test`.

    Arguments:
        effects: Per classifier, output and stress: `shift` of the score, the controls
            `there_and_back` and `placebo`, `beyond`, `flip_rate` and those of the controls, with
            `_low` and `_high`; `interaction` where two attributes were set at once,
            `unimputed_shift` where parents are unknown; `p` after Holm; `differs`.
        accuracy: Per classifier, output with labels, stress and rate (AUC, sensitivity,
            specificity): of the `reconstruction` and the `stressed` radiographs, the `change`
            and those of the controls, with `_low` and `_high`.
        curves: Per classifier, output and number of a sweep: mean `score` and `shift`.
        rows: Every score of every radiograph and world.
        not_asked: Which stresses were not asked, or not of which figure, and why.
        not_reconstructed: Which radiographs did not come back from their own noise, and were left
            out.
        provenance: Model, graph, guidance, seeds, versions.
    """

    effects: pd.DataFrame
    accuracy: pd.DataFrame
    curves: pd.DataFrame
    rows: pd.DataFrame
    not_asked: pd.DataFrame
    not_reconstructed: pd.Series
    provenance: dict[str, Any]

    @property
    def worst(self) -> dict[str, float]:
        """The largest figures by name, for a `cxrcausal.fairness.limits.Limit`.

        `largest_stress_shift`, `largest_stress_shift_beyond_control` (beyond that of there and
        back), `largest_stress_flip_rate`, `stresses_that_differ`, `stresses_not_asked`, and where
        labels are known `largest_auc_drop`, `largest_sensitivity_drop` and
        `largest_specificity_drop`. What could not be measured is absent.
        """
        figures = {
            "largest_stress_shift": float(self.effects["shift"].abs().max()),
            "largest_stress_shift_beyond_control": float(self.effects["beyond"].max()),
            "largest_stress_flip_rate": float(self.effects["flip_rate"].max()),
            "stresses_that_differ": float(
                self.effects.loc[self.effects["differs"], "stress"].nunique()
            ),
            "stresses_not_asked": float(len(self._unasked())),
        }
        for rate in ("AUC", "sensitivity", "specificity"):
            change = self.accuracy.loc[self.accuracy["rate"] == rate, "change"].dropna()
            if len(change):
                figures[f"largest_{rate.lower()}_drop"] = float(-change.min())
        return figures

    def __str__(self) -> str:
        """Says the worst, every shift in a line, and what was not asked."""
        return "\n".join([self._asked(), *self._of_worst(), *self._sentences(), *self._not()])

    def plot(self) -> "Figure":
        """Draws shifts beside their controls, and a sweep's curves, with intervals.

        Of more than forty shifts the largest are drawn.
        """
        from matplotlib.figure import Figure

        swept = self._swept()
        bars = self.effects[~self.effects["stress"].isin(swept)]
        order = bars["shift"].abs().sort_values(ascending=False, kind="stable").index[:_MOST]
        shown = bars.loc[sorted(order)]
        panels = bool(len(shown)) + len(swept)
        height = max(3.4, 0.5 * len(shown) + 1.6) if len(shown) else 3.8
        figure = Figure(figsize=(6.6 * panels + 1.2, height), layout="constrained")
        axes = figure.subplots(1, panels, squeeze=False)[0]
        if len(shown):
            self._bars(axes[0], shown)
            figure.legend(loc="outside upper left", ncols=3, frameon=False)
            if len(shown) < len(bars):
                axes[0].set_title(f"the {len(shown)} largest of {len(bars)}", fontsize="medium")
        for axis, stress in zip(axes[bool(len(shown)) :], swept, strict=True):
            self._curve(axis, stress)
        return figure

    def save(self, folder: str | Path) -> Path:
        """Writes `report.html`, `report.json` and a CSV of every table.

        Arguments:
            folder: The folder, made if absent.

        Returns:
            The page, which needs no other file.
        """
        folder = Path(folder)
        for name in _TABLES:
            with atomic_path(folder / f"{name}.csv") as beside:
                getattr(self, name).to_csv(beside, index=False)
        with atomic_path(folder / "report.json") as beside:
            beside.write_text(json.dumps(self.to_dict(), indent=1), encoding="utf-8")
        page = Page("Counterfactual stress test")
        page.say(self._asked())
        page.head("The worst")
        for sentence in self._of_worst():
            page.say(sentence)
        page.head("Does the score follow the stress?")
        page.figure(
            self.plot(),
            "Mean change of the score under each stress, beside two controls that change nothing "
            "of the kind; and along a sweep, with the control dashed.",
        )
        page.table(rounded(self.effects))
        if len(self.curves):
            page.table(rounded(self.curves))
        page.head("Is the disease still found?")
        page.say(
            "Rates of the reconstructed radiographs and of the same under the stress. The change "
            "is paired by patient; the controls say what generation alone does to it."
            if len(self.accuracy)
            else "No column of the table says what is true of an output, so no rate is known."
        )
        if len(self.accuracy):
            page.table(rounded(self.accuracy))
        if len(self.not_asked):
            page.head("What was not asked")
            page.table(self.not_asked)
        page.head("What this is of")
        page.say(_CAUTION)
        page.table(
            pd.DataFrame([{"what": k, "value": str(v)} for k, v in self.provenance.items()])
        )
        page.save(folder / "report.html")
        return folder / "report.html"

    def to_dict(self) -> dict[str, Any]:
        """Returns the tables but the rows as plain numbers and texts; NaN is None."""
        return {
            "worst": self.worst,
            **{name: records(getattr(self, name)) for name in _TABLES if name != "rows"},
            "provenance": self.provenance,
        }

    def _asked(self) -> str:
        of = self.provenance
        lost = of["not_reconstructed"]
        left_out = f" {lost} did not come back from their noise and were left out." if lost else ""
        return (
            f"{of['radiographs']} radiographs of {of['patients']} patients under "
            f"{', '.join(of['stresses'])}. {_MEANING}{left_out}"
        )

    def _of_worst(self) -> list[str]:
        line = self.effects.loc[self.effects["shift"].abs().idxmax()]
        flips = self.effects.loc[self.effects["flip_rate"].idxmax()]
        found = [
            f"largest shift {with_ends(line, 'shift')}: {self._label(line)}",
            f"most decisions flipped {with_ends(flips, 'flip_rate')}: {self._label(flips)}",
        ]
        for rate, part in self.accuracy.dropna(subset="change").groupby("rate", sort=False):
            least = part.loc[part["change"].idxmin()]
            found.append(
                f"largest drop of {rate} {with_ends(least, 'change')} from "
                f"{least['reconstruction']:.3f} (there and back {least['there_and_back']:+.3f}): "
                f"{self._label(least)}"
            )
        return found

    def _sentences(self) -> list[str]:
        return [
            f"{self._label(line)}: score {with_ends(line, 'shift')}, there and back "
            f"{line['there_and_back']:+.3f}, decisions flipped {line['flip_rate']:.0%} (there and "
            f"back {line['there_and_back_flips']:.0%}, placebo {line['placebo_flips']:.0%}); "
            f"{'differs' if line['differs'] else 'no difference shown'} (p {line['p']:.2g} after "
            "Holm)"
            for _, line in self.effects.iterrows()
        ]

    def _not(self) -> list[str]:
        return [f"not asked, {x['stress']}: {x['why']}" for _, x in self.not_asked.iterrows()]

    def _unasked(self) -> set[str]:
        return set(self.not_asked["stress"]) - set(self.effects["stress"])

    def _swept(self) -> list[str]:
        return list(self.curves["stress"].unique())

    def _label(self, line: pd.Series) -> str:
        several = self.effects["classifier"].nunique() > 1
        whose = f"{line['classifier']}, " if several else ""
        return f"{whose}{line['output']}, {line['stress']}: {line['from']} → {line['to']}"

    def _bars(self, axis: "Axes", shown: pd.DataFrame) -> None:
        shown = shown.iloc[::-1]
        place = np.arange(len(shown))
        kinds = {
            "shift": ("C0", 0.25, "stress"),
            "there_and_back": ("0.55", 0.0, "there and back"),
            "placebo": ("0.8", -0.25, "another patient's difference, of random sign"),
        }
        for name, (colour, lift, label) in kinds.items():
            value = shown[name].to_numpy()
            spread = np.stack([value - shown[f"{name}_low"], shown[f"{name}_high"] - value])
            axis.barh(
                place + lift, value, 0.25, xerr=np.nan_to_num(spread).clip(min=0), color=colour,
                label=label, error_kw={"elinewidth": 0.8, "capsize": 2},
            )  # fmt: skip
        axis.axvline(0, color="black", linewidth=0.6)
        axis.set_yticks(place, [self._label(line) for _, line in shown.iterrows()])
        axis.set_xlabel(f"mean change of the score, {self._share()} by patient")

    def _curve(self, axis: "Axes", stress: str) -> None:
        """Draws how the score moves along one sweep: a line and its band for each output."""
        several = self.effects["classifier"].nunique() > 1
        curves = self.curves[self.curves["stress"] == stress]
        for (whose, output), line in curves.groupby(["classifier", "output"], sort=False):
            line = line.sort_values("value")
            label = f"{whose}, {output}" if several else str(output)
            (drawn,) = axis.plot(line["value"], line["shift"], marker="o", ms=4, label=label)
            colour = drawn.get_color()
            axis.plot(line["value"], line["there_and_back"], "--", color=colour, linewidth=0.9)
            axis.fill_between(
                line["value"], line["shift_low"], line["shift_high"], color=colour, alpha=0.2,
                linewidth=0,
            )  # fmt: skip
        axis.axhline(0, color="black", linewidth=0.6)
        axis.set_xlabel(f"{curves['attribute'].iloc[0]} that the radiograph is set to")
        axis.set_ylabel(f"mean change of the score, {self._share()}")
        axis.set_title("dashed: there and back", fontsize="medium")
        axis.legend(frameon=False, fontsize="small")

    def _share(self) -> str:
        return f"{self.provenance['confidence']:.0%} intervals"
