"""How sound are image mechanisms' counterfactuals? Several models, one table, figures included.

    python benchmarks/image_soundness.py --data FOLDER --model FOLDER [--model FOLDER] --output OUT

DATA holds `cxr-real-128/`, `cxr-real/` and `cxr-real-64/`, each an `images.csv` beside its images;
a MODEL is what `save_image_mechanism` wrote, at any resolution. Two predictors of different
architecture and an embedding of identity are trained on training radiographs at 64×64 (those in
`readers/` beside this script are taken where they are of the same radiographs), and larger images
are averaged to 64×64 before they are read. Then everything is measured on test patients (findings
on validation patients too, who are few): round trip, distribution and independence of the abducted
noise, held-out loss, counterfactuals beside the null intervention and real radiographs, identity,
samples and copies. OUT receives `report.md`, `report.json`, `table.md` (all models side by side),
and per model `effects.csv` and figures; it keeps what was abducted, so that a larger run goes on
where a smaller one ended.

`--radiographs` says how many each question is asked of, `--forms` how many of the forms of
guidance at several weights, `--joint` adds interventions whose descendants follow, `--gold` names
Google's re-readings of NIH radiographs; `--quick` shows that all of it runs.
"""

import argparse
import hashlib
import json
import logging
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import cxrcausal as cx
from cxrcausal.data import read_image_lists, read_images, split_by_patient
from cxrcausal.evaluation import (
    IdentityEmbedding,
    PatientBootstrap,
    Predictor,
    predictor_quality,
    weighted_auc,
)
from cxrcausal.evaluation.report import Report, write_text
from cxrcausal.graph import load_graph
from cxrcausal.image import load_image_mechanism
from cxrcausal.scm.table import check_table

from soundness_model import measure_model  # isort: skip  (the modules beside this one)
from soundness_tables import comparison  # isort: skip

LISTS = ("cxr-real-128", "cxr-real", "cxr-real-64")  # the last is there at 64 pixels alone
FINDINGS = ("pleural_effusion", "cardiomegaly")
TARGETS = ("sex", "view", "age", *FINDINGS)
SIZE = 64
PREDICTORS = {
    "residual": {"width": 16, "epochs": 24, "learning_rate": 2e-3},
    "transformer": {"width": 16, "epochs": 20, "learning_rate": 1e-3},
}
READERS = Path(__file__).parent / "readers"
"""What was trained on the shared radiographs, kept so that later runs read by the same eyes."""
GOLD = {
    "Pneumothorax": "pneumothorax",
    "Airspace opacity": "lung_opacity",
    "Nodule or mass": "lung_lesion",
}
"""Google's re-read findings that the graph has too."""


@dataclass
class Data:
    """All radiographs' metadata; images are read when they are asked for, once per resolution."""

    table: pd.DataFrame
    part: np.ndarray
    fine: np.ndarray
    size: int
    _small: Tensor | None = field(default=None, repr=False)

    def rows(self, *parts: str, fine: bool = False) -> np.ndarray:
        """Returns the radiographs of these parts, of those read at any resolution if `fine`."""
        return np.flatnonzero(np.isin(self.part, parts) & (self.fine | (not fine)))

    def images(self, rows: np.ndarray, size: int | None = None) -> Tensor:
        """Returns the images of some rows, at the resolution of the predictors if left out."""
        if size is not None and size != self.size:
            return read_images(self.table["image"].iloc[rows], size=size)
        if self._small is None:
            self._small = read_images(self.table["image"], size=self.size)
        return self._small[torch.from_numpy(rows)]

    def of(self, rows: np.ndarray) -> pd.DataFrame:
        """Returns the metadata of some rows."""
        return self.table.iloc[rows].reset_index(drop=True)


@dataclass
class Readers:
    """What reads counterfactuals: predictors, by the name of their architecture, and identity."""

    predictors: dict[str, Predictor]
    identity: IdentityEmbedding


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Runs every part for every model; returns the numbers."""
    args = parse(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    report = Report()
    mechanisms = {path.name: load_image_mechanism(path) for path in args.model}
    data = read_data(args, min(SIZE, *(m.image_shape[-1] for m in mechanisms.values())))
    test = data.of(data.rows("test", fine=True))
    report.say("# Soundness of image mechanisms\n")
    report.say(
        f"{len(test)} radiographs of {test['patient_id'].nunique()} test patients, read at "
        f"{data.size} pixels; intervals are 95 %, by patient. torch {torch.__version__}, "
        f"{torch.get_num_threads()} thread(s), {platform.machine()}."
    )
    readers = fitted_readers(args, report, data)
    report.numbers["models"] = {}
    for path, (name, mechanism) in zip(args.model, mechanisms.items(), strict=True):
        report.head(f"Model `{name}`")
        found = measure_model(args, report, data, readers, mechanism, path)
        report.numbers["models"][name] = found
        report.save(args.output)  # a long run leaves what it has
    report.head("All models")
    table = comparison(report.numbers)
    report.table(table)
    write_text(args.output / "table.md", report.lines[-1].rstrip("\n"))
    seconds = time.perf_counter() - report.started
    report.numbers["seconds"] = seconds
    report.say(f"\n{seconds:.0f} s in all.")
    report.save(args.output)
    return report.numbers


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Reads the command line; `--quick` sets the sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help=f"holds {', '.join(LISTS)}")
    parser.add_argument("--model", type=Path, action="append", required=True)
    parser.add_argument("--output", type=Path, default=Path("runs/image-soundness"))
    parser.add_argument("--radiographs", type=int, default=200, help="of each question")
    parser.add_argument(
        "--reversed-radiographs",
        type=int,
        default=32,
        help="there and back, and null interventions in a row",
    )
    parser.add_argument("--scored", type=int, default=400, help="test radiographs abducted")
    parser.add_argument("--probed", type=int, default=600, help="training radiographs abducted")
    parser.add_argument(
        "--forms", type=int, default=0, help="radiographs of each form's questions"
    )
    parser.add_argument("--samples", type=int, default=200, help="drawn, and searched for copies")
    parser.add_argument("--rounds", type=int, default=10, help="null interventions in a row")
    parser.add_argument("--conv-epochs", type=int, default=12, help="0 leaves out that probe")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--joint", action="store_true", help="descendants follow, by the SCM")
    parser.add_argument("--gold", type=Path, help="google2019_nih-chest-xray-labels.csv.gz")
    parser.add_argument("--quick", action="store_true", help="few radiographs, few of everything")
    args = parser.parse_args(argv)
    if len({path.name for path in args.model}) < len(args.model):
        parser.error("models are called by their folders' names, which must differ")
    args.permutations, args.identity_epochs = 200, 16
    if args.quick:
        args.radiographs, args.reversed_radiographs, args.forms = 8, 3, 4
        args.scored, args.probed = 12, 40
        args.samples, args.rounds, args.conv_epochs, args.resamples = 8, 2, 1, 60
        args.permutations, args.identity_epochs = 10, 1
    args.output.mkdir(parents=True, exist_ok=True)
    return args


def read_data(args: argparse.Namespace, size: int) -> Data:
    """Returns NIH's radiographs, each once; those of the last list are small ones alone."""
    paths = [args.data / name / "images.csv" for name in LISTS]
    table = read_image_lists(paths, dataset="NIH")
    fine = np.arange(len(table)) < len(read_image_lists(paths[:-1], dataset="NIH"))
    part = split_by_patient(table).to_numpy()
    if args.quick:  # as many with a finding that is asked about as without, in every part
        found = (table[list(FINDINGS)] == "positive").any(axis=1).to_numpy()
        kept = pd.Series(np.where(fine, 0, np.nan)).groupby([part, found]).cumcount() < 40
        rows = np.flatnonzero(kept & fine)
        table, fine, part = table.iloc[rows].reset_index(drop=True), fine[rows], part[rows]
    return Data(table, part, fine, size)


def fitted_readers(args: argparse.Namespace, report: Report, data: Data) -> Readers:
    """Returns predictors and identity, trained now or loaded from OUT, and how well they read."""
    report.head("What reads the images, trained on training radiographs")
    rows, test = data.rows("train", "validation"), data.rows("test", fine=True)
    images, table = data.images(rows), data.of(rows)
    validation = data.part[rows] == "validation"
    key = reader_key(images, table)
    predictors: dict[str, Predictor] = {}
    frames = []
    for name, how in PREDICTORS.items():
        how = {**how, "width": 8, "epochs": 1} if args.quick else how
        folder = args.output / "readers" / name
        if trained := cached(name, folder, {**key, **how}):
            predictors[name] = Predictor.load(trained)
        else:
            predictor = Predictor(
                "cxr19", TARGETS, size=data.size, width=how["width"], architecture=name, seed=0
            )
            predictors[name] = predictor.fit(
                images,
                table,
                validation=validation,
                epochs=how["epochs"],
                learning_rate=how["learning_rate"],
            )
            predictor.save(folder)
            write_text(folder / "key.json", json.dumps({**key, **how}))
        quality = predictor_quality(
            predictors[name], data.images(test), data.of(test), resamples=args.resamples
        )
        frames.append(quality.reset_index().assign(predictor=name))
    quality = pd.concat(frames, ignore_index=True)
    report.table(quality[["predictor", *quality.columns[:-1]]].astype({"positives": "Int64"}))
    report.numbers["predictors"] = quality.to_dict(orient="records")
    if args.gold is not None:
        gold_standard(args, report, data, images, table, validation)
    folder, how = args.output / "readers" / "identity", {"epochs": args.identity_epochs}
    if trained := cached("identity", folder, {**key, **how}):
        identity = IdentityEmbedding.load(trained)
    else:
        identity = IdentityEmbedding(size=data.size, width=8 if args.quick else 16)
        identity.fit(images, table, validation=validation, epochs=args.identity_epochs)
        identity.save(folder)
        write_text(folder / "key.json", json.dumps({**key, **how}))
    return Readers(predictors, identity)


def reader_key(images: Tensor, table: pd.DataFrame) -> dict[str, Any]:
    """Returns what a trained reader depends on: images and labels, as they are encoded."""
    encoded = check_table(table, load_graph("cxr19"), TARGETS)[[*TARGETS]].apply(
        lambda column: column.cat.codes if column.dtype == "category" else column
    )
    return {
        "radiographs": hashlib.sha256(images.numpy().tobytes()).hexdigest()[:16],
        "labels": hashlib.sha256(encoded.to_numpy(np.float64).tobytes()).hexdigest()[:16],
        "targets": list(TARGETS),
        "version": cx.__version__,
    }


def cached(name: str, folder: Path, key: dict[str, Any]) -> Path | None:
    """Returns where a reader trained on the same stands: in OUT, or beside this script."""
    for place in (folder, READERS / name):
        file = place / "key.json"
        if file.exists() and json.loads(file.read_text(encoding="utf-8")) == key:
            return place
    return None


def gold_standard(
    args: argparse.Namespace,
    report: Report,
    data: Data,
    images: Tensor,
    table: pd.DataFrame,
    validation: np.ndarray,
) -> None:
    """How well a residual predictor of the re-read findings agrees with NIH's labels and Google's.

    Google's readers labelled other findings than those that are asked about, so a predictor of
    theirs is trained on NIH's mined labels and scored on both, on radiographs of test and
    validation patients that were read again.
    """
    targets = tuple(GOLD.values())
    folder = args.output / "readers" / "gold"
    how = {**PREDICTORS["residual"], **({"width": 8, "epochs": 1} if args.quick else {})}
    key = {**reader_key(images, table), **how, "targets": list(targets)}
    if trained := cached("gold", folder, key):
        predictor = Predictor.load(trained)
    else:
        predictor = Predictor("cxr19", targets, size=data.size, width=how["width"])
        predictor.fit(images, table, validation=validation, epochs=how["epochs"])
        predictor.save(folder)
        write_text(folder / "key.json", json.dumps(key))
    read = pd.read_csv(args.gold).set_index("Image Index")
    rows = data.rows("test", "validation")
    name = data.table["image"].iloc[rows].map(lambda p: Path(p).name.removeprefix("nih-"))
    rows = rows[name.isin(read.index).to_numpy()]
    read = read.loc[name[name.isin(read.index)]]
    score, mined = predictor.score(data.images(rows)), predictor.truth(data.of(rows))
    bootstrap = PatientBootstrap(data.of(rows)["patient_id"], resamples=args.resamples)
    lines = []
    for column, target in GOLD.items():
        by_readers = read[column].map({"YES": 1.0, "NO": 0.0}).to_numpy()
        for label, truth in (("Google's readers", by_readers), ("NIH's mining", mined[target])):
            auc = bootstrap.interval(weighted_auc(score[target].to_numpy(), np.asarray(truth)))
            positives = int(np.nansum(truth))
            lines.append({"finding": target, "labels": label, "AUC": f"{auc:.2f}",
                          "radiographs": len(rows), "positives": positives})  # fmt: skip
    report.say("Radiographs that Google's radiologists read again, test and validation patients:")
    report.table(pd.DataFrame(lines))
    report.numbers["gold"] = lines


if __name__ == "__main__":
    main()
