"""What follows an intervention, and what has to be known for it."""

import numpy as np
import torch
from closed_form import TableMechanism, clinic

from cxrcausal.scm.reach import affected_by, descendants_of, needed_for
from cxrcausal.scm.setting import Fixed, Replaced

SCM = clinic()
MECHANISMS = SCM.mechanisms


def fixed(*names):
    zero = torch.zeros(1, dtype=torch.float64)
    return {name: Fixed(MECHANISMS[name].variable, zero) for name in names}


def test_descendants_are_those_of_the_graph():
    """For every variable, causes before effects, itself left out."""
    for name in MECHANISMS:
        found = descendants_of(MECHANISMS, [name])
        assert set(found) == set(SCM.graph.descendants(name))
        assert list(found) == [v for v in MECHANISMS if v in found]


def test_what_is_set_is_not_predicted_and_what_is_replaced_is():
    """A variable that is set cuts the way; a replaced mechanism answers anew."""
    everything = fixed(*MECHANISMS)
    assert affected_by(MECHANISMS, everything) == ()
    assert affected_by(MECHANISMS, {}) == ()
    own = MECHANISMS["edema"]
    replaced = {"edema": Replaced(own.variable, own)}
    assert affected_by(MECHANISMS, replaced) == ("edema", *descendants_of(MECHANISMS, ["edema"]))


def test_needed_are_the_unknown_parents_of_known_effects():
    """Those of the mechanism that takes over count too; nothing needs a cell without known effect."""
    needed = needed_for(MECHANISMS, fixed("sex"))
    affected = affected_by(MECHANISMS, fixed("sex"))
    assert needed(()) == set()
    assert needed(tuple(MECHANISMS)) == set()
    for name in affected:
        for parent in (p.name for p in MECHANISMS[name].parents):
            assert needed((parent,)) == {parent}
    view = MECHANISMS["view"].variable
    own = MECHANISMS["edema"].variable
    other = TableMechanism(own, (view,), np.full((2, len(view.levels)), 0.5))
    assert "view" in needed_for(MECHANISMS, {"edema": Replaced(own, other)})(("view",))
