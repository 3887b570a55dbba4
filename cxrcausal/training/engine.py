"""One step of learning, and the average of the weights that it goes through.

Whatever is trained takes the same step: a rate by schedule, gradients held to a norm, the
optimiser, and an exponential moving average of all weights, which is what is kept in the end. The
average forgets its start: its decay begins low and reaches its own value after some steps.

References:
    | Acceleration of Stochastic Approximation by Averaging (Polyak and Juditsky, 1992),
    | https://doi.org/10.1137/0330046
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

__all__ = ["Engine"]


@final
class Engine:
    """Steps of one module under one optimiser.

    Arguments:
        module: What is trained.
        optimiser: Of its parameters; its rate is set at every step.
        rate: The learning rate of a step, counted from 0.
        decay: The decay of the average, reached after a warm-up.
        clip_norm: The largest norm of the gradient.
    """

    def __init__(
        self,
        module: nn.Module,
        optimiser: torch.optim.Optimizer,
        rate: Callable[[int], float],
        *,
        decay: float,
        clip_norm: float,
    ) -> None:
        self.module = module
        self.optimiser = optimiser
        self.rate = rate
        self.decay = decay
        self.clip_norm = clip_norm
        self.steps = 0
        self.average = AveragedModel(module, multi_avg_fn=self._move, use_buffers=True)

    def step(self, loss: Tensor) -> Tensor:
        """Takes one step down a loss (a scalar); returns its gradient's norm before clipping."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate(self.steps)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), self.clip_norm)
        self.optimiser.step()
        self.average.update_parameters(self.module)
        self.steps += 1
        return norm.detach()

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Gives the module its averaged weights for as long as the block lasts."""
        current = {name: x.clone() for name, x in self.module.state_dict().items()}
        self.adopt_average()
        try:
            yield
        finally:
            self.module.load_state_dict(current)

    def adopt_average(self) -> None:
        """Gives the module its averaged weights."""
        self.module.load_state_dict(self.average.module.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Returns what a later run needs to go on as if it had not stopped."""
        return {
            "steps": self.steps,
            "module": self.module.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up what `state_dict` returned."""
        self.module.load_state_dict(state["module"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.steps = state["steps"]

    @torch.no_grad()
    def _move(self, averages: list[Tensor], currents: list[Tensor], count: Tensor | int) -> None:
        """Moves the averages towards the weights after step `count` (the first was copied)."""
        if not averages[0].is_floating_point():  # a counter or an index: it has no average
            torch._foreach_copy_(averages, currents)
            return
        decay = min(self.decay, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(averages, currents, 1 - decay)
