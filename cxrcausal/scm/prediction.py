"""Step 3, prediction: the world replayed from the same noise, some of it set.

What is kept of a chunk of rows is its finished table, which is an eighth of the values that it was
made from; so the work takes the same memory for any number of rows.

References:
    | Causality, section 7.1 (Pearl, 2009), https://doi.org/10.1017/CBO9780511803161
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.errors import GraphError
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.randomness import label_words
from cxrcausal.scm.abduction import abduct_noise
from cxrcausal.scm.action import Do, resolve
from cxrcausal.scm.draws import Draws
from cxrcausal.scm.evidence import BATCH, Chunk, Evidence, chunks
from cxrcausal.scm.exogenous import Exogenous, sample_index
from cxrcausal.scm.fitted import Fitted, HasFit
from cxrcausal.scm.mechanism.base import predict_known
from cxrcausal.scm.reach import affected_by, needed_for
from cxrcausal.scm.setting import Setting, world_of
from cxrcausal.scm.support import remark_on
from cxrcausal.scm.table import check_table, column, decode, encode
from cxrcausal.scm.unknown.network import Mechanisms, Values
from cxrcausal.scm.unknown.posterior import fill_unknown

__all__ = [
    "Action",
    "World",
    "action_of",
    "counterfactual_rows",
    "draw_world",
    "new_patients",
    "predict_rows",
    "replay",
]


@final
@dataclass(frozen=True, eq=False)
class World:
    """What would have been of some rows, and why: what was set, and what followed.

    Arguments:
        factual: The factual rows, canonical.
        table: The rows in the world that is set, by row and then by draw; unknown cells are NaN.
        settings: What each intervened variable was set to.
        affected: The variables whose values were predicted anew, causes before effects.
        imputed: The same as `table` with unknown cells as drawn; None if that is not asked for.
    """

    factual: pd.DataFrame
    table: pd.DataFrame
    settings: Mapping[str, Setting]
    affected: tuple[str, ...]
    imputed: pd.DataFrame | None = None

    @property
    def shown(self) -> pd.DataFrame:
        """The table with unknown cells as drawn where that is asked for, else as unknown."""
        return self.table if self.imputed is None else self.imputed

    def intervened(self) -> pd.DataFrame:
        """Returns which cells (lines of `table`, variables that are set) got another value."""
        return self._changed(self.settings)

    def descendants(self) -> pd.DataFrame:
        """Returns which cells (lines of `table`, variables that follow) changed with those.

        A cell that was unknown counts as unchanged.
        """
        follow = [name for name in self.affected if name not in self.settings]
        return self._changed(follow) & ~self.unknown(follow)

    def unknown(self, names: Iterable[str]) -> pd.DataFrame:
        """Returns which cells (lines of `table`, variables) were unknown of the factual row."""
        return self._cells({name: self._factual(name).isna() for name in names})

    def _changed(self, names: Iterable[str]) -> pd.DataFrame:
        """Returns which cells differ; unknown on both sides is no difference."""
        changed = {}
        for name in names:
            before, after = _numbers(self._factual(name)), _numbers(self.table[name])
            changed[name] = ~((before == after) | (np.isnan(before) & np.isnan(after)))
        return self._cells(changed)

    def _factual(self, name: str) -> pd.Series:
        """Returns a factual column, one cell per line of `table`."""
        return self.factual[name].repeat(len(self.table) // max(1, len(self.factual)))

    def _cells(self, columns: Mapping[str, np.ndarray | pd.Series]) -> pd.DataFrame:
        arrays = {name: np.asarray(cells) for name, cells in columns.items()}
        return pd.DataFrame(arrays, index=self.table.index, dtype=bool)


class Action(NamedTuple):
    """What is set.

    Arguments:
        settings: What each intervened variable is set to.
        clipped: In how many rows the bounds clip a value, of the variables where they do.
    """

    settings: Mapping[str, Setting]
    clipped: dict[str, int]


class Completed(NamedTuple):
    """A chunk of rows with nothing left open: what the three steps hand on.

    Arguments:
        values: Completed factual values (rows * draws,); a NaN was not needed.
        noise: The noise (rows * draws, numbers) of what is predicted anew, at least.
        known: Whether the factual value (rows,) was known.
    """

    values: Values
    noise: Values
    known: Values


def new_patients(scm: HasFit, n: int, seed: int) -> Exogenous:
    """Returns the noise of `n` patients drawn from the fit, with their rows, all known."""
    graph, fitted = scm.graph, scm._state
    index = pd.RangeIndex(n)
    draws = Draws(seed, label_words(index), 1)
    noise, values = draw_world(fitted.mechanisms, draws, fitted.device)
    absent = torch.full((n,), torch.nan)
    rows = decode({v: values.get(v, absent) for v in graph.variables}, graph, index)
    known = {v: torch.ones(n, dtype=torch.bool, device=fitted.device) for v in values}
    return Exogenous(graph.fingerprint, fitted.fingerprint, rows, noise, values, known, seed)


@torch.no_grad()
def predict_rows(
    scm: HasFit,
    noise: Exogenous,
    do: Do | None,
    *,
    impute: bool = False,
    clip: bool = False,
    keep: bool = True,
    batch_size: int = BATCH,
    progress: bool | None = None,
) -> World:
    """Returns the world of given noise in which `do` is set, see `FlowSCM.predict`."""
    graph, fitted = scm.graph, scm._state
    _check_noise(noise, graph, fitted)
    rows = check_table(noise.rows, graph, fitted.mechanisms, what="the noise's rows")
    samples = noise.num_samples
    by_label = rows.index if rows.index.is_unique else pd.RangeIndex(len(rows))
    draws = Draws(noise.seed, label_words(by_label), samples)
    action = action_of(graph, fitted, rows, do, draws, clip)

    def carried(chunk: Chunk) -> Completed:
        piece = slice(chunk.start * samples, chunk.stop * samples)
        return Completed(
            {name: x[piece].to(fitted.device) for name, x in noise.values.items()},
            {name: u[piece].to(fitted.device) for name, u in noise.noise.items()},
            {name: known[chunk.rows].to(fitted.device) for name, known in noise.known.items()},
        )

    parts = chunks(len(rows), batch_size // samples, "predict", progress)
    return _world(graph, fitted, rows, action, samples, carried, parts, impute=impute, keep=keep)


@torch.no_grad()
def counterfactual_rows(
    scm: HasFit,
    known: Evidence,
    do: Do | None,
    draws: Draws,
    *,
    impute: bool,
    clip: bool,
    batch_size: int,
    progress: bool | None,
) -> World:
    """Returns what rows would have been, abducting only what is needed for that."""
    graph, fitted = scm.graph, scm._state
    rows, samples, mechanisms = known.table, draws.num_samples, fitted.mechanisms
    action = action_of(graph, fitted, rows, do, draws, clip)
    affected = affected_by(mechanisms, action.settings)
    needed = None if impute else needed_for(mechanisms, action.settings)

    def abducted(chunk: Chunk) -> Completed:
        own, part = draws.part(*chunk), known.part(chunk)
        filled = fill_unknown(part, own, needed)
        noise = abduct_noise(mechanisms, filled, own, affected)
        return Completed(filled, noise, {name: ~x.isnan() for name, x in part.values.items()})

    parts = chunks(len(rows), batch_size // samples, "counterfactual", progress)
    return _world(graph, fitted, rows, action, samples, abducted, parts, impute=impute)


def _world(
    graph: CausalGraph,
    fitted: Fitted,
    rows: pd.DataFrame,
    action: Action,
    samples: int,
    complete: Callable[[Chunk], Completed],
    parts: Iterable[Chunk],
    *,
    impute: bool,
    keep: bool = True,
) -> World:
    """Returns the world that is set, a chunk of rows at a time.

    Arguments:
        graph: The graph of the variables.
        fitted: The fit.
        rows: The factual rows, canonical.
        action: What is set.
        samples: How many draws each row has.
        complete: Gives the completed facts and the noise of a chunk.
        parts: The chunks.
        impute: Whether a table with unknown cells as drawn is made too.
        keep: Whether cells whose parents do not change are taken over, see `replay`.
    """
    settings = action.settings
    affected = affected_by(fitted.mechanisms, settings)
    moved = set(fitted.mechanisms) if not keep else {*settings, *affected}
    tables, imputed = [], []
    for chunk in parts:
        facts = complete(chunk)
        own = {name: setting.take(chunk.rows) for name, setting in settings.items()}
        values = replay(fitted.mechanisms, facts.values, facts.noise, own, keep=keep)
        part = rows.iloc[chunk.rows]
        if impute:
            imputed.append(_table(part, graph, samples, values, None, settings, affected))
        values = {name: values[name] for name in moved}
        tables.append(_table(part, graph, samples, values, facts.known, settings, affected))
    attrs = dict(rows.attrs) | ({"clipped": action.clipped} if action.clipped else {})
    drawn = _stacked(imputed, attrs) if impute else None
    return World(rows, _stacked(tables, attrs), settings, affected, drawn)


def _table(
    rows: pd.DataFrame,
    graph: CausalGraph,
    samples: int,
    values: Values,
    known: Values | None,
    settings: Mapping[str, Setting],
    affected: tuple[str, ...],
) -> pd.DataFrame:
    """Returns the counterfactual table: as `rows`, but for the cells that may have changed.

    Arguments:
        rows: The factual rows, canonical.
        graph: The graph of the variables.
        samples: How many draws each row has.
        values: Counterfactual values (rows * samples,) of the columns that are rewritten.
        known: Whether the factual value (rows,) was known; an unknown cell is NaN, but where it is
            set. None if unknown cells are shown as drawn.
        settings: What is set.
        affected: What is predicted anew.
    """
    table = rows if samples == 1 else rows.take(np.repeat(np.arange(len(rows)), samples))
    columns = {}
    for name, x in values.items():
        is_open = not (name in settings and settings[name].is_known)
        if known is not None and is_open and not bool(known[name].all()):
            blank: Tensor | float = torch.nan
            if name not in affected and name not in settings:  # a level that no fit observed stays
                blank = encode(table, graph, [name])[name].to(x.device)
            x = torch.where(known[name].repeat_interleave(samples), x, blank)
        columns[name] = column(x, graph.variables[name])
    result = table.assign(**columns)
    if samples > 1:
        result.index = sample_index(rows.index, samples)
    result.attrs = dict(rows.attrs)
    return result


def _stacked(parts: list[pd.DataFrame], attrs: dict) -> pd.DataFrame:
    """Returns the tables of consecutive rows as one, with the given attributes."""
    if len(parts) > 1:
        for part in parts:
            part.attrs = {}  # pandas compares them, one by one
        parts = [pd.concat(parts)]
    parts[0].attrs = dict(attrs)
    return parts[0]


def _numbers(cells: pd.Series) -> np.ndarray:
    """Returns the cells of a canonical column as numbers."""
    if not isinstance(cells.dtype, pd.CategoricalDtype):
        return cells.to_numpy(np.float64)
    return cells.cat.codes.to_numpy(np.float64)  # -1 where unknown, on both sides alike


def draw_world(
    mechanisms: Mechanisms, draws: Draws, device: torch.device
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Returns the noise (rows, numbers) and the values (rows,) of new patients, by variable."""
    noise: dict[str, Tensor] = {}
    values: dict[str, Tensor] = {}
    for name, mechanism in mechanisms.items():
        noise[name] = mechanism.prior(draws.uniform(name, size=mechanism.noise_size).to(device))
        x = mechanism.predict(noise[name], {p.name: values[p.name] for p in mechanism.parents})
        if x.shape != (len(draws.labels),):  # no parents, and a mechanism that says one for all
            x = x.expand(len(draws.labels)).clone()
        values[name] = x
    return noise, values


def replay(
    mechanisms: Mechanisms,
    filled: Values,
    noise: Values,
    settings: Mapping[str, Setting],
    *,
    keep: bool = True,
) -> dict[str, Tensor]:
    """Returns every variable's value (rows * num_samples,) in the world that is set.

    Arguments:
        mechanisms: The fitted mechanisms, causes before effects.
        filled: Completed factual values (rows * num_samples,).
        noise: The noise (rows * num_samples, numbers) of what is predicted anew.
        settings: What is set.
        keep: Whether a cell whose parents did not change keeps its factual value without being
            predicted again. It would be predicted the same; this saves the time.
    """
    counterfactual: dict[str, Tensor] = {}
    changed: dict[str, Tensor] = {}  # only variables that changed in some row
    for name, mechanism in world_of(mechanisms, settings).items():
        x = filled[name]
        pa = {p.name: counterfactual[p.name] for p in mechanism.parents}
        moved = [changed[p] for p in pa if p in changed]
        if name in settings:
            value = settings[name].assign(x, noise.get(name), pa)
        elif keep and not moved:
            counterfactual[name] = x
            continue
        else:
            among = torch.stack(moved).any(0) if keep else None
            value = predict_known(mechanism, noise[name], pa, otherwise=x, among=among)
        counterfactual[name] = value
        different = value != x
        if bool(different.any()):
            changed[name] = different
    return counterfactual


def action_of(
    graph: CausalGraph,
    fitted: Fitted,
    rows: pd.DataFrame,
    do: Do | None,
    draws: Draws,
    clip: bool,
) -> Action:
    """Returns what each intervened variable is set to, and warns of extrapolation."""
    settings = resolve(
        do, rows, graph, fitted.observed, clip=clip, draws=draws, mechanisms=fitted.mechanisms
    )
    facts = encode(rows, graph, settings)
    remark_on(settings, facts, rows, fitted)
    counts = {name: setting.clipped_rows(facts[name]) for name, setting in settings.items()}
    return Action(settings, {name: count for name, count in counts.items() if count})


def _check_noise(noise: Exogenous, graph: CausalGraph, fitted: Fitted) -> None:
    """Refuses noise of another graph or of another fit."""
    if noise.fingerprint != graph.fingerprint:
        raise GraphError(
            f"the noise was abducted under a graph with fingerprint {noise.fingerprint}; this "
            f"SCM's graph {graph.name!r} has {graph.fingerprint}"
        )
    if noise.fit != fitted.fingerprint:
        raise GraphError(
            f"the noise was abducted under another fit, with fingerprint {noise.fit}; this "
            f"SCM's mechanisms have {fitted.fingerprint}. Abduct the rows with this SCM"
        )
