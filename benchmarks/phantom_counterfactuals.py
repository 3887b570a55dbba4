"""How far is a counterfactual radiograph from the truth? On phantoms, where the truth is known.

    python benchmarks/phantom_counterfactuals.py --output OUT [--minutes 60] [--quick]

Phantoms (`cxrcausal.data.phantom`) are drawn by fixed seeds: to train on, to choose guidance
weights by, and to test. A small RadiT, a conditional VAE of as many parameters that is shown as
many images, and the flow with noise drawn anew instead of abducted answer the same questions: one
parent of the image is set alone. The error is the squared distance to the true counterfactual over
that of no change at all (0 is perfect, 1 is what leaving the image as it is would cost); the
effect is the part of the true change that was made (1 is all). Each form of guidance stands at the
weight at which its effect on validation phantoms is 1, between the weights that are tried.

OUT receives `report.md`, `report.json`, a figure, and the trained models with their states: a
longer run goes on where a shorter one ended.
"""

import argparse
import copy
import dataclasses
import logging
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.bootstrap import PatientBootstrap, weighted_mean
from cxrcausal.data import phantom
from cxrcausal.data.phantom import PhantomMechanism
from cxrcausal.evaluation.figure import counterfactual_grid
from cxrcausal.evaluation.report import Report, interval_text
from cxrcausal.graph import load_graph
from cxrcausal.image import Groups, Guidance, RectifiedFlow, Trainer, load_recipe
from cxrcausal.image.guidance import Form
from cxrcausal.training import Engine

from conditional_vae import ConditionalVAE, of_equal_size  # isort: skip  (beside this one)

TRAIN, VALIDATION, TEST = 11, 12, 13
"""The seeds of the phantoms."""
WEIGHTS = (1.0, 2.0, 3.0, 4.5, 6.0)
FORMS: tuple[Form, ...] = ("cfg", "decoupled", "anchored", "nested")
BATCH = 50


@dataclass
class Questions:
    """Phantoms, and each of their parents set alone: what is asked, and the truth.

    Arguments:
        images: The factual images.
        parents: Their parents.
        asked: By question, the parents after it, and which of them was set.
        truth: By question, the true counterfactual.
    """

    images: Tensor
    parents: Tensor
    asked: Mapping[str, tuple[Tensor, Tensor]]
    truth: Mapping[str, Tensor]


Answer = Callable[[Tensor, Tensor], Tensor]
"""From parents and the mask of those that were set to images."""


def questions(count: int, seed: int, size: int) -> Questions:
    """Returns frontal phantoms, each parent exchanged, age thirty years away within 20 to 90."""
    mechanism = PhantomMechanism(size)
    study = phantom.sample(2 * count, seed=seed, size=size)
    rows = np.flatnonzero(study.table["view"] != "LATERAL")[:count]
    parents = mechanism.encode(study.table.iloc[rows])[0]
    noise = study.noise.image[torch.from_numpy(rows)]
    asked, truth = {}, {}
    for column, variable in enumerate(mechanism.attributes):
        if variable.name == "dataset":
            continue
        other = parents.clone()
        if not variable.is_discrete:
            other[:, column] += torch.where(parents[:, column] > 55, -30.0, 30.0)
        else:
            levels = 2 if variable.name == "view" else len(variable.levels)
            other[:, column] = (parents[:, column] + 1) % levels
        was_set = torch.zeros_like(parents, dtype=torch.bool)
        was_set[:, column] = True
        asked[variable.name] = (other, was_set)
        truth[variable.name] = mechanism.predict(noise, other)
    return Questions(study.images[torch.from_numpy(rows)], parents, asked, truth)


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Trains, asks, and reports; returns the numbers."""
    args = parse(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    report = Report()
    report.say("# Counterfactual phantoms against the truth\n")
    report.say(
        f"Phantom version {phantom.VERSION}, {args.size} pixels; {args.train} to train on, "
        f"{args.validation} to choose weights by, {args.test} frontal ones to test; intervals are "
        f"95 %. torch {torch.__version__}, {torch.get_num_threads()} thread(s), "
        f"{platform.machine()}."
    )
    study = phantom.sample(args.train, seed=TRAIN, size=args.size)
    images, table = study.images.clamp(0, 1), study.table.drop(columns="patient_id")
    flow = trained_flow(args, report, images, table)
    vae = None if args.without_vae else trained_vae(args, report, flow, images, table)
    transported = with_transport(args, flow, images, table)
    validation = questions(args.validation, VALIDATION, args.size)
    test = questions(args.test, TEST, args.size)

    weights = chosen_weights(report, flow, validation)
    methods: dict[str, Answer] = {}
    noise = in_parts(lambda rows: flow.abduct(test.images[rows], test.parents[rows]), test)
    methods["RadiT, no guidance"] = flow_answer(flow, noise, Guidance("none"))
    for form, weight in weights.items():
        methods[f"RadiT, {form} {weight:g}"] = flow_answer(flow, noise, Guidance(form, weight))
    moved = in_parts(lambda rows: transported.abduct(test.images[rows], test.parents[rows]), test)
    best = Guidance("nested", weights["nested"])
    methods["RadiT with transport, no guidance"] = flow_answer(
        transported, moved, Guidance("none")
    )
    methods[f"RadiT with transport, nested {weights['nested']:g}"] = flow_answer(
        transported, moved, best
    )
    fresh = torch.randn(noise.shape, generator=torch.Generator().manual_seed(0))
    methods["RadiT, noise drawn anew"] = flow_answer(flow, fresh, Guidance("none"))
    if vae is not None:
        methods["conditional VAE"] = vae_answer(vae, test)
    measure(args, report, methods, test)
    report.save(args.output)
    return report.numbers


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Reads the command line; `--quick` sets the sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs/phantom"))
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--train", type=int, default=20_000)
    parser.add_argument("--validation", type=int, default=40)
    parser.add_argument("--test", type=int, default=150)
    parser.add_argument("--num-images", type=int, default=300_000, help="shown to each model")
    parser.add_argument("--without-vae", action="store_true", help="RadiT alone")
    parser.add_argument("--minutes", type=float, help="of each model's training, this time")
    parser.add_argument("--transported", type=int, default=2000, help="phantoms of the transport")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument(
        "--quick", action="store_true", help="small and short: that all of it runs"
    )
    args = parser.parse_args(argv)
    if args.quick:
        args.size, args.train, args.validation, args.test = 32, 160, 8, 12
        args.num_images, args.transported = 320, 60
    return args


def trained_flow(
    args: argparse.Namespace, report: Report, images: Tensor, table: pd.DataFrame
) -> RectifiedFlow:
    """Returns a small RadiT trained on phantoms, resumed from OUT."""
    recipe = load_recipe("radit-tiny")
    network = dataclasses.replace(
        recipe.network, size=args.size, width=128, depth=4, heads=2, hidden=344
    )
    if args.quick:
        network = dataclasses.replace(network, width=32, depth=1, hidden=48, rank=4, embedding=8)
    training = dataclasses.replace(
        recipe.training, num_images=args.num_images, batch_size=32 if args.quick else 64
    )
    recipe = dataclasses.replace(recipe, name="phantom", network=network, training=training)
    torch.manual_seed(0)
    flow = RectifiedFlow(load_graph("cxr19"), recipe)
    trainer = Trainer(flow, images, table, args.output / "flow", compile=args.compile)
    trainer.run(minutes=args.minutes, save_every=250)
    flow.save(args.output / "flow")
    shown = trainer.step * training.batch_size
    report.say(f"\nRadiT: {count(flow):,} parameters, {shown:,} images shown.")
    return flow


def trained_vae(
    args: argparse.Namespace,
    report: Report,
    flow: RectifiedFlow,
    images: Tensor,
    table: pd.DataFrame,
) -> ConditionalVAE:
    """Returns a VAE of as many parameters, shown as many images, resumed from OUT."""
    torch.manual_seed(0)
    vae = of_equal_size(flow.attributes, args.size, count(flow))
    vae = vae.to(memory_format=torch.channels_last)  # twice as fast
    parents, _ = flow.encode(table)
    batch, steps = 64, -(-args.num_images // 64)

    def rate(step: int) -> float:
        return 1e-3 * min(1.0, (step + 1) / 200) * min(1.0, (steps - step) / (0.3 * steps))

    optimiser = torch.optim.AdamW(vae.parameters(), lr=1e-3, weight_decay=0.01)
    engine = Engine(vae, optimiser, rate, decay=0.9995, clip_norm=1.0)
    state = args.output / "vae.pt"
    if state.exists():
        engine.load_state_dict(torch.load(state, weights_only=True))
    end = time.monotonic() + 60 * (args.minutes or float("inf"))
    vae.train()
    while engine.steps < steps and time.monotonic() < end:
        draw = torch.Generator().manual_seed((1 << 32) + engine.steps)
        rows = torch.randint(len(images), (batch,), generator=draw)
        noise = torch.randn(batch, vae.latent, generator=draw)
        engine.step(vae(images[rows], parents[rows], noise).mean())
        if engine.steps % 500 == 0 or engine.steps == steps:
            torch.save(engine.state_dict(), state)
    engine.adopt_average()
    report.say(f"VAE: {count(vae):,} parameters, {engine.steps * batch:,} images shown.")
    return vae.eval()


def with_transport(
    args: argparse.Namespace, flow: RectifiedFlow, images: Tensor, table: pd.DataFrame
) -> RectifiedFlow:
    """Returns the flow with the noise transport of I, fitted on training phantoms."""
    other = copy.deepcopy(flow)
    some = slice(0, args.transported)
    parents, _ = other.encode(table.iloc[some])
    return other.fit_transport(images[some], parents, table.index[some], batch_size=BATCH)


def chosen_weights(
    report: Report, flow: RectifiedFlow, validation: Questions
) -> dict[Form, float]:
    """Returns each form's weight at which its effect, averaged over questions, is 1.

    By straight lines between the weights that are tried; the largest where none gets there.
    """
    noise = in_parts(
        lambda rows: flow.abduct(validation.images[rows], validation.parents[rows]), validation
    )
    lines, chosen = [], {}
    for form in FORMS:
        effects = {}
        for weight in WEIGHTS:
            answer = flow_answer(flow, noise, Guidance(form, weight))
            found = [
                effect(validation, name, answer(*asked)).mean()
                for name, asked in validation.asked.items()
                if name != "race"
            ]
            effects[weight] = float(np.mean(found))
        grown = np.maximum.accumulate(list(effects.values()))  # so that it can be read backwards
        chosen[form] = round(float(np.interp(1.0, grown, WEIGHTS)), 2)
        lines.append({"form": form, **{f"{w:g}": e for w, e in effects.items()}})
    report.head("Effect by weight, validation phantoms")
    report.table(pd.DataFrame(lines), 2)
    report.numbers["weights"] = lines
    return chosen


def flow_answer(flow: RectifiedFlow, noise: Tensor, guidance: Guidance) -> Answer:
    """Returns what answers by replaying noise under other parents."""

    def answer(parents: Tensor, was_set: Tensor) -> Tensor:
        none = torch.zeros_like(was_set)
        groups = Groups(was_set, none, ~was_set)
        return flow.predict(noise, parents, guidance=guidance, groups=groups, batch_size=BATCH)

    return answer


def vae_answer(vae: ConditionalVAE, test: Questions) -> Answer:
    """Returns what answers by replaying the VAE's latent and residual under other parents."""
    posterior = vae.abduct(test.images, test.parents)
    return lambda parents, was_set: vae.predict(posterior, parents)


def measure(
    args: argparse.Namespace, report: Report, methods: Mapping[str, Answer], test: Questions
) -> None:
    """Asks every method every question; reports errors, effects, and draws some."""
    patients = PatientBootstrap(np.arange(len(test.images)), resamples=1000)
    lines, drawn = [], {}
    for method, answer in methods.items():
        for name, asked in test.asked.items():
            image = answer(*asked)
            truth, factual = test.truth[name], test.images
            error = (image - truth).square().flatten(1).sum(1).double().numpy()
            change = (truth - factual).square().flatten(1).sum(1).double().numpy()
            share = effect(test, name, image)
            line = {"method": method, "question": name}
            absolute = patients.interval(
                weighted_mean((image - truth).abs().flatten(1).mean(1).numpy())
            )
            line["error"] = dataclasses.asdict(absolute)
            if name != "race":  # which changes nothing: no share of it can be made
                line["relative"] = dataclasses.asdict(patients.interval(ratio_of(error, change)))
                line["effect"] = dataclasses.asdict(patients.interval(weighted_mean(share)))
            lines.append(line)
            if method in FIGURED and name in DRAWN:
                drawn[f"{name}\n{method}"] = image[:4]
    report.numbers["answers"] = lines
    frame = pd.DataFrame(lines)
    for value, digits in (("relative", 2), ("effect", 2), ("error", 4)):
        report.head(TITLES[value])
        shown = frame.dropna(subset=value)
        said = shown[value].map(lambda v, d=digits: interval_text(v, digits=d))
        wide = shown.assign(said=said).pivot(index="question", columns="method", values="said")
        report.table(wide.loc[[n for n in test.asked if n in wide.index], list(methods)])
    worlds = {}
    for name in DRAWN:
        worlds[f"{name}\nthe truth"] = test.truth[name][:4]
        worlds |= {k: v for k, v in drawn.items() if k.startswith(f"{name}\n")}
    figure = counterfactual_grid(test.images[:4], test.images[:4], worlds, span=0.3)
    figure.savefig(args.output / "phantoms.png", dpi=70)


FIGURED = ("RadiT, no guidance", "conditional VAE")
DRAWN = ("sex", "cardiomegaly", "pleural_effusion", "pneumothorax")
TITLES = {
    "relative": "Squared error over that of no change (0 is perfect)",
    "effect": "Share of the true change that was made (1 is all)",
    "error": "Mean absolute error, grey scale [0, 1]",
}


def effect(test: Questions, name: str, image: Tensor) -> np.ndarray:
    """Returns each answer's change along the true change, over the latter (1 is all of it)."""
    wanted = (test.truth[name] - test.images).flatten(1).double()
    made = (image - test.images).flatten(1).double()
    return ((made * wanted).sum(1) / wanted.square().sum(1)).numpy()


def ratio_of(above: np.ndarray, below: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a ratio of sums as a statistic of weights."""
    return lambda weights: (weights @ above) / (weights @ below)


def in_parts(work: Callable[[slice], Tensor], asked: Questions) -> Tensor:
    """Returns what `work` gives of batches of the questions' images."""
    return torch.cat([work(rows) for rows in _slices(len(asked.images))])


def _slices(total: int) -> Iterator[slice]:
    yield from (slice(start, start + BATCH) for start in range(0, total, BATCH))


def count(module: torch.nn.Module) -> int:
    """Returns the number of parameters."""
    return sum(p.numel() for p in module.parameters())


if __name__ == "__main__":
    main()
