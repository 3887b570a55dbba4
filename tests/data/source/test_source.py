"""A source is one module that says whose data it reads, from which columns and on what terms."""

import pandas as pd
import pytest

from cxrcausal.data import Source, list_sources, load_source, read_table, register_source
from cxrcausal.data.source import source as registry
from cxrcausal.errors import TableError
from cxrcausal.graph import load_graph

GRAPH = load_graph("cxr-minimal")


@pytest.mark.parametrize("name", list_sources())
def test_every_source_says_what_it_is(name):
    source = load_source(name)
    assert source.name == name
    assert source.title
    variables = set(load_graph("cxr19").variables)
    assert set(source.columns) <= variables | {"image", "patient_id", "study_id", "split"}
    assert set(source.mapping) <= set(source.columns)
    assert set(source.never_labelled) <= variables - set(source.columns)
    if source.files:
        assert source.licence
        assert source.citation
        assert source.image_layout
        assert source.ages
        assert bool(source.not_mentioned) == source.has_reports
        covered = set(source.columns) | set(source.never_labelled) | {"dataset"}
        assert variables <= covered, "each variable is read from somewhere, or never labelled"


def test_an_unknown_source_is_refused_with_the_nearest():
    with pytest.raises(TableError, match=r"'chexprt' is not known; did you mean 'chexpert'\?"):
        load_source("chexprt")


def test_a_source_of_ones_own(monkeypatch):
    """A name and a reader; it joins by its name alone, and takes no other's."""
    monkeypatch.setattr(registry, "_REGISTERED", {})

    def read(frame, graph, policies, notes):
        notes["years from months"] = len(frame)
        return {"age": frame["months"] // 12, "sex": frame["s"].map({"f": "Female", "m": "Male"})}

    mine = Source(name="ward", title="our ward", read=read)
    assert register_source(mine) is mine
    assert "ward" in list_sources()
    table = read_table(
        pd.DataFrame({"months": [500.0, 600.0], "s": ["f", "m"]}), source="ward", graph=GRAPH
    )
    assert table["age"].tolist() == [41.0, 50.0]
    assert table["sex"].tolist() == ["Female", "Male"]
    assert table.attrs["cxrcausal"]["notes"] == {"years from months": 2}
    assert set(table.attrs["cxrcausal"]["never_labelled"]) == {"view", "effusion"}
    register_source(mine)  # once more is the same
    with pytest.raises(TableError, match="there is another source 'nih', of ChestX-ray14"):
        register_source(Source(name="nih", title="another", read=read))


def test_the_former_name_of_an_image_list_warns():
    row = {
        "image": "a.png",
        "patient_id": "p",
        "source": "nih",
        "age": 40,
        "sex": "F",
        "view": "PA",
    }
    columns = load_source("image_list").columns
    labels = {column: 0 for name, column in columns.items() if column not in row}
    frame = pd.DataFrame([row | labels])
    with pytest.warns(FutureWarning, match="'films' is called 'image_list', and only that from"):
        old = read_table(frame, source="films")
    pd.testing.assert_frame_equal(old, read_table(frame, source="image_list"))
