"""Nested worlds share what reads the same, and carry values of the cause along their paths."""

import pytest
from closed_form import clinic

from cxrcausal.effect.worlds import Worlds
from cxrcausal.errors import GraphError


@pytest.fixture
def worlds():
    """From sex to effusion: through edema, through severity, and through both."""
    return Worlds(clinic().mechanisms, "sex", "effusion")


def values_read(worlds, outcome):
    """The values of the cause that each variable reads directly, over all of its copies."""
    copies = worlds.needed([outcome])
    found = {name: [copy.value_read("sex") for copy in same] for name, same in copies.items()}
    return {name: values for name, values in found.items() if any(v is not None for v in values)}


def test_mediators_lie_between_cause_and_outcome(worlds):
    assert worlds.mediators == ("edema", "severity")
    assert set(worlds.paths()) == {
        ("sex", "edema", "effusion"),
        ("sex", "severity", "effusion"),
        ("sex", "edema", "severity", "effusion"),
    }
    assert set(worlds.paths(["edema"])) == {p for p in worlds.paths() if "edema" in p}


def test_copies_that_read_the_same_are_one(worlds):
    assert worlds.under(1.0) is worlds.under(1.0)
    assert worlds.under(1.0) is not worlds.under(0.0)
    assert worlds.with_mediators(1.0, 0.0, ()) is worlds.under(1.0)
    assert worlds.along(worlds.paths(), 1.0, 0.0) is worlds.under(1.0)
    assert worlds.along((), 1.0, 0.0) is worlds.under(0.0)


def test_no_arrow_past_the_mediators_leaves_no_direct_effect(worlds):
    """Y_{x, M_x'} is Y_x' where every path passes M."""
    assert worlds.with_mediators(1.0, 0.0, worlds.mediators) is worlds.under(0.0)


def test_each_path_carries_its_own_value(worlds):
    one_path = worlds.along([("sex", "severity", "effusion")], 1.0, 0.0)
    assert values_read(worlds, one_path) == {"edema": [0.0], "severity": [1.0]}


def test_a_recanting_witness_has_two_copies(worlds):
    """Edema carries the change to effusion and not to severity, so it is needed in both worlds."""
    recanting = worlds.along([("sex", "edema", "effusion")], 1.0, 0.0)
    found = values_read(worlds, recanting)
    assert sorted(found["edema"]) == [0.0, 1.0]
    assert found["severity"] == [0.0]


@pytest.mark.parametrize("path", [(), ("sex", "effusion"), ("edema", "effusion"), ("sex", "view")])
def test_what_is_no_causal_path_is_refused(worlds, path):
    with pytest.raises(GraphError, match="is not a causal path from 'sex' to 'effusion'"):
        worlds.check_path(path)
    assert worlds.check_path(["sex", "edema", "effusion"]) == ("sex", "edema", "effusion")
