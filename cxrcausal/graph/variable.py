"""A variable of the causal graph: what it measures, in which unit, which values it may take."""

import math
from dataclasses import dataclass
from typing import Any, Literal, final, get_args

from cxrcausal.errors import GraphError, nearest, summarise

__all__ = ["Kind", "Variable"]

Kind = Literal["continuous", "ordinal", "binary", "nominal"]


@final
@dataclass(frozen=True)
class Variable:
    """One metadata variable, immutable.

    Arguments:
        name: The name, also the table's column.
        kind: `continuous`, `ordinal` (ordered levels), `binary` (two ordered levels, the second is
            the positive one) or `nominal` (levels without an order).
        levels: The levels of a discrete variable; of an ordinal one from low to high.
        unit: The unit of a continuous variable.
        bounds: The lowest and highest allowed value of a continuous variable.
        resolution: The grain at which a continuous variable is recorded (age: 1 year), or None if
            recorded exactly. A recorded value stands for the interval of half a grain on each
            side; the lowest and highest recordable values are open intervals.
        role: A word for grouping and colour: `context`, `demographic`, `acquisition`, `finding`,
            `device`, `summary`.
        mechanism: `nor` where the variable is a definition (its parents decide it), else None.
    """

    name: str
    kind: Kind
    levels: tuple[str, ...] = ()
    unit: str | None = None
    bounds: tuple[float, float] | None = None
    resolution: float | None = None
    role: str | None = None
    mechanism: Literal["nor"] | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise GraphError(
                f"variable {self.name!r} has kind {self.kind!r}"
                f"{nearest(self.kind, get_args(Kind)) or '.'} "
                f"Allowed: {', '.join(get_args(Kind))}."
            )
        # A graph file knows words alone, and a graph is compared by what its levels are.
        if not isinstance(self.levels, tuple) or not all(isinstance(w, str) for w in self.levels):
            raise GraphError(
                f"{self.kind} variable {self.name!r} has levels {self.levels!r}; levels are a "
                "tuple of words, as in ('negative', 'positive')"
            )
        if self.kind == "continuous":
            self._check_continuous()
            # Whole numbers too are held as floats: 1 and 1.0 must not give two fingerprints.
            if self.bounds is not None:
                low, high = self.bounds
                object.__setattr__(self, "bounds", (float(low), float(high)))
            if self.resolution is not None:
                object.__setattr__(self, "resolution", float(self.resolution))
        else:
            self._check_discrete()

    def _check_continuous(self) -> None:
        if self.levels or self.mechanism is not None:
            raise GraphError(
                f"continuous variable {self.name!r} has no levels and no mechanism; give unit, "
                f"bounds, resolution"
            )
        if self.bounds is not None:
            low, high = self.bounds
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise GraphError(
                    f"variable {self.name!r} has bounds [{low}, {high}]; they must be finite and "
                    f"ascend"
                )
        if self.resolution is not None:
            if not (math.isfinite(self.resolution) and self.resolution > 0):
                raise GraphError(
                    f"variable {self.name!r} has resolution {self.resolution}; it must be above 0"
                )
            if self.bounds is None:
                raise GraphError(
                    f"variable {self.name!r} has a resolution but no bounds: its grid has no ends"
                )

    def _check_discrete(self) -> None:
        if self.unit is not None or self.bounds is not None or self.resolution is not None:
            raise GraphError(
                f"{self.kind} variable {self.name!r} has no unit, bounds or resolution; give "
                f"levels"
            )
        fewest = 2
        if len(self.levels) < fewest or (self.kind == "binary" and len(self.levels) != fewest):
            needed = "exactly 2" if self.kind == "binary" else "at least 2"
            raise GraphError(
                f"{self.kind} variable {self.name!r} needs {needed} levels; found "
                f"{len(self.levels)}{f': {summarise(self.levels)}' if self.levels else ''}"
            )
        if len(set(self.levels)) != len(self.levels):
            raise GraphError(f"variable {self.name!r} repeats a level: {summarise(self.levels)}")
        if self.mechanism is not None and (self.mechanism != "nor" or self.kind != "binary"):
            raise GraphError(
                f"{self.kind} variable {self.name!r} has mechanism {self.mechanism!r}; allowed: "
                f"'nor', on a binary variable"
            )

    @property
    def is_discrete(self) -> bool:
        """Whether the variable has levels."""
        return self.kind != "continuous"

    @property
    def is_ordered(self) -> bool:
        """Whether its values have an order (all kinds but nominal)."""
        return self.kind != "nominal"

    @property
    def is_definition(self) -> bool:
        """Whether its parents decide it, so that setting it would mean setting them."""
        return self.mechanism is not None

    @property
    def grid(self) -> tuple[float, ...] | None:
        """The recordable values of a continuous variable with a resolution, ascending, or None."""
        if self.resolution is None or self.bounds is None:
            return None
        low, high = self.bounds
        steps = math.floor((high - low) / self.resolution + 1e-9)
        return tuple(low + i * self.resolution for i in range(steps + 1))

    def has_part(self, part: object) -> bool:
        """Whether it can have been observed: levels, none twice, or (lowest, highest)."""
        if not isinstance(part, list | tuple):
            return False
        if self.is_discrete:
            return len(part) == sum(level in part for level in self.levels)
        numbers = [isinstance(x, int | float) and not isinstance(x, bool) for x in part]
        return len(part) == 2 and all(numbers) and part[0] <= part[1]

    def describe_part(self) -> str:
        """Returns in words what `has_part` allows."""
        return f"some of {summarise(self.levels, 10)}" if self.is_discrete else "(lowest, highest)"

    def to_dict(self) -> dict[str, Any]:
        """Returns what the YAML file declares, without the name."""
        fields = {
            "kind": self.kind,
            "role": self.role,
            "levels": list(self.levels) or None,
            "unit": self.unit,
            "bounds": list(self.bounds) if self.bounds else None,
            "resolution": self.resolution,
            "mechanism": self.mechanism,
        }
        return {key: value for key, value in fields.items() if value is not None}
