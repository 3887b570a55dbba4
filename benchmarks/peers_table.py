"""The evidence page's table of `scm_vs_peers.py`, generated: no figure is copied by hand."""

from typing import Any

OURS = "cxrcausal"

COLUMNS = {
    "nats per row, held out": ("log_prob", ".4f"),
    "fit, s": ("fit_s", ".1f"),
    "do(sex), rows/s": ("counterfactual rows/s", ",.0f"),
    "valid, do(sex)": ("valid counterfactual", ".1%"),
    "valid, do(edema)": ("valid do(edema)", ".1%"),
    "valid, sampled": ("valid interventional", ".1%"),
}
"""Head of a column, the figure's key, and how it is written."""


def evidence_table(report: dict[str, Any]) -> str:
    """Returns one row per model; what a model does not answer is a dash."""
    head = ["model", *COLUMNS, "times slower"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for model, found in report["models"].items():
        cells = [_cell(found.get(key), form) for key, form in COLUMNS.values()]
        slower = found.get("counterfactual: times slower")
        cells.append(f"{slower[1]:.1f}" if slower else "–")
        lines.append("| " + " | ".join([model, *cells]) + " |")
    return "\n".join(lines)


def fastest_valid(report: dict[str, dict]) -> tuple[str, float] | None:
    """Returns the fastest peer all of whose answers are valid, and how many times slower it is."""
    keys = ("valid counterfactual", "valid do(edema)", "valid interventional")
    sound = {
        label: figures["counterfactual rows/s"]
        for label, figures in report.items()
        if label != OURS
        and isinstance(figures.get("counterfactual rows/s"), int | float)
        and all(figures.get(key) == 1.0 for key in keys)
    }
    if not sound or OURS not in report:
        return None
    label = max(sound, key=lambda name: sound[name])
    return label, report[label]["counterfactual: times slower"][1]


def _cell(figure: object, form: str) -> str:
    return format(figure, form) if isinstance(figure, int | float) else "–"
