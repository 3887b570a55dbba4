"""Does this classifier answer differently when a radiograph looks like one of the other sex? A
small audit.

    python examples/fairness_audit.py --data FOLDER --output runs/fairness

FOLDER holds `cxr-real/` and `cxr-real-64/`. A classifier of findings is trained on real
radiographs; then each test radiograph is painted again from its own noise with sex set to the
other, findings and all else held: the direct effect of sex on the image. (`do={"sex": ...}` would
be the total effect. It also changes findings that sex causes, and there a fair classifier must
answer differently.) The null is the same radiograph painted with sex set to what it is, by the
same guidance, so what abduction, prediction and guidance do by themselves stands on both sides.

What goes beyond the null is how far the classifier follows what the model changes in the image
with sex. That is a reason to look, not yet unfairness: the model may move more than sex, and
findings may look different in women and men. Ends with a table and a figure.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

import cxrcausal as cx
from cxrcausal.data import read_images, split_by_patient
from cxrcausal.evaluation import PatientBootstrap, Predictor, paint, weighted_mean
from cxrcausal.files import atomic_path
from cxrcausal.image import Solver

from train_radit import read_radiographs  # isort: skip  (the example beside this one)

FINDINGS = ("cardiomegaly", "pleural_effusion", "atelectasis", "pneumothorax")
OTHER = {"Female": "Male", "Male": "Female"}
GUIDANCE = cx.Guidance("nested", intervened=1.5)


def audit(model: cx.CounterfactualModel, classifier: Predictor, images: torch.Tensor,
          rows: pd.DataFrame, solver: Solver | None = None) -> pd.DataFrame:  # fmt: skip
    """Returns per finding and sex the mean change of its log-odds, sex set to the other, beyond
    the null.

    Radiographs of unknown sex are left out: there is no other.
    """
    known = rows["sex"].notna().to_numpy()
    images, rows = images[torch.tensor(known)], rows[known]
    mechanism = model.image
    factual, _ = mechanism.encode(rows)
    place = [v.name for v in mechanism.attributes].index("sex")
    other = factual.clone()
    other[:, place] = 1 - factual[:, place]
    asked = torch.zeros_like(factual, dtype=torch.bool)
    asked[:, place] = True
    batches = zip(images.split(64), factual.split(64), strict=True)
    noise = torch.cat([mechanism.abduct(x, pa, solver=solver) for x, pa in batches])
    same, changed = (
        classifier.score(paint(mechanism, noise, factual, to, asked, GUIDANCE, solver=solver))
        for to in (factual, other)
    )
    null = (same - classifier.score(images)).to_numpy()
    beyond = (changed - same).to_numpy()
    names = list(changed.columns)
    lines = []
    for sex in ("Female", "Male"):
        here = (rows["sex"] == sex).to_numpy()
        if not here.any():
            continue
        bootstrap = PatientBootstrap(rows["patient_id"][here], seed=0)
        for column, name in enumerate(names):
            effect = bootstrap.interval(weighted_mean(beyond[here, column]))
            moved = bootstrap.interval(weighted_mean(null[here, column]))
            lines.append(
                {
                    "finding": name,
                    "question": f"{sex} → {OTHER[sex]}",
                    "radiographs": int(here.sum()),
                    "null": moved.value,
                    "beyond_null": effect.value,
                    "low": effect.low,
                    "high": effect.high,
                    "excludes_0": effect.excludes(0.0),
                }
            )
    return pd.DataFrame(lines)


def draw(table: pd.DataFrame) -> Figure:
    """Draws each effect beyond the null with its 95 % interval by patient."""
    figure = Figure(figsize=(6.5, 0.42 * len(table) + 1.2), layout="constrained")
    axis = figure.subplots()
    place = np.arange(len(table))[::-1]
    spread = np.stack([table["beyond_null"] - table["low"], table["high"] - table["beyond_null"]])
    axis.errorbar(table["beyond_null"], place, xerr=spread, fmt="o", capsize=3)
    axis.axvline(0, color="grey", linewidth=0.8)
    axis.set_yticks(place, table["finding"] + ", " + table["question"])
    axis.set_xlabel(
        "change of the classifier's log-odds, sex set in the image alone, beyond the null"
    )
    return figure


def main() -> None:
    """Trains the classifier, audits it, prints and draws the answer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of cxr-real and cxr-real-64"
    )
    parser.add_argument("--output", type=Path, default=Path("runs/fairness"))
    parser.add_argument("--model", default="cxr19-tiny", help="a shipped model or a folder")
    parser.add_argument(
        "--tiny", action="store_true", help="few radiographs, one epoch, few steps"
    )
    args = parser.parse_args()

    model = cx.load_pretrained(args.model)
    size = model.image.image_shape[-1]
    table = read_radiographs(args.data, size, limit=160 if args.tiny else None)
    images = read_images(table["image"], size=size)
    test = (split_by_patient(table) == "test").to_numpy()
    classifier = Predictor(model.graph, FINDINGS[:1] if args.tiny else FINDINGS, size=size)
    classifier.fit(images[torch.tensor(~test)], table[~test], epochs=1 if args.tiny else 40)
    rows = table[test].head(8) if args.tiny else table[test]
    solver = dataclasses.replace(model.image.recipe.solver, num_steps=3) if args.tiny else None
    answer = audit(model, classifier, images[torch.tensor(test)][: len(rows)], rows, solver)
    print(answer.round(3).to_string(index=False))
    with atomic_path(args.output / "audit.csv") as beside:
        answer.to_csv(beside, index=False)
    with atomic_path(args.output / "audit.png") as beside:
        draw(answer).savefig(beside, dpi=150, format="png")


if __name__ == "__main__":
    main()
