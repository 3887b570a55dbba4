"""Fitting an SCM node by node: which rows each mechanism may use, and what the fit never observed.

A mechanism is fitted on the rows where its variable and its observed parents are known, or from
there on by EM on what all rows say (`em`). Variables that no row records get no mechanism, and are
left out as parents.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.errors import OptionError, TableError, nearest, summarise
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.graph.variable import Variable
from cxrcausal.patients import Groups, patient_codes, patient_labels, set_aside
from cxrcausal.randomness import as_seed, label_words, uniform
from cxrcausal.scm.action import Observed
from cxrcausal.scm.fitted import Fitted
from cxrcausal.scm.mechanism.base import Mechanism
from cxrcausal.scm.replicates import replicate
from cxrcausal.scm.table import complete_table, encode
from cxrcausal.scm.unknown.virtual_evidence import Likelihood, read_likelihood

if TYPE_CHECKING:
    from cxrcausal.scm.fit.choice import Coupling, Family
    from cxrcausal.scm.model import FlowSCM

__all__ = ["Missing", "data_fingerprint", "keep_replicates", "learn"]

Missing = Literal["available", "em"]
"""What a fit makes of rows with unknown cells: each mechanism learns from the rows where it and
its parents are known, or all of them learn from what every row says, by EM."""

logger = logging.getLogger("cxrcausal")


class _Rows(NamedTuple):
    """The rows of a fit, read once.

    Arguments:
        graph: The graph.
        index: The row labels.
        values: Values (rows,) of every variable, NaN where unknown.
        patients: The patient of each row (rows,), a number; None if each row is its own.
        observed: The levels, or the range, of every variable that some row records.
    """

    graph: CausalGraph
    index: pd.Index
    values: dict[str, Tensor]
    patients: np.ndarray | None
    observed: dict[str, tuple]

    @classmethod
    def read(cls, graph: CausalGraph, table: pd.DataFrame, groups: Groups) -> "_Rows":
        """Reads a canonical table, saying which variables nothing is known of."""
        values = encode(table, graph)
        observed = {
            name: _observed_part(graph.variables[name], values[name])
            for name in graph.topological_order
            if not bool(values[name].isnan().all())
        }
        never = [name for name in graph.variables if name not in observed]
        if never:
            logger.info("never observed, so without a mechanism: %s", ", ".join(never))
        patients = patient_codes(groups, table, "the table to fit")
        return cls(graph, table.index, values, patients, observed)


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
    _check_missing(missing, likelihood)
    table, absent = complete_table(table, graph, what="the table to fit")
    if absent:
        logger.warning(
            "the table to fit has no column for %s; never observed, so without a mechanism",
            ", ".join(absent),
        )
    if not len(table):
        raise TableError("the table to fit has no rows")
    rows = _Rows.read(graph, table, groups)
    how = {"family": family, "coupling": coupling, "seed": seed, "hidden": hidden}
    policies = dict(table.attrs.get("cxrcausal", {}))
    if missing != "available":
        policies["missing"] = missing
    fitted = partial(
        Fitted.of,
        graph,
        observed=rows.observed,
        policies=policies,
        data_fingerprint=data_fingerprint(table, graph),
        observed_by=_observed_by_context(graph, rows.values, rows.observed),
    )
    if missing == "em":
        return _fit_by_em(rows, fitted, likelihood, how, progress)
    found = fitted(_fit_known(rows, how, progress))
    labels = patient_labels(groups, table, "the table to fit")
    kept = replicate(found.mechanisms, rows.values, labels, table.index, seed)
    return replace(found, replicates=kept)


def _check_missing(missing: object, likelihood: Likelihood | None) -> None:
    """Refuses a word for unknown cells that is none, and soft evidence that would not be read.

    Raises:
        OptionError: Says what is allowed.
    """
    if missing not in get_args(Missing):
        raise OptionError(
            f"missing={missing!r} is not known{nearest(missing, get_args(Missing)) or '.'} "
            f"Allowed: {summarise(get_args(Missing))}"
        )
    if likelihood and missing != "em":
        raise OptionError(
            f"likelihood speaks of unknown cells, which a fit with missing={missing!r} leaves "
            f"out; give missing='em'"
        )


def _fit_by_em(
    rows: _Rows,
    fitted: Callable[[Mapping[str, Mechanism]], Fitted],
    likelihood: Likelihood | None,
    how: Mapping[str, Any],
    progress: bool | None,
) -> Fitted:
    """Returns the fit to all that is known in every row, from that to complete rows onwards."""
    from cxrcausal.scm.fit.em import maximise_evidence

    seed, count = how["seed"], len(rows.index)
    validation = set_aside(rows.patients, count, seed)
    train = torch.from_numpy(~validation)
    if any(bool(rows.values[name].isnan()[train].all()) for name in rows.observed):
        validation[:] = False  # too little is known of a variable to spare any of it
    train = torch.from_numpy(~validation)
    start = fitted(
        _fit_known(
            rows._replace(values=_startable(rows, train, seed)),
            {**how, "weights": train.numpy().astype(np.float64)},
            progress,
            warn=False,
        )
    )
    children, said = read_likelihood(likelihood, rows.index, rows.graph.variables, rows.observed)
    return fitted(
        maximise_evidence(
            start.mechanisms,
            children,
            start.supports,
            {name: rows.values[name] for name in start.mechanisms} | said,
            validation,
            rows.index if rows.index.is_unique else pd.RangeIndex(count),
            seed=seed,
            progress=progress,
        )
    )


def _fit_known(
    rows: _Rows, how: Mapping[str, Any], progress: bool | None, *, warn: bool = True
) -> dict[str, Mechanism]:
    """Returns every mechanism fitted on the rows where it and its observed parents are known."""
    from tqdm.auto import tqdm

    from cxrcausal.scm.fit.choice import fit_mechanism

    graph, values, observed = rows.graph, rows.values, rows.observed
    mechanisms = {}
    thin: list[str] = []
    bar = tqdm(
        observed, desc="fit", unit="node", disable=None if progress is None else not progress
    )
    for name in bar:
        bar.set_postfix_str(name)
        variable = graph.variables[name]
        parents = tuple(graph.variables[p] for p in graph.parents(name) if p in observed)
        thin += _unmet(variable, parents, values, observed)
        mechanisms[name] = fit_mechanism(variable, parents, values, rows.patients, **how)
    if thin and warn:
        logger.warning(
            "some mechanisms had no row of a level of a parent, and extrapolate there: %s",
            summarise(thin, 10),
        )
    return mechanisms


def _startable(rows: _Rows, train: Tensor, seed: int) -> dict[str, Tensor]:
    """Returns values from which every mechanism can be started on the `train` rows (rows,).

    Where a variable is never known beside all of its parents (two sources that record different
    columns), unknown parents are filled at random with known values of their own: EM then learns
    what the start cannot know.
    """
    filled = dict(rows.values)
    for name in rows.observed:
        parents = [p for p in rows.graph.parents(name) if p in rows.observed]
        together = ~torch.stack([filled[v].isnan() for v in (name, *parents)]).any(0)
        if bool((together & train).any()):
            continue
        for parent in parents:
            x = filled[parent]
            known, lacks = x[~x.isnan()], x.isnan()
            labels = label_words(pd.RangeIndex(len(x)))
            at = uniform(seed, labels, f"{parent} start").squeeze(1) * len(known)
            filled[parent] = torch.where(lacks, known[at.to(torch.int64)], x)
    return filled


def keep_replicates(
    scm: "FlowSCM", table: pd.DataFrame, groups: Groups = None, *, seed: int = 0
) -> None:
    """Gives a fitted SCM that kept no replicates (an old checkpoint) those of its parameters.

    From then on they are saved with it, and effects on any table have intervals that count the
    fit.

    Arguments:
        scm: A fitted SCM.
        table: The table that it was fitted to.
        groups: Whose rows these are: a column, one label per row, or None if each row is its own.
        seed: Of the patients' weights.

    Raises:
        OptionError: If the SCM was fitted to another table, or by EM, or not at all.
        TableError: If the table or the groups are not usable.
    """
    state = scm._state
    known, _ = complete_table(table, scm.graph, what="the table of the fit")
    if state.policies.get("missing") == "em":
        raise OptionError("this SCM was fitted by EM, whose parameters have no replicates")
    if data_fingerprint(known, scm.graph) != state.data_fingerprint:
        fingerprint = state.data_fingerprint or "none: its mechanisms were given"
        raise OptionError(
            f"replicates are drawn from the rows that the SCM was fitted to (fingerprint "
            f"{fingerprint}); this table has other rows ({data_fingerprint(known, scm.graph)})"
        )
    labels = patient_labels(groups, known, "the table of the fit")
    values = encode(known, scm.graph)
    kept = replicate(state.mechanisms, values, labels, known.index, as_seed(seed))
    scm._fitted = replace(state, replicates=kept)


def data_fingerprint(table: pd.DataFrame, graph: CausalGraph) -> str:
    """Returns 16 hex digits of a SHA-256 of the graph's columns, in any order of the rows."""
    columns = list(graph.variables)
    if not set(columns) <= set(table.columns):  # an absent column is one of unknowns
        table, _ = complete_table(table, graph)
    words = pd.util.hash_pandas_object(table[columns], index=False).to_numpy(np.uint64)
    return hashlib.sha256(np.sort(words).tobytes()).hexdigest()[:16]


def _observed_part(variable: Variable, x: Tensor) -> tuple:
    """Returns the levels, or the range, of known values."""
    known = x[~x.isnan()]
    if variable.is_discrete:
        return tuple(variable.levels[int(level)] for level in known.unique())
    return float(known.min()), float(known.max())


def _observed_by_context(
    graph: CausalGraph, values: Mapping[str, Tensor], observed: Observed
) -> dict[str, dict[str, dict[str, tuple]]]:
    """Returns what was observed of each variable under each observed level of each context."""
    by_context: dict[str, dict[str, dict[str, tuple]]] = {}
    for context in observed:
        variable = graph.variables[context]
        if variable.role != "context" or not variable.is_discrete:
            continue
        by_context[context] = {}
        for level in observed[context]:
            here = values[context] == variable.levels.index(str(level))
            part = {name: values[name][here] for name in observed if name != context}
            by_context[context][str(level)] = {
                name: _observed_part(graph.variables[name], x)
                for name, x in part.items()
                if not bool(x.isnan().all())
            }
    return by_context


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
