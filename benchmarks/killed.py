"""Kills fits, trainings, saves and shardings at random moments: is anything lost that was saved?

    python benchmarks/killed.py [--kills 50] [--seed 0] [--output FOLDER]

Each job runs in a process of its own, which says on a pipe what it has saved, and is killed
(SIGKILL) after a random time, mostly in the middle of writing. Afterwards

- save: the folder loads, and holds the very SCM that was last reported or one begun later;
- fit: the table's fit, written by `cxrcausal fit`'s way (fit, then save), is whole or absent;
- train: the training goes on from the last reported step or a later one;
- shard: the run goes on, and its shards are byte for byte those of a run that nobody killed.

Processes are forked, so Unix alone. Exits with 1 if anything was lost.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import logging
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

import cxrcausal as cx
from cxrcausal.data import shard_images
from cxrcausal.errors import CxrCausalError
from cxrcausal.evaluation.report import Report
from cxrcausal.graph import load_graph
from cxrcausal.image import RectifiedFlow, Trainer, load_recipe

Tell = Callable[[int], None]
"""Says that what has this number is saved."""
LONGEST = {"save": 0.3, "fit": 2.0, "train": 1.0, "shard": 0.6}
"""Seconds until a kill, at most."""


class Save:
    """Two SCMs saved by turns into one folder."""

    def __init__(self, work: Path) -> None:
        self.folder = work / "scm"
        public = cx.load_pretrained("cxr19-public").scm
        other = cx.load_pretrained("cxr19-tiny").scm
        self.turns = (public, other)
        self.names = [scm._state.fingerprint for scm in self.turns]
        public.save(self.folder)

    def run(self, tell: Tell) -> None:
        """Does the job without end, telling what is saved."""
        turn = 0
        while True:
            turn += 1
            self.turns[turn % 2].save(self.folder)
            tell(turn)

    def lost(self, told: int) -> str:
        """Returns what was lost after a kill, in words; nothing if nothing was."""
        found = cx.FlowSCM.load(self.folder)._state.fingerprint
        if found not in self.names:
            return f"the folder holds neither SCM but {found}"
        # With turn n reported, n or the n + 1 that was being written; killed again, by turns anew.
        found_turn = self.names.index(found)
        self.turns[0].save(self.folder)
        return "" if told == 0 or found_turn in (told % 2, (told + 1) % 2) else "an older SCM"


class Fit:
    """A fit that is saved where no fit stands yet."""

    def __init__(self, work: Path) -> None:
        self.folder = work / "fit"
        self.table = cx.load_pretrained("cxr19-public").scm.sample(300, seed=0)

    def run(self, tell: Tell) -> None:
        """Does the job without end, telling what is saved."""
        scm = cx.FlowSCM("cxr-minimal", hidden=())
        while True:
            scm.fit(self.table, progress=False).save(self.folder)
            tell(1)

    def lost(self, told: int) -> str:
        """Returns what was lost after a kill, in words; nothing if nothing was."""
        if not told and not (self.folder / "scm.json").exists():
            return ""  # killed before it reported anything; what it left of its own is no fit
        found = cx.FlowSCM.load(self.folder)
        return "" if found.is_fitted else "the fit is gone"


class Train:
    """A training that saves its state after every step."""

    def __init__(self, work: Path) -> None:
        self.folder = work / "train"
        draw = torch.Generator().manual_seed(0)
        self.images = torch.rand(16, 1, 32, 32, generator=draw)
        self.table = cx.load_pretrained("cxr19-public").scm.sample(16, seed=1)

    def trainer(self) -> Trainer:
        """Returns a trainer of the folder."""
        recipe = load_recipe("radit-tiny")
        small = dataclasses.replace(
            recipe.network, size=32, width=32, depth=1, heads=2, hidden=48, rank=4, embedding=8
        )
        training = dataclasses.replace(recipe.training, num_images=10**6, batch_size=4)
        recipe = dataclasses.replace(recipe, name="killed", network=small, training=training)
        torch.manual_seed(0)
        flow = RectifiedFlow(load_graph("cxr19"), recipe)
        return Trainer(flow, self.images, self.table, self.folder)

    def run(self, tell: Tell) -> None:
        """Does the job without end, telling what is saved."""
        self.trainer().run(save_every=1, on_save=lambda _, step: tell(step), progress=False)

    def lost(self, told: int) -> str:
        """Returns what was lost after a kill, in words; nothing if nothing was."""
        trainer = self.trainer()
        trainer.run(num_steps=1, progress=False)
        found = trainer.step - 1
        return "" if found >= told else f"step {told} was reported, step {found} is there"


class Shard:
    """Shards of radiographs, a run that goes on after every kill and begins anew once whole."""

    def __init__(self, work: Path) -> None:
        self.work, images = work, work / "images"
        images.mkdir()
        draw = np.random.default_rng(0)
        for i in range(60):
            pixels = draw.integers(0, 255, (96, 96), np.uint8)
            Image.fromarray(pixels).save(images / f"{i}.png")
        paths = [str(images / f"{i}.png") for i in range(60)]
        self.table = pd.DataFrame({"image": paths, "sex": ["Male", "Female"] * 30})
        self.how: dict[str, Any] = {"size": 64, "shard_size": 6, "workers": 1, "progress": False}
        shard_images(self.table, work / "whole", **self.how)
        self.whole = _bytes_of(work / "whole")
        self.turn = 0

    @property
    def folder(self) -> Path:
        """Where this turn writes."""
        return self.work / f"shards-{self.turn}"

    def run(self, tell: Tell) -> None:
        """Does the job without end, telling what is saved."""
        shard_images(self.table, self.folder, **self.how)
        tell(1)
        time.sleep(60)

    def lost(self, told: int) -> str:
        """Returns what was lost after a kill, in words; nothing if nothing was."""
        shard_images(self.table, self.folder, **self.how)
        same = _bytes_of(self.folder) == self.whole
        self.turn += 1
        return "" if same else "the shards differ from those of an undisturbed run"


JOBS: dict[str, Callable[[Path], Any]] = {"save": Save, "fit": Fit, "train": Train, "shard": Shard}


def _bytes_of(folder: Path) -> dict[str, str]:
    """Returns a hash of every file that a run leaves."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def killed(run: Callable[[Tell], None], seconds: float) -> int:
    """Runs a job in a fork, kills it after so many seconds, and returns what it last reported."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        with contextlib.suppress(BaseException):
            run(lambda number: os.write(writing, f"{number}\n".encode()) and None)
        os._exit(0)
    os.close(writing)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reading) as told:
        numbers = told.read().split()
    return int(numbers[-1]) if numbers else 0


def main(argv: list[str] | None = None) -> int:
    """Kills every job so often, reports, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="of each job")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=JOBS, action="append")
    parser.add_argument("--output", type=Path, default=Path("runs/killed"))
    args = parser.parse_args(argv)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # a fork of a process with threads of its own may hang
    report, draw = Report(), random.Random(args.seed)
    report.say("# Killed at random moments\n")
    report.say(f"{args.kills} kills of each job, seed {args.seed}.")
    lines, lost = [], []
    for name in args.only or JOBS:
        with tempfile.TemporaryDirectory() as work:
            job, reported = JOBS[name](Path(work)), 0
            for _ in range(args.kills):
                told = killed(job.run, draw.uniform(0, LONGEST[name]))
                reported += told > 0
                try:
                    said = job.lost(told)
                except CxrCausalError as error:
                    said = f"{type(error).__name__}: {error}"
                if said:
                    lost.append(f"{name}: {said}")
            count = sum(one.startswith(f"{name}:") for one in lost)
        lines.append({"job": name, "kills": args.kills, "after a report": reported, "lost": count})
    report.head("Outcomes")
    report.table(pd.DataFrame(lines))
    report.numbers |= {"kills": args.kills, "seed": args.seed, "lines": lines, "lost": lost}
    for said in sorted(set(lost)):
        report.say(f"- {lost.count(said)} × {said}")
    report.save(args.output)
    return int(bool(lost))


if __name__ == "__main__":
    sys.exit(main())
