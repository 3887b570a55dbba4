"""What malformed input gets: an answer or a typed error, never a foreign traceback or a hang.

    python benchmarks/fuzz.py [--cases 500] [--seed 0] [--output FOLDER]

Graph files, recipes, tables, arguments of `do`, saved models and radiographs are damaged by a
seed: tokens exchanged for absurd ones, lines dropped, repeated and moved, bits flipped, files cut,
code smuggled into YAML and pickles. Each is read the way a user would. What happened is one of

- accepted: the damage did no harm, or made another valid input;
- refused: a `CxrCausalError`, whose words are not empty;
- foreign: any other exception, which is a defect, and so is
- slow: more than ten seconds, or
- code: a file that only smuggled code could have made.

Writes `report.md` and `report.json`, with the first input behind each defect.
Exits with 1 if there is a defect.
"""

import argparse
import io
import logging
import os
import pickle
import random
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import FrameType

import numpy as np
import pandas as pd
import torch
from PIL import Image

import cxrcausal as cx
from cxrcausal.data import read_image, read_table
from cxrcausal.errors import CxrCausalError
from cxrcausal.evaluation.report import Report
from cxrcausal.graph import CausalGraph
from cxrcausal.image import load_recipe
from cxrcausal.shipped import shipped_folder

SECONDS = 10
ABSURD = (
    "", "~", "null", "true", "[]", "{}", "-1", "0", "1e400", ".nan", "-.inf", "0x1F", "1_000",
    "2001-01-01", "'", '"', "[[[[", "{a: {a: {a: ", "&a [*a]", "<<: *b", "!!python/tuple [1]",
    "9" * 400, "é́‮", "\x00", "\t", "age", "image", "Male", "positive", "../../etc/passwd",
)  # fmt: skip


class TooSlow(Exception):
    """More than `SECONDS`."""


@dataclass
class Outcomes:
    """What happened to the cases of one target.

    Arguments:
        counts: By outcome.
        defects: The last line of each foreign traceback with the place it came from, counted.
        inputs: The first input behind each, as text.
    """

    counts: Counter[str] = field(default_factory=Counter)
    defects: Counter[str] = field(default_factory=Counter)
    inputs: dict[str, str] = field(default_factory=dict)


Case = tuple[str, Callable[[], object]]
"""What is tried, in words, and the call."""


def damaged_text(text: str, draw: random.Random) -> str:
    """Returns a text with one to three accidents."""
    for _ in range(draw.randint(1, 3)):
        lines = text.splitlines()
        at = draw.randrange(max(len(lines), 1))
        kind = draw.choice(("token", "token", "token", "drop", "repeat", "move", "cut", "indent"))
        if kind == "token" and lines:
            words = lines[at].replace(",", " , ").replace(":", " : ").split(" ")
            words[draw.randrange(len(words))] = draw.choice(ABSURD)
            lines[at] = " ".join(words)
        elif kind == "drop" and lines:
            del lines[at]
        elif kind == "repeat" and lines:
            lines.insert(draw.randrange(len(lines)), lines[at])
        elif kind == "move" and lines:
            lines.insert(draw.randrange(len(lines)), lines.pop(at))
        elif kind == "indent" and lines:
            lines[at] = draw.choice(("  ", "\t", " ")) + lines[at]
        text = "\n".join(lines) + "\n"
        if kind == "cut":
            text = text[: draw.randrange(len(text) + 1)]
    return text


def damaged_bytes(content: bytes, draw: random.Random) -> bytes:
    """Returns bytes with one accident: cut, flipped, overwritten, repeated, or of another kind."""
    kind = draw.choice(("cut", "flip", "flip", "overwrite", "repeat", "empty", "text"))
    at = draw.randrange(max(1, min(len(content), draw.choice((64, 4096, len(content) or 1)))))
    if kind == "cut":
        return content[:at]
    if kind == "flip":
        changed = bytearray(content)
        for _ in range(draw.choice((1, 8, 64))):
            place = draw.randrange(at, min(len(content), at + 256)) if at < len(content) else 0
            changed[place] ^= 1 << draw.randrange(8)
        return bytes(changed)
    if kind == "overwrite":
        return content[:at] + draw.randbytes(32) + content[at + 32 :]
    if kind == "repeat":
        return content[:at] + content
    return b"" if kind == "empty" else b"%PDF-1.7 not what its name says"


def graphs(draw: random.Random, work: Path, code: Path) -> Iterator[Case]:
    """Graph files, and the questions that a valid one must answer."""
    texts = [path.read_text() for path in sorted(shipped_folder("graphs").glob("*.yaml"))]
    smuggled = f"!!python/object/apply:os.system ['touch {code}']"
    while True:
        text = damaged_text(draw.choice(texts), draw)
        if draw.random() < 0.05:
            text = text.replace("binary", smuggled, 1)

        def ask(text: str = text) -> None:
            graph = CausalGraph.from_yaml(text)
            if CausalGraph.from_yaml(graph.to_yaml()) != graph:
                raise AssertionError("written and read again, it is another graph")
            for name in graph.variables:
                graph.markov_blanket(name)
                graph.do(name)

        yield text, ask


def recipes(draw: random.Random, work: Path, code: Path) -> Iterator[Case]:
    """Recipes of image models."""
    texts = [path.read_text() for path in sorted(shipped_folder("generative").glob("*.yaml"))]
    path = work / "recipe.yaml"
    while True:
        text = damaged_text(draw.choice(texts), draw)

        def read(text: str = text) -> None:
            path.write_text(text)
            load_recipe(path)

        yield text, read


def tables(draw: random.Random, work: Path, code: Path) -> Iterator[Case]:
    """CSV files of two layouts, read and asked a counterfactual."""
    scm = cx.load_pretrained("cxr19-public").scm
    own = scm.sample(12, seed=0).to_csv(index=False)
    nih = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,"
        "View Position\n"
        "00000001_000.png,Cardiomegaly|Effusion,0,1,58,M,PA\n"
        "00000002_000.png,No Finding,1,2,058Y,F,AP\n"
    )
    path = work / "table.csv"
    while True:
        source, text = draw.choice((("graph", own), ("nih", nih)))
        text = damaged_text(text, draw)

        def ask(text: str = text, source: str = source) -> None:
            path.write_text(text, encoding="utf-8")
            rows = read_table(path, source=source)
            scm.counterfactual(rows, {"sex": "Male"}, seed=0)

        yield f"{source}: {text}", ask


def interventions(draw: random.Random, work: Path, code: Path) -> Iterator[Case]:
    """Arguments of `do`: names, values, and kinds of values that make no sense."""
    scm = cx.load_pretrained("cxr19-public").scm
    rows = scm.sample(4, seed=0)
    names = [*scm.graph.variables, "image", "", "efusion", 3, None, ("sex",), float("nan")]
    values: list[object] = [
        None, "", "Male", "female", "positive", True, 0, 1, 7, -3, 1e308, float("nan"),
        float("inf"), 10**400, 3 + 4j, b"Male", [], [1, 2], ["Male"] * 4, np.zeros((4, 2)),
        np.array("Male"), np.array([np.nan] * 4), pd.Series(["Male"] * 4), pd.NaT,
        pd.Series(["Male"] * 4, index=list("abcd")), torch.tensor(1.0), torch.zeros(4), {"a": 1},
        lambda row: row, lambda row: None, lambda: 1, object(), type, cx.shift(3),
        cx.scale(2), cx.shift(1e308), pd.Timestamp("2020"), range(4), {"Male"}, Fraction(1, 3),
    ]  # fmt: skip
    while True:
        do: object = {draw.choice(names): draw.choice(values) for _ in range(draw.randint(1, 3))}
        if draw.random() < 0.1:
            do = draw.choice((None, [], "sex=Male", 3, {("a", "b"): 1}, [("sex", "Male")]))

        def ask(do: object = do) -> None:
            scm.counterfactual(rows, do, seed=0)  # type: ignore[arg-type]

        yield repr(do), ask


class Smuggled:
    """Runs code where a pickle is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


def models(draw: random.Random, work: Path, code: Path) -> Iterator[Case]:
    """Saved models, a file of which is damaged, missing, or a pickle of the same name."""
    whole = shipped_folder("generative") / "cxr19-tiny"
    names = ["image.json", "image.safetensors", "scm.json", "scm.safetensors"]
    folder = work / "model"
    while True:
        name, kind = draw.choice(names), draw.random()
        content = (whole / name).read_bytes()
        if kind < 0.1:
            content = pickle.dumps(Smuggled(code))
        elif name.endswith("json"):
            content = damaged_text(content.decode(), draw).encode()
        else:
            content = damaged_bytes(content, draw)

        def read(name: str = name, content: bytes = content, kind: float = kind) -> None:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(whole, folder)
            (folder / name).unlink()
            if kind < 0.95:
                (folder / name).write_bytes(content)
            model = cx.load_pretrained(folder)
            model.scm.sample(2, seed=0)

        yield f"{name}: {content[:2000]!r}", read


def radiographs(draw: random.Random, work: Path, code: Path) -> Iterator[Case]:
    """PNG, JPEG and DICOM files."""
    from cxrcausal.data import save_synthetic_dicom

    ramp = torch.linspace(0, 1, 64 * 64).reshape(1, 64, 64)
    contents = {}
    for form in ("PNG", "JPEG", "TIFF", "GIF"):
        drawn = io.BytesIO()
        Image.fromarray((255 * ramp[0].numpy()).astype(np.uint8)).save(drawn, form)
        contents[form.lower()] = drawn.getvalue()
    made_by = {"do": {}, "model": "ramp", "graph": "none", "graph_fingerprint": ""}
    save_synthetic_dicom(ramp, work / "ramp.dcm", made_by)
    contents["dcm"] = (work / "ramp.dcm").read_bytes()
    while True:
        suffix = draw.choice(sorted(contents))
        content = damaged_bytes(contents[suffix], draw)
        named = draw.choice((suffix, suffix, suffix, "png", "dcm", ""))

        def read(content: bytes = content, named: str = named) -> None:
            path = work / f"radiograph.{named}"
            path.write_bytes(content)
            image = read_image(path, size=64)
            if not (image.isfinite().all() and image.min() >= 0 and image.max() <= 1):
                raise AssertionError("an image outside [0, 1]")

        yield f"{named}: {content[:200]!r}", read


TARGETS: dict[str, Callable[[random.Random, Path, Path], Iterator[Case]]] = {
    "graph files": graphs,
    "recipes": recipes,
    "tables": tables,
    "interventions": interventions,
    "saved models": models,
    "radiographs": radiographs,
}


def tried(make: Callable, cases: int, seed: int, work: Path) -> Outcomes:
    """Returns what happened to so many cases of one target."""
    code, outcomes = work / "code-was-run", Outcomes()
    for (what, call), _ in zip(make(random.Random(seed), work, code), range(cases), strict=False):
        outcome, said = outcome_of(call)
        if code.exists():
            code.unlink()
            outcome, said = "code", "code was run"
        outcomes.counts[outcome] += 1
        if said:
            outcomes.defects[said] += 1
            outcomes.inputs.setdefault(said, what)
    return outcomes


def outcome_of(call: Callable[[], object]) -> tuple[str, str]:
    """Returns the outcome of a call, and if it is a defect what was said and where."""
    signal.signal(signal.SIGALRM, _stop)
    signal.alarm(SECONDS)
    try:
        call()
    except CxrCausalError as error:
        return ("refused", "") if str(error).strip() else ("foreign", "an error without words")
    except TooSlow:
        return "slow", f"more than {SECONDS} s"
    except Exception as error:  # what is looked for
        place = traceback.extract_tb(error.__traceback__)[-1]
        ours = [f for f in traceback.extract_tb(error.__traceback__) if "cxrcausal" in f.filename]
        near = ours[-1] if ours else place
        words = (str(error).splitlines() or [""])[0][:80]
        where = f"{Path(near.filename).name}:{near.lineno}"
        return "foreign", f"{type(error).__name__} at {where}: {words}"
    else:
        return "accepted", ""
    finally:
        signal.alarm(0)


def _stop(number: int, frame: FrameType | None) -> None:
    raise TooSlow


def main(argv: list[str] | None = None) -> int:
    """Tries every target, reports, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=500, help="of each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=TARGETS, action="append")
    parser.add_argument("--output", type=Path, default=Path("runs/fuzz"))
    args = parser.parse_args(argv)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    report, defects = Report(), 0
    report.say("# Malformed input\n")
    report.say(
        f"{args.cases} cases of each, seed {args.seed}. Refused: by a typed error. Foreign "
        f"exceptions, more than {SECONDS} s and smuggled code that ran are defects."
    )
    lines, found = [], {}
    with tempfile.TemporaryDirectory() as work:
        for name in args.only or TARGETS:
            outcomes = tried(TARGETS[name], args.cases, args.seed, Path(work))
            kinds = ("accepted", "refused", "foreign", "slow", "code")
            lines.append({"input": name, **{kind: outcomes.counts[kind] for kind in kinds}})
            for said, count in outcomes.defects.most_common():
                found[f"{name}: {said}"] = {"count": count, "input": outcomes.inputs[said]}
            defects += sum(outcomes.defects.values())
    report.head("Outcomes")
    report.table(pd.DataFrame(lines))
    report.numbers |= {"cases": args.cases, "seed": args.seed, "lines": lines, "defects": found}
    if found:
        report.head("Defects")
        for said, one in found.items():
            report.say(f"- {one['count']} × {said}")
    report.save(args.output)
    return int(defects > 0)


if __name__ == "__main__":
    sys.exit(main())
