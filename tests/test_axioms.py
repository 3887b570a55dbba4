"""The laws that every counterfactual model must obey, whatever its mechanisms.

Composition, effectiveness and reversibility are those of Galles and Pearl (1998) and Halpern
(2000); with the support, the interventional distribution and what randomness may depend on they
hold for tables, linear equations and fitted flows alike, with and without unknown cells.
"""

import functools

import numpy as np
import pandas as pd
import pytest
import torch
from closed_form import LinearMechanism, clinic
from simulated import GRAPH, patients

from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm import (
    DirectEdges,
    FlowSCM,
    IntervalMechanism,
    healthy,
    shift,
)

ROWS = 60


def linear():
    """Continua alone: x -> y -> z, x -> z."""
    x, y, z = (Variable(n, "continuous") for n in "xyz")
    return FlowSCM.from_mechanisms(
        CausalGraph([x, y, z], [("x", "y"), ("x", "z"), ("y", "z")], name="linear"),
        {
            "x": LinearMechanism(x, ()),
            "y": LinearMechanism(y, (x,), [0.8], scale=0.5),
            "z": LinearMechanism(z, (x, y), [-1.0, 2.0], intercept=3.0),
        },
    )


@functools.cache
def fitted():
    """Mechanisms of every class, fitted to simulated patients."""
    table = patients(200, seed=0, unknown=0.02)
    return FlowSCM(GRAPH, family="nsf", hidden=(4,)).fit(table, groups="patient", progress=False)


def rare():
    """A level of probability 1e-7, by intervals of one normal, under a cause that flips it."""
    sex = Variable("sex", "binary", ("Female", "Male"))
    rare = Variable("rare", "binary", ("negative", "positive"))
    grade = Variable("grade", "ordinal", ("a", "b", "c", "d"))
    cause, effect = DirectEdges((), 2), DirectEdges((sex,), 2)
    steps = DirectEdges((sex,), 4)
    effect.offset.fill_(np.log(1e-7))
    steps.offset.copy_(torch.tensor([1e-7, 0.4, 0.6, 1e-7]).log())
    with torch.no_grad():
        effect.conditioner.network.linear.weight.fill_(32.0)
        steps.conditioner.network.linear.weight[0] = 16.0
    return FlowSCM.from_mechanisms(
        CausalGraph([sex, rare, grade], [("sex", "rare"), ("sex", "grade")], name="rare"),
        {
            "sex": IntervalMechanism(sex, (), cause),
            "rare": IntervalMechanism(rare, (sex,), effect),
            "grade": IntervalMechanism(grade, (sex,), steps),
        },
    )


MODELS = {f.__name__: f for f in (clinic, linear, fitted, rare)}


@pytest.fixture(scope="module", params=MODELS, ids=str)
def model(request):
    """Each kind of SCM in turn."""
    return MODELS[request.param]()


@pytest.fixture(scope="module")
def facts(model):
    """Its own patients, completely known."""
    if model.graph.name == "rare":  # every combination of levels, the rarest included
        levels = [v.levels for v in model.graph.variables.values()]
        names = list(model.graph.variables)
        return pd.MultiIndex.from_product(levels, names=names).to_frame(index=False)
    return model.sample(ROWS, seed=11)


def partly(facts):
    """The same patients with a fifth of their cells unknown."""
    draw = np.random.default_rng(5)
    return facts.apply(lambda column: column.mask(draw.random(len(column)) < 0.2))


def settable(model):
    """The variables that may be set."""
    return [v for v in model.observed if not model.graph.variables[v].is_definition]


def equal(left, right, model, names=None):
    """Equality of two tables: of discrete cells and ages to the bit, of continua to 1e-9."""
    for name in model.graph.variables if names is None else names:
        variable = model.graph.variables[name]
        if variable.is_discrete or variable.grid is not None:
            a, b = left[name].astype(object), right[name].astype(object)
            assert ((a == b) | (a.isna() & b.isna())).all(), name
        else:
            a, b = left[name].astype(float), right[name].astype(float)
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-9 * (1 + np.abs(b).max()))


def something(model, name, rows):
    """A value for each row that is often another than the factual one."""
    variable = model.graph.variables[name]
    draw = np.random.default_rng(3)
    if variable.is_discrete:
        return draw.choice(list(model.observed[name]), rows)
    if variable.grid is not None:
        return draw.choice(variable.grid, rows)
    return draw.normal(model.sample(100, seed=1)[name].mean(), 1.0, rows)


@pytest.mark.parametrize("keep", [True, False])
def test_null_intervention_is_the_identity(model, facts, keep):
    """The world in which nothing is set is the factual one, in all of its known cells."""
    for rows in (facts, partly(facts)):
        noise = model.abduct(rows, seed=0)
        equal(model.predict(noise, {}, keep=keep), rows, model)


def test_composition(model, facts):
    """Setting a variable to what it already is changes nothing, in another batch size too."""
    noise = model.abduct(facts, seed=0, batch_size=17)
    for name in settable(model):
        same = model.predict(noise, {name: facts[name]}, keep=False, batch_size=7)
        equal(same, facts, model)


def test_setting_several_to_what_they_are(model, facts):
    """Composition of joint interventions."""
    noise = model.abduct(facts, seed=1)
    same = model.predict(noise, {v: facts[v] for v in settable(model)}, keep=False)
    equal(same, facts, model)


def test_effectiveness(model, facts):
    """What is set holds in every row, whether it was known or not."""
    for rows in (facts, partly(facts)):
        for name in settable(model):
            wanted = something(model, name, len(rows))
            world = model.counterfactual(rows, {name: wanted}, seed=0)
            assert world[name].astype(object).tolist() == list(wanted)


def test_non_descendants_never_change(model, facts):
    """An intervention acts on its effects alone."""
    for rows in (facts, partly(facts)):
        noise = model.abduct(rows, seed=0)
        for name in settable(model):
            do = {name: something(model, name, len(rows))}
            for keep in (True, False):
                world = model.predict(noise, do, keep=keep)
                moved = {name, *model.graph.descendants(name)}
                equal(world, rows, model, [v for v in model.observed if v not in moved])


def test_reversibility_with_carried_noise(model, facts):
    """Undoing an intervention under the same noise gives the facts back."""
    noise = model.abduct(facts, seed=0)
    for name in settable(model):
        do = {name: something(model, name, len(facts))}
        changed = model.predict(noise, do)
        assert changed[name].astype(object).tolist() == list(do[name])
        back = model.predict(noise, {name: facts[name]})
        equal(back, facts, model)


def test_predicting_what_did_not_change_gives_it_back(model, facts):
    """Keeping the factual value of a cell whose parents do not change is a short cut, no more."""
    for rows in (facts, partly(facts)):
        noise = model.abduct(rows, seed=4)
        for name in settable(model):
            do = {name: something(model, name, len(rows))}
            equal(model.predict(noise, do), model.predict(noise, do, keep=False), model)


def test_support_is_respected(model, facts):
    """Every answer is a level that the fit saw, an age of the grid, a number within bounds."""
    do = {name: something(model, name, len(facts)) for name in settable(model)[:1]}
    world = model.counterfactual(partly(facts), do, num_samples=3, seed=0, impute=True)
    for name, seen in model.observed.items():
        variable = model.graph.variables[name]
        if variable.is_discrete:
            assert set(world[name]) <= set(seen)
        elif variable.grid is not None:
            assert set(world[name]) <= set(variable.grid)
        else:
            assert np.isfinite(world[name]).all()


def test_mean_counterfactual_is_the_interventional_distribution(model):
    """Averaged over patients as they occur, counterfactuals are draws under do (Pearl 2009,
    7.1)."""
    n = 4000
    population = model.sample(n, seed=21)
    for name in settable(model)[:3]:
        variable = model.graph.variables[name]
        value = model.observed[name][-1] if variable.is_discrete else 50.0
        if not variable.is_discrete and variable.bounds is None:
            value = float(population[name].mean()) + 1.0
        world = model.counterfactual(population, {name: value}, seed=22)
        direct = model.sample(n, do={name: value}, seed=23)
        for effect in model.graph.descendants(name):
            if effect not in model.observed:
                continue
            if model.graph.variables[effect].is_discrete:
                levels = list(model.observed[effect])
                a = world[effect].value_counts(normalize=True).reindex(levels, fill_value=0.0)
                b = direct[effect].value_counts(normalize=True).reindex(levels, fill_value=0.0)
                error = np.sqrt((a * (1 - a) + b * (1 - b)) / n)
            else:
                a, b = world[[effect]].mean(), direct[[effect]].mean()
                error = np.sqrt((world[[effect]].var() + direct[[effect]].var()) / n)
            assert (np.abs(a - b) <= 5 * error + 1e-12).all(), (name, effect)


def test_answers_are_a_function_of_the_seed(model, facts):
    """Again the same under the same seed, others under another, and no global state is touched."""
    rows, name = partly(facts), settable(model)[0]
    do = {name: something(model, name, len(facts))}
    torch.manual_seed(0)
    before = torch.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()
    first = model.counterfactual(rows, do, num_samples=4, seed=1, impute=True)
    again = model.counterfactual(rows, do, num_samples=4, seed=1, impute=True)
    pd.testing.assert_frame_equal(first, again)
    other = model.counterfactual(rows, do, num_samples=4, seed=2, impute=True)
    assert not first.equals(other)
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(numpy_before, np.random.get_state()[1])


def test_a_row_is_answered_alike_in_any_company(model, facts):
    """One by one, in chunks of any size, in any order: the same answer under the same label."""
    rows = partly(facts)
    do = {settable(model)[0]: something(model, settable(model)[0], 1)[0]}
    ask = {"num_samples": 2, "seed": 8, "impute": True}
    whole = model.counterfactual(rows, do, **ask)
    equal(model.counterfactual(rows, do, batch_size=5, **ask), whole, model)
    single = pd.concat([model.counterfactual(rows.loc[[i]], do, **ask) for i in rows.index[:12]])
    equal(single, whole.loc[rows.index[:12]], model)
    shuffled = rows.sample(frac=1.0, random_state=0)
    back = model.counterfactual(shuffled, do, **ask).sort_index(kind="stable")
    equal(back, whole.sort_index(kind="stable"), model)
    few = model.counterfactual(rows, do, **{**ask, "num_samples": 1})
    equal(few, whole.xs(0, level=-1), model)


def test_log_prob_does_not_depend_on_the_batch(model, facts):
    """A row's likelihood is its own."""
    rows = partly(facts)
    whole = model.log_prob(rows)
    np.testing.assert_allclose(model.log_prob(rows, batch_size=3), whole, rtol=1e-9)
    np.testing.assert_allclose(model.log_prob(rows[::-1]), whole[::-1], rtol=1e-9)


def test_row_labels_may_be_anything(model, facts):
    """Text, dates and tuples label rows as well as numbers do."""
    do = {settable(model)[0]: something(model, settable(model)[0], 1)[0]}
    for index in (
        pd.Index([f"radiograph {i}" for i in range(len(facts))]),
        pd.date_range("2020-01-01", periods=len(facts)),
        pd.MultiIndex.from_product([["a"], range(len(facts))]),
    ):
        rows = facts.set_axis(index)
        world = model.counterfactual(rows, do, seed=0)
        assert world.index.equals(index)
        many = model.counterfactual(rows, do, num_samples=2, seed=0)
        assert many.index.nlevels == index.nlevels + 1


def test_rare_levels_survive():
    """A level of probability 1e-7, on either side, abducts and predicts as what it is."""
    model = rare()
    rows = pd.DataFrame({"sex": ["Female"], "rare": ["positive"], "grade": ["d"]})
    assert model.score(rows)["rare"].item() == pytest.approx(np.log(1e-7), abs=1e-6)
    rows = pd.concat([rows] * 2000, ignore_index=True)
    noise = model.abduct(rows, seed=0)
    assert noise.noise["rare"].min() > 5.1
    equal(model.predict(noise, {"sex": rows["sex"]}, keep=False, batch_size=333), rows, model)


def test_healthy_patients():
    """With every finding negative the definition is positive but for its noise."""
    model = fitted()
    rows = patients(300, seed=9)
    world = model.counterfactual(rows, {**healthy(model), "age": shift(0)}, seed=0)
    assert (world[["edema", "effusion"]] == "negative").all().all()
    assert (world["clear"] == "positive").mean() > 0.85


def test_every_settable_variable_of_real_rows(shared_data):
    """Composition on real radiographs: fitted to NIH, each variable set to what it is, nothing
    changes."""
    from cxrcausal.data import read_table, split_by_patient

    table = read_table(shared_data / "metadata" / "nih_train.csv.gz", "nih", "cxr19")
    part = split_by_patient(table)
    train = table[part != "test"].iloc[:4000]
    rows = table[part == "test"].iloc[:2500]
    model = FlowSCM("cxr19", hidden=()).fit(train, groups="patient_id", progress=False)
    for name in settable(model):
        known = rows[rows[name].notna()]
        noise = model.abduct(known, seed=0, batch_size=1024)
        same = model.predict(noise, {name: known[name]}, keep=False, batch_size=999)
        pd.testing.assert_frame_equal(same, known, check_exact=True)
