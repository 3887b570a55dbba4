"""One question about effects: the cause's two values, the outcome, and whose rows these are.

Each effect is a function of a few sums over patients of what `Nested` expects of each. So the interval by
patient costs one matrix product, and figures asked together see the same resamples: what adds up,
adds up in each.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, final

import numpy as np
import pandas as pd

from cxrcausal.bootstrap import PatientBootstrap, satterthwaite, student_interval
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
from cxrcausal.effect.uncertainty import (
    Parameters,
    Uncertainty,
    check_parameters,
    uncertainty_of,
)
from cxrcausal.effect.worlds import Worlds
from cxrcausal.errors import GraphError, OptionError, TableError, UnobservedError
from cxrcausal.patients import Groups, patient_labels
from cxrcausal.randomness import as_seed
from cxrcausal.scm.action import resolve
from cxrcausal.scm.fit.nodewise import data_fingerprint
from cxrcausal.scm.model import FlowSCM
from cxrcausal.scm.replicates import words_of_patients
from cxrcausal.scm.setting import Fixed
from cxrcausal.scm.unknown.network import Mechanisms

__all__ = ["Contrast", "Figure", "Level", "Levels", "Parameters", "Statistics"]

Statistics = Callable[[np.ndarray], np.ndarray]
"""Sums (resamples, terms) give figures (resamples, figures)."""


class Figure(NamedTuple):
    """A figure, its interval by patient, and the Monte-Carlo error apart."""

    value: float
    low: float
    high: float
    error: float


@final
class Contrast:
    """What all effects of one cause on one outcome share.

    Arguments:
        scm: A fitted SCM.
        table: The patients.
        cause: The variable that is set.
        outcome: One of its descendants.
        levels: From which value of the cause to which; of a binary one its two levels if None.
        level: The outcome's level; of a binary one the positive if None, None for a continuum.
        groups: Whose rows these are.
        resamples: How many resamples of the patients.
        parameters: Whether intervals count that the parameters were `estimated`, or hold them
            `fixed`.
        refits: How many times to fit what the question reads anew, on resampled patients, in the
            place of one-step replicates; 0 for these.
        confidence: The probability that an interval covers.
        num_samples: How many draws per row stand in where a sum is too large.
        seed: Of resamples and draws.

    Raises:
        GraphError: If a name is unknown, or the outcome does not descend from the cause.
        InterventionError: If the cause cannot be set to these values.
        UnobservedError: If the fit never observed the cause or the outcome.
        OptionError: If the levels are not two different ones, or `level` is no level.
        TableError: If the table is not usable.
    """

    def __init__(
        self,
        scm: FlowSCM,
        table: pd.DataFrame,
        cause: str,
        outcome: str,
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
        self.scm, self.cause, self.outcome = scm, cause, outcome
        self.worlds = Worlds(scm.mechanisms, cause, outcome)
        if outcome not in self.worlds.moved:
            raise UnobservedError(
                f"every path from {cause!r} to {outcome!r} leads through variables that the fit "
                f"never observed"
            )
        self.level = level_asked(graph.variables[outcome], level)
        known = scm._read(table, "ignore")
        self.rows, self.values, self.supports = known.table, known.values, known.supports
        if not len(self.rows):
            raise TableError("the table has no rows, so there is nobody to average over")
        self.levels = two_values(graph.variables[cause], levels)
        self.low, self.high = (self._number(value) for value in self.levels)
        if self.low == self.high:
            raise OptionError(f"levels are two different values of {cause!r}; found {levels!r}")
        self.labels = patient_labels(groups, self.rows)
        self.of_rows, self.words = words_of_patients(self.labels, self.rows.index)
        self.resamples, self.confidence = resamples, confidence
        self.parameters = check_parameters(parameters, refits)
        self.refits = self._check_refits(refits)
        self.num_samples, self.seed = num_samples, as_seed(seed)
        self.kept = np.arange(len(self.rows))
        self.spurious = is_spurious(self.worlds)
        self.uncertainty = Uncertainty(None)  # until something is measured
        self.graph = recorded(graph, self.worlds)

    @property
    def counts_the_fit(self) -> bool:
        """Whether intervals count the estimation error of the parameters."""
        return bool(self.refits) or self.uncertainty.replicates is not None

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

    def given(self, value: float) -> float | None:
        """Returns what to weight patients by, so that they stand for those with that value.

        Where nothing but the causal paths ties the cause to the outcome, these are everybody.
        """
        return value if self.spurious else None

    def restrict(self, given: Mapping[str, object]) -> str:
        """Keeps the patients with these values, who are the same whatever the cause.

        Returns:
            Which they are, in words.

        Raises:
            GraphError: If one is unknown, or changes with the cause.
            OptionError: If `given` is no mapping, or a value is no level, number or range.
            TableError: If no row is left.
        """
        if not isinstance(given, Mapping):
            raise OptionError(
                f"given is a mapping from variable to value, as in {{'sex': 'Male'}}; found {given!r}"
            )
        words = []
        kept = np.ones(len(self.rows), dtype=bool)
        graph = self.scm.graph
        for name, wanted in given.items():
            graph.parents(name)
            if name == self.cause or name in graph.descendants(self.cause):
                raise GraphError(
                    f"{name!r} changes with {self.cause!r}, so patients alike in it are not alike in "
                    f"both worlds; counterfactual_probability answers for given rows"
                )
            variable = graph.variables[name]
            if name not in self.rows.columns:
                raise TableError(f"the table has no column {name!r} to choose patients by")
            column = self.rows[name]
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
        self.kept = np.flatnonzero(kept)
        return where

    def measure(
        self, terms: Sequence[Term], statistics: Statistics
    ) -> tuple[list[Figure], np.ndarray]:
        """Returns figures that are functions of sums of terms, and the sums of the whole table.

        The interval is Student's, by the spread of the figures over replicates of patients and
        parameters; of fixed parameters it is the percentile interval of a patient bootstrap.

        Arguments:
            terms: What is expected of each patient.
            statistics: The figures of some sums.
        """
        self.uncertainty = uncertainty_of(
            self.scm, self.rows, self.values, self.labels, self._reads(terms), self.parameters
        )
        parts, exact = self._nested().expectations(terms)
        mean = parts.mean(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            value = statistics(mean.sum(0)[None])[0]
            each = np.concatenate([statistics(part.sum(0)[None]) for part in parts])
            low, high = self._interval(terms, statistics, mean, value, exact=exact)
        error = np.zeros_like(value) if exact else each.std(0, ddof=1) / np.sqrt(len(parts))
        figures = [
            Figure(float(v), float(a), float(b), float(e))
            for v, a, b, e in zip(value, low, high, error, strict=True)
        ]
        return figures, mean.sum(0)

    def _interval(
        self,
        terms: Sequence[Term],
        statistics: Statistics,
        mean: np.ndarray,
        value: np.ndarray,
        *,
        exact: bool,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the ends of the figures' intervals, of terms (rows, terms) that are expected."""
        uncertainty = self.uncertainty
        if uncertainty.replicates is None and not self.refits:
            bootstrap = PatientBootstrap(
                self.of_rows[self.kept],
                resamples=self.resamples,
                confidence=self.confidence,
                seed=self.seed,
            )
            _, low, high = bootstrap.of_sums(mean, statistics)
            return low, high
        total, free = mean.sum(0), self.patients - 1.0
        if self.refits:  # a resample is of all patients, not of one less
            sums = np.stack([*self._refitted(terms)])
            changes = np.sqrt((free + 1) / max(free, 1)) * (statistics(sums) - value)
            freedom = np.full(len(value), free)
        else:
            of_patients, of_fit = (
                statistics(total + part) - value
                for part in self._replicated(terms, mean, exact=exact)
            )
            # Weights that are divided by their sum vary less than a mean does.
            of_patients *= np.sqrt((free + 2) / max(free, 1))
            changes = of_patients + of_fit
            fits = uncertainty.patients - 1.0
            parts = [part.var(0, ddof=1) for part in (of_patients, of_fit)]
            freedom = satterthwaite(parts, [free, fits]) * (free > 0)
        return student_interval(value, value + changes, freedom, self.confidence)

    def _replicated(
        self, terms: Sequence[Term], mean: np.ndarray, *, exact: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns how the sums change with the patients and with the fit, (draws, terms) each."""
        codes, present = pd.factorize(self.of_rows[self.kept])
        return self.uncertainty.changes(
            lambda mechanisms, some: self._nested(mechanisms, self.kept[some]),
            self.scm.mechanisms,
            self._reads(terms),
            terms,
            mean,
            (codes, self.words[present]),
            exact=exact,
            seed=self.seed,
        )

    def expect(self, terms: Sequence[Term]) -> np.ndarray:
        """Returns the means of terms over all rows that are kept, (terms,)."""
        return self._nested().expectations(terms)[0].mean((0, 1))

    def _refitted(self, terms: Sequence[Term]) -> Iterator[np.ndarray]:
        """Yields the sums (terms,) over resampled patients, of mechanisms that are fitted to them."""
        from cxrcausal.scm.fit.choice import fit_mechanism

        scm = self.scm
        rng = np.random.default_rng([self.seed, self.refits])
        values = {name: x.cpu() for name, x in self.values.items()}
        codes, patients = pd.factorize(self.of_rows)
        for _ in range(self.refits):
            share = np.full(len(patients), 1 / len(patients))
            weights = rng.multinomial(len(patients), share)[codes].astype(np.float64)
            anew = {
                name: fit_mechanism(
                    scm.mechanisms[name].variable,
                    scm.mechanisms[name].parents,
                    values,
                    self.of_rows,
                    family=scm.family,
                    coupling=scm.coupling,
                    hidden=scm.hidden,
                    weights=weights,
                    seed=self.seed,
                ).to(scm.device)
                for name in self._reads(terms)
            }
            parts, _ = self._nested({**scm.mechanisms, **anew}).expectations(terms)
            yield weights[self.kept] @ parts.mean(0)

    def _reads(self, terms: Sequence[Term]) -> list[str]:
        """Returns the variables whose mechanisms the terms read."""
        own = any(term.given is not None or term.tilt is not None for term in terms)
        return [*self.worlds.moved, *([self.cause] if own else [])]

    def _nested(
        self, mechanisms: Mechanisms | None = None, rows: np.ndarray | None = None
    ) -> Nested:
        """Returns the questions to some mechanisms about some rows; all that are kept if None."""
        rows = self.kept if rows is None else rows
        return Nested(
            self.scm.mechanisms if mechanisms is None else mechanisms,
            self.supports,
            self.worlds,
            self.level,
            {name: x[rows] for name, x in self.values.items()},
            self.num_samples,
            self.seed,
        )

    def _check_refits(self, refits: int) -> int:
        """Returns how many refits are asked for, if the mechanisms can be fitted to the table."""
        fewest = 2
        if refits and refits < fewest:
            raise OptionError(
                f"refits is 0, or at least {fewest} to have a spread; found {refits}"
            )
        if refits and self.scm.data_fingerprint is None:
            raise OptionError(
                "this SCM's mechanisms were given, not fitted, so none can be refitted"
            )
        if refits and data_fingerprint(self.rows, self.scm.graph) != self.scm.data_fingerprint:
            raise OptionError(
                f"refits={refits} fits anew on resampled patients of the table that the SCM was "
                f"fitted to, and this is another one; leave refits out: the interval counts the "
                f"estimation error by what the fit kept of it"
            )
        return refits

    def _number(self, value: object) -> float:
        """Returns a value of the cause as the SCM counts it."""
        setting = resolve(
            {self.cause: value}, self.rows.iloc[:1], self.scm.graph, self.scm.observed
        )[self.cause]
        if not isinstance(setting, Fixed):
            raise OptionError(f"levels are two values of {self.cause!r}; found {value!r}")
        return float(setting.values[0])
