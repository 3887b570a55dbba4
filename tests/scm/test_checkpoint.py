"""What is saved comes back equal; what is not a checkpoint is refused by file and key."""

import json
import os

import numpy as np
import pandas as pd
import pytest
import torch
from closed_form import clinic
from safetensors.torch import load_file, save_file
from simulated import GRAPH, patients

from cxrcausal.errors import CheckpointError
from cxrcausal.graph import load_graph
from cxrcausal.scm import Exogenous, FlowSCM

ROWS = patients(20, seed=1, unknown=0.1, always=["pressure"])


@pytest.fixture(scope="module")
def scm():
    """A fitted SCM with mechanisms of every class."""
    table = patients(120, seed=0)
    table.attrs["cxrcausal"] = {"source": "simulated", "policies": {"uncertain": "unknown"}}
    return FlowSCM(GRAPH, family="nsf", hidden=(4,)).fit(table, groups="patient", progress=False)


@pytest.fixture
def folder(scm, tmp_path):
    """A saved SCM."""
    scm.save(tmp_path / "scm")
    return tmp_path / "scm"


def change(file, **entries):
    """Overwrites entries of a JSON file; None removes one."""
    description = json.loads(file.read_text())
    for path, value in entries.items():
        *parents, key = path.split("__")
        target = description
        for parent in parents:
            target = target[parent]
        if value is None:
            del target[key]
        else:
            target[key] = value
    file.write_text(json.dumps(description))


def test_everything_comes_back(scm, folder):
    """Same likelihoods and the same counterfactuals, to the last bit."""
    loaded = FlowSCM.load(folder)
    pd.testing.assert_series_equal(loaded.log_prob(ROWS), scm.log_prob(ROWS), check_exact=True)
    pd.testing.assert_frame_equal(
        loaded.counterfactual(ROWS, {"sex": "Male"}, seed=0, impute=True),
        scm.counterfactual(ROWS, {"sex": "Male"}, seed=0, impute=True),
        check_exact=True,
    )
    assert loaded.observed == scm.observed
    assert loaded.policies == {"source": "simulated", "policies": {"uncertain": "unknown"}}
    assert loaded.data_fingerprint == scm.data_fingerprint
    assert loaded.graph == scm.graph
    assert loaded.get_params() == scm.get_params()


def test_files(folder):
    """Two of them, without code, with versions and fingerprints."""
    assert sorted(os.listdir(folder)) == ["scm.json", "scm.safetensors"]
    assert os.listdir(folder.parent) == ["scm"]  # nothing half-written is left beside it
    description = json.loads((folder / "scm.json").read_text())
    assert description["format_version"] == 1
    assert description["graph_fingerprint"] == GRAPH.fingerprint
    assert {"python", "cxrcausal", "torch"} <= set(description["versions"])
    assert description["mechanisms"]["clear"]["class"] == "LogicMechanism"


def test_given_graph_must_agree(scm, folder):
    """The same graph may be handed in; another is refused, by fingerprint."""
    assert FlowSCM.load(folder, graph=GRAPH).graph is GRAPH
    with pytest.raises(CheckpointError, match=r"scm\.json: key 'graph_fingerprint' is .*'cxr19'"):
        FlowSCM.load(folder, graph="cxr19")
    less = GRAPH.without_edge("sex", "edema")
    with pytest.raises(CheckpointError, match="fitted to another graph"):
        FlowSCM.load(folder, graph=less)


def test_half_precision_weights(scm, folder):
    """Weights may be stored in half precision: arithmetic stays in float64, composition exact."""
    file = folder / "scm.safetensors"
    save_file(
        {k: v.half() if v.is_floating_point() else v for k, v in load_file(file).items()}, file
    )
    small = FlowSCM.load(folder)
    assert small.log_prob(ROWS).dtype == np.float64
    noise = small.abduct(ROWS, seed=0)
    assert noise.noise["edema"].dtype == torch.float64
    same = small.predict(noise, {}, keep=False)
    discrete = [c for c in small.mechanisms if c != "pressure"]
    pd.testing.assert_frame_equal(same[discrete], ROWS[discrete])


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"format_version": 99}, r"scm\.json: key 'format_version' is 99.*reads 1"),
        ({"format_version": None}, r"scm\.json: key 'format_version' is missing"),
        ({"graph_fingerprint": "0" * 16}, r"key 'graph_fingerprint' is '0000.*was changed"),
        ({"graph": "variables: ["}, r"key 'graph' is not a causal graph"),
        ({"mechanisms": None}, r"key 'mechanisms' is missing"),
        (
            {"mechanisms__edema__class": "IntervalMechanisms"},
            r"key 'mechanisms\.edema\.class' is .*did you mean 'IntervalMechanism'\?",
        ),
        ({"mechanisms__edema__class": "os.system"}, r"'os\.system'.*Known: .*LogicMechanism"),
        ({"mechanisms__edema__config": {}}, r"key 'mechanisms\.edema' does not describe"),
        ({"mechanisms__edema__parents": ["stage"]}, r"missing|shape|do not fit|belongs to no"),
        ({"mechanisms__edema": None}, r"scm\.safetensors: key 'edema/.*belongs to no mechanism"),
        ({"observed": None}, r"key 'observed' is missing"),
    ],
)
def test_damaged_description(folder, entries, words):
    """Each refusal names the file and the key."""
    change(folder / "scm.json", **entries)
    with pytest.raises(CheckpointError, match=words):
        FlowSCM.load(folder)


def test_damaged_tensors(folder):
    """A tensor that is missing, misshapen or unreadable."""
    file = folder / "scm.safetensors"
    whole = load_file(file)
    key = next(key for key in whole if key.startswith("sex/"))
    save_file({k: v for k, v in whole.items() if k != key}, file)
    with pytest.raises(CheckpointError, match=rf"scm\.safetensors: key '{key}' is missing"):
        FlowSCM.load(folder)
    save_file({**whole, key: torch.zeros(3, 3, 3)}, file)
    with pytest.raises(CheckpointError, match=rf"key '{key}' has shape \(3, 3, 3\)"):
        FlowSCM.load(folder)
    save_file({**whole, "sex/more": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match="key 'sex/more' belongs to no"):
        FlowSCM.load(folder)
    file.write_bytes(b"not tensors")
    with pytest.raises(CheckpointError, match=r"scm\.safetensors: not readable as safetensors"):
        FlowSCM.load(folder)
    file.unlink()
    with pytest.raises(CheckpointError, match=r"scm\.safetensors: there is no such file"):
        FlowSCM.load(folder)


def test_what_is_not_a_checkpoint(tmp_path):
    """A folder without the files, and a file that is not JSON."""
    with pytest.raises(CheckpointError, match=r"scm\.json: there is no such file"):
        FlowSCM.load(tmp_path)
    (tmp_path / "scm.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"scm\.json: not readable as JSON"):
        FlowSCM.load(tmp_path)
    (tmp_path / "scm.json").write_text("[]")
    with pytest.raises(CheckpointError, match=r"found a list; expected an object"):
        FlowSCM.load(tmp_path)


def test_failed_save_leaves_the_old_one(scm, folder, monkeypatch):
    """Nothing half-written: a save that breaks off changes nothing."""
    before = {f.name: f.read_bytes() for f in folder.iterdir()}

    def full_disk(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr("cxrcausal.scm.checkpoint.save_file", full_disk)
    with pytest.raises(OSError, match="no space left"):
        scm.save(folder)
    assert {f.name: f.read_bytes() for f in folder.iterdir()} == before
    assert os.listdir(folder.parent) == ["scm"]


def test_what_cannot_be_saved(tmp_path):
    """A mechanism of the user's own has no configuration that loading could trust."""
    with pytest.raises(
        CheckpointError, match=r"of 'sex' is a TableMechanism, which cannot be saved"
    ):
        clinic().save(tmp_path / "scm")
    assert not (tmp_path / "scm").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"is a file; give a folder"):
        FlowSCM(GRAPH, family="nsf", hidden=()).fit(patients(60), progress=False).save(
            tmp_path / "file"
        )


@pytest.mark.parametrize(
    "rows",
    [ROWS, ROWS.reset_index(drop=True), ROWS.set_index(["patient", ROWS.index])],
    ids=["text", "numbers", "pairs"],
)
def test_noise_comes_back(scm, rows, tmp_path):
    """Saved noise replays the same worlds, whatever the row labels."""
    noise = scm.abduct(rows, num_samples=2, seed=5)
    noise.save(tmp_path / "noise")
    loaded = Exogenous.load(tmp_path / "noise")
    assert (loaded.seed, loaded.num_samples, len(loaded)) == (5, 2, 2 * len(rows))
    pd.testing.assert_frame_equal(
        scm.predict(loaded, {"sex": 0}), scm.predict(noise, {"sex": 0}), check_dtype=False
    )
    (tmp_path / "noise" / "noise.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="the saved noise is damaged"):
        Exogenous.load(tmp_path / "noise")


def test_shipped_graph_comes_back(tmp_path):
    """The graph in the checkpoint is whole: it needs no file beside it."""
    graph = load_graph("cxr19")
    from cxrcausal.scm import DirectEdges, IntervalMechanism

    sex = graph.variables["sex"]
    mechanism = IntervalMechanism(sex, (), DirectEdges((), 2))
    scm = FlowSCM.from_mechanisms(graph, {"sex": mechanism})
    scm.save(tmp_path / "one")
    assert FlowSCM.load(tmp_path / "one").graph.fingerprint == graph.fingerprint
