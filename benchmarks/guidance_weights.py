"""Which weight of guidance suits each parent of the image? Chosen on validation patients.

    python benchmarks/guidance_weights.py --data FOLDER --model FOLDER --output OUT

DATA and the predictors are those of `image_soundness.py`, whose test patients stay unseen here.
Each parent is set alone, under the nested form at each weight of a grid that was fixed beforehand.
The weight at which the mean of both predictors' shifts is 1, as large as real radiographs differ,
is read off between the weights of the grid and rounded to a quarter. OUT receives `report.md` and
`report.json`, whose `own` is what a recipe's `guidance` declares; look at counterfactuals before
you take it.
"""

import argparse
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from cxrcausal.evaluation.report import Report
from cxrcausal.image import Guidance, load_image_mechanism

from image_soundness import SIZE, fitted_readers, read_data  # isort: skip  (beside this one)
from soundness_model import Study, abducted, ask, asked, spread  # isort: skip

WEIGHTS = (1.0, 1.5, 2.0, 3.0)


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Asks every question at every weight; returns the numbers."""
    args = parse(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    mechanism = load_image_mechanism(args.model)
    size = mechanism.image_shape[-1]
    data = read_data(args, min(SIZE, size))
    report = Report()
    report.say(f"# Weights of guidance of `{args.model.name}`\n")
    readers = fitted_readers(args, report, data)

    rows = data.rows("validation", fine=size > SIZE)
    table, images = data.of(rows), data.images(rows, size)
    base = spread(len(rows), args.radiographs)
    study = Study(
        mechanism, args.output, rows, table, images, data.images(rows), base,
        ask(mechanism, table, np.arange(len(rows)), args.radiographs),
        torch.full_like(images, torch.nan), torch.full_like(images, torch.nan),
    )  # fmt: skip
    able = np.flatnonzero(np.any([~np.isnan(q.asked) for q in study.questions], axis=0))
    found = abducted(study, images[torch.from_numpy(able)], table.iloc[able])
    study.noise[torch.from_numpy(able)] = found["noise"]
    study.back[torch.from_numpy(able)] = found["back"]

    guidances = {f"{w:g}": Guidance("nested", intervened=w) for w in WEIGHTS if w != 1}
    guidances = {"1": Guidance("none"), **guidances}  # the same, by one evaluation a step
    frame = asked(args, study, readers, study.questions, guidances, 0)
    variables = {question.label: question.variable for question in study.questions}
    frame = frame.assign(variable=frame["intervention"].map(variables))
    shifts, excess = by_weight(frame, "shift"), by_weight(frame, "excess")
    chosen = {name: weight_of(shifts.loc[name].to_numpy()) for name in shifts.index}

    report.head("Shift by weight, mean of both predictors")
    report.say(f"{table['patient_id'].nunique()} validation patients, {len(able)} radiographs.\n")
    report.table(shifts.assign(chosen=chosen), 2)
    report.head("Largest excess by weight, both predictors")
    report.table(excess, 2)
    usual = mechanism.guidance.intervened
    own = {name: weight for name, weight in chosen.items() if weight != usual}
    report.say(f"\nguidance: {{form: nested, intervened: {usual:g}, own: {own}}}")
    report.numbers |= {"shift": shifts.to_dict("index"), "excess": excess.to_dict("index")}
    report.numbers |= {"chosen": chosen, "own": own}
    report.save(args.output)
    return report.numbers


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Reads the command line; `--quick` sets the sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="as of image_soundness.py")
    parser.add_argument("--model", type=Path, required=True, help="an image mechanism's folder")
    parser.add_argument("--output", type=Path, default=Path("runs/guidance-weights"))
    parser.add_argument("--radiographs", type=int, default=100, help="of each question")
    parser.add_argument("--resamples", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help="few radiographs, small predictors")
    args = parser.parse_args(argv)
    args.gold, args.identity_epochs, args.reversed_radiographs = None, 16, 0
    if args.quick:
        args.radiographs, args.resamples, args.identity_epochs = 8, 60, 1
    args.output.mkdir(parents=True, exist_ok=True)
    return args


def by_weight(frame: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Returns a measure of every parent (rows) at every weight (columns).

    A shift is averaged over predictors and directions of age, of excesses the largest is taken.
    """
    largest = measure == "excess"
    named = frame["measure"]
    which = named.str.startswith("excess of ") if largest else named == "shift"
    part = frame[which & (frame["predictor"] != "")]
    part = part.assign(value=part["value"].abs() if largest else part["value"])
    cells = part.groupby(["variable", "guidance"], sort=False)["value"]
    return (cells.max() if largest else cells.mean()).unstack()[[f"{w:g}" for w in WEIGHTS]]


def weight_of(shifts: np.ndarray) -> float:
    """Returns the weight at which the shift is 1, between those of the grid, to a quarter.

    Where no weight of the grid reaches it the largest is returned, where all pass it the least.
    """
    rising = np.maximum.accumulate(shifts)  # a larger weight that moves less is noise, or breaks
    return float(np.round(4 * np.interp(1.0, rising, WEIGHTS)) / 4)


if __name__ == "__main__":
    main()
