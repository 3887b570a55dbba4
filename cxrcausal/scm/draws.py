"""Which random numbers decide draws: a function of seed, row label, name and draw."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor

from cxrcausal.randomness import as_count, as_seed, fresh_seed, label_words, uniform

__all__ = ["Draws", "draws_of"]


class Draws(NamedTuple):
    """Which random numbers decide the draws of some rows.

    Arguments:
        seed: The seed.
        labels: The words of the row labels (rows,).
        num_samples: How many draws each row gets.
    """

    seed: int
    labels: np.ndarray
    num_samples: int

    def uniform(self, name: str, rows: np.ndarray | None = None, size: int = 1) -> Tensor:
        """Returns uniforms (rows * num_samples, size), by row and then by draw.

        Arguments:
            name: What the numbers are for; another name gives an independent stream.
            rows: The positions of the rows; all of them if None.
            size: How many numbers each draw needs.
        """
        labels = self.labels if rows is None else self.labels[rows]
        if self.num_samples == 1:
            return uniform(self.seed, labels, name, 0, size)
        draws = np.tile(np.arange(self.num_samples), len(labels))
        return uniform(self.seed, np.repeat(labels, self.num_samples), name, draws, size)

    def part(self, start: int, stop: int) -> "Draws":
        """Returns the random numbers of rows `start` to `stop`."""
        return self._replace(labels=self.labels[start:stop])

    def take(self, rows: np.ndarray) -> "Draws":
        """Returns the random numbers of the rows at some positions."""
        return self._replace(labels=self.labels[rows])


def draws_of(index: pd.Index, seed: int | None, num_samples: int) -> Draws:
    """Returns the random numbers of some rows: by label under a seed, by position without.

    Raises:
        OptionError: If the seed or the number of draws is not a whole number, or it is below 1.
        TableError: If a seed is given and a row label repeats.
    """
    num_samples = as_count(num_samples, "num_samples", least=1)
    if seed is None:
        return Draws(fresh_seed(), label_words(pd.RangeIndex(len(index))), num_samples)
    return Draws(as_seed(seed), label_words(index), num_samples)
