r"""Soft evidence: what was written of a cell makes some of its values likelier, and decides none.

A report that calls an edema uncertain says something. It enters as a likelihood :math:`\lambda(x)
\propto p(\text{what was written} \mid x)`, the value itself staying unknown: Pearl's virtual
evidence, a child of the cell that is always observed and that nothing else reads. So elimination,
drawing and EM need to know nothing of it.

References:
    | Probabilistic Reasoning in Intelligent Systems, section 2.2.2 (virtual evidence)
    | (Pearl, 1988), Morgan Kaufmann
"""

from collections.abc import Mapping
from typing import NoReturn, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.errors import TableError, UnobservedError, nearest, summarise
from cxrcausal.graph.variable import Variable
from cxrcausal.scm.mechanism.base import Mechanism, Parents
from cxrcausal.scm.table import plain

__all__ = ["Likelihood", "SoftEvidence", "read_likelihood"]

Likelihood = Mapping[str, pd.Series | pd.DataFrame]
"""What was written of the cells of some variables, aligned on row labels. Of a binary variable a
Series of ratios, how many times likelier that is under the second level than under the first; of
any discrete variable a table with one column per level. NaN where nothing was written. Only ratios
between the levels of a row matter, except that `log_prob` counts a likelihood as it is given."""


@final
class SoftEvidence(Mechanism):
    """A child that says of one level of its parent how likely it makes what was written.

    Its value is that likelihood; where its parent has another level it says nothing (one).

    Arguments:
        about: The variable that it speaks of.
        level: The index of the level.
    """

    def __init__(self, about: Variable, level: int) -> None:
        name = f"{about.name}: likelihood of {about.levels[level]}"
        super().__init__(Variable(name, "continuous"), (about,))
        self.level = level

    @property
    def noise_size(self) -> int:
        """How many exogenous numbers a row needs: one, which decides nothing."""
        return 1

    @property
    def support(self) -> None:
        """None: likelihoods are a continuum."""
        return None

    def log_prob(self, x: Tensor, pa: Parents) -> Tensor:
        """Returns the logarithm of the likelihood `x` where the parent has the level, else 0."""
        (parent,) = pa.values()
        return torch.where(parent == self.level, x.log(), torch.zeros((), dtype=x.dtype))

    def log_probs(self, pa: Parents) -> NoReturn:
        """Raises TypeError: likelihoods are a continuum."""
        raise TypeError(f"{self.variable.name!r} is a continuum: it has no list of values")

    def prior(self, uniform: Tensor) -> Tensor:
        """Returns the uniforms: what will be written is not modelled."""
        return uniform

    def predict(self, u: Tensor, pa: Parents) -> Tensor:
        """Returns NaN (*batch): what would have been written is not modelled."""
        return torch.full_like(u[..., 0], torch.nan)

    def abduct(self, x: Tensor, pa: Parents, uniform: Tensor) -> Tensor:
        """Returns the uniforms: nothing is predicted from them."""
        return uniform

    def transition(self, x: Tensor, pa: Parents, pa_star: Parents) -> NoReturn:
        """Raises TypeError: likelihoods are a continuum."""
        raise TypeError(f"{self.variable.name!r} is a continuum: it has no table of transitions")


def read_likelihood(
    likelihood: Likelihood | None,
    index: pd.Index,
    variables: Mapping[str, Variable],
    observed: Mapping[str, object],
) -> tuple[dict[str, SoftEvidence], dict[str, Tensor]]:
    """Returns soft evidence as children of the cells it speaks of, and their values (rows,).

    Arguments:
        likelihood: What was written, see `Likelihood`; None for nothing.
        index: The labels of the rows.
        variables: Of the graph.
        observed: What the fit observed; a variable that it never did is not a key.

    Raises:
        TableError: If a variable is unknown or continuous, the labels do not cover the rows, or a
            likelihood is negative, infinite, zero for every level, or given for some levels only.
        UnobservedError: If the fit never observed the variable.
    """
    children: dict[str, SoftEvidence] = {}
    values: dict[str, Tensor] = {}
    for name, given in (likelihood or {}).items():
        if name not in variables:
            raise TableError(
                f"likelihood is given for {name!r}, which is not a variable of the graph"
                f"{nearest(name, variables) or '.'} It has: {', '.join(variables)}"
            )
        variable = variables[name]
        if name not in observed:
            raise UnobservedError(
                f"likelihood is given for {name!r}, which was never observed in the fit; "
                f"observed: {', '.join(observed)}"
            )
        table = _by_level(variable, given, index)
        for level in range(len(variable.levels)):
            weight = table[:, level]
            if (np.isnan(weight) | (weight == 1.0)).all():
                continue  # says nothing in any row
            child = SoftEvidence(variable, level)
            children[child.variable.name] = child
            values[child.variable.name] = torch.from_numpy(weight.copy())
    return children, values


def _by_level(variable: Variable, given: pd.Series | pd.DataFrame, index: pd.Index) -> np.ndarray:
    """Returns likelihoods (rows, levels), NaN in rows of which nothing was written."""
    if not variable.is_discrete:
        raise TableError(
            f"likelihood of {variable.name!r}: soft evidence is about levels, and "
            f"{variable.name!r} is continuous"
        )
    if isinstance(given, pd.Series):
        if len(variable.levels) != 2:
            raise TableError(
                f"likelihood of {variable.name!r} is a Series; a ratio speaks of two levels, and "
                f"it has {summarise(variable.levels, 10)}: give a table with a column for each"
            )
        given = pd.DataFrame(
            {
                variable.levels[0]: np.where(given.isna(), np.nan, 1.0),
                variable.levels[1]: given.to_numpy(),
            },
            index=given.index,
        )
    if not isinstance(given, pd.DataFrame) or set(given.columns) != set(variable.levels):
        found = list(given.columns) if isinstance(given, pd.DataFrame) else type(given).__name__
        raise TableError(
            f"likelihood of {variable.name!r} needs one column for each level, "
            f"{summarise(variable.levels, 10)}; found {found}"
        )
    if not given.index.equals(index):
        missing = index[~index.isin(given.index)]
        if len(missing) or not given.index.is_unique:
            raise TableError(
                f"likelihood of {variable.name!r} is aligned on row labels, and "
                + (f"lacks the rows {summarise(missing)}" if len(missing) else "repeats some")
            )
        given = given.loc[index]
    table = given[list(variable.levels)].to_numpy(np.float64)
    partly = np.isnan(table).any(1) & ~np.isnan(table).all(1)
    wrong = partly | (table < 0).any(1) | np.isinf(table).any(1) | (table == 0).all(1)
    if wrong.any():
        row = int(wrong.argmax())
        raise TableError(
            f"likelihood of {variable.name!r}, row {plain(index[row])!r}: found "
            f"{dict(zip(variable.levels, table[row].tolist(), strict=True))}; allowed: finite "
            f"numbers from 0, not all 0, or NaN for all levels where nothing was written"
        )
    return table
