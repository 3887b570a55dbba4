"""Whose body it is: individual traits, and the patient's parents, as the projection reads them.

A trait is standard normal and exogenous: it is the same in every world. A parent of the image is
set by the metadata. What either does to the anatomy stands in the modules that draw it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from torch import Tensor

from cxrcausal.graph import Variable

__all__ = ["TRAITS", "Body"]

TRAITS = (
    "width", "height", "fat", "lung_width", "inspiration", "heart_width", "heart_height",
    "heart_place", "aorta", "ribs", "slope", "bone", "spine", "clavicle", "breast", "vessels",
    "hilum", "rotation", "severity", "extent", "side", "level", "place", "device",
)  # fmt: skip
"""Individual traits, in the order in which the noise of the film's edge holds them."""


@final
@dataclass(frozen=True)
class Body:
    """Some patients' bodies: what is individual, and what their parents make of them.

    Arguments:
        traits: By name, standard normal (batch, 1, 1).
        parents: By name (batch, 1, 1): the index of a level, or the age in years.
        attributes: The image's parents.
    """

    traits: Mapping[str, Tensor]
    parents: Mapping[str, Tensor]
    attributes: Mapping[str, Variable]

    @classmethod
    def of(cls, traits: Tensor, parents: Tensor, attributes: tuple[Variable, ...]) -> "Body":
        """Returns the bodies of traits (batch, traits) and parents (batch, attributes)."""
        columns = parents.to(traits.dtype).T[:, :, None, None]
        return cls(
            dict(zip(TRAITS, traits.T[:, :, None, None], strict=True)),
            {v.name: column for v, column in zip(attributes, columns, strict=True)},
            {v.name: v for v in attributes},
        )

    def rows(self, some: Tensor) -> "Body":
        """Returns some of the patients."""
        return Body(
            {k: v[some] for k, v in self.traits.items()},
            {k: v[some] for k, v in self.parents.items()},
            self.attributes,
        )

    def __getitem__(self, trait: str) -> Tensor:
        """Returns a trait, held within two and a half standard deviations."""
        return self.traits[trait].clamp(-2.5, 2.5)

    def has(self, finding: str) -> Tensor:
        """Returns 1 where a finding is positive, 0 where it is negative."""
        return self.parents[finding]

    def is_level(self, variable: str, level: str) -> Tensor:
        """Returns 1 where a variable has that level."""
        index = self.attributes[variable].levels.index(level)
        return (self.parents[variable] == index).to(self.parents[variable].dtype)

    @property
    def decades(self) -> Tensor:
        """Decades above fifty years."""
        return (self.parents["age"] - 50) / 10

    @property
    def male(self) -> Tensor:
        """1 for men, 0 for women."""
        return self.is_level("sex", "Male")

    @property
    def right_sided(self) -> Tensor:
        """1 where a one-sided finding is on the patient's right (the image's left), else 0."""
        return (self.traits["side"] > 0).to(self.traits["side"].dtype)

    @property
    def severity(self) -> Tensor:
        """How marked a finding is, .75 to 1.25."""
        return 1 + 0.1 * self["severity"]
