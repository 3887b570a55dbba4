"""The graph against data: what it denies and is there, what it claims and is not.

Every pair of variables makes one claim (see `claims`), every claim gets an effect size in nats per
row and a p-value by patient (see `dependence`), and the p-values of one graph are adjusted
together (Holm, valid under any dependence among them). With many rows nearly every p-value is
small: the effect size comes first, and a misfit is an independence that costs more than a
tolerance.

A variable that no row knows cannot be tested or held. It is taken out by latent projection, and
what it ties together is excused by its name.

References:
    | A simple sequentially rejective multiple test procedure
    | (Holm, 1979), https://www.jstor.org/stable/4615733
    | Independence properties of directed Markov fields (Lauritzen et al., 1990)
    | Toward Falsifying Causal Graphs Using a Permutation-Based Test
    | (Eulig et al., 2023), https://arxiv.org/abs/2305.09565
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
import pandas as pd

from cxrcausal.errors import GraphError, TableError
from cxrcausal.graph.falsification.claims import Claim, claims
from cxrcausal.graph.falsification.dependence import Dependence, PairTest
from cxrcausal.graph.falsification.table import Cells

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cxrcausal.graph.dag import CausalGraph

__all__ = ["Falsification", "falsify", "holm"]

SMALLEST = 1e-300
VERDICTS = ("misfit", "excused", "holds", "unsupported", "supported", "untested")


@final
@dataclass(frozen=True)
class Falsification:
    """What data say of every claim of one graph, or of several side by side.

    Arguments:
        table: One row per graph and claim, the strongest effects of each graph first: `graph`,
            `claim` (in words), `kind` (`independence` or `edge`), `x`, `y`, `given`, `nats` (per
            row), `log_odds` (where both have two levels), `statistic`, `df`, `p`, `p_adjusted`
            (over the claims of one graph), `rows` (tested), `unknown` (rows in which something is
            not known), `excused_by`, `verdict` and `note`. The verdicts: of an independence
            `misfit` (contradicted), `excused` (it would be, but a declared hidden cause or
            selection allows it) or `holds`; of an edge `supported` or `unsupported` (not seen
            given the other parents); `untested`, with a note that says why.
        rows: How many rows the table had.
        patients: How many patients.
        alpha: Below which adjusted p-value something is seen.
        tolerance: Above how many nats per row an independence is contradicted.
    """

    table: pd.DataFrame
    rows: int
    patients: int
    alpha: float
    tolerance: float

    @property
    def graphs(self) -> tuple[str, ...]:
        """The names of the graphs, in the order in which they were given."""
        return tuple(dict.fromkeys(self.table["graph"]))

    def misfits(self, graph: str | None = None) -> pd.DataFrame:
        """Returns the contradicted independencies of one graph (or all), the strongest first."""
        return self._of("misfit", graph)

    def unsupported(self, graph: str | None = None) -> pd.DataFrame:
        """Returns the edges that the data do not show, the weakest first."""
        return self._of("unsupported", graph).iloc[::-1]

    def _of(self, verdict: str, graph: str | None) -> pd.DataFrame:
        if graph is not None and graph not in self.graphs:
            raise GraphError(f"no graph {graph!r} was tested; there is {', '.join(self.graphs)}")
        chosen = self.table["verdict"] == verdict
        return self.table[chosen & ((self.table["graph"] == graph) | (graph is None))]

    def plot(self, most: int = 12) -> "Figure":
        """Returns a figure of the strongest misfits and weakest edges; see `falsify_figure`."""
        from cxrcausal.graph.falsification.figure import falsify_figure

        return falsify_figure(self, most)

    def __str__(self) -> str:
        lines = [f"{self.rows:,} rows of {self.patients:,} patients"]
        for graph in self.graphs:
            own = self.table[self.table["graph"] == graph]
            count = {v: int((own["verdict"] == v).sum()) for v in VERDICTS}
            independent = own[own["kind"] == "independence"]
            cost = independent.loc[independent["verdict"] != "untested", "nats"].clip(lower=0)
            lines += [
                f"{graph}: of {len(independent)} independencies {count['misfit']} contradicted, "
                f"{count['excused']} excused, {count['holds']} hold; of "
                f"{len(own) - len(independent)} edges {count['supported']} seen, "
                f"{count['unsupported']} not; {count['untested']} untested; the independencies' "
                f"gains add to {cost.sum():.4f} nats a row",
            ]
            for title, some in (
                ("contradicted", self.misfits(graph)),
                ("excused", self._of("excused", graph)),
                ("not seen", self.unsupported(graph)),
            ):
                lines += [f"  {title:12} {_line(row)}" for _, row in some.head(5).iterrows()]
        return "\n".join(lines)


def _line(row: pd.Series) -> str:
    odds = "" if np.isnan(row["log_odds"]) else f", log odds ratio {row['log_odds']:+.2f}"
    excuse = f" ({', '.join(row['excused_by'])})" if row["excused_by"] else ""
    pair = f"{row['y']} → {row['x']}" if row["kind"] == "edge" else f"{row['x']} ⊥ {row['y']}"
    p = row["p_adjusted"]
    chance = f"p {p:.1g}" if p >= SMALLEST else f"p < {SMALLEST:.0e}"
    return f"{pair}: {row['nats']:.5f} nats{odds}, {chance}{excuse}"


def falsify(
    graph: "CausalGraph",
    table: pd.DataFrame,
    groups: "str | Sequence[Hashable] | pd.Series | np.ndarray | None" = None,
    *,
    compare: "CausalGraph | Sequence[CausalGraph]" = (),
    alpha: float = 0.05,
    tolerance: float = 1e-4,
) -> Falsification:
    """Returns what the data say of every independence and every edge of the graph.

    Each test uses the rows in which its own variables are known. The radiograph is not tested.

    Arguments:
        graph: The graph.
        table: One row per radiograph: levels as strings, categoricals, booleans or 0/1, NaN
            unknown.
        groups: The column of patients, or one label per row; None if each row is its own.
        compare: Another graph over the same variables, or several, tested on the same rows.
        alpha: Below which adjusted p-value something is seen.
        tolerance: Above how many nats per row an independence counts as contradicted.

    Raises:
        TableError: If a column is misnamed, a value is not allowed, or no two variables are known.
        GraphError: If two graphs that are compared have one name, or other variables, or `alpha`
            or `tolerance` is out of range.
    """
    if not 0 < alpha < 1:
        raise GraphError(f"alpha is {alpha}; it is a probability between 0 and 1")
    if not tolerance >= 0:
        raise GraphError(f"tolerance is {tolerance} nats per row; it cannot be below 0")
    others = list(compare) if isinstance(compare, Sequence) else [compare]
    graphs = [graph, *others]
    for other in others:
        if {v.name: v for v in other.variables.values()} != dict(graph.variables.items()):
            changed = [str(c) for c in graph.diff(other).changed]
            raise GraphError(
                f"graphs {graph.name!r} and {other.name!r} declare other variables; "
                f"{'; '.join(changed) or 'compare graphs over the same ones'}"
            )
    if len({g.name for g in graphs}) < len(graphs):
        raise GraphError(
            f"two of the graphs are called {graphs[-1].name!r}; give each its name, since the "
            f"result tells them apart by it"
        )
    cells = Cells(table, graph, groups)
    known = [v for v, c in cells.columns.items() if (c.code >= 0).any()]
    if len(known) < 2:
        raise TableError(f"only {len(known)} variables are known in any row; a test needs two")
    pair = PairTest(cells)
    tested: dict[tuple[str, str, tuple[str, ...]], Dependence] = {}
    parts = []
    for one in graphs:
        seen = one.project(known)
        rows = []
        for claim, held in _to_test(one, seen, cells):
            key = (claim.x, claim.y, held)
            if key not in tested:
                tested[key] = pair.test(*key)
            rows.append(_row(one.name, claim, tested[key], cells.rows))
        rows += [
            _row(one.name, claim, Dependence(0, note="no row knows one of the two"), cells.rows)
            for claim in claims(one)
            if claim.x not in known or claim.y not in known
        ]
        part = pd.DataFrame(rows)
        part["p_adjusted"] = holm(part["p"].to_numpy())
        part["verdict"] = [_verdict(row, alpha, tolerance) for _, row in part.iterrows()]
        parts.append(part.sort_values("nats", ascending=False, kind="stable", na_position="last"))
    columns = (
        "graph claim kind x y given nats log_odds statistic df p p_adjusted rows unknown "
        "excused_by verdict note"
    ).split()
    whole = pd.concat(parts, ignore_index=True)[columns]
    patients = cells.rows if cells.group is None else int(cells.group.max()) + 1
    return Falsification(whole, cells.rows, patients, alpha, tolerance)


def _to_test(
    graph: "CausalGraph", seen: "CausalGraph", cells: Cells
) -> Iterator[tuple[Claim, tuple[str, ...]]]:
    """Yields the claims and what is held; independencies first, which share what they hold.

    Of a definition's parents only one thing matters, whether any finding is positive.
    """
    stated = sorted(
        claims(seen), key=lambda c: (seen.topological_order.index(c.x), c.kind == "edge")
    )
    for claim in stated:
        held = claim.given
        if graph.variables[claim.x].is_definition:
            findings = tuple(v for v in held if graph.variables[v].kind == "binary")
            if len(findings) > 1:
                rest = tuple(v for v in held if v not in findings)
                held = (*rest, cells.add_any(f"any of {', '.join(findings)}", findings))
        yield claim, held


def _row(graph: str, claim: Claim, found: Dependence, rows: int) -> dict[str, object]:
    return {
        "graph": graph,
        "claim": str(claim),
        "kind": claim.kind,
        "x": claim.x,
        "y": claim.y,
        "given": claim.given,
        "nats": found.nats,
        "log_odds": found.log_odds,
        "statistic": found.statistic,
        "df": found.df,
        "p": found.p,
        "rows": found.rows,
        "unknown": rows - found.rows,
        "excused_by": claim.excused_by,
        "note": found.note,
    }


def _verdict(row: pd.Series, alpha: float, tolerance: float) -> str:
    if np.isnan(row["p"]):
        return "untested"
    seen = row["p_adjusted"] < alpha
    if row["kind"] == "edge":
        return "supported" if seen and row["nats"] > 0 else "unsupported"
    if seen and row["nats"] > tolerance:
        return "excused" if row["excused_by"] else "misfit"
    return "holds"


def holm(p: np.ndarray) -> np.ndarray:
    """Returns Holm's adjusted p-values; NaN stays NaN and counts for nothing."""
    adjusted = np.full(len(p), np.nan)
    made = np.flatnonzero(~np.isnan(p))
    order = made[np.argsort(p[made], kind="stable")]
    factor = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factor), 1.0)
    return adjusted
