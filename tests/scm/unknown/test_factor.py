"""Grids as functions of rows, and the order in which their axes are cheapest to sum out."""

import torch
from closed_form import clinic

from cxrcausal.scm.unknown.factor import Family, Grid, Rows, cheapest, joint_axes

AXES = {"big": 5, "x": 2, "y": 2, "z": 3}
SCOPES = [("big", "x"), ("x", "y"), ("y", "z")]


def test_cheapest_is_greedy():
    """The axis with the smallest table goes first; the largest on the way is known."""
    order, largest = cheapest(SCOPES, AXES, AXES)
    assert order[0] == "z"
    assert largest == 10
    assert cheapest([*SCOPES, ("big", "z")], AXES, ["x", "y"])[1] == 30


def test_a_grid_is_made_when_it_is_looked_at():
    """Once for the same rows, and lies along axes that it does not vary on with size one."""
    made = []

    def make(rows):
        made.append(rows)
        return torch.zeros(1, 2)

    grid, rows = Grid(("x",), make), Rows({}, {})
    assert not made
    assert grid.along(("big", "x"), rows).shape == (1, 1, 2)
    assert grid.table(rows).shape == (1, 2)
    assert made == [rows]
    grid.table(Rows({}, {}))
    assert len(made) == 2
    assert joint_axes([grid, Grid.of(("big",), torch.zeros(1, 5))], AXES) == ("big", "x")


def test_a_family_is_one_function_whatever_is_known():
    """Its key is the same whether a cell is read or an axis, and another for other cells."""
    mechanisms = clinic().mechanisms
    levels = torch.arange(2.0, dtype=torch.float64)

    def grid(of):
        def sums(_, values):
            return values[0] + 10 * values[1]

        return Family.grid(("sum",), (), of, sums, joint_axes(of, {"a": 2, "b": 2}))

    axis = Grid(("a",), lambda _: levels[None], label="a", support=levels)
    read, other = Grid.read("a", levels), Grid.read("b", levels)
    rows = Rows(mechanisms, {"a": torch.tensor([1.0]), "b": torch.tensor([1.0])})
    assert grid([axis, other]).family.key == grid([read, other]).family.key
    assert grid([axis, other]).table(rows).tolist() == [[10.0, 11.0]]
    assert grid([read, other]).table(rows).tolist() == [11.0]
    assert grid([axis, axis]).table(rows).tolist() == [[0.0, 11.0]]
    assert grid([axis, axis]).family.key != grid([axis, other]).family.key
    assert grid([axis, Grid((), lambda _: levels[:1])]).family is None  # a cell without a name
