r"""Fitting with unknown cells: expectation and maximisation in turn, watched on other patients.

A fit on the rows where a variable and its parents are known throws away what the other rows say,
and says nothing of a variable in a source that never labels it. Here each iteration weighs every
completion of every row by its posterior under the current mechanisms (`completion`) and then
raises each mechanism's expected likelihood, so that the likelihood of what is known rises too: a
generalised EM, since a mechanism takes a few steps of L-BFGS from where it stands. It starts from
the fit to the known rows and ends where the log-probability of patients that were set aside no
longer rises; the last iterations then count all patients.

Cells are assumed to be missing at random given the known ones. What EM raises is the likelihood of
what is known, under the whole graph: where the graph is wrong, unknown cells are expected wrongly
too. If cells are removed completely at random, the rows where a variable and its parents are known
ask less of the graph, and with many rows they can predict complete rows better.

References:
    | Maximum Likelihood from Incomplete Data via the EM Algorithm
    | (Dempster, Laird and Rubin, 1977), https://doi.org/10.1111/j.2517-6161.1977.tb01600.x
"""

import copy
import logging
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from cxrcausal.gradients import with_gradients
from cxrcausal.scm.fit.choice import improve_mechanism
from cxrcausal.scm.mechanism.base import Mechanism
from cxrcausal.scm.unknown.completion import ExpectationStep, Patterns
from cxrcausal.scm.unknown.network import Supports, Values

__all__ = ["maximise_evidence"]

LEAST_GAIN = 2e-4  # nats per validation row and iteration; below it the fit has arrived
MOST_ITERATIONS = 40
PATIENCE = 2  # iterations without a gain
STEPS = 6  # of L-BFGS in each maximisation
LAST = 3  # iterations over all patients once the rest has arrived

logger = logging.getLogger("cxrcausal")


@with_gradients
def maximise_evidence(
    mechanisms: Mapping[str, Mechanism],
    children: Mapping[str, Mechanism],
    supports: Supports,
    values: Values,
    validation: np.ndarray,
    index: pd.Index,
    *,
    seed: int = 0,
    num_samples: int = 32,
    progress: bool | None = None,
) -> dict[str, Mechanism]:
    """Returns mechanisms of higher likelihood of what is known, from where the given ones stand.

    Arguments:
        mechanisms: Fitted mechanisms, causes before effects; left as they are.
        children: What soft evidence speaks through (`likelihood`); nothing of it is fitted.
        supports: The values that each variable may have.
        values: Values (rows,) by variable and child, NaN where unknown.
        validation: Which rows (rows,) are set aside to watch the fit.
        index: The row labels, which decide the draws with `seed`.
        seed: Of the draws for rows with too many completions to list.
        num_samples: How many draws such a row gets.
        progress: Whether to show a progress bar; on a terminal only if None.
    """
    from tqdm.auto import tqdm

    current = {**copy.deepcopy(dict(mechanisms)), **children}
    supports = {**supports, **dict.fromkeys(children)}
    train = Patterns.of(values, np.flatnonzero(~validation), index)
    everyone = (
        Patterns.of(values, np.arange(len(validation)), index) if validation.any() else train
    )
    watched = Patterns.of(values, np.flatnonzero(validation), index) if validation.any() else train
    step = ExpectationStep(current, supports, train, seed, num_samples)
    watch = step if watched is train else ExpectationStep(current, supports, watched, seed)
    open_to = _improvable(mechanisms, values)
    logger.info(
        "EM: %d distinct rows of %d, %d completions",
        len(train.count),
        len(validation),
        len(step.row),
    )
    bar = tqdm(
        range(MOST_ITERATIONS + 1), desc="EM", unit="iteration",
        disable=None if progress is None else not progress,
    )  # fmt: skip
    best, best_state, since = -math.inf, current, 0
    for number in bar:
        if number:
            _maximise(current, step, open_to)
        log_evidence = float(watch.log_evidence(current) @ watched.count / watched.count.sum())
        logger.info("EM iteration %d: %.5f nats per validation row", number, log_evidence)
        bar.set_postfix_str(f"{log_evidence:.4f} nats per row")
        since = 0 if log_evidence > best + LEAST_GAIN else since + 1
        if log_evidence > best:
            best, best_state = log_evidence, copy.deepcopy(current)
        if since >= PATIENCE:
            break
    bar.close()
    if everyone is not train:
        last = ExpectationStep(current, supports, everyone, seed, num_samples)
        for _ in range(LAST):
            _maximise(best_state, last, list(mechanisms))
    return {name: best_state[name] for name in mechanisms}


def _improvable(mechanisms: Mapping[str, Mechanism], values: Values) -> list[str]:
    """Returns the variables whose family has an unknown cell in some row.

    Of the others every row was there to be fitted on from the beginning.
    """
    lacks = {name for name in mechanisms if bool(values[name].isnan().any())}
    return [
        name
        for name, mechanism in mechanisms.items()
        if name in lacks or lacks.intersection(p.name for p in mechanism.parents)
    ]


@torch.no_grad()
def _maximise(
    mechanisms: Mapping[str, Mechanism], step: ExpectationStep, names: list[str]
) -> None:
    """Raises the expected likelihood of the named variables' mechanisms, in place."""
    expected = step.expect(mechanisms)
    for name in names:
        x, pa, weight = expected.cells(name)
        improve_mechanism(mechanisms[name], x, pa, weight, step.supports[name], STEPS)
