"""The network of some rows: axes and factors, and the running bits of a definition."""

import numpy as np
import torch
from closed_form import COMPLETE, TableMechanism, binary, clinic

from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm import FlowSCM, LogicMechanism
from cxrcausal.scm.unknown.factor import Rows
from cxrcausal.scm.unknown.network import Network

SCM = clinic()


def test_every_family_with_an_unknown_cell_is_a_factor():
    """The priors of the cells, and the known children that are added."""
    values = {v: torch.tensor([x]).double() for v, x in COMPLETE.items()}
    network = Network(SCM.mechanisms, SCM._fitted.supports, ["sex", "edema"])
    network.add_evidence("severity")
    assert network.axes == {"sex": 2, "edema": 2}
    scopes = {name: grid.axes for name, grid in network.factors.items()}
    both = ("sex", "edema")
    assert scopes == {"sex": ("sex",), "edema": both, "severity": both}
    table = network.factors["severity"].table(Rows(SCM.mechanisms, values))
    expected = SCM.mechanisms["severity"].table.log()[..., int(COMPLETE["severity"])]
    order = [p.name for p in SCM.mechanisms["severity"].parents]
    expected = expected if order == ["sex", "edema"] else expected.T
    torch.testing.assert_close(table, expected[None])


def test_a_network_needs_no_values():
    """Axes and scopes are known before any row is."""
    network = Network(SCM.mechanisms, SCM._fitted.supports, ["age", "edema"])
    network.add_evidence("effusion")
    assert network.axes == {"age": 5, "edema": 2}
    assert network.factors["effusion"].axes == ("edema",)


def test_networks_share_what_they_have_in_common():
    """A table wherever the same parents are unknown; a family's whole one, known or not."""
    shared = {}

    def network(unknown, evidence):
        made = Network(SCM.mechanisms, SCM._fitted.supports, unknown, shared)
        for name in evidence:
            made.add_evidence(name)
        return made.factors

    first, second = network(["sex"], ["edema"]), network(["sex", "severity"], ["edema"])
    assert second["edema"] is first["edema"]
    assert second["sex"] is first["sex"]
    other = network(["sex", "edema"], [])["edema"]
    assert other is not first["edema"]
    assert other.family.key == first["edema"].family.key
    known = network(["edema"], ["severity"])["severity"]
    assert known is not network(["sex", "edema"], ["severity"])["severity"]


def test_a_definition_hands_on_running_bits():
    """Two unknown findings and a known one: two bits, of which the last is read."""
    findings = [binary(name) for name in "abc"]
    nothing = Variable("nothing", "binary", ("negative", "positive"), mechanism="nor")
    graph = CausalGraph([*findings, nothing], [(f.name, "nothing") for f in findings])
    mechanisms = {f.name: TableMechanism(f, (), [0.5, 0.5]) for f in findings}
    definition = LogicMechanism(nothing, tuple(findings))
    scm = FlowSCM.from_mechanisms(graph, {**mechanisms, "nothing": definition})
    one = torch.ones(1, dtype=torch.float64)
    network = Network(scm.mechanisms, scm._fitted.supports, ["a", "b"])
    network.add_evidence("nothing")
    first, last = (axis for axis in network.axes if axis not in "ab")
    assert network.factors[first].axes == ("a", first)
    assert network.factors[last].axes == ("b", first, last)
    assert network.factors["nothing"].axes == (last,)
    for known in (0.0, 1.0):
        values = {"c": known * one, "nothing": 0 * one}
        values |= dict.fromkeys("ab", torch.nan * one)
        rows = Rows(scm.mechanisms, values)
        agrees = network.factors[first].table(rows)[0].isfinite()  # (a, bit)
        expected = [[True, False], [False, True]] if known == 0 else [[False, True]] * 2
        assert np.array_equal(agrees.numpy(), expected)
