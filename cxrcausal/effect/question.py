"""One question about effects: whose, of which cause, from which value to which, on what outcome.

All average effects are asked for alike. `EffectQuestion` says once with which options, and refuses
before any work what cannot be asked. It holds the patients as the SCM reads them; `estimate`
answers.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypedDict, TypeVar, final

import numpy as np
import pandas as pd

from cxrcausal.effect.agreement import is_spurious
from cxrcausal.effect.basis import recorded
from cxrcausal.effect.expectation import Nested, Term
from cxrcausal.effect.levels import (
    Level,
    Levels,
    level_asked,
    levels_asked,
    range_asked,
    two_values,
)
from cxrcausal.effect.worlds import Worlds
from cxrcausal.errors import GraphError, OptionError, TableError, UnobservedError
from cxrcausal.patients import Groups, patient_labels
from cxrcausal.randomness import as_count, as_seed
from cxrcausal.scm.action import resolve
from cxrcausal.scm.evidence import Evidence
from cxrcausal.scm.fit.nodewise import data_fingerprint
from cxrcausal.scm.model import FlowSCM
from cxrcausal.scm.replicates import words_of_patients
from cxrcausal.scm.setting import Fixed

__all__ = ["EffectOptions", "EffectQuestion", "Parameters", "asked_with_options"]

Parameters = Literal["estimated", "fixed"]
"""Whether an interval counts that the SCM's parameters were estimated, or takes them as given."""

FEWEST_REFITS = 2
"""The fewest fits that show a spread."""


class EffectOptions(TypedDict, total=False):
    """The keyword options of every effect, as `EffectQuestion` documents them."""

    levels: Levels | None
    level: Level | None
    groups: Groups
    resamples: int
    parameters: Parameters
    refits: int
    confidence: float
    num_samples: int
    seed: int


@final
class EffectQuestion:
    """What is asked of an SCM when an effect of one cause on one outcome is asked for.

    The arguments are those of every effect (`ate`, `natural_effects`, …), the last nine being
    options.

    Arguments:
        scm: A fitted SCM.
        table: The patients that are averaged over; unknown cells are summed out.
        cause: The variable that is set.
        outcome: One of its descendants.
        given: The patients who are kept: variable to level, to several levels, to a number or to
            (low, high). Levels are named as in a table, so 0 and 1, or False and True, are the
            two of a binary variable. Rows where one of these cells is unknown are left out.
        levels: The values of the cause that are compared, (from, to); the two levels of a binary
            cause if None.
        level: The outcome's level whose probability is asked for; the positive one of a binary
            outcome if None. A continuous outcome has none and is asked for its mean.
        groups: The patients whose rows these are: a column, one label per row, or None if each
            row is its own patient's.
        resamples: The number of resamples of the patients where parameters are fixed.
        parameters: Whether intervals count that the parameters were `estimated`, or hold them
            `fixed`: those say how sure this SCM's figure is, and are too narrow for what is true
            of patients.
        refits: The number of fits to resampled patients of the fit's table which stand in for
            one-step replicates of the parameters; 0 for replicates.
        confidence: The probability that an interval covers.
        num_samples: The number of draws per row where a sum is too large to be taken exactly.
        seed: The seed of resamples and draws.

    Raises:
        GraphError: If a name is unknown, the outcome does not descend from the cause, or one of
            `given` changes with the cause.
        InterventionError: If the cause cannot be set to these values.
        UnobservedError: If the fit never observed the cause or the outcome.
        OptionError: If an option is not usable.
        TableError: If the table or the groups are not usable, or no row is left.
    """

    def __init__(
        self,
        scm: FlowSCM,
        table: pd.DataFrame,
        cause: str,
        outcome: str,
        given: Mapping[str, object] | None = None,
        *,
        levels: Levels | None = None,
        level: Level | None = None,
        groups: Groups = "patient_id",
        resamples: int = 1000,
        parameters: Parameters = "estimated",
        refits: int = 0,
        confidence: float = 0.95,
        num_samples: int = 256,
        seed: int = 0,
    ) -> None:
        _check_descent(scm, cause, outcome)
        variables = scm.graph.variables
        self.scm, self.cause, self.outcome = scm, cause, outcome
        self.worlds = Worlds(scm.mechanisms, cause, outcome)
        if outcome not in self.worlds.moved:
            raise UnobservedError(
                f"every path from {cause!r} to {outcome!r} leads through variables that the fit "
                f"never observed"
            )
        self.graph = recorded(scm.graph, self.worlds)
        self.spurious = is_spurious(self.worlds)
        self.level = level_asked(variables[outcome], level)
        self.evidence = scm._read(table, "ignore")
        self.table = self.evidence.table
        if not len(self.table):
            raise TableError("the table has no rows, so there is nobody to average over")
        self.levels = two_values(variables[cause], levels)
        self.low, self.high = (self._number(value) for value in self.levels)
        if self.low == self.high:
            raise OptionError(f"levels are two different values of {cause!r}; found {levels!r}")
        self.labels = patient_labels(groups, self.table)
        self.of_rows, self.words = words_of_patients(self.labels, self.table.index)
        self.resamples = as_count(resamples, "resamples", least=1)
        self.num_samples = as_count(num_samples, "num_samples", least=1)
        self.parameters = _check_parameters(parameters, refits)
        self.refits = self._check_refits(refits)
        if not 0 < confidence < 1:
            raise OptionError(f"confidence lies strictly between 0 and 1; found {confidence!r}")
        self.confidence, self.seed = confidence, as_seed(seed)
        self.kept, self.where = self._among({} if given is None else given)
        self._whole: Nested | None = None

    @property
    def patients(self) -> int:
        """How many patients are averaged over."""
        return len(np.unique(self.of_rows[self.kept]))

    @property
    def shift(self) -> str:
        """What is done, in words."""
        return f"{self.cause} {self.levels[0]} → {self.levels[1]}"

    @property
    def asked(self) -> str:
        """What is asked of the outcome, in words."""
        variable = self.scm.graph.variables[self.outcome]
        if self.level is not None:
            return f"P({self.outcome} = {variable.levels[self.level]})"
        return f"mean {self.outcome}" + (f" in {variable.unit}" if variable.unit else "")

    @property
    def mechanism(self) -> str:
        """What couples the outcome's levels between worlds, in words."""
        return type(self.scm.mechanisms[self.outcome]).__name__.removesuffix("Mechanism")

    def weight(self, value: float) -> float | None:
        """Returns the `given` of terms about those who had that value of the cause.

        It is None, for everybody, where nothing but causal paths ties the cause to the outcome.
        """
        return value if self.spurious else None

    def reads(self, terms: Sequence[Term]) -> list[str]:
        """Returns the variables whose mechanisms the terms read."""
        own = any(term.given is not None or term.tilt is not None for term in terms)
        return [*self.worlds.moved, *([self.cause] if own else [])]

    def nested(self, rows: np.ndarray | None = None) -> Nested:
        """Returns what answers terms about this cause and this outcome.

        Arguments:
            rows: The positions of the rows that are asked about; all that are kept if None.
        """
        if rows is not None:
            return self._nested(rows)
        if self._whole is None:
            self._whole = self._nested(self.kept)
        return self._whole

    def _nested(self, rows: np.ndarray) -> Nested:
        known = Evidence.of(
            self.scm.mechanisms,
            self.evidence.supports,
            self.evidence.values_at(rows),
            pd.RangeIndex(len(rows)),
        )
        return Nested(known, self.worlds, self.level, self.num_samples, self.seed)

    def _among(self, given: Mapping[str, object]) -> tuple[np.ndarray, str]:
        """Returns the positions of the rows with these values, and in words whose they are."""
        if not isinstance(given, Mapping):
            raise OptionError(
                f"given is a mapping from variable to value, as in {{'sex': 'Male'}}; "
                f"found {given!r}"
            )
        words = []
        kept = np.ones(len(self.table), dtype=bool)
        graph = self.scm.graph
        for name, wanted in given.items():
            graph.parents(name)
            if name == self.cause or name in graph.descendants(self.cause):
                raise GraphError(
                    f"{name!r} changes with {self.cause!r}, so patients alike in it are not alike "
                    f"in both worlds; counterfactual_probability answers for given rows"
                )
            variable = graph.variables[name]
            if name not in self.table.columns:
                raise TableError(f"the table has no column {name!r} to choose patients by")
            column = self.table[name]
            if variable.is_discrete:
                levels = levels_asked(variable, wanted)
                kept &= column.isin(levels).to_numpy()
                words.append(f"{name} = {' or '.join(levels)}")
            else:
                low, high = range_asked(variable, wanted)
                kept &= column.between(low, high).to_numpy()
                words.append(f"{name} = {low:g}" if low == high else f"{name} {low:g} to {high:g}")
        where = ", ".join(words)
        if not kept.any():
            raise TableError(f"no row has {where}")
        return np.flatnonzero(kept), where

    def _number(self, value: object) -> float:
        """Returns a value of the cause as the SCM counts it."""
        setting = resolve(
            {self.cause: value}, self.table.iloc[:1], self.scm.graph, self.scm.observed
        )[self.cause]
        if not isinstance(setting, Fixed):
            raise OptionError(f"levels are two values of {self.cause!r}; found {value!r}")
        return float(setting.values[0])

    def _check_refits(self, refits: int) -> int:
        """Returns the number of refits, if the mechanisms can be fitted to the table."""
        if refits and refits < FEWEST_REFITS:
            raise OptionError(
                f"refits is 0, or at least {FEWEST_REFITS} to have a spread; found {refits}"
            )
        if refits and self.scm.data_fingerprint is None:
            raise OptionError(
                "this SCM's mechanisms were given, not fitted, so none can be refitted"
            )
        if refits and data_fingerprint(self.table, self.scm.graph) != self.scm.data_fingerprint:
            raise OptionError(
                f"refits={refits} fits anew on resampled patients of the table that the SCM was "
                f"fitted to, and this is another one; leave refits out: the interval counts the "
                f"estimation error by what the fit kept of it"
            )
        return refits


Asked = TypeVar("Asked", bound=Callable[..., object])


def asked_with_options(effect: Asked) -> Asked:
    """Shows the options of `EffectQuestion`, and their defaults, in an effect's own signature.

    Arguments:
        effect: A function that takes `EffectOptions` as keywords.
    """
    signature = inspect.signature(effect)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    asked = inspect.signature(EffectQuestion).parameters.values()
    options = [p for p in asked if p.kind is p.KEYWORD_ONLY]
    effect.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*own, *options]
    )
    return effect


def _check_descent(scm: FlowSCM, cause: str, outcome: str) -> None:
    """Refuses what the fit never observed, and an outcome that the cause does not reach."""
    graph = scm.graph
    for name in (cause, outcome):
        graph.parents(name)  # refuses unknown names in the graph's own words
        if name not in scm.mechanisms:
            raise UnobservedError(
                f"{name!r} was never observed in the fit, so it has no effect to speak of; "
                f"observed: {', '.join(scm.mechanisms)}"
            )
    if outcome not in graph.descendants(cause):
        raise GraphError(
            f"{outcome!r} does not descend from {cause!r} in graph {graph.name!r}, so the "
            f"effect is zero by construction. Descendants: "
            f"{', '.join(graph.descendants(cause)) or 'none'}"
        )


def _check_parameters(parameters: object, refits: int) -> Parameters:
    """Returns the option, if it is one and agrees with `refits`."""
    if parameters not in ("estimated", "fixed"):
        raise OptionError(f"parameters is 'estimated' or 'fixed'; found {parameters!r}")
    if parameters == "fixed" and refits:
        raise OptionError(
            f"parameters='fixed' leaves out the estimation error that refits={refits} asks for; "
            f"give one of them"
        )
    return parameters  # type: ignore[return-value]
