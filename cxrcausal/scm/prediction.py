"""Step 3, prediction: the world replayed from the same noise, some of it set.

What is kept of a chunk of rows is its finished table, which is an eighth of the values that it was made
from; so the work takes the same memory for any number of rows.

References:
    | Causality, section 7.1 (Pearl, 2009), https://doi.org/10.1017/CBO9780511803161
"""

from collections.abc import Mapping

import pandas as pd
import torch
from torch import Tensor

from cxrcausal.errors import GraphError
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.randomness import label_words
from cxrcausal.scm.abduction import abduct_noise, lacking
from cxrcausal.scm.action import Do, resolve
from cxrcausal.scm.answer import counterfactual_table, remark_on, stacked
from cxrcausal.scm.draws import Draws
from cxrcausal.scm.evidence import Evidence, chunks
from cxrcausal.scm.exogenous import Exogenous
from cxrcausal.scm.fitted import Fitted
from cxrcausal.scm.reach import affected_by, needed_for
from cxrcausal.scm.replacement import world_of
from cxrcausal.scm.setting import Setting
from cxrcausal.scm.table import check_table, decode
from cxrcausal.scm.unknown.network import Mechanisms, Values
from cxrcausal.scm.unknown.posterior import fill_unknown

__all__ = [
    "counterfactual_rows",
    "draw_world",
    "new_patients",
    "predict_rows",
    "replay",
    "settings_of",
]


def new_patients(graph: CausalGraph, fitted: Fitted, n: int, seed: int) -> Exogenous:
    """Returns the noise of `n` patients drawn from the fit, their rows with it; all cells known."""
    index = pd.RangeIndex(n)
    draws = Draws(seed, label_words(index), 1)
    noise, values = draw_world(fitted.mechanisms, draws, fitted.device)
    unseen = torch.full((n,), torch.nan)
    rows = decode({v: values.get(v, unseen) for v in graph.variables}, graph, index)
    known = {v: torch.ones(n, dtype=torch.bool, device=fitted.device) for v in values}
    return Exogenous(graph.fingerprint, fitted.fingerprint, rows, noise, values, known, seed)


def predict_rows(
    graph: CausalGraph,
    fitted: Fitted,
    noise: Exogenous,
    do: Do | None,
    *,
    impute: bool,
    clip: bool,
    keep: bool,
    batch_size: int,
    progress: bool | None,
) -> pd.DataFrame:
    """Returns the world of given noise in which `do` is set, see `FlowSCM.predict`."""
    _check_noise(noise, graph, fitted)
    rows = check_table(noise.rows, graph, fitted.mechanisms, what="the noise's rows")
    samples, n, mechanisms = noise.num_samples, len(rows), fitted.mechanisms
    by_label = rows.index if rows.index.is_unique else pd.RangeIndex(n)
    settings = settings_of(
        graph, fitted, rows, do, Draws(noise.seed, label_words(by_label), samples), clip
    )
    facts = {
        v: torch.where(noise.known[v], noise.values[v][::samples], torch.nan) for v in settings
    }
    stopped = remark_on(settings, facts, rows, fitted)
    affected = affected_by(mechanisms, settings)
    shown = set(mechanisms) if impute or not keep else {*settings, *affected}
    parts = []
    for chunk in chunks(n, batch_size // samples, "predict", progress):
        piece = slice(chunk.start * samples, chunk.stop * samples)
        filled = {name: x[piece].to(fitted.device) for name, x in noise.values.items()}
        u = {name: u[piece].to(fitted.device) for name, u in noise.noise.items()}
        here = {name: setting.take(chunk.rows) for name, setting in settings.items()}
        some = rows.iloc[chunk.rows]
        star = replay(mechanisms, filled, u, here, some.index, keep=keep)
        star = {name: star[name] for name in shown}
        known = {name: noise.known[name][chunk.rows].to(fitted.device) for name in shown}
        parts.append(
            counterfactual_table(some, graph, samples, star, known, here, affected, impute=impute)
        )
    return _recorded(stacked(parts, rows.attrs), stopped)


def counterfactual_rows(
    graph: CausalGraph,
    fitted: Fitted,
    known: Evidence,
    do: Do | None,
    draws: Draws,
    *,
    impute: bool,
    clip: bool,
    batch_size: int,
    progress: bool | None,
) -> pd.DataFrame:
    """Returns what rows would have been, abducting only what that needs: `FlowSCM.counterfactual`."""
    rows, samples, mechanisms = known.table, draws.num_samples, fitted.mechanisms
    settings = settings_of(graph, fitted, rows, do, draws, clip)
    stopped = remark_on(settings, known.values, rows, fitted)
    affected = affected_by(mechanisms, settings)
    needed = needed_for(mechanisms, affected, world_of(mechanisms, settings))
    shown = set(mechanisms) if impute else {*settings, *affected}
    parts = []
    for chunk in chunks(len(rows), batch_size // samples, "counterfactual", progress):
        some, (part, index) = draws.part(*chunk), known.part(chunk)
        filled = fill_unknown(
            known.mechanisms, known.supports, part, some, index, None if impute else needed
        )
        noise = abduct_noise(mechanisms, filled, some, affected)
        here = {name: setting.take(chunk.rows) for name, setting in settings.items()}
        star = replay(mechanisms, filled, noise, here, index)
        star = {name: star[name] for name in shown}
        told = {name: ~part[name].isnan() for name in shown}
        parts.append(
            counterfactual_table(
                rows.iloc[chunk.rows], graph, samples, star, told, here, affected, impute=impute
            )
        )
    return _recorded(stacked(parts, rows.attrs), stopped)


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
    index: pd.Index,
    *,
    keep: bool = True,
) -> dict[str, Tensor]:
    """Returns every variable's value (rows * num_samples,) in the world that is set.

    Arguments:
        mechanisms: The fitted mechanisms, causes before effects.
        filled: Completed factual values (rows * num_samples,).
        noise: Their noise (rows * num_samples, numbers).
        settings: What is set.
        index: The labels (rows,), for errors.
        keep: Whether a cell whose parents did not change keeps its factual value without being
            predicted again. It would be predicted the same; this saves the time.
    """
    star: dict[str, Tensor] = {}
    changed: dict[str, Tensor] = {}  # only variables that changed in some row
    for name, mechanism in world_of(mechanisms, settings).items():
        x = filled[name]
        is_replaced = name in settings and settings[name].mechanism is not None
        if name in settings and not is_replaced:
            if not len(index):
                star[name] = x  # of nobody
                continue
            facts = x.reshape(len(index), -1)
            star[name] = settings[name].value(facts, index).expand_as(facts).reshape(-1)
        else:
            moved = [changed[p.name] for p in mechanism.parents if p.name in changed]
            if keep and not moved and not is_replaced:
                star[name] = x
                continue
            pa = {p.name: star[p.name] for p in mechanism.parents}
            rows = _ready(moved if keep and not is_replaced else [], noise[name], pa)
            if rows is None:
                star[name] = mechanism.predict(noise[name], pa)
            else:
                some = {p: value[rows] for p, value in pa.items()}
                star[name] = x.clone()
                star[name][rows] = mechanism.predict(noise[name][rows], some)
        different = star[name] != x
        if bool(different.any()):
            changed[name] = different
    return star


def _ready(moved: list[Tensor], noise: Tensor, pa: Values) -> Tensor | None:
    """Returns the rows to predict: those that moved and whose inputs are all there; None is all."""
    without = lacking(noise[:, 0], *pa.values())
    if not moved:
        return None if without is None else (~without).nonzero().squeeze(1)
    rows = torch.stack(moved).any(0)
    if without is not None:
        rows &= ~without
    return rows.nonzero().squeeze(1)


def settings_of(
    graph: CausalGraph,
    fitted: Fitted,
    rows: pd.DataFrame,
    do: Do | None,
    draws: Draws,
    clip: bool,
) -> Mapping[str, Setting]:
    """Returns what each intervened variable is set to in these rows, checked."""
    return resolve(
        do, rows, graph, fitted.observed, clip=clip, draws=draws, mechanisms=fitted.mechanisms
    )


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


def _recorded(table: pd.DataFrame, stopped: dict[str, int]) -> pd.DataFrame:
    """Returns the table with a record of what was stopped at the bounds."""
    if stopped:
        table.attrs["clipped"] = stopped
    return table
