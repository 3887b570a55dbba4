r"""Radiographs twice over: at the size that the model paints, and as a classifier is given them.

A classifier reads 224 or 512 pixels where a model paints 64 or 128. What an intervention changes
is carried over to the finer radiograph :math:`x`,

.. math:: x' = \mathrm{clip}\big(x + \mathrm{up}(y' - \hat y)\big),

with :math:`y'` the counterfactual and :math:`\hat y` the reconstruction, both as the model paints
them. What is finer than the model's pixels stays as it is, and so does all that the model did not
abduct: the reconstruction of the finer radiograph is the radiograph itself. Both sizes show the
same square, so that carrying over is a matter of scale alone; grey values are the reader's.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler

from cxrcausal.counterfactual.arguments import as_images
from cxrcausal.data import read_images, read_table
from cxrcausal.data.source import Source
from cxrcausal.errors import ImageError, OptionError, TableError
from cxrcausal.fairness.classifier import Scorer
from cxrcausal.graph import CausalGraph
from cxrcausal.shapes import FineImage, Image

__all__ = ["Columns", "Given", "Radiographs", "metadata_of", "radiographs_of"]

Given = Tensor | np.ndarray | DataLoader | str | os.PathLike | Sequence[str | os.PathLike]
"""Radiographs as a user has them: a tensor or an array (batch, channel, height, width) in [0, 1],
a DataLoader of such batches (the first element of each, where a batch has several), the folder in
which the table's `image` column finds them, or their files."""

_ROUNDING = 1e-4  # of grey values, which an image mechanism allows too

Columns = str | os.PathLike | Mapping[str, object] | Source
"""Which column of a table is what, as `cxrcausal.data.read_table` takes its `source`."""


@final
class Radiographs:
    """Radiographs at the model's size, and finer ones of the same where a classifier reads such.

    Arguments:
        images: At the model's size, in [0, 1].
        fine: As the classifier is given them; `images` if left out.

    Attributes:
        clipped: The share of the finer pixels that carrying over cut off at 0 or 1, so far.
    """

    def __init__(self, images: Image, fine: FineImage | None = None) -> None:
        self.images, self.fine = images, fine
        self._clipped, self._carried = 0, 0

    @property
    def given(self) -> FineImage:
        """The radiographs as a classifier is given them."""
        return self.images if self.fine is None else self.fine

    @property
    def clipped(self) -> float:
        """The share of pixels that were cut off at 0 or 1 when a difference was carried over."""
        return self._clipped / max(self._carried, 1)

    def shown(self, rows: np.ndarray, painted: Image, reconstruction: Image) -> FineImage:
        """Returns what a classifier is given of painted radiographs.

        Arguments:
            rows: Which radiographs they are of, numbers.
            painted: At the model's size, row by row.
            reconstruction: Of the same rows.
        """
        if self.fine is None:
            return painted
        fine = self.fine[torch.from_numpy(rows)]
        size = fine.shape[-2:]
        moved = fine + F.interpolate(painted - reconstruction, size=size, mode="bicubic")
        outside = (moved < 0) | (moved > 1)
        self._clipped += int(outside.sum())
        self._carried += outside.numel()
        return moved.clamp(0, 1)

    def scores(
        self, scorer: Scorer, rows: np.ndarray, painted: Image, reconstruction: Image
    ) -> np.ndarray:
        """Returns a classifier's scores of painted radiographs, (rows, outputs).

        A batch at a time, so that no more than one is held at the classifier's size.
        """
        some = torch.arange(len(rows)).split(scorer.batch_size)
        return np.concatenate(
            [scorer(self.shown(rows[at.numpy()], painted[at], reconstruction[at])) for at in some]
        )


def metadata_of(
    table: pd.DataFrame | str | os.PathLike, columns: Columns | None, graph: CausalGraph
) -> pd.DataFrame:
    """Returns metadata in the graph's columns.

    Arguments:
        table: A table or a file of one.
        columns: Which of its columns is what; the graph's own if left out.
        graph: Says the columns.

    Raises:
        TableError: As `cxrcausal.data.read_table`.
    """
    if columns is None and isinstance(table, pd.DataFrame):
        return table
    return read_table(table, source="graph" if columns is None else columns, graph=graph)


def radiographs_of(
    given: Given, table: pd.DataFrame, size: int, resolution: int | None = None
) -> Radiographs:
    """Returns radiographs at the model's size and, where the classifier's is finer, at that.

    Arguments:
        given: The radiographs.
        table: Their metadata, row by row.
        size: The side in pixels of what the model paints.
        resolution: The side of the square that the classifier is given, where files are read; of
            arrays it is their own.

    Raises:
        ImageError: If they are not in [0, 1], of another number than the table's rows, not
            squares of at least the model's size, or a file cannot be read.
        TableError: If they are to be found by the table and it has no such column.
        OptionError: If arrays are of another size than `resolution`.
    """
    if isinstance(given, DataLoader):
        if not _in_order(given):
            raise OptionError(
                "the DataLoader shuffles or samples, so its radiographs would stand beside other "
                "patients' rows; give one with shuffle=False and no sampler of its own"
            )
        given = torch.cat([_batch(part) for part in given])
    if isinstance(given, Tensor | np.ndarray):
        return _of_array(as_images(given), table, size, resolution)
    if isinstance(given, str | os.PathLike):
        given = _in_folder(Path(given), table)
    files = list(given)
    _check_count(len(files), len(table))
    images = read_images(files, size)
    fine = None if resolution in (None, size) else read_images(files, resolution)
    return Radiographs(images, fine)


def _of_array(
    images: Tensor, table: pd.DataFrame, size: int, resolution: int | None
) -> Radiographs:
    if not images.is_floating_point():
        raise ImageError(f"images are {images.dtype}; they must be floats in [0, 1]")
    images = images.float()
    _check_count(len(images), len(table))
    if images.ndim != 4:
        raise ImageError(
            f"images are {tuple(images.shape)}; allowed is ({len(table)}, channel, height, width)"
        )
    height, width = images.shape[-2:]
    if resolution not in (None, height):
        raise OptionError(
            f"resolution is {resolution}, and the images are {height} x {width}; it says how "
            "files are read: leave it out, or give the files"
        )
    if len(images) and not (images.min() >= -_ROUNDING and images.max() <= 1 + _ROUNDING):
        raise ImageError(  # also of what is not finite
            f"images span [{float(images.min()):g}, {float(images.max()):g}]; scale grey values "
            "to [0, 1] first, lungs dark"
        )
    if height == width and height > size:
        images = images.clamp(0, 1)
        smaller = F.interpolate(images, size=(size, size), mode="bicubic", antialias=True)
        return Radiographs(smaller.clamp(0, 1), images)
    return Radiographs(images)  # of another size than the model's, which will refuse them


def _check_count(images: int, rows: int) -> None:
    if images != rows:
        raise ImageError(f"{images} images stand beside {rows} rows of metadata")


def _in_order(loader: DataLoader) -> bool:
    """Whether a DataLoader gives its data set row by row, as a table stands beside it."""
    if isinstance(loader.dataset, IterableDataset):  # which has an order of its own alone
        return True
    by_rows = isinstance(loader.sampler, SequentialSampler)
    return by_rows and (loader.batch_sampler is None or type(loader.batch_sampler) is BatchSampler)


def _batch(part: object) -> Tensor:
    """Returns the radiographs of a DataLoader's batch."""
    if isinstance(part, Mapping):
        part = part.get("image")
    elif isinstance(part, list | tuple) and part:
        part = part[0]
    if not isinstance(part, Tensor) or part.ndim != 4:
        raise ImageError(
            "a batch of the DataLoader is no tensor (batch, channel, height, width), nor begins "
            f"with one, nor has one under 'image': {type(part).__name__}"
        )
    return part


def _in_folder(folder: Path, table: pd.DataFrame) -> list[Path]:
    if "image" not in table.columns:
        raise TableError(
            f"no column 'image' says which files of {str(folder)!r} the radiographs are; map one "
            "to it, as columns={'Image Index': 'image', ...}"
        )
    missing = table["image"].isna()
    if missing.any():
        row = table.index[int(np.argmax(missing))]
        raise TableError(f"column 'image', row {row!r}: no file is named")
    return [folder / str(name) for name in table["image"]]
