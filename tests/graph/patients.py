"""Simulated patients of a known graph, with several radiographs each, for tests of what data say.

What a patient has persists over the radiographs: a radiograph's findings are independent given
their parents and the patient's own noise, of which each variable has its own.
"""

import numpy as np
import pandas as pd
from random_graphs import binary

from cxrcausal.graph import CausalGraph, Variable

FINDINGS = ("mass", "fluid", "rare", "haze")
GRAPH = CausalGraph(
    [
        Variable("age", "continuous", bounds=(0, 110), resolution=1),
        binary("sex"),
        *(binary(name) for name in FINDINGS),
        Variable("view", "nominal", ("PA", "AP", "LATERAL")),
    ],
    [
        *((cause, effect) for cause in ("age", "sex") for effect in ("mass", "fluid")),
        *((cause, "haze") for cause in ("age", "mass", "fluid")),
        ("age", "rare"),
        ("mass", "view"),
        ("haze", "view"),
    ],
    name="ward",
)


def patients(seed: int, rows: int = 3000, radiographs: int = 3, rare_to_haze: float = 0.0):
    """Rows of `GRAPH`, or of `GRAPH` with the arrow rare -> haze, of the given log odds ratio.

    The mechanisms interact and bend, so that no additive logistic regression is the truth.
    """
    draw = np.random.default_rng(seed)
    count = rows // radiographs

    def own(spread):
        return np.repeat(draw.normal(size=count) * spread, radiographs)

    def happens(logit):
        return draw.random(rows) < 1 / (1 + np.exp(-logit))

    age = np.clip(np.round(55 + 16 * own(1)), 1, 99)
    old = (age - 55) / 16
    sex = np.repeat(draw.random(count) < 0.5, radiographs)
    mass = happens(-1 + old + 0.5 * sex * old**2 + own(1.5))
    fluid = happens(-2.2 - 0.5 * old + 0.5 * sex + own(1.5))
    rare = happens(-4.5 + 0.5 * old + own(1.5))
    haze = happens(
        -1.5 + mass + fluid - 1.2 * (mass & fluid) + 0.3 * old + own(1) + rare_to_haze * rare
    )
    portable = happens(-1 + 1.2 * haze + 0.5 * mass + own(0.7))
    view = np.where(portable, "AP", np.where(draw.random(rows) < 0.3, "LATERAL", "PA"))
    return pd.DataFrame(
        {
            "age": age,
            "sex": sex,
            "mass": mass,
            "fluid": fluid,
            "rare": rare,
            "haze": haze,
            "view": view,
            "patient_id": np.repeat(np.arange(count), radiographs),
        }
    )
