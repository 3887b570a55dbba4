"""The world that is set knows what was set in it and what followed."""

import numpy as np
import pandas as pd
import pytest
from closed_form import clinic

from cxrcausal.scm import shift
from cxrcausal.scm.prediction import new_patients, predict_rows

SCM = clinic()
DO = {"sex": "Male", "age": shift(0)}


@pytest.fixture(scope="module")
def rows():
    table = SCM.sample(200, seed=3)
    table.loc[table.index[:80], "sex"] = np.nan
    table.loc[table.index[40:120], "edema"] = np.nan
    return table


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("impute", [False, True])
def test_what_was_set_and_what_followed(rows, samples, impute):
    """Cell by cell: another value where it was set, another known value where it follows."""
    noise = SCM.abduct(rows, num_samples=samples, seed=0)
    world = predict_rows(SCM, noise, DO, impute=impute)
    before = rows.iloc[np.repeat(np.arange(len(rows)), samples)].set_axis(world.table.index)
    assert list(world.intervened()) == ["sex", "age"]
    assert world.intervened()["sex"].equals(before["sex"] != "Male")
    assert not world.intervened()["age"].any()
    changed = world.descendants()
    assert set(changed) == set(SCM.graph.descendants("sex")) | set(SCM.graph.descendants("age"))
    assert changed.to_numpy().any()
    for name in changed:
        both = before[name].notna() & world.table[name].notna()
        expected = both & (before[name].astype(object) != world.table[name].astype(object))
        assert changed[name].equals(expected)
        assert world.unknown([name])[name].equals(before[name].isna())
    unmoved = [v for v in rows if v not in changed and v not in DO]
    pd.testing.assert_frame_equal(world.table[unmoved], before[unmoved])


def test_the_null_intervention_changes_nothing():
    """No variable is set, so none follows."""
    world = predict_rows(SCM, new_patients(SCM, 50, seed=1), {})
    assert world.table.equals(world.factual)
    assert world.affected == ()
    assert world.intervened().shape == world.descendants().shape == (50, 0)
