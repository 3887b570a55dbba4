"""Fitting an SCM node by node: which rows each mechanism may use, and what the fit never saw.

A mechanism is fitted on the rows where its variable and its observed parents are known, or from
there on by EM on what all rows say (`em`). Variables that no row records get no mechanism, and are
left out as parents.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, final, get_args

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.errors import GraphError, OptionError, TableError, nearest, summarise
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.graph.variable import Variable
from cxrcausal.randomness import label_words, uniform
from cxrcausal.scm.intervention import Observed
from cxrcausal.scm.likelihood import Likelihood, read_likelihood
from cxrcausal.scm.mechanism import Mechanism
from cxrcausal.scm.table import check_table, encode

if TYPE_CHECKING:
    from cxrcausal.scm.fit import Coupling, Family

__all__ = ["Fitted", "Missing", "data_fingerprint", "learn"]

Missing = Literal["available", "em"]
"""What a fit makes of rows with unknown cells: each mechanism learns from the rows where it and its
parents are known, or all of them learn from what every row says, by EM."""

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
        observed_by: What was seen of each variable under each level of each context (such as a
            source): context to level to variable to levels or range.
    """

    mechanisms: dict[str, Mechanism]
    observed: dict[str, tuple]
    policies: dict[str, Any] = field(default_factory=dict)
    data_fingerprint: str | None = None
    observed_by: dict[str, dict[str, dict[str, tuple]]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        graph: CausalGraph,
        mechanisms: Mapping[str, Mechanism],
        observed: Observed | None,
        policies: Mapping[str, Any] | None = None,
        data_fingerprint: str | None = None,
        observed_by: Mapping[str, dict] | None = None,
    ) -> "Fitted":
        """Returns given mechanisms, checked against the graph.

        Raises:
            GraphError: If a mechanism is of no variable of the graph, or reads what the graph does
                not call its parent; or if `observed` does not say of each mechanism's variable
                which of its levels, or which range, was seen, or `observed_by` says of a context
                what it cannot have.
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
        by = {name: _checked_by(graph, name, part) for name, part in (observed_by or {}).items()}
        return cls(ordered, seen, dict(policies or {}), data_fingerprint, by)

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
    missing: Missing = "available",
    likelihood: Likelihood | None = None,
) -> Fitted:
    """Fits every mechanism of a graph, see `FlowSCM.fit`."""
    from cxrcausal.scm.em import maximise_evidence, set_aside

    if missing not in get_args(Missing):
        raise OptionError(
            f"missing={missing!r} is not known{nearest(missing, get_args(Missing)) or '.'} "
            f"Allowed: {summarise(get_args(Missing))}"
        )
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
    if likelihood and missing != "em":
        raise OptionError(
            f"likelihood speaks of unknown cells, which a fit with missing={missing!r} leaves out; "
            f"give missing='em'"
        )
    how = {"family": family, "coupling": coupling, "seed": seed, "hidden": hidden}
    policies = dict(table.attrs.get("cxrcausal", {}))
    if missing != "available":
        policies["missing"] = missing
    fitted = partial(
        Fitted.of,
        graph,
        observed=observed,
        policies=policies,
        data_fingerprint=data_fingerprint(table, graph),
        observed_by=_seen_by_context(graph, values, observed),
    )
    if missing == "available":
        return fitted(_fit_known(graph, values, patients, observed, how, progress))
    held = set_aside(patients, len(table), seed)
    if any(bool(values[name].isnan()[torch.from_numpy(~held)].all()) for name in observed):
        held[:] = False  # too little is known of a variable to spare some of it
    rows = torch.from_numpy(~held)
    start = fitted(
        _fit_known(
            graph,
            _startable(graph, values, observed, rows, seed),
            patients,
            observed,
            how | {"weights": (~held).astype(np.float64)},
            progress,
            warn=False,
        )
    )
    children, said = read_likelihood(likelihood, table.index, graph.variables, observed)
    return fitted(
        maximise_evidence(
            start.mechanisms,
            children,
            start.supports,
            {name: values[name] for name in start.mechanisms} | said,
            held,
            table.index if table.index.is_unique else pd.RangeIndex(len(table)),
            seed=seed,
            progress=progress,
        )
    )


def _fit_known(
    graph: CausalGraph,
    values: Mapping[str, Tensor],
    patients: np.ndarray | None,
    observed: Observed,
    how: Mapping[str, Any],
    progress: bool | None,
    *,
    warn: bool = True,
) -> dict[str, Mechanism]:
    """Returns every mechanism fitted on the rows where it and its observed parents are known."""
    from tqdm.auto import tqdm

    from cxrcausal.scm.fit import fit_mechanism

    mechanisms = {}
    thin: list[str] = []
    bar = tqdm(
        observed, desc="fit", unit="node", disable=None if progress is None else not progress
    )
    for name in bar:
        bar.set_postfix_str(name)
        parents = tuple(graph.variables[p] for p in graph.parents(name) if p in observed)
        thin += _unmet(graph.variables[name], parents, values, observed)
        mechanisms[name] = fit_mechanism(graph.variables[name], parents, values, patients, **how)
    if thin and warn:
        logger.warning(
            "some mechanisms saw no row of a level of a parent, and extrapolate there: %s",
            summarise(thin, 10),
        )
    return mechanisms


def _startable(
    graph: CausalGraph,
    values: Mapping[str, Tensor],
    observed: Observed,
    rows: Tensor,
    seed: int,
) -> dict[str, Tensor]:
    """Returns values from which every mechanism can be started on the wanted `rows` (mask).

    Where a variable is never known beside all of its parents (two sources that record different
    columns), unknown parents are filled at random with known values of their own: EM then learns
    what the start cannot know.
    """
    filled = dict(values)
    for name in observed:
        parents = [p for p in graph.parents(name) if p in observed]
        together = ~torch.stack([filled[v].isnan() for v in (name, *parents)]).any(0)
        if bool((together & rows).any()):
            continue
        for parent in parents:
            x = filled[parent]
            known, lacks = x[~x.isnan()], x.isnan()
            labels = label_words(pd.RangeIndex(len(x)))
            at = uniform(seed, labels, f"{parent} start").squeeze(1) * len(known)
            filled[parent] = torch.where(lacks, known[at.to(torch.int64)], x)
    return filled


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


def _seen_by_context(
    graph: CausalGraph, values: Mapping[str, Tensor], observed: Observed
) -> dict[str, dict[str, dict[str, tuple]]]:
    """Returns what was seen of each variable under each observed level of each context."""
    seen: dict[str, dict[str, dict[str, tuple]]] = {}
    for context in observed:
        variable = graph.variables[context]
        if variable.role != "context" or not variable.is_discrete:
            continue
        seen[context] = {}
        for level in observed[context]:
            here = values[context] == variable.levels.index(str(level))
            some = {name: values[name][here] for name in observed if name != context}
            seen[context][str(level)] = {
                name: _seen(graph.variables[name], x)
                for name, x in some.items()
                if not bool(x.isnan().all())
            }
    return seen


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


def _checked_by(graph: CausalGraph, context: str, seen: object) -> dict[str, dict[str, tuple]]:
    """Returns what was seen of each variable under each level of a context, if it can have been.

    Raises:
        GraphError: If the context or a variable is not in the graph, or has no such levels or range.
    """
    levels = graph.variables[context].levels if context in graph.variables else ()
    if not levels or not isinstance(seen, Mapping) or not set(seen) <= set(levels):
        raise GraphError(
            f"what was observed by {context!r} is {seen!r:.60}; allowed: a mapping from some of its "
            f"levels ({summarise(levels, 10) or 'it has none'}) to what was seen of each variable"
        )
    checked = {}
    for level, part in seen.items():
        strange = (
            [v for v in part if v not in graph.variables] if isinstance(part, Mapping) else part
        )
        if strange or not isinstance(part, Mapping):
            raise GraphError(
                f"what was observed by {context!r} = {level!r} is of {strange!r:.60}, which is no "
                f"variable of graph {graph.name!r}"
            )
        checked[level] = {v: _checked(graph.variables[v], x) for v, x in part.items()}
    return checked


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
