"""The families of mechanisms on the same real rows: time to fit, held-out likelihood, rows per
second.

    python benchmarks/mechanisms.py --data FOLDER [--rows 10000] [--rounds 3] [--output FOLDER]

FOLDER holds `metadata/nih_train.csv.gz`. For each variable `direct`, `cnf` and (of a number) `nsf`
are fitted with the parents that `cxr19` gives it, and scored on test patients: mean nats per row,
age per whole year. `view` is fitted with both couplings of its levels, `gumbel` and `ordered`,
which share a likelihood and differ in what they answer between worlds; `closed form` is the
distribution of that, `transition`. An ordinal (stage of age: four bands), a count (radiographs of
the patient so far, at most 40) and an exact number (its logarithm, spread within its grain)
are made of the same rows, since the table has none. Rounds of speed alternate; the figure is the
median. Rows per second are those of one counterfactual: abduct, and predict under other parents.
"""

import argparse
import json
import platform
import statistics
import time
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import cxrcausal as cx
from cxrcausal.data import split_by_patient
from cxrcausal.files import atomic_path
from cxrcausal.graph import Variable
from cxrcausal.scm import encode, fit_mechanism

STAGE = Variable("stage", "ordinal", ("child", "young", "middle", "old"))
COUNT = Variable("radiographs", "continuous", bounds=(0.0, 40.0), resolution=1.0)
EXACT = Variable("log_images", "continuous")


def read_rows(data: Path):
    """Returns the graph's variables by name, values (rows,) by name, patients and which rows are
    test ones.
    """
    graph = cx.load_graph("cxr19")
    table = cx.read_table(data / "metadata" / "nih_train.csv.gz", source="nih", graph=graph)
    values = encode(table, graph)
    age = values["age"].numpy()
    before = table.groupby("patient_id", sort=False).cumcount().clip(upper=40).to_numpy(float)
    grain = np.random.default_rng(0).random(len(table))
    values["stage"] = torch.tensor(np.digitize(age, [18, 45, 65]), dtype=torch.float64)
    values["radiographs"] = torch.tensor(before)
    values["log_images"] = torch.tensor(np.log(before + 0.5 + grain))
    parents = {
        "age": graph.parents("age"),
        "stage": ("sex",),
        "radiographs": ("age", "sex"),
        "log_images": ("age", "sex"),
        "pleural_effusion": graph.parents("pleural_effusion"),
        "view": ("age", "sex"),
    }
    variables = dict(graph.variables) | {v.name: v for v in (STAGE, COUNT, EXACT)}
    known = [n for n in graph.variables if not values[n].isnan().all() and n != "dataset"]
    reads = {
        name: tuple(variables[p] for p in (pa or ("sex",)) if p in known)
        for name, pa in parents.items()
    }
    part = split_by_patient(table)
    patients = pd.factorize(table["patient_id"])[0]
    return variables, reads, values, patients, (part == "test").to_numpy()


def cases(variables, reads):
    """Yields variable, family and coupling of every line of the table."""
    for name in reads:
        variable = variables[name]
        if variable.kind == "nominal":
            yield name, "direct", "gumbel"
            yield name, "direct", "ordered"
            yield name, "cnf", "ordered"
            continue
        families = ["cnf", "nsf"] if variable.kind == "continuous" else ["cnf"]
        if variable.is_discrete or variable.grid is not None:
            families.insert(0, "direct")
        for family in families:
            yield name, family, ""


def measured(mechanism, values, test, rows):
    """Returns the held-out score, and the questions whose speed is asked."""
    ready = test & ~torch.stack(
        [values[v.name] for v in (mechanism.variable, *mechanism.parents)]
    ).isnan().any(0)
    at = ready.nonzero().squeeze(1)
    x = values[mechanism.variable.name][at]
    pa = {p.name: values[p.name][at] for p in mechanism.parents}
    nats = float(mechanism.log_prob(x, pa).mean())
    some = at[:rows]
    x, pa = x[:rows], {name: v[:rows] for name, v in pa.items()}
    star = {name: v.roll(1) for name, v in pa.items()}  # the parents of the row before
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(
        len(some), mechanism.noise_size, generator=generator, dtype=torch.float64
    ).clamp(1e-12, 1 - 1e-12)

    def counterfactual():
        return mechanism.predict(mechanism.abduct(x, pa, uniform), star)

    def closed_form():
        return mechanism.transition(x, pa, star)

    again = mechanism.predict(mechanism.abduct(x, pa, uniform), pa)
    composition = float(torch.isclose(again, x, rtol=0, atol=1e-9).double().mean())
    asks = {"counterfactual": counterfactual}
    if mechanism.variable.is_discrete:
        asks["closed form"] = closed_form
    return nats, len(some), composition, asks


def main() -> None:
    """Prints the table, and writes it as JSON and markdown if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--patients", type=int, help="only so many: a quick look")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()

    variables, reads, values, patients, test = read_rows(args.data)
    if args.patients:
        few = patients < args.patients
        values = {name: x[few] for name, x in values.items()}
        patients, test = patients[few], test[few]
    test_rows = torch.tensor(test)
    train = {name: x[~test_rows] for name, x in values.items()}
    lines, asks = [], {}
    for name, family, coupling in cases(variables, reads):
        start = time.perf_counter()
        mechanism = fit_mechanism(
            variables[name],
            reads[name],
            train,
            patients[~test],
            family=family,
            coupling=coupling or "gumbel",
            hidden=(),
        )
        seconds = time.perf_counter() - start
        nats, rows, composition, own = measured(mechanism, values, test_rows, args.rows)
        lines.append(
            {
                "variable": name,
                "kind": "count" if name == "radiographs" else variables[name].kind,
                "parents": len(reads[name]),
                "family": family,
                "coupling": coupling,
                "fit_s": round(seconds, 2),
                "nats": round(nats, 5),
                "composition": composition,
                "rows": rows,
            }
        )
        asks |= {(len(lines) - 1, what): ask for what, ask in own.items()}
    times = {key: [] for key in asks}
    with torch.no_grad():
        for counts in [False] + [True] * args.rounds:
            for key, ask in asks.items():
                start = time.perf_counter()
                ask()
                if counts:
                    times[key].append(time.perf_counter() - start)
    for (i, what), taken in times.items():
        lines[i][f"{what} rows/s"] = round(lines[i]["rows"] / statistics.median(taken))
    table = pd.DataFrame(lines)
    print(table.drop(columns=["rows"]).to_string(index=False, na_rep="–"))
    if args.output:
        report = {
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "version": cx.__version__,
            "date": date.today().isoformat(),
            "data": "nih_train.csv.gz",
            "rows": {"train": int((~test).sum()), "test": int(test.sum())},
            "lines": lines,
        }
        args.output.mkdir(parents=True, exist_ok=True)
        for kind, body in (("json", json.dumps(report, indent=1)), ("md", markdown(report))):
            with atomic_path(args.output / f"mechanisms.{kind}") as path:
                path.write_text(body + "\n", encoding="utf-8")


def markdown(report: dict) -> str:
    """Returns the figures as one table, a family of a variable a row."""
    head = {
        "variable": "variable", "kind": "kind", "parents": "parents", "family": "family",
        "coupling": "coupling", "fit_s": "fit, s", "nats": "held-out nats",
        "composition": "composition", "counterfactual rows/s": "counterfactual rows/s",
        "closed form rows/s": "closed form rows/s",
    }  # fmt: skip
    out = [
        f"{report['data']}: {report['rows']['train']:,} rows to fit, {report['rows']['test']:,} "
        f"held out by patient; {report['machine']}; torch {report['torch']}, {report['threads']} "
        f"thread(s); cxrcausal {report['version']}; {report['date']}",
        "",
        "| " + " | ".join(head.values()) + " |",
        "|---" * len(head) + "|",
    ]
    for line in report["lines"]:
        cells = [line.get(key, "") for key in head]
        out.append(
            "| " + " | ".join(f"{c:,}" if isinstance(c, int) else str(c) for c in cells) + " |"
        )
    return "\n".join(out)


if __name__ == "__main__":
    main()
