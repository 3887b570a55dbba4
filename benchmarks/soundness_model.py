"""What `image_soundness.py` measures of one model, part by part."""

import argparse
import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import cxrcausal as cx
from cxrcausal.evaluation import (
    Closeness,
    Identity,
    PatientBootstrap,
    Question,
    conv_probe,
    counterfactual_grid,
    flip,
    frechet_distance,
    image_grid,
    memorisation,
    move,
    noise_statistics,
    paint,
    patient_folds,
    ridge_probe,
    round_trip,
    soundness,
    weighted_mean,
)
from cxrcausal.evaluation.network import block_mean
from cxrcausal.evaluation.report import Report, interval_text, write_text
from cxrcausal.files import atomic_path
from cxrcausal.image import Guidance, ImageFlow, RectifiedFlow, held_out_loss
from cxrcausal.randomness import label_words

if TYPE_CHECKING:
    from image_soundness import Data, Readers

FINDINGS = ("pleural_effusion", "cardiomegaly")
PROBED = ("view", "sex", "age")
FAMILIES = ("pixels", "blocks", "bands", "neighbours")
WEIGHTS = (1.5, 2.5)
FORMS = ("cfg", "decoupled", "anchored", "nested")
ASKED_OF_FORMS = ("sex", "pleural_effusion", "age +30")
BATCH = 32


@dataclass
class Study:
    """One model and the real radiographs that it is held against, test and validation patients.

    Arguments:
        rows: Which radiographs of the data they are.
        table: Their metadata.
        images: At the model's resolution.
        small: At the predictors'.
        base: Test radiographs that everybody is asked about, numbers within `rows`.
        noise: Abducted, NaN where nothing is asked.
        back: What came back from it, NaN likewise.
    """

    mechanism: ImageFlow
    folder: Path
    rows: np.ndarray
    table: pd.DataFrame
    images: Tensor
    small: Tensor
    base: np.ndarray
    questions: list[Question]
    noise: Tensor
    back: Tensor


def measure_model(
    args: argparse.Namespace,
    report: Report,
    data: "Data",
    readers: "Readers",
    mechanism: ImageFlow,
    path: Path,
) -> dict[str, Any]:
    """Runs every part for one model; returns its numbers."""
    folder = args.output / path.name
    folder.mkdir(parents=True, exist_ok=True)
    size = mechanism.image_shape[-1]
    rows = data.rows("test", "validation", fine=True)
    table, images = data.of(rows), data.images(rows, size)
    base = np.flatnonzero(data.part[rows] == "test")
    base = base[spread(len(base), max(args.scored, args.radiographs))]
    questions = ask(mechanism, table, base, args.radiographs)
    study = Study(
        mechanism, folder, rows, table, images, data.images(rows), base, questions,
        torch.full_like(images, torch.nan), torch.full_like(images, torch.nan),
    )  # fmt: skip
    solver = mechanism.recipe.solver
    count = sum(p.numel() for p in mechanism.parameters())
    report.say(
        f"{count:,} parameters, {size} pixels; solver {solver.method}, {solver.num_steps} steps, "
        f"density {solver.density:g}; recommended guidance {label_of(mechanism.guidance)}.\n"
    )
    numbers: dict[str, Any] = {
        "parameters": count,
        "size": size,
        "solver": dataclasses.asdict(solver),
        "guidance": label_of(mechanism.guidance),
        "training": json.loads((path / "image.json").read_text(encoding="utf-8"))["training"],
        "round_trip": composition(args, report, study),
    }
    numbers |= noise_checks(args, report, study, data)
    numbers["held_out_loss"] = losses(study)
    if isinstance(mechanism, RectifiedFlow) and mechanism.transport is not None:
        numbers["transport_nats"] = transport_nats(study)
    numbers["effects"] = effects(args, report, study, readers)
    if args.joint and (path / "scm.json").exists():
        numbers["joint"] = joint(args, report, study, readers, path)
    if args.forms:
        numbers["forms"] = forms(args, report, study, readers)
    numbers["samples"] = samples(args, report, study, data, readers)
    figures(args, study)
    return numbers


def ask(mechanism: ImageFlow, table: pd.DataFrame, base: np.ndarray, count: int) -> list[Question]:
    """Returns view, sex, age up and down, and each finding of as many with as without it.

    Where a finding has few radiographs all of them are asked, those of validation patients too.

    Arguments:
        mechanism: Whose parents are set.
        table: The radiographs' metadata.
        base: Test radiographs that may be asked, numbers.
        count: How many are.
    """
    graph, ages = mechanism.graph, mechanism.observed.get("age")
    within = (ages[0], ages[1]) if ages else None
    of_base = np.isin(np.arange(len(table)), base)
    few = np.isin(np.arange(len(table)), base[spread(len(base), count)])
    questions = [
        flip(table, graph, "view").of(few),
        flip(table, graph, "sex").of(few),
        move(table, graph, "age", +30, within).of(few),
        move(table, graph, "age", -30, within).of(few),
    ]
    for name in FINDINGS:
        question = flip(table, graph, name)
        positive, negative = question.asked == -1, (question.asked == 1) & of_base
        rows = np.zeros(len(table), bool)
        for able in (positive, negative):
            at = np.flatnonzero(able)
            rows[at[spread(len(at), count // 2)]] = True
        questions.append(question.of(rows))
    return questions


def abducted(
    study: Study, images: Tensor, table: pd.DataFrame, *, back: bool = True
) -> dict[str, Tensor]:
    """Returns the noise of some radiographs and what comes back from it.

    A file of this model and solver keeps them by radiograph and parents, and is written after
    every few, so that a larger run, or one that was interrupted, goes on from there.
    """
    mechanism = study.mechanism
    parents = mechanism.encode(table)[0]
    names = [
        hashlib.sha256(x.numpy().tobytes() + pa.numpy().tobytes()).hexdigest()[:16]
        for x, pa in zip(images, parents, strict=True)
    ]
    solver = hashlib.sha256(repr(mechanism.recipe.solver).encode()).hexdigest()[:8]
    stem = f"{weights_digest(mechanism)}-{solver}" + ("" if back else "-noise")
    file = study.folder / "abducted" / f"{stem}.safetensors"
    kept: dict[str, Tensor] = load_file(file) if file.exists() else {}
    new = [i for i, name in enumerate(names) if f"noise/{name}" not in kept]
    for part in torch.tensor(new, dtype=torch.long).split(8 * BATCH):
        if back:
            trip = round_trip(mechanism, images[part], parents[part], batch_size=BATCH)
            found = {"noise": trip.noise, "back": trip.images}
        else:
            x, pa = images[part], parents[part]
            found = {"noise": mechanism.abduct(x, pa, batch_size=BATCH)}
        for kind, values in found.items():
            kept |= {f"{kind}/{names[i]}": x for i, x in zip(part, values.clone(), strict=True)}
        file.parent.mkdir(exist_ok=True)
        with atomic_path(file) as beside:
            save_file({name: x.contiguous() for name, x in kept.items()}, beside)
    kinds = ("noise", "back") if back else ("noise",)
    return {kind: torch.stack([kept[f"{kind}/{name}"] for name in names]) for kind in kinds}


def composition(args: argparse.Namespace, report: Report, study: Study) -> dict[str, Any]:
    """Round trips at the model's own solver: once of all that is asked, ten times of some."""
    asked = np.any([~np.isnan(q.asked) for q in study.questions], axis=0)
    asked[study.base] = True
    at = np.flatnonzero(asked)
    chosen = torch.from_numpy(at)
    found = abducted(study, study.images[chosen], study.table.iloc[at])
    study.noise[chosen], study.back[chosen] = found["noise"], found["back"]
    once = (found["back"] - study.images[chosen]).abs().flatten(1).mean(dim=1).double()
    some = torch.from_numpy(study.base[: args.reversed_radiographs])
    again = round_trip(
        study.mechanism,
        study.images[some],
        study.mechanism.encode(study.table.iloc[some.numpy()])[0],
        rounds=args.rounds,
    )
    evaluations = study.mechanism.recipe.solver.evaluations
    numbers: dict[str, Any] = {"evaluations": None if evaluations is None else 2 * evaluations}
    for label, errors, rows in (
        ("once", once.numpy(), at),
        ("repeated", again.mae[-1], some.numpy()),
    ):
        bootstrap = PatientBootstrap(
            study.table["patient_id"].iloc[rows], resamples=args.resamples
        )
        interval = bootstrap.interval(weighted_mean(errors))
        numbers[label] = {
            **dataclasses.asdict(interval),
            "radiographs": len(rows),
            "worst": float(errors.max()),
            "rounds": 1 if label == "once" else args.rounds,
        }
    frame = pd.DataFrame({label: numbers[label] for label in ("once", "repeated")}).T
    report.table(frame.rename_axis(f"MAE, {numbers['evaluations']} evaluations"), digits=4)
    return numbers


def noise_checks(
    args: argparse.Namespace, report: Report, study: Study, data: "Data"
) -> dict[str, Any]:
    """The distribution of the noise, and what probes fitted on training patients read from it."""
    noise, table = study.noise[torch.from_numpy(study.base)], study.table.iloc[study.base]
    statistics = noise_statistics(noise)
    white = noise_statistics(study.mechanism.prior(label_words(table.index), seed=0))
    shown = {"abducted": statistics, "white": white}
    report.table(pd.DataFrame([
        {"noise": label, "mean": s.mean, "std": s.std, "KS": s.ks, "flatness": s.flatness,
         "power per ring": ", ".join(f"{v:.2f}" for v in s.spectrum)}
        for label, s in shown.items()
    ]))  # fmt: skip
    rows = data.rows("train", fine=True)
    rows = rows[spread(len(rows), args.probed)]
    trained = data.images(rows, study.images.shape[-1])
    of_training = abducted(study, trained, data.of(rows), back=False)["noise"]
    both = pd.concat([data.of(rows), table], ignore_index=True)
    training = np.arange(len(both)) < len(rows)
    sources = {"noise": torch.cat([of_training, noise])}
    if noise.shape[-1] > data.size:  # white noise of unit variance again
        factor = noise.shape[-1] / data.size
        sources["noise, averaged"] = factor * block_mean(sources["noise"], data.size)
    sources["radiographs"] = torch.cat([data.images(rows), study.small[study.base]])
    graph, frames = study.mechanism.graph, []
    how = {"permutations": args.permutations, "resamples": args.resamples, "training": training}
    for source, values in sources.items():
        for family in FAMILIES if source != "radiographs" else ("pixels",):
            found = ridge_probe(values, both, graph, PROBED, features=family, **how)
            frames.append(found.reset_index().assign(source=source, probe=family))
    if args.conv_epochs:
        values = sources.get("noise, averaged", sources["noise"])
        found = conv_probe(values, both, graph, PROBED, epochs=args.conv_epochs, **how)
        frames.append(found.reset_index().assign(source="noise", probe="network"))
    probes = pd.concat(frames, ignore_index=True)
    report.say(f"Probes, fitted on {len(rows)} radiographs of training patients:\n")
    report.table(pd.DataFrame([
        {"read from": p["source"], "probe": p["probe"], "variable": p["variable"],
         "AUC or r": interval_text(p), "95 % of chance below": p["chance_high"]}
        for p in probes.to_dict(orient="records")
    ]))  # fmt: skip
    return {
        "noise": {label: dataclasses.asdict(s) for label, s in shown.items()},
        "probes": probes.to_dict(orient="records"),
    }


def losses(study: Study) -> dict[str, float]:
    """The held-out velocity loss, conditioned on every parent and on none."""
    base = torch.from_numpy(study.base)
    parents = study.mechanism.encode(study.table.iloc[study.base])[0]
    everything = torch.ones_like(parents, dtype=torch.bool)
    return {
        label: held_out_loss(study.mechanism, study.images[base], parents, keep, repeats=2)
        for label, keep in (("everything", everything), ("nothing", ~everything))
    }


def transport_nats(study: Study) -> dict[str, float]:
    """What the transport at the noise end gains, in nats per radiograph of test patients."""
    assert isinstance(study.mechanism, RectifiedFlow)
    table, transport = study.table.iloc[study.base], study.mechanism.transport
    parents = study.mechanism.encode(table)[0]
    before = transport.predict(study.noise[torch.from_numpy(study.base)], parents)
    return dataclasses.asdict(transport.gain(before, parents, table["patient_id"]))


def effects(
    args: argparse.Namespace, report: Report, study: Study, readers: "Readers"
) -> list[dict[str, Any]]:
    """Every question without guidance and with what the model recommends."""
    guidances = {"none": Guidance("none")}
    guidances[label_of(study.mechanism.guidance)] = study.mechanism.guidance
    found = asked(args, study, readers, study.questions, guidances)
    write_text(study.folder / "effects.csv", found.to_csv(index=False).rstrip("\n"))
    report.say(
        "One parent of the image is set alone. `shift`: mean change of a predictor's score over "
        "that of real radiographs which differ in this parent alone (regression on all parents); "
        "`excess`: change of another score beyond that of such radiographs, over its own effect.\n"
    )
    show_effects(report, found)
    return found.to_dict(orient="records")


def asked(
    args: argparse.Namespace,
    study: Study,
    readers: "Readers",
    questions: list[Question],
    guidances: dict[str, Guidance],
    reversed_images: int | None = None,
) -> pd.DataFrame:
    """Returns `soundness` of some questions."""
    closeness = Closeness(next(iter(readers.predictors.values())), study.images, study.table)
    return soundness(
        study.mechanism,
        readers.predictors,
        study.images,
        study.table,
        study.noise,
        questions,
        guidances,
        readers=[Identity(readers.identity, study.small, study.table), closeness],
        reconstruction=study.back,
        reversed_images=args.reversed_radiographs if reversed_images is None else reversed_images,
        guided_nulls=False,
        store=study.folder / "painted" / weights_digest(study.mechanism),
        resamples=args.resamples,
        batch_size=BATCH,
    )


def show_effects(report: Report, found: pd.DataFrame) -> None:
    """Prints effects as two tables: by predictor, and what needs none."""
    keys = ["intervention", "guidance", "predictor"]
    lines, plain = [], []
    for (intervention, guidance, predictor), part in found.groupby(keys, sort=False):
        by = part.set_index("measure")
        line = {"set": intervention, "guidance": guidance}
        if predictor:
            others = [m for m in by.index if m.startswith("excess of ")]
            line |= {"predictor": predictor, "radiographs": by["radiographs"].iloc[0]}
            line |= {m: interval_text(by.loc[m]) for m in ("shift", "moved", "crossed")}
            line["null shift"] = interval_text(by.loc["shift"], "null")
            line["excess"] = ", ".join(
                f"{m.removeprefix('excess of ')} {interval_text(by.loc[m])}" for m in others
            )
            lines.append(line)
        else:
            plain.append(line | {m: interval_text(by.loc[m], digits=3) for m in by.index})
    report.table(pd.DataFrame(lines))
    report.table(pd.DataFrame(plain).fillna(""))


def joint(
    args: argparse.Namespace, report: Report, study: Study, readers: "Readers", path: Path
) -> list[dict[str, Any]]:
    """The findings and age set in the whole model: descendants follow as its SCM says."""
    model = cx.load_pretrained(path)
    # Nothing that the image shows follows the view, and of sex only risks do.
    questions = [
        following(model, study.table, question)
        for question in study.questions
        if question.variable not in ("view", "sex")
    ]
    guidance = study.mechanism.guidance
    found = asked(args, study, readers, questions, {label_of(guidance): guidance}, 0)
    report.say("Descendants follow, held against real radiographs that differ in them too:\n")
    show_effects(report, found)
    return found.to_dict(orient="records")


def following(model: cx.CounterfactualModel, table: pd.DataFrame, question: Question) -> Question:
    """Returns the question with every other parent of the image as the model's SCM has it."""
    rows = ~np.isnan(question.asked)
    world = question.table.copy()
    for value in pd.unique(question.table[question.variable][rows]):
        same = rows & (question.table[question.variable] == value).to_numpy()
        answer = model.counterfactual(
            None, table[same], {question.variable: value}, seed=0, metadata_only=True
        )
        for name in model.graph.image_parents:
            world[name] = world[name].astype(object)
            world.loc[same, name] = answer.table[name].astype(object)
    label = f"{question.label}, descendants follow"
    return dataclasses.replace(question, label=label, table=world)


def forms(
    args: argparse.Namespace, report: Report, study: Study, readers: "Readers"
) -> list[dict[str, Any]]:
    """The forms of guidance at weights that were fixed beforehand, there and back."""
    guidances = {"none": Guidance("none")}
    for form in FORMS:
        guidances |= {f"{form} {w:g}": Guidance(form, intervened=w) for w in WEIGHTS}
    questions = []
    for question in study.questions:
        if question.label in ASKED_OF_FORMS:
            able = np.flatnonzero(~np.isnan(question.asked))
            able = able[spread(len(able), args.forms)]
            questions.append(question.of(np.isin(np.arange(len(question.asked)), able)))
    found = asked(args, study, readers, questions, guidances, args.forms)
    report.say("The forms of guidance:\n")
    show_effects(report, found)
    return found.to_dict(orient="records")


def samples(
    args: argparse.Namespace, report: Report, study: Study, data: "Data", readers: "Readers"
) -> dict[str, Any]:
    """Samples under the parents of half of the test patients: nearness to the other half's
    radiographs, beside that of the first half's own, and copies of training radiographs.
    """
    test = np.flatnonzero(data.part[study.rows] == "test")
    half = patient_folds(study.table["patient_id"].iloc[test], 2)
    first, second = test[half == 0], test[half == 1]
    rows = first[spread(len(first), args.samples)]
    parents = study.mechanism.encode(study.table.iloc[rows])[0]
    noise = study.mechanism.prior(label_words(pd.RangeIndex(len(rows))), seed=1)
    parts = zip(noise.split(BATCH), parents.split(BATCH), strict=True)
    drawn = block_mean(torch.cat([study.mechanism.predict(u, pa) for u, pa in parts]), data.size)
    numbers: dict[str, Any] = {"count": len(rows), "frechet": {}, "floor": {}, "copies": {}}
    for name, predictor in readers.predictors.items():
        real = predictor.embed(study.small[torch.from_numpy(second)])
        own = predictor.embed(study.small[torch.from_numpy(rows)])
        numbers["frechet"][name] = frechet_distance(predictor.embed(drawn), real)
        numbers["floor"][name] = frechet_distance(own, real)
    training = data.images(data.rows("train"))
    held_out = study.small[torch.from_numpy(second)]
    predictor = next(iter(readers.predictors.values()))
    for label, reader in (("pixels", None), ("features", predictor)):
        numbers["copies"][label] = memorisation(drawn, training, held_out, reader).summary()
    report.say(f"{len(rows)} samples; Fréchet distance to {len(second)} radiographs:\n")
    report.table(
        pd.DataFrame({k: numbers[k] for k in ("frechet", "floor")}).rename_axis("features")
    )
    report.table(pd.DataFrame(numbers["copies"]).T.rename_axis("distance"))
    shown = drawn[:64]
    image_grid(
        {f"{i * 8 + 1} to {i * 8 + len(part)}": part for i, part in enumerate(shown.split(8))},
        title="Samples under test radiographs' parents, unselected (synthetic)",
    ).savefig(study.folder / "samples.png", dpi=60 if args.quick else 110)
    return numbers


def figures(args: argparse.Namespace, study: Study) -> None:
    """Real test radiographs, their counterfactuals at the recommended guidance, differences."""
    rows = study.base[: 2 if args.quick else 6]
    factual = study.mechanism.encode(study.table)[0]
    names = [v.name for v in study.mechanism.attributes]
    worlds = {}
    for question in study.questions:
        mask = torch.zeros_like(factual, dtype=torch.bool)
        mask[:, names.index(question.variable)] = True
        parents = study.mechanism.encode(question.table)[0]
        worlds[question.label] = paint(
            study.mechanism, study.noise[rows], factual[rows], parents[rows], mask[rows],
            study.mechanism.guidance,
        )  # fmt: skip
    counterfactual_grid(
        study.images[rows],
        study.back[rows],
        worlds,
        rows=[describe(study.table.iloc[r]) for r in rows],
        title=f"Test radiographs, synthetic counterfactuals, {label_of(study.mechanism.guidance)}",
    ).savefig(study.folder / "counterfactuals.png", dpi=40 if args.quick else 110)


def weights_digest(mechanism: ImageFlow) -> str:
    """Returns a name for these weights, and for nothing else."""
    digest = hashlib.sha256()
    for tensor in mechanism.state_dict().values():
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def spread(available: int, wanted: int) -> np.ndarray:
    """Returns `wanted` of the rows (all, if there are fewer), picked at random once, in order."""
    order = np.random.default_rng(0).permutation(available)
    return np.sort(order[: min(wanted, available)])


def label_of(guidance: Guidance) -> str:
    """Returns how a guidance is called in the tables."""
    if guidance.form == "none":
        return "none"
    own = "".join(f", {name} {weight:g}" for name, weight in guidance.own.items())
    return f"{guidance.form} {guidance.intervened:g}{own}"


def describe(row: pd.Series) -> str:
    """Returns a radiograph's metadata in few words."""
    found = [name.replace("_", " ") for name in FINDINGS if row[name] == "positive"]
    return "\n".join([f"{row['sex']}, {row['age']:.0f}, {row['view']}", *found])
