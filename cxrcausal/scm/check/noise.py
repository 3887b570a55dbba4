r"""Is the abducted noise independent of the parents, and of the other variables' noise?

The causal model says so: :math:`u_v` is independent of :math:`\mathrm{pa}_v` and of every other
:math:`u`. A mechanism of the wrong form leaves its parents in the noise; an arrow or a common
cause that the graph lacks ties two noises together. What ties them moves counterfactuals, since
these hold the noise fixed.

Noise is carried to the standard normal by its own prior. Of a discrete variable only an interval
is known; its mean over several draws is used (the generalised residual), for a single draw would
hide the dependence behind its own chance. Effects and tests are those of `graph.dependence`, by
patient.

References:
    | Generalised residuals
    | (Gourieroux, Monfort, Renault and Trognon, 1987), https://doi.org/10.1016/0304-4076(87)90079-4
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

import numpy as np
import pandas as pd
import torch
from scipy.special import ndtr
from torch import Tensor

from cxrcausal.graph.dag import CausalGraph
from cxrcausal.graph.falsification.dependence import PairTest
from cxrcausal.graph.falsification.table import Cells
from cxrcausal.graph.variable import Variable
from cxrcausal.scm.mechanism.base import Mechanism

if TYPE_CHECKING:
    from cxrcausal.scm.model import FlowSCM

__all__ = ["NormalScores", "noise_dependence", "normal_scores"]

DRAWS = 16
FAR, POINTS = 8.0, 2**15 + 1
"""Noise counts as no further out than this, and so many points tabulate a prior."""


@final
@dataclass(frozen=True)
class NormalScores:
    """The abducted noise of rows on two scales, and the facts that it was abducted from.

    Arguments:
        uniform: One draw by variable (rows, numbers), as the uniform that the prior makes it from.
        normal: The mean over draws by variable (rows, numbers), on the standard normal scale.
        known: Whether a variable and its parents were known (rows,).
        values: The facts by variable (rows,), unknown cells as drawn.
    """

    uniform: Mapping[str, np.ndarray]
    normal: Mapping[str, np.ndarray]
    known: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]


def normal_scores(scm: "FlowSCM", rows: pd.DataFrame, seed: int) -> NormalScores:
    """Abducts the noise of rows and carries it to the uniform and to the normal scale."""
    exogenous = scm.abduct(rows, num_samples=DRAWS, seed=seed)
    uniform, normal, known = {}, {}, {}
    for name, mechanism in scm.mechanisms.items():
        z = _normal(mechanism, exogenous.noise[name]).reshape(len(rows), DRAWS, -1)
        uniform[name], normal[name] = ndtr(z[:, 0]), z.mean(1)
        cells = [exogenous.known[n] for n in (name, *(p.name for p in mechanism.parents))]
        known[name] = torch.stack(cells).all(0).cpu().numpy()
    values = {name: x[::DRAWS].cpu().numpy() for name, x in exogenous.values.items()}
    return NormalScores(uniform, normal, known, values)


def _normal(mechanism: Mechanism, noise: Tensor) -> np.ndarray:
    """Returns noise (rows, numbers) on the standard normal scale, from a table of the prior.

    The prior acts number by number and is monotone; that is all that is asked of it.
    """
    z = np.linspace(-FAR, FAR, POINTS)
    uniform = torch.special.ndtr(noise.new_tensor(z))[:, None].expand(-1, noise.shape[-1])
    with torch.no_grad():
        made = mechanism.prior(uniform).cpu().numpy()
    columns = []
    for x, reached in zip(noise.cpu().numpy().T, made.T, strict=True):
        if reached[0] > reached[-1]:
            x, reached = -x, -reached
        columns.append(np.interp(x, reached, z))
    return np.stack(columns, axis=1)


def noise_dependence(
    scm: "FlowSCM", noise: NormalScores, rows: pd.DataFrame, group: np.ndarray | None
) -> pd.DataFrame:
    """Returns `FitCheck.noises`: every two noises, and every noise with its variable's parents."""
    columns: dict[str, np.ndarray] = {}
    owner: dict[str, str] = {}
    for name, z in noise.normal.items():
        variable, levels = scm.graph.variables[name], scm.observed[name]
        if variable.is_discrete and len(levels) < 2:
            continue  # a constant has noise of no consequence
        for k in range(z.shape[1]):
            key = name if z.shape[1] == 1 else f"{name} = {variable.levels[k]}"
            if z.shape[1] == 1 or variable.levels[k] in levels:
                columns[key], owner[key] = np.where(noise.known[name], z[:, k], np.nan), name
    cells = _Named(scm, columns, rows, group)
    keys, found = list(columns), []
    for i, a in enumerate(keys):
        for b in keys[:i]:
            if owner[a] != owner[b]:
                found.append(cells.line("noise", a, b))
        mechanism = scm.mechanisms[owner[a]]
        found += [cells.line("parent", a, p.name) for p in mechanism.parents]
        if mechanism.variable.is_ordered and mechanism.variable.kind != "binary":
            found += [cells.line("spread", a, p.name) for p in mechanism.parents]
    names = ["kind", "x", "y", "nats", "correlation", "statistic", "df", "p", "rows"]
    table = pd.DataFrame(found, columns=names).dropna(subset=["p"])
    return table.sort_values("nats", ascending=False, kind="stable", ignore_index=True)


@final
class _Named:
    """Noises, their spreads and the facts as one table to test pairs in, each with a name."""

    def __init__(
        self,
        scm: "FlowSCM",
        columns: Mapping[str, np.ndarray],
        rows: pd.DataFrame,
        group: np.ndarray | None,
    ) -> None:
        self.columns = columns
        self.at = {}
        variables, table = [], {}
        for j, name in enumerate(scm.mechanisms):
            self.at["fact", name] = f"fact_{j}"
            fact = replace(scm.graph.variables[name], name=f"fact_{j}", mechanism=None)
            variables.append(fact)
            table[fact.name] = rows[name]
        for j, (key, z) in enumerate(columns.items()):
            for kind, x in (("noise", z), ("spread", np.log(0.01 + z**2))):
                self.at[kind, key] = f"{kind}_{j}"
                variables.append(Variable(f"{kind}_{j}", "continuous"))
                table[f"{kind}_{j}"] = pd.Series(x, rows.index)
        graph = CausalGraph(variables, [], name="noises")
        self.pair = PairTest(Cells(pd.DataFrame(table), graph, group, "the noises"))

    def line(self, kind: str, x: str, y: str) -> tuple[object, ...]:
        """Returns one line of `FitCheck.noises`."""
        left = self.at["spread" if kind == "spread" else "noise", x]
        right = self.at["noise" if kind == "noise" else "fact", y]
        found = self.pair.test(left, right, ())
        rho = _correlation(self.columns[x], self.columns[y]) if kind == "noise" else math.nan
        return (kind, x, y, found.nats, rho, found.statistic, found.df, found.p, found.rows)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    known = ~(np.isnan(a) | np.isnan(b))
    a, b = a[known], b[known]
    if len(a) < 2 or not a.std() or not b.std():
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])
