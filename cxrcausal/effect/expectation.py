r"""Expectations over nested worlds, for every patient, exactly wherever tables allow.

What the cause does not reach is taken from each patient's row, cells that the row lacks from their
joint posterior. Given that, everything below the cause has fresh noise: a variable in one world
adds its table :math:`P(v \mid \mathrm{pa})`, a second world of it the coupling's transition
:math:`P(v^* \mid v, \mathrm{pa}, \mathrm{pa}^*)`, and elimination sums them out. A continuum is a
sum over `NODES` points of its normal score, where the trapezoidal rule is exact to rounding for
smooth integrands. Where a table would be too large, or a question needs three worlds of one
variable, a mean over draws with common noise stands in, in `BATCHES` parts whose spread is its
error.

References:
    | Complete Identification Methods for the Causal Hierarchy, on twin and parallel worlds
    | (Shpitser and Pearl, 2008), https://www.jmlr.org/papers/v9/shpitser08a.html
    | The Exponentially Convergent Trapezoidal Rule
    | (Trefethen and Weideman, 2014), https://doi.org/10.1137/130932132
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from cxrcausal.effect.worlds import Copy, Worlds
from cxrcausal.randomness import label_words
from cxrcausal.scm.draws import Draws
from cxrcausal.scm.evidence import Evidence
from cxrcausal.scm.mechanism.base import Mechanism
from cxrcausal.scm.unknown.contraction import (
    BUDGET,
    Part,
    Plan,
    contractions,
    values_kept,
)
from cxrcausal.scm.unknown.elimination import (
    MOST_ENTRIES,
    Elimination,
    Sums,
    refuse_impossible,
    sums,
)
from cxrcausal.scm.unknown.factor import Grid, Rows, joint_axes
from cxrcausal.scm.unknown.network import (
    Mechanisms,
    Network,
    Values,
    predict_along,
    reads_of,
)
from cxrcausal.scm.unknown.posterior import fill_unknown, only
from cxrcausal.scm.unknown.tables import Tables

__all__ = ["Nested", "Term", "Tilt"]

NODES = 128
"""The number of points at which a continuum below the cause is evaluated."""

BATCHES = 16
"""The number of parts of the draws, whose spread is their error."""

_REACH = 7.0  # normal scores beyond this are left out: less than 3e-12 of the mass

Tilt = Callable[[Tensor, Tensor], Tensor]
"""From the outcome's probability given its parents, and the cause's given its own, to another."""


@final
@dataclass(frozen=True)
class Term:
    r"""One expectation per patient.

    Arguments:
        outcome: The copies of the outcome. Of one: whether it has its level, or its value if it
            has none. Of two: whether the first has the level and the second has not. Of none: one.
        given: The value of the cause that patients are weighted by, :math:`p(x \mid pa)`.
        tilt: The change of the outcome's probability; none if None.
    """

    outcome: tuple[Copy, ...] = ()
    given: float | None = None
    tilt: Tilt | None = None


@final
class Nested:
    """Questions about one outcome and one cause, for rows.

    Arguments:
        known: The evidence on the rows.
        worlds: The copies that are asked about.
        level: The outcome's level; None for its value.
        draws: The number of draws that stand in for a sum that is too large.
        seed: The seed of the draws.
    """

    def __init__(
        self,
        known: Evidence,
        worlds: Worlds,
        level: int | None,
        draws: int,
        seed: int,
    ) -> None:
        self.known, self.worlds, self.level = known, worlds, level
        self.draws, self.seed = BATCHES * math.ceil(draws / BATCHES), seed
        self.tables = Tables(known.mechanisms, known.values)
        self._sums: dict[frozenset[str], Sums] = {}
        self._plans: dict[object, Plan | None] = {}

    def under(self, mechanisms: Mechanisms) -> "Nested":
        """Returns the same questions under other mechanisms: what is summed how stays as it is."""
        known = dataclasses.replace(self.known, mechanisms=mechanisms)
        nested = Nested(known, self.worlds, self.level, self.draws, self.seed)
        nested.tables = self.tables.under(mechanisms)
        nested._sums, nested._plans = self._sums, self._plans
        return nested

    @torch.no_grad()  # mechanisms that were given, not fitted, may still ask for gradients
    def expectations(self, terms: Sequence[Term]) -> tuple[np.ndarray, bool]:
        """Returns the terms (parts, rows, terms), and whether they are free of sampling.

        Without draws there is one part; with draws the parts are `BATCHES` independent answers.

        Raises:
            TableError: If a row is impossible under the mechanisms.
        """
        questions = [_Question(self, term) for term in dict.fromkeys(terms)]
        plans = {q.term: [q.plan(one) for one in q.sums.each] for q in questions}
        exact = all(plan is not None for of_term in plans.values() for plan in of_term)
        found = self._exact(questions, plans)
        answers = {}
        for question in questions:
            asked = question.sums
            parts = found[question.term].expand(1 if exact else BATCHES, -1).clone()
            for start, rows, plan in zip(
                asked.starts, asked.rows, plans[question.term], strict=True
            ):
                if plan is None:
                    parts[:, start : start + len(rows)] = question.by_draws(rows)
            answers[question.term] = parts[:, torch.from_numpy(asked.place)]
        return torch.stack([answers[term] for term in terms], -1).numpy(), exact

    def _exact(
        self, questions: "Sequence[_Question]", plans: Mapping[Term, Sequence[Plan | None]]
    ) -> dict[Term, Tensor]:
        """Returns each term (distinct rows,) wherever a sum answers it."""
        several = {id(question.sums): question.sums for question in questions}
        evidence = []
        for key, asked in several.items():
            of_terms = [plans[q.term] for q in questions if id(q.sums) == key]
            needed = [any(each) for each in zip(*of_terms, strict=True)]
            evidence.append(
                [
                    self._evidence(one) if one.cells and need else None
                    for one, need in zip(asked.each, needed, strict=True)
                ]
            )
        asked_of_terms = [(question.sums, plans[question.term]) for question in questions]
        found = self._summed([*zip(several.values(), evidence, strict=True), *asked_of_terms])
        log_evidence = {key: total for key, (total, _) in zip(several, found, strict=False)}
        for key, asked in several.items():
            for one, rows, start in zip(asked.each, asked.rows, asked.starts, strict=True):
                weight = log_evidence[key][start : start + len(rows)]
                refuse_impossible(weight, torch.from_numpy(rows), self.known.index, one.cells)
        return {
            question.term: (total - log_evidence[id(question.sums)]).exp() * mean
            for question, (total, mean) in zip(questions, found[len(several) :], strict=True)
        }

    def _summed(
        self, asked: Sequence[tuple[Sums, Sequence[Plan | None]]]
    ) -> list[tuple[Tensor, Tensor]]:
        """Returns log-weights and means of what is kept (distinct rows,), all taken at once.

        They are 0 and 1 where there is no plan.

        Arguments:
            asked: The sums of each question, and how each of them is taken.
        """
        found, parts, place = list[tuple[Tensor, Tensor]](), list[Part](), list[tuple[int, int]]()
        for question, (of_question, plans) in enumerate(asked):
            zeros = torch.zeros(sum(map(len, of_question.rows)), dtype=torch.float64)
            found.append((zeros, zeros + 1.0))
            for plan, rows, start in zip(plans, of_question.rows, of_question.starts, strict=True):
                if plan is not None:
                    parts.append(Part(plan, rows, len(place)))
                    place.append((question, int(start)))
        for chunk in contractions(self.tables, parts):
            for part, total, share in chunk.answers():
                question, first = place[part.number]
                rows_here = slice(first + part.start, first + part.start + len(total))
                found[question][0][rows_here] = torch.from_numpy(total)
                if part.plan.kept is not None:
                    mean = (share * values_kept(self.tables, part)).sum(1)
                    found[question][1][rows_here] = torch.from_numpy(mean)
        return found

    def _evidence(self, one: Elimination) -> Plan:
        """Returns how the probability of what is known is summed, which terms have in common."""
        if one.key not in self._plans:
            self._plans[one.key] = Plan.of(one.network())
        plan = self._plans[one.key]
        assert plan is not None
        return plan

    def _facts(self, term: Term) -> set[str]:
        """Returns the variables that the cause does not reach and whose values a term reads."""
        worlds = self.worlds
        inside = {worlds.cause, *worlds.moved}
        copies = [v for v in worlds.needed(term.outcome) if v != worlds.cause]
        facts = {p for v in copies for p in worlds.parents[v] if p not in inside}
        if term.given is not None or term.tilt is not None:
            facts.update(worlds.parents[worlds.cause])
        return facts


class _Question:
    """One term, for all rows."""

    def __init__(self, nested: Nested, term: Term) -> None:
        self.nested, self.term = nested, term
        self.mechanisms, self.worlds = nested.known.mechanisms, nested.worlds
        self.copies = nested.worlds.needed(term.outcome)
        self.facts = nested._facts(term)

    @property
    def sums(self) -> Sums:
        """The sums that it needs; terms that read the same facts have the same."""
        kept, facts = self.nested._sums, frozenset(self.facts)
        if facts not in kept:
            kept[facts] = sums(self.nested.known, self.nested.tables, facts)
        return kept[facts]

    @property
    def is_summable(self) -> bool:
        """Whether no variable is in three worlds, and every continuum has one noise."""
        between = [v for v in self.copies if v != self.worlds.cause]
        return all(
            len(self.copies[v]) <= 2
            and (self.mechanisms[v].support is not None or self.mechanisms[v].noise_size <= 1)
            for v in between
        )

    def plan(self, one: Elimination) -> Plan | None:
        """Returns how the term is summed; None if no table answers, or it is too large."""
        key, plans = (self.term, one.key), self.nested._plans
        if key not in plans:
            plans[key] = self._planned(one) if self.is_summable else None
        return plans[key]

    def _planned(self, one: Elimination) -> Plan | None:
        network, kept = self._network(one)
        plan = Plan.of(network, kept, self.term)
        of = self.mechanisms[self.worlds.outcome]
        spread = NODES if of.support is None and self.term.outcome else 1
        points = math.prod(plan.kept.sizes) if plan.kept is not None else 1
        return plan if max(plan.largest, spread * points) <= MOST_ENTRIES else None

    def by_draws(self, positions: np.ndarray) -> Tensor:
        """Returns the term (batches, rows) of these rows as means over draws with common noise."""
        step = max(1, BUDGET // (4 * self.nested.draws * len(self.worlds.moved)))
        return torch.cat(
            [self._drawn(rows).cpu() for rows in torch.from_numpy(positions).split(step)], 1
        )

    def _drawn(self, rows: Tensor) -> Tensor:
        nested = self.nested
        here = nested.known.take(rows)
        labels = label_words(nested.known.index)[rows.numpy()]
        draws = Draws(nested.seed, labels, nested.draws)
        facts = fill_unknown(here, draws, only(self.facts))
        noise: dict[str, Tensor] = {}
        world: dict[Copy, Tensor] = {}
        for name, copies in self.copies.items():
            mechanism = self.mechanisms[name]
            if name == self.worlds.outcome and nested.level is not None:
                continue
            for copy in copies:
                if copy.value is not None:
                    alike = torch.full_like(here.values[name], copy.value)
                    world[copy] = alike.repeat_interleave(nested.draws)
                    continue
                if name not in noise:
                    u = draws.uniform(f"{name} in another world", size=mechanism.noise_size)
                    noise[name] = mechanism.prior(u.to(self._device))
                world[copy] = mechanism.predict(noise[name], self._parents(copy, facts, world))
        value = torch.ones(len(rows) * nested.draws, dtype=torch.float64, device=self._device)
        cause = self.worlds.cause
        above = {p: facts[p] for p in self.worlds.parents[cause]}
        if self.term.given is not None:
            x = torch.full_like(value, self.term.given)
            value = value * self.mechanisms[cause].log_prob(x, above).exp()
        if self.term.outcome and nested.level is None:
            value = value * world[self.term.outcome[0]]
        elif self.term.outcome:
            pas = [self._parents(copy, facts, world) for copy in self.term.outcome]
            assert nested.level is not None
            chance = _chance(self.mechanisms[self.worlds.outcome], nested.level, pas)
            if self.term.tilt is not None:
                x = world[_cause_of(self.term.outcome[0], cause)]
                own = self.mechanisms[cause].log_prob(x, above).exp()
                chance = self.term.tilt(chance, own)
            value = value * chance
        return value.reshape(len(rows), BATCHES, -1).mean(-1).T

    @property
    def _device(self) -> torch.device:
        return self.nested.known.device

    def _parents(
        self, copy: Copy, facts: Values, world: Mapping[Copy, Tensor]
    ) -> dict[str, Tensor]:
        """Returns the values (rows * draws,) that a copy reads."""
        return {
            p: world[copy.reads[p]] if p in copy.reads else facts[p]
            for p in self.worlds.parents[copy.name]
        }

    def _network(self, one: Elimination) -> tuple[Network, Grid | None]:
        """Returns the network of the rows, and the value whose mean is the answer, if one is."""
        network = one.network()
        world: dict[Copy, Grid] = {}
        for name, copies in self.copies.items():
            if name == self.worlds.cause:
                for copy in copies:
                    assert copy.value is not None
                    value = torch.tensor([copy.value], dtype=torch.float64, device=self._device)
                    world[copy] = network.set_to(value)
            elif name != self.worlds.outcome:
                self._add(network, world, name, copies)
        if self.term.given is not None:
            value = torch.tensor([self.term.given], dtype=torch.float64, device=self._device)
            network.factors[f"{self.worlds.cause}*"] = network.log_prob(
                self.worlds.cause, network.set_to(value), network.cell
            )
        if not self.term.outcome:
            return network, None
        pas = [self._read(network, world, copy) for copy in self.term.outcome]
        if self.nested.level is None:  # may be negative, so it is no weight
            return network, self._mean(network, pas[0])
        network.factors[f"{self.worlds.outcome}*"] = self._log_chance(network, world, pas)
        return network, None

    def _read(self, network: Network, world: Mapping[Copy, Grid], copy: Copy) -> dict[str, Grid]:
        def grid(parent: str) -> Grid:
            return world[copy.reads[parent]] if parent in copy.reads else network.cell(parent)

        return network.parents(copy.name, grid)

    def _add(
        self, network: Network, world: dict[Copy, Grid], name: str, copies: Sequence[Copy]
    ) -> None:
        """Adds a variable between cause and outcome, in one world or in two."""
        mechanism = self.mechanisms[name]
        if mechanism.support is None:
            pas = [self._read(network, world, copy) for copy in copies]
            axis, (noise, log_weight) = f"{name} noise", _nodes(mechanism)
            before = [joint_axes(pa.values(), network.axes) for pa in pas]
            network.add_axis(axis, noise)
            network.factors[axis] = Grid.of((axis,), log_weight[None])
            for copy, pa, inner in zip(copies, pas, before, strict=True):
                world[copy] = _moved(name, noise, pa, (*inner, axis))
            return

        def reader(copy: Copy) -> Callable[[str], Grid]:
            return lambda p: world[copy.reads[p]] if p in copy.reads else network.cell(p)

        first = network.add_log_probs(name, reader(copies[0]), name + "′", mechanism.support)
        world[copies[0]] = first
        if len(copies) > 1:
            pas = [self._read(network, world, copy) for copy in copies]
            world[copies[1]] = _add_second(network, name, first, pas, mechanism.support)

    def _mean(self, network: Network, pa: Mapping[str, Grid]) -> Grid:
        """Returns the mean of the outcome given its parents."""
        name = self.worlds.outcome

        def function(mechanisms: Mechanisms, values: Sequence[Tensor]) -> Tensor:
            return _mean(mechanisms[name], dict(zip(pa, values, strict=True)))

        return network.family(("mean", name), (name,), tuple(pa.values()), function)

    def _log_chance(
        self, network: Network, world: Mapping[Copy, Grid], pas: Sequence[Mapping[str, Grid]]
    ) -> Grid:
        """Returns the log-probability of what is asked of the outcome's level."""
        name, cause, tilt = self.worlds.outcome, self.worlds.cause, self.term.tilt
        level, names = self.nested.level, tuple(pas[0])
        assert level is not None
        cells = [grid for pa in pas for grid in pa.values()]
        if tilt is None:

            def function(mechanisms: Mechanisms, values: Sequence[Tensor]) -> Tensor:
                each = [
                    dict(zip(names, values[i : i + len(names)], strict=True))
                    for i in range(0, max(1, len(values)), max(1, len(names)))
                ]
                return _chance(mechanisms[name], level, each).log()

            return network.family(("chance", name, level, len(pas)), (name,), cells, function)
        above = network.parents(cause, network.cell)
        x = world[_cause_of(self.term.outcome[0], cause)]

        def tilted(mechanisms: Mechanisms, values: Sequence[Tensor]) -> Tensor:
            of_outcome, value = values[: len(names)], values[len(names)]
            pa = dict(zip(names, of_outcome, strict=True))
            own = dict(zip(above, values[len(names) + 1 :], strict=True))
            plain = _chance(mechanisms[name], level, [pa])
            return tilt(plain, mechanisms[cause].log_prob(value, own).exp()).log()

        cells = [*cells, x, *above.values()]
        return network.family(("tilt", tilt, name, level), (name, cause), cells, tilted)


def _cause_of(copy: Copy, cause: str) -> Copy:
    """Returns the copy of the cause that a copy descends from, where it is one."""
    while copy.name != cause:
        copy = copy.reads.get(cause) or next(iter(copy.reads.values()))
    return copy


def _nodes(mechanism: Mechanism) -> tuple[Tensor, Tensor]:
    """Returns the noise (nodes, noise_size) of a continuum, and the log-weights (nodes,)."""
    score = torch.linspace(-_REACH, _REACH, NODES, dtype=torch.float64, device=mechanism.device)
    log_weight = (-0.5 * score**2).log_softmax(0)
    uniform = torch.special.ndtr(score)[:, None].expand(-1, mechanism.noise_size)
    return mechanism.prior(uniform), log_weight


def _chance(mechanism: Mechanism, level: int, pas: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """Returns the probability of a level, or of the level there and of another here."""
    first = mechanism.log_probs(pas[0])[..., level].exp()
    if len(pas) == 1:
        return first
    batch = torch.broadcast_shapes(*(x.shape for pa in pas for x in pa.values()))
    x = torch.full(batch, float(level), dtype=torch.float64, device=mechanism.device)
    there, here = ({p: v.expand(batch) for p, v in pa.items()} for pa in pas)
    stays = mechanism.transition(x, there, here)[..., level]
    return torch.where(first > 0, first * (1.0 - stays).clamp(min=0.0), 0.0)


def _add_second(
    network: Network, name: str, x: Grid, pas: Sequence[Mapping[str, Grid]], support: Tensor
) -> Grid:
    """Adds the distribution of a variable in a second world to a network, and returns its value.

    Arguments:
        network: The network.
        name: The variable.
        x: Its value in the first world.
        pas: Its parents in both.
        support: The values (levels,) that it may have.
    """
    parents, count = tuple(pas[0]), len(pas[0])

    def function(mechanisms: Mechanisms, values: Sequence[Tensor]) -> Tensor:
        value, *pa = torch.broadcast_tensors(*values)
        now, then = (dict(zip(parents, v, strict=True)) for v in (pa[:count], pa[count:]))
        found = mechanisms[name].transition(value, now, then)
        return found.nan_to_num(0.0).log()  # from a level that is impossible there

    own = network.add_axis(name + "″", support)
    cells = (x, *pas[0].values(), *pas[1].values())
    network.factors[name + "″"] = network.family(("second", name), (name,), cells, function, own)
    return own


def _moved(name: str, noise: Tensor, pa: Mapping[str, Grid], axes: tuple[str, ...]) -> Grid:
    """Returns the value of a continuum whose noise is an axis."""

    def make(rows: Rows) -> Tensor:
        return predict_along(rows.mechanisms[name], noise, pa, axes, rows)

    return Grid(axes, make, reads_of(pa.values()))


def _mean(mechanism: Mechanism, pa: Mapping[str, Tensor]) -> Tensor:
    """Returns the mean (*batch) of a variable given its parents."""
    if mechanism.support is not None:
        return mechanism.log_probs(pa).exp() @ mechanism.support
    noise, log_weight = _nodes(mechanism)
    wide = {name: x[..., None] for name, x in pa.items()}
    batch = torch.broadcast_shapes(*(x.shape for x in wide.values()), (NODES,))
    return mechanism.predict(noise.expand(*batch, -1), wide) @ log_weight.exp()
