"""The figure: nothing overlaps, arrows point down, states are distinct; and the other
languages."""

import itertools
import warnings

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from random_graphs import binary, graphs

from cxrcausal.graph import CausalGraph, HiddenCause, Selection, Variable, list_graphs, load_graph
from cxrcausal.graph.drawing.draw import CHANGED, KINDS, PAGE, ROLES, SET
from cxrcausal.graph.drawing.layout import layered


def boxes(figure):
    """Returns the patch of each node, by the words that stand in it."""
    ax = figure.axes[0]
    found = {}
    for patch in ax.patches:
        if isinstance(patch, FancyBboxPatch):
            inside = [
                t for t in ax.texts if patch.get_path().get_extents().contains(*t.get_position())
            ]
            found["_".join(t.get_text().replace(" ", "_") for t in inside)] = patch
    return found


def legend(figure):
    return [t.get_text() for t in figure.axes[0].get_legend().get_texts()]


@given(graphs(most=8, unseen=True))
@settings(max_examples=40)
def test_layout_points_down_and_keeps_apart(graph):
    network = graph.to_networkx(hidden=True)
    layout = layered(network, gap=0.1)
    for (a, b), route in layout.routes.items():
        assert route[0] == layout.places[a]
        assert route[-1] == layout.places[b]
        assert all(above[1] + 1 == below[1] for above, below in itertools.pairwise(route))
    for a, b in itertools.combinations(layout.places.values(), 2):
        assert a[1] != b[1] or abs(a[0] - b[0]) >= 1.1 - 1e-9
    assert set(layout.routes) == set(network.edges)


def test_layout_bounds_a_layer_and_takes_few_crossings():
    wide = nx.DiGraph([("a", f"b{i}") for i in range(15)])
    rows = [y for _, y in layered(wide, most=4).places.values()]
    assert max(np.bincount(np.array(rows, int))) <= 4
    ladder = nx.DiGraph([("a", "z"), ("b", "y"), ("c", "x")])  # drawn in this order, all cross
    places = layered(ladder).places
    assert sorted("abc", key=lambda n: places[n]) == sorted(
        "abc", key=lambda n: places[{"a": "z", "b": "y", "c": "x"}[n]]
    )


@pytest.mark.parametrize("name", list_graphs())
def test_every_shipped_graph_fits_a_page(name):
    graph = load_graph(name)
    figure = graph.draw()
    assert isinstance(figure, Figure)
    width, height = figure.get_size_inches()
    assert width == PAGE
    assert height < 11
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a letter without a glyph, a layout that collapses
        figure.canvas.draw()
    patches = boxes(figure)
    assert set(patches) == {*graph.variables, "image"}
    frames = [p.get_window_extent() for p in patches.values()]
    page = figure.axes[0].get_window_extent()
    for one, other in itertools.combinations(frames, 2):
        assert not one.overlaps(other)
    for text in figure.axes[0].texts:
        extent = text.get_window_extent()
        assert page.containsx(extent.x0)
        assert page.containsx(extent.x1)
        assert text.get_fontsize() >= 5
    for (node, patch), frame in zip(patches.items(), frames, strict=True):
        role = "image" if node == "image" else graph.variables[node].role
        assert patch.get_facecolor() == to_rgba(ROLES[role])
        words = [t for t in figure.axes[0].texts if frame.overlaps(t.get_window_extent())]
        assert all(frame.x0 <= t.get_window_extent().x0 for t in words), node
        assert all(frame.x1 >= t.get_window_extent().x1 for t in words), node
    arrows = [p for p in figure.axes[0].patches if isinstance(p, FancyArrowPatch)]
    assert len(arrows) == len(graph.edges) + len(graph.image_parents)
    frame = figure.axes[0].get_legend().get_window_extent()
    assert not any(frame.overlaps(box) for box in frames)
    assert set(legend(figure)) >= {v.role for v in graph.variables.values()}
    assert {e.kind for e in graph.edges} <= set(legend(figure))


def test_values_and_their_states():
    graph = load_graph("cxr-minimal")
    seen = pd.Series({"age": 63.0, "sex": "Female", "view": np.nan, "effusion": 0, "other": 3})
    cf = dict(seen) | {"sex": "Male", "effusion": True}
    figure = graph.draw(seen, cf, do={"sex": "Male"})
    patches = boxes(figure)
    assert set(patches) == {
        "age_63_years",
        "sex_Female_→_Male",
        "view_?",
        "effusion_negative_→_positive",
        "image",
    }
    edge = {name.split("_")[0]: patch.get_edgecolor() for name, patch in patches.items()}
    assert edge["sex"] == to_rgba(SET)
    assert edge["effusion"] == to_rgba(CHANGED)
    assert edge["age"] not in (edge["sex"], edge["effusion"])
    assert patches["view_?"].get_facecolor() == to_rgba("white")
    assert patches["view_?"].get_linestyle() != "solid"
    assert {"set (do)", "changed", "unknown"} <= set(legend(figure))
    assert "cut by do" not in legend(figure)  # nothing points into sex


def test_do_dots_what_it_cuts():
    graph = load_graph("cxr-minimal")
    figure = graph.draw(do="effusion")
    assert "cut by do" in legend(figure)
    arrows = [p for p in figure.axes[0].patches if isinstance(p, FancyArrowPatch)]
    assert sum(p.get_edgecolor() == to_rgba(KINDS["risk"]) for p in arrows) == 0
    whole = [p for p in graph.draw().axes[0].patches if isinstance(p, FancyArrowPatch)]
    assert sum(p.get_edgecolor() == to_rgba(KINDS["risk"]) for p in whole) == 2
    assert "changed" not in legend(graph.draw())


def test_few_hidden_causes_are_drawn_and_many_are_listed():
    few = CausalGraph(
        [binary("a"), binary("b")],
        hidden=[HiddenCause("u", ("a", "b"))],
        selection=[Selection("s", ("a",))],
    )
    assert set(boxes(few.draw())) == {"a", "b", "u", "s"}
    assert {"hidden", "selection"} <= set(legend(few.draw()))
    notes = [t.get_text() for t in load_graph("cxr19-extended").draw().axes[0].texts]
    assert any(note.startswith("hidden: acuity → support_devices") for note in notes)
    assert any(note.startswith("selected by: edema") for note in notes)


def test_draws_onto_given_axes_and_into_no_window():
    figure = Figure(figsize=(10, 4))
    left, _ = figure.subplots(1, 2)
    assert load_graph("cxr19").draw(ax=left) is figure
    assert left.patches
    sizes = {t.get_fontsize() for t in left.texts}
    assert max(sizes) < 6.8  # half a page is half the letters


def test_roles_of_ones_own_have_a_colour():
    graph = CausalGraph(
        [Variable("a", "continuous", role="laboratory"), Variable("b", "continuous")], [("a", "b")]
    )
    figure = graph.draw({"a": 1.5, "b": None})
    assert {"laboratory", "variable", "causes", "unknown"} <= set(legend(figure))
    assert "a_1.5" in boxes(figure)
    assert CausalGraph([]).draw().axes


def test_html():
    text = load_graph("cxr-minimal")._repr_html_()
    assert text.startswith("<div")
    assert "<svg" in text
    assert "CausalGraph(&#x27;cxr-minimal&#x27;" in text


def test_dot_and_mermaid_say_every_arrow():
    graph = CausalGraph(
        [binary("a"), binary("end")],
        [("a", "end")],
        name='the "name"',
        hidden=[HiddenCause("u", ("a", "end"))],
        selection=[Selection("s", ("a",))],
        image_parents=["end"],
    )
    dot = graph.to_dot()
    assert dot.startswith('digraph "the \\"name\\"" {')
    for arrow in (
        '"a" -> "end";',
        '"end" -> "image";',
        '"u" -> "a" [style=dashed];',
        '"a" -> "s" [',
    ):
        assert arrow in dot
    assert dot.count("{") == dot.count("}")
    mermaid = graph.to_mermaid().splitlines()
    assert mermaid[0] == "flowchart TD"
    keys = dict(reversed(line.split('"')[:2]) for line in mermaid if '"' in line)
    key = {name: start.strip(" [(") for name, start in keys.items()}
    lines = [line.strip() for line in mermaid]
    for a, arrow, b in [
        ("a", "-->", "end"),
        ("end", "-->", "image"),
        ("a", "-.->", "s"),
        ("u", "-.->", "end"),
    ]:
        assert f"{key[a]} {arrow} {key[b]}" in lines


@pytest.mark.parametrize("name", list_graphs())
@pytest.mark.parametrize("form", ["gml", "graphml"])
def test_networkx_writes_and_reads_it_back(name, form, tmp_path):
    network = load_graph(name).to_networkx(hidden=True)
    file = tmp_path / f"graph.{form}"
    getattr(nx, f"write_{form}")(network, file)
    back = getattr(nx, f"read_{form}")(file)
    assert dict(back.nodes(data=True)) == dict(network.nodes(data=True))
    assert {edge[:2]: edge[2] for edge in back.edges(data=True)} == {
        edge[:2]: edge[2] for edge in network.edges(data=True)
    }


def test_networkx_is_a_copy_with_the_declarations():
    graph = load_graph("cxr19-extended")
    network = graph.to_networkx(hidden=True)
    assert network.nodes["age"]["unit"] == "years"
    assert network.nodes["sex"]["levels"] == "Female|Male"
    assert network.edges["age", "edema"]["kind"] == "risk"
    assert network.nodes["acuity"]["role"] == "hidden"
    assert nx.is_directed_acyclic_graph(network)
