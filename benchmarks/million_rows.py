"""A counterfactual of a million rows: time, rows per second, and memory beyond the tables themselves.

    python benchmarks/million_rows.py [--rows 1000000] [--batch 65536]

The rows are drawn from the public metadata model and a fifth of their cells removed at random in
three columns, so that unknown cells have to be drawn too. Memory is the peak of the process while
it answers, less what it held before.
"""

import argparse
import ctypes
import gc
import threading
import time
from pathlib import Path

import numpy as np

import cxrcausal as cx


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


def main() -> None:
    """Prints one line per number of rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=2**16)
    given = parser.parse_args()
    scm = cx.load_pretrained("cxr19-public").scm
    for number in (given.rows // 10, given.rows):
        rows = scm.sample(number, seed=0)
        draw = np.random.default_rng(0)
        for name in ("edema", "pleural_effusion", "age"):
            rows[name] = rows[name].mask(draw.random(number) < 0.2)
        size = rows.memory_usage(deep=True).sum() / 2**20
        start = time.perf_counter()
        with Peak() as peak:
            world = scm.counterfactual(
                rows, {"sex": "Male", "cardiomegaly": "negative"}, seed=0, batch_size=given.batch
            )
        seconds = time.perf_counter() - start
        out = world.memory_usage(deep=True).sum() / 2**20
        print(
            f"{number:>9,} rows  {seconds:6.1f} s  {number / seconds:>9,.0f} rows/s   table "
            f"{size:.0f} MiB in, {out:.0f} MiB out, peak {peak.beyond:.0f} MiB beyond what was held"
        )


if __name__ == "__main__":
    main()
