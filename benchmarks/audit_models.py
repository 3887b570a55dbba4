"""Does an audit's answer depend on the model that paints? The same classifiers, several models.

    python benchmarks/audit_models.py --data FOLDER --model FOLDER [--model FOLDER] --output OUT
    python benchmarks/audit_models.py --phantom FLOW --output OUT

Two classifiers of pleural effusion that read 64 pixels are trained, `clean` on all training
patients, and `shortcut` on women with an effusion and men without one. With `--data`, as
`examples/fairness_audit.py` has it, each MODEL audits them on the same radiographs of test
patients: how far do models differ, beside the interval of one? What a finer model paints is
averaged to 64 pixels before it is read. With `--phantom` the radiographs are phantoms, of which
the exact counterfactuals are known, and FLOW is a RadiT trained on phantoms (the folder `flow` of
`phantom_counterfactuals.py`): its bias is what its audit says less what the exact one says.

OUT receives `report.md`, `report.json` and a page per model, and keeps the trained classifiers.
"""

import argparse
import dataclasses
import logging
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import expit
from torch import Tensor
from torch.nn import functional as F

import cxrcausal as cx
from cxrcausal.counterfactual import CounterfactualModel
from cxrcausal.data import phantom, read_image_lists, read_images, split_by_patient
from cxrcausal.data.phantom import PhantomMechanism, phantom_scm
from cxrcausal.evaluation import Predictor
from cxrcausal.evaluation.report import Report, interval_text
from cxrcausal.fairness import Classifier, audit
from cxrcausal.image import Guidance, load_image_mechanism

FINDING, SIZE = "pleural_effusion", 64
TRAIN, TEST = 41, 42
"""The seeds of the phantoms."""


@dataclasses.dataclass
class Asked:
    """One model's audit: of which radiographs, with which guidance.

    Arguments:
        model: The joint model.
        images: At its size.
        table: Their metadata.
        guidance: As `audit` takes it.
    """

    model: CounterfactualModel
    images: Tensor
    table: pd.DataFrame
    guidance: Guidance | str | None = "recommended"


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Trains, audits by every model, reports; returns the numbers."""
    args = parse(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    report = Report()
    report.say("# The same audit by several image models\n")
    images, table, asked = of_phantoms(args) if args.phantom else of_radiographs(args)
    classifiers, share = trained(args, images, table)
    report.say(
        f"Two classifiers of {FINDING} at {SIZE} pixels, trained on {len(table)} "
        f"{'phantoms' if args.phantom else 'radiographs'}; deciding above {share:.3f}. Intervals "
        f"are 95 %, by patient. torch {torch.__version__}, {torch.get_num_threads()} thread(s), "
        f"{platform.machine()}.\n"
    )
    lines = []
    for name, one in asked.items():
        start = time.process_time()
        answer = audit(
            classifiers, one.model, one.images, one.table, args.protected,
            thresholds=share, guidance=one.guidance, resamples=args.resamples,
        )  # fmt: skip
        answer.save(args.output / name.replace(" ", "-").replace(",", ""))
        used = time.process_time() - start
        report.say(
            f"`{name}`: {len(one.table)} radiographs of {answer.provenance['patients']} patients, "
            f"{answer.provenance['not_reconstructed']} of which did not come back; "
            f"{used / 60:.0f} CPU-minutes."
        )
        lines.append(answer.effects.assign(model=name))
    tables(report, pd.concat(lines, ignore_index=True), list(asked))
    report.save(args.output)
    return report.numbers


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Reads the command line; `--quick` sets the sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--data", type=Path, help="folder of the image lists")
    where.add_argument("--phantom", type=Path, help="a RadiT trained on phantoms")
    parser.add_argument("--model", action="append", default=[], help="a shipped model or a folder")
    parser.add_argument("--protected", nargs="+", default=["sex"])
    parser.add_argument("--output", type=Path, default=Path("runs/audit-models"))
    parser.add_argument("--radiographs", type=int, default=1000, help="of test patients")
    parser.add_argument("--train", type=int, default=6000, help="to train classifiers on, at most")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--quick", action="store_true", help="few of everything")
    args = parser.parse_args(argv)
    if args.quick:
        args.radiographs, args.train, args.epochs, args.resamples = 4, 60, 1, 50
    args.model = args.model or ["cxr19-tiny"]
    args.output.mkdir(parents=True, exist_ok=True)
    return args


def of_radiographs(
    args: argparse.Namespace,
) -> tuple[Tensor, pd.DataFrame, dict[str, Asked]]:
    """Returns training radiographs, and test radiographs at the size of every model."""
    lists = [args.data / name / "images.csv" for name in ("cxr-real-128", "cxr-real")]
    table = read_image_lists([path for path in lists if path.exists()], dataset="NIH")
    part = split_by_patient(table).to_numpy()
    train, test = (table[part == name].reset_index(drop=True) for name in ("train", "test"))
    spread = np.linspace(0, len(test) - 1, min(args.radiographs, len(test))).astype(int)
    train, test = train[: args.train], test.iloc[spread].reset_index(drop=True)
    asked = {}
    for name in args.model:
        model = cx.load_pretrained(name)
        images = read_images(test["image"], model.image.image_shape[-1])
        asked[Path(name).name] = Asked(model, images, test)
    return read_images(train["image"], SIZE), train, asked


def of_phantoms(args: argparse.Namespace) -> tuple[Tensor, pd.DataFrame, dict[str, Asked]]:
    """Returns training phantoms, and test phantoms for the exact mechanism and for the flow."""
    train = phantom.sample(args.train, seed=TRAIN, size=SIZE)
    test = phantom.sample(args.radiographs, seed=TEST, size=SIZE)
    images, scm = test.images.clamp(0, 1), phantom_scm()
    exact = CounterfactualModel(scm, PhantomMechanism(SIZE), name="phantom")
    flow = CounterfactualModel(scm, load_image_mechanism(args.phantom), name="flow")
    asked = {
        "exact": Asked(exact, images, test.table),
        "RadiT, no guidance": Asked(flow, images, test.table, None),
        "RadiT, nested 1.5": Asked(flow, images, test.table, Guidance("nested", 1.5)),
    }
    return train.images.clamp(0, 1), train.table, asked


def trained(
    args: argparse.Namespace, images: Tensor, table: pd.DataFrame
) -> tuple[dict[str, Classifier], float]:
    """Returns a clean classifier and one with a shortcut, and the finding's share to decide by."""
    sick, woman = (table[FINDING] == "positive").to_numpy(), (table["sex"] == "Female").to_numpy()
    rows = {"clean": np.ones(len(table), bool), "shortcut": sick == woman}
    found = {}
    for name, some in rows.items():
        folder = args.output / "classifiers" / name
        if folder.exists():
            predictor = Predictor.load(folder)
        else:
            predictor = Predictor("cxr19", [FINDING], size=SIZE, seed=0)
            predictor.fit(images[torch.from_numpy(some)], table[some], epochs=args.epochs)
            predictor.save(folder)
        found[name] = _reads_at_size(predictor)
    return found, float(sick.mean())


def _reads_at_size(predictor: Predictor) -> Classifier:
    """Returns probabilities of radiographs of any multiple of the predictor's size."""

    def score(images: Tensor) -> pd.DataFrame:
        factor = images.shape[-1] // SIZE
        return expit(predictor.score(F.avg_pool2d(images, factor) if factor > 1 else images))

    return score


def tables(report: Report, effects: pd.DataFrame, models: list[str]) -> None:
    """Reports the shift of every classifier and contrast by every model, and how far they differ.

    Of phantoms the first model is exact, and the others' differences from it are their bias.
    """
    effects = effects.assign(
        contrast=effects["attribute"] + ": " + effects["from"] + " → " + effects["to"]
    )
    lines = []
    for (classifier, contrast), part in effects.groupby(["classifier", "contrast"], sort=False):
        by_model = part.set_index("model")
        line: dict[str, Any] = {"classifier": classifier, "contrast": contrast}
        for name in models:
            at = by_model.loc[name]
            line[name] = interval_text(
                {"value": at["shift"], "low": at["shift_low"], "high": at["shift_high"]}, digits=3
            )
        if models[0] == "exact":
            for name in models[1:]:
                line[f"bias of {name}"] = by_model["shift"][name] - by_model["shift"]["exact"]
        else:
            line["models differ by"] = float(by_model["shift"].max() - by_model["shift"].min())
            line["width of an interval"] = float(
                (by_model["shift_high"] - by_model["shift_low"]).mean()
            )
        lines.append(line)
    report.head("Mean shift of the score")
    report.table(pd.DataFrame(lines), 3)
    shown = [
        "model",
        "classifier",
        "contrast",
        "there_and_back",
        "placebo",
        "flip_rate",
        "differs",
    ]
    report.head("Controls and decisions")
    report.table(effects[shown], 3)
    report.numbers["effects"] = effects.to_dict(orient="records")


if __name__ == "__main__":
    main()
