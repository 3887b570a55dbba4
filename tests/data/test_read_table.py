"""Every source's table becomes the graph's, silence and uncertainty by named policies only."""

import gzip
from io import StringIO

import numpy as np
import pandas as pd
import pytest

from cxrcausal.data import read_table, soft_evidence
from cxrcausal.errors import GraphError, TableError
from cxrcausal.graph import load_graph

NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"
)
CHEXPERT_FINDINGS = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,"
    "Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,"
    "Support Devices"
)
FINDINGS = [name.lower().replace(" ", "_") for name in CHEXPERT_FINDINGS.split(",")]


def nih(*rows):
    """ChestX-ray14 rows from (labels, patient, age, sex, view), in the owner's own layout."""
    lines = [
        f"{patient:08}_000.png,{labels},0,{patient},{age},{sex},{view},2682,2749,0.143,0.143"
        for labels, patient, age, sex, view in rows
    ]
    return pd.read_csv(StringIO(NIH_HEADER + "\n".join(lines)))


def one(labels, **policies):
    """The row that one list of NIH labels becomes."""
    return read_table(nih((labels, 1, 57, "M", "PA")), "nih", **policies).iloc[0]


def chexpert(*rows, path="CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg"):
    """CheXpert rows from (sex, age, side, projection, labels by name), in the owner's layout."""
    lines = []
    for sex, age, side, projection, labels in rows:
        cells = [str(labels.get(name, "")) for name in CHEXPERT_FINDINGS.split(",")]
        lines.append(",".join([path, sex, str(age), side, projection, *cells]))
    header = f"Path,Sex,Age,Frontal/Lateral,AP/PA,{CHEXPERT_FINDINGS}\n"
    return pd.read_csv(StringIO(header + "\n".join(lines)))


def radiographs_csv(*rows):
    """An image list from (image, source, patient, age, sex, view, labels by name)."""
    lines = []
    for image, source, patient, age, sex, view, labels in rows:
        cells = [str(labels.get(name, "")) for name in CHEXPERT_FINDINGS.split(",")]
        lines.append(",".join([image, source, patient, age, sex, view, *cells, "by hand"]))
    return f"image,source,patient_id,age,sex,view,{CHEXPERT_FINDINGS},license\n" + "\n".join(lines)


# --- ChestX-ray14


def test_nih_golden():
    table = read_table(
        nih(
            ("Cardiomegaly|Effusion", 1, 57, "M", "PA"),
            ("No Finding", 13, 60, "F", "AP"),
            ("Infiltration|Mass", 2, 0, "F", "PA"),
        ),
        source="nih",
    )
    graph = load_graph("cxr19")
    assert list(table) == [*graph.variables, "patient_id", "image"]
    assert table["patient_id"].tolist() == ["nih-00000001", "nih-00000013", "nih-00000002"]
    assert table["image"].tolist() == ["00000001_000.png", "00000013_000.png", "00000002_000.png"]
    assert table["dataset"].tolist() == ["NIH"] * 3
    assert table["age"].tolist() == [57.0, 60.0, 0.0]
    assert table["sex"].tolist() == ["Male", "Female", "Female"]
    assert table["view"].tolist() == ["PA", "AP", "PA"]
    positive = [set(row.index[row == "positive"]) for _, row in table.iterrows()]
    assert positive[0] == {"cardiomegaly", "pleural_effusion"}
    assert positive[1] == {"no_finding"}
    assert positive[2] == {"lung_opacity", "lung_lesion"}
    never = ["race", "fracture", "enlarged_cardiomediastinum", "support_devices"]
    assert table[never].isna().all(axis=None)
    assert table.drop(columns=never).notna().all(axis=None)
    record = table.attrs["cxrcausal"]
    assert record["never_labelled"] == never
    assert record["policies"] == {"not_mentioned": "negative", "uncertain": "unknown"}
    assert (record["source"], record["graph"], record["notes"]) == ("nih", "cxr19", {})


def test_columns_have_the_graphs_levels():
    table = read_table(nih(("No Finding", 1, 57, "M", "PA")), "nih")
    for name, variable in load_graph("cxr19").variables.items():
        if variable.is_discrete:
            assert tuple(table[name].cat.categories) == variable.levels
            assert not table[name].cat.ordered  # nothing in this graph is ordinal
        else:
            assert table[name].dtype == np.float64


@pytest.mark.parametrize(
    ("nih_label", "ours"),
    [
        ("Cardiomegaly", "cardiomegaly"),
        ("Edema", "edema"),
        ("Consolidation", "consolidation"),
        ("Pneumonia", "pneumonia"),
        ("Atelectasis", "atelectasis"),
        ("Pneumothorax", "pneumothorax"),
        ("Effusion", "pleural_effusion"),
        ("Infiltration", "lung_opacity"),
        ("Mass", "lung_lesion"),
        ("Nodule", "lung_lesion"),
        ("Pleural_Thickening", "pleural_other"),
    ],
)
def test_each_nih_label_is_one_finding(nih_label, ours):
    row = one(nih_label)
    assert row.index[row == "positive"].tolist() == [ours]
    assert row["no_finding"] == "negative"


@pytest.mark.parametrize("label", ["Emphysema", "Fibrosis", "Hernia"])
def test_a_label_without_a_counterpart_still_is_a_finding(label):
    row = one(label)
    assert row["no_finding"] == "negative"
    assert not (row == "positive").any()


@pytest.mark.parametrize(
    ("labels", "opacity"),
    [
        ("Infiltration", "positive"),
        ("Infiltration|Pneumonia", "positive"),
        ("No Finding", "negative"),
        ("Effusion|Cardiomegaly|Pneumothorax|Pleural_Thickening|Emphysema|Hernia", "negative"),
        *[
            (label, None)
            for label in (
                *("Edema", "Consolidation", "Pneumonia", "Atelectasis"),
                *("Mass", "Nodule", "Fibrosis", "Effusion|Fibrosis"),
            )
        ],
    ],
)
def test_opacity_is_unknown_where_nih_lists_what_makes_one(labels, opacity):
    found = one(labels)["lung_opacity"]
    assert pd.isna(found) if opacity is None else found == opacity


def test_an_nih_finding_that_is_not_listed_follows_the_policy():
    assert one("Effusion")["edema"] == "negative"
    silent = one("Effusion", not_mentioned="unknown")
    assert silent["pleural_effusion"] == "positive"
    assert pd.isna(silent["edema"])
    assert pd.isna(silent["lung_opacity"])
    assert silent["no_finding"] == "negative"
    # 'No Finding' does mention them all
    healthy = one("No Finding", not_mentioned="unknown")
    assert healthy[["edema", "lung_opacity"]].tolist() == ["negative", "negative"]


def test_ages_of_the_first_edition_are_completed_years():
    ages = ["058Y", "013M", "004D", "033"]
    table = read_table(nih(*(("No Finding", i, a, "M", "PA") for i, a in enumerate(ages))), "nih")
    assert table["age"].tolist() == [58.0, 1.0, 0.0, 33.0]


def test_an_impossible_age_is_unknown_and_counted():
    table = read_table(nih(*(("No Finding", i, a, "F", "PA") for i, a in enumerate((110, 414)))))
    assert table["age"].tolist()[0] == 110.0
    assert pd.isna(table["age"].iloc[1])
    assert table.attrs["cxrcausal"]["notes"] == {"age out of bounds": 1}


def test_contradictions_of_no_finding_are_counted_and_left_as_written():
    table = read_table(
        nih(
            ("No Finding|Edema", 1, 5, "M", "PA"),
            ("Hernia", 2, 5, "M", "PA"),
            ("Edema", 3, 5, "M", "PA"),
            ("No Finding", 4, 5, "M", "PA"),
        )
    )
    assert table["no_finding"].tolist() == ["positive", "negative", "negative", "positive"]
    assert table["edema"].tolist() == ["positive", "negative", "positive", "negative"]
    assert table.attrs["cxrcausal"]["notes"] == {
        "no_finding positive beside a finding": 1,
        "no_finding negative without a finding": 1,
    }


def test_an_empty_list_of_labels_is_unknown():
    frame = nih(("No Finding", 1, 5, "M", "PA"), ("Edema", 2, 5, "M", "PA"))
    frame.loc[1, "Finding Labels"] = np.nan
    table = read_table(frame)
    assert table.loc[1, FINDINGS].isna().all()
    assert table.loc[0, "edema"] == "negative"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"Finding Labels": "Edema|Pneumonai"},
            "'Finding Labels', row 'b': 'Pneumonai' is not a finding.*did you mean 'Pneumonia'",
        ),
        ({"Patient Gender": "X"}, "'Patient Gender', row 'b': found 'X'.*Allowed: 'F', 'M'"),
        ({"View Position": "LL"}, "'View Position', row 'b': found 'LL'.*Allowed: 'PA', 'AP'"),
        ({"Patient Age": "old"}, "'Patient Age', row 'b': 'old' is not a number"),
        (
            {"Patient Age": 58.5},
            "column 'Patient Age': column 'age', row 'b': found 58.5.*steps of 1",
        ),
        ({"Patient Age": "58.5"}, "column 'Patient Age': column 'age', row 'b': found 58.5"),
        ({"Patient ID": -3}, "'Patient ID', row 'b': a patient id is a whole number"),
    ],
)
def test_a_value_that_nih_does_not_have_names_column_row_and_what_is_allowed(change, words):
    frame = nih(("No Finding", 1, 5, "M", "PA"), ("Edema", 2, 5, "M", "PA"))
    frame.index = ["a", "b"]
    for column, value in change.items():
        frame[column] = frame[column].astype(object)
        frame.loc["b", column] = value
    with pytest.raises(TableError, match=words):
        read_table(frame)


# --- CheXpert


def test_chexpert_golden():
    table = read_table(
        chexpert(
            ("Female", 68, "Frontal", "AP", {"No Finding": 1.0, "Support Devices": 1.0}),
            ("Male", 90, "Lateral", "", {"Edema": 1.0, "Pneumonia": -1.0, "Pneumothorax": 0.0}),
        ),
        source="chexpert",
    )
    first, second = table.iloc[0], table.iloc[1]
    assert first["patient_id"] == "chexpert-patient00001"
    assert first["image"].startswith("CheXpert-v1.0-small/train/patient00001/")
    assert table["dataset"].tolist() == ["CheXpert-Plus"] * 2
    assert table["sex"].tolist() == ["Female", "Male"]
    assert table["age"].tolist() == [68.0, 90.0]
    assert table["view"].tolist() == ["AP", "LATERAL"]
    assert set(first.index[first == "positive"]) == {"no_finding", "support_devices"}
    assert set(second.index[second == "positive"]) == {"edema"}
    assert pd.isna(second["pneumonia"])
    assert second["no_finding"] == "negative"
    assert second["fracture"] == "negative"
    assert table.attrs["cxrcausal"]["never_labelled"] == ["race"]
    # support devices are no finding, so the first row contradicts nothing
    assert table.attrs["cxrcausal"]["notes"] == {}


@pytest.mark.parametrize(
    ("uncertain", "level"), [("unknown", None), ("negative", "negative"), ("positive", "positive")]
)
def test_the_uncertain_policy(uncertain, level):
    frame = chexpert(("Male", 50, "Frontal", "PA", {"Edema": -1}))
    found = read_table(frame, "chexpert", uncertain=uncertain)
    assert pd.isna(found["edema"].iloc[0]) if level is None else found["edema"].iloc[0] == level
    assert found.attrs["cxrcausal"]["policies"]["uncertain"] == uncertain


def test_uncertain_as_soft_evidence():
    """Unknown, with a column that says how much likelier a mention is of what is there."""
    words = [{"Edema": 1}, {"Edema": 0}, {"Edema": -1}, {}, {}, {"Pneumonia": 1}]
    frame = chexpert(*[("Male", 60, "Frontal", "AP", labels) for labels in words])
    table = read_table(frame, "chexpert", uncertain="likelihood")
    assert table["edema"].isna().tolist() == [False, False, True, False, False, False]
    said = soft_evidence(table)
    assert list(said) == ["edema"]
    assert said["edema"].isna().tolist() == [True, True, False, True, True, True]
    assert said["edema"][2] == pytest.approx((1.5 + 3) / 1.5)  # one denied, three silent
    both = pd.concat([table, read_table(nih(("Mass", 1, 50, "F", "PA")), "nih")])
    assert soft_evidence(both)["edema"].notna().sum() == 1
    with pytest.raises(TableError, match=r"'likelihood' compares.*found 'unknown'"):
        read_table(frame, "chexpert", uncertain="likelihood", not_mentioned="unknown")


def test_the_not_mentioned_policy_of_chexpert():
    frame = chexpert(("Male", 50, "Frontal", "PA", {"Edema": 1, "Fracture": 0}))
    row = read_table(frame, "chexpert", not_mentioned="unknown").iloc[0]
    assert (row["edema"], row["fracture"]) == ("positive", "negative")
    assert row[FINDINGS].drop(["edema", "fracture", "no_finding"]).isna().all()
    # the labeller writes this summary only as 1: silence is negative under every policy
    assert row["no_finding"] == "negative"


def test_chexpert_cells_that_are_not_as_written_are_counted():
    table = read_table(
        chexpert(
            ("Unknown", 0, "Frontal", "LL", {"Edema": 1}),
            ("Male", 0, "Frontal", "PA", {"No Finding": 1, "Edema": 1}),
            ("Male", 44, "Frontal", "PA", {"Support Devices": 1}),
        ),
        "chexpert",
    )
    assert table["age"].isna().tolist() == [True, True, False]
    assert table["sex"].isna().tolist() == [True, False, False]
    assert table["view"].tolist() == ["LATERAL", "PA", "PA"]
    assert table["no_finding"].tolist() == ["negative", "positive", "negative"]
    assert table.attrs["cxrcausal"]["notes"] == {
        "age 0 read as unknown": 2,
        "sex 'Unknown' read as unknown": 1,
        "view marked Frontal but LL or RL, read as LATERAL": 1,
        "no_finding positive beside a finding": 1,
        "no_finding negative without a finding": 1,
    }


def test_a_chexpert_path_without_a_patient_is_refused():
    frame = chexpert(("Male", 50, "Frontal", "PA", {}), path="train/p1/view1.jpg")
    with pytest.raises(
        TableError, match=r"'Path', row 0: 'train/p1/view1.jpg' does not name a pat"
    ):
        read_table(frame, "chexpert")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("Male", 50, "Frontal", "PA", {"Edema": 2}), "'Edema', row 0: found 2.0.*Allowed"),
        (("Male", 50, "Oblique", "PA", {}), "'Frontal/Lateral', row 0: found 'Oblique'"),
        (("Man", 50, "Frontal", "PA", {}), "'Sex', row 0: found 'Man'.*Allowed: 'Female', 'Male'"),
    ],
)
def test_a_value_that_chexpert_does_not_have_is_refused(row, words):
    with pytest.raises(TableError, match=words):
        read_table(chexpert(row), "chexpert")


# --- image lists and tables in the graph's own layout


def test_radiographs_golden(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    text = radiographs_csv(
        ("images/a.png", "nih-chestxray14", "nih-00000007", "61", "F", "PA", {"Edema": 1}),
        ("images/b.png", "hannover-covid19", "hannover-3", "", "", "unknown", {"Edema": 0}),
        ("images/c.png", "covid", "covidcxr-9", "40", "M", "LATERAL", {"No Finding": 1}),
    )
    (folder / "images.csv").write_text(text)
    table = read_table(folder / "images.csv", source="image_list", keep=["license"])
    assert table["dataset"].iloc[0] == "NIH"
    assert table["dataset"].iloc[1:].isna().all()  # not one of the graph's sources
    assert table["image"].tolist() == [str(folder / "images" / f"{c}.png") for c in "abc"]
    assert table["patient_id"].tolist() == ["nih-00000007", "hannover-3", "covidcxr-9"]
    assert table["age"].tolist()[::2] == [61.0, 40.0]
    assert table.loc[1, ["age", "sex", "view"]].isna().all()
    assert table["edema"].tolist()[:2] == ["positive", "negative"]
    assert pd.isna(table["edema"].iloc[2])  # an empty cell of a list is unknown: no policy applies
    assert table["license"].tolist() == ["by hand"] * 3
    record = table.attrs["cxrcausal"]
    assert record["policies"] == {}
    assert {"race", "fracture"} <= set(record["never_labelled"])
    assert "edema" not in record["never_labelled"]


def test_every_data_set_of_the_graph_can_be_named_in_a_list():
    sources = {
        "mimic-cxr": "MIMIC-CXR",
        "chexpert": "CheXpert-Plus",
        "CheXpert-Plus": "CheXpert-Plus",
        "padchest": "PadChest",
        "brax": "BRAX",
        "NIH": "NIH",
        "vindr-cxr": "VinDr-CXR",
        "rexgradient": "ReXGradient",
        "hannover-covid19": None,
    }
    assert {s for s in sources.values() if s} == set(
        load_graph("cxr19").variables["dataset"].levels
    )
    rows = [(f"{s}.png", s, s, "50", "F", "PA", {"Edema": 1}) for s in sources]
    table = read_table(pd.read_csv(StringIO(radiographs_csv(*rows))), source="image_list")
    assert table["dataset"].astype(object).where(table["dataset"].notna(), None).tolist() == list(
        sources.values()
    )
    notes = table.attrs["cxrcausal"]["notes"]
    assert notes == {"source is none of the graph's data sets": 1}


def test_images_may_lie_elsewhere(tmp_path):
    table = read_table(nih(("No Finding", 1, 5, "M", "PA")), images=tmp_path)
    assert table["image"].tolist() == [str(tmp_path / "00000001_000.png")]


def test_a_table_in_the_graphs_own_layout_comes_back_as_it_is():
    table = read_table(nih(("Edema", 1, 5, "M", "PA"), ("No Finding", 2, 6, "F", "AP")))
    text = table.assign(sex=[1, 0], edema=[True, False], note="x").astype({"view": "str"})
    again = read_table(text, source="graph")
    pd.testing.assert_frame_equal(again, table)
    assert again.attrs["cxrcausal"]["source"] == "graph"
    without_ids = read_table(text.drop(columns=["patient_id", "image"]), source="graph")
    assert list(without_ids) == list(load_graph("cxr19").variables)


def test_a_table_in_the_graphs_own_layout_is_checked():
    table = read_table(nih(("Edema", 1, 5, "M", "PA"))).astype({"sex": "str"})
    with pytest.raises(TableError, match=r"'sex', row 0: found 'Mael'.*did you mean 'Male'"):
        read_table(table.assign(sex="Mael"), source="graph")
    some = read_table(table.drop(columns="edema"), source="graph")
    assert some["edema"].isna().all()
    assert some.attrs["cxrcausal"]["never_labelled"].count("edema") == 1


# --- what holds for all


def test_any_index_is_kept_and_the_input_is_not_modified():
    frame = nih(("Edema", 1, 5, "M", "PA"), ("No Finding", 2, 6, "F", "AP"))
    frame.index = pd.MultiIndex.from_tuples([("x", 3), ("x", 1)], names=["site", "row"])
    before = frame.copy(deep=True)
    table = read_table(frame)
    assert table.index.equals(frame.index)
    pd.testing.assert_frame_equal(frame, before)


def test_a_graph_with_fewer_variables_gets_only_those(tmp_path):
    small = tmp_path / "small.yaml"
    small.write_text(
        "name: small\nversion: 1\nvariables:\n"
        "  sex: {kind: binary, levels: [Female, Male]}\n"
        "  edema: {kind: binary, levels: [negative, positive]}\n"
        "  smoker: {kind: binary, levels: [negative, positive]}\n"
        "edges:\n  - {from: sex, to: edema, kind: risk, rationale: a test}\n"
    )
    table = read_table(nih(("Edema", 1, 5, "M", "PA")), graph=small)
    assert list(table) == ["sex", "edema", "smoker", "patient_id", "image"]
    assert table.attrs["cxrcausal"]["never_labelled"] == ["smoker"]


def test_a_compressed_file_reads_like_a_table(tmp_path):
    frame = nih(("Edema", 1, 5, "M", "PA"))
    path = tmp_path / "entry.csv.gz"
    path.write_bytes(gzip.compress(frame.to_csv(index=False).encode()))
    pd.testing.assert_frame_equal(read_table(path), read_table(frame))


def test_both_sources_stack_into_one_table():
    both = pd.concat(
        [
            read_table(nih(("Edema", 1, 5, "M", "PA"))),
            read_table(chexpert(("Male", 50, "Frontal", "PA", {})), "chexpert"),
        ]
    )
    assert both["dataset"].tolist() == ["NIH", "CheXpert-Plus"]
    assert isinstance(both["race"].dtype, pd.CategoricalDtype)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"source": "nhi"}, "source 'nhi' is not known; did you mean 'nih'.*Allowed: 'brax'"),
        ({"uncertain": "maybe"}, "policy uncertain='maybe' is not known.*'unknown', 'negative'"),
        ({"not_mentioned": "negativ"}, "did you mean 'negative'"),
        ({"keep": ["Follow-up"]}, "'Follow-up'; did you mean 'Follow-up #'"),
        ({"keep": ["patient_id"]}, "cannot keep 'patient_id'"),
    ],
)
def test_an_unknown_option_names_the_nearest(options, words):
    with pytest.raises(TableError, match=words):
        read_table(nih(("Edema", 1, 5, "M", "PA")), **options)


def test_a_missing_column_names_the_nearest():
    frame = nih(("Edema", 1, 5, "M", "PA")).rename(columns={"View Position": "Views Position"})
    words = "source 'nih' needs the column 'View Position'; did you mean 'Views Position'"
    with pytest.raises(TableError, match=words):
        read_table(frame)


def test_a_repeated_column_is_refused():
    frame = nih(("Edema", 1, 5, "M", "PA"))
    frame = pd.concat([frame, frame[["Patient Age"]]], axis=1)
    with pytest.raises(TableError, match="column 'Patient Age' stands 2 times"):
        read_table(frame)


def test_an_unknown_graph_is_a_graph_error():
    with pytest.raises(GraphError, match="cxr91"):
        read_table(nih(("Edema", 1, 5, "M", "PA")), graph="cxr91")


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(TableError, match=r"no table at .*nowhere.csv"):
        read_table(tmp_path / "nowhere.csv")
    damaged = tmp_path / "damaged.csv.gz"
    whole = gzip.compress(nih(("Edema", 1, 5, "M", "PA")).to_csv(index=False).encode())
    damaged.write_bytes(whole[: len(whole) // 2])
    empty = tmp_path / "empty.csv"
    empty.write_bytes(b"")
    binary = tmp_path / "binary.csv"
    binary.write_bytes(bytes(range(128, 256)) * 4)
    for path in (damaged, empty, binary):
        with pytest.raises(TableError, match=f"{path.name}.*cannot be read as a CSV table"):
            read_table(path)


@pytest.mark.parametrize("header", ["", ","], ids=["as in 2020", "ending in a comma"])
@pytest.mark.parametrize("end", ["", ","], ids=["rows", "rows ending in a comma"])
def test_a_comma_at_the_end_is_no_field(tmp_path, header, end):
    """The header of NIH's first edition ends in a comma, and its rows do."""
    frame = nih(("Edema", 1, 5, "M", "PA"), ("No Finding", 2, 6, "F", "AP"))
    first, *rest = frame.to_csv(index=False).splitlines()
    path = tmp_path / "Data_Entry_2017.csv"
    path.write_text("\n".join([first + header, *(line + end for line in rest)]))
    pd.testing.assert_frame_equal(read_table(path), read_table(frame))


@pytest.mark.parametrize("strange", [[0], [1], [0, 1]])
def test_rows_with_more_fields_than_the_header_are_refused(tmp_path, strange):
    """Read as pandas does by itself, every value would stand in its neighbour's column."""
    frame = nih(("Edema", 1, 5, "M", "PA"), ("No Finding", 2, 6, "F", "AP"))
    first, *rest = frame.to_csv(index=False).splitlines()
    rest = [line + ",x" if i in strange else line for i, line in enumerate(rest)]
    (tmp_path / "long.csv").write_text("\n".join([first, *rest]))
    with pytest.raises(TableError, match=r"long\.csv'.*(more fields than its header|saw 12)"):
        read_table(tmp_path / "long.csv")


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_file_of_one_column_is_said_to_be_one(tmp_path, separator):
    path = tmp_path / "entry.csv"
    nih(("Edema", 1, 5, "M", "PA")).to_csv(path, sep=separator, index=False)
    with pytest.raises(TableError, match=r"entry\.csv' has one column, 'Image Index.*by commas"):
        read_table(path)


@pytest.mark.parametrize("path", [None, [1], 3])
def test_what_is_neither_file_nor_table_is_refused(path):
    with pytest.raises(TableError, match=r"path is .*; give a CSV file or a pandas DataFrame"):
        read_table(path)


def test_one_column_can_be_kept_by_its_name():
    table = read_table(nih(("Edema", 1, 5, "M", "PA")), keep="Follow-up #")
    assert table["Follow-up #"].tolist() == [0]


# --- the real tables


def test_the_shared_nih_table(shared_data):
    table = read_table(shared_data / "metadata" / "nih_train.csv.gz", source="nih")
    raw = pd.read_csv(shared_data / "metadata" / "nih_train.csv.gz")
    assert len(table) == 89_650
    assert table["patient_id"].nunique() == 24_732
    # the README: opacity is unknown in about 18 %
    assert 0.175 < table["lung_opacity"].isna().mean() < 0.19
    listed = raw["Finding Labels"].str.get_dummies("|").astype(bool)
    assert ((table["no_finding"] == "positive") == listed["No Finding"]).all()
    lesion = listed["Mass"] | listed["Nodule"]
    assert ((table["lung_lesion"] == "positive") == lesion).all()
    assert (table["age"] == raw["Patient Age"]).all()


def test_the_shared_chexpert_table(shared_data):
    path = shared_data / "metadata" / "chexpert_metadata.csv.gz"
    table, raw = read_table(path, source="chexpert"), pd.read_csv(path)
    assert len(table) == 178_793
    assert table["patient_id"].nunique() == 51_647
    for name in CHEXPERT_FINDINGS.split(","):
        ours = table[name.lower().replace(" ", "_")]
        assert ((ours == "positive") == (raw[name] == 1)).all()
        assert (ours.isna() == (raw[name] == -1)).all()
    notes = table.attrs["cxrcausal"]["notes"]
    assert notes["age 0 read as unknown"] == 3
    assert notes["sex 'Unknown' read as unknown"] == 1
    assert notes["view marked Frontal but LL or RL, read as LATERAL"] == 12
    assert int((table["view"] == "LATERAL").sum()) == 25_987 + 12
    # silence read as unknown leaves nearly only positive support devices
    silent = read_table(path, source="chexpert", not_mentioned="unknown")
    assert (silent["support_devices"].dropna() == "positive").mean() > 0.94


def test_the_radiographs_agree_with_the_table_on_the_radiographs_they_share(shared_data):
    """Two people mapped the same NIH labels; the adapter must give what the list's README says."""
    radiographs = read_table(
        shared_data / "cxr-real" / "images.csv", "image_list", keep=["source_id"]
    )
    radiographs = radiographs[radiographs["dataset"] == "NIH"]
    table = read_table(shared_data / "metadata" / "nih_train.csv.gz", "nih")
    table.index = table["image"].str.removesuffix(".png")
    table = table.loc[radiographs["source_id"]]
    for name in [*FINDINGS, "age", "sex", "view"]:
        ours, theirs = table[name].to_numpy(object), radiographs[name].to_numpy(object)
        assert ((ours == theirs) | (pd.isna(ours) & pd.isna(theirs))).all(), name
