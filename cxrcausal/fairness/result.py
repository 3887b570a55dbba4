"""What an audit found: tables, a figure, a page, and numbers for a machine."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import pandas as pd

from cxrcausal.errors import MissingExtraError, OptionError, nearest, summarise
from cxrcausal.fairness.card import CAUTION, model_card
from cxrcausal.fairness.estimates import individual_curves
from cxrcausal.fairness.figures import plot_groups, plot_individual, plot_shifts
from cxrcausal.fairness.limits import worst_figures
from cxrcausal.fairness.tables import records, rounded, with_ends
from cxrcausal.files import atomic_path
from cxrcausal.page import Page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FairnessAudit"]

_SAID = 12  # sentences of a page; the table has every line

_MEANING = {
    "direct": "The attribute was changed in the radiograph alone; findings, devices, view and all "
    "other metadata were held.",
    "total": "The attribute was set, and the metadata that descend from it followed as the model "
    "says. Where findings follow, a fair classifier answers differently, and the rates of that "
    "world are counted by its own labels.",
}


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
        scores: Per classifier and output the score of every radiograph as it is, what is true of
            it, the decision, and the protected attributes.
        not_reconstructed: Which radiographs did not come back from their own noise, and were left
            out of `effects`.
        provenance: Model, graph, guidance, seeds, versions.
    """

    effects: pd.DataFrame
    groups: pd.DataFrame
    rows: pd.DataFrame
    scores: pd.DataFrame
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
        """Writes `report.html`, `report.json` and a CSV of effects, groups, rows and scores each.

        Arguments:
            folder: The folder, made if absent.

        Returns:
            The page, which needs no other file.
        """
        folder = Path(folder)
        for name in ("effects", "groups", "rows", "scores"):
            with atomic_path(folder / f"{name}.csv") as beside:
                getattr(self, name).to_csv(beside, index=False)
        with atomic_path(folder / "report.json") as beside:
            beside.write_text(json.dumps(self.to_dict(), indent=1), encoding="utf-8")
        page = Page("Counterfactual fairness audit")
        page.say(self._asked())
        page.head("Does the score follow the attribute?")
        for sentence in self._findings():
            page.say(sentence)
        page.figure(
            self.plot(),
            "Mean change of the score when the attribute is changed in the radiograph, beside two "
            "controls that change nothing of the kind.",
        )
        page.table(rounded(self.effects))
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
        page.table(rounded(self.groups))
        page.head("What this is of")
        page.say(CAUTION)
        page.table(
            pd.DataFrame([{"what": k, "value": str(v)} for k, v in self.provenance.items()])
        )
        page.save(folder / "report.html")
        return folder / "report.html"

    def model_card(self, classifier: str | None = None, **said: str) -> str:
        """Returns a model card of a classifier in Markdown.

        Arguments:
            classifier: Which one, if there are several.
            said: What the audit cannot know: `intended_use`, `training_data`, or any other
                heading.

        Raises:
            OptionError: If there is no such classifier.
        """
        name = self._one("classifier", classifier)
        headings = {key.replace("_", " ").capitalize(): text for key, text in said.items()}
        effects, groups = (
            frame[frame["classifier"] == name] for frame in (self.effects, self.groups)
        )
        return model_card(name, effects, groups, self.provenance, headings)

    def metric_frame(
        self,
        metrics: Mapping[str, Callable[..., Any]],
        attributes: str | Sequence[str],
        *,
        output: str | None = None,
        classifier: str | None = None,
    ) -> Any:  # noqa: ANN401
        """Returns fairlearn's `MetricFrame` of the decisions on the radiographs as they are.

        References:
            | Fairlearn: Assessing and Improving Fairness of AI Systems
            | (Weerts et al., 2023), https://arxiv.org/abs/2303.16626

        Arguments:
            metrics: Functions of `y_true` and `y_pred` by name, fairlearn's or scikit-learn's.
            attributes: A protected attribute, or several whose intersections are the groups.
            output: Which output, if there are several.
            classifier: Which classifier, if there are several.

        Raises:
            MissingExtraError: If fairlearn is not installed.
            OptionError: If there is no such output, classifier or attribute, or no label is known.
        """
        try:
            from fairlearn.metrics import MetricFrame
        except ImportError as error:
            raise MissingExtraError(
                "metric_frame needs fairlearn; install it with: pip install 'cxrcausal[fairness]'"
            ) from error
        one, name = self._one("classifier", classifier), self._one("output", output)
        names = [attributes] if isinstance(attributes, str) else list(attributes)
        frame = self.scores
        for attribute in names:
            if attribute not in self.provenance["protected"]:
                asked = self.provenance["protected"]
                raise OptionError(
                    f"{attribute!r} is no attribute of this audit"
                    f"{nearest(attribute, asked) or '.'} They are: {summarise(asked, 20)}"
                )
        frame = frame[(frame["classifier"] == one) & (frame["output"] == name)]
        frame = frame.dropna(subset=["label", *names])
        if not len(frame):
            raise OptionError(f"of {name!r} no label is known where {summarise(names)} are")
        return MetricFrame(
            metrics=dict(metrics),
            y_true=frame["label"].astype(int),
            y_pred=frame["decision"].astype(int),
            sensitive_features=frame[names],
        )

    def _one(self, kind: str, name: str | None) -> str:
        """Returns a classifier or an output by its name, which may be left out of one."""
        known = [str(one) for one in self.scores[kind].unique()]
        if name is None and len(known) == 1:
            return known[0]
        if name is None or name not in known:
            raise OptionError(
                f"{kind} is {name!r}{nearest(str(name), known) or '.'} "
                f"Give one of: {summarise(known, 20)}"
            )
        return name

    @property
    def worst(self) -> dict[str, float]:
        """The largest figures by name, as `cxrcausal.fairness.limits` has them."""
        return worst_figures(self.effects, self.groups)

    def to_dict(self) -> dict[str, Any]:
        """Returns effects, groups and provenance as plain numbers and texts; NaN is None."""
        return {
            "worst": self.worst,
            "effects": records(self.effects),
            "groups": records(self.groups),
            "provenance": self.provenance,
        }

    def _several(self) -> bool:
        return self.effects["classifier"].nunique() > 1

    def _asked(self) -> str:
        of = self.provenance
        lost = of["not_reconstructed"]
        left_out = f" {lost} did not come back from their noise and were left out." if lost else ""
        if drawn := of["imputed"]:
            cells = ", ".join(f"{name} in {count}" for name, count in drawn.items())
            left_out += (
                f" Unknown parents of the image were drawn given what is known: {cells}; "
                "unimputed_shift is with them left unknown."
            )
        if of["pixels"]["classifier"] != of["pixels"]["model"]:
            left_out += (
                f" Differences were painted at {of['pixels']['model']} pixels and carried over to "
                f"the classifier's {of['pixels']['classifier']}, where {of['clipped_share']:.1%} "
                "of pixels were cut off at black or white."
            )
        if margin := of.get("margin"):
            left_out += (
                f" A shift is said to differ only beyond {margin:g}, the margin for the image "
                "model's own error; p is of a shift of 0."
            )
        return (
            f"{of['radiographs']} radiographs of {of['patients']} patients, "
            f"{', '.join(of['protected'])}, {of['path']} effect. {_MEANING[of['path']]}{left_out}"
        )

    def _findings(self) -> list[str]:
        """Returns what a page says first: what differs, the largest first, and what does not."""
        differ = self.effects[self.effects["differs"]]
        order = differ["shift"].abs().sort_values(ascending=False, kind="stable").index
        same = self.effects[~self.effects["differs"]]
        several = self._several()
        said = [
            f"Of {len(self.effects)} questions, {len(differ)} show that the score follows the "
            f"attribute beyond the controls{self._margin_words}."
        ]
        said += [_sentence(line, several) for _, line in differ.loc[order].head(_SAID).iterrows()]
        if len(differ) > _SAID:
            said.append(f"{len(differ) - _SAID} more that differ stand in the table.")
        if len(same):
            labels = [_label(line, several) for _, line in same.iterrows()]
            said.append(f"No difference shown: {'; '.join(labels)}.")
        return said

    @property
    def _margin_words(self) -> str:
        margin = self.provenance.get("margin", 0.0)
        if margin:
            return f" by more than {margin:g}, the margin for the image model's own error"
        return " (the image model's own error is in no interval)"

    def _sentences(self) -> list[str]:
        return [_sentence(line, self._several()) for _, line in self.effects.iterrows()]


def _label(line: pd.Series, several: bool) -> str:
    whose = f"{line['classifier']}, " if several else ""
    return f"{whose}{line['output']}, {line['attribute']}: {line['from']} → {line['to']}"


def _sentence(line: pd.Series, several: bool) -> str:
    verdict = "differs" if line["differs"] else "no difference shown"
    both = ""
    if "interaction" in line and not pd.isna(line["interaction"]):
        both = f", of which {line['interaction']:+.3f} is in neither alone"
    return (
        f"{_label(line, several)}: score {with_ends(line, 'shift')}{both}, "
        f"there and back {line['there_and_back']:+.3f}, decisions flipped "
        f"{line['flip_rate']:.0%} (there and back {line['there_and_back_flips']:.0%}, "
        f"placebo {line['placebo_flips']:.0%}); {verdict} (p {line['p']:.2g} after Holm)"
    )
