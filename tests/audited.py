"""Classifiers whose answers are known, and phantoms to ask them about."""

import pandas as pd
import torch

SIZE, COUNT = 32, 36
FAST = {"resamples": 200, "seed": 0}


def follows_sex(images: torch.Tensor) -> torch.Tensor:
    """Brightness of the lower lung fields, where a breast's shadow lies."""
    return images[:, 0, SIZE // 2 : 3 * SIZE // 4].mean(dim=(1, 2))


def constant(images: torch.Tensor) -> torch.Tensor:
    return torch.full((len(images),), 0.25)


def of(result, **at) -> pd.DataFrame:
    frame = result.effects
    for name, value in at.items():
        frame = frame[frame[name] == value]
    return frame


class Completes:
    """The phantom, where a parent that is unknown is painted as its first level, or 50 years."""

    def __init__(self, mechanism) -> None:
        self.mechanism = mechanism

    def __getattr__(self, name):
        return getattr(self.mechanism, name)

    def encode(self, rows):
        filled = rows.copy()
        for variable in self.mechanism.attributes:
            first = variable.levels[0] if variable.is_discrete else 50.0
            filled[variable.name] = filled[variable.name].fillna(first)
        return self.mechanism.encode(filled)
