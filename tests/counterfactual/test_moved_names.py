"""Average effects were exported here; their former names lead to the new ones for one version."""

import pytest

import cxrcausal.counterfactual
import cxrcausal.effect


@pytest.mark.parametrize("name", sorted(cxrcausal.counterfactual._MOVED))
def test_a_former_name_is_the_same_thing_and_names_its_successor(name):
    successor = f"cxrcausal.effect.{name}, and only that from version 0.2"
    with pytest.warns(DeprecationWarning, match=successor):
        moved = getattr(cxrcausal.counterfactual, name)
    assert moved is getattr(cxrcausal.effect, name)


def test_other_names_are_not_there():
    with pytest.raises(AttributeError, match="has no attribute 'ade'"):
        cxrcausal.counterfactual.ade  # noqa: B018
