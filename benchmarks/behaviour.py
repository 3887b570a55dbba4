"""What the library answers, kept, so that a change of its inside can be compared cell by cell.

    python benchmarks/behaviour.py record --data FOLDER --output FILE.safetensors
    python benchmarks/behaviour.py compare BEFORE.safetensors AFTER.safetensors

`record` asks the shipped models, by public names alone, and a fit that is made anew: 10,000
counterfactual rows of complete NIH patients (four questions, composition checked with every
shortcut off) and 1,000 of CheXpert patients with unknown cells, 200 counterfactual probabilities
of each, 22 effects, the nats and p-values of `falsify`, and one radiograph there and back.
`compare` asks for equal discrete cells, 1e-10 in probabilities, effects, fits and tests, 1e-5 in
pixels (1e-4 in the noise), and exits with 1 where they differ. FOLDER holds
`metadata/nih_train.csv.gz` and `metadata/chexpert_metadata.csv.gz`.
"""

import argparse
import hashlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

import cxrcausal as cx
from cxrcausal.data import split_by_patient
from cxrcausal.effect import (
    ate,
    cate,
    causation,
    ctf_effects,
    ett,
    natural_effects,
    path_specific_effect,
)

QUESTIONS = (
    {"sex": "Male"},
    {"age": cx.shift(+10)},
    {"pneumonia": "positive"},
    {"view": "AP", "cardiomegaly": "negative"},
)
PAIRS = (
    ("sex", "pleural_effusion"),
    ("cardiomegaly", "atelectasis"),
    ("pneumothorax", "lung_opacity"),
)
# Noise is wider than an image and lies at the far end of the integral: another processor alone
# moves it by 2e-5 and the image by 1e-6.
TOLERANCE = {"cells": 0.0, "numbers": 1e-10, "pixels": 1e-5, "pixels/noise": 1e-4}


def complete_rows(table, scm, rows):
    """Returns `rows` test rows on which the fit's variables are all known."""
    names = list(scm.mechanisms)
    complete = table[table[names].notna().all(axis=1)]
    return complete[split_by_patient(complete) == "test"].head(rows)


def codes(table, graph):
    """Returns the cells of a table (rows, variables) as small numbers: level, whole number, or
    -1.
    """
    columns = []
    for name, variable in graph.variables.items():
        column = table[name]
        numbers = column.cat.codes if variable.is_discrete else column.fillna(-1).round()
        columns.append(np.asarray(numbers, np.int16))
    return torch.from_numpy(np.stack(columns, 1))


def metadata(scm, rows, name, seed=0):
    """Returns counterfactual cells, and the probabilities of a finding in the first 50 rows of
    each question.
    """
    part = -(-len(rows) // len(QUESTIONS))
    found = {}
    for i, do in enumerate(QUESTIONS):
        some = rows.iloc[i * part : (i + 1) * part]
        answer = scm.counterfactual(some, do, seed=seed, clip=True)
        found[f"cells/{name} {i}"] = codes(answer, scm.graph)
        p = scm.counterfactual_probability(some.head(50), do, "pleural_effusion", clip=True)
        found[f"numbers/{name} probability {i}"] = torch.from_numpy(p.to_numpy(np.float64).copy())
    found[f"numbers/{name} log_prob"] = torch.from_numpy(scm.log_prob(rows).to_numpy().copy())
    return found


def composition(scm, rows):
    """Returns the share of cells that abduction and prediction give back, shortcuts off."""
    same = scm.predict(scm.abduct(rows, seed=0), keep=False)
    names = list(scm.mechanisms)
    return float(np.mean([(same[n].astype(str) == rows[n].astype(str)).mean() for n in names]))


def effects(scm, rows):
    """Returns 22 effects of three causes on three outcomes, without intervals."""
    found = {}
    for cause, outcome in PAIRS:
        ask = {"resamples": 2, "seed": 0}
        of = f"{cause} on {outcome}"
        found[f"{of}: ate"] = ate(scm, rows, cause, outcome, **ask)
        found[f"{of}: ratio"] = ate(scm, rows, cause, outcome, scale="ratio", **ask)
        found[f"{of}: ett"] = ett(scm, rows, cause, outcome, **ask)
        chances = causation(scm, rows, cause, outcome, **ask)
        found |= {f"{of}: {part}": getattr(chances, part) for part in ("necessity", "both")}
    cause, outcome = "age", "pleural_effusion"
    ask = {"resamples": 2, "seed": 0, "levels": (40, 70)}
    found["age: ate"] = ate(scm, rows, cause, outcome, **ask)
    found["age: cate"] = cate(scm, rows, cause, outcome, {"sex": "Male"}, **ask)
    found["age: through"] = path_specific_effect(
        scm, rows, cause, outcome, through="cardiomegaly", **ask
    )
    for name, parts in (
        ("natural", natural_effects(scm, rows, cause, outcome, **ask)),
        ("group", ctf_effects(scm, rows, cause, outcome, **ask)),
    ):
        found |= {f"age: {name} {part}": getattr(parts, part) for part in ("direct", "indirect")}
    return {name: effect.estimate for name, effect in found.items()}


def record(data, rows):
    """Returns everything by name, as tensors."""
    graph = cx.load_graph("cxr19")
    nih = cx.read_table(data / "metadata" / "nih_train.csv.gz", source="nih", graph=graph)
    stanford = cx.read_table(
        data / "metadata" / "chexpert_metadata.csv.gz", source="chexpert", graph=graph
    )
    model = cx.load_pretrained("cxr19-tiny")
    test = complete_rows(nih, model.scm, rows)
    found = metadata(model.scm, test, "nih")
    found["numbers/composition"] = torch.tensor([composition(model.scm, test)])
    public = cx.load_pretrained("cxr19-public").scm
    unknown = stanford[split_by_patient(stanford) == "test"].head(rows // 10)
    found |= metadata(public, unknown, "chexpert")
    found["numbers/effects"] = torch.tensor(list(effects(model.scm, test.head(2000)).values()))
    report = graph.falsify(stanford.head(2 * rows), "patient_id").table
    numbers = report[["nats", "p"]].astype(float).fillna(-1.0).to_numpy()
    found["numbers/falsify"] = torch.from_numpy(numbers.copy())
    train = nih[split_by_patient(nih) == "train"].head(rows)
    fitted = cx.FlowSCM(graph).fit(train, groups="patient_id", seed=0, progress=False)
    found["numbers/fitted score"] = torch.from_numpy(
        fitted.score(test.head(200)).fillna(0.0).to_numpy(np.float64).copy()
    )
    images, patient = model.sample(1, seed=3, num_steps=4)
    guidance = cx.Guidance("nested", intervened=1.5)
    answer = model.counterfactual(
        images, patient, {"sex": "Male"}, guidance=guidance, num_steps=4, seed=0
    )
    found["pixels/counterfactual"], found["pixels/noise"] = answer.images, answer.noise
    return {name: tensor.contiguous() for name, tensor in found.items()}


def digest(tensors):
    """Returns a SHA-256 of the discrete cells, by question."""
    return {
        name: hashlib.sha256(x.numpy().tobytes()).hexdigest()[:16]
        for name, x in tensors.items()
        if name.startswith("cells/")
    }


def compare(before, after):
    """Returns one line per record: its size, the largest difference, and whether it is allowed."""
    lines = []
    for name in sorted({*before, *after}):
        kind = name.split("/")[0]
        if name not in before or name not in after or before[name].shape != after[name].shape:
            lines.append((name, "absent, or of another shape", False))
            continue
        a, b = before[name].double(), after[name].double()
        gap = float((a - b).abs().max()) if a.numel() else 0.0
        share = f", {int((a != b).sum())} of {a.numel()} differ" if kind == "cells" else ""
        lines.append((name, f"{gap:.3g}{share}", gap <= TOLERANCE.get(name, TOLERANCE[kind])))
    return pd.DataFrame(lines, columns=["what", "largest difference", "as before"])


def main():
    """Records, or compares two records."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("record")
    one.add_argument("--data", type=Path, required=True)
    one.add_argument("--output", type=Path, required=True)
    one.add_argument("--rows", type=int, default=10_000)
    two = commands.add_parser("compare")
    two.add_argument("before", type=Path)
    two.add_argument("after", type=Path)
    args = parser.parse_args()
    if args.command == "record":
        torch.set_num_threads(1)
        tensors = record(args.data, args.rows)
        args.output.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, args.output)
        for name, word in digest(tensors).items():
            print(name, word)
        print("composition", float(tensors["numbers/composition"]))
        return
    found = compare(load_file(args.before), load_file(args.after))
    print(found.to_string(index=False))
    if not found["as before"].all():
        sys.exit(1)


if __name__ == "__main__":
    main()
