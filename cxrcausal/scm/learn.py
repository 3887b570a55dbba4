"""Fitting an SCM node by node: which rows each mechanism may use, and what the fit never saw.

A mechanism is fitted on the rows where its variable and its observed parents are known. Variables
that no row records get no mechanism, and are left out as parents.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.errors import GraphError, TableError, nearest, summarise
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.graph.variable import Variable
from cxrcausal.scm.intervention import Observed
from cxrcausal.scm.mechanism import Mechanism
from cxrcausal.scm.table import check_table, encode

if TYPE_CHECKING:
    from cxrcausal.scm.fit import Coupling, Family

__all__ = ["Fitted", "data_fingerprint", "learn"]

logger = logging.getLogger("cxrcausal")


@final
@dataclass(frozen=True)
class Fitted:
    """What a fit leaves behind.

    Arguments:
        mechanisms: By variable, causes before effects; never observed: not a key.
        observed: The levels (discrete) or the range (continuous) that were seen of each.
        policies: How the table was read, from `table.attrs["cxrcausal"]`.
        data_fingerprint: Of the fitted rows; None if nothing was fitted.
    """

    mechanisms: dict[str, Mechanism]
    observed: dict[str, tuple]
    policies: dict[str, Any] = field(default_factory=dict)
    data_fingerprint: str | None = None

    @classmethod
    def of(
        cls,
        graph: CausalGraph,
        mechanisms: Mapping[str, Mechanism],
        observed: Observed | None,
        policies: Mapping[str, Any] | None = None,
        data_fingerprint: str | None = None,
    ) -> "Fitted":
        """Returns given mechanisms, checked against the graph.

        Raises:
            GraphError: If a mechanism is of no variable of the graph, or reads what the graph does
                not call its parent; or if `observed` does not say of each mechanism's variable
                which of its levels, or which range, was seen.
        """
        for name, mechanism in mechanisms.items():
            allowed = set(graph.parents(name)) & set(mechanisms)
            wrong = [p.name for p in mechanism.parents if p.name not in allowed]
            if wrong or mechanism.variable.name != name:
                raise GraphError(
                    f"the mechanism of {name!r} assigns {mechanism.variable.name!r} and reads "
                    f"{summarise(p.name for p in mechanism.parents)}; in graph {graph.name!r} "
                    f"the parents of {name!r} that have a mechanism are: {summarise(allowed)}"
                )
        ordered = {v: mechanisms[v] for v in graph.topological_order if v in mechanisms}
        if observed is None:
            observed = {name: _everything(m.variable) for name, m in ordered.items()}
        seen = {name: _checked(ordered[name].variable, observed.get(name)) for name in ordered}
        return cls(ordered, seen, dict(policies or {}), data_fingerprint)

    @property
    def fingerprint(self) -> str:
        """16 hex digits of a SHA-256 of what the mechanisms are and of all their numbers.

        Noise means the same world only under the very mechanisms that it was abducted with.
        """
        digest = hashlib.sha256()
        for name, mechanism in sorted(self.mechanisms.items()):
            config: dict[str, Any] = getattr(mechanism, "config", dict)()
            what = (type(mechanism).__name__, [p.name for p in mechanism.parents], config)
            digest.update(json.dumps((name, *what), sort_keys=True).encode())
            for key, tensor in sorted(mechanism.state_dict().items()):
                numbers = tensor.detach().cpu().contiguous()
                digest.update(f"{key} {numbers.dtype} {tuple(numbers.shape)}".encode())
                digest.update(numbers.numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def supports(self) -> dict[str, Tensor | None]:
        """The values (levels,) that each variable may have, those observed; None: a continuum."""
        supports: dict[str, Tensor | None] = {}
        for name, mechanism in self.mechanisms.items():
            support, levels = mechanism.support, mechanism.variable.levels
            if support is not None and levels and len(self.observed[name]) < len(levels):
                seen = sorted(levels.index(level) for level in self.observed[name])
                support = torch.tensor(seen, dtype=support.dtype, device=support.device)
            supports[name] = support
        return supports


def learn(
    graph: CausalGraph,
    table: pd.DataFrame,
    groups: str | np.ndarray | pd.Series | None,
    *,
    family: "Family",
    coupling: "Coupling",
    hidden: tuple[int, ...],
    seed: int,
    progress: bool | None,
) -> Fitted:
    """Fits every mechanism of a graph, see `FlowSCM.fit`."""
    from tqdm.auto import tqdm

    from cxrcausal.scm.fit import fit_mechanism

    table = check_table(table, graph, what="the table to fit")
    if not len(table):
        raise TableError("the table to fit has no rows")
    patients = _groups(groups, table)
    values = encode(table, graph)
    observed = {
        name: _seen(graph.variables[name], values[name])
        for name in graph.topological_order
        if not bool(values[name].isnan().all())
    }
    never = [name for name in graph.variables if name not in observed]
    if never:
        logger.info("never observed, so without a mechanism: %s", ", ".join(never))
    mechanisms = {}
    thin: list[str] = []
    bar = tqdm(
        observed, desc="fit", unit="node", disable=None if progress is None else not progress
    )
    for name in bar:
        bar.set_postfix_str(name)
        parents = tuple(graph.variables[p] for p in graph.parents(name) if p in observed)
        thin += _unmet(graph.variables[name], parents, values, observed)
        mechanisms[name] = fit_mechanism(
            graph.variables[name],
            parents,
            values,
            patients,
            family=family,
            coupling=coupling,
            seed=seed,
            hidden=hidden,
        )
    if thin:
        logger.warning(
            "some mechanisms saw no row of a level of a parent, and extrapolate there: %s",
            summarise(thin, 10),
        )
    return Fitted.of(
        graph, mechanisms, observed, table.attrs.get("cxrcausal"), data_fingerprint(table, graph)
    )


def data_fingerprint(table: pd.DataFrame, graph: CausalGraph) -> str:
    """Returns 16 hex digits of a SHA-256 of the graph's columns, whatever the order of the rows."""
    columns = list(graph.variables)
    words = pd.util.hash_pandas_object(table[columns], index=False).to_numpy(np.uint64)
    return hashlib.sha256(np.sort(words).tobytes()).hexdigest()[:16]


def _groups(groups: str | np.ndarray | pd.Series | None, table: pd.DataFrame) -> np.ndarray | None:
    """Returns whose row each is, as numbers (rows,)."""
    if groups is None:
        return None
    if isinstance(groups, str):
        if groups not in table.columns:
            raise TableError(
                f"the table to fit has no column {groups!r} to group by"
                f"{nearest(groups, table.columns)}"
            )
        groups = table[groups]
    elif isinstance(groups, pd.Series) and not groups.index.equals(table.index):
        raise TableError("groups is a Series with other row labels than the table to fit")
    if len(groups) != len(table):
        raise TableError(
            f"groups has {len(groups)} entries; the table to fit has {len(table)} rows"
        )
    codes, _ = pd.factorize(np.asarray(groups, dtype=object), sort=False)
    if (codes < 0).any():
        row = table.index[int((codes < 0).argmax())]
        raise TableError(f"groups is unknown in row {row!r}; every row belongs to a patient")
    return codes


def _seen(variable: Variable, x: Tensor) -> tuple:
    """Returns the levels, or the range, of known values."""
    known = x[~x.isnan()]
    if variable.is_discrete:
        return tuple(variable.levels[int(level)] for level in known.unique())
    return float(known.min()), float(known.max())


def _checked(variable: Variable, seen: object) -> tuple:
    """Returns what was seen of a variable, if it is some of its levels, or a range.

    Raises:
        GraphError: If it is neither.
    """
    if isinstance(seen, list | tuple) and seen and variable.has_part(seen):
        return tuple(seen)
    raise GraphError(
        f"what was observed of {variable.name!r} is {seen!r}; allowed: {variable.describe_part()}"
    )


def _everything(variable: Variable) -> tuple:
    """Returns all levels of a variable, or the whole of its range."""
    if variable.is_discrete:
        return variable.levels
    return variable.bounds or (-float("inf"), float("inf"))


def _unmet(
    variable: Variable,
    parents: tuple[Variable, ...],
    values: Mapping[str, Tensor],
    observed: Observed,
) -> list[str]:
    """Returns which observed levels of discrete parents the variable's rows never show."""
    known = ~torch.stack([values[v.name] for v in (variable, *parents)]).isnan().any(0)
    unmet = []
    for parent in parents:
        if parent.is_discrete:
            met = {parent.levels[int(k)] for k in values[parent.name][known].unique()}
            unmet += [
                f"{variable.name} ({parent.name}={level})"
                for level in observed[parent.name]
                if level not in met
            ]
    return unmet
