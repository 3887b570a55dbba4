"""The tables of log-probabilities of families with unknown cells, in the networks of their rows.

The family of a variable, itself and its parents, has few joint values, mostly: its whole table is
made once, and each row's part of it gathered. Other families, and those with an unknown continuum,
ask their mechanism about the rows.
"""

import math
from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor

from cxrcausal.scm.evidence import Evidence
from cxrcausal.scm.mechanism.definition import LogicMechanism
from cxrcausal.scm.unknown.network import Network

__all__ = ["Factor", "FamilyTables"]

MOST_TABULATED = 2**16
"""The most joint values of a family whose whole table is made."""

Factor = tuple[str, tuple[str, ...]]
"""What makes tables alike: the variable of the family, or ``either`` and a definition's name; and
the axes in order, where a running bit is called `BIT` and the one before it `BEFORE`."""

BIT, BEFORE, EITHER = "any so far", "any before", "either"


@final
class FamilyTables:
    """Log-probabilities of families in rows, over the values that unknown cells may have.

    Arguments:
        evidence: What is known of the rows.
    """

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.mechanisms = evidence.mechanisms
        self._codes: dict[str, np.ndarray | None] = {}
        self._whole: dict[tuple[str, bool], tuple[np.ndarray, dict[str, int]] | None] = {}
        self._positive: dict[str, np.ndarray] = {}

    @staticmethod
    def factors(network: Network) -> list[Factor]:
        """Returns what each factor of a network's skeleton is."""
        bits = network.bits
        found: list[Factor] = []
        for name, grid in network.factors.items():
            scope = grid.axes
            if name in bits:
                called = {name: BIT, bits[name].before: BEFORE}
                name = f"{EITHER} {bits[name].definition}"
                scope = tuple([called.get(axis, axis) for axis in scope])
            elif not bits.keys().isdisjoint(scope):
                scope = tuple([BIT if axis in bits else axis for axis in scope])
            found.append((name, scope))
        return found

    def of(self, factor: Factor, rows: np.ndarray) -> np.ndarray:
        """Returns the table (rows or 1, *sizes) of a factor in some rows.

        Arguments:
            factor: What it is.
            rows: The positions of the rows (rows,).
        """
        name, scope = factor
        if name.startswith(EITHER) and name not in self.mechanisms:
            return self._either(name.removeprefix(f"{EITHER} "), scope, rows)
        whole = self._family(name, running=BIT in scope)
        if whole is None or any(self.evidence.supports.get(v, 0) is None for v in scope):
            return self._asked(name, scope, rows)
        table, strides = whole
        at = np.zeros(len(rows), np.int64)
        for member, stride in strides.items():
            if member not in scope:
                codes = self._code(member)
                assert codes is not None
                at += codes[rows] * stride
        along = np.zeros((), np.int64)
        for axis in scope:
            along = along[..., None] + np.arange(self._size(name, axis)) * strides[axis]
        return table[at.reshape(-1, *[1] * along.ndim) + along]

    def _size(self, name: str, member: str) -> int:
        return len(self._values(name, member))

    def _values(self, name: str, member: str) -> Tensor:
        """Returns the values that a member of a family may have."""
        if member in (BIT, BEFORE):
            definition = self.mechanisms[name]
            assert isinstance(definition, LogicMechanism)
            return definition.levels
        values = self.evidence.supports[member]
        assert values is not None
        return values

    def _family(self, name: str, *, running: bool) -> tuple[np.ndarray, dict[str, int]] | None:
        """Returns the whole table of a family, flat, and the stride of each member; or None."""
        key = name, running
        if key not in self._whole:
            self._whole[key] = self._tabulate(name, running=running)
        return self._whole[key]

    def _tabulate(self, name: str, *, running: bool) -> tuple[np.ndarray, dict[str, int]] | None:
        mechanism = self.mechanisms[name]
        members = [p.name for p in mechanism.parents]
        counted: Sequence[str] = ()
        if running:
            assert isinstance(mechanism, LogicMechanism)
            counted = [p.name for p in mechanism.counted]
            members = [BIT, *(p.name for p in mechanism.context)]
        supports = self.evidence.supports
        if any(v != BIT and supports[v] is None for v in (*members, name)):
            return None
        if any(v != BIT and self._code(v) is None for v in (*members, name)):
            return None
        sizes = [self._size(name, v) for v in (*members, name)]
        if math.prod(sizes) > MOST_TABULATED:
            return None
        pa: dict[str, Tensor] = {}
        for i, member in enumerate(members):
            values = self._values(name, member)
            pa[member] = values.reshape(-1, *[1] * (len(members) - i - 1))
        if running:
            assert isinstance(mechanism, LogicMechanism)
            bit = pa.pop(BIT)
            pa |= dict.fromkeys(counted, torch.zeros_like(bit)) | {counted[0]: bit}
        own, support = supports[name], mechanism.support
        assert own is not None
        assert support is not None
        table = mechanism.log_probs(pa)[..., torch.searchsorted(support, own)]
        ends = np.cumprod([1, *reversed(sizes)])[:-1]
        strides = dict(zip(reversed((*members, name)), ends.tolist(), strict=True))
        return np.broadcast_to(table.cpu().numpy(), sizes).ravel(), strides

    def _code(self, name: str) -> np.ndarray | None:
        """Returns the positions of known values (rows,) in the support; None if one has none."""
        if name not in self._codes:
            support, values = self.evidence.supports[name], self.evidence.values[name]
            assert support is not None
            code = torch.searchsorted(support, values.nan_to_num(0.0)).clamp(max=len(support) - 1)
            fits = values.isnan() | (support[code] == values)
            self._codes[name] = code.cpu().numpy() if bool(fits.all()) else None
        return self._codes[name]

    def _either(self, name: str, scope: tuple[str, ...], rows: np.ndarray) -> np.ndarray:
        """Returns 0 where a bit is what the bit before it and a finding make of it, else -inf."""
        shapes = [[-1 if i == j else 1 for j in range(len(scope))] for i in range(len(scope))]
        along = {
            axis: self._values(name, axis).cpu().numpy().reshape(shape)
            for axis, shape in zip(scope, shapes, strict=True)
        }
        before = along.pop(BEFORE, None)
        bit = along.pop(BIT)
        (finding,) = along.values()
        if before is None:
            before = self._any_positive(name)[rows].reshape(-1, *[1] * len(scope))
        agrees = np.maximum(finding, before) == bit
        table = np.where(agrees, 0.0, -np.inf)
        return table if table.ndim > len(scope) else table[None]

    def _any_positive(self, name: str) -> np.ndarray:
        """Returns whether any finding under a definition is known positive (rows,), 1 or 0."""
        if name not in self._positive:
            mechanism = self.mechanisms[name]
            assert isinstance(mechanism, LogicMechanism)
            known = [self.evidence.values[p.name].nan_to_num(0.0) for p in mechanism.counted]
            self._positive[name] = torch.stack(known).amax(0).cpu().numpy()
        return self._positive[name]

    def _asked(self, name: str, scope: tuple[str, ...], rows: np.ndarray) -> np.ndarray:
        """Returns what the mechanism says of the rows themselves."""
        here, supports = self.evidence.values_at(rows), dict(self.evidence.supports)
        mechanism = self.mechanisms[name]
        if BIT in scope:  # one finding stands for all of them
            assert isinstance(mechanism, LogicMechanism)
            counted = [p.name for p in mechanism.counted]
            here |= {v: torch.zeros_like(here[v]) for v in counted}
            supports[counted[0]] = mechanism.levels
            scope = tuple(counted[0] if axis == BIT else axis for axis in scope)
        network = Network(self.mechanisms, supports, here, scope)
        if name not in scope:
            network.add_evidence(name)
        grid = network.factors[name]
        return grid.table.permute(0, *(1 + grid.axes.index(v) for v in scope)).cpu().numpy()
