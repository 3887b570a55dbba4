"""What is saved comes back equal; what is not a checkpoint is refused by file and key."""

import datetime
import json
import os

import numpy as np
import pandas as pd
import pytest
import torch
from closed_form import clinic
from safetensors.torch import load_file, save_file
from simulated import GRAPH, patients

from cxrcausal.errors import CheckpointError, GraphError
from cxrcausal.files import sha256_of
from cxrcausal.graph import load_graph
from cxrcausal.scm import Exogenous, FlowSCM, shift

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


def rewrite(folder, tensors):
    """Writes other tensors into a saved SCM, as a person who knows its format would."""
    file = folder / "scm.safetensors"
    save_file(tensors, file)
    change(folder / "scm.json", tensors_sha256=sha256_of(file))


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
    """Without code, with versions and fingerprints."""
    names = ["replicates.safetensors", "scm.json", "scm.safetensors"]
    assert sorted(os.listdir(folder)) == names
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
    whole = load_file(folder / "scm.safetensors")
    rewrite(folder, {k: v.half() if v.is_floating_point() else v for k, v in whole.items()})
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
        ({"tensors_sha256": None}, r"scm\.json: key 'tensors_sha256' is missing"),
        ({"graph": 5}, r"scm\.json: key 'graph' is 5; expected str"),
        ({"graph": ["variables"]}, r"key 'graph' is \['variables'\]; expected str"),
        ({"mechanisms": []}, r"key 'mechanisms' is \[\]; expected dict"),
        ({"mechanisms": "edema"}, r"key 'mechanisms' is 'edema'; expected dict"),
        ({"mechanisms__edema": 5}, r"key 'mechanisms\.edema\.class' is missing"),
        (
            {"mechanisms__edema__class": ["x"]},
            r"key 'mechanisms\.edema\.class' is \['x'\]; expected str",
        ),
        ({"mechanisms__edema__parents": 3}, r"key 'mechanisms\.edema\.parents' is 3"),
        ({"mechanisms__edema__parents": [["age"]]}, r"key 'mechanisms\.edema' does not describe"),
        ({"mechanisms__edema__config": 3}, r"key 'mechanisms\.edema\.config' is 3"),
        ({"mechanisms__edema__config__hidden": 3}, r"key 'mechanisms\.edema' does not describe"),
        ({"mechanisms__oedema": {}}, r"key 'mechanisms\.oedema' is of no variable.*'edema'"),
        ({"hidden": 3}, r"key 'hidden' is 3; expected list"),
        ({"hidden": "ab"}, r"key 'hidden' is 'ab'; expected list"),
        ({"hidden": [1.5]}, r"setting of the SCM is not allowed: hidden is"),
        ({"family": "x"}, r"setting of the SCM is not allowed: 'x' is not a family"),
        ({"coupling": 3}, r"key 'coupling' is 3"),
        ({"policies": [1]}, r"key 'policies' is \[1\]"),
        ({"data_fingerprint": 3}, r"key 'data_fingerprint' is 3"),
        ({"observed": []}, r"key 'observed' is \[\]"),
        (
            {"observed__sex": None},
            r"what was observed of 'sex' is None; allowed: some of 'Female'",
        ),
        ({"observed__sex": ["Fem"]}, r"what was observed of 'sex' is \['Fem'\]; allowed: some of"),
        ({"observed__sex": ["Male", "Male"]}, r"what was observed of 'sex'"),
        ({"observed__sex": ["Male", ["Female"]]}, r"what was observed of 'sex'"),
        ({"observed__sex": []}, r"what was observed of 'sex' is \[\]"),
        ({"observed__sex": "Male"}, r"what was observed of 'sex' is 'Male'"),
        (
            {"observed__age": [5]},
            r"what was observed of 'age' is \[5\]; allowed: \(lowest, highest\)",
        ),
        ({"observed__age": [9, 5]}, r"what was observed of 'age'"),
        ({"observed__age": [5, float("nan")]}, r"what was observed of 'age'"),
        ({"observed__age": ["a", "b"]}, r"what was observed of 'age'"),
        ({"observed_by": []}, r"key 'observed_by' is \[\]; expected dict"),
        (
            {"observed_by": {"wing": {}}},
            r"observed by 'wing' is \{\}; allowed: a mapping.*has none",
        ),
        ({"observed_by": {"sex": ["Male"]}}, r"observed by 'sex' is \['Male'\]; allowed"),
        (
            {"observed_by": {"sex": {"Male": {"wing": ["A"]}}}},
            r"'Male' is of \['wing'\], which is no",
        ),
        ({"observed_by": {"sex": {"Male": 3}}}, r"'Male' is of 3, which is no"),
        ({"observed_by": {"sex": {"Male": {"age": [9, 5]}}}}, r"what was observed of 'age'"),
        ({"observed__ward": ["A"]}, r"key 'observed\.ward' belongs to no mechanism"),
    ],
)
def test_damaged_description(folder, entries, words):
    """Each refusal names the file and the key."""
    change(folder / "scm.json", **entries)
    with pytest.raises(CheckpointError, match=words):
        FlowSCM.load(folder)


@pytest.mark.parametrize("key", ["observed", "graph", "policies", "hidden", "mechanisms"])
def test_a_description_with_null(folder, key):
    """JSON's null is no value of any of these; least of all does it mean that every level was
    seen.
    """
    file = folder / "scm.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: None}))
    with pytest.raises(CheckpointError, match=rf"scm\.json: key '{key}' is None; expected"):
        FlowSCM.load(folder)


def test_damaged_tensors(folder):
    """A tensor that is missing, misshapen or unreadable."""
    file = folder / "scm.safetensors"
    whole = load_file(file)
    key = next(key for key in whole if key.startswith("sex/"))
    rewrite(folder, {k: v for k, v in whole.items() if k != key})
    with pytest.raises(CheckpointError, match=rf"scm\.safetensors: key '{key}' is missing"):
        FlowSCM.load(folder)
    rewrite(folder, {**whole, key: torch.zeros(3, 3, 3)})
    with pytest.raises(CheckpointError, match=rf"key '{key}' has shape \(3, 3, 3\)"):
        FlowSCM.load(folder)
    rewrite(folder, {**whole, "sex/more": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="key 'sex/more' belongs to no"):
        FlowSCM.load(folder)
    file.write_bytes(b"not tensors")
    change(folder / "scm.json", tensors_sha256=sha256_of(file))
    with pytest.raises(CheckpointError, match=r"scm\.safetensors: not readable as safetensors"):
        FlowSCM.load(folder)
    file.unlink()
    with pytest.raises(CheckpointError, match=r"scm\.safetensors: there is no such file"):
        FlowSCM.load(folder)


def test_files_of_two_saves(scm, folder):
    """A writer that dies between two renames leaves files that fit each other's shapes, which
    reading notices.
    """
    file = folder / "scm.safetensors"
    whole = load_file(file)
    key = next(key for key, tensor in whole.items() if tensor.is_floating_point())
    save_file({**whole, key: whole[key] + 1e-3}, file)
    with pytest.raises(CheckpointError, match=r"scm\.safetensors: .*of different saves"):
        FlowSCM.load(folder)


def test_what_is_not_a_checkpoint(tmp_path):
    """A folder without the files, and a file that is not JSON."""
    with pytest.raises(CheckpointError, match=r"scm\.json: there is no such file"):
        FlowSCM.load(tmp_path)
    (tmp_path / "scm.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"scm\.json: not readable as JSON"):
        FlowSCM.load(tmp_path)
    (tmp_path / "scm.json").write_text("[" * 100_000)
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

    monkeypatch.setattr("cxrcausal.checkpoint.save_file", full_disk)
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
    with pytest.raises(CheckpointError, match=r"noise\.safetensors: .*of different saves"):
        Exogenous.load(tmp_path / "noise")
    noise.save(tmp_path / "more")
    change(tmp_path / "more" / "noise.json", rows={})
    with pytest.raises(CheckpointError, match="the saved noise is damaged"):
        Exogenous.load(tmp_path / "more")


LABELS = {
    "positions": pd.RangeIndex(3),
    "text": pd.Index(["a", "b", "c"], name="radiograph"),
    "dates": pd.date_range("2020-02-28", periods=3, unit="ns", name="day"),
    "levels": pd.CategoricalIndex(["b", "a", "c"]),
    "floats": pd.Index([0.1, 0.2, 1 / 3]),
    "mixed": pd.Index([1, "a", 2.5], dtype=object),
    "pairs": pd.MultiIndex.from_arrays([[1, 1, 2], ["x", "y", "x"]], names=["patient", None]),
}


@pytest.mark.parametrize("labels", LABELS)
def test_the_rows_of_noise_come_back_to_the_last_bit(scm, labels, tmp_path):
    """Continua, levels that the fit never observed, further columns of any type, labels and
    attributes.
    """
    rows = ROWS.head(3).set_axis(LABELS[labels])
    rows["pressure"] = [101.123456789012345, 1 / 3, 99.0]
    rows["view"] = rows["view"].cat.set_categories(["PA", "AP", "LATERAL"])
    rows.iloc[0, rows.columns.get_loc("view")] = "LATERAL"
    rows["measured"] = [1.123456789012345, np.nan, np.inf]
    rows["short"] = np.array([0.1, 0.2, 0.3], np.float32)
    rows["note"] = pd.Series(["a", np.nan, 3.5], rows.index, dtype=object)
    rows["count"] = pd.array([1, None, 2**62 + 1], dtype="Int64")
    rows["taken"] = pd.to_datetime(["2020-01-01", None, "2021-06-30"])
    rows[7] = [True, False, True]
    rows.attrs["cxrcausal"] = {"source": "simulated"}
    noise = scm.abduct(rows, seed=0)
    noise.save(tmp_path / "noise")
    loaded = Exogenous.load(tmp_path / "noise")
    pd.testing.assert_frame_equal(loaded.rows, noise.rows, check_exact=True, check_freq=False)
    assert loaded.rows.attrs == {"cxrcausal": {"source": "simulated"}}
    do = {"sex": "Male", "pressure": shift(1.0)}
    pd.testing.assert_frame_equal(
        scm.predict(loaded, do), scm.predict(noise, do), check_exact=True, check_freq=False
    )


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (pd.date_range("2020", periods=3, tz="UTC"), r"datetime64\[.*UTC\]"),
        (pd.period_range("2020", periods=3, freq="D"), r"period\[D\]"),
        (pd.Index([datetime.date(2020, 1, day) for day in (1, 2, 3)]), "date"),
    ],
    ids=["zone", "period", "date"],
)
def test_labels_that_cannot_be_saved(scm, labels, kind, tmp_path):
    """Refused by type, before anything is written."""
    noise = scm.abduct(ROWS.head(3).set_axis(labels))
    with pytest.raises(CheckpointError, match=rf"row labels None: values of type {kind} cannot"):
        noise.save(tmp_path / "noise")
    assert not (tmp_path / "noise").exists()
    rows = ROWS.head(3).assign(radiograph=list(labels))
    with pytest.raises(CheckpointError, match="column 'radiograph': values of type"):
        scm.abduct(rows, seed=0).save(tmp_path / "noise")
    rows = ROWS.head(3)
    rows.attrs["reader"] = object()
    with pytest.raises(CheckpointError, match="key 'attrs' cannot be written as JSON"):
        scm.abduct(rows, seed=0).save(tmp_path / "noise")


def test_noise_belongs_to_the_fit(scm, folder, tmp_path):
    """A copy of the fit may replay it, from memory or from disk; another fit of the graph
    may not.
    """
    noise = scm.abduct(ROWS, seed=0)
    noise.save(tmp_path / "noise")
    copied, kept = FlowSCM.load(folder), Exogenous.load(tmp_path / "noise")
    pd.testing.assert_frame_equal(
        copied.predict(kept, {"sex": 0}), scm.predict(noise, {"sex": 0}), check_exact=True
    )
    other = FlowSCM.load(folder)
    with torch.no_grad():
        next(iter(other.mechanisms["edema"].parameters())).add_(0.1)
    for one in (noise, kept):
        with pytest.raises(GraphError, match="noise was abducted under another fit"):
            other.predict(one, {"sex": 0})
    less = {name: m for name, m in scm.mechanisms.items() if name != "clear"}
    with pytest.raises(GraphError, match="noise was abducted under another fit"):
        FlowSCM.from_mechanisms(GRAPH, less, scm.observed).predict(noise, {"sex": 0})


def test_shipped_graph_comes_back(tmp_path):
    """The graph in the checkpoint is whole: it needs no file beside it."""
    graph = load_graph("cxr19")
    from cxrcausal.scm import DirectEdges, IntervalMechanism

    sex = graph.variables["sex"]
    mechanism = IntervalMechanism(sex, (), DirectEdges((), 2))
    scm = FlowSCM.from_mechanisms(graph, {"sex": mechanism})
    scm.save(tmp_path / "one")
    assert FlowSCM.load(tmp_path / "one").graph.fingerprint == graph.fingerprint
