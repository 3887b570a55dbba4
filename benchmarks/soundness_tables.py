"""What `image_soundness.py` concludes: each requirement beside its figure, and the README's
table.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from cxrcausal.evaluation.report import Report, interval_text

PROBED = ("sex", "view", "age")
SHOWN = ("none", "nested 1.5", "nested 2.5")
"""The forms of guidance that the README shows."""


def verdict(report: Report) -> None:
    """Each requirement beside what was measured."""
    report.head("What was asked, and what was measured")
    n = report.numbers
    noise, trip = n["noise"]["abducted"], n["round_trip"]
    by = {(e["intervention"], e["guidance"], e["measure"]): e for e in n["effects"]}
    losses_of = {(r["network"], r["conditioned on"]): r["loss"] for r in n["held_out_loss"]}
    labels = list(dict.fromkeys(e["guidance"] for e in n["effects"]))  # "none" comes first
    rows: list[tuple[str, str, str, bool]] = [
        _line("round trip MAE in <= 50 evaluations", trip["mae"], "<= 0.01",
              lambda v: v <= 0.01 and trip["evaluations"] <= 50),
        _line(f"round trip MAE at {trip['evaluations_finer']} evaluations", trip["mae_finer"],
              "<= 0.0017", lambda v: v <= 0.0017),
        _line("noise |mean|", abs(noise["mean"]), "<= 0.05", lambda v: v <= 0.05),
        _line("noise std", noise["std"], "in [0.85, 1.15]", lambda v: 0.85 <= v <= 1.15),
        _line("held-out loss over an untrained network's",
              losses_of["this model", "everything"] / losses_of["untrained", "everything"],
              "< 1", lambda v: v < 1),
        ("loss that the parents save",
         f"{n['gain_of_parents']['value']:.5f} "
         f"[{n['gain_of_parents']['low']:.5f}, {n['gain_of_parents']['high']:.5f}]",
         "above 0", n["gain_of_parents"]["low"] > 0),
    ]  # fmt: skip
    for p in n["probes"]:
        if p["source"] == "abducted noise" and p["probe"].startswith("ridge"):
            what = f"{p['variable']} read from the noise ({p['probe']}), {p['metric']}"
            rows.append((what, interval_text(p), f"chance (<= {p['chance_high']:.2f})",
                         p["value"] <= p["chance_high"]))  # fmt: skip
    finer = {(e["guidance"], e["measure"]): e["value"] for e in n["finer"]}
    for label in labels[1:]:
        reached, back = by["sex", label, "reached"]["value"], finer[label, "reversibility"]
        rows.append(_line(f"sex reached, {label}", reached, ">= 0.79", lambda v: v >= 0.79))
        what = f"sex reversibility MAE at {trip['evaluations_finer']} evaluations, {label}"
        rows.append(_line(what, back, "<= 0.012", lambda v: v <= 0.012))
    for intervention in dict.fromkeys(e["intervention"] for e in n["effects"]):
        for label in labels:
            e = by[intervention, label, "shift"]
            rows.append(
                (
                    f"shift of {intervention}, {label}",
                    interval_text(e),
                    "above both nulls",
                    _stands_out(e),
                )
            )
            whole = f"shift of {intervention}, {label}, is the real gap"
            rows.append((whole, interval_text(e), "1 in the interval", e["low"] <= 1 <= e["high"]))
    frame = pd.DataFrame(rows, columns=["what", "measured", "asked", "holds"])
    frame["holds"] = np.where(frame["holds"], "yes", "**no**")
    report.table(frame)
    report.numbers["verdict"] = frame.to_dict(orient="records")


def readme_table(numbers: dict[str, Any]) -> str:
    """Returns what the README says of a run, generated so that no figure is copied by hand."""
    noise, trip, model = numbers["noise"]["abducted"], numbers["round_trip"], numbers["model"]
    by = {(e["intervention"], e["guidance"], e["measure"]): e for e in numbers["effects"]}
    finer = {(e["guidance"], e["measure"]): e for e in numbers["finer"]}
    losses_of = {(r["network"], r["conditioned on"]): r["loss"] for r in numbers["held_out_loss"]}
    probes = {(p["source"], p["probe"], p["variable"]): p for p in numbers["probes"]}
    rows = [
        ("radiographs (patients)", "", f"{model['test_radiographs']} ({model['test_patients']})"),
        (f"round trip MAE, {trip['evaluations']} evaluations both ways", "≤ .01",
         f"{trip['mae']:.4f}"),
        (f"round trip MAE, {trip['evaluations_finer']} evaluations", "≤ .0017",
         f"{trip['mae_finer']:.4f}"),
        ("abducted noise: mean", "≤ .05", f"{noise['mean']:.3f}"),
        ("abducted noise: standard deviation", ".85 to 1.15", f"{noise['std']:.3f}"),
        ("abducted noise: KS statistic, power per ring", "0, 1",
         f"{noise['ks']:.3f}, {min(noise['spectrum']):.2f} to {max(noise['spectrum']):.2f}"),
        ("held-out velocity loss: conditional, unconditional, untrained", "",
         f"{losses_of['this model', 'everything']:.4f}, "
         f"{losses_of['this model', 'nothing (null)']:.4f}, "
         f"{losses_of['untrained', 'everything']:.4f}"),
    ]  # fmt: skip
    for variable in PROBED:
        pixels, local, radiographs = (
            probes[source, probe, variable]
            for source, probe in (
                ("abducted noise", "ridge, pixels"),
                ("abducted noise", "ridge, blocks"),
                ("the radiographs", "ridge, pixels"),
            )
        )
        rows.append(
            (f"{variable} read from the noise: {pixels['metric']}, pixels; block variances",
             f"chance, ≤ {pixels['chance_high']:.2f}",
             f"{interval_text(pixels)}; {interval_text(local)} "
             f"(from the radiographs: {radiographs['value']:.2f})")
        )  # fmt: skip
    copied = numbers["memorisation"]["pixels (RMS)"]
    rows.append(
        (f"copies among {copied['samples']:.0f} samples; nearer to a training radiograph than "
         "99 % of radiographs",
         "0; .01", f"{copied['copied']:.0f}; {copied['suspect']:.3f}")
    )  # fmt: skip
    asked = [
        (f"{name}: shift over the real gap "
         f"({by[name, 'none', 'shift']['radiographs']} radiographs)", "1",
         [interval_text(e) + ("" if _stands_out(e) else " (as the null)")
          for e in (by[name, label, "shift"] for label in SHOWN)])
        for name in dict.fromkeys(e["intervention"] for e in numbers["effects"])
    ]  # fmt: skip
    asked += [
        ("sex: crossed the predictor's threshold", "≥ .79",
         [interval_text(by["sex", label, "crossed"]) for label in SHOWN]),
        (f"sex: there and back, MAE at {trip['evaluations_finer']} evaluations", "≤ .012",
         [interval_text(finer[label, "reversibility"], digits=4) for label in SHOWN]),
    ]  # fmt: skip
    leaks = [
        f"{e['measure'][9:]} by {e['intervention']} {interval_text(e)}"
        for e in numbers["effects"]
        if e["guidance"] == "none" and e["measure"].startswith("shift of ") and e["excludes_null"]
    ]
    marks = [f"{name} {q['metric']} {q['value']:.2f}" for name, q in numbers["predictor"].items()]
    lines = [
        _row("on test radiographs", "asked", "measured"),
        _row("---", "---", "---"),
        *(_row(*cells) for cells in rows),
        "",
        _row("set in the image alone", "asked", *SHOWN),
        _row("---", "---", *("---" for _ in SHOWN)),
        *(_row(what, bar, *cells) for what, bar, cells in asked),
        "",
        f"The predictor, on the same radiographs: {', '.join(marks)}. What else moved, without "
        f"guidance, over its own gap: {'; '.join(leaks) or 'nothing'}.",
    ]
    return "\n".join(lines).replace("_", " ")


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _stands_out(effect: dict[str, Any]) -> bool:
    """Whether a shift stands out from both nulls, on the side that was asked."""
    return effect["excludes_null"] and effect["value"] > max(effect["null"], effect["guided_null"])


def _line(
    what: str, value: float, asked: str, holds: Callable[[float], bool]
) -> tuple[str, str, str, bool]:
    return what, f"{value:.4f}", asked, bool(holds(value))
