"""A model card of an audited classifier: what an audit can say of it, and what only its owner can.

References:
    | Model Cards for Model Reporting
    | (Mitchell et al., 2019), https://arxiv.org/abs/1810.03993
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

__all__ = ["CAUTION", "model_card"]

CAUTION = (
    "Generated radiographs are not for diagnosis. A shift says how the classifier follows what "
    "the model changes in a radiograph with the attribute: a reason to look, not yet unfairness. "
    "Intervals are of patients; what the model itself gets wrong is not in them."
)
_LIMITS = (
    "What the audit did not ask is not answered: other attributes, other sources and scanners, "
    "other resolutions, and patients unlike those below.",
    "Rates of groups compare different people, who differ in age, disease and acquisition too; "
    "counterfactual shifts compare a patient with what the image model paints of the same one.",
    "Labels are taken as true. `label_noise` says how wrong one group's would have to be to make "
    "a gap by themselves.",
)


def model_card(
    name: str,
    effects: pd.DataFrame,
    groups: pd.DataFrame,
    provenance: Mapping[str, Any],
    said: Mapping[str, str],
) -> str:
    """Returns a model card in Markdown.

    Arguments:
        name: The classifier.
        effects: `FairnessAudit.effects` of it.
        groups: `FairnessAudit.groups` of it.
        provenance: `FairnessAudit.provenance`.
        said: What its owner says, by heading: `Intended use`, `Training data`, whatever else.
    """
    of = provenance
    lines = [f"# Model card: {name}", ""]
    for heading in ("Intended use", "Training data"):
        text = said.get(heading, "Not stated by whoever made this card.")
        lines += [f"## {heading}", "", text, ""]
    for heading, text in said.items():
        if heading not in ("Intended use", "Training data"):
            lines += [f"## {heading}", "", text, ""]
    thresholds = ", ".join(f"{k} > {v:g}" for k, v in of["thresholds"][name].items())
    lines += [
        "## Evaluation", "",
        f"{of['radiographs']} radiographs of {of['patients']} patients at "
        f"{of['pixels']['classifier']} pixels; decisions: {thresholds}. Intervals of "
        f"{of['confidence']:.0%} by patient; margin for the image model's own error: "
        f"{of.get('margin', 0):g}.", "",
        "### Groups", "",
        *_table(groups, ["output", "attribute", "group", "rate"], "value"), "",
        f"### The same patient with another {' or '.join(of['protected'])} ({of['path']} effect)",
        "", *_table(effects, ["output", "attribute", "from", "to"], "shift", "flip_rate"), "",
        "## Limits", "", CAUTION, "", *(f"- {text}" for text in _LIMITS), "",
        f"Audited with cxrcausal {of['version']}, model {of['model']}, graph {of['graph']}, seed "
        f"{of['seed']}.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _table(frame: pd.DataFrame, what: list[str], *figures: str) -> list[str]:
    """Returns a Markdown table of figures with their intervals."""
    head = [*what, *(name.replace("_", " ") for name in figures)]
    lines = [_row(head), _row(["---"] * len(head))]
    for _, line in frame.iterrows():
        cells = [str(line[name]) for name in what]
        for name in figures:
            low, high = line[f"{name}_low"], line[f"{name}_high"]
            ends = "" if pd.isna(low) else f" [{low:.3f}, {high:.3f}]"
            cells.append("" if pd.isna(line[name]) else f"{line[name]:.3f}{ends}")
        lines.append(_row(cells))
    return lines


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
