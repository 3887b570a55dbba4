"""Variables set by chance, and mechanisms replaced: laws, closed forms, and what is refused."""

import logging

import numpy as np
import pandas as pd
import pytest
import torch
from closed_form import COMPLETE, TableMechanism, clinic, table_of
from torch.distributions import Bernoulli, Beta, Categorical, Normal, Uniform

from cxrcausal.errors import InterventionError, UnobservedError
from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm import FlowSCM, Replace, shift

SCM = clinic()
N = 4000
MANY = table_of(SCM, COMPLETE, N)


def share(column, level):
    return (column == level).mean()


@pytest.mark.parametrize(
    "law",
    [{"Male": 0.3, "Female": 0.7}, Bernoulli(0.3), Categorical(torch.tensor([0.7, 0.3]))],
    ids=["mapping", "Bernoulli", "Categorical"],
)
def test_levels_by_chance(law):
    """Each form is the same law, drawn at the same uniforms."""
    world = SCM.counterfactual(MANY, {"sex": law}, seed=0)
    assert share(world["sex"], "Male") == pytest.approx(0.3, abs=5 * np.sqrt(0.21 / N))
    same = SCM.counterfactual(MANY, {"sex": {"Female": 0.7, "Male": 0.3}}, seed=0)
    pd.testing.assert_frame_equal(world, same)


def test_each_row_and_draw_has_its_own():
    """By (seed, label, variable, draw): alike in any chunk, order and number of draws."""
    law = {"sex": {"Male": 0.5, "Female": 0.5}, "age": {20: 0.5, 60.0: 0.5}}
    rows = MANY.head(50)
    whole = SCM.counterfactual(rows, law, num_samples=4, seed=1)
    assert whole.groupby(level=0)["sex"].nunique().max() == 2
    parts = SCM.counterfactual(rows[::-1], law, num_samples=4, seed=1, batch_size=7)
    pd.testing.assert_frame_equal(parts.sort_index(), whole.sort_index())
    one = SCM.counterfactual(rows, law, seed=1)
    pd.testing.assert_frame_equal(one, whole.xs(0, level=-1).set_axis(one.index))
    noise = SCM.abduct(rows, num_samples=4, seed=1)
    pd.testing.assert_frame_equal(SCM.predict(noise, law), whole)
    assert not (whole["sex"] == "Male").equals(whole["age"] == 60.0)  # independent of each other


def test_probability_under_a_law_is_the_mixture():
    """P(effect) under chance is the law's mean of P(effect) under each value, exactly."""
    rows = pd.concat(
        [table_of(SCM, COMPLETE), table_of(SCM, {"effusion": 1.0})], ignore_index=True
    )
    ask = {"of": "effusion", "seed": 0}
    each = [SCM.counterfactual_probability(rows, {"sex": v}, **ask) for v in ("Female", "Male")]
    mixed = SCM.counterfactual_probability(rows, {"sex": {"Female": 0.2, "Male": 0.8}}, **ask)
    assert mixed.attrs["standard_error"] == 0.0
    np.testing.assert_allclose(mixed, 0.2 * each[0] + 0.8 * each[1], atol=1e-12)


def test_a_law_for_each_row():
    """A batch of distributions: one for each row, by position; on the grid, within bounds."""
    rows = MANY.head(3)
    law = Uniform(torch.tensor([20.0, 30.0, 50.0]), torch.tensor([20.1, 30.1, 50.1]))
    assert SCM.counterfactual(rows, {"age": law}, seed=0)["age"].tolist() == [20.0, 30.0, 50.0]
    far = SCM.counterfactual(rows, {"age": Normal(500.0, 1.0)}, seed=0, clip=True)
    assert far["age"].tolist() == [60.0] * 3
    assert far.attrs["clipped"] == {"age": 3}
    by_draws = SCM.counterfactual_probability(rows, {"age": law}, of="edema", seed=0)
    assert by_draws.attrs["standard_error"] > 0
    exact = [
        SCM.counterfactual_probability(rows.iloc[[i]], {"age": a}, of="edema").to_numpy()
        for i, a in enumerate((20.0, 30.0, 50.0))
    ]
    np.testing.assert_allclose(by_draws, np.concatenate(exact), atol=0.09)


@pytest.mark.parametrize(
    ("do", "words"),
    [
        ({"sex": {"Male": 0.5}}, r"'sex'.* probabilities 0.5, which sum to 0.5"),
        ({"sex": {"Male": 1.5, "Female": -0.5}}, "not negative and sum to 1"),
        ({"sex": {"Mael": 1.0}}, r"'sex' to 'Mael' with some probability; allowed: 'Female'"),
        (
            {"sex": {"Male": "often"}},
            "mapping from value to probability; found the probability 'of",
        ),
        ({"sex": Normal(0.0, 1.0)}, "Normal; 'sex' has levels, so give a mapping"),
        ({"view": Bernoulli(0.5)}, r"Bernoulli of 2 values; 'view' has the levels 'PA', 'AP'"),
        ({"age": Normal(torch.zeros(2), 1.0)}, r"batch shape \(2,\).*each row \(1,\)"),
        ({"age": Normal(500.0, 1.0)}, "'age' out of bounds in 1 row"),
        ({"age": Beta(1.0, 1.0)}, r"Beta, which has no quantiles \(icdf\)"),
        ({"sex": lambda rows: {"Male": 1.0}}, "a function that returned"),
    ],
)
def test_laws_that_are_none(do, words):
    """The message names what was asked and what is allowed."""
    with pytest.raises(InterventionError, match=words):
        SCM.counterfactual(MANY.head(1), do, seed=0)


def test_a_level_that_the_fit_never_saw_has_no_chance():
    """Not even where it happens not to be drawn."""
    seen = {**SCM.observed, "view": ("PA", "AP")}
    scm = FlowSCM.from_mechanisms(SCM.graph, SCM.mechanisms, seen)
    with pytest.raises(UnobservedError, match=r"'LATERAL'.*observed: 'PA', 'AP'"):
        scm.counterfactual(MANY.head(2), {"view": {"PA": 0.999, "LATERAL": 0.001}}, seed=0)


class TestReplace:
    def other(self, name="edema", parents=None):
        """A table of another law for a variable."""
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

    def test_the_interventional_law(self):
        """Averaged over patients, the variable follows its new mechanism (a soft intervention)."""
        other = self.other(parents=())
        rows = SCM.sample(N, seed=3)
        world = SCM.counterfactual(rows, {"edema": Replace(other)}, seed=0)
        p = other.table[1].item()
        assert share(world["edema"], "positive") == pytest.approx(p, abs=5 * np.sqrt(0.25 / N))
        law = SCM.counterfactual_probability(rows.head(40), {"edema": Replace(other)}, of="edema")
        assert law.attrs["standard_error"] > 0

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
        """Another variable, a strange parent, an effect as a cause, noise of another law."""
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
        with pytest.raises(InterventionError, match="noise of another law"):
            SCM.counterfactual(do={"edema": Replace(normal)}, **ask)


def test_support_by_source(caplog):
    """One warning per call names what the row's own source never saw, with counts."""
    source = Variable("source", "nominal", ("A", "B"), role="context")
    age = Variable("age", "continuous", bounds=(0.0, 99.0), resolution=1.0, unit="years")
    view = Variable("view", "nominal", ("PA", "AP"))
    graph = CausalGraph([source, age, view], [("source", "age"), ("source", "view")])
    draw = np.random.default_rng(0)
    table = pd.DataFrame({"source": ["A", "B"] * 100, "age": draw.integers(20, 60, 200)})
    table["age"] = table["age"].astype(float) + 20.0 * (table["source"] == "B")
    table["view"] = np.where(table["source"] == "A", "PA", draw.choice(["PA", "AP"], 200))
    scm = FlowSCM(graph, hidden=()).fit(table, progress=False)
    assert scm._fitted.observed_by["source"]["A"]["view"] == ("PA",)
    with caplog.at_level(logging.WARNING, logger="cxrcausal"):
        scm.counterfactual(table.head(10), {"view": "AP", "age": 25.0}, seed=0)
    assert len(caplog.records) == 1
    assert "view=AP in 5 row(s) of source=A, where the fit never saw it" in caplog.text
    assert "'age' in 5 row(s) of source=B, outside its 4" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="cxrcausal"):
        scm.counterfactual(table.head(10), {"view": "AP", "source": "B"}, seed=0)
        scm.counterfactual(table.head(10), {"age": 45.0}, seed=0)
    assert not caplog.records
