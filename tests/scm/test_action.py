"""What may be set, in which forms, and what is said to who sets something else."""

import numpy as np
import pandas as pd
import pytest
import torch

from cxrcausal.errors import InterventionError, UnobservedError
from cxrcausal.graph import load_graph
from cxrcausal.scm import check_table, healthy, scale, shift
from cxrcausal.scm.action import resolve

GRAPH = load_graph("cxr19")
SEEN = {
    "dataset": ("NIH",),
    "age": (1.0, 95.0),
    "sex": ("Female", "Male"),
    "view": ("PA", "AP"),
    "edema": ("negative", "positive"),
    "no_finding": ("negative", "positive"),
}


@pytest.fixture
def rows():
    table = pd.DataFrame(
        {"age": [40.0, 100.0, np.nan], "sex": ["Male", "Female", None]}, index=["a", "b", "c"]
    )
    return check_table(table, GRAPH, columns=["age", "sex"])


def values(do, rows, **options):
    """What each row is set to."""
    settings = resolve(do, rows, GRAPH, SEEN, **options)
    facts = {"age": torch.tensor(rows["age"].to_numpy())}
    return {
        name: setting.assign(facts.get(name, torch.zeros(len(rows))), None, {}).tolist()
        for name, setting in settings.items()
    }


@pytest.mark.parametrize(
    "wanted",
    [
        "Male",
        1,
        True,
        ["Male", "Male", "Male"],
        np.array([1, 1, 1]),
        torch.ones(3),
        pd.Categorical(["Male"] * 3),
        pd.Series({"c": "Male", "b": "Male", "a": "Male", "z": "Female"}),
        lambda rows: "Male",
        lambda rows: pd.Series("Male", index=rows.index),
    ],
    ids=lambda x: type(x).__name__,
)
def test_forms_of_a_value(wanted, rows):
    """A level, one per row by position, a Series by label, a function of the rows."""
    assert values({"sex": wanted}, rows) == {"sex": [1.0, 1.0, 1.0]}


def test_series_goes_by_label_and_array_by_position(rows):
    """The same numbers mean different rows."""
    by_label = pd.Series([1, 2, 3], index=["c", "b", "a"])
    assert values({"age": by_label}, rows) == {"age": [3.0, 2.0, 1.0]}
    assert values({"age": by_label.to_numpy()}, rows) == {"age": [1.0, 2.0, 3.0]}


def test_function_reads_the_factual_row(rows):
    """A policy may depend on what was seen."""
    policy = {"sex": lambda r: np.where(r["age"] > 50, "Male", "Female")}
    assert values(policy, rows) == {"sex": [0.0, 1.0, 0.0]}


def test_shift_and_scale_move_the_factual_value(rows):
    """Relative to each row, on the grid; an unknown value stays unknown until it is drawn."""
    moved = values({"age": shift(-10)}, rows, clip=True)["age"]
    assert moved[:2] == [30.0, 90.0]
    assert np.isnan(moved[2])
    assert values({"age": scale(0.33)}, rows)["age"][:2] == [13.0, 33.0]


def test_leaving_the_bounds_names_the_rows(rows):
    """Unless clipping is asked for."""
    with pytest.raises(InterventionError, match=r"'age' out of bounds in 1 row\(s\), 'b': 120"):
        values({"age": shift(20)}, rows.head(2))
    with pytest.raises(InterventionError, match=r"unknown in 1 row\(s\), 'c',.*0 to 110 years"):
        values({"age": shift(20)}, rows)
    assert values({"age": shift(20)}, rows, clip=True)["age"][:2] == [60.0, 110.0]
    with pytest.raises(InterventionError, match=r"111 in row 'a'.*0 to 110 years.*clip=True"):
        values({"age": 111}, rows)
    assert values({"age": [111, -4, 7]}, rows, clip=True) == {"age": [110.0, 0.0, 7.0]}


@pytest.mark.parametrize(
    ("do", "words"),
    [
        (
            {"sxe": "Male"},
            r"'sxe', which is not a variable of graph 'cxr19'; did you mean 'sex'\?",
        ),
        ({"image": 0}, "is the radiograph of graph"),
        (
            {"sex": "Mael"},
            r"'sex' to 'Mael' \(row 'a'\); did you mean 'Male'\? \(allowed: 'Female'",
        ),
        ({"sex": ["Male", "Male", 2]}, r"to 2 \(row 'c'\) \(allowed"),
        ({"age": 50.5}, r"to 50.5 .*in steps of 1"),
        ({"no_finding": "positive"}, r"is a definition.*do=cx.healthy\(graph\)"),
        ({"sex": None}, r"unknown \(NaN\) in the rows 'a'"),
        ({"age": [1, np.nan, 3]}, r"unknown \(NaN\) in the rows 'b'.*leave these rows out"),
        ({"sex": ["Male", "Male"]}, r"shape \(2,\); one value per row is \(3,\)"),
        ({"sex": pd.Series({"a": 1, "b": 0})}, "without a value for the rows 'c'"),
        ({"sex": pd.Series([1, 0], index=["a", "a"])}, "repeated labels"),
        ({"sex": shift(1)}, "shift moves a continuous variable; 'sex' is binary"),
        ({"age": lambda rows: shift(1)}, "a function that returned Shift"),
        ({"age": 3j}, r"'age' to 3j \(row 'a'\) \(allowed: 0 to 110 years"),
        ({"age": [True, 3, 4]}, r"'age' to True \(row 'a'\)"),
        ({"age": pd.Timedelta(3, unit="ns")}, r"'age' to Timedelta"),
        ({"age": [[3], [4], [5, 6]]}, r"'age' to \[3\] \(row 'a'\)"),
        ({"sex": {"Male"}}, r"'sex' to \{'Male'\} \(row 'a'\)"),
        ({"sex": lambda rows: {"Male"}}, r"'sex' to \{'Male'\}"),
        (
            {"age": lambda rows: rows["foo"]},
            r"do\['age'\] is a function that failed.*KeyError: 'foo'",
        ),
        ({"sex": "male"}, r"'sex' to 'male'.*did you mean 'Male'\?"),
        ("sex", "mapping from variable to value.*found str"),
    ],
)
def test_what_cannot_be_set(do, words, rows):
    """The message names what was asked, what is allowed, and the nearest name."""
    for clip in (False, True):
        with pytest.raises(InterventionError, match=words):
            resolve(do, rows, GRAPH, SEEN, clip=clip)


def test_never_observed(rows):
    """A variable or level that the fit never saw has no known effect."""
    with pytest.raises(UnobservedError, match=r"'race', which was never observed.*: dataset, age"):
        resolve({"race": "Asian"}, rows, GRAPH, SEEN)
    with pytest.raises(UnobservedError, match=r"'LATERAL' \(row 'a'\).*observed: 'PA', 'AP'"):
        resolve({"view": "LATERAL"}, rows, GRAPH, SEEN)


@pytest.mark.parametrize("amount", ["20", True, np.nan, np.inf])
def test_shift_takes_a_finite_number(amount):
    """What is not a number is refused at once."""
    with pytest.raises(InterventionError, match="shift takes a finite number"):
        shift(amount)


def test_healthy_sets_what_the_definition_counts():
    """Every finding under no_finding, and nothing else."""
    assert healthy(GRAPH) == dict.fromkeys((p for p in GRAPH.parents("no_finding")), "negative")
    assert "support_devices" not in healthy(GRAPH)
    assert "dataset" not in healthy(load_graph("cxr19-extended"))


def test_null_intervention(rows):
    """Nothing is set."""
    assert resolve({}, rows, GRAPH, SEEN) == resolve(None, rows, GRAPH, SEEN) == {}


def test_a_move_out_of_bounds_is_refused_before_any_work(rows):
    """Known values are checked at once, so that the error names every row."""
    known = rows.head(2).assign(age=[100.0, 105.0])
    with pytest.raises(InterventionError, match=r"out of bounds in 2 row\(s\), 'a', 'b': 120"):
        resolve({"age": shift(20)}, known, GRAPH, SEEN)
    assert resolve({"age": shift(20)}, known, GRAPH, SEEN, clip=True)["age"].reads_fact
