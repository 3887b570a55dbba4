"""Every kind of intervention, alone and with others, in every question that takes one."""

import numpy as np
import pandas as pd
import pytest
from closed_form import TableMechanism, binary, clinic, table_scm
from torch.distributions import Bernoulli, Uniform

from cxrcausal import healthy
from cxrcausal.errors import InterventionError, UnobservedError
from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm import FlowSCM, Replace, scale, shift

SCM = clinic()
N = 30
ROWS = SCM.sample(N, seed=3)
GAPS = ROWS.assign(
    edema=ROWS["edema"].mask(ROWS.index % 3 == 0),
    severity=ROWS["severity"].mask(ROWS.index % 4 == 0),
)
FLIPPED = ["Male" if sex == "Female" else "Female" for sex in ROWS["sex"]]


def other(name):
    """Another table of probabilities for a variable, reading the same parents."""
    own = SCM.mechanisms[name]
    draw = np.random.default_rng(11)
    return TableMechanism(own.variable, own.parents, draw.dirichlet(np.ones(3), (2, 2)))


# Each kind: what is set, and what the variable then is in each row (None: by chance or predicted).
KINDS = {
    "level": ({"edema": "negative"}, ["negative"] * N),
    "number": ({"age": 30}, [30.0] * N),
    "array": ({"sex": np.array(FLIPPED)}, FLIPPED),
    "series": ({"sex": pd.Series(FLIPPED, ROWS.index)[::-1]}, FLIPPED),
    "shift": ({"age": shift(10)}, (ROWS["age"] + 10).clip(upper=60).tolist()),
    "scale": ({"age": scale(0.5)}, (ROWS["age"] / 20).round().mul(10).clip(lower=20).tolist()),
    "function": ({"view": lambda rows: np.where(rows["sex"] == "Male", "AP", "PA")},
                 np.where(ROWS["sex"] == "Male", "AP", "PA").tolist()),
    "mapping": ({"edema": {"negative": 0.25, "positive": 0.75}}, None),
    "distribution": ({"sex": Bernoulli(0.4)}, None),
    "continuous distribution": ({"age": Uniform(20.0, 60.0)}, None),
    "replaced mechanism": ({"severity": Replace(other("severity"))}, None),
}  # fmt: skip
TOGETHER = {
    "by value and by shift": ("level", "shift"),
    "by chance and by function": ("distribution", "function", "number"),
    "a mechanism with its causes": ("replaced mechanism", "array", "mapping"),
    "all variables but one": ("distribution", "scale", "function", "level", "replaced mechanism"),
}
DO = {name: do for name, (do, _) in KINDS.items()} | {
    name: {k: v for kind in kinds for k, v in KINDS[kind][0].items()}
    for name, kinds in TOGETHER.items()
}
ASK = {"seed": 3, "clip": True}


@pytest.mark.parametrize("kind", KINDS)
def test_the_variable_is_what_was_set(kind):
    """In the counterfactual and in a sample of new patients alike."""
    do, expected = KINDS[kind]
    (name,) = do
    world, new = SCM.counterfactual(ROWS, do, **ASK), SCM.sample(N, do, **ASK)
    if expected is not None:
        assert world[name].tolist() == expected
    if kind != "replaced mechanism":  # which answers to noise, and that of new patients is new
        pd.testing.assert_series_equal(new[name], world[name])
    causes = [v for v in SCM.mechanisms if v != name and v not in SCM.graph.descendants(name)]
    pd.testing.assert_frame_equal(world[causes], ROWS[causes])
    pd.testing.assert_frame_equal(new[causes], ROWS[causes])


@pytest.mark.parametrize("rows", [ROWS, GAPS], ids=["complete", "with unknown cells"])
@pytest.mark.parametrize("name", DO)
def test_each_question_gives_the_same_answer(name, rows):
    """predict(abduct) is the counterfactual, and its mean over draws the probability."""
    draws = 400
    ask = ASK | {"num_samples": draws, "impute": True}
    world = SCM.counterfactual(rows, DO[name], **ask)
    noise = SCM.abduct(rows, draws, seed=3)
    pd.testing.assert_frame_equal(SCM.predict(noise, DO[name], clip=True, impute=True), world)
    for of in ("effusion", next(iter(DO[name]))):
        chance = SCM.counterfactual_probability(rows, DO[name], of, num_samples=2000, **ASK)
        np.testing.assert_allclose(chance.sum(axis=1), 1.0, atol=1e-9)
        for value in chance.columns:
            share = (world[of] == value).groupby(level=0).mean()
            error = np.sqrt(
                (chance[value] * (1 - chance[value])).clip(1e-3) * (1 / draws + 1 / 2000)
            )
            assert ((share - chance[value]).abs() < 5 * error).all(), value


@pytest.mark.parametrize("name", DO)
def test_new_patients_follow_the_distribution_of_the_world_that_is_set(name):
    """Sampling under `do` is predicting, for new patients, what a mixture over all of them is."""
    do = {v: x for v, x in DO[name].items() if not isinstance(x, np.ndarray | pd.Series)}
    many = SCM.sample(4000, seed=8)
    expected = SCM.counterfactual_probability(many, do, "effusion", clip=True, seed=8)["positive"]
    new = SCM.sample(4000, do, seed=9, clip=True)
    share = (new["effusion"] == "positive").mean()
    assert share == pytest.approx(expected.mean(), abs=5 * np.sqrt(0.25 * 2 / 4000))


# --- healthy


TRUTH = np.array([[1.0, 0.0], [0.0, 0.0]])  # by edema and effusion


def ill():
    """Two findings that a definition counts, a device that it does not, and an effect of both."""
    variables = [
        binary("edema"),
        binary("effusion"),
        binary("support_devices"),
        Variable(
            "no_finding", "binary", ("negative", "positive"), mechanism="nor", role="summary"
        ),
        binary("opacity"),
    ]
    edges = [("edema", "effusion"), ("edema", "no_finding"), ("effusion", "no_finding"),
             ("support_devices", "opacity"), ("effusion", "opacity")]  # fmt: skip
    return variables, edges


def test_healthy_is_an_intervention_like_any_other():
    """`do=healthy(graph)`: no finding anywhere, alone or with more, in every question."""
    variables, edges = ill()
    opacity = np.array([[0.9, 0.5], [0.2, 0.1]])  # negative, by effusion and device
    rules = [[0.6, 0.4], [[0.8, 0.2], [0.3, 0.7]], [0.5, 0.5]]
    rules += [np.stack([1 - TRUTH, TRUTH], -1), np.stack([opacity, 1 - opacity], -1)]
    scm = table_scm(variables, edges, rules)
    graph, rows = scm.graph, scm.sample(60, seed=0)
    do = healthy(graph)
    assert do == {"edema": "negative", "effusion": "negative"}
    noise = scm.abduct(rows, seed=1)
    for world in (
        scm.counterfactual(rows, do, seed=1),
        scm.predict(noise, do),
        scm.sample(60, do, seed=0),
    ):
        assert (world[["edema", "effusion"]] == "negative").all(axis=None)
        assert (world["no_finding"] == "positive").all()
        pd.testing.assert_series_equal(world["support_devices"], rows["support_devices"])
    chance = scm.counterfactual_probability(rows, do, "no_finding")
    np.testing.assert_allclose(chance["positive"], 1.0)
    devices = {level: {**do, "support_devices": level} for level in ("negative", "positive")}
    chance = [
        scm.counterfactual_probability(rows, set_too, "opacity") for set_too in devices.values()
    ]
    by_chance = {**do, "support_devices": {"negative": 0.3, "positive": 0.7}}
    mixed = scm.counterfactual_probability(rows, by_chance, "opacity")
    np.testing.assert_allclose(mixed, 0.3 * chance[0] + 0.7 * chance[1], atol=1e-12)


def test_the_definition_itself_is_refused():
    """It is decided by its parents: the message names what is meant instead."""
    variables, edges = ill()
    graph = CausalGraph(variables, edges, name="ill")
    table = pd.DataFrame({v.name: v.levels * 100 for v in variables})
    scm = FlowSCM(graph, hidden=()).fit(table, progress=False)
    ask = [
        lambda do: scm.counterfactual(table, do),
        lambda do: scm.sample(3, do),
        lambda do: scm.predict(scm.abduct(table), do),
        lambda do: scm.counterfactual_probability(table, do, "opacity"),
    ]
    for question in ask:
        for wanted in ("positive", {"negative": 1.0}, Replace(scm.mechanisms["no_finding"])):
            with pytest.raises(InterventionError, match=r"definition.*do=cx.healthy\(graph\)"):
                question({"no_finding": wanted})


def test_healthy_of_a_graph_with_findings_that_no_row_records():
    """Of the graph it is refused, naming the one that is unobserved and how to leave it out."""
    variables, edges = ill()
    graph = CausalGraph(variables, edges, name="ill")
    table = pd.DataFrame({v.name: v.levels * 100 for v in variables}).assign(effusion=None)
    scm = FlowSCM(graph, hidden=()).fit(table, progress=False)
    with pytest.raises(UnobservedError, match=r"'effusion'.*never observed.*cx.healthy\(scm\)"):
        scm.counterfactual(table, healthy(graph))
    with pytest.raises(UnobservedError, match=r"'effusion'.*observed: [a-z_, ]+$"):
        scm.counterfactual(table, {"effusion": "negative"})
    assert healthy(scm) == {"edema": "negative"}
    assert (scm.counterfactual(table, healthy(scm))["edema"] == "negative").all()
