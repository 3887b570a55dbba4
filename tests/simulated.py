"""Simulated patients with a variable of every kind, for tests of what is fitted."""

import numpy as np
import pandas as pd

from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm import check_table

GRAPH = CausalGraph(
    [
        Variable("site", "nominal", ("north", "south", "east"), role="context"),
        Variable("age", "continuous", unit="years", bounds=(0.0, 99.0), resolution=1.0),
        Variable("sex", "binary", ("Female", "Male"), role="demographic"),
        Variable("ward", "nominal", ("A", "B"), role="context"),
        Variable("view", "nominal", ("PA", "AP", "LATERAL"), role="acquisition"),
        Variable("pressure", "continuous", unit="mmHg"),
        Variable("stage", "ordinal", ("0", "1", "2", "3")),
        Variable("edema", "binary", ("negative", "positive"), role="finding"),
        Variable("effusion", "binary", ("negative", "positive"), role="finding"),
        Variable("clear", "binary", ("negative", "positive"), mechanism="nor"),
    ],
    [
        ("site", "view"),
        ("site", "edema"),
        ("ward", "edema"),
        ("age", "pressure"),
        ("sex", "pressure"),
        ("pressure", "edema"),
        ("age", "edema"),
        ("sex", "edema"),
        ("edema", "stage"),
        ("age", "stage"),
        ("stage", "effusion"),
        ("edema", "effusion"),
        ("edema", "view"),
        ("edema", "clear"),
        ("effusion", "clear"),
    ],
    name="hospital",
)


def patients(n, seed=0, unknown=0.0, always=()):
    """`n` rows of `GRAPH`, of which the share `unknown` of cells is missing outside `always`.

    The ward is never recorded, and no radiograph is lateral.
    """
    draw = np.random.default_rng(seed)
    site = draw.choice(["north", "south", "east"], n, p=[0.5, 0.3, 0.2])
    age = np.clip(np.round(draw.normal(55, 18, n)), 0, 99)
    male = draw.random(n) < 0.55
    pressure = 100 + 0.5 * age + 6 * male + (4 + 0.05 * age) * draw.normal(size=n)
    edema = draw.random(n) < 1 / (1 + np.exp(4 - 0.03 * age - 0.7 * male - (site == "south")))
    stage = np.clip(np.round(draw.normal(0.8 + 1.2 * edema, 0.9)), 0, 3).astype(int)
    effusion = draw.random(n) < 0.08 + 0.15 * stage + 0.2 * edema
    clear = np.where(edema | effusion, draw.random(n) < 0.01, draw.random(n) < 0.95)
    portable = draw.random(n) < 0.2 + 0.4 * edema + 0.2 * (site == "east")
    table = pd.DataFrame(
        {
            "site": site,
            "age": age,
            "sex": np.where(male, "Male", "Female"),
            "ward": None,
            "view": np.where(portable, "AP", "PA"),
            "pressure": pressure,
            "stage": stage.astype(str),
            "edema": edema,
            "effusion": effusion,
            "clear": clear,
            "patient": np.arange(n) // 2,
        },
        index=pd.Index([f"radiograph-{i}" for i in range(n)], name="radiograph"),
    )
    table = check_table(table, GRAPH)
    for name in GRAPH.variables:
        lost = draw.random(n) < unknown
        table[name] = table[name] if name in always else table[name].mask(lost)
    return table
