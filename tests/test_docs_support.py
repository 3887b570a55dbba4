"""The support matrix of the documentation: every cell of it is asked."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cxrcausal as cx
from cxrcausal.errors import InterventionError, UnobservedError

PAGE = Path(__file__).resolve().parents[1] / "docs" / "support.md"
KINDS = {
    "continuous": "number", "on a grid": "years", "binary": "finding", "ordinal": "grade",
    "nominal": "device", "definition": "normal",
}  # fmt: skip
LEVELS = {
    "years": range(31), "finding": ("negative", "positive"), "grade": ("none", "mild", "severe"),
    "device": ("A", "B", "C"), "normal": ("negative", "positive"),
}  # fmt: skip


def matrix() -> dict[tuple[str, str, str], str]:
    """The page's table: by question, cells and kind, the word that stands there."""
    lines = [x for x in PAGE.read_text("utf-8").splitlines() if x.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    head = rows[0]
    assert head[2:] == list(KINDS)
    return {(r[0], r[1], kind): r[i + 2] for r in rows[1:] for i, kind in enumerate(head[2:])}


MATRIX = matrix()


@pytest.fixture(scope="module")
def patients() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 800
    cause = rng.random(n) < 0.5
    table = pd.DataFrame(
        {
            "cause": np.where(cause, "yes", "no"),
            "number": rng.normal(cause * 1.0),
            "years": np.clip(np.round(rng.normal(12 + 4 * cause, 4)), 0, 30),
            "finding": np.where(rng.random(n) < 0.2 + 0.3 * cause, "positive", "negative"),
            "grade": rng.choice(["none", "mild", "severe"], n),
            "device": rng.choice(["A", "B", "C"], n),
        }
    )
    table["normal"] = np.where(table["finding"] == "positive", "negative", "positive")
    return table


@pytest.fixture(scope="module")
def graph() -> cx.CausalGraph:
    (text,) = re.findall(r'from_yaml\("""\n(.*?)"""', PAGE.read_text("utf-8"), re.DOTALL)
    return cx.CausalGraph.from_yaml(text)


@pytest.fixture(scope="module")
def scm(graph, patients) -> cx.FlowSCM:
    return cx.FlowSCM(graph).fit(patients, progress=False)


def without(row: pd.DataFrame, *names: str) -> pd.DataFrame:
    return row.assign(**dict.fromkeys(names, np.nan))


def of_noise(scm, row, name) -> str:
    noise = scm.abduct(row, num_samples=4, seed=0).noise[name]
    return "unique" if bool((noise == noise[0]).all()) else "drawn"


def of_probability(scm, row, name, cause) -> str:
    answer = scm.counterfactual_probability(row, {"cause": cause}, of=name)
    assert answer.attrs["standard_error"] == 0
    return "exact" if answer.attrs["exact"] else "cells"


def of_log_prob(scm, row, name) -> str:
    """The cell is summed out: over its levels, or, a continuum without effects, by its score."""
    found = scm.log_prob(without(row, name)).iloc[0]
    if name in LEVELS:
        each = [scm.log_prob(row.assign(**{name: x})).iloc[0] for x in LEVELS[name]]
        whole = np.logaddexp.reduce(each)
    else:
        whole = scm.log_prob(row).iloc[0] - scm.score(row)[name].iloc[0]
    return "exact" if abs(found - whole) < 1e-9 else "cells"


def of_setting(scm, row, name, value) -> str:
    try:
        world = scm.counterfactual(row, {name: value}, seed=0)
    except InterventionError:
        return "refused"
    return "exact" if world[name].iloc[0] == value else "other"


def of_unseen(graph, patients, name) -> str:
    """The same variable after a fit that never observed it."""
    scm = cx.FlowSCM(graph).fit(without(patients.head(60), name), progress=False)
    try:
        scm.counterfactual(patients.head(1), {name: patients[name].iloc[0]}, seed=0)
    except (UnobservedError, InterventionError):
        return "refused"
    return "exact"


@pytest.mark.parametrize(("question", "cells", "kind"), MATRIX)
def test_a_cell_of_the_matrix(question, cells, kind, scm, graph, patients):
    name, row = KINDS[kind], patients.head(1)
    asked = {
        "known": row, "unknown": without(row, name), "itself unknown": without(row, name),
        "its cause unknown": without(row, "cause"),
    }[cells]  # fmt: skip
    if question == "noise, by `abduct`":
        found = of_noise(scm, asked, name)
    elif question == "the same row under `do={}`":
        same = scm.predict(scm.abduct(asked, num_samples=20, seed=0), {})[name]
        found = "exact" if (same == row[name].iloc[0]).all() else "near"
    elif question == "`counterfactual_probability`":
        other = "no" if row["cause"].iloc[0] == "yes" else "yes"
        found = of_probability(scm, asked, name, other)
    elif question == "`log_prob`":
        found = of_log_prob(scm, row, name)
    elif question == "`do` sets it":
        found = of_setting(scm, asked, name, patients[name].iloc[1])
    elif question == "`do` sets what it cannot be":
        found = of_setting(scm, asked, name, 1000 if kind in ("continuous", "on a grid") else "?")
    else:
        assert question == "`do` sets what no fit has seen"
        found = of_unseen(graph, patients, name)
    assert found == MATRIX[question, cells, kind]
