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
from cxrcausal.scm.unknown.elimination import (
    BUDGET,
    MOST_ENTRIES,
    Elimination,
    largest_table,
    refuse_impossible,
    summed,
    sums,
)
from cxrcausal.scm.unknown.factor import Grid, joint_axes
from cxrcausal.scm.unknown.network import Network, Values, at, predict_along
from cxrcausal.scm.unknown.pattern import Absence, absences
from cxrcausal.scm.unknown.posterior import fill_unknown, only

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
        self.log_evidence: dict[tuple[object, ...], Tensor] = {}  # what terms have in common

    def expectations(self, terms: Sequence[Term]) -> tuple[np.ndarray, bool]:
        """Returns the terms (parts, rows, terms), and whether they are free of sampling.

        Without draws there is one part; with draws the parts are `BATCHES` independent answers.
        """
        answers: dict[Term, tuple[Tensor, bool]] = {}
        groups = absences(self.known.mechanisms, self.known.values)
        for term in dict.fromkeys(terms):
            parts = torch.zeros(BATCHES, len(self.known.index), dtype=torch.float64)
            exact = True
            for question in self._questions(term, groups):
                unique, inverse = question.sum.distinct(question.rows)
                largest = question.size(unique[:1])
                by_table = largest is not None and largest <= MOST_ENTRIES
                exact &= by_table
                share = largest if by_table and largest else self.draws * len(self.worlds.moved)
                step = max(1, BUDGET // (4 * share))
                found = [
                    question.exact(subset)[None].expand(BATCHES, -1)
                    if by_table
                    else question.by_draws(subset)
                    for subset in unique.split(step)
                ]
                rows = torch.from_numpy(question.rows)
                parts[:, rows] = torch.cat([f.cpu() for f in found], 1)[:, inverse]
            answers[term] = parts, exact
        exact = all(e for _, e in answers.values())
        stacked = torch.stack([answers[term][0] for term in terms], -1).numpy()
        return (stacked[:1] if exact else stacked), exact

    def _questions(self, term: Term, groups: Sequence[Absence]) -> "list[_Question]":
        """Returns a term's questions: one to all rows for which it is the same sum."""
        facts = self._facts(term)
        return [
            _Question(self, term, facts, one, rows)
            for one, rows in sums(self.known, groups, facts)
        ]

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
    """One term for the rows that lack the same of what it needs."""

    def __init__(
        self, nested: Nested, term: Term, facts: set[str], one: Elimination, rows: np.ndarray
    ) -> None:
        self.nested, self.term, self.rows = nested, term, rows
        self.mechanisms, self.worlds = nested.known.mechanisms, nested.worlds
        self.copies = nested.worlds.needed(term.outcome)
        self.facts, self.sum = facts, one

    def size(self, rows: Tensor) -> int | None:
        """Returns the entries per row of the largest table; None if no table answers."""
        several = max(
            (len(c) for v, c in self.copies.items() if v != self.worlds.cause), default=1
        )
        wide = any(
            self.mechanisms[v].support is None and self.mechanisms[v].noise_size > 1
            for v in self.copies
            if v != self.worlds.cause
        )
        if several > 2 or wide:
            return None
        network, kept = self._network(rows)
        of = self.mechanisms[self.worlds.outcome]
        spread = NODES if of.support is None and self.term.outcome else 1
        kept_entries = math.prod(network.axes[axis] for axis in kept.axes)
        return max(largest_table(network, kept), spread * kept_entries)

    def exact(self, rows: Tensor) -> Tensor:
        """Returns the term (rows,) of these rows by elimination."""
        value, weight = summed(*self._network(rows), len(rows))
        return ((weight - self._log_evidence(rows)[:, None]).exp() * value).sum(1)

    def by_draws(self, rows: Tensor) -> Tensor:
        """Returns the term (batches, rows) of these rows as means over draws with common noise."""
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
            chance = self._chance(pas)
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

    def _log_evidence(self, rows: Tensor) -> Tensor:
        """Returns the log-probability (rows,) of the evidence, unknown cells summed out."""
        cells, kept = self.sum.cells, self.nested.log_evidence
        if not cells:
            return torch.zeros(len(rows), dtype=torch.float64, device=self._device)
        key = (cells, rows.numpy().tobytes())
        if key not in kept:
            one = Grid.of((), torch.ones(1, dtype=torch.float64, device=self._device))
            _, weight = summed(self.sum.network(rows), one, len(rows))
            refuse_impossible(weight[:, 0], rows, self.nested.known.index, cells)
            kept[key] = weight[:, 0]
        return kept[key]

    def _network(self, rows: Tensor) -> tuple[Network, Grid]:
        """Returns the network of these rows, and the value whose mean under it is the answer."""
        network = self.sum.network(rows)
        world: dict[Copy, Grid] = {}
        for name, copies in self.copies.items():
            if name == self.worlds.cause:
                for copy in copies:
                    set_to = torch.tensor([copy.value], dtype=torch.float64, device=self._device)
                    world[copy] = Grid.of((), set_to)
            elif name != self.worlds.outcome:
                self._add(network, world, name, copies)
        if self.term.given is not None:
            x = torch.full((len(rows),), self.term.given, dtype=torch.float64)
            network.factors[f"{self.worlds.cause}*"] = self._cause(
                network, Grid.of((), x.to(self._device))
            )
        one = Grid.of((), torch.ones(1, dtype=torch.float64, device=self._device))
        if not self.term.outcome:
            return network, one
        outcome = self._outcome(network, world)
        if self.nested.level is None:  # may be negative, so it is no weight
            return network, outcome
        network.factors[f"{self.worlds.outcome}*"] = Grid(
            outcome.axes, lambda: outcome.table.log()
        )
        return network, one

    def _cause(self, network: Network, x: Grid) -> Grid:
        """Returns the log-probability of a value of the cause given its own causes."""
        mechanism = self.mechanisms[self.worlds.cause]
        pa = network.parents(self.worlds.cause, network.cell)
        axes = joint_axes(pa.values(), network.axes)
        return Grid(axes, lambda: mechanism.log_prob(x.along(axes), at(pa, axes)))

    def _read(self, network: Network, world: Mapping[Copy, Grid], copy: Copy) -> dict[str, Grid]:
        def grid(parent: str) -> Grid:
            return world[copy.reads[parent]] if parent in copy.reads else network.cell(parent)

        return network.parents(copy.name, grid)

    def _add(
        self, network: Network, world: dict[Copy, Grid], name: str, copies: Sequence[Copy]
    ) -> None:
        """Adds a variable between cause and outcome, in one world or in two."""
        mechanism = self.mechanisms[name]
        pas = [self._read(network, world, copy) for copy in copies]
        if mechanism.support is None:
            axis, (noise, log_weight) = f"{name} noise", _nodes(mechanism)
            before = [joint_axes(pa.values(), network.axes) for pa in pas]
            network.add_axis(axis, noise)
            network.factors[axis] = Grid.of((axis,), log_weight[None])
            for copy, pa, inner in zip(copies, pas, before, strict=True):
                world[copy] = _moved(mechanism, noise, pa, (*inner, axis))
            return
        first = network.add_axis(name + "′", mechanism.support)
        network.factors[name + "′"] = _prior(mechanism, pas[0], network, name + "′")
        world[copies[0]] = first
        if len(copies) > 1:
            world[copies[1]] = network.add_axis(name + "″", mechanism.support)
            axes = joint_axes((first, *pas[0].values(), *pas[1].values()), network.axes)
            network.factors[name + "″"] = Grid(
                (*axes, name + "″"), lambda: _transition(mechanism, first, pas, axes).log()
            )

    def _outcome(self, network: Network, world: Mapping[Copy, Grid]) -> Grid:
        """Returns what is asked of the outcome, given its parents in each world."""
        mechanism, tilt = self.mechanisms[self.worlds.outcome], self.term.tilt
        pas = [self._read(network, world, copy) for copy in self.term.outcome]
        axes = joint_axes([grid for pa in pas for grid in pa.values()], network.axes)
        if self.nested.level is None:
            return Grid(axes, lambda: _mean(mechanism, at(pas[0], axes), len(axes) + 1))
        if tilt is None:
            return Grid(axes, lambda: self._chance([at(pa, axes) for pa in pas]))
        cause = _cause_of(self.term.outcome[0], self.worlds.cause)
        own = self._cause(network, world[cause])
        both = tuple(axis for axis in network.axes if axis in {*own.axes, *axes})
        plain = Grid(axes, lambda: self._chance([at(pas[0], axes)]))
        return Grid(both, lambda: tilt(plain.along(both), own.along(both).exp()))

    def _chance(self, pas: Sequence[Mapping[str, Tensor]]) -> Tensor:
        """Returns the probability of the level, or of the level there and of another here."""
        mechanism, level = self.mechanisms[self.worlds.outcome], self.nested.level
        assert level is not None
        first = mechanism.log_probs(pas[0])[..., level].exp()
        if len(pas) == 1:
            return first
        shapes = [x.shape for pa in pas for x in pa.values()]
        batch = torch.broadcast_shapes(*shapes)
        x = torch.full(batch, float(level), dtype=torch.float64, device=self._device)
        there, here = ({p: v.expand(batch) for p, v in pa.items()} for pa in pas)
        stays = mechanism.transition(x, there, here)[..., level]
        return torch.where(first > 0, first * (1.0 - stays).clamp(min=0.0), 0.0)


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


def _prior(mechanism: Mechanism, pa: Mapping[str, Grid], network: Network, name: str) -> Grid:
    inner = tuple(a for a in joint_axes(pa.values(), network.axes) if a != name)

    def table() -> Tensor:
        found = mechanism.log_probs(at(pa, inner))
        return found if found.ndim == len(inner) + 2 else found[None]

    return Grid((*inner, name), table)


def _transition(
    mechanism: Mechanism, x: Grid, pas: Sequence[Mapping[str, Grid]], axes: Sequence[str]
) -> Tensor:
    """Returns the distribution (rows or 1, *sizes, levels) of a variable in a second world."""
    value, now, then = x.along(axes), at(pas[0], axes), at(pas[1], axes)
    shapes = [t.shape for t in (*now.values(), *then.values())]
    batch = torch.broadcast_shapes(value.shape, *shapes)
    found = mechanism.transition(
        value.expand(batch),
        {name: t.expand(batch) for name, t in now.items()},
        {name: t.expand(batch) for name, t in then.items()},
    )
    return found.nan_to_num(0.0)  # from a level that is impossible there


def _moved(
    mechanism: Mechanism, noise: Tensor, pa: Mapping[str, Grid], axes: tuple[str, ...]
) -> Grid:
    return Grid(axes, lambda: predict_along(mechanism, noise, pa, axes))


def _mean(mechanism: Mechanism, pa: Mapping[str, Tensor], dimensions: int) -> Tensor:
    """Returns the mean (rows or 1, *sizes) of a variable given its parents."""
    if mechanism.support is not None:
        return mechanism.log_probs(pa).exp() @ mechanism.support
    noise, log_weight = _nodes(mechanism)
    wide = {name: x[..., None] for name, x in pa.items()}
    batch = torch.broadcast_shapes(*(x.shape for x in wide.values()), (1,) * dimensions + (NODES,))
    return mechanism.predict(noise.expand(*batch, -1), wide) @ log_weight.exp()
