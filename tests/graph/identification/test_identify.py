"""Identification against published examples, against Tian's condition, and against exact
models."""

import itertools

import numpy as np
import pytest
from distributions import Distribution
from hypothesis import given, settings
from hypothesis.strategies import data, integers, permutations
from random_graphs import graph_of, graphs

from cxrcausal.errors import GraphError
from cxrcausal.graph import load_graph
from cxrcausal.graph.identification.estimand import Conditional, Product, Sum, free, spell, sum_out


@given(graphs(most=5, unseen=True))
@settings(max_examples=80)
def test_every_formula_gives_the_effect(graph):
    """Evaluated on the distribution of the selected: on two, with several causes and effects."""
    a, b, *rest = graph.variables
    questions = [([a], [b]), ([b], [a])]
    if rest:
        questions += [([a, rest[0]], [b]), ([a], [b, rest[0]]), ([rest[-1]], [a])]
    for x, y in questions:
        for selection in (True, False):
            found = graph.identifiable(x, y, selection=selection)
            if found:
                for seed in range(2):
                    model = Distribution(graph, seed)
                    joint = model.joint(selected=selection)
                    value = model.evaluate(found.formula, joint, [*x, *y], seed)
                    np.testing.assert_allclose(value, model.effect(x, y), rtol=1e-9)


@given(graphs(most=6, unseen=True))
def test_the_effect_of_one_on_all_others(graph):
    """Identified iff no chain of hidden causes ties x to one of its children (Tian, 2002)."""
    for x in graph.variables:
        rest = [v for v in graph.variables if v != x]
        tied, todo = {x}, [x]
        while todo:
            v = todo.pop()
            new = {n for h in graph.hidden if v in h.touches for n in h.touches} - tied
            new &= set(graph.variables)
            tied |= new
            todo += new
        expected = tied.isdisjoint(graph.children(x))
        found = graph.identifiable(x, rest, selection=False)
        assert bool(found) == expected
        assert (found.hedge is None) == expected


@given(graphs(most=5, unseen=True))
@settings(max_examples=60)
def test_a_hedge_is_one(graph):
    """Two districts around the same roots, the smaller without a cause (Shpitser and Pearl)."""
    for x, y in itertools.permutations(list(graph.variables)[:3], 2):
        found = graph.identifiable(x, y)
        if found.hedge is None:
            continue
        forest, inner = set(found.hedge.forest), set(found.hedge.inner)
        assert inner < forest
        assert x in forest - inner
        part = graph.project(forest)
        assert all(
            set(part.descendants(v)) & inner or v in inner for v in forest
        )  # all lead to the roots
        for nodes in (forest, inner):
            start = next(iter(nodes))
            tied, todo = {start}, [start]
            while todo:
                v = todo.pop()
                new = {n for h in graph.hidden if v in h.touches for n in h.touches}
                new = (new & nodes) - tied
                tied |= new
                todo += new
            assert tied == nodes
        assert not graph.identifiable(x, y, selection=False)
        assert not graph.adjustment_sets(x, y, selection=False)


# Each row: arrows, what each hidden cause touches, causes, effect, whether identified.
PUBLISHED = {
    "front door (Pearl 2009, fig. 3.5)": ("x>m m>y", ["xy"], "x", "y", True),
    "bow (Pearl 2009, fig. 3.7a)": ("x>y", ["xy"], "x", "y", False),
    "instrument": ("z>x x>y", ["xy"], "x", "y", False),
    "napkin (Pearl and Mackenzie 2018)": ("w>z z>x x>y", ["wx", "wy"], "x", "y", True),
    "m-bias": ("x>y", ["xm", "my"], "x", "y", True),
    "front door with a confounded mediator": ("x>m m>y", ["xy", "xm"], "x", "y", False),
    "bow at the mediator": ("x>m m>y", ["xy", "my"], "x", "y", False),
    "verma, whole chain": ("a>b b>c c>d", ["bd"], "a", "d", True),
    "verma, last link": ("a>b b>c c>d", ["bd"], "c", "d", True),
    "Pearl 2009, fig. 3.8a": ("x>y", [], "x", "y", True),
    "Pearl 2009, fig. 3.8b": ("z>x z>y x>y", ["xz"], "x", "y", True),
    "Pearl 2009, fig. 3.8f": ("x>v v>y x>z z>y", ["xv", "zy"], "x", "y", False),
    "Pearl 2009, fig. 3.9a": ("x>y z>y", ["xz", "zy", "xy"], "x", "y", False),
    "Pearl 2009, fig. 3.9h": ("z>x x>w w>y", ["xz", "xy", "zy", "zw"], "x", "y", False),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_examples(name):
    arrows, hidden, x, y, expected = PUBLISHED[name]
    graph = graph_of([tuple(e.split(">")) for e in arrows.split()], [tuple(h) for h in hidden])
    found = graph.identifiable(list(x), y)
    assert bool(found) == expected
    assert (found.hedge is not None) == (not expected)


def test_formulas_read_as_the_textbook_writes_them():
    front = graph_of([("x", "m"), ("m", "y")], [("x", "y")])
    assert front.identifiable("x", "y").estimand == "Σ_{m} P(m | x) Σ_{x′} P(x′) P(y | x′, m)"
    napkin = graph_of([("w", "z"), ("z", "x"), ("x", "y")], [("w", "x"), ("w", "y")])
    found = napkin.identifiable("x", "y")
    assert found.estimand == ("[Σ_{w} P(w) P(x | w, z) P(y | w, z, x)] / [Σ_{w} P(w) P(x | w, z)]")
    assert "the same for every value of z" in found.why
    back = graph_of([("z", "x"), ("z", "y"), ("x", "y")])
    assert back.identifiable("x", "y").estimand == "Σ_{z} P(z) P(y | z, x)"
    assert str(back.identifiable("x", "y")).startswith("P(y | do(x)) = Σ_{z}")
    none = back.identifiable("y", "x")
    assert none.estimand == "P(x)"
    assert none.why == "y does not cause x in this graph: the effect is none"


def test_the_hedge_is_named():
    found = graph_of([("x", "y")], [("x", "y")]).identifiable("x", "y")
    assert found.hedge.forest == ("x", "y")
    assert found.hedge.inner == ("y",)
    assert str(found) == (
        "P(y | do(x)) is not identified: hidden causes tie x to y: hedge {x, y} around {y}"
    )


def test_selection_is_stated_honestly():
    """A factor that does not meet the selection is the same among the selected."""
    before = graph_of([("x", "m"), ("m", "y"), ("w", "x")], [("x", "y")], [("w",)])
    found = before.identifiable("x", "y")
    assert found.estimand == "Σ_{m} P(m | x) Σ_{x′} P(x′ | w) P(y | w, x′, m)"
    assert "the same for every value of w" in found.why
    graph = graph_of([("x", "m"), ("m", "y")], [("x", "y")], [("x",)])
    found = graph.identifiable("x", "y")
    assert not found  # p(x) is that of the selected, and the front-door formula needs it
    assert found.hedge is None
    assert "selection (s0)" in found.why
    assert graph.identifiable("x", "y", selection=False)
    downstream = graph_of([("s", "a"), ("a", "m"), ("m", "y")], [("a", "y")], [("s",)])
    assert downstream.identifiable("s", "y").estimand == "P(y | s)"
    apart = graph_of([("x", "m"), ("m", "y"), ("v", "w")], [("x", "y")], [("w",)])
    assert apart.identifiable("x", "y")


def test_selection_in_the_way_only_at_first():
    """The napkin, with a selection tied to w: once z is divided out, w may be summed over, and
    goes."""
    arrows = [("w", "z"), ("z", "x"), ("x", "y")]
    graph = graph_of(arrows, [("w", "x"), ("w", "y"), ("w", "a")], [("a",)])
    found = graph.identifiable("x", "y")
    assert found.estimand == (
        "[Σ_{w} P(w | a) P(x | w, z, a) P(y | w, z, x, a)] / [Σ_{w} P(w | a) P(x | w, z, a)]"
    )
    model = Distribution(graph, 3)
    value = model.evaluate(found.formula, model.joint(selected=True), ["x", "y"])
    np.testing.assert_allclose(value, model.effect(["x"], ["y"]), rtol=1e-9)
    caught = graph_of([*arrows, ("w", "a")], [("w", "x"), ("w", "y")], [("a",)])
    assert not caught.identifiable("x", "y")
    assert caught.identifiable("x", "y", selection=False)


def test_an_untouched_cause_stays_identified():
    graph = load_graph("cxr19-extended")
    assert graph.identifiable("sex", "edema", selection=False).estimand == (
        "Σ_{dataset} P(dataset) P(edema | dataset, sex)"
    )
    touched = graph.identifiable("pneumonia", "pleural_effusion", selection=False)
    assert "pneumonia" in touched.hedge.forest
    assert not graph.identifiable("sex", "edema")  # who was imaged depends on edema


def test_sums_are_shortened():
    joint = Product((Conditional(("a",)), Conditional(("b",), ("a",))))
    assert spell(sum_out(joint, ["b"])) == "P(a)"
    nested = Sum(("a",), Product((Conditional(("a",)), Conditional(("b",), ("a",)))))
    assert free(nested) == {"b"}
    assert spell(Product((Conditional(("a",)), nested))) == "P(a) Σ_{a′} P(a′) P(b | a′)"
    assert spell(Product(())) == "1"


def test_what_is_no_question():
    graph = load_graph("cxr-minimal")
    with pytest.raises(GraphError, match="'age' is both x and y"):
        graph.identifiable("age", ["age", "sex"])
    with pytest.raises(GraphError, match="did you mean 'age'"):
        graph.identifiable("agee", "sex")


# --- among those alike in something
# ----------------------------------------------------------------


@given(graphs(most=5, unseen=True), data())
@settings(max_examples=80)
def test_every_conditional_formula_gives_the_effect(graph, draw):
    """Evaluated on the data of the selected, for every value of cause, effect and what is
    given."""
    names = draw.draw(permutations(list(graph.variables)))
    if len(names) < 3:
        return
    x, y, z = names[:1], names[1:2], names[2 : 2 + draw.draw(integers(1, 2))]
    for selection in (True, False):
        found = graph.identifiable(x, y, z, selection=selection)
        assert found or found.formula is None
        if found:
            model = Distribution(graph, 0)
            value = model.evaluate(found.formula, model.joint(selected=selection), [*x, *y, *z])
            both = model.effect(x, [*z, *y])
            truth = both / both.sum(-1, keepdims=True)
            truth = np.moveaxis(truth, -1, 1)
            np.testing.assert_allclose(value, truth, rtol=1e-9)


def test_an_effect_that_strata_do_not_share():
    """A hidden cause ties z to cause and effect: the average follows from data, that given z
    not."""
    tied = graph_of([("x", "y")], [("z", "x"), ("z", "y")])
    assert tied.identifiable("x", "y")
    found = tied.identifiable("x", "y", "z")
    assert not found
    assert found.hedge.inner == ("y", "z") or found.hedge.inner == ("z", "y")
    assert str(found).startswith("P(y | do(x), z) is not identified: hidden causes tie x to")
    seen = graph_of([("z", "x"), ("z", "y"), ("x", "y")])
    assert seen.identifiable("x", "y", "z").estimand == "P(y | z, x)"


def test_an_effect_that_strata_know_better():
    """Given the confounder the effect may follow where on average it does not."""
    graph = graph_of([("w", "x"), ("w", "y"), ("x", "y")], selection=[("w",)])
    assert not graph.identifiable("x", "y")  # the share of w is that of the selected
    assert graph.identifiable("x", "y", "w").estimand == "P(y | w, x)"
    assert not graph.identifiable("x", "y", "w").hedge


def test_strata_of_a_front_door():
    """Given w the front door stands as before: each factor given w."""
    graph = graph_of([("x", "m"), ("m", "y"), ("w", "x"), ("w", "y")], [("x", "y")])
    found = graph.identifiable("x", "y", "w")
    assert found.estimand == "Σ_{m} P(m | x) Σ_{x′} P(x′ | w) P(y | w, x′, m)"
    with pytest.raises(GraphError, match="'w' is given and is a cause or an effect too"):
        graph.identifiable("x", "w", ["w"])
