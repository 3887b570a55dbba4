"""Bucket elimination against one sum over everything, of random networks taken together."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrcausal.scm.unknown.buckets import Buckets, Structure
from cxrcausal.scm.unknown.factor import cheapest


@st.composite
def structures(draw):
    """The axes of a network with their sizes, and the scopes of its tables, every axis in one."""
    axes = {f"a{i}": draw(st.integers(1, 3)) for i in range(draw(st.integers(1, 4)))}
    names = st.lists(st.sampled_from(list(axes)), min_size=1, unique=True)
    scopes = [*draw(st.lists(names, max_size=4)), *([name] for name in axes)]
    return axes, [tuple(a for a in axes if a in scope) for scope in scopes]


def filled(networks, counts, seed):
    """Buckets with random tables, a few entries impossible; and each network's joint weights."""
    draw = np.random.default_rng(seed)
    made = []
    for axes, scopes in networks:
        order, _ = cheapest(scopes, axes, axes)
        made.append(Structure.of(axes, scopes, order))
    buckets = Buckets(made, np.array(counts))
    joints = []
    for number, (axes, scopes) in enumerate(networks):
        joint = np.zeros((counts[number], *axes.values()))
        for slot, scope in enumerate(scopes):
            table = np.log(draw.random((counts[number], *(axes[a] for a in scope))))
            table[draw.random(table.shape) < 0.05] = -np.inf
            buckets.put(np.array([number]), np.array([slot]), table)
            shape = [axes[a] if a in scope else 1 for a in axes]
            joint = joint + table.reshape(-1, *shape)
        joints.append(np.exp(joint).reshape(counts[number], -1))
    return buckets, joints


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(structures(), st.integers(1, 3)), min_size=1, max_size=4), st.integers(0)
)
def test_totals_and_draws(kinds, seed):
    """Totals are sums over all entries; stratified uniforms draw each in its share."""
    networks, counts = [k for k, _ in kinds], [n for _, n in kinds]
    buckets, joints = filled(networks, counts, seed % 2**32)
    total = buckets.eliminate()
    exact = np.concatenate([joint.sum(1) for joint in joints])
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(total, np.log(exact), rtol=0, atol=1e-12)
    if not exact.all():
        return  # an impossible network has nothing to draw
    n = 2000
    width = max(len(axes) for axes, _ in networks)
    uniform = np.random.default_rng(0).random((len(total), n, width))
    drawn = buckets.draw(uniform)
    row = 0
    for (axes, _), joint in zip(networks, joints, strict=True):
        for weight in joint:
            flat = np.ravel_multi_index(drawn[row, :, : len(axes)].T, tuple(axes.values()))
            share = np.bincount(flat, minlength=len(weight)) / n
            expected = weight / weight.sum()
            error = np.sqrt(expected * (1 - expected) / n)
            assert (share[weight == 0] == 0).all()
            assert (np.abs(share - expected) <= 6 * error + 6 / n).all()
            row += 1


def test_company_changes_no_draw():
    """A network answers alike alone and among others of its own and of other structures."""
    first = {"a": 2, "b": 3}, [("a",), ("a", "b")]
    other = {"a": 3}, [("a",)]
    alone, _ = filled([first], [1], 5)
    both, _ = filled([first, other], [1, 2], 5)
    uniform = np.random.default_rng(1).random((3, 50, 2))
    assert both.eliminate()[0] == alone.eliminate()[0]
    assert np.array_equal(both.draw(uniform)[0], alone.draw(uniform[:1])[0])
