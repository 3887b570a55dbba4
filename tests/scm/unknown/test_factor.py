"""Sums over tables with named axes, and the order in which they are cheapest."""

import itertools

import torch

from cxrcausal.scm.unknown.factor import Grid, cheapest, eliminate, joint_axes

AXES = {"big": 5, "x": 2, "y": 2, "z": 3}
SCOPES = [("big", "x"), ("x", "y"), ("y", "z")]


def grids(rows=3):
    """One random table for each scope."""
    draw = torch.Generator().manual_seed(0)
    return [
        Grid.of(s, torch.randn(rows, *(AXES[a] for a in s), generator=draw).double())
        for s in SCOPES
    ]


def test_any_order_gives_the_same_sum():
    """Of all axes, or of all but one."""
    made = grids()
    joint = sum(grid.along(tuple(AXES)) for grid in made)
    for order in itertools.permutations(AXES):
        (left,) = eliminate(made, AXES, order)
        torch.testing.assert_close(left.table, joint.logsumexp((1, 2, 3, 4)))
    for kept, name in enumerate(AXES, 1):
        order, _ = cheapest(SCOPES, AXES, [a for a in AXES if a != name])
        left = sum(grid.along((name,)) for grid in eliminate(made, AXES, order))
        others = [d for d in (1, 2, 3, 4) if d != kept]
        torch.testing.assert_close(left, joint.logsumexp(others))


def test_cheapest_is_greedy():
    """The axis with the smallest table goes first; the largest on the way is known."""
    order, largest = cheapest(SCOPES, AXES, AXES)
    assert order[0] == "z"
    assert largest == 10
    assert cheapest([*SCOPES, ("big", "z")], AXES, ["x", "y"])[1] == 30


def test_a_grid_is_made_when_it_is_looked_at():
    """Once, and lies along axes that it does not vary on with size one."""
    made = []

    def make():
        made.append(1)
        return torch.zeros(1, 2)

    grid = Grid(("x",), make)
    assert not made
    assert grid.along(("big", "x")).shape == (1, 1, 2)
    assert grid.table.shape == (1, 2)
    assert made == [1]
    assert joint_axes([grid, Grid.of(("big",), torch.zeros(1, 5))], AXES) == ("big", "x")
