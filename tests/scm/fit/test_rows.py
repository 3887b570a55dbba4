"""The distinct rows of a fit, counted once, split by patient."""

import numpy as np
import pandas as pd
import pytest
import torch
from mechanisms import EDEMA, SEX

from cxrcausal.scm.fit.rows import Cells

RANDOM = np.random.default_rng(0)
PATIENT = RANDOM.integers(0, 1300, 4000)
VALUES = {
    name: torch.tensor(RANDOM.integers(0, 2, 4000).astype(np.float64)) for name in ("edema", "sex")
}


def test_a_patient_stays_on_one_side():
    """Cells count training and validation patients apart, and no patient twice."""
    cells = Cells.gather(
        EDEMA, (SEX,), VALUES, torch.ones(4000).double(), PATIENT, validation=0.3, seed=0
    )
    assert cells.total.sum() == 4000
    assert 0.2 < cells.validation.sum() / 4000 < 0.4
    assert cells.validation.sum() == len(cells.validation_cell)
    share = cells.validation_patient.max() + 1
    assert share < len(np.unique(PATIENT))
    rows = pd.Series(PATIENT).value_counts()
    sizes = np.bincount(cells.validation_patient)
    assert sizes.sum() == cells.validation.sum()
    assert sizes.max() <= rows.max()


def test_a_gain_has_a_standard_error_by_patient():
    """Repeating every row of a patient adds no certainty."""
    rows = {n: v.repeat(4) for n, v in VALUES.items()}
    alone = Cells.gather(EDEMA, (SEX,), VALUES, torch.ones(4000).double(), np.arange(4000), 0.3, 0)
    fourfold = Cells.gather(
        EDEMA, (SEX,), rows, torch.ones(16_000).double(), np.tile(np.arange(4000), 4), 0.3, 0
    )
    loss = torch.linspace(0, 1, len(alone.x)).double()
    one, four = (c.gain(loss, torch.zeros_like(loss)) for c in (alone, fourfold))
    assert four == pytest.approx(one, rel=1e-9)
