"""What the transport at the noise end gains on patients that nobody fitted anything to.

    python benchmarks/noise_transport.py --data FOLDER --model FOLDER [--save]

DATA holds `cxr-real-64/`, `cxr-real/` and `cxr-real-128/`, each an `images.csv` beside its images
(NIH's radiographs of those that are there are read); MODEL is what `save_image_mechanism` wrote,
or the name of a shipped model. The noise of training patients' radiographs is abducted by the flow
alone and kept in OUTPUT, a transport is fitted to it, and noise of test patients is read by linear
probes before and after: of pixels and of blocks' variances, which the transport fits, and of bands
of the whole image's cosine transform and of neighbours' products, which it does not. OUTPUT
receives `noise_transport.md` and `noise_transport.json`. `--save` writes the transport into the
model's folder, `--forms` compares blocks of other sides.

Probes are cross-validated among test patients, which is the stricter test, and fitted on training
patients' noise: there the transport left no difference of means that a probe of pixels could
learn.

Tried on `cxr19-tiny`, in nats per radiograph cross-validated by patient (3,076 to 3,716
radiographs): one layer of pixels 66, of blocks of 16, 8 and 4 pixels 77, 94 and 105; two layers,
the second moved by half a block, 138 (8) and 152 (4); four layers of cosines 151 (8) and 162 (4);
two of cosines in blocks of 4 and two of oriented waves in blocks of 8, the default, 174. On the
eight leading directions of what two layers leave, another mean and scale given the parents gain 5
nats of test patients, of which the parents bring 0.2; on 64 directions they lose 4.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import cxrcausal as cx
from cxrcausal.data import read_image_lists, read_images, split_by_patient
from cxrcausal.evaluation import noise_statistics, ridge_probe
from cxrcausal.evaluation.report import Report, interval_text, write_text
from cxrcausal.files import sha256_of
from cxrcausal.image import NoiseTransport, RectifiedFlow

LISTS = ("cxr-real-64", "cxr-real", "cxr-real-128")
PROBED = ("view", "sex", "age")
FEATURES = ("pixels", "blocks", "bands", "neighbours")
FORMS = {  # the waves of each layer, the side of its blocks, and where they start
    "pixels": [("cosine", 1, 0)],
    "blocks of 4": [("cosine", 4, 0)],
    "blocks of 8": [("cosine", 8, 0)],
    "blocks of 16": [("cosine", 16, 0)],
    "oriented, blocks of 8": [("oriented", 8, 0)],
    "blocks of 8, moved by 4": [("cosine", 8, 0), ("cosine", 8, 4)],
    "blocks of 4, moved by 2": [("cosine", 4, 0), ("cosine", 4, 2)],
}


def main(argv: list[str] | None = None) -> None:
    """Fits, measures, reports, and saves if asked to."""
    args = parse(argv)
    mechanism = mechanism_of(args.model)
    mechanism.transport = None
    table, fitted = read_rows(args)
    noise, parents = abducted(args, mechanism, table)
    patients = table["patient_id"].to_numpy(object)
    report = Report()
    report.say("# The transport at the noise end\n")
    report.say(
        f"Model `{Path(args.model).name}`; noise of {fitted.sum()} radiographs of "
        f"{len(set(patients[fitted]))} training patients, measured on {(~fitted).sum()} of "
        f"{len(set(patients[~fitted]))} test patients. Intervals are 95 %, by patient."
    )
    start = time.perf_counter()
    of = (mechanism.attributes, mechanism.image_shape)
    transport = NoiseTransport(*of).fit(noise[fitted], parents[fitted], patients[fitted])
    seconds = time.perf_counter() - start
    nobody = NoiseTransport((), mechanism.image_shape).fit(
        noise[fitted], parents[fitted][:, :0], patients[fitted]
    )
    gains(report, transport, nobody, noise[~fitted], parents[~fitted], patients[~fitted])
    report.say(f"Fitted in {seconds:.0f} s; {transport}.")
    if args.forms:
        forms(report, of, noise, parents, patients, fitted)
    z = transport.abduct(noise, parents)
    back = float((transport.predict(z, parents) - noise).abs().max())
    report.say(f"\nThere and back, the largest error of a pixel is {back:.1e}.")
    report.numbers["inverse"] = back
    statistics(report, {"as the flow leaves it": noise[~fitted], "transported": z[~fitted]})
    probes(args, report, mechanism, table, {"before": noise, "after": z}, fitted)
    report.save(args.output)
    for ending in ("md", "json"):
        (args.output / f"report.{ending}").replace(args.output / f"noise_transport.{ending}")
    if args.save:
        mechanism.transport = transport
        save(args, mechanism)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="holds the lists of images")
    parser.add_argument("--model", default="cxr19-tiny", help="a folder, or a shipped model")
    parser.add_argument("--output", type=Path, default=Path("runs/noise-transport"))
    parser.add_argument("--radiographs", type=int, default=3000, help="to fit the transport to")
    parser.add_argument("--tested", type=int, default=880, help="radiographs of test patients")
    parser.add_argument("--probe-radiographs", type=int, default=1500, help="that fit a probe")
    parser.add_argument("--permutations", type=int, default=100, help="that say what chance is")
    parser.add_argument("--forms", action="store_true", help="compare other blocks and layers")
    parser.add_argument("--save", action="store_true", help="write it into the model's folder")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    if args.save and not Path(args.model).is_dir():
        parser.error("--save writes into the model's folder; give --model that folder")
    return args


def mechanism_of(model: str) -> RectifiedFlow:
    """Returns the image mechanism of a folder, of which metadata may have none, or by its name."""
    if Path(model).is_dir():
        return cx.image.load_image_mechanism(model)
    return cx.load_pretrained(model).image


def read_rows(args: argparse.Namespace) -> tuple[pd.DataFrame, np.ndarray]:
    """Returns the radiographs, and which of them the transport is fitted to.

    The last list is the longest: of it, and of test patients, radiographs are taken at random.
    """
    lists = [path for name in LISTS if (path := args.data / name / "images.csv").exists()]
    table = read_image_lists(lists, dataset="NIH")
    part = split_by_patient(table).to_numpy()
    last = table["image"].astype(str).str.startswith(str(lists[-1].parent)).to_numpy()
    rng = np.random.default_rng(0)
    tested = rng.permutation(np.flatnonzero(part == "test"))[: args.tested]
    more = rng.permutation(np.flatnonzero((part == "train") & last))
    fitted = np.concatenate([np.flatnonzero((part == "train") & ~last), more])[: args.radiographs]
    rows = np.concatenate([fitted, tested])
    return table.iloc[rows].reset_index(drop=True), np.arange(len(rows)) < len(fitted)


def abducted(
    args: argparse.Namespace, mechanism: RectifiedFlow, table: pd.DataFrame
) -> tuple[Tensor, Tensor]:
    """Returns the noise by the flow alone, and the parents; noise known from before is read."""
    weights = float(sum(x.double().sum() for x in mechanism.state_dict().values()))
    file, index = args.output / "noise.safetensors", args.output / "noise.json"
    known: dict[str, int] = {}
    kept = torch.zeros(0, *mechanism.image_shape)
    if index.exists():
        record = json.loads(index.read_text(encoding="utf-8"))
        if (record["weights"], record["file"]) == (weights, sha256_of(file)):
            kept = load_file(file)["noise"].float()
            known = {name: row for row, name in enumerate(record["images"])}
    names = [Path(path).name for path in table["image"]]
    parents = mechanism.encode(table)[0]
    new = np.array([i for i, name in enumerate(names) if name not in known], int)
    if len(new):
        images = read_images(table["image"].iloc[new], size=mechanism.image_shape[-1])
        found = mechanism.abduct(images, parents[new], batch_size=32, progress=None)
        known |= {names[i]: len(kept) + n for n, i in enumerate(new)}
        kept = torch.cat([kept, found])
        save_file({"noise": kept}, file)
        write_text(
            index,
            json.dumps(
                {
                    "weights": weights,
                    "file": sha256_of(file),
                    "images": sorted(known, key=known.__getitem__),
                }
            ),
        )
    return kept[[known[name] for name in names]], parents


def gains(
    report: Report,
    transport: NoiseTransport,
    nobody: NoiseTransport,
    noise: Tensor,
    parents: Tensor,
    patients: np.ndarray,
) -> None:
    """Nats per radiograph of patients left out and of test patients, and the parents' part."""
    report.head("Nats per radiograph over N(0, I)")
    all_of_it, without = transport.nats(noise, parents), nobody.nats(noise, parents[:, :0])
    bootstrap = cx.evaluation.PatientBootstrap(patients)
    rows = {}
    for label, value in (
        ("transport", all_of_it),
        ("the same without parents", without),
        ("what the parents bring", all_of_it - without),
    ):
        found = bootstrap.interval(cx.evaluation.weighted_mean(value.double().numpy()))
        rows[label] = {"value": found.value, "low": found.low, "high": found.high}
    left_out = [transport.record, nobody.record]
    shown = [f"{r.nats:.1f} [{r.low:.1f}, {r.high:.1f}]" for r in left_out]
    shown.append(f"{left_out[0].nats - left_out[1].nats:.1f}")
    report.table(
        pd.DataFrame(
            {
                "what": label,
                "cross-validated": cross,
                "test patients": interval_text(row, digits=1),
            }
            for (label, row), cross in zip(rows.items(), shown, strict=True)
        )
    )
    report.numbers["nats"] = rows
    report.numbers["fit"] = transport.to_dict()["fit"]
    report.numbers["fit_without_parents"] = nobody.to_dict()["fit"]


def forms(
    report: Report,
    of: tuple,
    noise: Tensor,
    parents: Tensor,
    patients: np.ndarray,
    fitted: np.ndarray,
) -> None:
    """Other blocks and layers, chosen among by cross-validation alone."""
    report.head("Other forms")
    rows = []
    for label, layers in FORMS.items():
        other = NoiseTransport(*of).fit(
            noise[fitted], parents[fitted], patients[fitted], layers=layers
        )
        gain = other.gain(noise[~fitted], parents[~fitted], patients[~fitted])
        rows.append(
            {
                "form": label,
                "nats of each layer, cross-validated": ", ".join(
                    f"{x:.1f}" for x in other.record.layers
                ),
                "in all": other.record.nats,
                "test patients": f"{gain:.1f}",
            }
        )
    report.table(pd.DataFrame(rows), digits=1)
    report.numbers["forms"] = rows


def statistics(report: Report, noises: dict[str, Tensor]) -> None:
    """Whether the noise is standard normal and white."""
    report.head("The distribution of test patients' noise")
    rows = {}
    for label, noise in noises.items():
        found = noise_statistics(noise)
        rows[label] = {
            "mean": found.mean,
            "std": found.std,
            "KS statistic": found.ks,
            "std of pixels (5, 50, 95 %)": ", ".join(f"{v:.2f}" for v in found.pixel_std),
            "power by ring": ", ".join(f"{v:.2f}" for v in found.spectrum[::3]),
            "neighbours' correlation": found.neighbour_correlation,
        }
    report.table(pd.DataFrame.from_dict(rows, orient="index").rename_axis("noise"))
    report.numbers["statistics"] = rows


def probes(
    args: argparse.Namespace,
    report: Report,
    mechanism: RectifiedFlow,
    table: pd.DataFrame,
    noises: dict[str, Tensor],
    fitted: np.ndarray,
) -> None:
    """What linear probes read of test patients' noise, before and after, and what chance reads."""
    some = np.flatnonzero(fitted)
    some = np.random.default_rng(1).permutation(some)[: args.probe_radiographs]
    for title, rows in (
        ("cross-validated among test patients", ~fitted),
        ("fitted on training patients' noise", ~fitted | np.isin(np.arange(len(fitted)), some)),
    ):
        report.head(f"Probes {title}: AUC of view and sex, correlation with age")
        found = {}
        for when, noise in noises.items():
            for features in FEATURES:
                found[when, features] = ridge_probe(
                    noise[rows],
                    table[rows].reset_index(drop=True),
                    mechanism.graph,
                    PROBED,
                    features=features,
                    training=fitted[rows] if fitted[rows].any() else None,
                    permutations=args.permutations,
                )
        lines = []
        for features in FEATURES:
            row = {"probe of": features}
            for name in PROBED:
                for when in noises:
                    row[f"{name} {when}"] = interval_text(found[when, features].loc[name])
                chance = found["after", features].loc[name, "chance_high"]
                row[f"{name} by chance"] = f"< {chance:.2f}"
            lines.append(row)
        report.table(pd.DataFrame(lines))
        report.numbers[f"probes {title}"] = {
            f"{when}, {features}": frame.to_dict(orient="index")
            for (when, features), frame in found.items()
        }


def save(args: argparse.Namespace, mechanism: RectifiedFlow) -> None:
    """Writes weights and transport into the model's folder, in the type that they were kept in."""
    folder = Path(args.model)
    dtype = load_file(folder / "image.safetensors")["network.out.weight"].dtype
    record = json.loads((folder / "image.json").read_text(encoding="utf-8"))
    mechanism.save(folder, training=record.get("training", {}), dtype=dtype)
    print(f"saved into {folder}")


if __name__ == "__main__":
    main()
