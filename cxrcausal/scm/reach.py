"""What an intervention reaches: the variables that follow it, and what has to be known for them."""

from collections.abc import Callable, Collection, Iterable, Mapping

from cxrcausal.scm.replacement import world_of
from cxrcausal.scm.setting import Setting
from cxrcausal.scm.unknown.network import Mechanisms

__all__ = ["affected_by", "needed_for"]


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
