r"""Can sampled rows be distinguished from observed ones? The energy distance of two tables.

.. math:: E = 2 \, \mathbb{E}|X - Y| - \mathbb{E}|X - X'| - \mathbb{E}|Y - Y'|

is zero only if observed rows :math:`X` and sampled rows :math:`Y` have one distribution. A row is
a point: indicators of levels as 0/1, ordered numbers divided by twice their standard deviation, so
that both weigh alike. Unknown cells are drawn from their posterior first, which draws the two
distributions together: what is found is then the least that differs.

The p-value is by permutation: every observed row has a sampled partner, and each patient's rows
change sides with their partners or stay, as a whole. With one row per patient that is exact; with
more it counts the likeness of one patient's radiographs.

References:
    | Energy statistics: A class of statistics based on distances
    | (Székely and Rizzo, 2013), https://doi.org/10.1016/j.jspi.2013.03.018
    | Scaling regression inputs by dividing by two standard deviations
    | (Gelman, 2008), https://doi.org/10.1002/sim.3107
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from cxrcausal.scm.table import encode

if TYPE_CHECKING:
    from cxrcausal.scm.model import FlowSCM

__all__ = ["Energy", "energy_test"]

MOST_ROWS = 2000
"""So many rows are compared with as many sampled ones: all pairs of distances are in memory."""


@final
@dataclass(frozen=True)
class Energy:
    """The energy distance of observed and sampled rows.

    Arguments:
        distance: The energy distance.
        share: It in units of twice the mean distance between an observed and a sampled row: 0 if
            both are of one distribution, 1 if they are two points.
        by_chance: The mean share over permutations: what rows of one distribution show.
        shuffled: The share between observed rows and rows whose columns were shuffled: what a
            model of independent marginals would show.
        p: The permutation p-value; NaN for a single patient, who has nobody to change sides with.
        rows: How many observed rows.
        marginals: What differs in single variables, the most first: `what` (a level, or a mean),
            `observed`, `sampled` and `difference` (of means in standard deviations).
        permuted: The shares of all permutations, (permutations,).
    """

    distance: float
    share: float
    by_chance: float
    shuffled: float
    p: float
    rows: int
    marginals: pd.DataFrame = field(repr=False)
    permuted: np.ndarray = field(repr=False)

    def __str__(self) -> str:
        most = ", ".join(
            f"{line.what} {line.sampled:.3f} for {line.observed:.3f}"
            for line in self.marginals.head(3).itertuples()
        )
        return (
            f"{self.share:.5f} of the mean distance ({self.by_chance:.5f} by chance, "
            f"{self.shuffled:.5f} with shuffled columns), p {self.p:.2g}, {self.rows:,} rows; "
            f"most sampled apart: {most}"
        )


def energy_test(
    scm: "FlowSCM",
    values: Mapping[str, np.ndarray],
    patient: np.ndarray,
    seed: int,
    draw: np.random.Generator,
    permutations: int,
) -> Energy:
    """Returns the energy distance of rows, unknown cells drawn, and rows that the SCM samples.

    Arguments:
        scm: The fitted SCM.
        values: Values (rows,) by variable.
        patient: The patient of each row (rows,).
        seed: Of the sampled rows.
        draw: Picks rows and permutations.
        permutations: How many.
    """
    rows = len(patient)
    subset = np.arange(rows)
    if rows > MOST_ROWS:
        subset = draw.choice(rows, MOST_ROWS, replace=False)
    observed = {name: x[subset] for name, x in values.items()}
    sampled = encode(scm.sample(len(subset), seed=seed), scm.graph, observed)
    x = _points(scm, observed, observed)
    y = _points(scm, {name: v.numpy() for name, v in sampled.items()}, observed)
    shuffled = {name: draw.permutation(v) for name, v in observed.items()}
    z = _points(scm, shuffled, observed)
    distances = _between(np.concatenate([x, y]))
    _, own = np.unique(patient[subset], return_inverse=True)
    sign = np.where(draw.random((int(own.max()) + 1, permutations)) < 0.5, 1.0, -1.0)
    side = np.concatenate([np.ones(len(x)), -np.ones(len(y))])
    flips = np.concatenate([np.ones((len(side), 1)), np.tile(sign[own], (2, 1))], axis=1)
    sides = (side[:, None] * flips).astype(np.float32)
    energies = -(sides * (distances @ sides)).sum(0, dtype=np.float64) / len(x) ** 2
    # All permutations on the scale of the table as it is, so that shares compare as energies do.
    shares = energies / _scale(distances)
    other = _between(np.concatenate([x, z]))
    p = float((1 + (shares[1:] >= shares[0] - 1e-12).sum()) / (1 + permutations))
    loose = -float((side * (other @ side.astype(np.float32))).sum()) / len(x) ** 2
    return Energy(
        float(energies[0]),
        float(shares[0]),
        float(shares[1:].mean()),
        loose / _scale(other),
        p if len(sign) > 1 else math.nan,
        len(x),
        _marginals(scm, values, {name: v.numpy() for name, v in sampled.items()}),
        shares[1:],
    )


def _marginals(
    scm: "FlowSCM", values: Mapping[str, np.ndarray], sampled: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """Returns `Energy.marginals`, of two levels the second alone."""
    lines = []
    for name, x in values.items():
        variable, y = scm.graph.variables[name], sampled[name]
        if variable.is_discrete:
            first = 1 if len(variable.levels) == 2 else 0
            for k, level in enumerate(variable.levels[first:], first):
                a, b = float((x == k).mean()), float((y == k).mean())
                lines.append((f"{name} = {level}", a, b, b - a))
        else:
            a, b = float(x.mean()), float(y.mean())
            lines.append((f"mean {name}", a, b, (b - a) / (float(x.std()) or 1.0)))
    table = pd.DataFrame(lines, columns=["what", "observed", "sampled", "difference"])
    order = np.argsort(-table["difference"].abs().to_numpy(), kind="stable")
    return table.iloc[order].reset_index(drop=True)


def _between(points: np.ndarray) -> np.ndarray:
    """Returns all distances (points, points) in float32: half the memory, and enough digits."""
    return cdist(points, points).astype(np.float32)


def _scale(distances: np.ndarray) -> float:
    """Returns twice the mean distance between the two halves of the points; 1 if none."""
    half = len(distances) // 2
    return 2 * float(distances[:half, half:].mean(dtype=np.float64)) or 1.0


def _points(
    scm: "FlowSCM", values: Mapping[str, np.ndarray], scale: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Returns rows as points (rows, coordinates), scaled by the spread of the observed ones."""
    columns = []
    for name, x in values.items():
        variable = scm.graph.variables[name]
        if variable.kind == "nominal":  # two rows of different levels are one apart
            columns += [(x == k) / np.sqrt(2) for k in range(len(variable.levels))]
        elif variable.kind == "binary":
            columns.append(x)
        else:
            columns.append(x / ((2 * scale[name].std()) or 1.0))
    return np.stack(columns, axis=1).astype(np.float64)
