"""Do an audit's intervals hold the truth, and how often is a fair classifier accused? On phantoms.

    python benchmarks/audit_coverage.py --output OUT [--audits 200] [--quick]

Phantoms have exact counterfactuals, so the effect of sex on a classifier is known: its mean over a
large sample of its own. In each simulated audit a small classifier (ridge regression on 8×8 block
means) is trained anew on labels of effusion of which a share follows sex instead: a shortcut. Of
its mean effect of sex a given part is left in it: all, some, or none, which is a classifier that
is fair on average, although single radiographs still move. A few patients of a pool are then
audited by what `cxrcausal.fairness.audit` computes. Counted are how often the 95 % interval of the
shift holds the truth, and how often the audit says that the classifier differs: its power, and
for the fair one its false accusations. OUT receives `audit_coverage.md`, its JSON and the curve.
"""

import argparse
import logging
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from cxrcausal.bootstrap import PatientBootstrap
from cxrcausal.counterfactual import CounterfactualModel
from cxrcausal.data import phantom
from cxrcausal.data.phantom import PhantomMechanism, phantom_scm
from cxrcausal.evaluation.report import Report
from cxrcausal.fairness.estimates import Scores, effects
from cxrcausal.fairness.worlds import Worlds, contrasts
from cxrcausal.files import atomic_path

TRAIN, POOL, TRUTH = 31, 32, 33
"""The seeds of the phantoms."""
LEFT = (0.0, 0.01, 0.02, 0.05, 0.1, 0.3, 1.0)
"""Which parts of the shortcut's mean effect are left in the classifier."""
FOLLOWS = 0.3  # the share of training labels that are sex
SIZE, BLOCK, RIDGE = 32, 4, 1.0
LEVEL = 0.95


@dataclass(frozen=True)
class Pool:
    """Phantoms as a classifier sees them, (patients, features), by contrast of sex.

    Arguments:
        here: Of the phantoms.
        there: Of their counterfactuals of the other sex.
        back: Of those set back.
        placebo: Of the phantoms with another one's difference.
    """

    here: np.ndarray
    there: np.ndarray
    back: np.ndarray
    placebo: np.ndarray


def features(images: Tensor) -> np.ndarray:
    """Returns block means and a 1, (images, features)."""
    means = F.avg_pool2d(images.clamp(0, 1), BLOCK).flatten(1).double().numpy()
    return np.concatenate([means, np.ones((len(means), 1))], axis=1)


def pools(count: int, seed: int) -> dict[tuple[str, str], Pool]:
    """Returns phantoms, women and men apart, each with the other world and its controls."""
    study = phantom.sample(count, seed=seed, size=SIZE)
    images, table = study.images.clamp(0, 1), study.table.reset_index(drop=True)
    model = CounterfactualModel(phantom_scm(), PhantomMechanism(SIZE), name="phantom")
    people = np.arange(len(table))
    worlds = Worlds(
        model, images, table, people, path="direct", guidance=None, batch_size=64, seed=seed
    )
    found = {}
    for contrast in contrasts(table, model, ["sex"], {}):
        world = worlds.of(contrast)
        at = torch.from_numpy(contrast.rows)
        found[contrast.origin, contrast.target] = Pool(
            features(images[at]), features(world.counterfactual), features(world.back),
            features(world.placebo),
        )  # fmt: skip
    return found


def classifier(
    x: np.ndarray, sick: np.ndarray, woman: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Returns weights (features,) that predict effusion, or in a share of the rows sex."""
    rows = rng.integers(0, len(x), 400)
    label = np.where(rng.random(400) < FOLLOWS, woman[rows], sick[rows]).astype(float)
    a = x[rows]
    return np.linalg.solve(a.T @ a + RIDGE * np.eye(a.shape[1]), a.T @ label)


def without_mean_shift(weights: np.ndarray, truth: dict[tuple[str, str], Pool]) -> np.ndarray:
    """Returns the weights less what moves with sex on average, so that no mean shift is left."""
    means = np.stack([(pool.there - pool.here).mean(axis=0) for pool in truth.values()], axis=1)
    return weights - means @ np.linalg.lstsq(means, weights, rcond=None)[0]


def audited(
    weights: np.ndarray,
    pool: dict[tuple[str, str], Pool],
    patients: int,
    seed: int,
    resamples: int,
) -> pd.DataFrame:
    """Returns the effects of one audit, of so many women and so many men drawn from the pool."""
    rng = np.random.default_rng([seed, 1])
    found = []
    for (origin, target), of in pool.items():
        rows = rng.integers(0, len(of.here), patients)
        here = of.here[rows] @ weights
        other, back, placebo = (x[rows] @ weights for x in (of.there, of.back, of.placebo))
        columns = (x[:, None] for x in (here, here, other, back, placebo))
        found.append(Scores("sex", origin, target, np.arange(patients), *columns))

    def resampled(rows: np.ndarray) -> PatientBootstrap:
        return PatientBootstrap(rows, resamples=resamples, confidence=LEVEL, seed=seed)

    return effects(found, ("score",), {"score": 0.5}, resampled)


def binomial_range(count: int, share: float) -> tuple[float, float]:
    """Returns between which shares 99 % of such counts lie."""
    from scipy.stats import binom

    return tuple(float(binom.ppf(q, count, share)) / count for q in (0.005, 0.995))


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Simulates, counts, reports; returns the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs/audit-coverage"))
    parser.add_argument("--audits", type=int, default=200, help="of each kind")
    parser.add_argument("--patients", type=int, default=150, help="women, and as many men")
    parser.add_argument("--pool", type=int, default=6000)
    parser.add_argument("--truth", type=int, default=12_000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="few of everything")
    args = parser.parse_args(argv)
    if args.quick:
        args.audits, args.patients, args.pool, args.truth, args.resamples = 4, 20, 60, 60, 100
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    report = Report()
    report.say("# Audits of classifiers whose truth is known\n")
    report.say(
        f"Phantom version {phantom.VERSION}, {SIZE} pixels; {args.audits} audits of each kind, "
        f"each of {args.patients} women and {args.patients} men of a pool of {args.pool}, the "
        f"truth on {args.truth} others. torch {torch.__version__}, {platform.machine()}.\n"
    )
    study = phantom.sample(args.pool, seed=TRAIN, size=SIZE)
    x = features(study.images)
    sick = (study.table["pleural_effusion"] == "positive").to_numpy()
    woman = (study.table["sex"] == "Female").to_numpy()
    pool, truth = pools(args.pool, POOL), pools(args.truth, TRUTH)

    lines = []
    for left in LEFT:
        frames = []
        for number in range(args.audits):
            found = classifier(x, sick, woman, np.random.default_rng([number, 0]))
            fair = without_mean_shift(found, truth)
            weights = fair + left * (found - fair)
            frame = audited(weights, pool, args.patients, number, args.resamples)
            shifts = [((p.there - p.here) @ weights).mean() for p in truth.values()]
            frames.append(frame.assign(truth=shifts))
        lines.append({"effect_left": left, **counted(pd.concat(frames))})
    frame = pd.DataFrame(lines)
    report.table(frame.rename(columns=lambda name: name.replace("_", " ")), 4)
    low, high = binomial_range(2 * args.audits, LEVEL)
    report.say(
        f"Of {2 * args.audits} intervals of {LEVEL:.0%}, 99 % of such counts hold the truth in "
        f"{low:.3f} to {high:.3f}."
    )
    _, most = binomial_range(args.audits, 1 - LEVEL)
    report.say(
        f"A fair classifier may be accused in one contrast or the other (after Holm) in up to "
        f"{most:.3f} of audits."
    )
    report.numbers = {"lines": lines, "holds_within": [low, high], "accused_at_most": most}
    report.save(args.output)
    for ending in ("md", "json"):
        (args.output / f"report.{ending}").replace(args.output / f"audit_coverage.{ending}")
    with atomic_path(args.output / "power.png") as beside:
        curve(frame).savefig(beside, dpi=110, format="png")
    return report.numbers


def counted(frame: pd.DataFrame) -> dict[str, float]:
    """Returns what is counted of many audits."""
    holds = (frame["shift_low"] <= frame["truth"]) & (frame["truth"] <= frame["shift_high"])
    audits = len(frame) // 2
    accused = frame["differs"].to_numpy().reshape(audits, 2).any(axis=1)
    return {
        "mean_true_shift": float(frame["truth"].abs().mean()),
        "interval_holds": float(holds.mean()),
        "width": float((frame["shift_high"] - frame["shift_low"]).mean()),
        "says_differs": float(accused.mean()),
        "bias": float((frame["shift"] - frame["truth"]).mean()),
    }


def curve(frame: pd.DataFrame) -> Figure:
    """Draws how often an audit says *differs*, by the true effect of sex on the score."""
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axis = figure.subplots()
    axis.plot(frame["mean_true_shift"], frame["says_differs"], marker="o")
    axis.set_xscale("symlog", linthresh=0.001)
    axis.axhline(1 - LEVEL, color="grey", linewidth=0.8, linestyle="--")
    axis.set_xlabel("true mean shift of the score")
    axis.set_ylabel("audits that say it differs")
    axis.set_ylim(-0.02, 1.02)
    return figure


if __name__ == "__main__":
    main()
