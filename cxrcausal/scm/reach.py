"""What an intervention reaches: the variables that follow it, and what has to be known for them."""

from collections.abc import Callable, Collection, Mapping

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
) -> Callable[[tuple[str, ...]], set[str]]:
    """Returns which unknown cells a row needs for the new values of its known affected cells.

    These are the unknown parents of the cells whose noise is needed: the known affected ones, and
    the unknown ones through which the intervention reaches them. What a mechanism of the world
    that is set reads counts too.
    """
    world, moved = world_of(mechanisms, settings), set(affected_by(mechanisms, settings))
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
