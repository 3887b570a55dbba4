"""How often an interval of an effect holds the truth, and how wide it is, over simulated studies.

    python benchmarks/interval_coverage.py [--studies 200] [--hidden 32 32] [--output FOLDER]

Each study draws patients from an SCM that is known on paper, fits a `FlowSCM` to them and asks for
the average effect (ATE), the natural indirect effect (NIE) and the effect on the treated (ETT) of
a binary treatment on a binary outcome, with a binary mediator and three confounders. The truth is
summed by hand. Three designs:

- `independent`: 1,200 patients, one row each;
- `clustered`: 350 patients of one to eight rows, whose age and sex stay and whose noises agree
  (correlation .6) within a patient, while each row alone has the distribution above;
- `other patients`: the SCM of `clustered`, asked for the effect among 350 patients whom its fit
  never saw.

Of each it reports how many of the nominal .95 intervals hold the truth, and their median width in
units of 3.92 standard deviations of the estimates, which is 1 for a right one. Writes JSON and
markdown.
"""

import argparse
import datetime
import json
import platform
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import expit, ndtr

import cxrcausal as cx
from cxrcausal.effect import Effect, ate, ett, natural_effects
from cxrcausal.files import atomic_path
from cxrcausal.graph import CausalGraph, Variable

ALIKE = 0.6
"""The correlation of the normal scores of a patient's noises, over rows."""
AGES = np.arange(20.0, 91.0)
CONFIDENCE = 0.95
Z = 1.96
FINDING = ("negative", "positive")
STUDY = CausalGraph(
    [
        Variable("age", "continuous", bounds=(20.0, 90.0), resolution=1.0, unit="years"),
        Variable("sex", "binary", ("Female", "Male"), role="demographic"),
        *(
            Variable(name, "binary", FINDING)
            for name in ("history", "treatment", "mark", "outcome")
        ),
    ],
    [
        ("age", "history"),
        ("age", "treatment"),
        ("sex", "treatment"),
        ("history", "treatment"),
        ("treatment", "mark"),
        ("history", "mark"),
        ("age", "outcome"),
        ("history", "outcome"),
        ("treatment", "outcome"),
        ("mark", "outcome"),
    ],
    name="study",
)
ASK = ("treatment", "outcome")


def chances(age: np.ndarray, sex: np.ndarray, history: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the chances of treatment, of the mark (by treatment), of the outcome (by both)."""
    years = (age - 55) / 20
    return {
        "treatment": expit(-0.6 + 0.5 * years + 0.4 * sex + 0.9 * history),
        "mark": np.stack([expit(-1.0 + 1.4 * x + 0.6 * history) for x in (0, 1)]),
        "outcome": np.stack(
            [
                [expit(-1.4 + 0.6 * years + 0.7 * history + 0.6 * x + 1.1 * m) for m in (0, 1)]
                for x in (0, 1)
            ]
        ),
    }


def age_shares() -> np.ndarray:
    """Returns the probability of every age."""
    weight = np.exp(-0.5 * ((AGES - 58) / 17) ** 2)
    return weight / weight.sum()


def history_chance(age: np.ndarray) -> np.ndarray:
    """Returns the probability of a history."""
    return expit(-1.0 + 0.7 * (age - 55) / 20)


def truth() -> dict[str, float]:
    """Returns the effects, summed over every age, sex and history."""
    age, sex, history = (x.flatten() for x in np.meshgrid(AGES, [0, 1], [0, 1], indexing="ij"))
    had = history_chance(age)
    weight = np.repeat(age_shares(), 4) / 2 * np.where(history == 1, had, 1 - had)
    p = chances(age, sex, history)

    def mean(x: int, by: int) -> np.ndarray:
        """Returns E[Y] had the treatment been `x` and the mark what it is under `by`."""
        return p["mark"][by] * p["outcome"][x, 1] + (1 - p["mark"][by]) * p["outcome"][x, 0]

    total = mean(1, 1) - mean(0, 0)
    treated = weight * p["treatment"]
    return {
        "ATE": float(weight @ total),
        "NIE": float(weight @ (mean(0, 1) - mean(0, 0))),
        "ETT": float(treated @ total / treated.sum()),
    }


def draw_patients(design: str, rng: np.random.Generator) -> pd.DataFrame:
    """Returns the rows of one study."""
    if design == "independent":
        patient = np.arange(1200)
    else:
        patient = np.repeat(np.arange(350), rng.integers(1, 9, 350))
    number, rows = int(patient.max()) + 1, len(patient)
    age = rng.choice(AGES, number, p=age_shares())[patient]
    sex = rng.integers(0, 2, number)[patient]

    def noise() -> np.ndarray:
        own, of_patient = rng.normal(size=rows), rng.normal(size=number)[patient]
        return ndtr(np.sqrt(ALIKE) * of_patient + np.sqrt(1 - ALIKE) * own)

    history = (noise() < history_chance(age)).astype(int)
    p, at = chances(age, sex, history), np.arange(rows)
    treatment = (noise() < p["treatment"]).astype(int)
    mark = (noise() < p["mark"][treatment, at]).astype(int)
    outcome = (noise() < p["outcome"][treatment, mark, at]).astype(int)
    columns = {"history": history, "treatment": treatment, "mark": mark, "outcome": outcome}
    return pd.DataFrame({"patient_id": patient, "age": age, "sex": sex, **columns})


def asked(scm: cx.FlowSCM, table: pd.DataFrame, **options: object) -> dict[str, Effect]:
    """Returns the three effects."""
    parts = natural_effects(scm, table, *ASK, **options)
    treated = ett(scm, table, *ASK, **options)
    return {"ATE": ate(scm, table, *ASK, **options), "NIE": parts.indirect, "ETT": treated}


KINDS: dict[str, dict[str, object]] = {"default": {}, "parameters fixed": {"parameters": "fixed"}}
"""The intervals that are compared, by the options that ask for them."""


def study(number: int, hidden: tuple[int, ...]) -> list[dict]:
    """Returns the intervals of one study of each design, and how long they took."""
    torch.set_num_threads(1)
    lines = []
    for design in ("independent", "clustered"):
        rng = np.random.default_rng([number, design == "clustered"])
        table = draw_patients(design, rng)
        start = time.perf_counter()
        scm = cx.FlowSCM(STUDY, hidden=hidden).fit(table, groups="patient_id", progress=False)
        fitted = time.perf_counter() - start
        tables = {design: table}
        if design == "clustered":
            tables["other patients"] = draw_patients(design, rng)
        for where, rows in tables.items():
            for kind, options in KINDS.items():
                start = time.perf_counter()
                effects = asked(scm, rows, seed=number, **options)
                seconds = time.perf_counter() - start
                lines += [
                    {
                        "design": where, "interval": kind, "effect": name, "study": number,
                        "estimate": effect.estimate, "low": effect.low, "high": effect.high,
                        "fit_s": fitted, "effect_s": seconds / len(effects),
                    }
                    for name, effect in effects.items()
                ]  # fmt: skip
    return lines


def summary(lines: Sequence[dict]) -> list[dict]:
    """Returns coverage and width of every design, interval and effect."""
    known, found = truth(), []
    keys = ["design", "interval", "effect"]
    for key, part in pd.DataFrame(lines).groupby(keys, sort=False):
        true = known[key[2]]
        spread = float(part["estimate"].std(ddof=1))
        width = float((part["high"] - part["low"]).median())
        found.append(
            dict(zip(keys, key, strict=True))
            | {
                "studies": len(part),
                "truth": true,
                "mean": float(part["estimate"].mean()),
                "sd": spread,
                "coverage": float(((part["low"] <= true) & (true <= part["high"])).mean()),
                "width": width,
                "width_ratio": width / (2 * Z * spread),
                "fit_s": float(part["fit_s"].median()),
                "effect_s": float(part["effect_s"].median()),
            }
        )
    return found


def markdown(report: dict) -> str:
    """Returns the report as a table."""
    lines = [
        f"Nominal {report['confidence']:.2f} intervals of effects over {report['studies']} "
        f"simulated studies of each design (`python benchmarks/interval_coverage.py`, hidden "
        f"layers {tuple(report['hidden'])}).",
        "",
        "| design | interval | effect | truth | mean estimate | sd | coverage | median width "
        "/ (3.92 sd) | s per fit | s per effect |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {f['design']} | {f['interval']} | {f['effect']} | {f['truth']:.4f} | {f['mean']:.4f} "
        f"| {f['sd']:.4f} | {f['coverage']:.3f} | {f['width_ratio']:.2f} | {f['fit_s']:.1f} | "
        f"{f['effect_s']:.2f} |"
        for f in report["found"]
    ]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return "\n".join([*lines, "", f"{report['date']}, {versions}, {report['machine']}."])


def main() -> None:
    """Draws the studies, prints the table, and writes it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="number of the first study")
    parser.add_argument("--hidden", type=int, nargs="*", default=[32, 32])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path())
    given = parser.parse_args()
    numbers = range(given.first, given.first + given.studies)
    one = partial(study, hidden=tuple(given.hidden))
    if given.processes > 1:
        with ProcessPoolExecutor(given.processes) as pool:
            parts = list(pool.map(one, numbers))
    else:
        parts = [one(number) for number in numbers]
    lines = [line for part in parts for line in part]
    report = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, one thread a process",
        "versions": {
            "Python": platform.python_version(), "torch": torch.__version__,
            "cxrcausal": cx.__version__,
        },
        "studies": given.studies,
        "hidden": given.hidden,
        "confidence": CONFIDENCE,
        "found": summary(lines),
    }  # fmt: skip
    given.output.mkdir(parents=True, exist_ok=True)
    with atomic_path(given.output / "interval_coverage.json") as path:
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    with atomic_path(given.output / "interval_coverage.md") as path:
        path.write_text(markdown(report) + "\n", encoding="utf-8")
    print(markdown(report))


if __name__ == "__main__":
    main()
