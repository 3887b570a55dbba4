"""Networks by the name that a recipe gives them."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import nn

from cxrcausal.errors import RecipeError, nearest, summarise
from cxrcausal.graph import Variable
from cxrcausal.image.network.radit import RadiT

if TYPE_CHECKING:
    from cxrcausal.image.recipe import NetworkRecipe

__all__ = ["build_network", "list_networks"]

NETWORKS: dict[str, Callable[..., nn.Module]] = {"radit": RadiT}
"""By name; each takes the image's parents and the numbers of a recipe."""


def list_networks() -> tuple[str, ...]:
    """Returns the names that a recipe may give."""
    return tuple(NETWORKS)


def build_network(recipe: "NetworkRecipe", attributes: tuple[Variable, ...]) -> nn.Module:
    """Returns the network of a recipe for the given parents of the image.

    Arguments:
        recipe: Its name and its numbers.
        attributes: The image's parents, in the graph's order.

    Raises:
        RecipeError: If there is no network of that name.
    """
    numbers = dataclasses.asdict(recipe)
    kind = numbers.pop("kind")
    if kind not in NETWORKS:
        raise RecipeError(
            f"network kind {kind!r} is not known{nearest(kind, NETWORKS) or '.'} "
            f"Allowed: {summarise(NETWORKS)}"
        )
    return NETWORKS[kind](attributes, **numbers)
