"""What an intervention reaches: which variables follow it, and what they need to be known."""

from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor

from cxrcausal.scm.setting import Setting, world_of
from cxrcausal.scm.unknown.network import Mechanisms

__all__ = ["affected_by", "descendants_of", "needed_for"]


def descendants_of(mechanisms: Mechanisms, names: Collection[str]) -> tuple[str, ...]:
    """Returns the variables that depend on some others, which are left out; causes before effects.

    Arguments:
        mechanisms: The mechanisms, causes before effects.
        names: The variables on which they depend.
    """
    moved = set(names)
    for name, mechanism in mechanisms.items():
        if not moved.isdisjoint(p.name for p in mechanism.parents):
            moved.add(name)
    return tuple(name for name in mechanisms if name in moved and name not in names)


def affected_by(mechanisms: Mechanisms, settings: Mapping[str, Setting]) -> tuple[str, ...]:
    """Returns whose values have to be predicted anew, causes before effects.

    That is what depends on the variables that are set, and those whose mechanism is replaced.

    Arguments:
        mechanisms: The fitted mechanisms.
        settings: What is set.
    """
    world = world_of(mechanisms, settings)
    predicted = {name for name, setting in settings.items() if setting.reads_noise}
    predicted.update(descendants_of(world, settings))
    return tuple(name for name in world if name in predicted)


def needed_for(
    mechanisms: Mechanisms, settings: Mapping[str, Setting]
) -> Callable[[Mapping[str, Tensor]], dict[str, Tensor]]:
    """Returns which unknown cells rows need for the new values of their known affected cells.

    That is a function from which cells are unknown (rows,) to which of them are needed (rows,).

    These are the unknown parents of the cells whose noise is needed: the known affected ones, and
    the unknown ones through which the intervention reaches them. What a mechanism of the world
    that is set reads counts too.
    """
    world, moved = world_of(mechanisms, settings), set(affected_by(mechanisms, settings))
    read = {
        name: dict.fromkeys(p.name for p in (*mechanisms[name].parents, *world[name].parents))
        for name in moved
    }

    def needed(lacks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        cells = {name: torch.zeros_like(lack) for name, lack in lacks.items()}
        todo = [name for name in reversed(list(world)) if name in moved]
        while todo:
            name = todo.pop(0)
            reads = ~lacks[name] | cells[name]
            for parent in read[name]:
                more = reads & lacks[parent] & ~cells[parent]
                if bool(more.any()):
                    cells[parent] |= more
                    if parent in moved and parent not in todo:
                        todo.append(parent)
        return cells

    return needed
