"""Noise as a value: how long it is, what its draws are called, and that it is kept exactly."""

import json

import pandas as pd
import pytest
import torch
from closed_form import COMPLETE, clinic, table_of

from cxrcausal.errors import CheckpointError
from cxrcausal.scm import Exogenous
from cxrcausal.scm.exogenous import sample_index

SCM = clinic()
NOISE = SCM.abduct(table_of(SCM, {"edema": 1.0, "age": 20.0}, 3), num_samples=2, seed=4)


def test_draws_have_labels():
    """One draw keeps the row's own label; several add the number of the draw."""
    assert len(NOISE) == 6
    assert NOISE.index.names == ["row", "sample"]
    assert NOISE.index.tolist() == [(r, s) for r in range(3) for s in range(2)]
    index = pd.Index(["a", "b"], name="patient")
    assert sample_index(index, 1) is index
    again = sample_index(sample_index(index, 2), 2)
    assert again.names == ["patient", "sample", "sample_2"]
    assert len(again) == 8


def test_it_is_kept_exactly(tmp_path):
    """The world is the same from noise that was saved and read."""
    NOISE.save(tmp_path)
    back = Exogenous.load(tmp_path)
    for part in ("noise", "values", "known"):
        before, after = getattr(NOISE, part), getattr(back, part)
        assert all(torch.equal(before[name], after[name]) for name in before)
    do = {"sex": "Male"}
    pd.testing.assert_frame_equal(SCM.predict(back, do), SCM.predict(NOISE, do))


def test_damage_is_named(tmp_path):
    """A description that says something else is refused by its folder."""
    SCM.abduct(table_of(SCM, COMPLETE), seed=0).save(tmp_path)
    path = tmp_path / "noise.json"
    record = json.loads(path.read_text())
    del record["seed"]
    path.write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="the saved noise is damaged"):
        Exogenous.load(tmp_path)
