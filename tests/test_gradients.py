"""A fit inside inference mode is the fit outside it, and leaves the mode as it was."""

import numpy as np
import pandas as pd
import pytest
import torch
from closed_form import LinearMechanism

import cxrcausal as cx
from cxrcausal.evaluation import Predictor, conv_probe
from cxrcausal.gradients import with_gradients
from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.image import ImageRecipe, RectifiedFlow, Trainer
from cxrcausal.image.recipe import NetworkRecipe, TrainingRecipe
from cxrcausal.image.solver import Solver
from cxrcausal.scm import fit_mechanism, maximise_likelihood
from cxrcausal.scm.fit.choice import improve_mechanism

VARIABLES = (
    Variable("sex", "binary", ("Female", "Male")),
    Variable("age", "continuous", bounds=(0.0, 110.0), resolution=1.0),
    Variable("dose", "continuous"),
    Variable("effusion", "binary", ("negative", "positive")),
)
EDGES = [("sex", "age"), ("age", "dose"), ("dose", "effusion"), ("sex", "effusion")]
GRAPH = CausalGraph(VARIABLES, EDGES, name="small")
RADIOGRAPHS = 48


def table(unknown=0.0):
    draw = np.random.default_rng(0)
    rows = 300
    age = draw.integers(20, 90, rows).astype(float)
    frame = pd.DataFrame(
        {
            "sex": draw.choice(["Female", "Male"], rows),
            "age": age,
            "dose": age / 50 + 0.3 * draw.normal(size=rows),
            "effusion": draw.choice(["negative", "positive"], rows),
        }
    )
    frame["effusion"] = frame["effusion"].mask(draw.random(rows) < unknown)
    return frame


def fit_scm(missing, family):
    rows = table(unknown=0.3 if missing == "em" else 0.0)
    scm = cx.FlowSCM(GRAPH, family=family, hidden=())
    scm.fit(rows, missing=missing, progress=False)
    return torch.tensor(scm.log_prob(rows).to_numpy())


def fit_and_improve():
    """With values, parents and weights that were made in the mode."""
    x = torch.linspace(-1, 1, 200).double()
    pa = {"sex": torch.arange(200).double() % 2}
    dose, sex = VARIABLES[2], VARIABLES[0]
    mechanism = fit_mechanism(dose, (sex,), {"dose": x, **pa}, hidden=())
    improve_mechanism(mechanism, x + pa["sex"], pa, torch.ones(200).double())
    return mechanism.log_prob(x, pa)


def fit_own():
    mechanism = LinearMechanism(VARIABLES[2], (), {}, 1.0, 0.0)
    mechanism.shift = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    mechanism.log_prob = lambda x, pa: -0.5 * (x - mechanism.shift).square()
    x = torch.linspace(1, 3, 50).double()
    maximise_likelihood(mechanism, {"dose": x}, torch.ones(50).double())
    return mechanism.shift.detach()


def patients():
    draw = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "patient_id": [f"p{i}" for i in range(RADIOGRAPHS)],
            "dataset": "NIH",
            "sex": np.resize(["Female", "Male"], RADIOGRAPHS),
            "age": draw.integers(20, 90, RADIOGRAPHS).astype(float),
            "view": np.resize(["PA", "PA", "AP"], RADIOGRAPHS),
        }
    )


def images():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(RADIOGRAPHS, 1, 16, 16, generator=generator)


def train_predictor():
    predictor = Predictor("cxr19", ("sex",), size=16, width=8)
    validation = np.arange(RADIOGRAPHS) % 4 == 0
    predictor.fit(images(), patients(), validation=validation, epochs=2)
    return torch.tensor(predictor.score(images()).to_numpy())


def train_probe():
    found = conv_probe(
        images(), patients(), cx.load_graph("cxr19"), ["sex"], folds=2, epochs=1, width=8,
        resamples=20,
    )  # fmt: skip
    return torch.tensor(found.select_dtypes("number").to_numpy())


def train_images(folder):
    recipe = ImageRecipe(
        name="small",
        network=NetworkRecipe(
            size=16, patch=4, width=32, depth=1, heads=2, hidden=48, rank=4, embedding=8
        ),
        solver=Solver("heun", num_steps=2),
        training=TrainingRecipe(num_images=32, batch_size=8, warmup_steps=1, seed=3),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mechanism = RectifiedFlow(cx.load_graph("cxr19"), recipe)
    rows = patients().drop(columns="patient_id")
    held_out = images()[:8], rows.head(8)
    trainer = Trainer(mechanism, images(), rows, folder, held_out=held_out)
    mechanism = trainer.run(num_steps=2, progress=False)
    assert (folder / "held_out.csv").exists()
    return torch.cat([p.detach().flatten() for p in mechanism.parameters()])


TRAINERS = {
    "scm": lambda folder: fit_scm("available", "auto"),
    "scm, splines": lambda folder: fit_scm("available", "nsf"),
    "scm by EM": lambda folder: fit_scm("em", "auto"),
    "one mechanism": lambda folder: fit_and_improve(),
    "a mechanism of one's own": lambda folder: fit_own(),
    "predictor": lambda folder: train_predictor(),
    "probe": lambda folder: train_probe(),
    "image mechanism": train_images,
}


@pytest.fixture(scope="module", params=TRAINERS)
def trained(request, tmp_path_factory):
    """A fit, and what came of it outside of any mode."""
    train = TRAINERS[request.param]
    return train, train(tmp_path_factory.mktemp("out"))


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_a_fit_does_not_depend_on_the_mode(trained, mode, tmp_path):
    """Whatever was made in it: networks, images, values."""
    train, outside = trained
    with mode():
        inside = train(tmp_path)
        assert not torch.is_grad_enabled()
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode)
    torch.testing.assert_close(inside, outside, rtol=0, atol=1e-12, equal_nan=True)


def test_a_model_of_inference_mode_is_trained_on_outside_it():
    """What was fitted there has ordinary weights: gradients flow, saves and copies work."""
    with torch.inference_mode():
        scm = cx.FlowSCM(GRAPH, hidden=()).fit(table(), progress=False)
    tensors = [t for m in scm.mechanisms.values() for t in m.state_dict().values()]
    assert tensors
    assert not any(t.is_inference() for t in tensors)


def test_only_what_was_made_in_the_mode_is_copied():
    """An ordinary tensor comes as itself; parameters of a module are replaced in place."""
    ordinary = torch.zeros(3)
    with torch.inference_mode():
        made, module = torch.ones(3), torch.nn.Linear(2, 2)

    @with_gradients
    def look(alone, pair, named, network):
        assert alone is ordinary
        assert pair[0] is ordinary
        assert not pair[1].is_inference()
        assert not named["made"].is_inference()
        assert isinstance(network.weight, torch.nn.Parameter)
        network(torch.ones(1, 2)).sum().backward()
        return network

    with torch.inference_mode():
        found = look(ordinary, (ordinary, made), {"made": made}, network=module)
    assert found is module
    assert module.weight.grad is not None
