"""Abduction, action, prediction, on values: the three steps over all mechanisms, causes first.

References:
    | Causality, section 7.1 (Pearl, 2009), https://doi.org/10.1017/CBO9780511803161
"""

from collections.abc import Callable, Collection, Iterable, Mapping

import pandas as pd
import torch
from torch import Tensor

from cxrcausal.scm.intervention import Setting
from cxrcausal.scm.network import Mechanisms, Values
from cxrcausal.scm.posterior import Draws
from cxrcausal.scm.replacement import world_of

__all__ = ["abduct_noise", "affected_by", "draw_world", "needed_for", "replay"]


def draw_world(
    mechanisms: Mechanisms, draws: Draws, device: torch.device
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Returns the noise (rows, numbers) and the values (rows,) of new patients, by variable."""
    noise: dict[str, Tensor] = {}
    values: dict[str, Tensor] = {}
    for name, mechanism in mechanisms.items():
        noise[name] = mechanism.prior(draws.uniform(name, size=mechanism.noise_size).to(device))
        x = mechanism.predict(noise[name], {p.name: values[p.name] for p in mechanism.parents})
        if x.shape != (len(draws.labels),):  # no parents, and a mechanism that says one for all
            x = x.expand(len(draws.labels)).clone()
        values[name] = x
    return noise, values


def affected_by(
    mechanisms: Mechanisms, settings: Mapping[str, Setting] | Collection[str]
) -> tuple[str, ...]:
    """Returns whose values have to be predicted anew, causes before effects.

    That is what depends on the variables that are set, and those whose mechanism is replaced.

    Arguments:
        mechanisms: The fitted mechanisms.
        settings: What is set; names alone where no mechanism is replaced.
    """
    if not isinstance(settings, Mapping):
        settings = {name: Setting(mechanisms[name].variable) for name in settings}
    affected, moved = [], set(settings)
    for name, mechanism in world_of(mechanisms, settings).items():
        if name in settings:
            predicted = settings[name].mechanism is not None
        else:
            predicted = not moved.isdisjoint(p.name for p in mechanism.parents)
        if predicted:
            affected.append(name)
            moved.add(name)
    return tuple(affected)


def needed_for(
    mechanisms: Mechanisms, affected: Iterable[str], world: Mechanisms
) -> Callable[[tuple[str, ...]], set[str]]:
    """Returns which unknown cells a row needs for the new values of its known affected cells.

    These are the unknown parents of the cells whose noise is needed: the known affected ones, and
    the unknown ones through which the intervention reaches them. What a mechanism of the `world`
    that is set reads counts too.
    """
    moved = set(affected)
    read = {
        name: dict.fromkeys(p.name for p in (*mechanisms[name].parents, *world[name].parents))
        for name in moved
    }

    def needed(unknown: tuple[str, ...]) -> set[str]:
        lacking, cells = set(unknown), set[str]()
        todo = [name for name in moved if name not in lacking]
        while todo:
            for parent in read[todo.pop()]:
                if parent in lacking and parent not in cells:
                    cells.add(parent)
                    if parent in moved:
                        todo.append(parent)
        return cells

    return needed


def abduct_noise(
    mechanisms: Mechanisms, filled: Values, draws: Draws, names: Iterable[str]
) -> dict[str, Tensor]:
    """Returns each variable's noise (rows * num_samples, numbers), NaN where a value is.

    Arguments:
        mechanisms: The fitted mechanisms.
        filled: Completed values (rows * num_samples,); a NaN was not needed.
        draws: The random numbers.
        names: The variables whose noise is wanted.
    """
    noise = {}
    for name in names:
        mechanism, x = mechanisms[name], filled[name]
        pa = {p.name: filled[p.name] for p in mechanism.parents}
        u = draws.uniform(name, size=mechanism.noise_size).to(x.device)
        lacking = _lacking(x, *pa.values())
        if lacking is None:
            noise[name] = mechanism.abduct(x, pa, u)
        else:
            ready = (~lacking).nonzero().squeeze(1)
            noise[name] = torch.full_like(u, torch.nan)
            some = {p: value[ready] for p, value in pa.items()}
            noise[name][ready] = mechanism.abduct(x[ready], some, u[ready])
    return noise


def replay(
    mechanisms: Mechanisms,
    filled: Values,
    noise: Values,
    settings: Mapping[str, Setting],
    index: pd.Index,
    *,
    keep: bool = True,
) -> dict[str, Tensor]:
    """Returns every variable's value (rows * num_samples,) in the world that is set.

    Arguments:
        mechanisms: The fitted mechanisms, causes before effects.
        filled: Completed factual values (rows * num_samples,).
        noise: Their noise (rows * num_samples, numbers).
        settings: What is set.
        index: The labels (rows,), for errors.
        keep: Whether a cell whose parents did not change keeps its factual value without being
            predicted again. It would be predicted the same; this saves the time.
    """
    star: dict[str, Tensor] = {}
    changed: dict[str, Tensor] = {}  # only variables that changed in some row
    for name, mechanism in world_of(mechanisms, settings).items():
        x = filled[name]
        is_replaced = name in settings and settings[name].mechanism is not None
        if name in settings and not is_replaced:
            if not len(index):
                star[name] = x  # of nobody
                continue
            facts = x.reshape(len(index), -1)
            star[name] = settings[name].value(facts, index).expand_as(facts).reshape(-1)
        else:
            moved = [changed[p.name] for p in mechanism.parents if p.name in changed]
            if keep and not moved and not is_replaced:
                star[name] = x
                continue
            pa = {p.name: star[p.name] for p in mechanism.parents}
            rows = _ready(moved if keep and not is_replaced else [], noise[name], pa)
            if rows is None:
                star[name] = mechanism.predict(noise[name], pa)
            else:
                some = {p: value[rows] for p, value in pa.items()}
                star[name] = x.clone()
                star[name][rows] = mechanism.predict(noise[name][rows], some)
        different = star[name] != x
        if bool(different.any()):
            changed[name] = different
    return star


def _ready(moved: list[Tensor], noise: Tensor, pa: Values) -> Tensor | None:
    """Returns the rows to predict: those that moved and whose inputs are all there; None is all."""
    lacking = _lacking(noise[:, 0], *pa.values())
    if not moved:
        return None if lacking is None else (~lacking).nonzero().squeeze(1)
    rows = torch.stack(moved).any(0)
    if lacking is not None:
        rows &= ~lacking
    return rows.nonzero().squeeze(1)


def _lacking(*values: Tensor) -> Tensor | None:
    """Returns which rows (rows,) have a NaN; None if there is none."""
    total = sum(values)  # NaN as soon as one is
    lacking = torch.isnan(total) if isinstance(total, Tensor) else None
    return lacking if lacking is not None and bool(lacking.any()) else None
