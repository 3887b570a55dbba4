"""Contradictions, leaks and gaps that were planted in a table are found with their rows."""

import time

import numpy as np
import pandas as pd
import pytest

from cxrcausal.data import audit_table, read_table, write_audit
from cxrcausal.data.source import FINDINGS
from cxrcausal.errors import TableError
from cxrcausal.graph import load_graph

GRAPH = load_graph("cxr19")


@pytest.fixture
def table():
    """400 rows of 200 patients without a fault."""
    rng = np.random.default_rng(0)
    data = {}
    for name, variable in GRAPH.variables.items():
        if variable.is_discrete and variable.levels[0] != "negative":
            levels = rng.choice(variable.levels[:2], 200).repeat(2)
        else:
            levels = np.where(rng.random(400) < 0.15, "positive", "negative")
        if variable.is_discrete:
            data[name] = pd.Categorical(levels, categories=variable.levels)
    data["age"] = rng.integers(20, 90, 200).repeat(2).astype(float)
    table = pd.DataFrame(data, index=[f"r{i}" for i in range(400)])
    for above, below in {
        "consolidation": ["pneumonia"],
        "lung_opacity": ["edema", "consolidation", "pneumonia", "lung_lesion", "atelectasis"],
        "enlarged_cardiomediastinum": ["cardiomegaly"],
    }.items():
        table.loc[(table[below] == "positive").any(axis=1), above] = "positive"
    sick = (table[list(GRAPH.parents("no_finding"))] == "positive").any(axis=1)
    table["no_finding"] = pd.Categorical(
        np.where(sick, "negative", "positive"), categories=["negative", "positive"]
    )
    table["patient_id"] = [f"own-{i // 2:03}" for i in range(400)]
    table["image"] = [f"film{i:03}.png" for i in range(400)]
    table["split"] = np.where(np.arange(400) < 300, "train", "test")
    return table


def test_a_table_without_a_fault_has_nothing_to_mend(table):
    audit = audit_table(table, split="split")
    assert [f.said for f in audit.findings if f.weight == "act"] == []
    assert audit.named("hierarchy") is None
    assert audit.numbers["patients"] == 200
    assert "no patient is in two parts" in audit.named("split").said


def test_a_summary_that_contradicts_its_definition(table):
    sick = table.index[table["edema"] == "positive"][:3]
    table.loc[sick, "no_finding"] = "positive"
    well = table.index[table["no_finding"] == "positive"].difference(sick)[:2]
    table.loc[well, "no_finding"] = "negative"
    audit = audit_table(table)
    assert audit.findings[0].name == "definition_positive"
    assert list(audit.findings[0].rows["row"]) == list(sick)
    assert "edema" in audit.findings[0].rows["positive"][0]
    assert audit.named("definition_negative").count == 2


def test_a_finding_without_what_includes_it(table):
    rows = table.index[table["cardiomegaly"] == "positive"][:5]
    table.loc[rows, "enlarged_cardiomediastinum"] = "negative"
    found = audit_table(table).named("hierarchy")
    assert found.count == 5
    assert found.rows.iloc[0].to_dict()["negative"] == "enlarged_cardiomediastinum"


def test_patients_on_both_sides_and_of_two_sexes(table):
    table.loc["r10", "split"] = "test"
    table.loc["r20", "sex"] = {"Female": "Male", "Male": "Female"}[table.loc["r20", "sex"]]
    audit = audit_table(table, split="split")
    assert audit.named("leakage").count == 1
    assert set(audit.named("leakage").rows["row"]) == {"r10", "r11"}
    assert set(audit.named("patient_sex").rows["row"]) == {"r20", "r21"}


def test_rows_of_nobody_and_radiographs_in_two_rows(table):
    table.loc["r5", "patient_id"] = np.nan
    table.loc["r6", "image"] = table.loc["r7", "image"]
    table.loc["r8", "image"] = np.nan
    audit = audit_table(table)
    assert list(audit.named("no_patient").rows["row"]) == ["r5"]
    assert set(audit.named("image_twice").rows["row"]) == {"r6", "r7"}
    assert audit.named("no_image").count == 1
    assert audit_table(table.drop(columns="patient_id")).named("no_patients").weight == "act"


def test_unknown_and_rare_levels_are_said(table):
    table["race"] = np.nan
    table.loc[table.index[:300], "fracture"] = np.nan
    table["pneumothorax"] = pd.Categorical(["negative"] * 400, ["negative", "positive"])
    audit = audit_table(table)
    assert "race" in audit.named("never_labelled").said
    assert "fracture (75%)" in audit.named("mostly_unknown").said
    assert "pneumothorax = positive (0)" in audit.named("rare").said
    unknown = audit.tables["Unknown cells"].set_index("variable")["share"]
    assert unknown["race"] == 1.0
    assert unknown["fracture"] == 0.75


def test_prevalences_are_those_of_the_rows(table):
    table.loc[table.index[:50], "edema"] = np.nan
    lines = audit_table(table).tables["Prevalence"].set_index(["finding", "by", "group"])
    rows = table[table["sex"] == "Male"]
    line = lines.loc[("edema", "sex", "Male")]
    assert line["known"] == rows["edema"].notna().sum()
    expected = (rows["edema"] == "positive").sum() / line["known"]
    assert line["prevalence"] == pytest.approx(expected, abs=1e-5)
    bands = [group for name, by, group in lines.index if (name, by) == ("edema", "age")]
    assert bands == ["18-39", "40-59", "60-79", "80+"]


def test_a_finding_that_a_view_gives_away(table):
    big = pd.concat([table] * 10, ignore_index=True)
    ap = (big["view"] == "AP").to_numpy()
    rng = np.random.default_rng(1)
    said = np.where(rng.random(len(big)) < np.where(ap, 0.6, 0.05), "positive", "negative")
    big["support_devices"] = pd.Categorical(said, categories=["negative", "positive"])
    found = audit_table(big).named("shortcut")
    assert "support_devices by view" in found.said
    assert found.rows.iloc[0]["highest in"] == "AP"


def test_an_age_that_stands_for_older_ones_is_said(table):
    assert audit_table(table).named("top_coded") is None  # no pile: the ages are even
    table["age"] = table["age"].where(table["age"] < 70, 70.0)
    found = audit_table(table).named("top_coded")
    assert found.count == (table["age"] == 70).sum()
    assert f"{found.count} rows have age 70, the highest" in found.said


def test_one_data_set_is_no_group_of_its_own(table):
    of_two = audit_table(table).tables["Prevalence"]
    table["dataset"] = table["dataset"].cat.categories[0]
    of_one = audit_table(table).tables["Prevalence"]
    assert set(of_two["by"]) - set(of_one["by"]) == {"dataset"}


def test_what_was_remarked_on_reading_is_passed_on():
    frame = pd.DataFrame(
        {"Path": ["a/patient00001/study1/v1.jpg"] * 2, "Sex": ["Unknown", "Male"], "Age": [0, 50],
         "Frontal/Lateral": "Frontal", "AP/PA": "AP"}
    )  # fmt: skip
    frame[list(FINDINGS)] = np.nan
    table = read_table(frame, source="chexpert")
    said = " ".join(finding.said for finding in audit_table(table).findings)
    assert "age 0 read as unknown" in said
    assert "sex 'Unknown' read as unknown" in said


def test_what_cannot_be_audited_is_refused(table):
    with pytest.raises(TableError, match="'splt' that says the split; did you mean 'split'"):
        audit_table(table, split="splt")
    with pytest.raises(TableError, match="nothing of graph 'cxr19' to audit"):
        audit_table(pd.DataFrame({"x": [1]}))
    with pytest.raises(TableError, match="0 rows"):
        audit_table(table.iloc[:0])


def test_the_table_is_not_changed(table, tmp_path):
    before = table.copy()
    write_audit(audit_table(table, split="split"), tmp_path / "report.html", table)
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.slow
def test_the_shared_tables_take_less_than_a_minute(shared_data, tmp_path):
    files = {"nih": "nih_train.csv.gz", "chexpert": "chexpert_metadata.csv.gz"}
    begun = time.process_time()
    for source, name in files.items():
        table = read_table(shared_data / "metadata" / name, source=source)
        write_audit(audit_table(table), tmp_path / f"{source}.html", table)
    assert time.process_time() - begun < 60
