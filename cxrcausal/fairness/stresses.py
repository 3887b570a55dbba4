"""What a classifier is put under: changes of a radiograph that leave the patient's disease alone.

A stress sets parents of the image: the view, the source, devices, age. Findings and all other
metadata are held, so that what is true of the patient stays true, and a classifier that reads the
disease has no reason to answer differently. Every question is a
`cxrcausal.fairness.worlds.Contrast` and is painted with the same controls.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pandas as pd
import torch

from cxrcausal.counterfactual.image_mechanism import ImageMechanism
from cxrcausal.errors import (
    InterventionError,
    OptionError,
    UnobservedError,
    nearest,
    summarise,
)
from cxrcausal.fairness.worlds import Contrast
from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.graph.value import allowed_values, normalise
from cxrcausal.scm import Shift
from cxrcausal.scm.setting import on_grid

if TYPE_CHECKING:
    from cxrcausal.counterfactual import CounterfactualModel

__all__ = ["AGES", "Question", "Stress", "Stresses", "questions", "standard_stresses"]

AGES = (20, 35, 50, 65, 80)
"""The ages of the standard sweep, in years."""

Level = str | float | Shift


@final
@dataclass(frozen=True)
class Stress:
    """A change of the radiograph that should not change what is said of the disease.

    Arguments:
        do: What parents of the image are set to: a level, a number, or a `cxrcausal.scm.shift`.
            One of them may have several values, each of which is asked for; numbers make a sweep,
            whose curve is drawn.
        where: In which radiographs, by the levels that metadata have now; in all if empty.
    """

    do: Mapping[str, Any]
    where: Mapping[str, str] = field(default_factory=dict)


Stresses = Mapping[str, Stress | Mapping[str, Any]] | Sequence[str] | str | None
"""Stresses by name, each a `Stress` or the `do` of one; or names of standard ones; None is all of
these."""


@final
@dataclass(frozen=True)
class Question:
    """One stress at one value.

    Arguments:
        stress: The stress's name.
        contrast: Which radiographs, and in words from what to what.
        number: The number that a sweep sets here; None if it is no sweep.
    """

    stress: str
    contrast: Contrast
    number: float | None

    @property
    def sets(self) -> tuple[str, ...]:
        """The attributes that are set."""
        return tuple(part.attribute for part in self.contrast.parts)

    def of(self, kept: np.ndarray) -> "Question":
        """Returns the question of those of its radiographs that are kept, (all radiographs,)."""
        return dataclasses.replace(self, contrast=self.contrast.of(kept))


def standard_stresses(model: "CounterfactualModel") -> dict[str, Stress]:
    """Returns the stresses that `stress_test` asks if it is told none, those the model can paint.

    They are named by what they do: `AP view` of PA radiographs and `PA view` of AP ones, `site`
    (each source that the image mechanism observed), `device insertion`, `device removal`, `age`.

    Arguments:
        model: The joint model.
    """
    assert model.image is not None
    found = {}
    for name, stress in _standard(model.image).items():
        try:
            _settings(name, stress, model.image, model.graph)
        except (InterventionError, UnobservedError):  # stress_test says why, this one says which
            continue
        found[name] = stress
    return found


def questions(
    stresses: Stresses, table: pd.DataFrame, model: "CounterfactualModel"
) -> tuple[list[Question], list[dict[str, str]]]:
    """Returns what is asked, and what is not and why.

    Arguments:
        stresses: As `stress_test` takes them.
        table: Metadata in canonical form, with a column for every variable.
        model: Whose image mechanism says what it has observed.

    Raises:
        OptionError: If there is no such standard stress, or no stress is given.
        InterventionError: If a stress of the user's sets what is no parent of the image, or to
            what it cannot be.
        UnobservedError: If a stress of the user's sets what the image mechanism never observed.
    """
    assert model.image is not None
    asked: list[Question] = []
    left: list[dict[str, str]] = []
    for name, stress in _by_name(stresses, model.image).items():
        try:
            settings = _settings(name, stress, model.image, model.graph)
        except (InterventionError, UnobservedError) as reason:
            if stresses is not None:
                raise
            left.append({"stress": name, "why": str(reason)})
            continue
        found = [_question(name, stress, s, len(settings), table, model.image) for s in settings]
        some = [question for question in found if len(question.contrast.rows)]
        asked += some
        if not some:
            left.append({"stress": name, "why": _changes_none(stress)})
    return asked, left


def _standard(image: ImageMechanism) -> dict[str, Stress]:
    span = image.observed.get("age") or (0, 0)
    return {
        "AP view": Stress({"view": "AP"}, {"view": "PA"}),
        "PA view": Stress({"view": "PA"}, {"view": "AP"}),
        "site": Stress({"dataset": tuple(image.observed.get("dataset") or ())}),
        "device insertion": Stress({"support_devices": "positive"}),
        "device removal": Stress({"support_devices": "negative"}),
        "age": Stress({"age": tuple(age for age in AGES if span[0] <= age <= span[1])}),
    }


def _by_name(stresses: Stresses, image: ImageMechanism) -> dict[str, Stress]:
    standard = _standard(image)
    if stresses is None:
        return standard
    if not stresses:
        raise OptionError(f"no stress was given; the standard ones are: {summarise(standard, 9)}")
    if isinstance(stresses, Mapping):
        return {str(name): _stress(name, given) for name, given in stresses.items()}
    names = (stresses,) if isinstance(stresses, str) else stresses
    for name in names:
        if not isinstance(name, str) or name not in standard:
            raise OptionError(
                f"no standard stress is {name!r}{nearest(name, standard) or '.'} There are: "
                f"{summarise(standard, 9)}. Give one of your own by name, as "
                "{'portable': {'view': 'AP'}}"
            )
    return {name: standard[name] for name in names}


def _stress(name: str, given: object) -> Stress:
    stress = given if isinstance(given, Stress) else None
    if isinstance(given, Mapping):
        stress = Stress(given)
    if stress is None or not stress.do:
        raise OptionError(
            f"stress {name!r} is {given!r}; give what it sets, as {{'view': 'AP'}}, or a Stress"
        )
    return stress


def _settings(
    name: str, stress: Stress, image: ImageMechanism, graph: CausalGraph
) -> list[dict[str, Level]]:
    """Returns what is set, once for each value that is asked for.

    Raises:
        InterventionError: If it is no parent of the image, or no value for it.
        UnobservedError: If the image mechanism never observed it.
    """
    parents = {variable.name: variable for variable in image.attributes}
    for attribute in stress.do:
        if attribute not in parents:
            raise InterventionError(
                f"stress {name!r} sets {attribute!r}, which is not a parent of the image"
                f"{nearest(attribute, parents) or '.'} Its parents are: {summarise(parents, 20)}"
            )
        known = image.observed.get(attribute)
        if not known or (parents[attribute].is_discrete and len(known) < 2):
            saw = summarise(known, 20) if known else "nothing"
            raise UnobservedError(
                f"the image mechanism never observed {attribute!r} vary (it saw {saw}), so it "
                f"cannot paint what stress {name!r} would change"
            )
    for attribute, level in stress.where.items():
        levels = graph.variables[attribute].levels if attribute in graph.variables else ()
        if level not in levels:
            raise InterventionError(
                f"stress {name!r} is asked where {attribute!r} is {level!r}; allowed: "
                f"{summarise(levels or [v for v, x in graph.variables.items() if x.levels], 20)}"
            )
    several = [a for a, value in stress.do.items() if _is_several(value)]
    if len(several) > 1:
        raise InterventionError(
            f"stress {name!r} gives several values for {summarise(several)}; one attribute may "
            "have several"
        )
    if not several:
        return [{a: _value(name, parents[a], v, image) for a, v in stress.do.items()}]
    (swept,) = several
    if not len(stress.do[swept]):
        raise InterventionError(f"stress {name!r} gives no value that {swept!r} is set to")
    return [
        {a: _value(name, parents[a], v if a == swept else w, image) for a, w in stress.do.items()}
        for v in stress.do[swept]
    ]


def _is_several(value: object) -> bool:
    return isinstance(value, np.ndarray | pd.Series | Sequence) and not isinstance(value, str)


def _value(name: str, variable: Variable, given: object, image: ImageMechanism) -> Level:
    """Returns one value in canonical form: a level, a number or a shift."""
    known = image.observed[variable.name]
    if isinstance(given, Shift) and not variable.is_discrete:
        return given
    scalar = isinstance(given, str | bool | int | float | np.generic)
    found, bad = normalise(pd.Series([given if scalar else None], dtype=object), variable)
    if bad[0] or np.isnan(found[0]):
        close = nearest(given, variable.levels) if variable.levels else ""
        raise InterventionError(
            f"stress {name!r} sets {variable.name!r} to {given!r}{close or '.'} Allowed: "
            f"{allowed_values(variable)}{'' if variable.is_discrete else ', or a shift'}"
        )
    if variable.is_discrete:
        level: Level = variable.levels[int(found[0])]
        seen, among = level in known, summarise(known, 20)
    else:
        level = float(found[0])
        seen, among = known[0] <= level <= known[1], f"{known[0]:g} to {known[1]:g}"
    if not seen:
        raise UnobservedError(
            f"stress {name!r} sets {variable.name!r} to {given!r}, which the image mechanism "
            f"never observed; observed: {among}"
        )
    return level


def _question(
    name: str,
    stress: Stress,
    setting: Mapping[str, Level],
    values: int,
    table: pd.DataFrame,
    image: ImageMechanism,
) -> Question:
    """Returns the question in those rows that it changes, or that a sweep holds."""
    parents = {variable.name: variable for variable in image.attributes}
    here, moved = np.ones(len(table), bool), np.zeros(len(table), bool)
    for attribute, level in stress.where.items():
        here &= (table[attribute].astype(object) == level).to_numpy(bool)
    to: dict[str, np.ndarray] = {}
    now: dict[str, pd.Series] = {}
    for attribute, value in setting.items():
        variable, known = parents[attribute], image.observed[attribute]
        if variable.is_discrete:
            now[attribute] = table[attribute].astype(object)
            to[attribute] = np.full(len(table), value, object)
            here &= now[attribute].isin(known).to_numpy()
            moved |= (now[attribute] != value).to_numpy(bool)
        else:
            to[attribute] = _numbers(table[attribute].to_numpy(float), value, variable)
            with np.errstate(invalid="ignore"):
                here &= (to[attribute] >= known[0]) & (to[attribute] <= known[1])
            moved |= True  # a curve is of the same patients all along
    rows = np.flatnonzero(here & moved)
    contrast: Contrast | None = None
    for attribute, value in reversed([*setting.items()]):
        origin = _origin(now[attribute].iloc[rows]) if attribute in now else "as it is"
        contrast = Contrast(
            attribute, origin, _word(value), rows, to[attribute][rows], _word(value), contrast
        )
    assert contrast is not None
    numbers = [value for value in setting.values() if isinstance(value, float)]
    is_sweep = values > 1 and len(setting) == len(numbers) == 1
    return Question(name, contrast, numbers[0] if is_sweep else None)


def _numbers(now: np.ndarray, value: Level, variable: Variable) -> np.ndarray:
    """Returns what a continuous variable is set to (rows,), NaN where its own value is unknown."""
    if isinstance(value, Shift):
        moved = now + value.amount
        low, high = variable.bounds or (-np.inf, np.inf)
        snapped = on_grid(variable, torch.from_numpy(moved)).numpy()
        return np.where((moved >= low) & (moved <= high), snapped, np.nan)
    return np.where(np.isnan(now), np.nan, value)


def _origin(now: pd.Series) -> str:
    """Returns what an attribute is now, if it is the same in all rows."""
    levels = now.unique()
    return str(levels[0]) if len(levels) == 1 else "another"


def _word(value: Level) -> str:
    if isinstance(value, Shift):
        return f"{value.amount:+g}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _changes_none(stress: Stress) -> str:
    where = [f"{name} is {level}" for name, level in stress.where.items()]
    return (
        f"it changes none of these radiographs: {summarise(stress.do)} unknown, or there already"
        + (f", wherever {' and '.join(where)}" if where else "")
    )
