"""What a fit leaves behind: mechanisms, and what was observed of each variable.

A variable that no row recorded has no mechanism, and a level that none had is not to be drawn, set
or taken as evidence; so what was observed is kept with the mechanisms, by context (such as a
source) too.
"""

import abc
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, final

import torch
from torch import Tensor

from cxrcausal.errors import GraphError, NotFittedError, summarise
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.graph.variable import Variable
from cxrcausal.scm.action import Observed
from cxrcausal.scm.mechanism.base import Mechanism
from cxrcausal.scm.replicates import Replicates

__all__ = ["Fitted", "HasFit"]


@final
@dataclass(frozen=True)
class Fitted:
    """What a fit leaves behind.

    Arguments:
        mechanisms: By variable, causes before effects; never observed: not a key.
        observed: The levels (discrete) or the range (continuous) that were observed of each.
        policies: How the table was read, from `table.attrs["cxrcausal"]`.
        data_fingerprint: Of the fitted rows; None if nothing was fitted.
        observed_by: What was observed of each variable under each level of each context (such as a
            source): context to level to variable to levels or range.
        replicates: What the parameters might have been, had other patients come; None if that is
            not known: of given mechanisms, of a fit by EM, of an old checkpoint.
    """

    mechanisms: dict[str, Mechanism]
    observed: dict[str, tuple]
    policies: dict[str, Any] = field(default_factory=dict)
    data_fingerprint: str | None = None
    observed_by: dict[str, dict[str, dict[str, tuple]]] = field(default_factory=dict)
    replicates: Replicates | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        graph: CausalGraph,
        mechanisms: Mapping[str, Mechanism],
        observed: Observed | None,
        policies: Mapping[str, Any] | None = None,
        data_fingerprint: str | None = None,
        observed_by: Mapping[str, dict] | None = None,
    ) -> "Fitted":
        """Returns given mechanisms, checked against the graph.

        Raises:
            GraphError: If a mechanism is of no variable of the graph, or reads what the graph does
                not call its parent; or if `observed` does not say of each mechanism's variable
                which of its levels, or which range, was observed, or `observed_by` says of a
                context what it cannot have.
        """
        for name, mechanism in mechanisms.items():
            allowed = set(graph.parents(name)) & set(mechanisms)
            wrong = [p.name for p in mechanism.parents if p.name not in allowed]
            if wrong or mechanism.variable.name != name:
                raise GraphError(
                    f"the mechanism of {name!r} assigns {mechanism.variable.name!r} and reads "
                    f"{summarise(p.name for p in mechanism.parents)}; in graph {graph.name!r} "
                    f"the parents of {name!r} that have a mechanism are: {summarise(allowed)}"
                )
        ordered = {v: mechanisms[v] for v in graph.topological_order if v in mechanisms}
        if observed is None:
            observed = {name: _everything(m.variable) for name, m in ordered.items()}
        parts = {name: _checked(ordered[name].variable, observed.get(name)) for name in ordered}
        by = {name: _checked_by(graph, name, part) for name, part in (observed_by or {}).items()}
        return cls(ordered, parts, dict(policies or {}), data_fingerprint, by)

    @property
    def fingerprint(self) -> str:
        """16 hex digits of a SHA-256 of what the mechanisms are and of all their numbers.

        Noise means the same world only under the very mechanisms that it was abducted with.
        """
        digest = hashlib.sha256()
        for name, mechanism in sorted(self.mechanisms.items()):
            parents = [p.name for p in mechanism.parents]
            what = (type(mechanism).__name__, parents, mechanism.config())
            digest.update(json.dumps((name, *what), sort_keys=True).encode())
            for key, tensor in sorted(mechanism.state_dict().items()):
                numbers = tensor.detach().cpu().contiguous()
                digest.update(f"{key} {numbers.dtype} {tuple(numbers.shape)}".encode())
                digest.update(numbers.numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def device(self) -> torch.device:
        """Where the mechanisms are."""
        return next(iter(self.mechanisms.values())).device

    @property
    def supports(self) -> dict[str, Tensor | None]:
        """The values (levels,) that each variable may have, those observed; None: a continuum."""
        supports: dict[str, Tensor | None] = {}
        for name, mechanism in self.mechanisms.items():
            support, levels = mechanism.support, mechanism.variable.levels
            if support is not None and levels and len(self.observed[name]) < len(levels):
                codes = sorted(levels.index(level) for level in self.observed[name])
                support = torch.tensor(codes, dtype=support.dtype, device=support.device)
            supports[name] = support
        return supports


class HasFit(abc.ABC):
    """A model with a graph, and a fit once it has one, which it shows read-only."""

    graph: CausalGraph
    _fitted: Fitted | None

    @property
    def is_fitted(self) -> bool:
        """Whether it has mechanisms."""
        return self._fitted is not None

    @property
    def mechanisms(self) -> Mapping[str, Mechanism]:
        """The fitted mechanisms by variable, causes before effects; read-only."""
        return MappingProxyType(self._state.mechanisms)

    @property
    def observed(self) -> Mapping[str, tuple]:
        """Levels (discrete) or range (continuous) that the fit observed, no others."""
        return MappingProxyType(self._state.observed)

    @property
    def policies(self) -> Mapping[str, Any]:
        """How the fitted table was read, from `table.attrs["cxrcausal"]`."""
        return MappingProxyType(self._state.policies)

    @property
    def data_fingerprint(self) -> str | None:
        """16 hex digits of a SHA-256 of the fitted rows, whatever their order."""
        return self._state.data_fingerprint

    @property
    def device(self) -> torch.device:
        """Where the mechanisms are."""
        return self._state.device

    def __repr__(self) -> str:
        if self._fitted is None:
            return f"{type(self).__name__}({self.graph.name!r}, not fitted)"
        absent = [name for name in self.graph.variables if name not in self._fitted.mechanisms]
        return (
            f"{type(self).__name__}({self.graph.name!r}, {len(self._fitted.mechanisms)} mechanisms"
            + (f", never observed: {', '.join(absent)}" if absent else "")
            + ")"
        )

    @property
    def _state(self) -> Fitted:
        if self._fitted is None:
            raise NotFittedError(
                f"this {type(self).__name__} of graph {self.graph.name!r} is not fitted; call "
                f"fit(table), or {type(self).__name__}.load(folder)"
            )
        return self._fitted


def _checked(variable: Variable, part: object) -> tuple:
    """Returns what was observed of a variable, if it is some of its levels, or a range.

    Raises:
        GraphError: If it is neither.
    """
    if isinstance(part, list | tuple) and part and variable.has_part(part):
        return tuple(part)
    raise GraphError(
        f"what was observed of {variable.name!r} is {part!r}; allowed: {variable.describe_part()}"
    )


def _checked_by(graph: CausalGraph, context: str, by_level: object) -> dict[str, dict[str, tuple]]:
    """Returns what was observed of each variable under each level of a context, checked.

    Raises:
        GraphError: If the context or a variable is not in the graph, or has no such levels or
            range.
    """
    levels = graph.variables[context].levels if context in graph.variables else ()
    if not levels or not isinstance(by_level, Mapping) or not set(by_level) <= set(levels):
        raise GraphError(
            f"what was observed by {context!r} is {by_level!r:.60}; allowed: a mapping from its "
            f"levels ({summarise(levels, 10) or 'it has none'}) to what was observed of each "
            f"variable"
        )
    checked = {}
    for level, part in by_level.items():
        strange = (
            [v for v in part if v not in graph.variables] if isinstance(part, Mapping) else part
        )
        if strange or not isinstance(part, Mapping):
            raise GraphError(
                f"what was observed by {context!r} = {level!r} is of {strange!r:.60}, which is no "
                f"variable of graph {graph.name!r}"
            )
        checked[level] = {v: _checked(graph.variables[v], x) for v, x in part.items()}
    return checked


def _everything(variable: Variable) -> tuple:
    """Returns all levels of a variable, or the whole of its range."""
    if variable.is_discrete:
        return variable.levels
    return variable.bounds or (-float("inf"), float("inf"))
