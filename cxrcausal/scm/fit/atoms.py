r"""What a table says against a continuum: exact values that repeat more than a density allows.

A flow has a density and no atoms. Half of the patients with exactly 0 pack-years become numbers
around 0, some below it; readings heaped at 120 mmHg are spread out; values on a bound are at the
end of an infinite axis. None of this shows in a likelihood, which atoms raise without end. So a
fit says it, by name, with what to do: a resolution, under which every value has a probability of
its own.

Rounding alone is no fault. A continuum rounded to two decimals ties too, as often as its
neighbours: a value is an atom if it has significantly more rows than twice the density beside it.
"""

import numpy as np
from torch import Tensor

from cxrcausal.graph.variable import Variable

__all__ = ["against_a_continuum"]

_LEAST_SHARE = 0.02  # of the rows; what is rarer changes an answer by as little
_FALSE_ALARM = 1e-4  # how often chance may call some value of a table an atom
_NEIGHBOURS = 20  # distinct values beside a value, from which its density is read
_LARGE_SHARE = 0.1  # what no rounding gives to one of `_MANY` distinct values
_MANY = 50
_FEW = 10  # distinct values that are no continuum where each has as many rows


def against_a_continuum(variable: Variable, x: Tensor) -> str | None:
    """Returns what speaks against a variable without levels and resolution, as one sentence.

    Arguments:
        variable: The variable, by whose name and bounds the sentence speaks.
        x: Its values (rows,), NaN where unknown.

    Returns:
        The sentence, with counts and what to do; None where nothing does, and for a variable that
        has levels or a grid.
    """
    if variable.is_discrete or variable.grid is not None:
        return None
    known = x[~x.isnan()].cpu().numpy()
    if len(known) < 2:
        return None
    values, counts = np.unique(known, return_counts=True)
    name, rows = repr(variable.name), len(known)
    if len(values) == 1:
        return (
            f"{name} is {values[0]:g} in all {rows} rows: a constant has no density, and what is "
            f"drawn of it means nothing. Leave it out of the graph, or fit rows in which it varies"
        )
    found = [f"{int(counts[values == b].sum())} of {rows} rows lie exactly on its bound {b:g}"
             for b in variable.bounds or () if (values == b).any()]  # fmt: skip
    on_bound = np.isin(values, variable.bounds or ())
    found += [
        f"{counts[i]} of {rows} rows are exactly {values[i]:g}"
        for i in sorted(_atoms(values, counts), key=lambda i: -counts[i])
        if not on_bound[i]
    ][:5]
    is_whole = bool((values == np.round(values)).all()) and rows >= 2 * len(values)
    if is_whole or (len(values) <= _FEW and rows >= _FEW * len(values)):
        kind = "whole numbers" if is_whole else "values"
        found.append(f"its {rows} rows hold only {len(values)} different {kind}")
    if not found:
        return None
    step = 1.0 if is_whole else _step(values)
    return (
        f"{name} is declared a continuum, but {'; '.join(found)}. A density has no such atoms: "
        f"drawn and counterfactual values will lie beside them, and its log-density has no upper "
        f"end. Give the variable a resolution (the step in which it is recorded, such as "
        f"{step:g}) and bounds, "
        f"and every recorded value keeps its probability"
    )


def _atoms(values: np.ndarray, counts: np.ndarray) -> list[int]:
    """Returns the positions of distinct values (ascending) that a density does not allow."""
    from scipy.special import pdtrc  # slow to import, so only when asked

    rows, found = counts.sum(), []
    for i in np.flatnonzero(counts >= max(3, _LEAST_SHARE * rows)):
        if counts[i] >= _LARGE_SHARE * rows and len(values) >= _MANY:
            found.append(int(i))
            continue
        before = counts[max(0, i - _NEIGHBOURS // 2) : i]
        after = counts[i + 1 : i + 1 + _NEIGHBOURS // 2]
        beside = np.concatenate((before, after))
        # Rows per rounding step, of steps that have any: 1 + rate / 2 + …, at most 1 + rate.
        excess = (beside.sum() - len(beside) + 3) / len(beside)
        rate = min(2 * excess, 1 + excess)
        nearest = np.concatenate((before[-1:], after[:1])).max() - 1
        chance = pdtrc(counts[i] - 1, 2 * max(rate, nearest))
        if chance * len(values) < _FALSE_ALARM:
            found.append(int(i))
    return found


def _step(values: np.ndarray) -> float:
    """Returns a round step, a power of ten, that is fine against the spread of distinct values."""
    low, high = np.quantile(values, (0.05, 0.95))
    spread = high - low if high > low else values[-1] - values[0]
    return float(10.0 ** np.floor(np.log10(spread / 20)))
