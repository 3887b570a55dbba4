"""Every effect is asked for alike: the same options, documented and checked in one place."""

import inspect
import typing

import numpy as np
import pytest
from closed_form import LinearMechanism, clinic, continuous_scm

from cxrcausal import effect
from cxrcausal.effect import EffectOptions, EffectQuestion, ate, cate, causation
from cxrcausal.errors import (
    GraphError,
    InterventionError,
    OptionError,
    TableError,
    UnobservedError,
)

EFFECTS = [
    effect.ate,
    effect.cate,
    effect.ett,
    effect.natural_effects,
    effect.path_specific_effect,
    effect.causation,
    effect.ctf_effects,
    effect.sensitivity,
]


def options_of(asked):
    parameters = inspect.signature(asked).parameters.values()
    return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}


def test_the_keywords_that_are_typed_are_those_that_are_taken():
    """What an editor offers, `EffectOptions`, is what the constructor reads, type by type."""
    taken = {name: p.annotation for name, p in options_of(EffectQuestion).items()}
    assert typing.get_type_hints(EffectOptions) == taken


@pytest.mark.parametrize("asked", EFFECTS, ids=lambda asked: asked.__name__)
def test_every_effect_shows_the_options_and_their_defaults(asked):
    shown = options_of(asked)
    for name, option in options_of(EffectQuestion).items():
        assert shown[name] == option
    assert f"`{EffectQuestion.__name__}`" in asked.__doc__
    assert "options" not in inspect.signature(asked).parameters


@pytest.fixture(scope="module")
def patients():
    scm = clinic()
    return scm, scm.sample(20, seed=0)


@pytest.mark.parametrize("asked", EFFECTS, ids=lambda asked: asked.__name__)
def test_every_effect_hands_its_options_down(patients, asked):
    """An option that is not usable is refused by each, whatever the effect."""
    own = {"given": {"sex": "Male"}} if asked is effect.cate else {}
    own |= {"through": "severity"} if asked is effect.path_specific_effect else {}
    for option in ({"num_samples": 0}, {"resamples": 0.5}, {"confidence": 1.0}, {"refits": 1}):
        with pytest.raises(OptionError, match=next(iter(option))):
            asked(*patients, "edema", "effusion", groups=None, **own, **option)
    with pytest.raises(TypeError, match="unexpected keyword argument 'resample'"):
        asked(*patients, "edema", "effusion", groups=None, **own, resample=10)


def test_a_question_says_whose_and_what_in_words(patients):
    given = {"sex": ["Male", "Female"], "age": (30, 50)}
    question = EffectQuestion(*patients, "edema", "effusion", given, groups=None)
    assert question.where == "sex = Male or Female, age 30 to 50"
    assert question.shift == "edema negative → positive"
    assert question.asked == "P(effusion = positive)"
    here = patients[1]["age"].between(30, 50)
    np.testing.assert_array_equal(question.kept, np.flatnonzero(here))
    assert question.patients == here.sum()


def test_patients_are_weighted_only_where_the_cause_is_tied_to_more(patients):
    """Among those with one value of a root are the same patients as among all."""
    assert EffectQuestion(*patients, "edema", "effusion", groups=None).weight(1.0) == 1.0
    assert EffectQuestion(*patients, "sex", "effusion", groups=None).weight(1.0) is None


FEW = {"groups": None, "resamples": 50}


@pytest.mark.parametrize(
    ("error", "match", "arguments", "options"),
    [
        (GraphError, "did you mean 'edema'", ("edemaa", "effusion"), {}),
        (GraphError, "'lungs' is not in graph", ("edema", "lungs"), {}),
        (GraphError, "zero by construction", ("effusion", "edema"), {}),
        (GraphError, "zero by construction", ("edema", "edema"), {}),
        (
            OptionError,
            "two different values",
            ("edema", "effusion"),
            {"levels": ("positive",) * 2},
        ),
        (OptionError, r"levels=\(from, to\)", ("age", "effusion"), {}),
        (OptionError, "are two values", ("edema", "effusion"), {"levels": "positive"}),
        (InterventionError, "allowed", ("edema", "effusion"), {"levels": ("negative", "pos")}),
        (InterventionError, "out of bounds", ("age", "effusion"), {"levels": (30, 300)}),
        (OptionError, "did you mean 'positive'", ("edema", "effusion"), {"level": "positiv"}),
        (OptionError, "Allowed: none, mild, severe", ("edema", "severity"), {}),
        (OptionError, "'difference' or 'ratio'", ("edema", "effusion"), {"scale": "odds"}),
        (OptionError, "seed", ("edema", "effusion"), {"seed": 0.5}),
        (TableError, "'patient' is not a column", ("edema", "effusion"), {"groups": "patient"}),
        (TableError, "3 groups for 40 rows", ("edema", "effusion"), {"groups": np.zeros(3)}),
        (OptionError, "between 0 and 1; found 1.5", ("edema", "effusion"), {"confidence": 1.5}),
    ],
)
def test_a_question_that_cannot_be_answered(clinic_rows, error, match, arguments, options):
    scm, rows, _ = clinic_rows
    with pytest.raises(error, match=match):
        ate(scm, rows, *arguments, **{**FEW, **options})


def test_patients_that_cannot_be_chosen(clinic_rows):
    scm, rows, _ = clinic_rows
    ask = ("edema", "effusion")
    with pytest.raises(GraphError, match="changes with 'edema'"):
        cate(scm, rows, *ask, {"severity": "mild"}, **FEW)
    with pytest.raises(OptionError, match="no level 'male'; did you mean 'Male'"):
        cate(scm, rows, *ask, {"sex": "male"}, **FEW)
    with pytest.raises(OptionError, match="number or"):
        cate(scm, rows, *ask, {"age": "old"}, **FEW)
    with pytest.raises(TableError, match="no row has"):
        cate(scm, rows, *ask, {"age": (21, 22)}, **FEW)
    with pytest.raises(TableError, match="no rows"):
        ate(scm, rows.head(0), *ask, **FEW)


def test_continuous_outcomes_have_means_only():
    scm = continuous_scm(LinearMechanism, weights=(0.5, 0.4))
    rows = scm.sample(10, seed=0)
    with pytest.raises(OptionError, match="risk ratio"):
        ate(scm, rows, "x", "y", levels=(0.0, 1.0), scale="ratio", **FEW)
    with pytest.raises(OptionError, match="ask of an event"):
        causation(scm, rows, "x", "y", levels=(0.0, 1.0), **FEW)
    with pytest.raises(OptionError, match="leave level out"):
        ate(scm, rows, "x", "y", levels=(0.0, 1.0), level="high", **FEW)


def test_what_was_never_observed_cannot_be_asked(public):
    scm, rows = public
    with pytest.raises(UnobservedError, match="race"):
        ate(scm, rows, "race", "edema", levels=("White", "Black"), **FEW)
