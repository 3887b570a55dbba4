"""Which parents training conditions on, so that the network knows every subset guidance asks for.

With 18 attributes dropped independently at 10 %, a branch conditioned on three of them alone has
probability 7e-16: guidance would ask a network about inputs it never met. So the subsets are drawn
from the graph.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Generator, Tensor

from cxrcausal.errors import RecipeError
from cxrcausal.graph import CausalGraph
from cxrcausal.shapes import Attributes, Keep

__all__ = ["SubsetMixture", "descent"]


def descent(graph: CausalGraph) -> Tensor:
    """Returns which image parents descend from which, (attributes, attributes), row to column."""
    names = graph.image_parents
    return torch.tensor([[b in graph.descendants(a) for b in names] for a in names])


@final
@dataclass(frozen=True)
class SubsetMixture:
    """Which parents training conditions on, so that the network has seen what guidance asks for.

    Four kinds of image, by probability; what remains is `groups`: a random intervention is drawn
    from the graph, and its three groups (intervened, changed descendants, invariant) are each kept
    or not.

    Arguments:
        null: No parent is given.
        complete: All parents are given, as in abduction and unguided prediction.
        rate: Each attribute is withheld with one probability, itself uniform on (0, 1).
        unknown: The probability that an image is treated as sparsely recorded; each of its
            attributes then becomes *unknown* with probability one half, before the above.
    """

    null: float = 0.1
    complete: float = 0.3
    rate: float = 0.3
    unknown: float = 0.15

    def __post_init__(self) -> None:
        if min(self.null, self.complete, self.rate, self.unknown) < 0 or self.unknown > 1:
            raise RecipeError(f"probabilities of {self} must lie in [0, 1]")
        if self.null + self.complete + self.rate > 1 + 1e-9:
            raise RecipeError(
                f"null {self.null} + complete {self.complete} + rate {self.rate} exceed 1"
            )

    def draw(
        self,
        parents: Attributes,
        descends: Tensor,
        settable: Tensor,
        generator: Generator,
    ) -> tuple[Attributes, Keep]:
        """Returns the parents as the network is to read them, and which of them are given.

        Arguments:
            parents: The patients' parents; NaN is unknown.
            descends: From `descent`.
            settable: Which attributes an intervention may name, (attributes,): those that vary.
            generator: Where the draws come from.
        """
        batch, attributes = parents.shape

        def rand(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator)

        sparse = (rand(batch, 1) < self.unknown) & (rand(batch, attributes) < 0.5)
        parents = torch.where(sparse, torch.nan, parents)
        at_rate = rand(batch, attributes) >= rand(batch, 1)
        kind = rand(batch, 1)
        keep = torch.where(
            kind < self.null + self.complete + self.rate,
            at_rate,
            self._groups(batch, descends, settable, generator),
        )
        keep = keep | ((kind >= self.null) & (kind < self.null + self.complete))
        return parents, keep & (kind >= self.null)

    @staticmethod
    def _groups(batch: int, descends: Tensor, settable: Tensor, generator: Generator) -> Keep:
        """Returns a random union of the groups of a random intervention on one attribute."""
        target = torch.multinomial(settable.float(), batch, replacement=True, generator=generator)
        intervened = torch.nn.functional.one_hot(target, len(settable)).bool()
        # A descendant belongs to its group only if it changed: which ones did is random here.
        rate = torch.rand((batch, 1), generator=generator)
        changed = torch.rand(intervened.shape, generator=generator) < rate
        descendants = descends[target] & changed
        kept = torch.rand((batch, 3), generator=generator) < 0.5
        invariant = ~intervened & ~descendants
        return (
            (intervened & kept[:, :1]) | (descendants & kept[:, 1:2]) | (invariant & kept[:, 2:])
        )
