"""A true graph passes, a false one does not, and the p-values are what they say."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from matplotlib.figure import Figure
from patients import GRAPH, patients
from random_graphs import binary, graphs
from scipy.stats import binomtest, kstest

from cxrcausal.errors import GraphError, TableError
from cxrcausal.graph import CausalGraph, HiddenCause, Selection, load_graph
from cxrcausal.graph.falsification.claims import claims
from cxrcausal.graph.falsification.falsify import holm


@pytest.fixture(scope="module")
def under_the_null() -> pd.DataFrame:
    """Every independence of the true graph, tested on 30 data sets, patients counted and not."""
    parts = []
    for seed in range(30):
        table = patients(seed)
        for groups in ("patient_id", None):
            found = GRAPH.falsify(table, groups).table
            independent = found[found["kind"] == "independence"]
            parts.append(independent.assign(counted=groups is not None))
    return pd.concat(parts)


def test_p_values_of_true_independencies_are_uniform(under_the_null):
    """Although the mechanisms interact, bend, and persist over a patient's radiographs."""
    p = under_the_null.loc[under_the_null["counted"], "p"]
    assert kstest(p, "uniform").pvalue > 1e-3
    for level in (0.2, 0.05, 0.01):
        assert binomtest(int((p < level).sum()), len(p), level).pvalue > 1e-3
    naive = under_the_null.loc[~under_the_null["counted"], "p"]
    assert (
        binomtest(int((naive < 0.05).sum()), len(naive), 0.05).pvalue < 1e-3
    )  # radiographs, not patients


def test_a_true_independence_gains_nothing(under_the_null):
    assert under_the_null.loc[under_the_null["counted"], "nats"].mean() < 0


def test_true_graph_passes_and_a_false_one_is_named():
    table = patients(8, rows=12_000, rare_to_haze=2.0)
    true = GRAPH.with_edge("rare", "haze")
    false = GRAPH._replace(name="without rare -> haze")
    found = true.falsify(table, "patient_id", compare=false)
    assert found.graphs == ("ward", "without rare -> haze")
    assert len(found.misfits("ward")) == 0
    assert len(found.unsupported("ward")) == 0
    strongest = found.misfits("without rare -> haze").iloc[0]
    assert (strongest["x"], strongest["y"]) == ("haze", "rare")
    assert strongest["log_odds"] > 1
    assert strongest["p_adjusted"] < 1e-4
    said = str(found)
    assert "12,000 rows of 4,000 patients" in said
    assert "contradicted haze ⊥ rare" in said
    with pytest.raises(GraphError, match=r"no graph 'wrad' was tested; there is ward"):
        found.misfits("wrad")


def test_one_patient_contradicts_nothing():
    """However many radiographs: they do not tell how patients vary."""
    found = GRAPH.falsify(
        patients(8, rows=600, rare_to_haze=4.0).assign(patient_id="one"), "patient_id"
    )
    assert found.patients == 1
    assert (found.table["verdict"] == "untested").all()
    assert (found.table["note"] == "these rows are all of one patient").any()
    assert found.table["p"].isna().all()


def test_an_edge_too_many_is_not_seen():
    found = GRAPH.with_edge("sex", "rare").falsify(patients(3), "patient_id")
    weak = found.unsupported()
    assert ("rare", "sex") in zip(weak["x"], weak["y"], strict=True)
    assert weak["nats"].is_monotonic_increasing


def test_unknown_cells_leave_rows_out_of_their_own_tests():
    table = patients(1)
    draw = np.random.default_rng(0)
    table["fluid"] = table["fluid"].astype(object).mask(draw.random(len(table)) < 0.3)
    kept = table.copy(deep=True)
    found = GRAPH.falsify(table, "patient_id").table
    pd.testing.assert_frame_equal(table, kept)
    known = int(table["fluid"].notna().sum())
    for _, row in found.iterrows():
        involved = "fluid" in (row["x"], row["y"], *row["given"])
        assert row["rows"] == (known if involved else len(table))
        assert row["rows"] + row["unknown"] == len(table)


def test_a_variable_that_no_row_knows_is_taken_out():
    """Both of its effects are tied by it, which is excused by its name."""
    table = patients(2, rows=9000).assign(haze=None)
    graph = GRAPH.without_edge("mass", "view")
    found = graph.falsify(table, "patient_id").table
    lost = found[(found["x"] == "haze") | (found["y"] == "haze")]
    assert set(lost["verdict"]) == {"untested"}
    assert set(lost["note"]) == {"no row knows one of the two"}
    whole = GRAPH.falsify(table.assign(age=np.nan), "patient_id").table
    row = whole[(whole["x"] == "fluid") & (whole["y"] == "mass")].iloc[0]
    assert row["excused_by"] == ("age",)


def test_what_a_declared_hidden_cause_or_selection_excuses():
    hidden = [HiddenCause("ward_round", ("haze", "rare"), "why")]
    selection = [Selection("seen_here", ("fluid", "rare"))]
    graph = GRAPH._replace(hidden=hidden, selection=selection)
    table = patients(8, rows=12_000, rare_to_haze=2.0)
    found = graph.falsify(table, "patient_id").table
    row = found[(found["x"] == "haze") & (found["y"] == "rare")].iloc[0]
    assert row["verdict"] == "excused"
    assert row["excused_by"] == ("ward_round",)
    row = found[(found["x"] == "rare") & (found["y"] == "fluid")]
    assert row.iloc[0]["excused_by"] == ("seen_here",)


def test_a_definition_is_one_of_its_findings():
    """What matters to it is whether any is positive, whichever and however many."""
    names = ["a", "b", "c"]
    clear = binary("clear")
    object.__setattr__(clear, "mechanism", "nor")
    graph = CausalGraph(
        [*(binary(n) for n in names), binary("other"), clear], [(n, "clear") for n in names]
    )
    draw = np.random.default_rng(0)
    table = pd.DataFrame({n: draw.random(4000) < 0.2 for n in [*names, "other"]})
    table["clear"] = ~table[names].any(axis=1) ^ (draw.random(4000) < 0.02)
    found = graph.falsify(table).table
    assert set(found.loc[found["kind"] == "edge", "verdict"]) == {"supported"}
    assert set(found.loc[found["kind"] == "independence", "verdict"]) == {"holds"}


@given(graphs(most=6, unseen=True))
def test_one_claim_per_pair_and_every_one_unexcused_is_true(graph):
    made = claims(graph)
    pairs = [frozenset((c.x, c.y)) for c in made]
    size = len(graph.variables)
    assert len(pairs) == len(set(pairs)) == size * (size - 1) // 2
    arrows = CausalGraph(graph.variables.values(), graph.edges)
    for c in made:
        if c.kind == "edge":
            assert set(c.given) | {c.y} == set(graph.parents(c.x))
        elif c.excused_by:
            assert not graph.d_separated(c.x, c.y, c.given)
            assert arrows.d_separated(c.x, c.y, c.given)
        else:
            assert graph.d_separated(c.x, c.y, c.given)


def test_holm():
    p = np.array([0.01, 0.04, np.nan, 0.03, 0.005])
    np.testing.assert_allclose(holm(p), [0.03, 0.06, np.nan, 0.06, 0.02])


def test_the_figure_names_the_strongest():
    table = patients(8, rows=6000, rare_to_haze=2.0)
    found = GRAPH.falsify(table, "patient_id", compare=GRAPH.do("view")._replace(name="cut"))
    figure = found.plot(most=4)
    assert isinstance(figure, Figure)
    figure.canvas.draw()
    assert len(figure.axes) == 4
    labels = [t.get_text() for t in figure.axes[1].get_yticklabels()]
    assert labels[0].startswith("view ⊥ haze")
    assert len(labels) == 4
    assert "ward" in figure.axes[0].get_title(loc="left")
    with pytest.raises(GraphError, match="most is 0"):
        found.plot(0)


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda t: t.rename(columns={"age": "Age"}), {}, "'Age' is not a var.*did you mean 'age'"),
        (lambda t: t[["patient_id"]], {}, "no column is a variable of graph 'ward'"),
        (lambda t: t.assign(sex="Males"), {}, r"row 0: found 'Males'"),
        (lambda t: t.iloc[:0], {}, "it has no rows"),
        (lambda t: t.to_dict(), {}, "expected a pandas DataFrame; found dict"),
        (
            lambda t: t,
            {"groups": "patient"},
            "'patient' is not a column; did you mean 'patient_id'",
        ),
        (lambda t: t, {"groups": [1, 2]}, "2 groups for 3000 rows"),
        (lambda t: t, {"groups": pd.Series(1, range(1, 3001))}, "other row labels than the tab"),
        (lambda t: t.assign(patient_id=None), {"groups": "patient_id"}, "row 0 has no group"),
        (lambda t: t.assign(**dict.fromkeys(list(t)[:6])), {}, "only 1 variables are known"),
    ],
)
def test_a_table_that_cannot_be_read(change, options, words):
    with pytest.raises(TableError, match=words):
        GRAPH.falsify(change(patients(0)), **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alpha": 0.0}, "alpha is 0.0"),
        ({"tolerance": -1.0}, "tolerance is -1.0"),
        ({"compare": GRAPH}, "two of the graphs are called 'ward'"),
        ({"compare": load_graph("cxr-minimal")}, "declare other variables"),
    ],
)
def test_questions_that_are_none(options, words):
    with pytest.raises(GraphError, match=words):
        GRAPH.falsify(patients(0), **options)


def test_real_labels_name_selection(shared_data):
    """CheXpert: the published graph leaves out more, the revision's misfits are negative."""
    from cxrcausal.data import read_table

    raw = pd.read_csv(shared_data / "metadata" / "chexpert_metadata.csv.gz", nrows=30_000)
    table = read_table(raw, "chexpert")
    published, extended = load_graph("cxr19"), load_graph("cxr19-extended")
    found = published.falsify(table, "patient_id", compare=extended)
    assert len(found.misfits("cxr19")) > 3 * len(found.misfits("cxr19-extended"))
    own = found.table[found.table["graph"] == "cxr19-extended"]
    strongest = own[own["verdict"] == "excused"].iloc[0]
    assert {strongest["x"], strongest["y"]} == {"pneumothorax", "edema"}
    assert strongest["log_odds"] < -0.7
    assert "imaged_and_mentioned" in strongest["excused_by"]
    alone = own.loc[(own["y"] == "dataset") & (own["x"] != "race"), "note"]
    assert set(alone) == {"dataset has a single value in these rows"}
