"""Which solver, at 24 evaluations in each direction, suits a trained image mechanism? Prints one
row per solver.

    python benchmarks/solver_choice.py --data FOLDER --model FOLDER

Two errors that pull apart, on radiographs of validation patients: that of the round trip, which a
grid dense near the image makes small because its errors cancel on the way back; and that of the
noise itself against a grid ten times as fine, which decides what a counterfactual keeps. Choose by
both, never on test radiographs.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

import cxrcausal as cx
from cxrcausal.data import read_images, split_by_patient
from cxrcausal.evaluation import noise_statistics, round_trip
from cxrcausal.image import Solver

VALIDATION = (0.36, 0.39)  # as the shipped default was trained
FINE = Solver("rk4", 32, 1.5)
CANDIDATES = [
    *(Solver("midpoint", 12, density) for density in (1.25, 1.5, 1.6, 1.75, 2.0)),
    *(Solver("heun", 12, density) for density in (1.25, 1.5, 1.75, 2.0)),
    *(Solver("rk4", 6, density) for density in (1.0, 1.25, 1.5, 1.75)),
    *(Solver("adams", 24, density) for density in (1.5, 2.0)),
]


def main(argv: list[str] | None = None) -> None:
    """Prints the round trip and the noise of each candidate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds cxr-real-64/")
    parser.add_argument("--model", default="cxr19-tiny", help="a shipped model or a folder")
    parser.add_argument("--radiographs", type=int, help="only so many radiographs: a quick look")
    args = parser.parse_args(argv)
    mechanism = cx.load_pretrained(args.model).image
    size = mechanism.recipe.network.size
    table = pd.concat(
        [
            cx.read_table(args.data / name / "images.csv", source="image_list")
            for name in ("cxr-real", "cxr-real-64")
        ],
        ignore_index=True,
    )
    held = split_by_patient(table, validation=VALIDATION) == "validation"
    table = table[(table["dataset"] == "NIH") & held].reset_index(drop=True)
    table = table.head(args.radiographs or len(table))
    images = read_images(table["image"], size=size)
    parents, _ = mechanism.encode(table)
    fine = round_trip(mechanism, images, parents, solver=FINE).noise
    print(f"{len(images)} radiographs of validation patients; errors are means of absolute values")
    print("| solver | steps | density | evaluations | round trip | noise | std of noise |")
    print("|---|---|---|---|---|---|---|")
    for solver in CANDIDATES:
        trip = round_trip(mechanism, images, parents, solver=solver)
        print(
            f"| {solver.method} | {solver.num_steps} | {solver.density:g} | {trip.evaluations} "
            f"| {np.mean(trip.mae[-1]):.4f} | {float((trip.noise - fine).abs().mean()):.4f} "
            f"| {noise_statistics(trip.noise).std:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
