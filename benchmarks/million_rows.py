"""A counterfactual of a million rows: time, rows per second, and memory beyond the tables
themselves.

    python benchmarks/million_rows.py [--rows 1000000] [--batches 65536 8192] [--output FILE.json]

The rows are drawn from the public metadata model and a fifth of their cells removed at random in
three columns, so that unknown cells have to be drawn too. Memory is the peak of the process while
it answers, less what it held before. A tenth of the rows comes first, all of them next, and then
all of them by other chunks, whose answer must be the same. Linux only: memory is read from /proc.
"""

import argparse
import ctypes
import gc
import json
import os
import platform
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import cxrcausal as cx
from cxrcausal.files import atomic_path


def resident() -> float:
    """Returns the memory that the process holds, in MiB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


class Peak:
    """Watches the process's memory while a block runs."""

    def __enter__(self) -> "Peak":
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed before must not hide what is held
        self.before = self.most = resident()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.done.wait(0.02):
            self.most = max(self.most, resident())

    def __exit__(self, *error: object) -> None:
        self.done.set()
        self.thread.join()

    @property
    def beyond(self) -> float:
        """How much more than before was held, in MiB."""
        return self.most - self.before


def patients(scm: cx.FlowSCM, number: int) -> pd.DataFrame:
    """Returns rows of which some cells are unknown."""
    rows, draw = scm.sample(number, seed=0), np.random.default_rng(0)
    for name in ("edema", "pleural_effusion", "age"):
        rows[name] = rows[name].mask(draw.random(number) < 0.2)
    return rows


def answer(scm: cx.FlowSCM, rows: pd.DataFrame, batch: int) -> tuple[pd.DataFrame, dict]:
    """Returns the counterfactual table, and what it took."""
    start = time.perf_counter()
    with Peak() as peak:
        world = scm.counterfactual(
            rows, {"sex": "Male", "cardiomegaly": "negative"}, seed=0, batch_size=batch
        )
    seconds = time.perf_counter() - start
    return world, {
        "rows": len(rows),
        "rows_in_a_chunk": batch,
        "seconds": seconds,
        "rows_per_second": len(rows) / seconds,
        "mib_in": rows.memory_usage(deep=True).sum() / 2**20,
        "mib_out": world.memory_usage(deep=True).sum() / 2**20,
        "mib_beyond": peak.beyond,
    }


def markdown(report: dict) -> str:
    """Returns the figures as a table."""
    text = [
        "One counterfactual per row, `do(sex = Male, cardiomegaly = negative)`, a fifth of three "
        "columns unknown (`python benchmarks/million_rows.py`).\n",
        "| rows | rows in a chunk | seconds | rows/s | table in, MiB | table out, MiB | peak "
        "beyond what was held, MiB |",
        "|" + "---|" * 7,
    ]
    for line in report["lines"]:
        text.append(
            f"| {line['rows']:,} | {line['rows_in_a_chunk']:,} | {line['seconds']:.1f} | "
            f"{line['rows_per_second']:,.0f} | {line['mib_in']:.0f} | {line['mib_out']:.0f} | "
            f"{line['mib_beyond']:.0f} |"
        )
    text.append(
        f"\nThe same answer by either chunk: {'yes' if report['same_answer'] else 'NO'}. "
        f"{report['cores']} cores, {report['threads']} thread(s) of torch."
    )
    return "\n".join(text) + "\n"


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--batches", type=int, nargs=2, default=(2**16, 2**13))
    parser.add_argument("--output", type=Path, default=Path("million_rows.json"))
    given = parser.parse_args()
    scm = cx.load_pretrained("cxr19-public").scm
    few, rows = (patients(scm, number) for number in (given.rows // 10, given.rows))
    one, other = given.batches
    _, first = answer(scm, few, one)
    whole, second = answer(scm, rows, one)
    again, third = answer(scm, rows, other)
    report = {
        "lines": [first, second, third],
        "same_answer": whole.equals(again),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    with atomic_path(given.output) as path:
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    with atomic_path(given.output.with_suffix(".md")) as path:
        path.write_text(markdown(report), encoding="utf-8")
    print(markdown(report))


if __name__ == "__main__":
    main()
