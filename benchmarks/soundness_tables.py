"""What `image_soundness.py` concludes: all models side by side, what is asked beside it."""

import re
from typing import Any

import numpy as np
import pandas as pd

from cxrcausal.evaluation.report import interval_text, markdown

FINDINGS = ("pleural_effusion", "cardiomegaly")
ASKED_OF_PROBES = {"view": "≤ .60", "sex": "≤ .56", "age": "≤ .10"}
SHOWN = re.compile(
    r"velocity evaluations|round trip MAE|\d+ null interventions|noise: |nats per radiograph"
    r"|\w+ read from the noise, |.*: (shift|largest excess), residual predictor"
    r"|.*recommended guidance: (there and back|identity, AUC)|Fréchet|copies"
    r"|\w+ by the \w+ predictor"
)
"""The figures that the evidence page shows, by what they begin with; the report has all."""


def comparison(numbers: dict[str, Any]) -> pd.DataFrame:
    """Returns what was asked beside what each model shows, a row per figure, a column per model.

    Arguments:
        numbers: What `image_soundness.py` measured: `predictors` and `models`.
    """
    columns = {name: dict(_model_rows(found)) for name, found in numbers["models"].items()}
    labels = list(dict.fromkeys(label for rows in columns.values() for label in rows))
    frame = pd.DataFrame(
        {name: [rows.get(label, "") for label in labels] for name, rows in columns.items()}
    )
    frame.insert(0, "asked", [asked for _, asked in labels])
    frame.insert(0, "on test patients", [what for what, _ in labels])
    read = {
        f"{q['target']} by the {q['predictor']} predictor: {q['metric']}": interval_text(q)
        for q in numbers["predictors"]
    }
    own = pd.DataFrame({"on test patients": list(read), "asked": ""})
    for name in columns:
        own[name] = list(read.values())
    return pd.concat([frame, own], ignore_index=True)


def _model_rows(found: dict[str, Any]) -> list[tuple[tuple[str, str], str]]:
    """Returns what one model shows, each under what it is and what is asked."""
    noise, white = found["noise"]["abducted"], found["noise"]["white"]
    trip = found["round_trip"]
    rows = [
        (("pixels; parameters", ""), f"{found['size']}; {found['parameters']:,}"),
        (("velocity evaluations of a round trip", "48"), f"{trip['evaluations']}"),
        (("round trip MAE", "≤ .005"), interval_text(trip["once"], digits=4)),
        ((f"{trip['repeated']['rounds']} null interventions in a row, MAE", "≤ .02"),
         interval_text(trip["repeated"], digits=4)),
        (("worst radiograph, MAE", ""), f"{trip['once']['worst']:.3f}"),
        (("noise: mean, standard deviation", "0, 1"), f"{noise['mean']:.3f}, {noise['std']:.3f}"),
        (("noise: power per ring, lowest to highest", "1"),
         f"{min(noise['spectrum']):.2f} to {max(noise['spectrum']):.2f} "
         f"(white {min(white['spectrum']):.2f} to {max(white['spectrum']):.2f})"),
        (("held-out loss given every parent; none", ""),
         f"{found['held_out_loss']['everything']:.4f}; {found['held_out_loss']['nothing']:.4f}"),
    ]  # fmt: skip
    if "transport_nats" in found:
        what = "nats per radiograph gained by the transport of the noise"
        rows.append(((what, "above 0"), interval_text(found["transport_nats"], digits=1)))
    for probe in found["probes"]:
        what = f"{probe['variable']} read from the {probe['source']}, {probe['probe']}"
        limit = ASKED_OF_PROBES.get(probe["variable"], "")
        asked = f"{probe['metric']} {limit}" if probe["source"].startswith("noise") else ""
        chance = f"(chance ≤ {probe['chance_high']:.2f})"
        rows.append(((what, asked), f"{interval_text(probe)} {chance}"))
    rows += _effect_rows(found["effects"], found["guidance"])
    rows += _effect_rows(found.get("joint", []), found["guidance"])
    rows += _form_rows(found.get("forms", []))
    drawn = found["samples"]
    for name, value in drawn["frechet"].items():
        what = f"Fréchet distance of {drawn['count']} samples, {name} predictor's features"
        rows.append(((what, "the real floor"), f"{value:.2f} (real {drawn['floor'][name]:.2f})"))
    for label, copies in drawn["copies"].items():
        what = f"copies among {copies['samples']:.0f} samples by {label}; suspects"
        rows.append(((what, "0; .01"), f"{copies['copied']:.0f}; {copies['suspect']:.3f}"))
    return rows


def _effect_rows(
    effects: list[dict[str, Any]], recommended: str
) -> list[tuple[tuple[str, str], str]]:
    """Returns the rows of interventions: without guidance and as recommended."""
    # Which guidance is recommended differs between models, and so does its weight.
    of_guidance = {"none": "no guidance", recommended: "recommended guidance"}
    answers: dict[tuple[str, str], dict[tuple[str, str], dict[str, Any]]] = {}
    for e in effects:
        if e["guidance"] in of_guidance:
            answer = answers.setdefault((e["intervention"], e["guidance"]), {})
            answer[e["predictor"], e["measure"]] = e
    rows = []
    for (intervention, guidance), answer in answers.items():
        what = f"{intervention}, {of_guidance[guidance]}: "
        least = ".75" if intervention in FINDINGS else ".85"
        asked = f"≥ {least}" if guidance == "none" else "in .9 to 1.1"
        for predictor in dict.fromkeys(p for p, _ in answer if p):
            shift = answer[predictor, "shift"]
            text = f"{interval_text(shift)} (null {shift['null']:.2f})"
            rows.append(((f"{what}shift, {predictor} predictor", asked), text))
            crossed = interval_text(answer[predictor, "crossed"])
            rows.append(((f"{what}crossed the threshold, {predictor} predictor", ""), crossed))
            excess = [
                e for (p, m), e in answer.items() if p == predictor and m.startswith("excess")
            ]
            most = max(excess, key=lambda e: abs(e["value"]))
            text = f"{most['measure'].removeprefix('excess of ')} {interval_text(most)}"
            rows.append(((f"{what}largest excess, {predictor} predictor", "within ± .2"), text))
        plain = {m: e for (p, m), e in answer.items() if not p}
        if "reversibility" in plain:
            back = plain["reversibility"]
            text = f"{interval_text(back, digits=4)} (null {back['null']:.4f})"
            rows.append(((f"{what}there and back, MAE", ""), text))
        for name in ("AUC", "rank-1"):
            real = interval_text(plain[f"real identity {name}"])
            text = f"{interval_text(plain[f'identity {name}'])} (real {real})"
            rows.append(((f"{what}identity, {name}", ""), text))
        kept = [
            m for m in ("change", "PSNR", "SSIM", "feature distance", "minimality") if m in plain
        ]
        text = "; ".join(f"{plain[m]['value']:.3f}" for m in kept)
        rows.append(((f"{what}{'; '.join(kept)}", ""), text))
    return rows


def _form_rows(effects: list[dict[str, Any]]) -> list[tuple[tuple[str, str], str]]:
    """Returns the forms of guidance at the weight that moves the whole real effect.

    Between the weights that were measured, from none on, every figure is interpolated; a form
    that never moves so far has none.
    """
    by: dict[tuple[str, str, str], list[tuple[float, dict[str, float]]]] = {}
    whole: dict[tuple[str, str], dict[str, float]] = {}
    predictors = dict.fromkeys(e["predictor"] for e in effects if e["predictor"])
    for e in effects:
        for predictor in predictors if not e["predictor"] else [e["predictor"]]:
            found = whole.setdefault((e["intervention"], e["guidance"] + "|" + predictor), {})
            found[e["measure"]] = e["value"]
    for (intervention, key), found in whole.items():
        guidance, predictor = key.split("|")
        form, _, weight = guidance.partition(" ")
        by.setdefault((intervention, form, predictor), []).append((float(weight or 1), found))
    rows = []
    for (intervention, form, predictor), points in by.items():
        if form == "none":
            continue
        points = [*by[intervention, "none", predictor], *sorted(points, key=lambda p: p[0])]
        shifts = np.array([found["shift"] for _, found in points])
        text = "not reached"
        after = np.flatnonzero((shifts[:-1] < 1) & (shifts[1:] >= 1))
        if len(after):
            i = int(after[0])
            share = (1 - shifts[i]) / (shifts[i + 1] - shifts[i])

            def at(measure: str, i: int = i, share: float = share, p: list = points) -> float:
                return (1 - share) * p[i][1][measure] + share * p[i + 1][1][measure]

            off = max(abs(at(m)) for m in points[0][1] if m.startswith("excess of "))
            weight = (1 - share) * points[i][0] + share * points[i + 1][0]
            text = f"{weight:.2f}; {off:.2f}; {at('reversibility'):.4f}"
        what = f"{intervention}, {form} at a shift of 1, {predictor} predictor"
        rows.append(((f"{what}: weight; largest excess; reversibility", ""), text))
    return rows


def evidence_table(numbers: dict[str, Any]) -> str:
    """Returns the part of `comparison` that the evidence page shows, as markdown."""
    frame = comparison(numbers)
    shown = frame["on test patients"].map(lambda what: bool(SHOWN.match(what)))
    return markdown(frame[shown]).replace("_", " ")
