"""The assignments that an intervention puts in the place of a variable's own."""

import numpy as np
import pandas as pd
import pytest
import torch
from closed_form import COMPLETE, TableMechanism, clinic, table_of

from cxrcausal.errors import InterventionError
from cxrcausal.graph import Variable
from cxrcausal.scm import Replace, shift
from cxrcausal.scm.setting import Drawn, Fixed, Relative, Replaced, world_of

SCM = clinic()
N = 4000
MANY = table_of(SCM, COMPLETE, N)
AGE = Variable("age", "continuous", bounds=(18.0, 60.5), resolution=2.0, unit="years")
FACTS = torch.tensor([20.0, 40.0, 58.0], dtype=torch.float64)


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_a_fixed_value_is_that_of_its_row_in_every_draw():
    """Whatever was observed, unknown cells too; a subset of rows keeps its own values."""
    setting = Fixed(AGE, numbers(30, 50, 18))
    x = torch.full((6,), torch.nan, dtype=torch.float64)
    assert setting.assign(x, None, {}).tolist() == [30, 30, 50, 50, 18, 18]
    assert setting.take(slice(1, 3)).assign(x[:2], None, {}).tolist() == [50, 18]
    assert setting.is_known
    assert setting.take(slice(0, 0)).assign(x[:0], None, {}).shape == (0,)


def test_a_relative_value_moves_on_the_grid_within_bounds():
    """Rounded to the resolution and clipped at its last step; unknown where the fact is."""
    setting = Relative(AGE, 1.1, 0.0)
    assert setting.assign(FACTS, None, {}).tolist() == [22.0, 44.0, 60.0]
    assert setting.clipped_rows(FACTS) == 1
    assert Relative(AGE, 1.01, 0.0).rounded_rows(FACTS) == 3
    assert setting.may_leave
    assert not Relative(AGE, 1.0, 0.0).may_leave
    assert torch.isnan(setting.assign(numbers(torch.nan), None, {})).all()
    assert not setting.is_known


def test_a_drawn_value_belongs_to_its_row_and_draw():
    """By row and then by draw; an exact sum needs the list that it was drawn from."""
    setting = Drawn(AGE, numbers([30, 31], [50, 51]))
    assert setting.assign(numbers(1, 2, 3, 4), None, {}).tolist() == [30, 31, 50, 51]
    assert setting.take(slice(1, 2)).assign(numbers(1, 2), None, {}).tolist() == [50, 51]
    assert not setting.is_summable
    listed = (numbers(30, 50), numbers(0.5, 0.5).log())
    assert Drawn(AGE, setting.values, listed).is_summable


def test_a_replaced_mechanism_answers_to_the_same_noise():
    """Where its inputs are known; elsewhere the value stays as it is."""
    own = SCM.mechanisms["edema"]
    setting = Replaced(own.variable, own)
    u = own.prior(torch.full((2, own.noise_size), 0.5, dtype=torch.float64))
    pa = {p.name: numbers(0, torch.nan) for p in own.parents}
    one = own.predict(u[:1], {name: x[:1] for name, x in pa.items()})
    assert setting.assign(numbers(7, 8), u, pa).tolist() == [one.item(), 8]
    assert setting.reads_noise
    assert not setting.is_known


def test_the_world_that_is_set_puts_causes_before_effects():
    """Only a replaced mechanism changes it, also in what it reads."""
    mechanisms = SCM.mechanisms
    fixed = {"sex": Fixed(mechanisms["sex"].variable, numbers(0))}
    assert world_of(mechanisms, fixed) is mechanisms
    last = mechanisms["effusion"]
    first = TableMechanism(mechanisms["sex"].variable, (last.variable,), np.full((2, 2), 0.5))
    with pytest.raises(InterventionError, match="causes itself"):
        world_of(mechanisms, {"sex": Replaced(first.variable, first)})


class TestReplace:
    def other(self, name="edema", parents=None):
        """A table of another distribution for a variable."""
        own = SCM.mechanisms[name]
        parents = own.parents if parents is None else parents
        sizes = [len(p.levels or p.grid) for p in parents]
        draw = np.random.default_rng(8)
        levels = len(own.variable.levels)
        return TableMechanism(own.variable, parents, draw.dirichlet(np.ones(levels), sizes))

    def test_by_itself_changes_nothing(self):
        """Composition: the same mechanism and the same noise give the facts back."""
        rows = SCM.sample(300, seed=2)
        for name in ("edema", "effusion", "view"):
            world = SCM.counterfactual(rows, {name: Replace(SCM.mechanisms[name])}, seed=0)
            pd.testing.assert_frame_equal(world, rows)

    def test_the_noise_is_kept(self):
        """The new value is the new mechanism's answer to the old noise."""
        rows = SCM.sample(300, seed=2)
        other = self.other()
        noise = SCM.abduct(rows, seed=5)
        pa = {p.name: noise.values[p.name] for p in other.parents}
        expected = other.predict(noise.noise["edema"], pa)
        world = SCM.predict(noise, {"edema": Replace(other)})
        assert world["edema"].cat.codes.tolist() == expected.tolist()
        assert not world["edema"].equals(rows["edema"])
        pd.testing.assert_frame_equal(
            world, SCM.counterfactual(rows, {"edema": Replace(other)}, seed=5)
        )
        causes = [v for v in SCM.mechanisms if v not in ("edema", *SCM.graph.descendants("edema"))]
        pd.testing.assert_frame_equal(world[causes], rows[causes])

    def test_the_interventional_distribution(self):
        """Averaged over patients, the variable follows its new mechanism (a soft intervention)."""
        other = self.other(parents=())
        rows = SCM.sample(N, seed=3)
        world = SCM.counterfactual(rows, {"edema": Replace(other)}, seed=0)
        p = other.table[1].item()
        assert (world["edema"] == "positive").mean() == pytest.approx(p, abs=5 * np.sqrt(0.25 / N))
        answer = SCM.counterfactual_probability(
            rows.head(40), {"edema": Replace(other)}, of="edema"
        )
        assert answer.attrs["standard_error"] > 0

    def test_it_may_read_what_the_old_one_did_not(self):
        """Beside other settings, one of which it reads; unknown parents are drawn first."""
        view = SCM.graph.variables["view"]
        other = self.other("edema", (view,))
        rows = SCM.sample(200, seed=4)
        rows.loc[rows.index[:50], ["view", "age"]] = np.nan
        do = {"edema": Replace(other), "age": shift(0)}
        many = SCM.counterfactual(rows, do, num_samples=3, seed=0, impute=True)
        noise = SCM.abduct(rows, num_samples=3, seed=0)
        expected = other.predict(noise.noise["edema"], {"view": noise.values["view"]})
        assert many["edema"].cat.codes.tolist() == expected.tolist()
        shown = SCM.counterfactual(rows, do, num_samples=3, seed=0)
        assert shown["edema"].equals(many["edema"])
        assert shown["view"].isna().sum() == 150

    def test_what_does_not_fit(self):
        """Another variable, a strange parent, an effect as a cause, noise of another
        distribution.
        """
        ask = {"rows": MANY.head(1), "seed": 0}
        with pytest.raises(InterventionError, match="assigns 'sex', 'Female', 'Male'; it must"):
            SCM.counterfactual(do={"edema": Replace(SCM.mechanisms["sex"])}, **ask)
        with pytest.raises(InterventionError, match="takes a Mechanism"):
            SCM.counterfactual(do={"edema": Replace("edema")}, **ask)
        effusion = SCM.graph.variables["effusion"]
        with pytest.raises(InterventionError, match=r"causes itself: .*effusion"):
            SCM.counterfactual(do={"edema": Replace(self.other("edema", (effusion,)))}, **ask)
        ghost = Variable("ghost", "binary", ("a", "b"))
        with pytest.raises(InterventionError, match="reads 'ghost', which this SCM does not have"):
            SCM.counterfactual(do={"edema": Replace(self.other("edema", (ghost,)))}, **ask)
        normal = self.other()
        normal.prior = torch.special.ndtri
        with pytest.raises(InterventionError, match="noise of another distribution"):
            SCM.counterfactual(do={"edema": Replace(normal)}, **ask)
