"""Does `decompose` find the parts that are known? On phantoms, whose equations are.

    python benchmarks/decomposition.py --output OUT [--repeats 200] [--quick]

A score that looks at the lower lung fields, where a breast's shadow lies and an effusion, is
decomposed between women and men (sex has no causes: the spurious part is zero) and between
phantoms without and with an effusion (which has causes that show in the radiograph too). Each part
is held against the truth: the same equations, replayed for many other phantoms from the noise that
makes them, by nothing that `decompose` uses. First on 1,000 phantoms; then on REPEATS samples of
200, in how many of which the interval of each part holds the truth.

OUT receives `report.md` and `report.json`.
"""

import argparse
import dataclasses
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import binom
from torch import Tensor

from cxrcausal.counterfactual import CounterfactualModel
from cxrcausal.data import phantom
from cxrcausal.data.phantom import PhantomMechanism, phantom_scm
from cxrcausal.evaluation.report import Report, interval_text
from cxrcausal.fairness import decompose

SIZE = 32
CONTRASTS = (("sex", "Female", "Male"), ("pleural_effusion", "negative", "positive"))
Part = tuple[str, str]
"""What a part is called, and through which kind of mediators it goes."""


@dataclasses.dataclass(frozen=True)
class Mean:
    """A mean and its standard error."""

    value: float
    error: float

    @classmethod
    def of(cls, scores: np.ndarray) -> "Mean":
        """Returns the mean of scores (rows,)."""
        return cls(float(scores.mean()), float(scores.std(ddof=1) / np.sqrt(len(scores))))

    def __sub__(self, other: "Mean") -> "Mean":
        return Mean(self.value - other.value, float(np.hypot(self.error, other.error)))


def lungs(images: Tensor) -> Tensor:
    """Returns the brightness of the lower lung fields (batch,), times ten."""
    height = images.shape[-1]
    return 10 * images[:, 0, height // 2 : 3 * height // 4].mean(dim=(1, 2))


@torch.no_grad()
def replayed(
    model: CounterfactualModel, count: int, seed: int
) -> tuple[Callable[..., Tensor], Callable[[Tensor, Tensor], np.ndarray]]:
    """Returns two functions of phantoms made from noise: their parents, and their scores.

    The first takes what is set, by variable as a number; the second parents and which phantoms.
    """
    generator = torch.Generator().manual_seed(seed)
    mechanisms, image = model.scm.mechanisms, model.image
    assert image is not None
    noise = {
        name: m.prior(torch.rand(count, m.noise_size, dtype=torch.float64, generator=generator))
        for name, m in mechanisms.items()
    }
    grain = torch.randn(count, *image.image_shape, generator=generator)

    @torch.no_grad()
    def world(**do: float) -> Tensor:
        values: dict[str, Tensor] = {}
        for name, m in mechanisms.items():
            pa = {p.name: values[p.name] for p in m.parents}
            values[name] = m.predict(noise[name], pa).double()
            if name in do:
                values[name] = torch.full((count,), float(do[name]), dtype=torch.float64)
        return torch.stack([values[v.name] for v in image.attributes], 1).float()

    def scores(parents: Tensor, those: Tensor) -> np.ndarray:
        painted = [
            lungs(image.predict(grain[at], parents[at]).clamp(0, 1))
            for at in those.nonzero().squeeze(1).split(1000)
        ]
        return torch.cat(painted).double().numpy()

    return world, scores


def true_parts(
    model: CounterfactualModel, attribute: str, count: int, seed: int = 6
) -> dict[Part, Mean]:
    """Returns every part of a difference from an attribute's first level to its second.

    Arguments:
        model: The phantom.
        attribute: What differs.
        count: How many phantoms are replayed.
        seed: Of their noise.
    """
    assert model.image is not None
    world, scores = replayed(model, count, seed)
    names = [v.name for v in model.image.attributes]
    factual, other = world(), world(**{attribute: 1})
    level = factual[:, names.index(attribute)]
    below = model.graph.descendants(attribute)
    kinds = [[attribute], [n for n in below if n != "support_devices"], ["support_devices"]]
    now, found = factual.clone(), [scores(factual, level == 0)]
    for changed in kinds:
        columns = [names.index(n) for n in changed if n in names]
        now[:, columns] = other[:, columns]
        found.append(scores(now, level == 0))
    parts = [("direct", ""), ("indirect", "finding"), ("indirect", "device")]
    truth = {part: Mean.of(step) for part, step in zip(parts, np.diff(found, axis=0), strict=True)}
    rest = Mean.of(scores(factual, level == 1))
    return {**truth, ("spurious", ""): rest - Mean.of(found[-1])}


def decomposed(
    model: CounterfactualModel, contrast: tuple[str, str, str], count: int, seed: int,
    resamples: int,
) -> dict[Part, Mapping[str, float]]:  # fmt: skip
    """Returns what `decompose` says of so many phantoms, by part."""
    attribute, here, there = contrast
    study = phantom.sample(count, seed=seed, size=SIZE)
    found = decompose(
        lungs, model, study.images.clamp(0, 1), study.table, attribute,
        resamples=resamples, metadata=False, seed=seed,
    ).parts  # fmt: skip
    found = found[(found["from"] == here) & (found["to"] == there)]
    return {(line["part"], line["through"]): line for line in found.to_dict("records")}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Decomposes, holds the parts against the truth, reports; returns the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs/decomposition"))
    parser.add_argument("--phantoms", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--each", type=int, default=200, help="phantoms of each repeat")
    parser.add_argument("--truth", type=int, default=20_000, help="phantoms replayed")
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--quick", action="store_true", help="few of everything")
    args = parser.parse_args(argv)
    if args.quick:
        args.phantoms, args.repeats, args.each, args.truth, args.resamples = 60, 3, 40, 400, 50
    model = CounterfactualModel(phantom_scm(), PhantomMechanism(SIZE), name="phantom")
    report = Report()
    report.say("# Parts of a difference, found and true\n")
    report.say(
        f"Phantom version {phantom.VERSION}, {SIZE} pixels; {args.phantoms} decomposed, the truth "
        f"of {args.truth} others; intervals are 95 %, by patient. torch {torch.__version__}, "
        f"{torch.get_num_threads()} thread(s), {platform.machine()}."
    )
    lines = []
    for contrast in CONTRASTS:
        attribute, here, there = contrast
        truth = true_parts(model, attribute, args.truth)
        found = decomposed(model, contrast, args.phantoms, 1, args.resamples)
        repeats = [
            decomposed(model, contrast, args.each, 1000 + i, args.resamples)
            for i in range(args.repeats)
        ]
        for part, mean in truth.items():
            line = found[part]
            held = [r[part]["value_low"] <= mean.value <= r[part]["value_high"] for r in repeats]
            constant = line["value_low"] == line["value_high"]  # zero by construction: no interval
            lines.append(
                {
                    "difference": f"{attribute}: {here} → {there}",
                    "part": " through ".join(filter(None, part)),
                    "value": line["value"], "low": line["value_low"], "high": line["value_high"],
                    "truth": mean.value, "truth_error": mean.error, "basis": line["basis"],
                    "coverage": None if constant else float(np.mean(held)),
                }
            )  # fmt: skip
    report.head("Parts")
    frame = pd.DataFrame(lines)
    frame["found"] = [interval_text(line, digits=3) for line in lines]
    low, high = binom.interval(0.99, args.repeats, 0.95)
    shown = frame[["difference", "part", "found", "truth", "truth_error", "basis", "coverage"]]
    report.table(shown)
    report.say(
        f"Coverage is of {args.repeats} samples of {args.each}; that of a 95 % interval lies "
        f"within {low / args.repeats:.3f} and {high / args.repeats:.3f} in 99 of 100 such runs."
    )
    report.numbers |= {"lines": lines, "repeats": args.repeats, "each": args.each}
    report.save(args.output)
    return report.numbers


if __name__ == "__main__":
    main()
