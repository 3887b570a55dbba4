"""From a table of findings to causal answers, step by step: falsify, fit, check, ask.

    python examples/causal_tutorial.py --data FOLDER --output runs/causal

FOLDER holds `metadata/chexpert_metadata.csv.gz`. Every step prints what it found and writes a
figure:

1. Falsify: which arrows and which missing arrows of two graphs do the data speak against?
2. Fit an SCM on training patients, and check it on others: scores, calibration, noises.
3. Ask for one effect that data identify and one that they do not, each with what it rests on.
4. Ask for one patient: what would each finding have been, without the effusion?

Adding an arrow because a table shows a dependence is not what step 1 is for: a hidden cause, or
how radiographs came to be in the table, shows the same. It says where to look, and what the
answers of steps 3 and 4 stand on.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import cxrcausal as cx
from cxrcausal.data import split_by_patient
from cxrcausal.effect import causation, ett, sensitivity
from cxrcausal.files import atomic_path

from effects import CAUSE, OUTCOME, draw_bounded, draw_identified  # isort: skip  (the example beside this one)

DO = {CAUSE: "negative"}


def without_the_cause(scm: cx.FlowSCM, patient: pd.DataFrame) -> pd.DataFrame:
    """Returns, for one patient, each descendant's value and the probability that it would be
    positive.
    """
    found = {}
    for name in scm.graph.topological_order:
        if name in scm.graph.descendants(CAUSE) and name in scm.mechanisms:
            answer = scm.counterfactual_probability(patient, DO, of=name)
            found[name] = {
                "was": str(patient[name].iloc[0]),
                "would_be_positive": float(answer["positive"].iloc[0]),
            }
    return pd.DataFrame(found).T


def draw_patient(found: pd.DataFrame, title: str) -> Figure:
    """Draws a bar per finding: the probability of a positive one, beside what was seen."""
    figure = Figure(figsize=(7.5, 0.45 * len(found) + 1.4), layout="constrained")
    axis = figure.subplots()
    place = np.arange(len(found))[::-1]
    colours = {"positive": "#b2182b", "negative": "#2166ac"}
    axis.barh(
        place,
        found["would_be_positive"].astype(float),
        height=0.6,
        color=[colours.get(was, "0.6") for was in found["was"]],
    )
    for y, (_, row) in zip(place, found.iterrows(), strict=True):
        was = "unknown" if row["was"] == "nan" else row["was"]
        share = row["would_be_positive"]
        axis.text(share + 0.01, y, f"{share:.2f}  (was {was})", va="center", fontsize=8)
    axis.set_yticks(place, [name.replace("_", " ") for name in found.index])
    axis.set_xlim(0, 1.3)
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axis.set_xlabel(
        f"probability of a positive finding, had {CAUSE.replace('_', ' ')} been negative"
    )
    axis.set_title(title, fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    """Runs the four steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds metadata/")
    parser.add_argument("--output", type=Path, default=Path("runs/causal"))
    parser.add_argument("--tiny", action="store_true", help="3,000 rows")
    args = parser.parse_args()
    mpl.use("Agg")

    def save(figure: Figure, name: str) -> None:
        with atomic_path(args.output / f"{name}.png") as beside:
            figure.savefig(beside, dpi=150, format="png")

    graph, extended = cx.load_graph("cxr19"), cx.load_graph("cxr19-extended")
    file = args.data / "metadata" / "chexpert_metadata.csv.gz"
    table = cx.read_table(file, source="chexpert", graph=graph)
    if args.tiny:
        table = table.head(3000)
    part = split_by_patient(table)

    print("1. What do the data say against the graphs?\n")
    against = graph.falsify(table[part != "test"], groups="patient_id", compare=extended)
    print(against)
    save(against.plot(), "1-falsify")

    print("\n2. Fit, and check on patients whom the fit did not see\n")
    train, held = table[part == "train"], table[part == "validation"]
    scm = cx.FlowSCM(graph).fit(train, groups="patient_id")
    check = scm.check(held, groups="patient_id")
    print(check)
    save(check.plot(), "2-check")

    print("\n3. An effect that data identify, and one that they do not\n")
    some = train.head(300 if args.tiny else 8000)  # a mean over patients: some of them will do
    print(graph.identifiable(CAUSE, OUTCOME))
    total = sensitivity(scm, some, CAUSE, OUTCOME)
    treated = ett(scm, some, CAUSE, OUTCOME)
    print(f"{total}\n{treated}\n")
    save(draw_identified(total, treated), "3-identified")
    chances = causation(scm, some, CAUSE, OUTCOME)
    print(f"{chances}\nin {extended.name}: {extended.identifiable(CAUSE, OUTCOME)}")
    save(draw_bounded(chances), "3-unidentified")

    print("\n4. One patient, without the effusion\n")
    test = table[part == "test"]
    ill = (test[[CAUSE, OUTCOME, "atelectasis", "lung_opacity"]] == "positive").all(axis=1)
    patient = test[ill].head(1)
    found = without_the_cause(scm, patient)
    row = patient.iloc[0]
    title = f"{row['sex']}, {row['age']:.0f} years, {row['view']}: with an effusion, as seen"
    print(f"{title}; do({CAUSE} = negative)\n{found}")
    print(
        "Row-level answers rest on the coupling of worlds that the model assumes; no data decide "
        "it."
    )
    save(draw_patient(found, title), "4-patient")


if __name__ == "__main__":
    main()
