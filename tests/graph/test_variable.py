"""A variable says what it measures, and refuses what it cannot mean."""

import dataclasses

import pytest

from cxrcausal.errors import GraphError
from cxrcausal.graph import Variable


def test_kinds():
    age = Variable("age", "continuous", unit="years", bounds=(0, 2), resolution=0.5)
    assert age.grid == (0, 0.5, 1, 1.5, 2)
    assert not age.is_discrete
    assert age.is_ordered
    assert Variable("weight", "continuous").grid is None
    race = Variable("race", "nominal", ("White", "Black", "Asian"))
    assert race.is_discrete
    assert not race.is_ordered
    assert race.grid is None
    assert not race.is_definition
    assert race.to_dict() == {"kind": "nominal", "levels": ["White", "Black", "Asian"]}
    with pytest.raises(dataclasses.FrozenInstanceError):
        race.kind = "binary"


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (
            {"kind": "binery"},
            "'x' has kind 'binery'; did you mean 'binary'? Allowed: continuous, ord",
        ),
        ({"kind": "zzz"}, "'x' has kind 'zzz'. Allowed: continuous, ordinal, binary, nominal."),
        ({"kind": "continuous", "levels": ("a", "b")}, "continuous variable 'x' has no levels"),
        (
            {"kind": "continuous", "bounds": (1.0, 1.0)},
            "bounds [1.0, 1.0]; they must be finite and",
        ),
        ({"kind": "continuous", "bounds": (0.0, float("inf"))}, "they must be finite and ascend"),
        (
            {"kind": "continuous", "bounds": (0.0, 1.0), "resolution": 0.0},
            "resolution 0.0; it must",
        ),
        ({"kind": "continuous", "resolution": 1.0}, "a resolution but no bounds"),
        (
            {"kind": "binary", "levels": ("a", "b"), "unit": "mm"},
            "binary variable 'x' has no unit",
        ),
        (
            {"kind": "binary", "levels": ("a", "b", "c")},
            "exactly 2 levels; found 3: 'a', 'b', 'c'",
        ),
        (
            {"kind": "binary", "levels": ["n", "p"]},
            "binary variable 'x' has levels ['n', 'p']; levels are a tuple of words",
        ),
        ({"kind": "binary", "levels": "np"}, "has levels 'np'; levels are a tuple of words"),
        ({"kind": "binary", "levels": (0, 1)}, "has levels (0, 1); levels are a tuple of words"),
        ({"kind": "continuous", "levels": []}, "has levels []; levels are a tuple of words"),
        ({"kind": "nominal", "levels": None}, "has levels None; levels are a tuple of words"),
        ({"kind": "nominal"}, "nominal variable 'x' needs at least 2 levels; found 0"),
        ({"kind": "ordinal", "levels": ("a", "a")}, "variable 'x' repeats a level: 'a', 'a'"),
        (
            {"kind": "nominal", "levels": ("a", "b"), "mechanism": "nor"},
            "nominal variable 'x' has mechanism 'nor'; allowed: 'nor', on a binary variable",
        ),
        (
            {"kind": "binary", "levels": ("a", "b"), "mechanism": "or"},
            "has mechanism 'or'; allowed: 'nor'",
        ),
    ],
)
def test_refuses(parts, words):
    with pytest.raises(GraphError) as caught:
        Variable("x", **parts)
    assert words in str(caught.value)
