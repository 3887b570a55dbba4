"""Unknown cells: drawn from their joint posterior, or summed out of the likelihood.

Rows are grouped by which cells they lack. Cells without a known descendant say nothing about the
rest and are drawn forward, causes first. The others fall into components that are independent
given what is known, and each is summed out: exactly for levels and grids, over `QUANTILES` cells for
a continuum, whose draws are spread evenly over the cell that was drawn. Rows that agree in what a
component reads are summed once.

Posteriors assume that cells are missing at random given the known ones.

References:
    | Probabilistic Reasoning in Intelligent Systems (Pearl, 1988), Morgan Kaufmann
    | Inference and Missing Data (Rubin, 1976), https://doi.org/10.1093/biomet/63.3.581
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.errors import TableError, summarise
from cxrcausal.scm.draws import Draws
from cxrcausal.scm.table import plain
from cxrcausal.scm.unknown.factor import cheapest, draw, eliminate
from cxrcausal.scm.unknown.network import QUANTILES, Mechanisms, Network, Supports, Values

__all__ = [
    "Absence",
    "absences",
    "check_size",
    "distinct_rows",
    "families",
    "fill_unknown",
    "informed_cells",
    "log_evidence",
]

MOST_ENTRIES = 2**20
"""The most table entries per row that an exact sum may take; beyond it a question is refused."""

BUDGET = 2**22
"""How many table entries are held at once: rows are taken in chunks that keep to it."""


class Absence(NamedTuple):
    """The rows that lack the same cells.

    Arguments:
        unknown: The variables that are unknown there, causes before effects.
        rows: The positions of the rows (rows,).
        components: Groups of unknown cells that are dependent given the known ones.
        barren: Unknown cells without a known descendant, causes before effects.
    """

    unknown: tuple[str, ...]
    rows: np.ndarray
    components: tuple[tuple[str, ...], ...]
    barren: tuple[str, ...]


def absences(mechanisms: Mechanisms, values: Values) -> list[Absence]:
    """Returns the rows grouped by which of their cells are unknown."""
    lacks = {name: values[name].isnan().cpu().numpy() for name in mechanisms}
    lacks = {name: lack for name, lack in lacks.items() if lack.any()}
    code = _joint_code(lacks.values(), len(values[next(iter(mechanisms))]))
    groups = []
    for kind in range(int(code.max(initial=-1)) + 1):
        rows = np.flatnonzero(code == kind)
        unknown = tuple(name for name, lack in lacks.items() if lack[rows[0]])
        groups.append(Absence(unknown, rows, *_independent_parts(mechanisms, unknown)))
    return groups


def fill_unknown(
    mechanisms: Mechanisms,
    supports: Supports,
    values: Values,
    draws: Draws,
    index: pd.Index,
    needed: Callable[[tuple[str, ...]], Iterable[str]] | None = None,
) -> dict[str, Tensor]:
    """Returns the values with unknown cells drawn from their joint posterior.

    Arguments:
        mechanisms: The fitted mechanisms, causes before effects.
        supports: The values that each variable may have.
        values: Values (rows,) by variable, NaN where unknown.
        draws: The random numbers.
        index: The row labels, for errors.
        needed: Returns which of the unknown cells of a row are wanted; all of them if None. What
            is not wanted may stay NaN.

    Returns:
        Values (rows * num_samples,) by variable, by row and then by draw.

    Raises:
        TableError: If an exact sum would be too large, or a row is impossible under the model.
    """
    samples = draws.num_samples
    filled = {name: values[name].repeat_interleave(samples) for name in mechanisms}
    for absence in absences(mechanisms, values):
        wanted = set(absence.unknown if needed is None else needed(absence.unknown))
        for name in reversed(absence.barren):
            if name in wanted:  # drawn forward, so it needs its own causes
                wanted |= {p.name for p in mechanisms[name].parents} & set(absence.unknown)
        for component in absence.components:
            if wanted.intersection(component):
                _draw_component(
                    mechanisms, supports, values, filled, component, absence, draws, index
                )
        places = _places(absence.rows, samples)
        for name in absence.barren:
            if name in wanted:
                mechanism = mechanisms[name]
                u = draws.uniform(f"{name} unknown", absence.rows, mechanism.noise_size)
                noise = mechanism.prior(u.to(filled[name].device))
                pa = {p.name: filled[p.name][places] for p in mechanism.parents}
                filled[name][places] = mechanism.predict(noise, pa)
    return filled


def log_evidence(
    mechanisms: Mechanisms, supports: Supports, values: Values, index: pd.Index
) -> Tensor:
    """Returns the log-probability (rows,) of each row's known cells, unknown ones summed out.

    Raises:
        TableError: If an exact sum would be too large.
    """
    total = torch.zeros(len(index), dtype=torch.float64, device=next(iter(values.values())).device)
    for absence in absences(mechanisms, values):
        unknown, rows = set(absence.unknown), torch.from_numpy(absence.rows)
        for name, mechanism in mechanisms.items():
            if unknown.isdisjoint((name, *(p.name for p in mechanism.parents))):
                pa = {p.name: values[p.name][rows] for p in mechanism.parents}
                total[rows] += mechanism.log_prob(values[name][rows], pa)
        for component in absence.components:
            for part, place, network, order in _networks(
                mechanisms, supports, values, component, absence, index
            ):
                _, left = eliminate(network.factors, network.axes, order)
                weight = sum(grid.table for grid in left)
                total[part] += weight.expand(int(place.max()) + 1)[place]
    return total


def distinct_rows(values: Values, names: Iterable[str], rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Returns one row of each kind, and for every row the place of its kind among them.

    Arguments:
        values: Values by variable.
        names: The variables in which rows of a kind agree.
        rows: The positions of the rows to look at (rows,).

    Returns:
        Positions (kinds,) and places (rows,), both int64.
    """
    code = _joint_code((values[name].cpu().numpy()[rows] for name in names), len(rows))
    _, first = np.unique(code, return_index=True)
    return torch.from_numpy(rows[first]), torch.from_numpy(code)


def informed_cells(mechanisms: Mechanisms, values: Values) -> dict[str, Tensor]:
    """Returns which unknown cells (rows,) have a known descendant, by variable, causes first.

    The others are barren: whatever they may be, nothing known is more or less likely.
    """
    lacks = {name: values[name].isnan() for name in mechanisms}
    informed = {name: torch.zeros_like(lack) for name, lack in lacks.items()}
    for name in reversed(list(mechanisms)):
        tells = ~lacks[name] | informed[name]
        for parent in mechanisms[name].parents:
            informed[parent.name] |= tells & lacks[parent.name]
    return informed


def check_size(largest: int, unknown: Iterable[str], rows: np.ndarray, index: pd.Index) -> None:
    """Refuses sums that are too large to be exact.

    Raises:
        TableError: Naming the pattern of absence and its first row.
    """
    if largest > MOST_ENTRIES:
        raise TableError(
            f"row {plain(index[rows[0]])!r} and {len(rows) - 1} more lack "
            f"{summarise(unknown, 20)}: their joint posterior needs a table of {largest:,} "
            f"entries per row, above the limit of {MOST_ENTRIES:,}; make more of these known"
        )


def families(
    mechanisms: Mechanisms, cells: Iterable[str], unknown: Iterable[str]
) -> tuple[list[str], list[str]]:
    """Returns what the joint posterior of some cells needs.

    Arguments:
        mechanisms: The fitted mechanisms.
        cells: Whole components of unknown cells.
        unknown: All cells that are unknown in the rows.

    Returns:
        The known variables that it reads, and those among them that have one of the cells as a
        parent: the evidence.
    """
    cells, unknown = set(cells), set(unknown)
    read: set[str] = set()
    told = []
    for name, mechanism in mechanisms.items():
        parents = {p.name for p in mechanism.parents}
        if name in cells:
            read |= parents
        elif name not in unknown and cells & parents:
            read |= {name, *parents}
            told.append(name)
    return [name for name in mechanisms if name in read - cells], told


def _joint_code(columns: Iterable[np.ndarray], rows: int) -> np.ndarray:
    """Returns for each row the number of its combination of values, in order of appearance."""
    code = np.zeros(rows, dtype=np.int64)
    for values in columns:
        level, distinct = pd.factorize(values, use_na_sentinel=False)
        code, _ = pd.factorize(code * len(distinct) + level)
    return code


def _independent_parts(
    mechanisms: Mechanisms, unknown: tuple[str, ...]
) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """Returns the components of the cells that have a known descendant, and the barren rest."""
    lacking = set(unknown)
    informed: set[str] = set()
    for name in reversed(list(mechanisms)):
        if name not in lacking or name in informed:
            informed |= {p.name for p in mechanisms[name].parents if p.name in lacking}
    part = {name: {name} for name in unknown if name in informed}
    for name, mechanism in mechanisms.items():
        if name in lacking and name not in informed:
            continue
        family = [v for v in (name, *(p.name for p in mechanism.parents)) if v in part]
        merged = set().union(*(part[v] for v in family))
        for v in merged:
            part[v] = merged
    components = dict.fromkeys(tuple(v for v in unknown if v in whole) for whole in part.values())
    return tuple(components), tuple(v for v in unknown if v not in informed)


def _networks(
    mechanisms: Mechanisms,
    supports: Supports,
    values: Values,
    component: tuple[str, ...],
    absence: Absence,
    index: pd.Index,
) -> Iterator[tuple[Tensor, Tensor, Network, list[str]]]:
    """Yields chunks of rows: their positions, their places in the network, it, and an order."""
    read, told = families(mechanisms, component, absence.unknown)

    def network(kinds: Tensor) -> Network:
        net = Network(mechanisms, supports, {v: values[v][kinds] for v in read}, component)
        for name in told:
            net.add_evidence(name)
        return net

    kinds, place = distinct_rows(values, read, absence.rows)
    trial = network(kinds[:1])
    order, largest = cheapest(trial.factors, trial.axes, trial.axes)
    check_size(largest, component, absence.rows, index)
    step = max(1, BUDGET // largest)
    for start in range(0, len(kinds), step):
        inside = ((place >= start) & (place < start + step)).nonzero().squeeze(1)
        chosen = torch.from_numpy(absence.rows)[inside]
        yield chosen, place[inside] - start, network(kinds[start : start + step]), order


def _draw_component(
    mechanisms: Mechanisms,
    supports: Supports,
    values: Values,
    filled: dict[str, Tensor],
    component: tuple[str, ...],
    absence: Absence,
    draws: Draws,
    index: pd.Index,
) -> None:
    """Draws the cells of one component for some rows, in place in `filled`."""
    for part, place, network, order in _networks(
        mechanisms, supports, values, component, absence, index
    ):
        buckets, left = eliminate(network.factors, network.axes, order)
        weight = sum(grid.table for grid in left)
        impossible = ~torch.isfinite(weight.expand(int(place.max()) + 1)[place])
        if bool(impossible.any()):
            labels = index[part[impossible.cpu()].numpy()]
            raise TableError(
                f"row {plain(labels[0])!r} and {len(labels) - 1} more are impossible under the "
                f"fitted model: no values of {summarise(component, 20)} agree with what is known"
            )
        chosen = part.numpy()

        def decide(name: str, chosen: np.ndarray = chosen) -> Tensor:
            if name not in component:  # a running bit follows from the cells
                return torch.full((len(chosen), draws.num_samples), 0.5, dtype=torch.float64)
            u = draws.uniform(f"{name} unknown", chosen)
            return u.reshape(len(chosen), draws.num_samples)

        drawn = draw(buckets, place, decide)
        places = _places(chosen, draws.num_samples)
        for name in component:
            at, mechanism, support = drawn[name].flatten(), mechanisms[name], supports[name]
            if support is not None:
                filled[name][places] = support[at]
                continue
            spread = draws.uniform(f"{name} within its quantile", chosen, mechanism.noise_size)
            noise = mechanism.prior((at[:, None] + spread.to(at.device)) / QUANTILES)
            pa = {p.name: filled[p.name][places] for p in mechanism.parents}
            filled[name][places] = mechanism.predict(noise, pa)


def _places(rows: np.ndarray, samples: int) -> Tensor:
    """Returns the positions of all draws of some rows."""
    return (torch.from_numpy(rows)[:, None] * samples + torch.arange(samples)).flatten()
