r"""A stochastic intervention: a value drawn from a distribution, apart from all else of the row.

The distribution is a mapping from value to probability, or a `torch.distributions` object, one for
all rows or one for each. A draw is its quantile at a uniform number that is a function of seed,
row label, variable and draw alone, so that it does not depend on batches, and so that two
distributions set on the same rows are compared at the same uniforms.

References:
    | Causality, section 4.2 (Pearl, 2009), https://doi.org/10.1017/CBO9780511803161
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.distributions import Distribution

from cxrcausal.errors import InterventionError, summarise
from cxrcausal.graph.variable import Variable
from cxrcausal.scm.draws import Draws
from cxrcausal.scm.table import allowed_values, normalise, plain

__all__ = ["draw_values", "is_distribution"]

_SUM_TOLERANCE = 1e-6


def is_distribution(wanted: object) -> bool:
    """Whether what is wanted is a distribution over values rather than values."""
    return isinstance(wanted, Mapping | Distribution)


def draw_values(
    variable: Variable, wanted: object, draws: Draws
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """Returns values drawn from a distribution, and its list of values where all rows share one.

    Arguments:
        variable: The variable that is set.
        wanted: Its distribution: a mapping from value to probability, or a `torch.distributions`
            object of batch shape () or (rows,).
        draws: The random numbers of the rows.

    Returns:
        Values (rows, draws), which may still leave the variable's bounds; and values (k,) with
        log-probabilities (k,), or None.

    Raises:
        InterventionError: If probabilities are negative or do not sum to one, a value is not
            allowed, or the distribution has another shape or no quantiles.
    """
    rows, samples = len(draws.labels), draws.num_samples
    u = draws.uniform(f"do {variable.name}").reshape(rows, samples)
    if isinstance(wanted, Mapping):
        values, probability = _listed(variable, wanted)
        return _pick(values, probability[None], u), (values, probability.log())
    assert isinstance(wanted, Distribution)
    shape = tuple(wanted.batch_shape)
    if wanted.event_shape or shape not in ((), (1,), (rows,)):
        raise InterventionError(
            f"do[{variable.name!r}] is a {type(wanted).__name__} of batch shape {shape} and event "
            f"shape {tuple(wanted.event_shape)}; one for all rows has batch shape (), one for "
            f"each row ({rows},), and both event shape ()"
        )
    if wanted.has_enumerate_support:
        return _enumerated(variable, wanted, u)
    if variable.is_discrete:
        raise InterventionError(
            f"do[{variable.name!r}] is a {type(wanted).__name__}; {variable.name!r} has levels, "
            f"so give a mapping from level to probability, a Bernoulli or a Categorical. "
            f"Allowed: {allowed_values(variable)}"
        )
    try:
        return wanted.icdf(u.T).T.to(torch.float64), None
    except NotImplementedError as error:
        raise InterventionError(
            f"do[{variable.name!r}] is a {type(wanted).__name__}, which has no quantiles (icdf) "
            f"in torch; give a mapping from value to probability, or values that you drew"
        ) from error


def _listed(variable: Variable, listed: Mapping) -> tuple[Tensor, Tensor]:
    """Returns the values (k,) of a mapping, ascending, and their probabilities (k,)."""
    values, bad = normalise(pd.Series(list(listed), dtype=object), variable)
    if bad.any() or np.isnan(values).any() or not len(values):
        found = plain(list(listed)[int((bad | np.isnan(values)).argmax())]) if len(values) else {}
        raise InterventionError(
            f"do sets {variable.name!r} to {found!r} with some probability; "
            f"allowed: {allowed_values(variable)}"
        )
    probability = np.array([_number(variable, p) for p in listed.values()])
    if (probability < 0).any() or abs(probability.sum() - 1.0) > _SUM_TOLERANCE:
        raise InterventionError(
            f"do[{variable.name!r}] gives the probabilities "
            f"{summarise(probability.tolist(), 10)}, which sum to {probability.sum():g}; "
            f"probabilities are not negative and sum to 1"
        )
    kept = np.flatnonzero(probability > 0)
    order = kept[np.argsort(values[kept])]
    return torch.from_numpy(values[order]), torch.from_numpy(probability[order])


def _number(variable: Variable, probability: object) -> float:
    if isinstance(probability, bool) or not isinstance(probability, int | float | np.number):
        raise InterventionError(
            f"do[{variable.name!r}] is a mapping from value to probability; found the probability "
            f"{probability!r}"
        )
    return float(probability)


def _enumerated(
    variable: Variable, distribution: Distribution, u: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """Returns draws (rows, draws) of a distribution that lists its values."""
    values = distribution.enumerate_support(expand=False).reshape(-1).to(torch.float64)
    if variable.is_discrete and len(values) != len(variable.levels):
        raise InterventionError(
            f"do[{variable.name!r}] is a {type(distribution).__name__} of {len(values)} values; "
            f"{variable.name!r} has the levels {summarise(variable.levels, 10)}"
        )
    every = distribution.enumerate_support()  # (values, *batch)
    probability = distribution.log_prob(every).to(torch.float64).exp().reshape(len(values), -1).T
    probability = probability / probability.sum(1, keepdim=True)
    drawn = _pick(values, probability, u)
    if len(probability) > 1:  # one for each row
        return drawn, None
    kept = probability[0] > 0
    return drawn, (values[kept], probability[0, kept].log())


def _pick(values: Tensor, probability: Tensor, u: Tensor) -> Tensor:
    """Returns the values (rows, draws) in whose share of (0, 1) the uniforms (rows, draws) lie."""
    reached = probability.cumsum(1).expand(len(u), -1).contiguous()
    position = torch.searchsorted(reached, u.contiguous())
    # rounding can leave the last sum below one: end at the last value of any probability
    last = probability.shape[1] - 1 - (probability > 0).flip(1).to(torch.int8).argmax(1)
    return values[torch.minimum(position, last[:, None])]
