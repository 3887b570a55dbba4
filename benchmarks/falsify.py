"""What all rows of CheXpert's table say against two graphs, side by side, and how long it takes to
ask.

    python benchmarks/falsify.py --data FOLDER [--output benchmarks/results/falsify]

FOLDER holds `metadata/chexpert_metadata.csv.gz`. Writes the printed report as OUTPUT.md and the
counts as OUTPUT.json. No patient is held out: nothing is fitted to be scored later.
"""

import argparse
import json
import os
import time
from pathlib import Path

import torch

import cxrcausal as cx
from cxrcausal.evaluation.report import write_text


def main(argv: list[str] | None = None) -> dict:
    """Prints the report; returns the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds metadata/")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/falsify"))
    args = parser.parse_args(argv)
    graph, extended = cx.load_graph("cxr19"), cx.load_graph("cxr19-extended")
    file = args.data / "metadata" / "chexpert_metadata.csv.gz"
    table = cx.read_table(file, source="chexpert", graph=graph)
    start = time.perf_counter()
    found = graph.falsify(table, groups="patient_id", compare=extended)
    seconds = time.perf_counter() - start
    counts = (
        found.table.groupby(["graph", "kind"], sort=False)["verdict"]
        .value_counts()
        .unstack(fill_value=0)
    )
    report = {
        "rows": found.rows,
        "patients": found.patients,
        "seconds": seconds,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "counts": {f"{graph}, {kind}": row.to_dict() for (graph, kind), row in counts.iterrows()},
    }
    print(f"{found}\n\n{seconds:.1f} s")
    write_text(args.output.with_suffix(".md"), f"```\n{found}\n```\n\n{seconds:.1f} s")
    write_text(args.output.with_suffix(".json"), json.dumps(report, indent=1))
    return report


if __name__ == "__main__":
    main()
