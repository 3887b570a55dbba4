"""A mechanism in place of another: the soft intervention, under which a variable keeps its noise.

References:
    | Causality, section 3.2.3 (Pearl, 2009), https://doi.org/10.1017/CBO9780511803161
"""

from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Protocol, final

import torch

from cxrcausal.errors import InterventionError, summarise
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.graph.variable import Variable
from cxrcausal.scm.mechanism.base import Mechanism
from cxrcausal.scm.table import allowed_values
from cxrcausal.scm.unknown.network import Mechanisms

__all__ = ["Replace", "check_replacement", "world_of"]


@final
@dataclass(frozen=True, eq=False)
class Replace:
    """Another mechanism in place of the variable's own; the variable keeps its noise.

    A soft intervention: the view may be chosen as another source chooses it, by
    ``{"view": Replace(other_scm.mechanisms["view"])}``. The new mechanism assigns the same
    variable from noise of the same law, and may read any variable that is no effect of it.

    References:
        | Causality, section 3.2.3 (modified mechanisms)
        | (Pearl, 2009), https://doi.org/10.1017/CBO9780511803161
    """

    mechanism: Mechanism


class _Setting(Protocol):
    @property
    def mechanism(self) -> Mechanism | None: ...


def world_of(mechanisms: Mechanisms, settings: Mapping[str, _Setting]) -> Mechanisms:
    """Returns the mechanisms of the world that is set, those replaced in their places.

    Causes come before effects there too; a replaced mechanism may read what the old one did not.

    Raises:
        InterventionError: If a variable would cause itself.
    """
    replaced = {
        name: setting.mechanism
        for name, setting in settings.items()
        if setting.mechanism is not None
    }
    if not replaced:
        return mechanisms
    world = {**mechanisms, **replaced}
    causes = {name: [p.name for p in mechanism.parents] for name, mechanism in world.items()}
    try:
        return {name: world[name] for name in TopologicalSorter(causes).static_order()}
    except CycleError as error:
        raise InterventionError(
            f"do replaces the mechanism of {summarise(replaced)} so that a variable causes itself: "
            f"{' -> '.join(error.args[1])}"
        ) from error


def check_replacement(
    variable: Variable, mechanism: object, graph: CausalGraph, mechanisms: Mechanisms
) -> None:
    """Refuses what cannot stand in the place of a variable's own mechanism.

    Arguments:
        variable: The variable whose mechanism is replaced.
        mechanism: What shall take its place.
        graph: The graph of the variables.
        mechanisms: The fitted mechanisms.

    Raises:
        InterventionError: If it is no mechanism, assigns another variable, reads what is not there,
            or answers to noise of another law.
    """
    own = mechanisms.get(variable.name)
    if not isinstance(mechanism, Mechanism) or own is None:
        raise InterventionError(
            f"do[{variable.name!r}] replaces a mechanism by {type(mechanism).__name__}; Replace "
            f"takes a Mechanism"
        )
    if mechanism.variable != variable:
        raise InterventionError(
            f"do[{variable.name!r}] replaces its mechanism by one that assigns "
            f"{mechanism.variable.name!r}, {allowed_values(mechanism.variable)}; it must assign "
            f"{variable.name!r}, {allowed_values(variable)}"
        )
    strange = [p.name for p in mechanism.parents if graph.variables.get(p.name) != p]
    strange += [p.name for p in mechanism.parents if p.name not in mechanisms]
    if strange:
        raise InterventionError(
            f"do[{variable.name!r}] replaces its mechanism by one that reads "
            f"{summarise(dict.fromkeys(strange))}, which this SCM does not have in that form; it "
            f"has: {', '.join(mechanisms)}"
        )
    probe = torch.linspace(0.1, 0.9, own.noise_size, dtype=torch.float64)[None]
    if mechanism.noise_size != own.noise_size or not torch.allclose(
        own.prior(probe.to(own.device)).cpu(), mechanism.prior(probe.to(mechanism.device)).cpu()
    ):
        raise InterventionError(
            f"do[{variable.name!r}] replaces a {type(own).__name__} by a "
            f"{type(mechanism).__name__}, which answers to noise of another law; the variable keeps "
            f"its noise, so both must share one"
        )
