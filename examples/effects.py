"""One effect that data can tell and one that they cannot, each with what it rests on.

    python examples/effects.py --data FOLDER --output runs/effects

FOLDER holds `metadata/chexpert_metadata.csv.gz`. An SCM is fitted on training patients; then two
questions:

1. How much more often do patients have support devices because of a pleural effusion? The graph
   says which variables to adjust for, so the answer follows from data, the graph granted. Who does
   not grant it reads how strong an unmeasured acuity would have to be.
2. Of patients who have both, how many would not have the devices without the effusion? No data,
   not even an experiment, decide that. The model has an answer by the way it couples worlds;
   beside it stand the bounds that data leave.

The same two questions are then asked of the extended graph, which declares acuity as a hidden
cause: there the first is not identified either, and the report says so. Ends with two figures.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import cxrcausal as cx
from cxrcausal.data import split_by_patient
from cxrcausal.effect import Causation, Effect, Sensitivity, causation, ett, sensitivity
from cxrcausal.files import atomic_path

CAUSE, OUTCOME = "pleural_effusion", "support_devices"
WORDS = {"necessity": "necessity (PN)", "sufficiency": "sufficiency (PS)", "both": "both (PNS)"}


def draw_identified(found: Sensitivity, treated: Effect) -> Figure:
    """Draws the two arms, the effects, and what an unmeasured cause would make of the average
    one.
    """
    figure = Figure(figsize=(9.5, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.5), sharey=True)
    effects = [found.effect, treated]
    place = np.arange(len(effects))
    spread = np.array([[e.estimate - e.low, e.high - e.estimate] for e in effects]).T
    left.errorbar(place, [e.estimate for e in effects], yerr=spread, fmt="o", capsize=3)
    left.set_xticks(place, ["everybody\n(ATE)", "those with effusion\n(ETT)"])
    left.set_xlim(-0.6, len(effects) - 0.4)
    left.set_ylabel("more support devices (probability)")
    left.set_title("effect of a pleural effusion", fontsize=10)
    left.axhline(0, color="grey", linewidth=0.8)
    found.plot(right)
    right.set_ylabel("")
    if found.tipping is not None:
        right.set_title(f"nothing is left at an odds ratio of {found.tipping:.2g}", fontsize=10)
    figure.suptitle(f"{OUTCOME} ← {CAUSE}: {found.effect.statement}", fontsize=9)
    return figure


def draw_bounded(found: Causation) -> Figure:
    """Draws the model's probabilities of causation inside the bounds that data leave."""
    figure = Figure(figsize=(7.5, 2.9), layout="constrained")
    axis: Axes = figure.subplots()
    for place, name in enumerate(reversed(WORDS)):
        effect = getattr(found, name)
        assert effect.bounds is not None
        low, high = effect.bounds
        axis.barh(
            place, high - low, left=low, height=0.45, color="0.85", label="Tian–Pearl bounds"
        )
        spread = [[effect.estimate - effect.low], [effect.high - effect.estimate]]
        axis.errorbar(
            effect.estimate, place, xerr=spread, fmt="o", color="C3", capsize=3,
            label="the model, by its coupling",
        )  # fmt: skip
        axis.text(high + 0.01, place, f"{low:.2f} to {high:.2f}", va="center", fontsize=8)
        axis.text(effect.estimate, place + 0.3, f"{effect.estimate:.2f}", ha="center", fontsize=8)
    axis.set_yticks(range(len(WORDS)), list(reversed(WORDS.values())))
    axis.set_xlim(0, 1.18)
    axis.set_ylim(-0.5, len(WORDS) - 0.3)
    axis.set_xlabel(f"probability that {CAUSE} was the cause of {OUTCOME}")
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles[:2], labels[:2], loc="outside upper center", ncols=2, fontsize=8)
    return figure


def main() -> None:
    """Fits, asks both questions, prints the answers and draws them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds metadata/")
    parser.add_argument("--output", type=Path, default=Path("runs/effects"))
    parser.add_argument("--graph", default="cxr19", help="a graph's name or file")
    parser.add_argument("--tiny", action="store_true", help="400 rows")
    args = parser.parse_args()

    graph = cx.load_graph(args.graph)
    file = args.data / "metadata" / "chexpert_metadata.csv.gz"
    table = cx.read_table(file, source="chexpert", graph=graph)
    train = table[split_by_patient(table) == "train"].head(400 if args.tiny else 10_000)
    scm = cx.FlowSCM(graph).fit(train, groups="patient_id")

    found = sensitivity(scm, train, CAUSE, OUTCOME, strengths=(1, 2, 3, 5))
    treated = ett(scm, train, CAUSE, OUTCOME)
    print(f"{found}\n{treated}\n")
    chances = causation(scm, train, CAUSE, OUTCOME)
    print(f"{chances}\n")
    extended = cx.load_graph("cxr19-extended")
    print(f"in {extended.name}: {extended.identifiable(CAUSE, OUTCOME)}")

    figures = {"identified": draw_identified(found, treated), "bounded": draw_bounded(chances)}
    for name, figure in figures.items():
        with atomic_path(args.output / f"{name}.png") as beside:
            figure.savefig(beside, dpi=150, format="png")


if __name__ == "__main__":
    main()
