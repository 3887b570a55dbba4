"""Step 1: noise from which every mechanism gives back what is known."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from closed_form import COMPLETE, clinic, table_of

from cxrcausal.scm.abduction import abduct_noise, abduct_rows
from cxrcausal.scm.draws import draws_of
from cxrcausal.scm.evidence import read_evidence

SCM = clinic()
ROWS = pd.concat(
    [table_of(SCM, COMPLETE), table_of(SCM, {"age": 20.0}), table_of(SCM, {"edema": 1.0})],
    ignore_index=True,
)


def abducted(batch_size, samples=2):
    """The noise of all rows, worked on so many rows times draws at a time."""
    known = read_evidence(ROWS, SCM.graph, SCM._fitted)
    draws = draws_of(known.index, 0, samples)
    return abduct_rows(SCM.graph, SCM._fitted, known, draws, batch_size=batch_size, progress=False)


def test_noise_gives_back_the_values():
    """Those that are known, and those that were drawn for the rest."""
    noise = abducted(100)
    known = read_evidence(ROWS, SCM.graph, SCM._fitted).values
    for name, mechanism in SCM.mechanisms.items():
        pa = {p.name: noise.values[p.name] for p in mechanism.parents}
        assert torch.equal(mechanism.predict(noise.noise[name], pa), noise.values[name])
        fact = known[name].repeat_interleave(2)
        assert torch.equal(noise.values[name][~fact.isnan()], fact[~fact.isnan()])
        assert torch.equal(noise.known[name], ~known[name].isnan())


def test_chunks_change_no_noise():
    """Randomness is a function of row label, variable and draw."""
    whole, parts = abducted(100), abducted(2)
    assert all(torch.equal(whole.noise[name], parts.noise[name]) for name in SCM.mechanisms)


def test_noise_is_missing_where_a_value_is():
    """A cell that no answer needs may stay unknown, and so does the noise of what reads it."""
    values = {v: torch.tensor([x, x]).double() for v, x in COMPLETE.items()}
    values["age"] = torch.tensor([np.nan, 20.0]).double()
    draws = draws_of(pd.RangeIndex(2), 0, 1)
    noise = abduct_noise(SCM.mechanisms, values, draws, ["edema", "view"])
    assert set(noise) == {"edema", "view"}
    assert noise["edema"].isnan().squeeze(1).tolist() == [True, False]
    assert not noise["view"].isnan().any()


@pytest.mark.parametrize("name", SCM.mechanisms)
def test_the_number_that_made_a_patient_does_not_decide_what_is_abducted(name):
    """One seed serves `sample` and `abduct`, and their numbers have nothing to do with one
    another.
    """
    rows = SCM.sample(4000, seed=0)
    made = draws_of(rows.index, 0, 1).uniform(name).squeeze(1)
    noise = SCM.abduct(rows, seed=0).noise[name].squeeze(1)
    # Patients whose noise has the same interval, in which it must lie anywhere.
    family = rows[[*SCM.graph.parents(name), name]].astype(str).agg(" ".join, axis=1)
    alike = np.flatnonzero(family == family.mode()[0])
    found = scipy.stats.spearmanr(made[alike], noise[alike])
    assert len(alike) > 50
    assert abs(found.statistic) < 4 / np.sqrt(len(alike))
