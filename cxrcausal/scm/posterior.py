r"""Unknown cells: their exact joint posterior given every known cell, and the rows' likelihood.

A row with unknown cells is a Bayesian network over these cells alone: every mechanism that reads or
assigns one contributes a table, all other mechanisms contribute a number. Cells without a known
descendant say nothing about the rest and are drawn forward, causes first. The others fall into
components that are independent given what is known; each is summed out exactly by variable
elimination. A continuum enters as equally likely quantile cells of its noise, so it is exact in
the limit of many; drawn values are spread over their quantile cell. Definitions (`nor`) read many
parents but only need to know whether any is positive, which a chain of running bits hands on.

Posteriors assume that cells are missing at random given the known ones.

References:
    | Probabilistic Reasoning in Intelligent Systems (Pearl, 1988), Morgan Kaufmann
    | Inference and Missing Data (Rubin, 1976), https://doi.org/10.1093/biomet/63.3.581
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor

from cxrcausal.errors import TableError, summarise
from cxrcausal.scm.factor import Grid, cheapest, draw, eliminate, joint_axes, log_total
from cxrcausal.scm.logic import LogicMechanism
from cxrcausal.scm.mechanism import Mechanism

__all__ = ["Network", "Pattern", "fill_unknown", "log_evidence", "patterns"]

QUANTILES = 128
"""Into how many quantile cells of its noise an unknown continuum is divided."""

MOST_ENTRIES = 2**20
"""The most table entries per row that an exact sum may need; beyond it the question is refused."""

BUDGET = 2**22
"""How many table entries are held at once; rows are taken in chunks that keep to it."""

Mechanisms = Mapping[str, Mechanism]
"""The fitted mechanisms by variable, causes before effects."""

Values = Mapping[str, Tensor]
"""Values (rows,) by variable, NaN where unknown."""


@final
class Network:
    """The world of some rows as grids: a cell is known, or an axis over the values it may have.

    Arguments:
        mechanisms: The fitted mechanisms, causes before effects.
        supports: The values (levels,) that each variable may have; None for a continuum.
        values: Known values (rows,) of these rows.
        unknown: The unknown cells that get an axis; all of their unknown causes are among them, or
            are left out because nothing here reads them.
    """

    def __init__(
        self,
        mechanisms: Mechanisms,
        supports: Mapping[str, Tensor | None],
        values: Values,
        unknown: Iterable[str],
    ) -> None:
        self.mechanisms = mechanisms
        self.supports = supports
        self.values = values
        self.unknown = frozenset(unknown)
        self.axes: dict[str, int] = {}
        self.factors: list[Grid] = []
        self.cells: dict[str, Grid] = {}
        self._chains: dict[tuple[str, tuple[int, ...]], Grid] = {}
        for name in mechanisms:
            if name in self.unknown:
                self._add_unknown(name)

    def cell(self, name: str) -> Grid:
        """Returns the factual value of a cell: an axis if unknown, else a number per row."""
        if name not in self.cells:
            values = self.values[name]
            self.cells[name] = Grid((), lambda: values)
        return self.cells[name]

    def add_evidence(self, name: str) -> None:
        """Adds what the known value of a cell says about its parents."""
        mechanism, x = self.mechanisms[name], self.cell(name)
        pa = self.parents(name, self.cell, "")
        self._add_factor(pa.values(), lambda axes: mechanism.log_prob(x.along(axes), at(pa, axes)))

    def parents(
        self, name: str, world: Callable[[str], Grid], mark: str, *, chained: bool = True
    ) -> dict[str, Grid]:
        """Returns the parents of a variable in a world, given as grids.

        Arguments:
            name: The variable.
            world: Returns the value of a cell in that world.
            mark: What tells the world's own axes from those of others.
            chained: Whether the parents of a definition may be replaced by one running bit.
        """
        mechanism = self.mechanisms[name]
        pa = {p.name: world(p.name) for p in mechanism.parents}
        if not (chained and isinstance(mechanism, LogicMechanism)):
            return pa
        counted = [p.name for p in mechanism.counted]
        open_ = [p for p in counted if pa[p].axes]
        if len(open_) < 2:
            return pa
        none = Grid((), lambda: self._zero())
        first = self._any(f"{name}{mark}", [pa[p] for p in counted])
        return pa | dict.fromkeys(counted, none) | {counted[0]: first}

    def axis(self, name: str, size: int) -> None:
        """Adds an axis."""
        self.axes[name] = size

    def _add_unknown(self, name: str) -> None:
        """Gives an unknown cell an axis, and adds the prior over its values given its parents."""
        mechanism, support = self.mechanisms[name], self.supports[name]
        chained = support is not None
        pa = self.parents(name, self.cell, "", chained=chained)
        inner = joint_axes(pa.values(), self.axes)
        if support is not None:
            self.axis(name, len(support))
            self.cells[name] = Grid((name,), lambda: support[None])
            keep = places(mechanism, support)
            self.factors.append(
                Grid((*inner, name), lambda: _rows(mechanism.log_probs(at(pa, inner)), inner)[..., keep])
            )
            return
        self.axis(name, QUANTILES)
        outer = (*inner, name)
        noise = self.quantile_noise(name)
        self.cells[name] = Grid(
            outer, lambda: mechanism.predict(noise, at(pa, outer))
        )
        self.factors.append(
            Grid((name,), lambda: torch.full((1, QUANTILES), -math.log(QUANTILES)).double())
        )

    def quantile_noise(self, name: str) -> Tensor:
        """Returns the noise (quantiles, noise_size) at the middle of each quantile cell."""
        mechanism = self.mechanisms[name]
        middle = (torch.arange(QUANTILES, dtype=torch.float64) + 0.5) / QUANTILES
        return mechanism.prior(middle[:, None].expand(-1, mechanism.noise_size)).to(
            mechanism.device
        )

    def _any(self, tag: str, grids: Sequence[Grid]) -> Grid:
        """Returns whether any of the binary grids is positive, as a chain of running bits."""
        key = (tag, tuple(id(grid) for grid in grids))
        if key in self._chains:
            return self._chains[key]
        known = [grid for grid in grids if not grid.axes]
        bit = Grid(
            (), lambda: torch.stack([self._zero(), *(g.table for g in known)][0:1]).amax(0)
        )
        bit = Grid((), lambda: _any_positive(self._zero(), known))
        for i, grid in enumerate(grid for grid in grids if grid.axes):
            name = f"{tag} any {i}"
            self.axis(name, 2)
            bits = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
            running = Grid((name,), lambda bits=bits: bits)
            self._add_factor(
                (bit, grid, running),
                lambda axes, a=bit, b=grid, c=running: torch.where(
                    torch.maximum(a.along(axes), b.along(axes)) == c.along(axes), 0.0, -math.inf
                ).double(),
            )
            bit = running
        self._chains[key] = bit
        return bit
