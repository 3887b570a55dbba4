"""How weights are learnt, whosever they are: steps, averages, augmentation, a log."""

from cxrcausal.training.augmentation import Augmentation, augment
from cxrcausal.training.engine import Engine
from cxrcausal.training.log import append_line, forget_lines

__all__ = ["Augmentation", "Engine", "append_line", "augment", "forget_lines"]
