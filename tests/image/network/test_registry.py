"""A recipe names its network, and a network that is none is named with the nearest."""

import pytest

import cxrcausal as cx
from cxrcausal.errors import RecipeError
from cxrcausal.image import RadiT
from cxrcausal.image.network.registry import build_network, list_networks
from cxrcausal.image.recipe import NetworkRecipe

SMALL = {"size": 16, "patch": 4, "width": 32, "depth": 1, "heads": 2, "hidden": 48, "rank": 4}


def attributes():
    graph = cx.load_graph("cxr19")
    return tuple(graph.variables[name] for name in graph.image_parents)


@pytest.mark.parametrize("kind", list_networks())
def test_every_network_is_built_by_its_name(kind):
    net = build_network(NetworkRecipe(kind=kind, **SMALL), attributes())
    assert isinstance(net, RadiT)


def test_an_unknown_network_is_refused_with_the_nearest():
    with pytest.raises(
        RecipeError, match=r"network kind 'radt' is not known; did you mean 'radit'\?"
    ):
        build_network(NetworkRecipe(kind="radt", **SMALL), attributes())
