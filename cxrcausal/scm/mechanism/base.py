r"""One structural assignment: a variable as a function of its parents and of its own noise.

Values are float64 tensors: a continuous variable in its own unit, a discrete one as the index of
its level. The noise of an ordered variable is one standard normal :math:`\varepsilon`; that of a
Gumbel mechanism is one standard Gumbel per level. Parents come as a mapping from name to values;
all of them broadcast against each other, so a mechanism can be asked about one row or about a
whole grid.
"""

import abc
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cxrcausal.graph.variable import Variable

__all__ = ["Mechanism", "Parents", "lacking", "predict_known"]

Parents = Mapping[str, Tensor]
"""Values of the parents, by name: float64, broadcastable against each other; never NaN, except
where a mechanism says that it accepts unknown parents (`LogicMechanism`)."""


class Mechanism(nn.Module, abc.ABC):
    r"""One structural assignment :math:`x := f(u, \mathrm{pa})` with :math:`u \sim p(u)`.

    What it is follows from the abstract members. A checkpoint keeps `config` and the weights; a
    mechanism whose constructor takes nothing but the variables has nothing to add there.

    Arguments:
        variable: The variable that is assigned.
        parents: The variables that the mechanism reads, those observed in its fit.
    """

    def __init__(self, variable: Variable, parents: tuple[Variable, ...]) -> None:
        super().__init__()
        self.variable = variable
        self.parents = parents

    @property
    @abc.abstractmethod
    def noise_size(self) -> int:
        """How many exogenous numbers a row needs."""

    @property
    @abc.abstractmethod
    def support(self) -> Tensor | None:
        """The values (levels,) that the variable can take, ascending; None of a continuum."""

    @abc.abstractmethod
    def log_prob(self, x: Tensor, pa: Parents) -> Tensor:
        r"""Returns :math:`\log p(x \mid \mathrm{pa})`, of a mass or of a density per unit.

        Shapes: `x` (*batch) against parents (*batch), giving (*batch).
        """

    @abc.abstractmethod
    def log_probs(self, pa: Parents) -> Tensor:
        """Returns log-probabilities (*batch, levels) of every value in `support`.

        Raises:
            TypeError: If the variable is a continuum (`support` is None).
        """

    @abc.abstractmethod
    def prior(self, uniform: Tensor) -> Tensor:
        """Returns noise (*batch, noise_size) from uniforms of that shape: a draw from p(u)."""

    @abc.abstractmethod
    def predict(self, u: Tensor, pa: Parents) -> Tensor:
        r"""Returns :math:`x = f(u, \mathrm{pa})` (*batch), given noise (*batch, noise_size)."""

    @abc.abstractmethod
    def abduct(self, x: Tensor, pa: Parents, uniform: Tensor) -> Tensor:
        r"""Returns a draw from :math:`p(u \mid x, \mathrm{pa})`; `predict` gives :math:`x` back.

        Arguments:
            x: Observed values (*batch).
            pa: Observed parents (*batch).
            uniform: Uniforms (*batch, noise_size); ignored where the noise is unique.
        """

    @abc.abstractmethod
    def transition(self, x: Tensor, pa: Parents, pa_star: Parents) -> Tensor:
        r"""Returns :math:`P(x^* = j \mid x, \mathrm{pa}, \mathrm{pa}^*)`, (*batch, levels).

        The distribution of the counterfactual value under parents `pa_star`, given that `x` was
        observed under `pa`, in closed form: the exogenous noise is integrated out.

        Raises:
            TypeError: If the variable is a continuum (`support` is None).
        """

    def config(self) -> dict[str, Any]:
        """Returns what its constructor takes besides the variables, as JSON."""
        return {}

    @classmethod
    def from_config(
        cls, variable: Variable, parents: tuple[Variable, ...], config: Mapping[str, Any]
    ) -> "Mechanism":
        """Builds the mechanism that `config` describes, its weights still to be loaded."""
        return cls(variable, parents, **config)

    def fit_in_closed_form(
        self, x: Tensor, pa: Parents, weights: Tensor, possible: Tensor | None = None
    ) -> bool:
        """Takes the maximum of the likelihood at once, and returns whether it is known.

        Arguments:
            x: Values (cells,) of the variable.
            pa: Values (cells,) of its parents.
            weights: How often each cell counts (cells,).
            possible: The values that were observed at all; no other is to be drawn. All if None.
        """
        return False

    def moved_tensors(self) -> list[Tensor]:
        """The tensors that a replicate of a fit moves, in its order; none without replicates."""
        return []

    def forward(self, x: Tensor, pa: Parents) -> Tensor:
        """Returns the training loss per row, the negative `log_prob`."""
        return -self.log_prob(x, pa)

    def extra_repr(self) -> str:
        """Says what is assigned from what."""
        return f"{self.variable.name} := f({', '.join(p.name for p in self.parents)}, u)"

    @property
    def device(self) -> torch.device:
        """Where the parameters live; the CPU for a mechanism without any."""
        tensors = [*self.parameters(), *self.buffers()]
        return tensors[0].device if tensors else torch.device("cpu")


def predict_known(
    mechanism: Mechanism,
    u: Tensor,
    pa: Parents,
    otherwise: Tensor,
    among: Tensor | None = None,
) -> Tensor:
    """Returns what a mechanism predicts (rows,) in the rows where its noise and parents are known.

    Arguments:
        mechanism: The mechanism.
        u: The noise (rows, numbers).
        pa: The values of its parents (rows,).
        otherwise: The value (rows,) of the other rows.
        among: Which rows (rows,) to predict at all; every row if None.
    """
    without = lacking(u[:, 0], *pa.values())
    if without is None and among is None:
        return mechanism.predict(u, pa)
    ready = torch.ones_like(otherwise, dtype=torch.bool) if among is None else among
    rows = (ready if without is None else ready & ~without).nonzero().squeeze(1)
    x = otherwise.clone()
    x[rows] = mechanism.predict(u[rows], {name: value[rows] for name, value in pa.items()})
    return x


def lacking(*values: Tensor) -> Tensor | None:
    """Returns which rows (rows,) have a NaN; None if there is none."""
    total = sum(values)  # NaN as soon as one is
    without = torch.isnan(total) if isinstance(total, Tensor) else None
    return without if without is not None and bool(without.any()) else None
