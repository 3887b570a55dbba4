r"""Maximum likelihood of one mechanism, starting from logistic regression.

Rows that agree in the variable and in all its parents are counted once with their number as
weight, so a table of binary findings shrinks a hundredfold. The linear part of the network is then
fitted to convergence by L-BFGS with a weak ridge penalty: that is the logistic regression of a
statistician. A residual network follows, ended at its best round on patients that were set aside,
and kept only where it predicts these same patients better by more than one and a half standard
errors; then both are fitted again on all rows. The round being chosen on them, that gain is
somewhat optimistic: a kept residual can predict new patients a little worse than the regression
alone.
"""

import copy
import hashlib
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cxrcausal.scm.fit.located import fit_located, improve_located
from cxrcausal.scm.fit.rows import Cells
from cxrcausal.scm.mechanism.regression import Regression

__all__ = ["ITERATIONS", "effort_of", "fit_by_stages", "generator_of", "improve"]

ITERATIONS = 10
"""The iterations of L-BFGS between two looks at the validation patients."""

_log = logging.getLogger("cxrcausal")
_LEAST_GAIN = 1e-6  # nats per row
_BATCH = 8192  # cells whose loss is computed at a time


@dataclass(frozen=True)
class Effort:
    """How much work a mechanism is worth: a flow is dear to evaluate, and more flexible.

    Arguments:
        penalty: Of half the squared weights of the network, against the summed loss.
        linear: The most iterations of the linear part.
        cells: The most cells that it is fitted on.
        patience: How many rounds without a better validation loss end the residual's training.
    """

    penalty: float = 0.5
    linear: int = 300
    cells: int = 10_000_000
    patience: int = 4


_NETWORK = Effort()
_FLOW = Effort(penalty=10.0, linear=60, cells=20_000, patience=1)
_LEVEL_FLOW = replace(_FLOW, penalty=50.0)  # few edges have many coefficients to share


def fit_by_stages(
    mechanism: Regression, cells: Cells, generator: torch.Generator, most_rounds: int
) -> None:
    """Fits the linear part, then the residual if validation patients bear it out, on all rows."""
    if mechanism.support is not None and not mechanism.parents:
        mechanism.conditioner.features.calibrate(cells.pa, cells.total)
        return  # it starts at its marginal, which is the maximum
    if mechanism.is_located:
        fit_located(mechanism, cells, generator, most_rounds)
        return
    conditioner = mechanism.conditioner
    conditioner.features.calibrate(cells.pa, cells.total)
    columns = conditioner.features(cells.pa).expand(len(cells.x), -1)
    network = conditioner.network
    effort = effort_of(mechanism)
    most = effort.linear
    if len(cells.x) > effort.cells:
        _log.info(
            "%s: its flow is fitted on %d of %d distinct rows, drawn at random",
            mechanism.variable.name, effort.cells, len(cells.x),
        )  # fmt: skip
    if not conditioner.hidden or not cells.validation.any():
        network.residual = torch.nn.ModuleList()
        _Descent(mechanism, cells.x, columns, cells.total, effort, generator).run(most)
        return
    residual, network.residual = network.residual, torch.nn.ModuleList()
    _Descent(mechanism, cells.x, columns, cells.train, effort, generator).run(most)
    before = _losses(mechanism, cells.x, columns)
    start = copy.deepcopy(mechanism.state_dict())

    network.residual = residual
    network.initialise(generator)
    first = copy.deepcopy(residual.state_dict())
    rounds = _train_watched(mechanism, cells, columns, effort, generator, most_rounds)
    gain, error = cells.gain(before, _losses(mechanism, cells.x, columns))
    kept = gain > 1.5 * error and gain > _LEAST_GAIN
    _log.debug(
        "%s: residual %s after %d rounds, validation gain %.5f nats (standard error %.5f)",
        mechanism.variable.name, "kept" if kept else "dropped", rounds, gain, error,
    )  # fmt: skip
    network.residual = torch.nn.ModuleList()
    mechanism.load_state_dict(start)
    _Descent(mechanism, cells.x, columns, cells.total, effort, generator).run(most)
    if kept:
        residual.load_state_dict(first)
        network.residual = residual
        descent = _Descent(mechanism, cells.x, columns, cells.total, effort, generator)
        descent.run(rounds * ITERATIONS)


def improve(
    mechanism: Regression,
    x: Tensor,
    pa: Mapping[str, Tensor],
    weights: Tensor,
    iterations: int,
) -> None:
    """Raises the likelihood of weighted cells from where a fitted regression stands, in place.

    Arguments:
        mechanism: The fitted mechanism, its parameters free.
        x: Values (cells,) of its variable.
        pa: Values (cells,) of its parents.
        weights: How often each cell counts (cells,).
        iterations: The most iterations of L-BFGS.
    """
    columns = mechanism.conditioner.features(pa).expand(len(x), -1)
    if mechanism.is_located:
        improve_located(mechanism, x, columns, weights, iterations)
        return
    effort = replace(effort_of(mechanism), cells=_NETWORK.cells)
    _Descent(mechanism, x, columns, weights, effort, generator_of(0, "")).run(iterations)


def effort_of(mechanism: Regression) -> Effort:
    """Returns how much work a mechanism is worth."""
    if mechanism.map is None:
        return _NETWORK
    return _FLOW if mechanism.variable.kind == "continuous" else _LEVEL_FLOW


@torch.no_grad()
def _losses(mechanism: Regression, x: Tensor, columns: Tensor) -> Tensor:
    """Returns the loss of every cell (cells,) in nats."""
    parts = zip(x.split(_BATCH), columns.split(_BATCH), strict=True)
    network = mechanism.conditioner.network
    return torch.cat([-mechanism.log_prob_given(a, network(b)) for a, b in parts])


def _train_watched(
    mechanism: Regression,
    cells: Cells,
    columns: Tensor,
    effort: Effort,
    generator: torch.Generator,
    most_rounds: int,
) -> int:
    """Trains on the training patients, returns to the best round on the others, and its number."""
    rows = torch.nonzero(cells.validation > 0).squeeze(-1)
    descent = _Descent(mechanism, cells.x, columns, cells.train, effort, generator)
    best, best_round, best_state = math.inf, 0, copy.deepcopy(mechanism.state_dict())
    for number in range(most_rounds + 1):
        if number:
            descent.run(ITERATIONS)
        loss = float(_losses(mechanism, cells.x[rows], columns[rows]) @ cells.validation[rows])
        if loss < best:
            best, best_round = loss, number
            best_state = copy.deepcopy(mechanism.state_dict())
        elif number - best_round >= effort.patience:
            break
    mechanism.load_state_dict(best_state)
    return best_round


class _Descent:
    """Minimises the penalised loss of weighted cells by L-BFGS, all cells at a time.

    Adam on batches of cells whose weights differ a thousandfold is noisier than most effects here
    are large; the exact gradient of all cells costs milliseconds.
    """

    def __init__(
        self,
        mechanism: Regression,
        x: Tensor,
        columns: Tensor,
        weight: Tensor,
        effort: Effort,
        generator: torch.Generator,
    ) -> None:
        used = torch.nonzero(weight > 0).squeeze(-1)
        if len(used) > effort.cells:
            used = used[torch.randperm(len(used), generator=generator)[: effort.cells]]
        self.mechanism, self.x, self.columns = mechanism, x[used], columns[used]
        self.share = weight[used] / weight[used].sum()
        self.penalty = effort.penalty / weight[used].sum()
        self.optimiser = torch.optim.LBFGS(
            [p for p in mechanism.parameters() if p.numel()],
            history_size=20,
            line_search_fn="strong_wolfe",
            tolerance_grad=1e-8,
            tolerance_change=1e-11,
        )

    def run(self, iterations: int) -> None:
        """Goes on for so many iterations, or until it has converged."""
        self.optimiser.param_groups[0].update(max_iter=iterations, max_eval=2 * iterations)
        if iterations:
            self.optimiser.step(self._loss)

    @torch.enable_grad()
    def _loss(self) -> Tensor:
        self.optimiser.zero_grad()
        theta = self.mechanism.conditioner.network(self.columns)
        nats = -self.mechanism.log_prob_given(self.x, theta) @ self.share
        loss = nats + self.penalty * _half_square(self.mechanism)
        loss.backward()
        return loss.detach()


def _half_square(mechanism: Regression) -> Tensor:
    """Returns half the sum of the network's squared weights: a ridge penalty."""
    weights = mechanism.conditioner.network.parameters()
    return 0.5 * sum((w.square().sum() for w in weights), torch.zeros((), dtype=torch.float64))


def generator_of(seed: int, name: str) -> torch.Generator:
    """Returns a generator for one variable, independent of the others' and of the global one."""
    word = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(word, "little") >> 1)
