"""What an audit found: tables, a figure, a page, and numbers for a machine."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import pandas as pd

from cxrcausal.fairness.estimates import individual_curves
from cxrcausal.fairness.figures import plot_groups, plot_individual, plot_shifts
from cxrcausal.fairness.limits import worst_figures
from cxrcausal.files import atomic_path
from cxrcausal.page import Page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FairnessAudit"]

_MEANING = {
    "direct": "The attribute was changed in the radiograph alone; findings, devices, view and all "
    "other metadata were held.",
    "total": "The attribute was set, and the metadata that descend from it followed as the model "
    "says. Where findings follow, a fair classifier answers differently.",
}
_CAUTION = (
    "Generated radiographs are not for diagnosis. A shift says how the classifier follows what "
    "the model changes in a radiograph with the attribute: a reason to look, not yet unfairness. "
    "Intervals are of patients; what the model itself gets wrong is not in them."
)


@final
@dataclass(frozen=True)
class FairnessAudit:
    """The answer of `cxrcausal.fairness.audit`.

    Arguments:
        effects: Per classifier, output and contrast: `shift` of the score, the controls
            `there_and_back` and `placebo`, `beyond`, `flip_rate` and those of the controls, with
            `_low` and `_high`; `interaction` where two attributes were changed at once,
            `unimputed_shift` where parents are unknown, `tpr_change` and `fpr_change` where
            labels are known (each world's own); `p` after Holm; `differs`.
        groups: Per classifier, output and protected attribute: AUC, TPR, FPR, positive rate and
            calibration of every group on the radiographs as they are, and the largest gaps, with
            intervals and the `label_noise` that would explain them.
        rows: Every score of every radiograph and world.
        not_reconstructed: Which radiographs did not come back from their own noise, and were left
            out of `effects`.
        provenance: Model, graph, guidance, seeds, versions.
    """

    effects: pd.DataFrame
    groups: pd.DataFrame
    rows: pd.DataFrame
    not_reconstructed: pd.Series
    provenance: dict[str, Any]

    def __str__(self) -> str:
        """Says every shift in a line."""
        return "\n".join([self._asked(), *self._sentences()])

    def plot(self) -> "Figure":
        """Draws every shift with its interval, beside there and back and the placebo."""
        several = self._several()
        labels = [_label(line, several) for _, line in self.effects.iterrows()]
        return plot_shifts(self.effects, labels, self.provenance["confidence"])

    def plot_groups(self) -> "Figure":
        """Draws every rate of every group with its interval."""
        return plot_groups(self.groups, self.provenance["confidence"])

    def plot_individual(self) -> "Figure":
        """Draws in which share of radiographs the score moves by more than so much."""
        return plot_individual(self.individual)

    @property
    def individual(self) -> pd.DataFrame:
        """The share of radiographs whose score moves by more than `more_than`, either way.

        Per classifier, output and attribute: `shift`, and the controls `there_and_back` and
        `placebo`. Under individual fairness the first lies on the other two.

        References:
            | Fairness Through Awareness (Dwork et al., 2012), https://arxiv.org/abs/1104.3913
        """
        return individual_curves(self.rows)

    def save(self, folder: str | Path) -> Path:
        """Writes `report.html`, `report.json`, `effects.csv`, `groups.csv` and `rows.csv`.

        Arguments:
            folder: The folder, made if absent.

        Returns:
            The page, which needs no other file.
        """
        folder = Path(folder)
        for name in ("effects", "groups", "rows"):
            with atomic_path(folder / f"{name}.csv") as beside:
                getattr(self, name).to_csv(beside, index=False)
        with atomic_path(folder / "report.json") as beside:
            beside.write_text(json.dumps(self.to_dict(), indent=1), encoding="utf-8")
        page = Page("Counterfactual fairness audit")
        page.say(self._asked())
        page.head("Does the score follow the attribute?")
        for sentence in self._sentences():
            page.say(sentence)
        page.figure(
            self.plot(),
            "Mean change of the score when the attribute is changed in the radiograph, beside two "
            "controls that change nothing of the kind.",
        )
        page.table(_rounded(self.effects))
        page.figure(
            self.plot_individual(),
            "Single radiographs: in which share of them the score moves by more than so much. "
            "What lies above both controls is the attribute's.",
        )
        page.head("Rates of the groups, radiographs as they are")
        page.say(
            "These compare different people: groups differ in age, disease and acquisition too. "
            "calibration is the mean score less the share of positives (0 is right); label noise "
            "says which share of wrong labels in one of the two groups would alone make the gap: "
            "in the lower group's positives of a gap of TPR, in the higher one's negatives of FPR."
        )
        if len(self.groups):
            page.figure(self.plot_groups(), "Rates of every group.")
        page.table(_rounded(self.groups))
        page.head("What this is of")
        page.say(_CAUTION)
        page.table(
            pd.DataFrame([{"what": k, "value": str(v)} for k, v in self.provenance.items()])
        )
        page.save(folder / "report.html")
        return folder / "report.html"

    @property
    def worst(self) -> dict[str, float]:
        """The largest figures by name, as `cxrcausal.fairness.limits` has them."""
        return worst_figures(self.effects, self.groups)

    def to_dict(self) -> dict[str, Any]:
        """Returns effects, groups and provenance as plain numbers and texts; NaN is None."""
        return {
            "worst": self.worst,
            "effects": _records(self.effects),
            "groups": _records(self.groups),
            "provenance": self.provenance,
        }

    def _several(self) -> bool:
        return self.effects["classifier"].nunique() > 1

    def _asked(self) -> str:
        of = self.provenance
        lost = of["not_reconstructed"]
        left_out = f" {lost} did not come back from their noise and were left out." if lost else ""
        return (
            f"{of['radiographs']} radiographs of {of['patients']} patients, "
            f"{', '.join(of['protected'])}, {of['path']} effect. {_MEANING[of['path']]}{left_out}"
        )

    def _sentences(self) -> list[str]:
        return [_sentence(line, self._several()) for _, line in self.effects.iterrows()]


def _label(line: pd.Series, several: bool) -> str:
    whose = f"{line['classifier']}, " if several else ""
    return f"{whose}{line['output']}, {line['attribute']}: {line['from']} → {line['to']}"


def _sentence(line: pd.Series, several: bool) -> str:
    verdict = "differs" if line["differs"] else "no difference shown"
    return (
        f"{_label(line, several)}: score {line['shift']:+.3f} [{line['shift_low']:+.3f}, "
        f"{line['shift_high']:+.3f}], there and back {line['there_and_back']:+.3f}, decisions "
        f"flipped {line['flip_rate']:.0%} (there and back {line['there_and_back_flips']:.0%}, "
        f"placebo {line['placebo_flips']:.0%}); {verdict} (p {line['p']:.2g} after Holm)"
    )


def _rounded(frame: pd.DataFrame) -> pd.DataFrame:
    numbers = frame.select_dtypes("float").columns
    shown = frame.assign(**{c: frame[c].map(lambda v: f"{v:.3g}") for c in numbers})
    return shown.replace("nan", "")


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return json.loads(frame.to_json(orient="records", double_precision=15))
