"""Where an intervention leaves the support of the data, so that its effects are extrapolated."""

import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.scm.fitted import Fitted
from cxrcausal.scm.setting import Fixed, Setting

__all__ = ["remark_on"]

logger = logging.getLogger("cxrcausal")


def remark_on(
    settings: Mapping[str, Setting],
    facts: Mapping[str, Tensor],
    rows: pd.DataFrame,
    fitted: Fitted,
) -> None:
    """Warns, once for all rows, where variables are set to what the fit never observed.

    That is a number outside the range that was observed, or a value that was observed, but never
    in the row's own source (the level of a context, as it is or as it is set). It also warns of
    moves that are too small for the data to record.

    Arguments:
        settings: What is set.
        facts: The factual values (rows,) of what is set, NaN where unknown.
        rows: The factual rows, canonical.
        fitted: What the fit observed.
    """
    beyond, lost = [], []
    for name, setting in settings.items():
        x = facts[name]
        wanted = setting.wanted(x)
        outside = torch.zeros_like(wanted, dtype=torch.bool)
        if not setting.variable.is_discrete:
            low, high = fitted.observed[name]
            outside = (wanted < low) | (wanted > high)
            if count := _rows_of(outside):
                beyond.append(
                    f"{name!r} in {count} row(s) outside what the fit observed, {low:g} to "
                    f"{high:g}"
                )
        if count := setting.rounded_rows(x):
            lost.append(f"{name!r} in {count} row(s), steps of {setting.variable.resolution:g}")
        beyond += _unmet_in_context(settings, name, wanted, outside, rows, fitted)
    if beyond:
        logger.warning(
            "do leaves the observed support, and effects there are extrapolated: it sets %s",
            "; ".join(beyond),
        )
    if lost:
        logger.warning("do moves less than the data record, so nothing moves: %s", "; ".join(lost))


def _rows_of(cells: Tensor) -> int:
    """Returns in how many rows some cell (rows, ...) is true."""
    return int((cells if cells.ndim == 1 else cells.flatten(1).any(1)).sum())


def _unmet_in_context(
    settings: Mapping[str, Setting],
    name: str,
    wanted: Tensor,
    outside: Tensor,
    rows: pd.DataFrame,
    fitted: Fitted,
) -> list[str]:
    """Returns which values (rows, ...) the fit never observed in the context they are set in."""
    unmet: list[str] = []
    variable = settings[name].variable
    for context, by_level in fitted.observed_by.items():
        if context == name or context not in rows.columns:
            continue
        for level, observed in by_level.items():
            here = _in_context(settings, context, level, rows)
            count = int(here.sum())
            if not count:
                continue
            x, part = wanted[here].reshape(count, -1), observed.get(name, ())
            inside = ~outside[here].reshape(x.shape) & ~x.isnan()
            if not variable.is_discrete:
                low, high = part or (np.inf, -np.inf)
                if count := _rows_of(inside & ((x < low) | (x > high))):
                    span = f"outside its {low:g} to {high:g}" if part else "which it never records"
                    unmet.append(f"{name!r} in {count} row(s) of {context}={level}, {span}")
                continue
            for code in x[inside].unique():
                word = variable.levels[int(code)]
                if word not in part:
                    unmet.append(
                        f"{name}={word} in {_rows_of(x == code)} row(s) of {context}={level}, "
                        f"where the fit never observed it"
                    )
    return unmet


def _in_context(
    settings: Mapping[str, Setting], context: str, level: str, rows: pd.DataFrame
) -> Tensor:
    """Returns which rows (rows,) have a level of a context in the world that is set."""
    setting = settings.get(context)
    if isinstance(setting, Fixed):
        return setting.values == setting.variable.levels.index(level)
    return torch.from_numpy((rows[context] == level).to_numpy(bool, copy=True))
