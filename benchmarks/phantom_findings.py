"""Is every finding in the phantom, and is race not? How fast are phantoms drawn?

    python benchmarks/phantom_findings.py --output OUT [--train 20000 --test 5000] [--quick]

Every parent of the image is drawn independently of the others, so that a finding cannot be read
from what accompanies it. A predictor is trained on such phantoms and scored on others: each
finding should be read well, race not at all. OUT receives `report.md` and `report.json`.
"""

import argparse
import logging
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.data.phantom import VERSION, PhantomMechanism
from cxrcausal.evaluation import Predictor, predictor_quality
from cxrcausal.evaluation.report import Report
from cxrcausal.randomness import label_words

TRAIN, TEST = 21, 22
"""The seeds of the phantoms."""
SIZES = (32, 64, 128, 256)


def independent(mechanism: PhantomMechanism, count: int, seed: int) -> pd.DataFrame:
    """Returns patients whose variables are independent, levels equally likely, ages 20 to 90."""
    rng, table = np.random.default_rng(seed), pd.DataFrame(index=pd.RangeIndex(count))
    for variable in mechanism.attributes:
        if variable.is_discrete:
            codes = rng.integers(0, len(variable.levels), count)
            table[variable.name] = pd.Categorical.from_codes(codes, variable.levels)
        else:
            table[variable.name] = rng.integers(20, 91, count).astype(float)
    return table


def phantoms(count: int, seed: int, size: int) -> tuple[Tensor, pd.DataFrame]:
    """Returns phantoms of independent variables and their table."""
    mechanism = PhantomMechanism(size)
    table = independent(mechanism, count, seed)
    noise = mechanism.prior(label_words(table.index), seed)
    images = mechanism.predict(noise, mechanism.encode(table)[0]).clamp(0, 1)
    return images, table.assign(patient_id=[f"{seed}-{row}" for row in range(count)])


def speed(size: int, count: int) -> float:
    """Returns the phantoms drawn per second, the best of three rounds."""
    mechanism = PhantomMechanism(size)
    parents, _ = mechanism.encode(independent(mechanism, count, seed=0))
    noise = mechanism.prior(np.arange(count, dtype=np.uint64), seed=0)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        mechanism.predict(noise, parents)
        seconds.append(time.perf_counter() - start)
    return count / min(seconds)


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Draws, trains, scores, reports; returns the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs/phantom-findings"))
    parser.add_argument("--train", type=int, default=20_000)
    parser.add_argument("--test", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--quick", action="store_true", help="small: that all of it runs")
    args = parser.parse_args(argv)
    size, width = 64, 16
    if args.quick:
        args.train, args.test, args.epochs, size, width = 120, 60, 1, 32, 8
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    report = Report()
    report.say("# What a phantom shows\n")
    report.say(
        f"Phantom version {VERSION}, {size} pixels, {args.train} to train on, {args.test} to test,"
        f" every parent independent of the others; intervals are 95 %. torch {torch.__version__}, "
        f"{torch.get_num_threads()} thread(s), {platform.machine()}."
    )
    report.head("Phantoms per second")
    rates = {n: speed(n, 16 if args.quick else 256) for n in SIZES[: 2 if args.quick else 4]}
    report.table(pd.DataFrame({"pixels": rates.keys(), "per second": rates.values()}), 0)
    report.numbers["per_second"] = rates

    images, table = phantoms(args.train, TRAIN, size)
    names = [name for name in table.columns if name not in ("patient_id", "dataset")]
    predictor = Predictor("cxr19", names, size=size, width=width, seed=0)
    predictor.fit(
        images,
        table,
        validation=np.arange(len(table)) % 20 == 0,
        epochs=args.epochs,
        learning_rate=2e-3,
    )
    quality = predictor_quality(predictor, *phantoms(args.test, TEST, size), resamples=500)
    report.head("What a predictor reads")
    report.table(quality.drop(columns="positives").rename_axis("variable"))
    report.numbers["quality"] = quality.reset_index().to_dict(orient="records")
    report.save(args.output)
    return report.numbers


if __name__ == "__main__":
    main()
