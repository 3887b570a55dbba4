"""From the values of another world back to a table, with remarks on what was asked of it."""

import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.graph.dag import CausalGraph
from cxrcausal.scm.exogenous import sample_index
from cxrcausal.scm.fitted import Fitted
from cxrcausal.scm.setting import Setting
from cxrcausal.scm.table import column, encode
from cxrcausal.scm.unknown.network import Values

__all__ = ["counterfactual_table", "remark_on", "stacked"]

logger = logging.getLogger("cxrcausal")


def remark_on(
    settings: Mapping[str, Setting], values: Values, rows: pd.DataFrame, fitted: Fitted
) -> dict[str, int]:
    """Warns, once for all, where variables are set to what the fit never saw.

    That is a number outside the range that was observed, or a value that was observed, but never in
    the row's own source (the level of a context, as it is or as it is set).

    Arguments:
        settings: What is set.
        values: The factual values (rows,), NaN where unknown.
        rows: The factual rows, canonical.
        fitted: What the fit has seen.

    Returns:
        In how many rows each variable stops at its bounds, where it does.
    """
    stopped = {}
    beyond = []
    lost = []
    for name, setting in settings.items():
        if setting.mechanism is not None:
            continue
        wanted = setting.wanted(values[name])
        outside = torch.zeros_like(wanted, dtype=torch.bool)
        if not setting.variable.is_discrete:
            low, high = fitted.observed[name]
            outside = (wanted < low) | (wanted > high)
            in_row = outside if outside.ndim == 1 else outside.flatten(1).any(1)
            count = int(in_row.sum())
            if count:
                beyond.append(
                    f"{name!r} in {count} row(s) outside what the fit observed, {low:g} to {high:g}"
                )
            stopped[name] = setting.stopped(values[name])
            if rounded := setting.rounded_away(values[name]):
                lost.append(
                    f"{name!r} in {rounded} row(s), steps of {setting.variable.resolution:g}"
                )
        beyond += _unmet_in_context(settings, name, wanted, outside, rows, fitted)
    if beyond:
        logger.warning(
            "do leaves the observed support, and effects there are extrapolated: it sets %s",
            "; ".join(beyond),
        )
    if lost:
        logger.warning("do moves less than the data record, so nothing moves: %s", "; ".join(lost))
    return {name: count for name, count in stopped.items() if count}


def _unmet_in_context(
    settings: Mapping[str, Setting],
    name: str,
    wanted: Tensor,
    outside: Tensor,
    rows: pd.DataFrame,
    fitted: Fitted,
) -> list[str]:
    """Returns which values (rows, ...) are set in a context in which the fit never saw them."""
    unmet = []
    for context, by_level in fitted.observed_by.items():
        if context == name or context not in rows.columns:
            continue
        variable = settings[name].variable
        for level, seen in by_level.items():
            here = _in_context(settings, context, level, rows)
            count = int(here.sum())
            if not count:
                continue
            some, known = wanted[here].reshape(count, -1), seen.get(name, ())
            inside = ~outside[here].reshape(some.shape) & ~some.isnan()
            if not variable.is_discrete:
                low, high = known or (np.inf, -np.inf)
                count = int((inside & ((some < low) | (some > high))).any(1).sum())
                if count:
                    span = (
                        f"outside its {low:g} to {high:g}" if known else "which it never records"
                    )
                    unmet.append(f"{name!r} in {count} row(s) of {context}={level}, {span}")
                continue
            for code in some[inside].unique():
                word = variable.levels[int(code)]
                if word not in known:
                    count = int((some == code).any(1).sum())
                    unmet.append(
                        f"{name}={word} in {count} row(s) of {context}={level}, where the fit "
                        f"never saw it"
                    )
    return unmet


def _in_context(
    settings: Mapping[str, Setting], context: str, level: str, rows: pd.DataFrame
) -> Tensor:
    """Returns which rows (rows,) have a level of a context in the world that is set."""
    setting = settings.get(context)
    if setting is None or setting.values is None or setting.is_drawn:
        return torch.from_numpy((rows[context] == level).to_numpy(bool, copy=True))
    return setting.values.cpu() == setting.variable.levels.index(level)


def counterfactual_table(
    rows: pd.DataFrame,
    graph: CausalGraph,
    samples: int,
    star: Values,
    known: Values,
    settings: Mapping[str, Setting],
    affected: tuple[str, ...],
    *,
    impute: bool,
) -> pd.DataFrame:
    """Returns the counterfactual table: as `rows`, but for the cells that may have changed.

    Arguments:
        rows: The factual rows (canonical).
        graph: The graph.
        samples: How many draws each row has.
        star: Counterfactual values (rows * samples,) of the columns that are rewritten.
        known: Whether the factual value was known (rows,), of the same columns.
        settings: What was set.
        affected: What depends on it.
        impute: Whether unknown cells are shown as drawn. Else they are NaN, but where set.
    """
    table = rows if samples == 1 else rows.take(np.repeat(np.arange(len(rows)), samples))
    columns = {}
    for name, x in star.items():
        is_set = name in settings and settings[name].values is not None
        if not (is_set or impute):
            shown = known[name].repeat_interleave(samples)
            if not bool(shown.all()):
                moved = name in affected or name in settings
                given = encode(table, graph, [name])[
                    name
                ]  # levels that the fit never saw included
                x = torch.where(shown, x, torch.nan if moved else given.to(x.device))
        columns[name] = column(x, graph.variables[name])
    result = table.assign(**columns)
    if samples > 1:
        result.index = sample_index(rows.index, samples)
    result.attrs = dict(rows.attrs)
    return result


def stacked(parts: list[pd.DataFrame], attrs: dict) -> pd.DataFrame:
    """Returns the tables of consecutive rows as one, with the given attributes."""
    if len(parts) > 1:
        for part in parts:
            part.attrs = {}  # pandas compares them, one by one
        parts = [pd.concat(parts)]
    parts[0].attrs = dict(attrs)
    return parts[0]
