"""Which solver, at 24 evaluations in each direction, suits a trained image mechanism? Prints one
row per solver.

    python benchmarks/solver_choice.py --data FOLDER --model FOLDER
    python benchmarks/solver_choice.py --numbers

Two errors that pull apart, on radiographs of validation patients: that of the round trip, which a
grid dense near the image makes small because its errors cancel on the way back; and that of the
noise itself against a grid ten times as fine, which decides what a counterfactual keeps. Choose by
both, never on test radiographs.

`--numbers` times the solver of the SCM's flow of one number instead: its eight steps of the 3/8
rule, written out in `ContinuousFlow`, beside torchdiffeq's `rk4` on the same steps. They agree to
1e-15. torchdiffeq takes 1.4 times as long for 1 and 100 rows, 1.2 times for 1,000 and 1.04 times
for 20,000; with gradients 1.2, 1.2, 1.1 and 1.02 times. Most calls are of few rows, the distinct
parents or the nodes of a table, so the flow keeps its own ten lines.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torchdiffeq import odeint

import cxrcausal as cx
from cxrcausal.data import read_images, split_by_patient
from cxrcausal.evaluation import noise_statistics, round_trip
from cxrcausal.image import Solver
from cxrcausal.scm import ContinuousFlow

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
    parser.add_argument("--data", type=Path, help="folder that holds cxr-real-64/")
    parser.add_argument("--numbers", action="store_true", help="time the flow of one number")
    parser.add_argument("--rounds", type=int, default=25, help="of which the fastest counts")
    parser.add_argument("--model", default="cxr19-tiny", help="a shipped model or a folder")
    parser.add_argument("--radiographs", type=int, help="only so many radiographs: a quick look")
    args = parser.parse_args(argv)
    if args.numbers:
        time_numbers(args.rounds)
        return
    if args.data is None:
        parser.error("give --data, or --numbers")
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


def time_numbers(rounds: int) -> None:
    """Prints what an inverse of the flow with its slope costs, by own steps and torchdiffeq's."""
    torch.set_num_threads(1)
    print("| rows | gradients | own | torchdiffeq | ratio | largest difference |")
    print("|---|---|---|---|---|---|")
    for rows in (1, 100, 1000, 20_000):
        generator = torch.Generator().manual_seed(rows)
        flow = ContinuousFlow()
        theta = 0.3 * torch.randn(rows, flow.outputs, generator=generator, dtype=torch.float64)
        y = torch.randn(rows, generator=generator, dtype=torch.float64)
        for gradients in (False, True):
            theta.requires_grad_(gradients)
            seconds, answers = {"own": np.inf, "torchdiffeq": np.inf}, {}
            for _ in range(rounds):
                for name, solve in (("own", own_steps), ("torchdiffeq", their_steps)):
                    start = time.process_time()
                    with torch.set_grad_enabled(gradients):
                        answer = solve(flow, y, theta)
                        if gradients:
                            answer.sum().backward()
                    seconds[name] = min(seconds[name], time.process_time() - start)
                    answers[name] = answer.detach()
            gap = float((answers["own"] - answers["torchdiffeq"]).abs().max())
            own, other = seconds["own"], seconds["torchdiffeq"]
            print(
                f"| {rows} | {'yes' if gradients else 'no'} | {1e3 * own:.2f} ms "
                f"| {1e3 * other:.2f} ms | {other / own:.2f} | {gap:.1e} |",
                flush=True,
            )


def own_steps(flow: ContinuousFlow, y: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    """Returns the inverse and its slope, stacked (2, rows), by the flow's own steps."""
    eps, log_slope = flow.inverse_and_log_slope(y, theta)
    return torch.stack((eps, log_slope.exp()))


def their_steps(flow: ContinuousFlow, y: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    """Returns the same by torchdiffeq."""
    velocity = flow._velocity(theta, slope=True)
    start = torch.stack((y, torch.ones_like(y)))
    span = torch.tensor([1.0, 0.0], dtype=y.dtype)
    options = {"step_size": 1 / flow.steps}
    return odeint(velocity, start, span, method="rk4", options=options)[-1]


if __name__ == "__main__":
    main()
