r"""Worlds inside each other: what a variable would be, if each path carried its own cause.

A nested counterfactual such as :math:`Y_{x, M_{x'}}` is one variable in which different paths
carry different values of one cause. It is written here as a `Copy` of the variable that says which
copy of each parent it reads; copies that read the same are one and the same. Everything that the
cause does not reach is read as it is.

A question that needs two copies of one variable at once needs to know how these two go together,
which no experiment shows: it rests on the mechanism's coupling (a *recanting witness*).

References:
    | Identifiability of Path-Specific Effects
    | (Avin, Shpitser and Pearl, 2005), https://www.ijcai.org/Proceedings/05/Papers/0886.pdf
    | Counterfactual Graphical Models for Longitudinal Mediation Analysis with Unobserved
    | Confounding (Shpitser, 2013), https://doi.org/10.1111/cogs.12058
"""

import itertools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import final

from cxrcausal.errors import GraphError, OptionError, summarise
from cxrcausal.graph.identification.separation import ancestors_of
from cxrcausal.scm.reach import descendants_of
from cxrcausal.scm.unknown.network import Mechanisms

__all__ = ["Copy", "Path", "Worlds"]

Path = tuple[str, ...]
"""A causal path by its nodes, from the cause to the outcome."""

MOST_PATHS = 20_000
"""The most causal paths that are listed one by one."""


@final
@dataclass(frozen=True, eq=False)
class Copy:
    """A variable in one world.

    Arguments:
        name: The name of the variable.
        reads: The copies of its parents that it reads, of those that the cause reaches.
        value: The value that it is set to, if it is the cause.
    """

    name: str
    reads: Mapping[str, "Copy"] = field(default_factory=dict)
    value: float | None = None

    def value_read(self, cause: str) -> float | None:
        """Returns the value of the cause that it reads directly; None if it does not read it."""
        return self.reads[cause].value if cause in self.reads else None


@final
class Worlds:
    """The copies of what lies between a cause and an outcome.

    Arguments:
        mechanisms: The fitted mechanisms, causes before effects.
        cause: The variable that is set.
        outcome: One of its descendants.
    """

    def __init__(self, mechanisms: Mechanisms, cause: str, outcome: str) -> None:
        self.cause, self.outcome = cause, outcome
        self.parents = {v: tuple(p.name for p in m.parents) for v, m in mechanisms.items()}
        above = ancestors_of(self.parents, [outcome])
        self.moved = tuple(v for v in descendants_of(mechanisms, [cause]) if v in above)
        self._inside = {cause, *self.moved}
        self._copies: dict[tuple[object, ...], Copy] = {}

    @property
    def mediators(self) -> tuple[str, ...]:
        """What lies on a causal path from the cause to the outcome, both left out."""
        return tuple(v for v in self.moved if v != self.outcome)

    def under(self, value: float) -> Copy:
        r"""Returns :math:`Y_x`: the outcome, had the cause been set."""
        return self._at(self.outcome, value)

    def with_mediators(self, value: float, otherwise: float, mediators: Collection[str]) -> Copy:
        r"""Returns :math:`Y_{x, M_{x'}}`: `value` is set, and mediators are as under `otherwise`.

        Raises:
            GraphError: If one of them is not on a causal path from the cause to the outcome.
        """
        for name in mediators:
            if name not in self.mediators:
                raise GraphError(
                    f"{name!r} does not mediate between {self.cause!r} and {self.outcome!r}; "
                    f"on their causal paths lie: {summarise(self.mediators, 20) or 'none'}"
                )
        return self._mixed(self.outcome, value, otherwise, frozenset(mediators))

    def along(self, paths: Iterable[Path], value: float, otherwise: float) -> Copy:
        """Returns the outcome where these paths carry `value` and all others `otherwise`."""
        return self._along(self.outcome, frozenset(paths), value, otherwise)

    def paths(self, through: Collection[str] | None = None) -> tuple[Path, ...]:
        """Returns the causal paths, those that meet one of `through` if given.

        Raises:
            OptionError: If there are more than `MOST_PATHS`.
        """
        found: dict[str, list[Path]] = {self.cause: [(self.cause,)]}
        for name in self.moved:
            found[name] = [
                (*path, name)
                for parent in self.parents[name]
                if parent in self._inside
                for path in found[parent]
            ]
            if len(found[name]) > MOST_PATHS:
                raise OptionError(
                    f"more than {MOST_PATHS:,} causal paths lead from {self.cause!r} to "
                    f"{name!r}; natural_effects(mediators=...) asks the question without a list"
                )
        wanted = None if through is None else set(through)
        return tuple(
            path
            for path in found[self.outcome]
            if wanted is None or not wanted.isdisjoint(path[1:-1])
        )

    def check_path(self, path: Iterable[str]) -> Path:
        """Returns a path as a tuple.

        Raises:
            GraphError: If it is not a causal path from the cause to the outcome.
        """
        path = tuple(path)
        arrows = itertools.pairwise(path)
        if (
            len(path) < len((self.cause, self.outcome))
            or (path[0], path[-1]) != (self.cause, self.outcome)
            or any(a not in self.parents.get(b, ()) for a, b in arrows)
        ):
            raise GraphError(
                f"{' → '.join(path) or 'an empty path'} is not a causal path from {self.cause!r} "
                f"to {self.outcome!r} among the fitted mechanisms"
            )
        return path

    def needed(self, outcomes: Iterable[Copy]) -> dict[str, list[Copy]]:
        """Returns the copies that these outcomes need, theirs included, causes before effects."""
        found: dict[str, list[Copy]] = {v: [] for v in (self.cause, *self.moved)}
        todo = list(dict.fromkeys(outcomes))
        found_before = set(todo)
        for copy in todo:  # grows while it is walked through
            found[copy.name].append(copy)
            new = [c for c in copy.reads.values() if c not in found_before]
            found_before.update(new)
            todo += dict.fromkeys(new)
        return {v: copies for v, copies in found.items() if copies}

    def _at(self, name: str, value: float) -> Copy:
        if name == self.cause:
            return self._copy(name, {}, value)
        inside = [p for p in self.parents[name] if p in self._inside]
        return self._copy(name, {p: self._at_once(p, value) for p in inside})

    def _at_once(self, name: str, value: float) -> Copy:
        key = ("under", name, value)
        if key not in self._copies:
            self._copies[key] = self._at(name, value)
        return self._copies[key]

    def _mixed(self, name: str, value: float, otherwise: float, mediators: frozenset[str]) -> Copy:
        key = ("mixed", name, value, otherwise, mediators)
        if key not in self._copies:
            reads = {}
            for parent in self.parents[name]:
                if parent in mediators:
                    reads[parent] = self._at_once(parent, otherwise)
                elif parent == self.cause:
                    reads[parent] = self._at_once(parent, value)
                elif parent in self._inside:
                    reads[parent] = self._mixed(parent, value, otherwise, mediators)
            self._copies[key] = self._copy(name, reads)
        return self._copies[key]

    def _along(self, name: str, active: frozenset[Path], value: float, otherwise: float) -> Copy:
        if not active:
            return self._at_once(name, otherwise)
        reads = {}
        for parent in self.parents[name]:
            carrying = frozenset(path[:-1] for path in active if path[-2] == parent)
            if parent == self.cause:
                reads[parent] = self._at_once(parent, value if carrying else otherwise)
            elif parent in self._inside:
                reads[parent] = self._along(parent, carrying, value, otherwise)
        return self._copy(name, reads)

    def _copy(self, name: str, reads: dict[str, Copy], value: float | None = None) -> Copy:
        """Returns the copy that reads these: the same object for the same."""
        key = ("copy", name, value, *((p, id(c)) for p, c in reads.items()))
        return self._copies.setdefault(key, Copy(name, reads, value))
