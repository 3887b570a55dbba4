"""Held-out log-probability of the metadata beside regressions with the same parents, in one run.

    python benchmarks/metadata_likelihood.py --data FOLDER [--output FILE.json]

FOLDER holds `metadata/nih_train.csv.gz` and `metadata/chexpert_metadata.csv.gz`.
For each graph the flow SCM is fitted on NIH alone, on CheXpert alone and on both, and scored on
the test patients of each source: mean nats per row of log p(x_v | parents), age as a probability
per whole year. Beside it stand, for every variable, models of the same variable given the same
parents, fitted and scored on exactly the rows that the SCM was fitted and scored on (those where
the variable and its parents are known; for the definition no_finding also those that a known
positive decides, unknown parents entering by an indicator):

- logistic regression, age entering as it is; and again with age as a cubic spline
- gradient-boosted trees: learning rate 0.05, stopped early on validation patients, refitted on all
- the marginal of the training rows, and the marginal of each source's

A group's figure is the sum of its variables' means. The verdict holds the SCM against the better
of the two logistic regressions in every group; behind a difference stands its standard error by
patient. A variable has no scored rows in a source that never labels it or one of its parents.
*whole row* is the log-probability of all known cells, unknown ones summed out, beside the product
of marginals: there no row is left out, and a pooled fit shows what it cannot know about a source.
"""

import argparse
import json
import platform
import time
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import SplineTransformer

from cxrcausal.data import read_table, split_by_patient
from cxrcausal.files import atomic_path
from cxrcausal.graph import CausalGraph, Variable, load_graph
from cxrcausal.scm.model import FlowSCM

from likelihood_tables import OURS, PEERS, losers, markdown, verdict  # isort: skip  (beside this one)

FILES = {"nih": "nih_train.csv.gz", "chexpert": "chexpert_metadata.csv.gz"}
FITS = {"NIH": ("nih",), "CheXpert": ("chexpert",), "pooled": ("nih", "chexpert")}
NAMES = {"nih": "NIH", "chexpert": "CheXpert"}
KNOTS = 7
MANY_CLASSES = "The number of unique classes is greater"  # ages, counted in distinct rows


# --- the same rows as numbers


def classes_of(values: pd.Series, variable: Variable) -> np.ndarray:
    """Returns the class (rows,) of each known value: its level, or its place on the grid."""
    if variable.is_discrete:
        return values.cat.codes.to_numpy(np.int64)
    return np.rint((values.to_numpy() - variable.bounds[0]) / variable.resolution).astype(np.int64)


def columns_of(table: pd.DataFrame, parents: tuple[Variable, ...], fitted: pd.DataFrame):
    """Returns parents as columns (rows, features), and which of them are continuous.

    One column per level but the first, one for *unknown* where the fitted rows have unknown cells,
    one standardised column per continuous parent. Columns that are constant in the fit are left
    out.
    """
    columns, continuous = [], []
    for parent in parents:
        values, seen = table[parent.name], fitted[parent.name]
        if parent.is_discrete:
            for level in (*parent.levels[1:], None):
                theirs = seen.isna() if level is None else seen == level
                if 0 < theirs.sum() < len(seen):
                    columns.append(values.isna() if level is None else values == level)
                    continuous.append(False)
        else:
            columns.append((values - seen.mean()) / seen.std())
            continuous.append(True)
    matrix = np.stack([np.asarray(c, np.float64) for c in columns], 1) if columns else None
    return matrix, np.array(continuous, bool)


def distinct(x: np.ndarray, y: np.ndarray):
    """Returns the distinct rows of (x, y) and how often each occurs."""
    rows, counts = np.unique(np.column_stack([x, y]), axis=0, return_counts=True)
    return rows[:, :-1], rows[:, -1].astype(np.int64), counts.astype(np.float64)


# --- the peers


def log_loss_rows(probability: np.ndarray, known: np.ndarray, y: np.ndarray, size: int, n: int):
    """Returns the log-probability of `y`; classes that the fit never met share half a row each."""
    unmet = size - len(known)
    place = np.full(size, -1)
    place[known] = np.arange(len(known))
    at = place[y]
    met = probability[np.arange(len(y)), np.maximum(at, 0)] * n / (n + 0.5 * unmet)
    return np.log(np.where(at >= 0, met, 0.5 / (n + 0.5 * unmet)))


def marginal(y: np.ndarray, fitted: np.ndarray, size: int) -> np.ndarray:
    """Returns log-probabilities under the fitted rows' frequencies, half a row added to each
    class.
    """
    counts = np.bincount(fitted, minlength=size) + 0.5
    return np.log(counts / counts.sum())[y]


def logistic(x, y, x_test, y_test, size) -> np.ndarray:
    """Returns log-probabilities under (multinomial) logistic regression with scikit-learn's
    penalty.
    """
    if len(np.unique(y)) == 1:
        return log_loss_rows(np.ones((len(y_test), 1)), np.unique(y), y_test, size, len(y))
    rows, classes, counts = distinct(x, y)
    model = LogisticRegression(C=1.0, max_iter=5000, tol=1e-7)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        warnings.filterwarnings("ignore", MANY_CLASSES)
        model.fit(rows, classes, sample_weight=counts)
    return log_loss_rows(model.predict_proba(x_test), model.classes_, y_test, size, len(y))


def with_splines(x: np.ndarray, continuous: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Returns the columns with continuous ones replaced by a cubic spline basis."""
    parts = [x[:, ~continuous]]
    for column in np.flatnonzero(continuous):
        knots = np.unique(np.quantile(fitted[:, column], np.linspace(0, 1, KNOTS)))[:, None]
        basis = SplineTransformer(degree=3, knots=knots, extrapolation="linear")
        parts.append(basis.fit(fitted[:, [column]]).transform(x[:, [column]]))
    return np.concatenate(parts, axis=1)


def boosted(x, y, held, x_test, y_test, size) -> np.ndarray:
    """Returns log-probabilities under gradient-boosted trees, stopped early by patient."""
    if len(np.unique(y)) == 1:
        return log_loss_rows(np.ones((len(y_test), 1)), np.unique(y), y_test, size, len(y))
    options = {"learning_rate": 0.05, "random_state": 0, "min_samples_leaf": 40}
    many = len(np.unique(y)) > 10  # ages: as many trees per round as years, so distinct rows only
    if many:
        options["min_samples_leaf"] = 2
    met = np.isin(y[held], y[~held])  # a class of validation patients alone cannot be scored
    train = distinct(x[~held], y[~held]) if many else (x[~held], y[~held], None)
    probe = x[held][met], y[held][met]
    trial = HistGradientBoostingClassifier(
        max_iter=1000, early_stopping=True, n_iter_no_change=20, tol=1e-7, **options
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", MANY_CLASSES)
        trial.fit(train[0], train[1], sample_weight=train[2], X_val=probe[0], y_val=probe[1])
    best = max(1, int(np.argmax(trial.validation_score_)))  # entry 0 is before the first tree
    everything = distinct(x, y) if many else (x, y, None)
    model = HistGradientBoostingClassifier(max_iter=best, early_stopping=False, **options)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", MANY_CLASSES)
        model.fit(everything[0], everything[1], sample_weight=everything[2])
    return log_loss_rows(model.predict_proba(x_test), model.classes_, y_test, size, len(y))


def peer_scores(
    variable: Variable,
    parents: tuple[Variable, ...],
    fitted: pd.DataFrame,
    test: pd.DataFrame,
    held: np.ndarray,
) -> pd.DataFrame:
    """Returns each peer's log-probability of the variable in each test row, (rows, peers)."""
    y, y_test = (
        classes_of(fitted[variable.name], variable),
        classes_of(test[variable.name], variable),
    )
    size = len(variable.levels) if variable.is_discrete else len(variable.grid)
    scores = {"marginal": marginal(y_test, y, size)}
    per_source = scores["marginal"].copy()
    if variable.name != "dataset":  # p(source) itself, then everything else within its source
        for source in test["dataset"].unique():
            rows = (test["dataset"] == source).to_numpy()
            same = (fitted["dataset"] == source).to_numpy()
            if same.any():
                per_source[rows] = marginal(y_test[rows], y[same], size)
    scores["marginal per source"] = per_source
    x, continuous = columns_of(fitted, parents, fitted)
    if x is None:  # nothing to regress on
        for peer in PEERS[:3]:
            scores[peer] = scores["marginal"]
    else:
        x_test, _ = columns_of(test, parents, fitted)
        scores["logistic"] = logistic(x, y, x_test, y_test, size)
        scores["logistic, age spline"] = scores["logistic"]
        if continuous.any():
            curved = with_splines(x, continuous, x), with_splines(x_test, continuous, x)
            scores["logistic, age spline"] = logistic(curved[0], y, curved[1], y_test, size)
        scores["boosted trees"] = boosted(x, y, held, x_test, y_test, size)
    return pd.DataFrame(scores, index=test.index)[list(PEERS)]


def whole_rows(scm: FlowSCM, train: pd.DataFrame, test: pd.DataFrame) -> dict:
    """Returns mean nats of all known cells of a row: the SCM's, and those of both kinds of
    marginals.
    """
    totals = {"marginal": np.zeros(len(test)), "marginal per source": np.zeros(len(test))}
    source = test["dataset"].iloc[0]  # a test table is of one source
    for name in scm.mechanisms:
        variable, known = scm.graph.variables[name], test[name].notna().to_numpy()
        size = len(variable.levels) if variable.is_discrete else len(variable.grid)
        y = classes_of(test[name][known], variable)
        same = train["dataset"] == source if name != "dataset" else train["dataset"].notna()
        for kind, rows in {"marginal": train, "marginal per source": train[same]}.items():
            totals[kind][known] += marginal(y, classes_of(rows[name].dropna(), variable), size)
    nats = {OURS: float(scm.log_prob(test).mean())}
    return {"rows": [len(test)], "nats": nats | {k: float(t.mean()) for k, t in totals.items()}}


# --- one fit


def evaluate(
    graph: CausalGraph, train: pd.DataFrame, tests: Mapping[str, pd.DataFrame], peers: bool
):
    """Fits the SCM and its peers, and returns scores by source and variable, of whole rows, and
    seconds.
    """
    began = time.perf_counter()
    scm = FlowSCM(graph).fit(train, groups="patient_id", progress=False)
    seconds = time.perf_counter() - began
    usable = scm.score(train)
    held = (split_by_patient(train) == "validation").to_numpy()
    scores: dict[str, dict[str, pd.DataFrame]] = {source: {} for source in tests}
    ours = {source: scm.score(test) for source, test in tests.items()}
    for name, mechanism in scm.mechanisms.items():
        fit_rows = usable[name].notna().to_numpy()
        rows = {s: test[ours[s][name].notna()] for s, test in tests.items()}
        everyone = pd.concat([r.assign(source=s) for s, r in rows.items()], ignore_index=True)
        theirs = (
            peer_scores(
                graph.variables[name], mechanism.parents, train[fit_rows], everyone, held[fit_rows]
            )
            if peers
            else None
        )
        for source, part in rows.items():
            frame = pd.DataFrame({OURS: ours[source].loc[part.index, name].to_numpy()})
            if theirs is not None:
                mine = theirs[(everyone["source"] == source).to_numpy()]
                frame = frame.join(mine.reset_index(drop=True))
            frame["patient"] = part["patient_id"].to_numpy()
            scores[source][name] = frame
        print(f"  {graph.name}: {name} done, {time.perf_counter() - began:.0f} s", flush=True)
    return scores, {s: whole_rows(scm, train, test) for s, test in tests.items()}, seconds


def groups_of(variables) -> dict[str, list[str]]:
    """Returns the groups of the table: age, no_finding, and all others."""
    alone = [name for name in ("age", "no_finding") if name in variables]
    groups = {name: [name] for name in alone}
    groups["all others"] = [name for name in variables if name not in alone]
    return groups


def summary(scores: Mapping[str, pd.DataFrame], variables: list[str]) -> dict:
    """Returns a group's figures: sums of the variables' means, and the lead over logistic
    regression.
    """
    frames = [scores[name] for name in variables if len(scores[name])]
    models = [c for c in (frames[0].columns if frames else ()) if c != "patient"]
    figures = {m: float(sum(frame[m].mean() for frame in frames)) for m in models}
    result = {"rows": [len(f) for f in frames], "nats": figures}
    if len(models) > 1:
        rival = max(PEERS[:2], key=lambda peer: figures[peer])
        lead = [(f[OURS] - f[rival]) for f in frames]
        centred = [
            ((d - d.mean()) / len(d)).groupby(f["patient"]).sum()
            for d, f in zip(lead, frames, strict=True)
        ]
        by_patient = pd.concat(centred, axis=1).sum(axis=1)
        result |= {
            "rival": rival,
            "lead": figures[OURS] - figures[rival],
            "standard_error": float(np.sqrt((by_patient**2).sum())),
        }
    return result


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds metadata/")
    parser.add_argument("--graphs", nargs="+", default=["cxr19", "cxr19-extended"])
    parser.add_argument("--fits", nargs="+", choices=FITS, default=list(FITS))
    parser.add_argument(
        "--patients", type=int, help="only so many patients per source: a quick look"
    )
    parser.add_argument("--no-peers", action="store_true", help="the SCM alone")
    parser.add_argument("--output", type=Path, default=Path("metadata_likelihood.json"))
    options = parser.parse_args()
    began = time.perf_counter()
    results = []
    for graph in map(load_graph, options.graphs):
        tables = {
            s: read_table(options.data / "metadata" / f, source=s, graph=graph)
            for s, f in FILES.items()
        }
        if options.patients:
            tables = {
                s: t[t["patient_id"].isin(t["patient_id"].unique()[: options.patients])]
                for s, t in tables.items()
            }
        part = {s: split_by_patient(t) for s, t in tables.items()}
        for fit in options.fits:
            sources = FITS[fit]
            train = pd.concat([tables[s][part[s] != "test"] for s in sources], ignore_index=True)
            tests = {
                NAMES[s]: tables[s][part[s] == "test"].reset_index(drop=True) for s in sources
            }
            scores, whole, seconds = evaluate(graph, train, tests, not options.no_peers)
            for source, by_variable in scores.items():
                groups = groups_of(by_variable)
                results.append(
                    {
                        "graph": graph.name,
                        "fingerprint": graph.fingerprint,
                        "fit": fit,
                        "source": source,
                        "train_rows": len(train),
                        "test_rows": len(tests[source]),
                        "fit_seconds": seconds,
                        "groups": {g: summary(by_variable, names) for g, names in groups.items()}
                        | {"whole row": whole[source]},
                        "variables": {v: summary(by_variable, [v]) for v in by_variable},
                    }
                )
    holds, sentence = verdict(results)
    print(markdown(results))
    print("\n" + sentence)
    for line in losers(results):
        print("below logistic regression: " + line)
    report = {
        "results": results,
        "verdict": {"holds": holds, "sentence": sentence, "losers": losers(results)},
        "seconds": time.perf_counter() - began,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }
    with atomic_path(options.output) as path:
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
