"""What a fit leaves behind is checked against the graph, and known by its numbers."""

import copy

import pytest
from closed_form import clinic

from cxrcausal.errors import GraphError
from cxrcausal.scm.fitted import Fitted

SCM = clinic()
MECHANISMS = dict(SCM.mechanisms)


def test_everything_counts_as_observed_unless_said():
    """All levels, and the whole of the bounds; mechanisms come causes before effects."""
    shuffled = dict(reversed(MECHANISMS.items()))
    fitted = Fitted.of(SCM.graph, shuffled, None)
    assert list(fitted.mechanisms) == [v for v in SCM.graph.topological_order if v in MECHANISMS]
    for name, mechanism in MECHANISMS.items():
        variable = mechanism.variable
        assert fitted.observed[name] == (variable.levels or variable.bounds)


def test_a_level_that_was_not_observed_is_no_value():
    """The support keeps those that were, in the order of the levels."""
    observed = {**SCM.observed, "view": ("AP", "PA")}
    fitted = Fitted.of(SCM.graph, MECHANISMS, observed)
    assert fitted.supports["view"].tolist() == [0.0, 1.0]
    assert fitted.supports["sex"].tolist() == [0.0, 1.0]


def test_the_fingerprint_follows_class_parents_and_numbers():
    """A copy has the same; another number, or one mechanism less, has another."""
    one = Fitted.of(SCM.graph, MECHANISMS, None)
    same = Fitted.of(SCM.graph, copy.deepcopy(MECHANISMS), None)
    assert one.fingerprint == same.fingerprint
    same.mechanisms["sex"].table[0] += 1e-12
    assert one.fingerprint != same.fingerprint
    last = list(one.mechanisms)[-1]
    fewer = {name: m for name, m in MECHANISMS.items() if name != last}
    assert one.fingerprint != Fitted.of(SCM.graph, fewer, None).fingerprint


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"observed": {**SCM.observed, "sex": ("Male", "other")}}, "what was observed of 'sex'"),
        ({"observed_by": {"city": {}}}, "what was observed by 'city'"),
        ({"observed_by": {"sex": {"Male": {"mood": ()}}}}, r"'sex' = 'Male' is of .*mood"),
        ({"mechanisms": {"sex": MECHANISMS["edema"]}}, "the mechanism of 'sex' assigns 'edema'"),
    ],
)
def test_what_does_not_fit_the_graph(change, words):
    """The message says what was found and what is allowed."""
    given = {"mechanisms": MECHANISMS, "observed": SCM.observed, **change}
    if "mechanisms" in change:
        given["observed"] = None
    with pytest.raises(GraphError, match=words):
        Fitted.of(SCM.graph, **given)
