"""Abduction, action, prediction for the rows of a table, a chunk of rows at a time.

What is kept of a chunk is its noise, or its finished table, which is an eighth of the values that it
was made from; so the work takes the same memory for any number of rows. Chunks change no answer, since
randomness is a function of seed, row label, variable and draw.

References:
    | Causality, section 7.1 (Pearl, 2009), https://doi.org/10.1017/CBO9780511803161
"""

import logging
from collections.abc import Mapping

import pandas as pd
import torch
from torch import Tensor

from cxrcausal.errors import GraphError, summarise
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.randomness import label_words
from cxrcausal.scm.answer import counterfactual_table, remark_on, stacked
from cxrcausal.scm.evidence import Evidence, chunks
from cxrcausal.scm.exogenous import Exogenous
from cxrcausal.scm.fitted import Fitted
from cxrcausal.scm.intervention import Do, Setting, resolve
from cxrcausal.scm.posterior import Draws, fill_unknown
from cxrcausal.scm.probability import counterfactual_law, law_columns
from cxrcausal.scm.replacement import world_of
from cxrcausal.scm.replay import abduct_noise, affected_by, draw_world, needed_for, replay
from cxrcausal.scm.table import check_table, decode

__all__ = ["abduct_rows", "counterfactual_rows", "law_of_rows", "new_patients", "predict_rows"]

logger = logging.getLogger("cxrcausal")


def new_patients(graph: CausalGraph, fitted: Fitted, n: int, seed: int) -> Exogenous:
    """Returns the noise of `n` patients drawn from the fit, their rows with it; all cells known."""
    index = pd.RangeIndex(n)
    draws = Draws(seed, label_words(index), 1)
    noise, values = draw_world(fitted.mechanisms, draws, fitted.device)
    unseen = torch.full((n,), torch.nan)
    rows = decode({v: values.get(v, unseen) for v in graph.variables}, graph, index)
    known = {v: torch.ones(n, dtype=torch.bool, device=fitted.device) for v in values}
    return Exogenous(graph.fingerprint, fitted.fingerprint, rows, noise, values, known, seed)


def abduct_rows(
    graph: CausalGraph,
    fitted: Fitted,
    known: Evidence,
    draws: Draws,
    *,
    batch_size: int,
    progress: bool | None,
) -> Exogenous:
    """Returns the noise of rows, drawn given what is known of them, see `FlowSCM.abduct`."""
    names = tuple(fitted.mechanisms)
    parts = []
    for chunk in chunks(len(known.table), batch_size // draws.num_samples, "abduct", progress):
        some, (part, index) = draws.part(*chunk), known.part(chunk)
        filled = fill_unknown(known.mechanisms, known.supports, part, some, index)
        parts.append((filled, abduct_noise(fitted.mechanisms, filled, some, names)))
    return Exogenous(
        graph.fingerprint,
        fitted.fingerprint,
        known.table,
        {name: _joined([noise[name] for _, noise in parts]) for name in names},
        {name: _joined([filled[name] for filled, _ in parts]) for name in names},
        {name: ~known.values[name].isnan() for name in names},
        draws.seed,
        draws.num_samples,
    )


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
    settings = _set(
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
    settings = _set(graph, fitted, rows, do, draws, clip)
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


def law_of_rows(
    graph: CausalGraph,
    fitted: Fitted,
    known: Evidence,
    do: Do | None,
    of: str,
    draws: Draws,
    *,
    clip: bool,
) -> pd.DataFrame:
    """Returns the law of one variable in each row: `FlowSCM.counterfactual_probability`."""
    settings = _set(graph, fitted, known.table, do, draws, clip)
    remark_on(settings, known.values, known.table, fitted)
    if of not in {*settings, *affected_by(fitted.mechanisms, settings)} and settings:
        logger.warning(
            "%r does not descend from %s: its counterfactual law is its factual one",
            of,
            summarise(settings),
        )
    law, error, exact = counterfactual_law(
        known.mechanisms, known.supports, known.values, settings, of, known.table.index, draws
    )
    columns = law_columns(fitted.mechanisms[of], of)
    result = pd.DataFrame(law.cpu().numpy(), index=known.table.index, columns=columns)
    result.attrs["standard_error"] = error
    result.attrs["exact"] = exact
    return result


def _set(
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


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
