"""Every effect is asked for alike: the same options, documented and checked in one place."""

import inspect
import typing

import numpy as np
import pytest
from closed_form import clinic

from cxrcausal import effect
from cxrcausal.effect import EffectOptions, EffectQuestion
from cxrcausal.errors import OptionError

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
