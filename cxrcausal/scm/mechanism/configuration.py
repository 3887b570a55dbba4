r"""Evaluate once per configuration of the parents, then look up.

Parents are mostly discrete, so most rows share theirs with many others. `Configurations` names the
distinct ones among a batch and each row's position in that list; where the parents have few joint
values at all, the list is every one of them, and `TableCache` keeps what was computed for it until
the mechanism's weights change. Of 10,000 real rows, 1,000 to 4,000 differ in ten or more parents.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import Tensor, nn

from cxrcausal.graph.variable import Variable
from cxrcausal.scm.mechanism.base import Parents

__all__ = ["Configurations", "TableCache", "level_count"]

_FEW = 4096  # so few joint values are tabulated whatever the batch
_FEWEST_TO_SORT = 512  # below this many rows, finding the distinct ones costs more than it saves
_MOST_CODES = 2**62
_MOST_REMEMBERED = 2**20  # numbers in one table: 8 MiB


def level_count(variable: Variable) -> int | None:
    """Returns how many values the variable can take; None if it is a continuum."""
    if variable.is_discrete:
        return len(variable.levels)
    return None if variable.grid is None else len(variable.grid)


@final
@dataclass(frozen=True)
class Configurations:
    """Parent configurations, and the position of every row's own among them.

    Arguments:
        variables: The parents, in order.
        values: The configurations, name to values (configurations,); left out if they are all.
        index: The rows' positions (*batch), int64.
        count: How many configurations there are; one without parents.
        is_every: Whether they are all joint values of the parents, in their fixed order.
    """

    variables: tuple[Variable, ...]
    values: dict[str, Tensor]
    index: Tensor
    count: int
    is_every: bool

    @classmethod
    def of(
        cls, variables: tuple[Variable, ...], pa: Parents, device: torch.device
    ) -> "Configurations":
        """Returns the configurations of a batch.

        Arguments:
            variables: The parents to read.
            pa: Their values, broadcastable against each other.
            device: Where the positions belong if there are no parents.
        """
        if not variables:
            return cls((), {}, torch.zeros((), dtype=torch.int64, device=device), 1, True)
        values = torch.broadcast_tensors(*(pa[v.name] for v in variables))
        rows = values[0].numel()
        total = math.prod(level_count(v) or _MOST_CODES for v in variables)
        tabulate = total <= max(rows, _FEW)
        if tabulate or (rows >= _FEWEST_TO_SORT and total < _MOST_CODES):
            code = _joint_code(variables, values)
            if code is not None and tabulate:
                return cls(variables, {}, code, total, True)
            if code is not None:
                codes, index = torch.unique(code, return_inverse=True)
                first = torch.empty_like(codes)
                first[index.flatten()] = torch.arange(rows, device=code.device)  # any row serves
                distinct = {
                    v.name: x.flatten()[first] for v, x in zip(variables, values, strict=True)
                }
                return cls(variables, distinct, index, len(codes), False)
        index = torch.arange(rows, device=values[0].device).reshape(values[0].shape)
        rowwise = {v.name: x.flatten() for v, x in zip(variables, values, strict=True)}
        return cls(variables, rowwise, index, rows, False)

    @property
    def parents(self) -> dict[str, Tensor]:
        """The configurations, name to values (configurations,)."""
        return _every(self.variables, self.index.device) if self.is_every else self.values


def _axis(variable: Variable) -> tuple[float, float, int]:
    """Returns the lowest value, the step and the number of values of a variable with a grid."""
    if variable.bounds is None or variable.resolution is None:
        return 0.0, 1.0, len(variable.levels)
    return variable.bounds[0], variable.resolution, len(variable.grid or ())


def _joint_code(variables: tuple[Variable, ...], values: tuple[Tensor, ...]) -> Tensor | None:
    """Returns one integer per row, or None where a continuous parent lies off its grid."""
    code = torch.zeros((), dtype=torch.int64, device=values[0].device)
    for variable, value in zip(variables, values, strict=True):
        low, step, count = _axis(variable)
        if variable.is_discrete:
            index = value.to(torch.int64)
        else:
            steps = ((value - low) / step).round()
            if not torch.equal(low + steps * step, value):
                return None
            index = steps.to(torch.int64)
        code = code * count + index
    return code


def _every(variables: tuple[Variable, ...], device: torch.device) -> dict[str, Tensor]:
    """Returns every joint value of gridded variables, in the order of `_joint_code`."""
    axes = [_axis(v) for v in variables]
    rest = torch.arange(math.prod(count for _, _, count in axes), device=device)
    configurations = {}
    for variable, (low, step, count) in zip(reversed(variables), reversed(axes), strict=True):
        configurations[variable.name] = low + (rest % count).to(torch.float64) * step
        rest = rest // count
    return configurations


class _HasConditioner(Protocol):
    """A mechanism whose coefficients come from a conditioner of its parents."""

    @property
    def conditioner(self) -> Callable[[Parents], Tensor]: ...
    def parameters(self) -> Iterator[nn.Parameter]: ...
    def buffers(self) -> Iterator[Tensor]: ...


@final
class TableCache:
    """What a mechanism computed for all configurations of its parents and its weights."""

    def __init__(self) -> None:
        self._state: tuple[tuple[int, int], ...] = ()
        self._tables: dict[str, Tensor] = {}

    def __getstate__(self) -> dict:
        """Copies and pickles start empty."""
        return {"_state": (), "_tables": {}}

    def get(
        self,
        mechanism: _HasConditioner,
        configurations: Configurations,
        name: str,
        function: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Returns `function` of the coefficients of each configuration (configurations, …).

        Arguments:
            mechanism: The mechanism, with its `conditioner`.
            configurations: The configurations; only a list of all of them is remembered, and only
                of weights that are not being trained.
            name: What is computed.
            function: Computes it from coefficients (configurations, outputs).
        """
        tensors = (*mechanism.parameters(), *mechanism.buffers())
        if not configurations.is_every or any(t.requires_grad for t in tensors):
            return function(mechanism.conditioner(configurations.parents))
        state = tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors)
        if state != self._state:
            self._state, self._tables = state, {}
        table = self._tables.get(name)
        if table is None:
            table = function(mechanism.conditioner(configurations.parents))
            if table.numel() <= _MOST_REMEMBERED:
                self._tables[name] = table
        return table
