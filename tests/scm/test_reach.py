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


def needed_in(needed, patterns):
    """The cells that rows with these unknown cells need, all rows asked at once."""
    lacks = {v: torch.tensor([v in unknown for unknown in patterns]) for v in MECHANISMS}
    cells = needed(lacks)
    return [{v for v in MECHANISMS if bool(cells[v][row])} for row in range(len(patterns))]


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
    """Those of the mechanism that takes over count too; without a known effect nothing does."""
    affected = affected_by(MECHANISMS, fixed("sex"))
    patterns, expected = [(), tuple(MECHANISMS)], [set(), set()]
    for name in affected:
        for parent in (p.name for p in MECHANISMS[name].parents):
            patterns.append((parent,))
            expected.append({parent})
    assert needed_in(needed_for(MECHANISMS, fixed("sex")), patterns) == expected
    view = MECHANISMS["view"].variable
    own = MECHANISMS["edema"].variable
    other = TableMechanism(own, (view,), np.full((2, len(view.levels)), 0.5))
    needed = needed_for(MECHANISMS, {"edema": Replaced(own, other)})
    assert needed_in(needed, [("view",)]) == [{"view"}]


def test_needed_through_unknown_effects():
    """What lies between the intervention and a known effect needs its own unknown causes."""
    needed = needed_for(MECHANISMS, fixed("sex"))
    found = needed_in(needed, [("edema", "age"), ("edema", "age", "severity", "effusion")])
    assert found == [{"edema", "age"}, set()]
