"""Tables come in many forms and leave in one; what cannot be understood is named."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch

from cxrcausal.errors import TableError
from cxrcausal.graph import CausalGraph, Variable, load_graph
from cxrcausal.scm import check_table, decode, encode

GRAPH = CausalGraph(
    [
        Variable("sex", "binary", ("Female", "Male")),
        Variable("view", "nominal", ("PA", "AP", "LATERAL")),
        Variable("stage", "ordinal", ("1", "2", "3")),
        Variable("age", "continuous", unit="years", bounds=(0, 110), resolution=1),
        Variable("dose", "continuous"),
    ]
)


def rows(**columns):
    table = {
        "sex": ["Male", "Female", None],
        "view": ["PA", "AP", "LATERAL"],
        "stage": ["3", "1", "2"],
        "age": [40, 0, np.nan],
        "dose": [0.5, -2.0, 1e9],
    }
    return pd.DataFrame({**table, **columns}, index=["a", "b", "c"])


def test_canonical_form():
    """Levels become the graph's categoricals, ordered for ordinal variables only."""
    table = check_table(rows(note=["x", "y", "z"]), GRAPH)
    assert table.columns.tolist() == ["sex", "view", "stage", "age", "dose", "note"]
    assert table["sex"].cat.categories.tolist() == ["Female", "Male"]
    assert [table[c].cat.ordered for c in ("sex", "view", "stage")] == [False, False, True]
    assert table["age"].dtype == table["dose"].dtype == np.float64
    assert table.index.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    "sex",
    [
        ["Male", "Female", None],
        [1, 0, None],
        [1.0, 0.0, np.nan],
        pd.array([True, False, pd.NA], dtype="boolean"),
        pd.Categorical(["Male", "Female", None]),
        pd.Categorical(["Male", "Female", None], categories=["Male", "Female", "Other"]),
        pd.array(["Male", "Female", pd.NA], dtype="string"),
        np.array([True, False, None], dtype=object),
    ],
    ids=lambda x: type(x).__name__,
)
def test_forms_of_a_binary_column(sex):
    """Strings, categoricals, booleans and 0/1 mean the same."""
    table = check_table(rows(sex=sex), GRAPH)
    assert table["sex"].astype(object).where(table["sex"].notna(), None).tolist() == [
        "Male",
        "Female",
        None,
    ]


def test_levels_that_are_numbers():
    """A level that is written as a number may be given as one."""
    assert check_table(rows(stage=[3, 1, 2]), GRAPH)["stage"].tolist() == ["3", "1", "2"]


NUMBERED = [
    ("1", "2"),
    ("2", "1"),
    ("0", "1"),
    ("1", "0"),
    ("0", "2"),
    ("-1", "1"),
    ("0.5", "1"),
    ("123456", "1000000"),
    ("01", "02"),
    ("1.0", "2.0"),
]


@pytest.mark.parametrize("kind", ["binary", "ordinal", "nominal"])
@pytest.mark.parametrize("levels", NUMBERED, ids="-".join)
@pytest.mark.parametrize("dtype", [float, object, "category", "Float64"])
def test_a_number_is_the_level_that_is_written_as_it(levels, kind, dtype):
    """Sex as 1 and 2 is the commonest coding of all; 1 is the level "1", in whichever place it
    stands.
    """
    graph = CausalGraph([Variable("x", kind, levels)])
    numbers = [float(level) for level in levels]
    for order in (numbers, numbers[::-1], numbers[1:]):
        table = check_table(pd.DataFrame({"x": pd.Series(order).astype(dtype)}), graph)
        assert [float(level) for level in table["x"]] == order
    for wrong in (123456.4, 7.0, 1 + 1e-12):
        with pytest.raises(TableError, match=rf"found {wrong}"):
            check_table(pd.DataFrame({"x": [numbers[0], wrong]}), graph)


@pytest.mark.parametrize(
    ("levels", "cells", "found"),
    [
        (("True", "False"), [True, False], ["True", "False"]),
        (("false", "true"), [True, False], ["true", "false"]),
        (("1", "0"), [True, False], ["1", "0"]),
        (("no", "yes"), [True, False], ["yes", "no"]),
        (("no", "yes"), [1, 0.0], ["yes", "no"]),
        (("0.1", "0.2"), np.array([0.2, 0.1], np.float32), ["0.2", "0.1"]),
        (("01", "1"), [1, 1], ["1", "1"]),
    ],
)
def test_a_name_comes_before_a_place(levels, cells, found):
    graph = CausalGraph([Variable("x", "binary", levels)])
    assert check_table(pd.DataFrame({"x": cells}), graph)["x"].tolist() == found


@pytest.mark.parametrize(
    ("levels", "cell"),
    [
        (("1", "2"), 0),
        (("1", "2"), True),
        (("0 lesions", "1"), 0),
        (("01", "1"), 1.0),
        (("no", "yes"), 2),
        (("no", "yes"), 1j),
        (("no", "yes"), ["no"]),
        (("no", "yes"), {"no"}),
        (("no", "yes"), {"no": 1}),
        (("no", "yes"), pd.Timestamp(1)),
    ],
    ids=repr,
)
def test_what_names_no_level(levels, cell):
    """Refused by column and row, whatever it is, not by the error of a library."""
    graph = CausalGraph([Variable("x", "binary", levels)])
    with pytest.raises(TableError, match=r"column 'x', row 1: found"):
        check_table(pd.DataFrame({"x": pd.Series([levels[0], cell], dtype=object)}), graph)


@pytest.mark.parametrize(
    "cells",
    [
        [1, 2, None],
        pd.Categorical([1, 2, None]),
        pd.Categorical(["1", "2", None]),
        pd.Categorical([1.0, 2.0, None]),
        pd.array([1, 2, None], dtype="Int64"),
        pd.array(["1", " 2 ", None], dtype="string"),
        np.array([Decimal(1), np.int64(2), None], dtype=object),
    ],
    ids=lambda x: str(getattr(x, "dtype", "list")),
)
def test_forms_of_a_continuous_column(cells):
    """Numbers of any type mean the same, gaps among them."""
    table = check_table(rows(age=cells), GRAPH)
    assert table["age"].tolist()[:2] == [1.0, 2.0]
    assert np.isnan(table["age"].iloc[2])


@pytest.mark.parametrize(
    "cells",
    [
        [3j, 1, 2],
        np.array([3j, 1, 2], dtype=object),
        np.array([True, 3, 2], dtype=object),
        np.array([np.True_, 3, 2], dtype=object),
        pd.Categorical([True, False, True]),
        pd.to_timedelta([1, 2, 3], unit="ns"),
        pd.to_datetime([1, 2, 3]),
        np.array([pd.Timedelta(1), 2, 3], dtype=object),
        pd.period_range("2020", periods=3, freq="D"),
        np.array([[1], 2, 3], dtype=object),
        np.array([10**400, 2, 3], dtype=object),
        np.array([b"1", 2, 3], dtype=object),
    ],
    ids=lambda x: f"{x[0]!r:.40} {getattr(x, 'dtype', 'list')}",
)
@pytest.mark.parametrize("name", ["age", "dose"])
def test_what_is_no_real_number(cells, name):
    """A moment, a duration, a truth value or 3j is no age, though a library would make one
    of it.
    """
    with pytest.raises(TableError, match=rf"column '{name}', row 'a': found"):
        check_table(rows(**{name: cells}), GRAPH)


def test_encode_then_decode_is_the_identity():
    """Tensors lose nothing of a canonical table."""
    table = check_table(rows(), GRAPH)
    values = encode(table, GRAPH)
    assert values["sex"].tolist()[:2] == [1.0, 0.0]
    assert values["sex"].isnan().tolist() == [False, False, True]
    assert all(x.dtype == torch.float64 for x in values.values())
    pd.testing.assert_frame_equal(decode(values, GRAPH, table.index), table)


def test_absent_columns_are_unknown():
    """A column that need not be there reads as unknown."""
    table = check_table(rows().drop(columns="view"), GRAPH, columns=["sex"])
    assert bool(encode(table, GRAPH)["view"].isnan().all())


def test_input_is_not_modified():
    """Neither values nor attributes of the caller's table change."""
    table = rows(sex=[1, 0, None])
    table.attrs["cxrcausal"] = {"source": "nih"}
    before = table.copy(deep=True)
    checked = check_table(table, GRAPH)
    checked["age"] = 5.0
    pd.testing.assert_frame_equal(table, before)
    assert checked.attrs == table.attrs == {"cxrcausal": {"source": "nih"}}


def test_numbers_off_by_rounding_go_to_the_grid():
    """Decimal steps do not add up exactly; their sums are still the grid's values."""
    fine = CausalGraph([Variable("x", "continuous", bounds=(0, 1), resolution=0.1)])
    table = check_table(pd.DataFrame({"x": [0.1 + 0.2, 0.7]}), fine)
    assert set(table["x"]) <= set(fine.variables["x"].grid)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            {"sex": ["Mael", "Male", "Male"]},
            r"'sex', row 'a': found 'Mael'; did you mean 'Male'\?",
        ),
        ({"sex": [0, 1, 2]}, r"'sex', row 'c': found 2 \(allowed: 'Female', 'Male'"),
        ({"view": [0, 1, 2]}, r"'view', row 'a': found 0 \(allowed: 'PA', 'AP', 'LATERAL'"),
        ({"age": [40, 130, 140]}, r"'age', row 'b': found 130.*0 to 110 years.*1 more row"),
        ({"age": [40, 41.5, 3]}, r"row 'b': found 41.5.*in steps of 1"),
        ({"age": [40, np.inf, 3]}, r"row 'b': found inf"),
        ({"age": ["40", "057Y", "3"]}, r"row 'b': found '057Y'"),
        ({"age": [True, False, True]}, r"row 'a': found True"),
        ({"dose": [1.0, np.inf, 0.0]}, r"'dose', row 'b': found inf.*a finite number"),
    ],
)
def test_values_that_are_not_allowed(columns, words):
    """The message names column, row, value, what is allowed, and the nearest level."""
    with pytest.raises(TableError, match=words):
        check_table(rows(**columns), GRAPH)


def test_missing_column():
    """A missing column is named, with the nearest one that is there."""
    with pytest.raises(TableError, match=r"column 'sex' is missing; did you mean 'Sex'\?"):
        check_table(rows().rename(columns={"sex": "Sex"}), GRAPH)


def test_what_is_not_a_table():
    """Neither a list nor repeated columns are a table."""
    with pytest.raises(TableError, match="expected a pandas DataFrame; found list"):
        check_table([1, 2], GRAPH)
    twice = pd.concat([rows(), rows()[["sex"]]], axis=1)
    with pytest.raises(TableError, match="repeated: 'sex'"):
        check_table(twice, GRAPH)


def test_levels_in_another_order_are_encoded_by_name():
    """Concatenation can reorder categories; codes must follow the graph's levels, not the
    column's.
    """
    graph = load_graph("cxr19")
    column = pd.Categorical(["PA", "AP"], categories=["AP", "LATERAL", "PA"])
    encoded = encode(pd.DataFrame({"view": column}), graph)["view"]
    levels = graph.variables["view"].levels
    assert [levels[int(i)] for i in encoded] == ["PA", "AP"]
