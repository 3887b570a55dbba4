"""How sound are the image mechanism's counterfactuals? Prints the whole answer, figures included.

    python benchmarks/image_soundness.py --data FOLDER --model FOLDER --output FOLDER

DATA holds `cxr-real/` and `cxr-real-64/`, each an `images.csv` beside its images; MODEL is what
`save_image_mechanism` wrote. A predictor is trained on training radiographs (once; it is kept in
OUTPUT), then everything is measured on radiographs of test patients: round trip, law and
independence of the abducted noise, held-out loss, counterfactuals under each form of guidance
beside the null intervention, and a search for copied training radiographs. OUTPUT receives
`report.md`, `report.json`, `readme.md` (the README's table), `effects.csv` and figures. The sizes
of the costly parts are options; `--full` asks every question of every radiograph and adds a
convolutional probe, `--quick` shows that all of it runs.
"""

import argparse
import dataclasses
import hashlib
import json
import logging
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import cxrcausal as cx
from cxrcausal.data import read_images, split_by_patient
from cxrcausal.evaluation import (
    PatientBootstrap,
    Predictor,
    Question,
    RoundTrip,
    conv_probe,
    counterfactual_grid,
    flip,
    image_grid,
    memorisation,
    move,
    noise_statistics,
    paint,
    predictor_quality,
    ridge_probe,
    round_trip,
    soundness,
    weighted_mean,
)
from cxrcausal.evaluation.report import Report, interval_text, write_text
from cxrcausal.graph import load_graph
from cxrcausal.image import Guidance, RectifiedFlow, Solver, held_out_loss, load_image_mechanism
from cxrcausal.randomness import label_words
from cxrcausal.scm.table import check_table

from soundness_tables import verdict, readme_table  # isort: skip  (the module beside this one)

VALIDATION = (0.36, 0.39)  # as the shipped default was trained: these stop the predictor
FINDINGS = ("pleural_effusion", "cardiomegaly")
TARGETS = ("sex", "view", "age", *FINDINGS)
PROBED = ("sex", "view", "age")
GUIDANCES = {
    "none": Guidance("none"),
    "cfg 2.5": Guidance("cfg", intervened=2.5),
    "decoupled 2.5/1": Guidance("decoupled", intervened=2.5),
    "anchored 2.5": Guidance("anchored", intervened=2.5),
    "nested 2.5": Guidance("nested", intervened=2.5),
    "nested 1.5": Guidance("nested", intervened=1.5),
}


@dataclass
class Part:
    """Radiographs and their metadata, row by row."""

    images: Tensor
    table: pd.DataFrame

    def of(self, rows: np.ndarray) -> "Part":
        """Returns some of the radiographs, by number."""
        return Part(self.images[rows], self.table.iloc[rows].reset_index(drop=True))


@dataclass
class Fine:
    """Some radiographs abducted and predicted on a finer grid; noise and images are NaN for the
    others.
    """

    solver: Solver
    rows: np.ndarray
    noise: Tensor
    reconstruction: Tensor


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Runs every part; returns the numbers."""
    args = parse(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    report = Report()
    mechanism = load_image_mechanism(args.model)
    solver = dataclasses.replace(
        mechanism.recipe.solver,
        **{
            key: value
            for key, value in (
                ("method", args.method),
                ("num_steps", args.steps),
                ("density", args.density),
            )
            if value is not None
        },
    )
    train, stop, test = read_parts(args)
    report.say("# Soundness of the image mechanism\n")
    report.say(
        f"Model `{Path(args.model).name}`, {sum(p.numel() for p in mechanism.parameters()):,} "
        f"parameters; solver {solver.method}, {solver.num_steps} steps, density "
        f"{solver.density:g}. {len(test.images)} radiographs of "
        f"{test.table['patient_id'].nunique()} test patients; "
        f"intervals are 95 %, by patient. torch {torch.__version__}, "
        f"{torch.get_num_threads()} thread(s), {platform.machine()}."
    )
    report.numbers["model"] = {
        "solver": dataclasses.asdict(solver),
        "test_radiographs": len(test.images),
        "test_patients": int(test.table["patient_id"].nunique()),
        "training": read_record(args.model).get("training", {}),
    }
    predictor = fitted_predictor(args, report, train, stop, test)
    trip, fine = composition(args, report, mechanism, test, solver)
    noise_checks(args, report, mechanism, test, trip.noise, solver)
    losses(args, report, mechanism, test)
    questions = ask(mechanism, test.table)
    effects(args, report, mechanism, predictor, test, trip, questions, solver)
    finer_grid(args, report, mechanism, predictor, test, fine, questions)
    copies(args, report, mechanism, predictor, train, test, solver)
    figures(args, report, mechanism, test, trip, questions, solver)
    verdict(report)
    seconds = time.perf_counter() - report.started
    report.numbers["seconds"] = seconds
    report.say(f"\n{seconds:.0f} s in all.")
    report.save(args.output)
    write_text(args.output / "readme.md", readme_table(report.numbers))
    return report.numbers


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Reads the command line; `--full` and `--quick` set the sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="of cxr-real and cxr-real-64")
    parser.add_argument("--model", type=Path, required=True, help="folder of an image mechanism")
    parser.add_argument("--output", type=Path, default=Path("runs/image-soundness"))
    parser.add_argument("--method", help="solver, instead of the recipe's")
    parser.add_argument("--steps", type=int, help="solver steps, instead of the recipe's")
    parser.add_argument("--density", type=float, help="of the grid, instead of the recipe's")
    parser.add_argument("--radiographs", type=int, default=48, help="asked of each counterfactual")
    parser.add_argument("--reversed-radiographs", type=int, default=16, help="there and back")
    parser.add_argument("--samples", type=int, default=200, help="searched for copies")
    parser.add_argument("--full", action="store_true", help="ask every radiograph")
    parser.add_argument("--quick", action="store_true", help="few radiographs, few of everything")
    args = parser.parse_args(argv)
    args.epochs, args.width, args.conv_epochs = 30, 16, 20
    args.permutations, args.resamples, args.rounds, args.finer = 200, 2000, 10, 96
    args.dpi = 40 if args.quick else 110
    if args.full:
        args.radiographs, args.reversed_images = 10_000, 10_000
    if args.quick:
        args.radiographs, args.reversed_images, args.samples = 6, 3, 8
        args.epochs, args.width, args.conv_epochs = 2, 8, 1
        args.permutations, args.resamples, args.rounds, args.finer = 10, 100, 2, 4
        args.method, args.steps = "euler", 2
    args.output.mkdir(parents=True, exist_ok=True)
    return args


def read_parts(args: argparse.Namespace) -> tuple[Part, Part, Part]:
    """Returns NIH's radiographs: to train on, to stop by, and of test patients."""
    lists = [args.data / name / "images.csv" for name in ("cxr-real", "cxr-real-64")]
    table = pd.concat(
        [cx.read_table(path, source="image_list") for path in lists if path.exists()],
        ignore_index=True,
    )
    table = table[table["dataset"] == "NIH"].reset_index(drop=True)
    if args.quick:  # every radiograph with a finding that is asked about, and as many others
        found = (table[list(FINDINGS)] == "positive").any(axis=1)
        table = pd.concat([table[found], table[~found].head(int(found.sum()))]).iloc[::2]
        table = table.reset_index(drop=True)
    size = read_record(args.model)["recipe"]["network"]["size"]
    every = Part(read_images(table["image"], size=size), table)
    part = split_by_patient(table, validation=VALIDATION).to_numpy()
    train, stop, test = (
        every.of(np.flatnonzero(part == p)) for p in ("train", "validation", "test")
    )
    return train, stop, test


def read_record(model: Path) -> dict[str, Any]:
    """Returns the JSON beside the weights."""
    return json.loads((model / "image.json").read_text(encoding="utf-8"))


def fitted_predictor(
    args: argparse.Namespace, report: Report, train: Part, stop: Part, test: Part
) -> Predictor:
    """Returns the predictor, trained now or loaded from OUTPUT, and reports how well it reads."""
    report.head("The predictor, trained on real training radiographs")
    folder = args.output / "predictor"
    # What the network is taught, as it is encoded: a fault there must not outlive its repair here.
    encoded = check_table(train.table, load_graph("cxr19"), TARGETS)[[*TARGETS]].apply(
        lambda column: column.cat.codes if column.dtype == "category" else column
    )
    key = {
        "radiographs": hashlib.sha256(train.images.numpy().tobytes()).hexdigest()[:16],
        "labels": hashlib.sha256(encoded.to_numpy(np.float64).tobytes()).hexdigest()[:16],
        "targets": list(TARGETS),
        "epochs": args.epochs,
        "width": args.width,
        "version": cx.__version__,
    }
    key_file = folder / "key.json"
    if key_file.exists() and json.loads(key_file.read_text(encoding="utf-8")) == key:
        predictor = Predictor.load(folder)
    else:
        # A tenth more of the training patients stops early; the mechanism has seen those
        # radiographs.
        more = (split_by_patient(train.table) == "validation").to_numpy()
        images = torch.cat([train.images, stop.images])
        table = pd.concat([train.table, stop.table], ignore_index=True)
        held = np.concatenate([more, np.ones(len(stop.images), bool)])
        predictor = Predictor(
            "cxr19", TARGETS, size=images.shape[-1], width=args.width, seed=0
        ).fit(images, table, validation=held, epochs=args.epochs)
        predictor.save(folder)
        write_text(key_file, json.dumps(key))
    quality = predictor_quality(predictor, test.images, test.table, resamples=args.resamples)
    report.table(quality.astype({"positives": "Int64"}))
    report.numbers["predictor"] = quality.to_dict(orient="index")
    return predictor


def composition(
    args: argparse.Namespace, report: Report, mechanism: RectifiedFlow, test: Part, solver: Solver
) -> tuple[RoundTrip, "Fine"]:
    """Round trips: within the budget on every radiograph, finer and repeated on some."""
    report.head("Composition: abduct, then predict under unchanged parents")
    parents, unseen = mechanism.encode(test.table)
    trip = round_trip(mechanism, test.images, parents, solver=solver)
    rows, some = [], spread(len(test.images), 4 if args.quick else 64 if args.full else 12)
    finer = _with_evaluations(solver, args.finer)
    few = test.of(some)
    at_96 = round_trip(mechanism, few.images, parents[some], solver=finer)
    again = round_trip(mechanism, few.images, parents[some], solver=solver, rounds=args.rounds)
    for label, found, table, errors in (
        ("once", trip, test.table, trip.mae[-1]),
        ("once, finer grid", at_96, few.table, at_96.mae[-1]),
        (f"{args.rounds} times in a row", again, few.table, again.mae[-1]),
    ):
        bootstrap = PatientBootstrap(table["patient_id"], resamples=args.resamples)
        rows.append(
            {
                "round trip": label,
                "evaluations, both directions": found.evaluations,
                "radiographs": len(errors),
                "MAE on [0, 1]": f"{bootstrap.interval(weighted_mean(errors)):.4f}",
                "95th percentile of radiographs": float(np.quantile(errors, 0.95)),
                "worst radiograph": float(errors.max()),
            }
        )
    report.table(pd.DataFrame(rows), digits=4)
    if unseen:
        report.say(f"Levels that training never saw, read as unknown: {unseen}.")
    report.numbers["round_trip"] = {
        "evaluations": trip.evaluations,
        "mae": float(trip.mae[-1].mean()),
        "evaluations_finer": at_96.evaluations,
        "mae_finer": float(at_96.mae[-1].mean()),
        "rounds": args.rounds,
        "mae_repeated": float(again.mae[-1].mean()),
    }
    noise, images = torch.full_like(trip.noise, torch.nan), torch.full_like(trip.images, torch.nan)
    noise[some], images[some] = at_96.noise, at_96.images
    return trip, Fine(finer, some, noise, images)


def noise_checks(
    args: argparse.Namespace,
    report: Report,
    mechanism: RectifiedFlow,
    test: Part,
    noise: Tensor,
    solver: Solver,
) -> None:
    """The law of the abducted noise, and what can be read from it."""
    report.head("The abducted noise")
    statistics = noise_statistics(noise)
    white = noise_statistics(mechanism.prior(label_words(test.table.index), seed=0))
    shown = {"abducted": statistics, "white noise of the same shape": white}
    rows = [
        {
            "noise": label,
            "mean": s.mean,
            "std": s.std,
            "KS statistic": s.ks,
            "std of radiographs (5, 50, 95 %)": ", ".join(f"{v:.3f}" for v in s.image_std),
            "std of pixels": ", ".join(f"{v:.3f}" for v in s.pixel_std),
            "spectral flatness": s.flatness,
            "neighbours' correlation": s.neighbour_correlation,
        }
        for label, s in shown.items()
    ]
    report.table(pd.DataFrame(rows))
    report.say(
        "Power per ring of spatial frequency, low to high (white: 1): "
        + ", ".join(f"{v:.2f}" for v in statistics.spectrum)
        + "\n"
    )
    report.numbers["noise"] = {k: dataclasses.asdict(s) for k, s in shown.items()}

    report.say(
        "Probes, cross-validated by patient. The radiographs themselves, and noise abducted with"
    )
    report.say(
        "every parent withheld, show what the probes find where there is something to find.\n"
    )
    nothing = torch.zeros_like(mechanism.encode(test.table)[0])[: len(noise)] * torch.nan
    blind = torch.cat(
        [
            mechanism.abduct(x, pa, solver=solver)
            for x, pa in zip(test.images.split(32), nothing.split(32), strict=True)
        ]
    )
    frames = []
    for source, data in (
        ("abducted noise", noise),
        ("noise abducted with parents unknown", blind),
        ("the radiographs", test.images),
    ):
        for features in ("pixels", "blocks"):
            found = ridge_probe(
                data,
                test.table,
                mechanism.graph,
                PROBED,
                features=features,
                permutations=args.permutations,
                resamples=args.resamples,
            )
            frames.append(found.reset_index().assign(source=source, probe=f"ridge, {features}"))
        if args.full and source != "noise abducted with parents unknown":
            found = conv_probe(
                data,
                test.table,
                mechanism.graph,
                PROBED,
                epochs=args.conv_epochs,
                width=args.width,
                resamples=args.resamples,
            )
            frames.append(found.reset_index().assign(source=source, probe="convolutional"))
    probes = pd.concat(frames, ignore_index=True)
    probes["95 %"] = [f"[{a:.3f}, {b:.3f}]" for a, b in zip(probes.low, probes.high, strict=True)]
    shown_columns = [
        "source", "probe", "variable", "metric", "value", "95 %", "chance", "chance_high", "p",
    ]  # fmt: skip
    report.table(probes[shown_columns])
    report.numbers["probes"] = probes.drop(columns="95 %").to_dict(orient="records")


def losses(args: argparse.Namespace, report: Report, mechanism: RectifiedFlow, test: Part) -> None:
    """The held-out velocity loss on each subset of parents that guidance asks for."""
    report.head("Held-out velocity loss, test radiographs")
    parents = mechanism.encode(test.table)[0]
    everything = torch.ones_like(parents, dtype=torch.bool)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        untrained = RectifiedFlow(mechanism.graph, mechanism.recipe, mechanism.observed).eval()
    subsets: dict[str, Tensor] = {"everything": everything, "nothing (null)": ~everything}
    names = [v.name for v in mechanism.attributes]
    for name in TARGETS:
        alone = torch.zeros_like(everything)
        alone[:, names.index(name)] = True
        subsets |= {f"{name} alone": alone, f"all but {name}": ~alone}
    rows = [
        {
            "network": label,
            "conditioned on": subset,
            "loss": held_out_loss(network, test.images, parents, keep, repeats=1),
        }
        for label, network, asked in (
            ("this model", mechanism, subsets),
            ("untrained", untrained, {"everything": everything}),
        )
        for subset, keep in asked.items()
    ]
    report.table(pd.DataFrame(rows), digits=5)
    report.numbers["held_out_loss"] = rows
    bootstrap = PatientBootstrap(test.table["patient_id"], resamples=args.resamples)
    given_all, given_none = (
        radiograph_losses(mechanism, test.images, parents, k) for k in (everything, ~everything)
    )
    gain = bootstrap.interval(weighted_mean(given_none - given_all))
    report.say(f"What the parents are worth, conditioned on nothing − on everything: {gain:.5f}.")
    report.numbers["gain_of_parents"] = dataclasses.asdict(gain)


def radiograph_losses(
    mechanism: RectifiedFlow, images: Tensor, parents: Tensor, keep: Tensor
) -> np.ndarray:
    """Returns the velocity loss of each radiograph (images,), over eight times and noises, the
    same at every call.
    """
    generator = torch.Generator().manual_seed(1)
    total = torch.zeros(len(images), dtype=torch.float64)
    for _ in range(8):
        t = mechanism.path.times(len(images), generator)
        noise = torch.randn(images.shape, generator=generator)
        with torch.no_grad():
            for rows in torch.arange(len(images)).split(64):
                loss = mechanism(*(x[rows] for x in (images, parents, keep, t, noise)))
                total[rows] += loss.double()
    return (total / 8).numpy()


def ask(mechanism: RectifiedFlow, table: pd.DataFrame) -> list[Question]:
    """Returns the six questions: view, sex, age up and down, two findings."""
    graph = mechanism.graph
    seen_ages = mechanism.observed.get("age") or None
    within = tuple(seen_ages) if seen_ages else None
    return [
        flip(table, graph, "view"),
        flip(table, graph, "sex"),
        move(table, graph, "age", +30, within),
        move(table, graph, "age", -30, within),
        *(flip(table, graph, name) for name in FINDINGS),
    ]


def effects(
    args: argparse.Namespace,
    report: Report,
    mechanism: RectifiedFlow,
    predictor: Predictor,
    test: Part,
    trip: RoundTrip,
    questions: list[Question],
    solver: Solver,
) -> None:
    """Effectiveness, off-target shifts and reversibility, per question and form of guidance."""
    report.head("Counterfactuals, read by the predictor")
    asked = []
    for question in questions:
        able = np.flatnonzero(~np.isnan(question.asked))
        rows = np.zeros(len(question.asked), bool)
        rows[able[spread(len(able), args.radiographs)]] = True
        asked.append(question.of(rows))
    found = soundness(
        mechanism,
        {"residual": predictor},
        test.images,
        test.table,
        trip.noise,
        asked,
        GUIDANCES,
        reconstruction=trip.images,
        solver=solver,
        reversed_images=args.reversed_images,
        resamples=args.resamples,
    )
    write_text(args.output / "effects.csv", found.to_csv(index=False).rstrip("\n"))
    report.say(
        "`shift` is the mean change of the predictor's score over the gap that real radiographs "
        "show; the null is abduct and predict under unchanged parents, the guided null imposes "
        "the unchanged value by the same guidance. `reached`: share that ends on the asked side "
        "of the predictor's threshold (age: that moved at least half of the real gap); `crossed`: "
        "the same among radiographs that began on the other side. A shift of 1 is the whole real "
        "gap, more is too much; one in bold has an interval apart from those of both nulls. The "
        "interventions set one parent of the image alone, so that no descendant changes: "
        "`anchored` and `nested` are then the same sum.\n"
    )
    wide = found.set_index(["intervention", "guidance", "measure"])
    rows = []
    for (intervention, guidance), part in found.groupby(["intervention", "guidance"], sort=False):
        part = part.set_index("measure")
        shift = part.loc["shift"]
        bold = "**" if shift["excludes_null"] else ""
        rows.append(
            {
                "set": intervention,
                "guidance": guidance,
                "radiographs": shift["radiographs"],
                "shift": f"{bold}{interval_text(shift)}{bold}",
                "null": interval_text(shift, "null"),
                "guided null": interval_text(shift, "guided_null"),
                "moved": interval_text(part.loc["moved"]),
                "reached": f"{interval_text(part.loc['reached'])} "
                f"(null {part.loc['reached', 'null']:.2f})",
                "crossed": interval_text(part.loc["crossed"]),
                "reversibility MAE": (
                    f"{interval_text(part.loc['reversibility'], digits=4)} "
                    f"(null {part.loc['reversibility', 'null']:.4f})"
                    if "reversibility" in part.index
                    else ""
                ),
                "change MAE": part.loc["change", "value"],
            }
        )
    report.table(pd.DataFrame(rows))
    report.say(
        "Off-target: shift of the other scores, over their own gaps (age: per deviation).\n"
    )
    rows = []
    for (intervention, guidance), part in found.groupby(["intervention", "guidance"], sort=False):
        others = part[part["measure"].str.startswith("shift of ")]
        row = {"set": intervention, "guidance": guidance}
        for _, other in others.iterrows():
            bold = "**" if other["excludes_null"] else ""
            row[other["measure"][9:]] = f"{bold}{interval_text(other)}{bold}"
        rows.append(row)
    report.table(pd.DataFrame(rows).reindex(columns=["set", "guidance", *TARGETS]).fillna(""))
    report.numbers["effects"] = wide.reset_index().to_dict(orient="records")


def finer_grid(
    args: argparse.Namespace,
    report: Report,
    mechanism: RectifiedFlow,
    predictor: Predictor,
    test: Part,
    fine: Fine,
    questions: list[Question],
) -> None:
    """The other sex on the finer grid, there and back."""
    evaluations = 2 * (fine.solver.evaluations or 0)
    report.head(f"The other sex at {evaluations} evaluations, there and back")
    rows = np.isin(np.arange(len(test.images)), fine.rows)
    sex = next(q for q in questions if q.variable == "sex").of(rows)
    found = soundness(
        mechanism,
        {"residual": predictor},
        test.images,
        test.table,
        fine.noise,
        [sex],
        GUIDANCES,
        reconstruction=fine.reconstruction,
        solver=fine.solver,
        reversed_images=len(rows),
        resamples=args.resamples,
    )
    by = found.set_index(["guidance", "measure"])
    report.table(
        pd.DataFrame(
            {
                "guidance": label,
                "radiographs": by.loc[(label, "shift"), "radiographs"],
                "shift": interval_text(by.loc[(label, "shift")]),
                "reached": interval_text(by.loc[(label, "reached")]),
                "reversibility MAE": interval_text(by.loc[(label, "reversibility")], digits=4),
                "null": interval_text(by.loc[(label, "reversibility")], "null", digits=4),
            }
            for label in GUIDANCES
        )
    )
    report.numbers["finer"] = found.to_dict(orient="records")


def copies(
    args: argparse.Namespace,
    report: Report,
    mechanism: RectifiedFlow,
    predictor: Predictor,
    train: Part,
    test: Part,
    solver: Solver,
) -> None:
    """Samples under the parents of test radiographs, beside their nearest training radiographs."""
    report.head(f"Copies: {args.samples} samples beside their nearest training radiographs")
    rows = np.resize(spread(len(test.images), args.samples), args.samples)
    parents = mechanism.encode(test.table.iloc[rows])[0]
    noise = mechanism.prior(label_words(pd.RangeIndex(args.samples)), seed=1)
    samples = torch.cat(
        [
            mechanism.predict(u, pa, solver=solver)
            for u, pa in zip(noise.split(32), parents.split(32), strict=True)
        ]
    )
    found = {
        "pixels (RMS)": memorisation(samples, train.images, test.images),
        "predictor's features": memorisation(samples, train.images, test.images, predictor),
    }
    table = pd.DataFrame(
        [v.summary() for v in found.values()], index=pd.Index(found, name="distance")
    )
    report.table(table)
    report.say(
        "`suspect`: share of samples nearer to a training radiograph than 99 % of held-out "
        "radiographs are; `copied`: nearer than half the smallest distance of any held-out "
        "radiograph.\n"
    )
    report.numbers["memorisation"] = table.to_dict(orient="index")
    pixels = found["pixels (RMS)"].samples
    closest = np.argsort(pixels.distance)[:8]
    features = found["predictor's features"].samples.index[closest]
    image_grid(
        {
            "sample": samples[closest],
            "nearest, pixels": train.images[pixels.index[closest]],
            "nearest, features": train.images[features],
        },
        title="The samples nearest to training radiographs (synthetic; then real)",
        captions={"sample": [f"{d:.3f}" for d in pixels.distance[closest]]},
    ).savefig(args.output / "nearest_training_radiographs.png", dpi=args.dpi)
    first = samples[: 3 * 8]
    image_grid(
        {f"samples {i + 1}": part for i, part in enumerate(first.split(8))},
        title="Samples under test radiographs' parents (synthetic)",
    ).savefig(args.output / "samples.png", dpi=args.dpi)


def figures(
    args: argparse.Namespace,
    report: Report,
    mechanism: RectifiedFlow,
    test: Part,
    trip: RoundTrip,
    questions: list[Question],
    solver: Solver,
) -> None:
    """Grids of real test radiographs, their counterfactuals and difference maps."""
    report.head("Figures")
    count = 2 if args.quick else 5
    able = np.all([~np.isnan(q.asked) for q in questions if "age" not in q.label], axis=0)
    rows = np.flatnonzero(able)[spread(int(able.sum()), count)]
    factual = mechanism.encode(test.table)[0]
    names = [v.name for v in mechanism.attributes]

    def world(question: Question, guidance: Guidance) -> Tensor:
        mask = torch.zeros_like(factual, dtype=torch.bool)
        mask[:, names.index(question.variable)] = True
        parents = mechanism.encode(question.table)[0]
        out = paint(
            mechanism,
            trip.noise[rows],
            factual[rows],
            parents[rows],
            mask[rows],
            guidance,
            solver=solver,
        )
        out[np.isnan(question.asked[rows])] = torch.nan
        return out

    def captions(question: Question) -> list[str]:
        before, after = test.table[question.variable], question.table[question.variable]
        return [
            ""
            if np.isnan(question.asked[r])
            else f"{_value(before.iloc[r])} → {_value(after.iloc[r])}"
            for r in rows
        ]

    about = [describe(test.table.iloc[r]) for r in rows]
    written = []
    for file, label in (("none", "none"), ("nested", "nested 1.5")):
        figure = counterfactual_grid(
            test.images[rows],
            trip.images[rows],
            {q.label: world(q, GUIDANCES[label]) for q in questions},
            rows=about,
            captions={q.label: captions(q) for q in questions},
            title=f"Real test radiographs and their synthetic counterfactuals, guidance {label}",
        )
        written.append(args.output / f"counterfactuals_{file}.png")
        figure.savefig(written[-1], dpi=args.dpi)
    sex = next(q for q in questions if q.variable == "sex")
    figure = counterfactual_grid(
        test.images[rows],
        trip.images[rows],
        {label: world(sex, guidance) for label, guidance in GUIDANCES.items()},
        rows=about,
        captions={label: captions(sex) for label in GUIDANCES},
        title="The other sex under each form of guidance (all but the radiographs is synthetic)",
    )
    written.append(args.output / "guidance_sex.png")
    figure.savefig(written[-1], dpi=args.dpi)
    for path in (
        *written,
        args.output / "samples.png",
        args.output / "nearest_training_radiographs.png",
    ):
        report.say(f"![{path.stem}]({path.name})")


def spread(available: int, wanted: int) -> np.ndarray:
    """Returns `wanted` of the rows (all, if there are fewer), picked at random once, in order."""
    order = np.random.default_rng(0).permutation(available)
    return np.sort(order[: min(wanted, available)])


def describe(row: pd.Series) -> str:
    """Returns a radiograph's metadata in few words."""
    found = [name for name in FINDINGS if row[name] == "positive"]
    return f"{_value(row['sex'])}, {_value(row['age'])}, {row['view']}" + "".join(
        f"\n{name.replace('_', ' ')}" for name in found
    )


def _value(value: object) -> str:
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def _with_evaluations(solver: Solver, both: int) -> Solver:
    """Returns the solver with that many evaluations in both directions together, at most."""
    for steps in range(both, 0, -1):
        finer = dataclasses.replace(solver, num_steps=steps)
        if finer.evaluations is not None and 2 * finer.evaluations <= both:
            return finer
    return solver


if __name__ == "__main__":
    main()
