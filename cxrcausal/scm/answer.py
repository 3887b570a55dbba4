"""From the values of another world back to a table, with remarks on what was asked of it."""

import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from cxrcausal.graph.dag import CausalGraph
from cxrcausal.scm.exogenous import sample_index
from cxrcausal.scm.intervention import Observed, Setting
from cxrcausal.scm.network import Values
from cxrcausal.scm.table import column, encode

__all__ = ["counterfactual_table", "remark_on"]

logger = logging.getLogger("cxrcausal")


def remark_on(
    settings: Mapping[str, Setting], values: Values, observed: Observed
) -> dict[str, int]:
    """Warns where a continuous variable is set to what the fit never saw.

    Arguments:
        settings: What is set.
        values: The factual values (rows,), NaN where unknown.
        observed: What the fit has seen.

    Returns:
        In how many rows each variable stops at its bounds, where it does.
    """
    stopped = {}
    for name, setting in settings.items():
        if setting.variable.is_discrete:
            continue
        low, high = observed[name]
        wanted = setting.wanted(values[name])
        beyond = int(((wanted < low) | (wanted > high)).sum())
        if beyond:
            logger.warning(
                "do sets %r in %d row(s) outside what the fit observed, %g to %g: its effects "
                "there are extrapolated",
                name,
                beyond,
                low,
                high,
            )
        stopped[name] = setting.stopped(values[name])
    return {name: count for name, count in stopped.items() if count}


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
