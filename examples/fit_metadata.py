"""Fits the flow SCM on real metadata, and asks it what it says about patients it did not see.

    python examples/fit_metadata.py --data FOLDER --output runs/scm

FOLDER holds `metadata/nih_train.csv.gz` and `metadata/chexpert_metadata.csv.gz`. Test patients are
left out of the fit. The shipped `cxr19-tiny` is `--sources nih`, `cxr19-public` is
`--sources nih chexpert`. Ends with a table: held-out log-probability per variable beside that of
the training marginals.
"""

import argparse
import logging
from pathlib import Path

import numpy as np
import pandas as pd

import cxrcausal as cx
from cxrcausal.data import split_by_patient

FILES = {"nih": "nih_train.csv.gz", "chexpert": "chexpert_metadata.csv.gz"}


def read_sources(data: Path, sources: list[str], graph: cx.CausalGraph) -> pd.DataFrame:
    """Returns the tables of the sources one below the other."""
    tables = [cx.read_table(data / "metadata" / FILES[s], source=s, graph=graph) for s in sources]
    table = pd.concat(tables, ignore_index=True)
    table.attrs["cxrcausal"] = {"sources": [t.attrs["cxrcausal"] for t in tables]}
    return table


def marginal_log_prob(train: pd.Series, test: pd.Series) -> float:
    """Returns the mean log-probability of the test values under the training frequencies."""
    frequency = train.dropna().value_counts()
    counts = test.dropna().map(frequency).astype(float).fillna(0.0) + 0.5
    return float(np.log(counts / (frequency.sum() + 0.5 * len(frequency))).mean())


def main() -> None:
    """Fits, scores held-out patients, prints the table, and saves the SCM."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds metadata/")
    parser.add_argument("--sources", nargs="+", default=["nih"], choices=sorted(FILES))
    parser.add_argument("--graph", default="cxr19", help="a graph's name or file")
    parser.add_argument("--output", type=Path, default=Path("runs/scm"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiny", action="store_true", help="4,000 rows per source")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    graph = cx.load_graph(args.graph)
    table = read_sources(args.data, args.sources, graph)
    part = split_by_patient(table)
    if args.tiny:
        chosen = table.groupby("dataset", observed=True).head(4000).index
        table, part = table.loc[chosen], part.loc[chosen]
    train, test = table[part != "test"], table[part == "test"]
    logging.info("%d rows to fit, %d held out", len(train), len(test))

    scm = cx.FlowSCM(graph).fit(train, groups="patient_id", seed=args.seed)
    scores = scm.score(test, per_variable=True)
    report = pd.DataFrame(
        {
            "rows": scores.notna().sum(),
            "log_prob": scores.mean(),
            "marginal": {
                v: marginal_log_prob(train[v], test[v].where(scores[v].notna())) for v in scores
            },
        }
    )
    report = report[report["rows"] > 0]
    report["gain"] = report["log_prob"] - report["marginal"]
    print(report.round(4).to_string())
    scm.save(args.output)
    logging.info("saved %s", args.output)


if __name__ == "__main__":
    main()
