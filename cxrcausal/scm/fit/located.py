r"""A flow fitted from a regression upwards: what data ask for, and no more than they show.

A flow with a location and a scale (`MonotoneFlow.is_located`) holds the models of a statistician.
It starts at least squares, a straight line in every number with normal noise of one spread, and is
set free in steps, each kept only where it predicts patients that were set aside better: by two
standard errors (three where its best round was chosen on the same patients), or by less where the
training patients gain more than the Bayesian information criterion asks:

1. the location bends, by a natural spline of every number;
2. a residual network adds to it what parents do together;
3. the log-scale is a straight line in every number: a bend there, beyond the data, is a disaster;
4. the noise is not normal: the flow's shape, the same for all parents;
5. the shape depends on the parents.

The first three are solved in closed form and the fourth by one table of the flow for all rows, so
only the last solves an equation for every row. What is kept is fitted again on all rows. So a
continuous mechanism of linear data is least squares, as a discrete one is logistic regression.
"""

import copy
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor, nn

from cxrcausal.scm.fit.rows import Cells
from cxrcausal.scm.mechanism.flow import MonotoneFlow, Solution
from cxrcausal.scm.mechanism.regression import Regression

__all__ = ["Freedom", "fit_located", "improve_located", "limits_of"]

_log = logging.getLogger("cxrcausal")

_LEAST_GAIN = 1e-6  # nats per row
_ERRORS = 2.0  # standard errors by which a step must predict better
_WATCHED_ERRORS = 3.0  # the same of a step whose best round was chosen on the same patients
_PENALTY = 0.5  # of half the squared weights of a regression, against the summed loss
_SHAPE_PENALTY = 10.0  # of those of a flow's shape
MOST_CELLS = 100_000  # that a closed form or a table is fitted on at most
_ROW_CELLS = 20_000  # that a flow solved for every row is fitted on at most
_ITERATIONS = 80  # of L-BFGS in a step, which mostly converges sooner
_CHANGE = 1e-8  # nats per row between two iterations, below which a step has arrived
_SHAPE_ROUNDS = 15  # the most of them that train a shape
_ROUND = 10  # iterations between two looks at the validation patients
_FEW_CELLS = 1000  # for which a table has more nodes than rows
_MANY = 10_000  # rows that can show a shape that differs by parents and is normal on average
_PATIENCE = 4  # rounds of the residual without a better validation loss
_BATCH = 8192  # cells whose loss is computed at a time


@final
@dataclass(frozen=True)
class Freedom:
    """What of a located flow is free; the rest stays at the regression that it started from.

    Arguments:
        bends: Whether the location is a spline of its parents, not only a straight line.
        residual: Whether a residual network adds to the location.
        spreads: Whether the log-scale is a straight line in its parents.
        shaped: Whether the noise has a shape other than the normal.
        reshaped: Whether that shape depends on the parents.
    """

    bends: bool = False
    residual: bool = False
    spreads: bool = False
    shaped: bool = False
    reshaped: bool = False

    @property
    def solution(self) -> Solution:
        """How the flow is solved while this is free."""
        return "rows" if self.reshaped else "table" if self.shaped else "none"


def fit_located(
    mechanism: Regression, cells: Cells, generator: torch.Generator, most_rounds: int
) -> Freedom:
    """Fits a located mechanism to its cells, in place, and returns what was set free.

    Arguments:
        mechanism: A mechanism at its marginal, all weights of its network zero.
        cells: The distinct rows, with those of the validation patients.
        generator: For the residual's first weights, and for cells drawn where they are too many.
        most_rounds: The most rounds of the residual network; 0 for none.
    """
    conditioner = mechanism.conditioner
    conditioner.features.calibrate(cells.pa, cells.total)
    columns = conditioner.features(cells.pa).expand(len(cells.x), -1)
    residual, conditioner.network.residual = conditioner.network.residual, nn.ModuleList()
    if len(cells.x) > MOST_CELLS:
        _log.info(
            "%s: its flow is fitted on %d of %d distinct rows, drawn at random",
            mechanism.variable.name, MOST_CELLS, len(cells.x),
        )  # fmt: skip
    fit = _Ladder(mechanism, cells, columns, generator)
    fit.climb(residual if most_rounds else nn.ModuleList(), most_rounds)
    fit.finish()
    return fit.free


def improve_located(
    mechanism: Regression, x: Tensor, columns: Tensor, weights: Tensor, iterations: int
) -> None:
    """Raises the likelihood of weighted cells from where a located mechanism stands, in place.

    What its fit left at the regression stays there: a weight that is zero was not set free.

    Arguments:
        mechanism: A mechanism that `fit_located` has fitted.
        x: Values of its variable (cells,).
        columns: The features of its parents (cells, columns).
        weights: How often each cell counts (cells,).
        iterations: The most iterations of L-BFGS.
    """
    free = freedom_of(mechanism)
    _Descent(mechanism, x, columns, weights, free, _draws(0)).run(iterations)


def freedom_of(mechanism: Regression) -> Freedom:
    """Returns what a fitted mechanism has free, read from its weights."""
    network = mechanism.conditioner.network
    weight, bias = network.linear.weight.detach(), network.linear.bias.detach()
    straight = mechanism.conditioner.features.straight()
    bent = weight[0] - straight @ weight[0]
    return Freedom(
        bends=bool(bent.norm() > 1e-9 * weight[0].norm().clamp(min=1e-300)),
        residual=bool(network.layers),
        spreads=bool(weight[1].any()),
        shaped=bool(bias[2:].any()),
        reshaped=bool(weight[2:].any()),
    )


def limits_of(mechanism: Regression) -> tuple[Freedom, list[float], int]:
    """Returns what bounds a fit: what is free, each output's penalty, and the most cells."""
    free = freedom_of(mechanism)
    shape = mechanism.conditioner.outputs - 2
    penalties = [_PENALTY] * 2 + [_SHAPE_PENALTY] * shape
    return free, penalties, _ROW_CELLS if free.reshaped else MOST_CELLS


class _Ladder:
    """The steps of one fit, from least squares to what the validation patients bear out."""

    def __init__(
        self, mechanism: Regression, cells: Cells, columns: Tensor, generator: torch.Generator
    ) -> None:
        self.mechanism, self.cells, self.columns = mechanism, cells, columns
        self.generator = generator
        self.free = Freedom()
        self.spare = bool(cells.validation.any())
        self.rounds = 0
        _least_squares(mechanism, cells.x, columns, cells.train)
        self._descend(self.free, cells.train).run(_ITERATIONS)
        self.losses = self._losses()

    def climb(self, residual: nn.ModuleList, most_rounds: int) -> None:
        """Sets free, step by step, what predicts the validation patients better."""
        network, cells = self.mechanism.conditioner.network, self.cells
        has_parents = self.columns.shape[1] > 0
        can_bend = bool(
            (self.mechanism.conditioner.features.straight().diagonal() < 1 - 1e-9).any()
        )

        def train(free: Freedom) -> float:
            self._descend(free, cells.train).run(_ITERATIONS)
            return _ERRORS

        def train_residual(free: Freedom) -> float:
            network.residual = residual
            network.initialise(self.generator)
            self._watch(self._descend(free, cells.train), most_rounds, _PATIENCE)
            return _WATCHED_ERRORS

        def train_shape(free: Freedom) -> float:
            self._watch(self._descend(free, cells.train), _SHAPE_ROUNDS, 1)
            return _WATCHED_ERRORS

        if can_bend:
            self._try(train, bends=True)
        if self.spare and residual:
            self._try(train_residual, residual=True)
        hopeless = has_parents and not self._try(train, spreads=True)
        if self.spare and residual and self.free.spreads and not self.free.residual:
            self._try(train_residual, residual=True)
        self._try(train_shape if self.spare else train, shaped=True)
        if has_parents and self.free.shaped and not self.free.spreads and not hopeless:
            self._try(train, spreads=True)  # heavy tails may have hidden it
        is_many = float(cells.train.sum()) >= _MANY
        if self.spare and has_parents and (self.free.shaped or is_many):
            self._try(train_shape, shaped=True, reshaped=True)

    def finish(self) -> None:
        """Fits what is free on all rows, from where the training patients left it."""
        watched = self.free.residual or self.free.shaped
        self._descend(self.free, self.cells.total).run(2 * _ROUND if watched else _ITERATIONS)

    def _try(self, train: Callable[[Freedom], float], **more: bool) -> bool:
        """Sets more free and keeps it if the validation patients are predicted better.

        Returns:
            Whether it is kept or may be yet, not being worse by more than its standard error.
        """
        network = self.mechanism.conditioner.network
        before, layers = copy.deepcopy(self.mechanism.state_dict()), network.residual
        free = replace(self.free, **more)
        errors = train(free)
        losses = self._losses()
        gain, error, kept = 0.0, 0.0, True
        if self.spare:
            gain, error = self.cells.gain(self.losses, losses)
            kept = gain > _LEAST_GAIN
        if gain <= errors * error:
            kept = kept and not free.residual > self.free.residual and self._informs(free, losses)
        _log.debug(
            "%s: %s %s, validation gain %.5f nats (standard error %.5f)",
            self.mechanism.variable.name, ", ".join(more), "kept" if kept else "dropped",
            gain, error,
        )  # fmt: skip
        if kept:
            self.free, self.losses = free, losses
            return True
        network.residual = layers
        self.mechanism.load_state_dict(before)
        return bool(gain > -error)

    def _informs(self, free: Freedom, losses: Tensor) -> bool:
        """Whether the training patients gain more than the Bayesian information criterion asks."""
        cells = self.cells
        rows = float(cells.train.sum())
        gain = float((self.losses - losses) @ cells.train)
        independent = rows
        if self.spare:  # rows of one patient count as one
            independent *= (cells.validation_patient.max() + 1) / max(
                cells.validation_weight.sum(), 1.0
            )
        independent = max(min(independent, rows), 2.0)
        size = self._size(free) - self._size(self.free)
        return gain * independent / rows > 0.5 * size * math.log(independent)

    def _size(self, free: Freedom) -> int:
        """Returns how many numbers are free, the residual's not counted."""
        width, outputs = self.columns.shape[1], self.mechanism.conditioner.outputs
        line = int(self.mechanism.conditioner.features.straight().trace().round())
        location = width if free.bends else line
        shape = (outputs - 2) * (free.shaped + width * free.reshaped)
        return 2 + location + line * free.spreads + shape

    def _watch(self, descent: "_Descent", most_rounds: int, patience: int) -> None:
        """Trains in rounds and returns to the best one on the validation patients."""
        rows = torch.nonzero(self.cells.validation > 0).squeeze(-1)
        best, best_round = float(self.losses[rows] @ self.cells.validation[rows]), 0
        state = copy.deepcopy(self.mechanism.state_dict())
        for number in range(1, most_rounds + 1):
            descent.run(_ROUND)
            loss = float(self._losses(rows) @ self.cells.validation[rows])
            if loss < best:
                best, best_round = loss, number
                state = copy.deepcopy(self.mechanism.state_dict())
            elif number - best_round >= patience:
                break
        self.mechanism.load_state_dict(state)

    def _descend(self, free: Freedom, weight: Tensor) -> "_Descent":
        return _Descent(self.mechanism, self.cells.x, self.columns, weight, free, self.generator)

    @torch.no_grad()
    def _losses(self, subset: Tensor | None = None) -> Tensor:
        """Returns the loss of every cell (cells,), or of a subset, in nats."""
        x = self.cells.x if subset is None else self.cells.x[subset]
        columns = self.columns if subset is None else self.columns[subset]
        network = self.mechanism.conditioner.network
        parts = zip(x.split(_BATCH), columns.split(_BATCH), strict=True)
        return torch.cat([-self.mechanism.log_prob_given(a, network(b)) for a, b in parts])


@torch.no_grad()
def _least_squares(mechanism: Regression, x: Tensor, columns: Tensor, weight: Tensor) -> None:
    """Puts the location at least squares, straight in every number, the scale at its error."""
    linear = mechanism.conditioner.network.linear
    y, share = mechanism.score(x), weight / weight.sum()
    root = share.sqrt()[:, None]
    straight = columns @ mechanism.conditioner.features.straight()
    design = torch.cat((straight, torch.ones_like(root)), 1) * root
    solution = torch.linalg.lstsq(design, y[:, None] * root, driver="gelsd").solution[:, 0]
    error = y - torch.cat((straight, torch.ones_like(root)), 1) @ solution
    spread = (share @ error.square()).sqrt().clamp(min=1e-5)
    linear.weight[0].copy_(mechanism.conditioner.features.straight() @ solution[:-1])
    linear.bias[0], linear.bias[1] = solution[-1], spread.log()


class _Descent:
    """Minimises the penalised loss of weighted cells by L-BFGS, moving only what is free."""

    def __init__(
        self,
        mechanism: Regression,
        x: Tensor,
        columns: Tensor,
        weight: Tensor,
        free: Freedom,
        generator: torch.Generator,
    ) -> None:
        used = torch.nonzero(weight > 0).squeeze(-1)
        most = _ROW_CELLS if free.reshaped else MOST_CELLS
        if len(used) > most:
            used = used[torch.randperm(len(used), generator=generator)[:most]]
        self.mechanism, self.free, self.flow = mechanism, free, _flow(mechanism)
        self.x, self.columns = x[used], columns[used]
        self.share = weight[used] / weight[used].sum()
        self.rows = weight[used].sum()
        self.straight = mechanism.conditioner.features.straight()
        self.network = mechanism.conditioner.network
        parameters = list(self.network.parameters())
        if free.shaped:
            parameters += list(self.flow.parameters())
        self.optimiser = torch.optim.LBFGS(
            [p for p in parameters if p.numel()],
            history_size=20,
            line_search_fn="strong_wolfe",
            tolerance_grad=1e-8,
            tolerance_change=_CHANGE,
        )

    def run(self, iterations: int) -> None:
        """Goes on for so many iterations, or until it has converged."""
        self.optimiser.param_groups[0].update(max_iter=iterations, max_eval=2 * iterations)
        how = self.free.solution
        if how == "table" and len(self.x) <= _FEW_CELLS:
            how = "rows"  # which are fewer than the table's nodes
        with self.flow.solved(how):
            self.optimiser.step(self._loss)

    @torch.enable_grad()
    def _loss(self) -> Tensor:
        self.optimiser.zero_grad()
        theta = self.network(self.columns)
        nats = -self.mechanism.log_prob_given(self.x, theta) @ self.share
        loss = nats + self._penalty() / self.rows
        loss.backward()
        self._hold()
        return loss.detach()

    def _penalty(self) -> Tensor:
        """Returns the penalty of the network's weights; a flow's shape costs more than a line."""
        total = torch.zeros((), dtype=torch.float64)
        last = self.network.layers[-1:]
        for layer in (self.network.linear, *self.network.layers):
            for w in (layer.weight, layer.bias):
                if layer is self.network.linear or layer in last:
                    total = total + 0.5 * _PENALTY * w[:2].square().sum()
                    total = total + 0.5 * _SHAPE_PENALTY * w[2:].square().sum()
                else:
                    total = total + 0.5 * _PENALTY * w.square().sum()
        return total

    @torch.no_grad()
    def _hold(self) -> None:
        """Takes from the gradient what is not free."""
        free, linear = self.free, self.network.linear
        weight, bias = linear.weight.grad, linear.bias.grad
        assert weight is not None
        assert bias is not None
        if not free.bends:
            weight[0] = self.straight @ weight[0]
        weight[1] = self.straight @ weight[1] if free.spreads else 0.0
        if not free.shaped:
            bias[2:].zero_()
        if not free.reshaped:
            weight[2:].zero_()
        for layer in self.network.layers[-1:]:
            for w in (layer.weight.grad, layer.bias.grad):
                assert w is not None
                w[1:2] *= free.spreads
                w[2:] *= free.reshaped


def _flow(mechanism: Regression) -> MonotoneFlow:
    """Returns the flow with a location and a scale that a mechanism has."""
    assert mechanism.map is not None
    return mechanism.map


def _draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
