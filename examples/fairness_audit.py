"""Does this classifier treat a patient differently because of sex? A first, small audit.

    python examples/fairness_audit.py --data FOLDER --output runs/fairness

FOLDER holds `cxr-real/` and `cxr-real-64/`. A classifier of findings is trained on real films; then each
test patient is asked about twice: had they been of the other sex, and under the null intervention (the
same sex, through the same abduction and prediction). What the null moves is the generator's own doing;
only what goes beyond it speaks of the classifier. Ends with a table and a figure.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

import cxrcausal as cx
from cxrcausal.data import split_by_patient
from cxrcausal.evaluation import PatientBootstrap, Predictor, weighted_mean
from cxrcausal.files import atomic_path

from train_radit import read_films  # isort: skip  (the example beside this one)

FINDINGS = ("cardiomegaly", "pleural_effusion", "atelectasis", "pneumothorax")
OTHER = {"Female": "Male", "Male": "Female"}


def audit(model: cx.CounterfactualModel, classifier: Predictor, images: torch.Tensor,
          rows: pd.DataFrame, num_steps: int | None) -> pd.DataFrame:  # fmt: skip
    """Returns per finding the mean change of its log-odds under do(sex) and under the null, by sex."""
    other = rows["sex"].astype(str).map(OTHER)
    answer = model.counterfactual(
        images,
        rows,
        {"sex": other},
        guidance=cx.Guidance("nested", intervened=2.5),
        num_steps=num_steps,
        seed=0,
    )
    seen = classifier.score(images).to_numpy()
    null = classifier.score(answer.reconstruction).to_numpy() - seen
    changed = classifier.score(answer.images).to_numpy() - seen
    names = list(classifier.score(images[:1]).columns)
    lines = []
    for sex in ("Female", "Male"):
        here = (rows["sex"] == sex).to_numpy()
        bootstrap = PatientBootstrap(rows["patient_id"][here], seed=0)
        for column, name in enumerate(names):
            effect = bootstrap.interval(weighted_mean((changed - null)[here, column]))
            moved = bootstrap.interval(weighted_mean(null[here, column]))
            lines.append(
                {
                    "finding": name,
                    "question": f"{sex} → {OTHER[sex]}",
                    "films": int(here.sum()),
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
        "change of the classifier's log-odds under do(sex), beyond the null intervention"
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
    parser.add_argument("--tiny", action="store_true", help="few films, one epoch, few steps")
    args = parser.parse_args()

    model = cx.load_pretrained(args.model)
    size = model.image.image_shape[-1]
    images, table = read_films(args.data, size, limit=160 if args.tiny else None)
    test = (split_by_patient(table) == "test").to_numpy()
    classifier = Predictor(model.graph, FINDINGS[:1] if args.tiny else FINDINGS, size=size)
    classifier.fit(images[torch.tensor(~test)], table[~test], epochs=1 if args.tiny else 40)
    rows = table[test].head(8) if args.tiny else table[test]
    answer = audit(
        model, classifier, images[torch.tensor(test)][: len(rows)], rows, 3 if args.tiny else None
    )
    print(answer.round(3).to_string(index=False))
    with atomic_path(args.output / "audit.csv") as beside:
        answer.to_csv(beside, index=False)
    with atomic_path(args.output / "audit.png") as beside:
        draw(answer).savefig(beside, dpi=150, format="png")


if __name__ == "__main__":
    main()
