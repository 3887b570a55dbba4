r"""A mechanism whose coefficients are a regression on its parents: what maximum likelihood fits.

A conditioner carries the parents to coefficients :math:`\theta(\mathrm{pa})`, and these say the
distribution of the variable. All-zero coefficients mean the distribution of the variable alone, so
a fit starts there.
"""

import abc

from torch import Tensor

from cxrcausal.scm.mechanism.base import Mechanism, Parents
from cxrcausal.scm.mechanism.conditioner import Conditioner
from cxrcausal.scm.mechanism.flow import MonotoneFlow

__all__ = ["Regression"]


class Regression(Mechanism):
    r"""A mechanism with coefficients :math:`\theta(\mathrm{pa})` from a conditioner."""

    conditioner: Conditioner

    @abc.abstractmethod
    def start_at(self, x: Tensor, weights: Tensor, possible: Tensor | None = None) -> None:
        """Makes all-zero coefficients mean the distribution of given values, parents aside.

        Arguments:
            x: Values (cells,) of the variable.
            weights: How often each cell counts (cells,).
            possible: The values that were observed at all, in rows with unknown parents too; a
                level that is not among them is not to be drawn. Every one if None.
        """

    @abc.abstractmethod
    def log_prob_given(self, x: Tensor, theta: Tensor) -> Tensor:
        """Returns log p (rows,) of values (rows,) under coefficients (rows, outputs)."""

    @property
    def map(self) -> MonotoneFlow | None:
        """The flow from the noise to standardised values; None if there is none."""
        return None

    @property
    def is_located(self) -> bool:
        """Whether a number comes from a flow with a location and a scale, as least squares has."""
        return self.map is not None and self.map.is_located and not self.variable.is_discrete

    def score(self, x: Tensor) -> Tensor:
        """Returns standardised values (rows,), on which least squares may start.

        Raises:
            TypeError: If the values are levels without an order.
        """
        raise TypeError(f"{self.variable.name!r} has levels without an order: they have no scores")

    def fit_in_closed_form(
        self, x: Tensor, pa: Parents, weights: Tensor, possible: Tensor | None = None
    ) -> bool:
        """Takes the maximum of the likelihood where levels have no parents: their shares."""
        if self.parents or self.support is None:
            return False
        self.start_at(x, weights, possible)
        return True

    def moved_tensors(self) -> list[Tensor]:
        """The last layers of the conditioner's network, which a replicate of a fit moves."""
        network = self.conditioner.network
        return [
            network.linear.weight,
            network.linear.bias,
            *(layer.weight for layer in network.layers[-1:]),
        ]
