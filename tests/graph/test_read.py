"""Graph files: what is written reads back; what is wrong is named by its line."""

import textwrap
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from random_graphs import graphs

from cxrcausal.errors import GraphError
from cxrcausal.graph import CausalGraph, list_graphs, load_graph

HEAD = """\
name: mine
variables:
  age: {kind: continuous, unit: years, bounds: [0, 110], resolution: 1}
  sex: {kind: binary, levels: [Female, Male]}
  view: {kind: nominal, levels: [PA, AP]}
  effusion: {kind: binary, levels: [no, yes]}
"""  # six lines


def read(body: str) -> CausalGraph:
    return CausalGraph.from_yaml(HEAD + textwrap.dedent(body))


@given(graphs(unseen=True, image=True))
def test_round_trip(graph):
    text = graph.to_yaml()
    assert CausalGraph.from_yaml(text) == graph
    assert CausalGraph.from_yaml(text).to_yaml() == text


@pytest.mark.parametrize("name", list_graphs())
def test_shipped_graphs_round_trip(name, tmp_path):
    graph = load_graph(name)
    path = tmp_path / "copy.yaml"
    text = graph.to_yaml(path)
    assert path.read_text(encoding="utf-8") == text
    assert load_graph(path) == load_graph(str(path)) == graph
    assert [p.name for p in tmp_path.iterdir()] == ["copy.yaml"]
    assert yaml.safe_load(text)["name"] == name


def test_words_are_taken_as_written():
    """YAML 1.1 reads `no` as a truth value and `1.10` as 1.1; a level and a version are words."""
    graph = read("version: 1.10\n")
    assert graph.variables["effusion"].levels == ("no", "yes")
    assert graph.version == "1.10"
    other = yaml.safe_load(graph.to_yaml())  # and other readers get them as words too
    assert other["variables"]["effusion"]["levels"] == ["no", "yes"]
    assert other["version"] == "1.10"


def test_one_entry_may_name_many_causes_and_effects():
    graph = read("""\
        edges:
          - {from: [age, sex], to: [view, effusion], kind: risk, source: me, rationale: why}
          - {from: view, to: effusion}
    """)
    assert len(graph.edges) == 5
    assert graph.edge("sex", "view").source_ref == "me"
    assert graph.edge("view", "effusion").kind is None
    assert "- {from: [age, sex], to: [view, effusion], kind: risk" in graph.to_yaml()


def test_merge_keys_lend_what_is_not_said():
    graph = CausalGraph.from_yaml("""\
variables:
  a: &finding {kind: binary, role: finding, levels: [negative, positive]}
  b: {<<: *finding, role: device}
""")
    assert graph.variables["b"].levels == ("negative", "positive")
    assert graph.variables["b"].role == "device"
    assert graph.name == "graph"


def test_optional_sections():
    assert not read("").has_image
    assert read("").image_parents == read("").hidden == read("").selection == ()
    assert read("image: {parents: []}").has_image
    assert read("image: {parents: age}").image_parents == ("age",)


@pytest.mark.parametrize(
    ("body", "line", "words"),
    [
        (
            "edgs: []",
            7,
            "a graph file has the unknown key 'edgs'; did you mean 'edges'? Allowed: name",
        ),
        ("name: again", 7, "a graph file has the key 'name' twice"),
        ("hidden: {}", 7, "hidden must be a list; found a mapping"),
        ("edges: age", 7, "edges must be a list; found 'age'"),
        ("edges:", 7, "edges must be a list; found nothing"),
        ("edges:\n- {from: age}", 8, "edges, entry 1 lacks to; it has: from"),
        (
            "edges:\n- [age, sex]",
            8,
            "edges, entry 1 must be a mapping of keys to values; found a list of 2",
        ),
        (
            "edges:\n- {from: age, too: sex}",
            8,
            "entry 1 has the unknown key 'too'; did you mean 'to'?",
        ),
        ("edges:\n- {from: age, to: }", 8, "edges, entry 1: to must be a list; found nothing"),
        ("edges:\n- {from: age, to: [[sex]]}", 8, "entry 1: to must be a word; found a list of 1"),
        (
            "edges:\n- {from: age, to: efusion}",
            8,
            "edge age -> efusion: to 'efusion' is not a variable; did you mean 'effusion'? "
            "Allowed: age, sex, view, effusion.",
        ),
        (
            "edges:\n- {from: agee, to: sex}",
            8,
            "edge agee -> sex: from 'agee' is not a variable; did you mean 'age'?",
        ),
        (
            "edges:\n- {from: age, to: sex}\n- {from: age, to: [view, sex]}",
            9,
            "edge age -> sex is declared twice",
        ),
        ("edges:\n- {from: age, to: age}", 8, "edge age -> age goes from a variable to itself"),
        (
            "edges:\n- {from: age, to: image}",
            8,
            "edge age -> image names the image; list the image's causes under image: parents",
        ),
        (
            "edges:\n- {from: age, to: sex, kind: rsk}",
            8,
            "edge age -> sex has kind 'rsk'; did you mean 'risk'? Allowed: context, risk, disease",
        ),
        (
            "edges:\n- {from: age, to: sex}\n- {from: sex, to: view}\n\n- {from: view, to: age}",
            11,
            "the arrows make a cycle: age -> sex -> view -> age",
        ),
        (
            "image: {parents: [age, vew]}",
            7,
            "image parent 'vew' is not a variable; did you mean 'view'?",
        ),
        ("image:\n  parents:\n  - age\n  - age", 9, "the image's parents repeat 'age'"),
        ("image: {rationale: why}", 7, "image lacks parents; it has: rationale"),
        ("image: [age]", 7, "image must be a mapping"),
        (
            "hidden:\n- {name: u, touches: [age, efusion]}",
            8,
            "hidden cause 'u' touches 'efusion' is not a variable; did you mean 'effusion'?",
        ),
        ("hidden:\n- {name: u, touches: age}", 8, "hidden cause 'u' touches 1 node"),
        ("hidden:\n- {touches: [age, sex]}", 8, "hidden, entry 1 lacks name"),
        ("hidden:\n- {name: u}", 8, "hidden, entry 1 lacks touches"),
        (
            "hidden:\n- {name: age, touches: [age, sex]}",
            8,
            "hidden 'age' has the name of a variable",
        ),
        (
            "selection:\n- {name: s, caused_by: [agee]}",
            8,
            "selection 's' is caused_by 'agee' is not a variable; did you mean 'age'?",
        ),
        ("selection:\n- {name: s}", 8, "selection 's' is caused by nothing"),
        (
            "selection:\n- {name: s, causes: [age]}",
            8,
            "selection, entry 1 has the unknown key 'causes'; did you mean 'caused_by'?",
        ),
        ("name: [a", 7, "not valid YAML: while parsing a flow sequence"),
        ("version: [1, 2]", 7, "graph: version must be a word; found a list of 2"),
        ("? [a]\n: b", 7, "a key of a graph file must be a word; found a list of 1"),
    ],
)
def test_errors_name_the_line(body, line, words, tmp_path):
    path = tmp_path / "mine.yaml"
    if body.startswith("name: [a"):
        line += 1  # YAML notices an open bracket at the end of the file
        body += "\n"
    path.write_text(HEAD + body, encoding="utf-8")
    with pytest.raises(GraphError) as caught:
        load_graph(path)
    assert str(caught.value).startswith(f"{path}, line {line}: ")
    assert words in str(caught.value)
    with pytest.raises(GraphError, match=rf"^graph text, line {line}: "):
        CausalGraph.from_yaml(HEAD + body)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            "{kind: binery, levels: [a, b]}",
            "variable 'x' has kind 'binery'; did you mean 'binary'?",
        ),
        ("{levels: [a, b]}", "variable 'x' lacks kind; it has: levels"),
        (
            "{kind: binary, level: [a, b]}",
            "'x' has the unknown key 'level'; did you mean 'levels'?",
        ),
        ("{kind: binary, levels: [a, ~]}", "variable 'x': levels must be a word; found nothing"),
        (
            "{kind: binary, levels: [a]}",
            "binary variable 'x' needs exactly 2 levels; found 1: 'a'",
        ),
        (
            "{kind: continuous, bounds: [0]}",
            "'x': bounds has 1 numbers; give the lowest and the high",
        ),
        ("{kind: continuous, bounds: [0, old]}", "'x': bounds must be a number; found 'old'"),
        (
            "{kind: continuous, bounds: [9, 0]}",
            "has bounds [9.0, 0.0]; they must be finite and ascend",
        ),
        (
            "{kind: continuous, bounds: [0, 9], resolution: fine}",
            "resolution must be a number; found 'f",
        ),
        ("{kind: binary, levels: [a, b], mechanism: nor}", "mechanism: nor but no binary parent"),
        ("{kind: binary, levels: [a, b], mechanism: and}", "mechanism 'and'; allowed: 'nor'"),
        ("binary", "variable 'x' must be a mapping of keys to values; found 'binary'"),
    ],
)
def test_variables_are_checked_by_line(entry, words):
    with pytest.raises(GraphError) as caught:
        CausalGraph.from_yaml(f"name: mine\nvariables:\n  x: {entry}\n")
    assert str(caught.value).startswith("graph text, line 3: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("variables: &a\n  <<: *a\n  x: {kind: binary, levels: [n, p]}\n", 2),
        ("variables: &a\n  x: {kind: binary, levels: [n, p]}\n  <<: [*a]\n", 3),
        ("variables:\n  x: &x\n    kind: binary\n    <<: {levels: [n, p], <<: *x}\n", 4),
        ("&top\n<<: {<<: {<<: *top}}\nvariables: {}\n", 2),
    ],
)
def test_a_merge_of_itself_is_refused_by_line(body, line):
    with pytest.raises(
        GraphError, match=rf"^graph text, line {line}: .* << merges what it stands"
    ):
        CausalGraph.from_yaml(body)


def test_one_node_may_be_merged_in_many_places():
    """Only a node that stands in itself is refused, not one that is lent twice."""
    graph = CausalGraph.from_yaml("""\
variables:
  a: &finding {kind: binary, levels: [negative, positive]}
  b: &device {<<: *finding, role: device}
  c: {<<: [*finding, *device]}
  d: {<<: *device}
""")
    assert {graph.variables[v].levels for v in "abcd"} == {("negative", "positive")}
    assert graph.variables["d"].role == "device"


@pytest.mark.parametrize("text", [None, 3, Path("cxr19.yaml"), b"variables: {}"], ids=repr)
def test_what_is_no_text(text):
    with pytest.raises(
        GraphError, match=r"the text of a graph file is a str; found \w+; load_graph"
    ):
        CausalGraph.from_yaml(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 5000, "graph text: lists or mappings lie too deep in each other"),
        ("", "graph text is empty; a graph file declares: name, version"),
        ("- a\n", "graph text, line 1: a graph file must be a mapping"),
        ("name: x\n", "graph text, line 1: a graph file lacks variables; it has: name"),
        (
            "variables: [a]\n",
            "line 1: variables must be a mapping of keys to values; found a list",
        ),
        (
            "variables: {image: {kind: continuous}}\n",
            "line 1: a variable cannot be called 'image'",
        ),
        ("variables: {a b: {kind: continuous}}\n", "line 1: variable name 'a b' is not allowed"),
        ("variables: {}\n---\nname: b\n", "not valid YAML: expected a single document"),
        ("variables: {a: !!python/name:os.system {}}\n", "variable 'a' lacks kind"),
        ("name: \x00\n", "not valid YAML"),
    ],
)
def test_what_is_no_graph_file(text, words):
    with pytest.raises(GraphError) as caught:
        CausalGraph.from_yaml(text)
    assert words in str(caught.value)


def test_which_graph(tmp_path):
    assert "cxr19" in list_graphs()
    graph = load_graph("cxr-minimal")
    assert load_graph(graph) is graph
    with pytest.raises(GraphError) as caught:
        load_graph("cxr-19")
    assert "no graph is called 'cxr-19'; did you mean 'cxr19'? Shipped: " in str(caught.value)
    assert "give the path of its file" in str(caught.value)
    with pytest.raises(GraphError, match=r"cannot read graph file .*cxr91\.yaml: No such file"):
        load_graph(tmp_path / "cxr91.yaml")
    with pytest.raises(GraphError, match=r"did you mean 'cxr19'\? Shipped: cxr-minimal, cxr19"):
        load_graph("nowhere/cxr91.yml")
    with pytest.raises(GraphError, match="cannot read graph file"):
        load_graph(tmp_path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(GraphError, match=r"binary\.yaml is not a text file in UTF-8"):
        load_graph(binary)


def test_a_file_without_a_name_is_called_by_its_own(tmp_path):
    path = tmp_path / "ward.yaml"
    path.write_text("\ufeff" + HEAD.replace("name: mine\n", ""), encoding="utf-8")
    assert load_graph(path).name == "ward"


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "kept.yaml"
    path.mkdir()
    with pytest.raises(OSError, match="kept"):
        load_graph("cxr-minimal").to_yaml(path)
    assert [p.name for p in tmp_path.iterdir()] == ["kept.yaml"]


def test_reading_does_not_depend_on_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("cxr19").mkdir()
    assert load_graph("cxr19").name == "cxr19"
