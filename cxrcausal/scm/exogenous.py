"""What abduction finds: every variable's exogenous noise, kept so that a world can be replayed.

The noise belongs to the factual rows, to the graph and to the very fit that it was abducted with;
carried along, it makes prediction deterministic and reversible. Where cells were unknown it also
holds the values that were drawn for them, since the noise of their effects depends on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import final

import numpy as np
import pandas as pd
from torch import Tensor

from cxrcausal.checkpoint import read_record, read_tensors, write_checkpoint
from cxrcausal.errors import CheckpointError
from cxrcausal.scm.packed import pack, unpack

__all__ = ["Exogenous"]

FORMAT = 2


@final
@dataclass(frozen=True, eq=False)
class Exogenous:
    """The exogenous noise of some rows, with the completed facts that it was abducted from.

    Arguments:
        fingerprint: Of the graph that the noise belongs to.
        fit: The fingerprint of the mechanisms that it was abducted with, `Fitted.fingerprint`.
        rows: The factual rows, canonical, unknown cells being NaN.
        noise: By variable (rows * num_samples, numbers) in float64, by row and then by draw.
        values: By variable (rows * num_samples,): what is known, and what was drawn for the rest.
        known: By variable (rows,), whether the value was known.
        seed: What decided the draws.
        num_samples: How many draws each row has.
    """

    fingerprint: str
    fit: str
    rows: pd.DataFrame = field(repr=False)
    noise: Mapping[str, Tensor] = field(repr=False)
    values: Mapping[str, Tensor] = field(repr=False)
    known: Mapping[str, Tensor] = field(repr=False)
    seed: int
    num_samples: int = 1

    def __len__(self) -> int:
        return len(self.rows) * self.num_samples

    @property
    def index(self) -> pd.Index:
        """The rows' own labels; with several draws a MultiIndex (row, sample)."""
        return sample_index(self.rows.index, self.num_samples)

    def save(self, folder: str | PathLike[str]) -> None:
        """Writes the noise to a folder as safetensors and JSON, from which it comes back exactly.

        Raises:
            CheckpointError: If row labels or a further column are of a type that cannot be
                written, or the path cannot be.
        """
        tensors = {
            f"{kind}/{name}": tensor
            for kind, part in (
                ("noise", self.noise),
                ("values", self.values),
                ("known", self.known),
            )
            for name, tensor in part.items()
        }
        description = {
            "format_version": FORMAT,
            "graph_fingerprint": self.fingerprint,
            "fit_fingerprint": self.fit,
            "seed": self.seed,
            "num_samples": self.num_samples,
            "rows": pack(self.rows),
            "attrs": self.rows.attrs,
        }
        write_checkpoint(folder, "noise", description, tensors)

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> "Exogenous":
        """Reads what `save` wrote; no code is run.

        Raises:
            CheckpointError: If a file is missing or damaged, of another format or of another save.
        """
        folder = Path(folder)
        description = read_record(folder / "noise.json", FORMAT)
        tensors = read_tensors(folder / "noise.safetensors", description)
        try:
            rows = unpack(description["rows"])
            rows.attrs = description["attrs"]
            parts: dict[str, dict[str, Tensor]] = {"noise": {}, "values": {}, "known": {}}
            for key, tensor in tensors.items():
                kind, name = key.split("/", 1)
                parts[kind][name] = tensor
            return cls(
                description["graph_fingerprint"],
                description["fit_fingerprint"],
                rows,
                parts["noise"],
                parts["values"],
                parts["known"],
                description["seed"],
                description["num_samples"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{folder}: the saved noise is damaged: {error!r}") from error


def sample_index(index: pd.Index, samples: int) -> pd.Index:
    """Returns the labels of all draws: the rows' own for one draw, else (row, sample)."""
    if samples == 1:
        return index
    levels = [index.get_level_values(i).repeat(samples) for i in range(index.nlevels)]
    names: list = []  # each its own, also of samples of samples, so that they can become columns
    for name in [*(n if n is not None else "row" for n in index.names), "sample"]:
        taken = sum(other == name or str(other).startswith(f"{name}_") for other in names)
        names.append(f"{name}_{taken + 1}" if name in names else name)
    draws = np.tile(np.arange(samples), len(index))
    return pd.MultiIndex.from_arrays([*levels, draws], names=names)
