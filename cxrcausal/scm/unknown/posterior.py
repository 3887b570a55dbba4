"""Unknown cells: drawn from their joint posterior, or summed out of the likelihood.

Cells without a known descendant say nothing about the rest and are drawn forward, causes first.
The others fall into components that are independent given what is known, and each is summed out:
exactly for levels and grids, over `QUANTILES` cells for a continuum, whose draws are spread evenly
over the cell that was drawn. Components of all rows are worked on together
(`contraction`).

Posteriors assume that cells are missing at random given the known ones.

References:
    | Probabilistic Reasoning in Intelligent Systems (Pearl, 1988), Morgan Kaufmann
    | Inference and Missing Data (Rubin, 1976), https://doi.org/10.1093/biomet/63.3.581
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from cxrcausal.scm.draws import Draws
from cxrcausal.scm.evidence import Evidence
from cxrcausal.scm.unknown.contraction import Chunk, Part, Plan, contractions
from cxrcausal.scm.unknown.elimination import MOST_ENTRIES, Elimination, refuse_impossible
from cxrcausal.scm.unknown.network import QUANTILES
from cxrcausal.scm.unknown.pattern import Component, components, informed_cells, lacking_cells
from cxrcausal.scm.unknown.tables import Tables

__all__ = ["fill_unknown", "log_evidence", "only"]

Needed = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""From which cells are unknown (rows,) to which of them are wanted (rows,), by variable."""


def fill_unknown(known: Evidence, draws: Draws, needed: Needed | None = None) -> dict[str, Tensor]:
    """Returns the values with unknown cells drawn from their joint posterior.

    Arguments:
        known: What is known of the rows.
        draws: The random numbers.
        needed: Which of the unknown cells are wanted; all of them if None. What is not wanted may
            stay NaN.

    Returns:
        Values (rows * num_samples,) by variable, by row and then by draw.

    Raises:
        TableError: If an exact sum would be too large, or a row is impossible under the model.
    """
    mechanisms, samples = known.mechanisms, draws.num_samples
    filled = {name: known.values[name].repeat_interleave(samples) for name in mechanisms}
    lacks = lacking_cells(mechanisms, known.values)
    informed = informed_cells(mechanisms, lacks)
    wanted = {
        name: mask.clone() for name, mask in (lacks if needed is None else needed(lacks)).items()
    }
    for name in reversed(list(mechanisms)):
        forward = wanted[name] & ~informed[name]  # drawn forward, so it needs its own causes
        for parent in mechanisms[name].parents:
            wanted[parent.name] |= forward & lacks[parent.name]
    found = components(mechanisms, lacks, informed, wanted)
    for chunk in _sums(known, found, samples):
        _fill(known, filled, found, chunk, draws)
    for name, mechanism in mechanisms.items():
        rows = (wanted[name] & ~informed[name]).nonzero().squeeze(1)
        if not len(rows):
            continue
        at = _positions(rows, samples)
        u = draws.uniform(f"{name} unknown", rows.cpu().numpy(), mechanism.noise_size)
        noise = mechanism.prior(u.to(filled[name].device))
        pa = {p.name: filled[p.name][at] for p in mechanism.parents}
        filled[name][at] = mechanism.predict(noise, pa)
    return filled


def only(names: Collection[str]) -> Needed:
    """Returns what is wanted where some variables are, see `fill_unknown`."""
    return lambda lacks: {
        name: lack if name in names else torch.zeros_like(lack) for name, lack in lacks.items()
    }


def log_evidence(known: Evidence) -> Tensor:
    """Returns the log-probability (rows,) of each row's known cells, unknown ones summed out.

    Raises:
        TableError: If an exact sum would be too large.
    """
    mechanisms, values = known.mechanisms, known.values
    lacks = lacking_cells(mechanisms, values)
    informed = informed_cells(mechanisms, lacks)
    total = torch.zeros(len(known.index), dtype=torch.float64, device=known.device)
    for name, mechanism in mechanisms.items():
        family = torch.stack([lacks[v] for v in (name, *(p.name for p in mechanism.parents))])
        rows = (~family.any(0)).nonzero().squeeze(1)
        if len(rows):
            pa = {p.name: values[p.name][rows] for p in mechanism.parents}
            total[rows] += mechanism.log_prob(values[name][rows], pa)
    for chunk in _sums(known, components(mechanisms, lacks, informed, informed)):
        added = torch.from_numpy(chunk.total).to(total.device)
        total.index_add_(0, torch.from_numpy(chunk.rows).to(total.device), added)
    return total


def _sums(known: Evidence, found: Sequence[Component], samples: int = 0) -> Iterator[Chunk]:
    """Yields components, each summed out.

    Arguments:
        known: What is known of the rows.
        found: The components.
        samples: How many draws will be made of each.
    """
    parts = [Part(_planned(known, one), one.rows, number) for number, one in enumerate(found)]
    return contractions(Tables(known.mechanisms, known.values), parts, samples)


def _planned(known: Evidence, component: Component) -> Plan:
    """Returns how a component is summed out.

    Raises:
        TableError: If that takes too large a table.
    """
    elimination = Elimination(known, component.cells, component.conditioned)
    plan = known.plans.get(elimination.key)
    if plan is None:
        plan = known.plans[elimination.key] = Plan.of(elimination.network())
    if plan.largest > MOST_ENTRIES:
        elimination.refuse(plan.largest, component.rows)
    return plan


def _fill(
    known: Evidence,
    filled: dict[str, Tensor],
    found: Sequence[Component],
    chunk: Chunk,
    draws: Draws,
) -> None:
    """Draws the cells of components that are summed out, in place in `filled`."""
    impossible = ~np.isfinite(chunk.total)
    if impossible.any():
        owner = np.repeat(np.arange(len(chunk.parts)), chunk.buckets.counts)
        number = owner[impossible.argmax()]
        here = torch.from_numpy(impossible & (owner == number))
        cells = found[chunk.parts[number].number].cells
        total, rows = torch.from_numpy(chunk.total), torch.from_numpy(chunk.rows)
        refuse_impossible(total[here], rows[here], known.index, cells)
    members: dict[str, list[tuple[int, int]]] = {}
    for number, part in enumerate(chunk.parts):
        for axis, name in enumerate(part.plan.axes):
            members.setdefault(name, []).append((number, axis))
    samples, width = draws.num_samples, max(len(part.plan.axes) for part in chunk.parts)
    uniform = np.zeros((len(chunk.rows), samples, width))
    places = {}
    for name, pairs in members.items():
        numbers, axes = np.array(pairs).T
        networks = chunk.buckets.networks(numbers)
        along = np.repeat(axes, chunk.buckets.counts[numbers])
        u = draws.uniform(f"{name} unknown", chunk.rows[networks])
        uniform[networks, :, along] = u.numpy().reshape(-1, samples)
        places[name] = networks, along
    drawn = chunk.buckets.draw(uniform)
    for name, mechanism in known.mechanisms.items():
        if name not in places:
            continue
        networks, along = places[name]
        rows, x, support = chunk.rows[networks], filled[name], known.supports[name]
        at = torch.from_numpy(drawn[networks, :, along].reshape(-1)).to(x.device)
        positions = _positions(torch.from_numpy(rows), samples).to(x.device)
        if support is not None:
            x[positions] = support[at]
            continue
        spread = draws.uniform(f"{name} within its quantile", rows, mechanism.noise_size)
        noise = mechanism.prior((at[:, None] + spread.to(at.device)) / QUANTILES)
        pa = {p.name: filled[p.name][positions] for p in mechanism.parents}
        x[positions] = mechanism.predict(noise, pa)


def _positions(rows: Tensor, samples: int) -> Tensor:
    """Returns the positions of all draws of some rows."""
    return (rows[:, None] * samples + torch.arange(samples, device=rows.device)).flatten()
