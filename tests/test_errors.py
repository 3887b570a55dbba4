"""An error says what was asked, what exists and what to do next, in whole sentences."""

import re

import pytest

import cxrcausal as cx
from cxrcausal.errors import CxrCausalError, nearest
from cxrcausal.image import Guidance, Solver, load_recipe


@pytest.mark.parametrize(
    ("name", "allowed", "found"),
    [
        ("male", ("Female", "Male"), "Male"),
        ("female", ("Male", "Female"), "Female"),
        ("MALE", ("Female", "Male"), "Male"),
        (" Male ", ("Female", "Male"), "Male"),
        ("pa", ("AP", "PA", "LATERAL"), "PA"),
        ("mael", ("Female", "Male"), "Male"),
        ("AGE", ("view", "age"), "age"),
    ],
)
def test_case_alone_never_turns_a_name_into_its_opposite(name, allowed, found):
    assert nearest(name, allowed) == f"; did you mean {found!r}?"


def test_what_is_near_nothing():
    assert nearest("zzz", ("Female", "Male")) == ""


@pytest.mark.parametrize("close", [True, False], ids=["close", "far"])
@pytest.mark.parametrize(
    ("ask", "near"),
    [
        (lambda word: cx.load_pretrained(word), "cxr19-tin"),
        (lambda word: cx.load_graph(word), "cxr-19"),
        (lambda word: load_recipe(word), "radit-tny"),
        (lambda word: Guidance(word), "nestd"),
        (lambda word: Solver(word), "huen"),
        (
            lambda word: cx.load_pretrained("cxr19-tiny").scm.counterfactual(
                cx.load_pretrained("cxr19-tiny").scm.sample(2, seed=0), {word: "Male"}
            ),
            "sexx",
        ),
    ],
    ids=["model", "graph", "recipe", "guidance", "solver", "do"],
)
def test_sentences_end_before_the_next_begins(ask, near, close):
    """A hint or a full stop stands before a capital, never both and never neither."""
    with pytest.raises(CxrCausalError) as caught:
        ask(near if close else "qqqqqqq")
    said = str(caught.value)
    assert ("did you mean" in said) is close
    assert "?." not in said
    assert not re.search(r"[\w'] (Allowed|Shipped|It has|Known):", said), said
