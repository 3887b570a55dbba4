"""A table as JSON and back, to the last bit, which pandas' own JSON does not promise."""

import json

import numpy as np
import pandas as pd
import pytest

from cxrcausal.errors import CheckpointError
from cxrcausal.scm.packed import pack, unpack

NUMBERS = np.random.default_rng(0).normal(size=1000)
TABLES = {
    "normal numbers": pd.DataFrame({"x": NUMBERS}),
    "not finite": pd.DataFrame({"x": [np.inf, -np.inf, np.nan]}),
    "single precision": pd.DataFrame({"x": np.array([0.1, 0.2], np.float32)}),
    "small integers": pd.DataFrame({"x": np.array([1, 2], np.int8)}),
    "large integers": pd.DataFrame({"x": pd.array([1, None, 2**62 + 1], dtype="Int64")}),
    "levels": pd.DataFrame({"x": pd.Categorical(["b", None], ["a", "b", "c"], ordered=True)}),
    "dates": pd.DataFrame({"x": pd.to_datetime(["2020-01-01T00:00:00.123456789", None])}),
    "mixed": pd.DataFrame({"x": pd.Series(["a", np.nan, 3.5, True], dtype=object)}),
    "repeated labels": pd.DataFrame({"x": [1.0, 2.0]}, index=["a", "a"]),
    "a label's name that is a column's": pd.DataFrame({"x": [1.0]}, index=pd.Index([7], name="x")),
    "pairs of labels": pd.DataFrame(
        {"x": [1.0, 2.0]},
        index=pd.MultiIndex.from_tuples([("a", 0), ("a", 1)], names=["row", None]),
    ),
    "numbers for names": pd.DataFrame({7: [1.0], "x": [2.0]}),
    "no rows": pd.DataFrame({"x": np.array([], np.float64)}),
}


@pytest.mark.parametrize("name", TABLES)
def test_it_comes_back_to_the_last_bit(name):
    """Values, types, labels and names, through the text of JSON itself."""
    packed = json.loads(json.dumps(pack(TABLES[name]), allow_nan=False))
    pd.testing.assert_frame_equal(
        unpack(packed), TABLES[name], check_exact=True, check_index_type="equiv"
    )


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pd.date_range("2020", periods=2, tz="UTC"), "datetime64"),
        (pd.period_range("2020", periods=2, freq="D"), "period"),
        ([object(), 1], "object"),
    ],
)
def test_what_cannot_be_spelt_is_refused_by_name(column, kind):
    with pytest.raises(CheckpointError, match=rf"column 'x': values of type {kind}.* cannot"):
        pack(pd.DataFrame({"x": pd.Series(column)}))
