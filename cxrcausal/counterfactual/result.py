"""The answer: what would have been observed of the same patients under the intervention."""

import io
import json
import logging
import warnings
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pandas as pd
from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from cxrcausal.counterfactual.arguments import check_count
from cxrcausal.counterfactual.figure import draw_counterfactuals
from cxrcausal.errors import CxrCausalError, ImageError
from cxrcausal.files import atomic_path
from cxrcausal.page import figure_html
from cxrcausal.scm.exogenous import Exogenous

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Counterfactual"]

logger = logging.getLogger("cxrcausal")


@final
@dataclass(frozen=True)
class Counterfactual:
    """Counterfactual radiographs with their counterfactual metadata, and how they came about.

    With `num_samples` above one, everything but `factual`, `factual_images`, `reconstruction` and
    `noise` has one entry per (row, sample).

    Attributes:
        factual: The metadata that were observed, one row per patient.
        table: The metadata that would have been observed; unknown cells stay so unless imputed.
        images: The radiographs that would have been observed, (batch, channel, height, width) in
            [0, 1]; None where only metadata were asked for.
        factual_images: The radiographs that were observed.
        reconstruction: The factual radiographs, abducted and predicted again: what of a difference
            is the flow's own error.
        noise: The abducted noise of each radiograph.
        exogenous: The abducted noise of the metadata.
        intervened: The cells (rows × variables) that were set to another value.
        descendants: The cells that changed because they descend from those.
        invariant: The cells that stayed as they were. A cell that was unknown counts as one, also
            where `impute` gives a value drawn for it: no change of it was observed.
        unobserved: Levels that the image mechanism never observed, by variable; they entered as
            unknown.
        reconstruction_error: The mean absolute error of each radiograph's reconstruction, in
            shares of the grey scale; NaN of metadata alone.
        not_reconstructed: Whether that is far above the error of images that the model painted
            itself: such a counterfactual differs from its radiograph by the flow's error most of
            all.
        blocked: Changes that end in an unknown cell, one line each: the row's label, the cause
            that changed, and the unknown variable that it may have changed. What this path would
            have done to the image is not in it, and so it is with `impute`, which gives the cell
            in the table alone. Of metadata alone, imputed, nothing is blocked.
        provenance: Intervention, guidance, solver, seed, model and graph, as JSON would hold them.
    """

    factual: pd.DataFrame
    table: pd.DataFrame
    images: Tensor | None
    factual_images: Tensor | None
    reconstruction: Tensor | None
    noise: Tensor | None
    exogenous: Exogenous
    intervened: pd.DataFrame
    descendants: pd.DataFrame
    invariant: pd.DataFrame
    unobserved: Mapping[str, tuple[str, ...]]
    blocked: pd.DataFrame
    reconstruction_error: pd.Series
    not_reconstructed: pd.Series
    provenance: Mapping[str, Any] = field(repr=False)

    def changes(self) -> pd.DataFrame:
        """Returns one line per cell that changed: row, variable, why, and its two values."""
        return self._changes().drop(columns="position")

    def _changes(self) -> pd.DataFrame:
        """Returns the changes with the position of each in the table: labels may repeat."""
        lines = []
        for why, mask in (("intervened", self.intervened), ("descendant", self.descendants)):
            for position, column in np.argwhere(mask.to_numpy()):
                name = mask.columns[column]
                label = mask.index[position]
                before = self.factual[name].to_numpy()[position // self._samples]
                after = self.table[name].to_numpy()[position]
                lines.append((position, label, name, why, before, after))
        names = ["position", "row", "variable", "why", "factual", "counterfactual"]
        return pd.DataFrame(lines, columns=names)

    @property
    def unseen(self) -> Mapping[str, tuple[str, ...]]:
        """The former name of `unobserved`, which leaves with version 0.2."""
        warnings.warn(
            "Counterfactual.unseen is called unobserved, and only that from version 0.2",
            FutureWarning,
            stacklevel=2,
        )
        return self.unobserved

    @property
    def _samples(self) -> int:
        return len(self.table) // max(1, len(self.factual))

    def plot(self, path: str | Path | None = None, *, most: int = 6) -> "Figure":
        """Draws original, reconstruction, counterfactual and difference of the first rows.

        Beside them stands what changed, and which unknown cells may have changed and were not
        followed (of rows whose label is theirs alone, as `blocked` names rows by label).

        Arguments:
            path: Where to write the figure, if anywhere: PNG, PDF or SVG by its ending. The file
                says that the figure is synthetic.
            most: The largest number of rows to draw.

        Returns:
            The matplotlib Figure.

        Raises:
            ImageError: If there are no images (`metadata_only`), no rows, or none asked for, or
                the file's ending is of another format.
        """
        check_count(most, "most")
        if self.images is None or self.factual_images is None or self.reconstruction is None:
            raise ImageError("this answer holds metadata alone; there is no image to draw")
        if not len(self.images):
            raise ImageError("this answer has no rows; there is no image to draw")
        count = min(most, len(self.images))
        changes = self._changes()
        captions = [
            [f"{c.variable}: {c.factual} → {c.counterfactual}" for c in mine.itertuples()]
            for mine in (changes[changes["position"] == position] for position in range(count))
        ]
        for caption, label in zip(captions, self.table.index[:count], strict=True):
            caption.extend(self._not_followed(label))
        labels = [
            f"{label}\n(does not come back)" if lost else str(label)
            for label, lost in zip(
                self.table.index[:count],
                self.not_reconstructed.repeat(self._samples)[:count],
                strict=True,
            )
        ]
        figure = draw_counterfactuals(
            self.factual_images.repeat_interleave(self._samples, 0)[:count],
            self.reconstruction.repeat_interleave(self._samples, 0)[:count],
            self.images[:count],
            labels,
            captions,
        )
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure

    def _repr_html_(self) -> str:
        """The first rows as `plot` draws them, and what changed and what could not be followed."""
        import matplotlib.pyplot as plt

        parts = []
        if self.images is not None and len(self.images):
            figure = self.plot(most=3)
            said = "original, reconstruction, counterfactual and difference of the first rows"
            parts.append(figure_html(figure, said, dpi=80))
            plt.close(figure)  # or a notebook would show it a second time
            parts.append("<p>Generated radiographs are not for diagnosis.</p>")
        for what, table in (("changed", self.changes()), ("not followed", self.blocked)):
            if len(table):
                more = f", the first 20 of {len(table):,}" if len(table) > 20 else ""
                shown = table.head(20).to_html(index=False, border=0, escape=True)
                parts.append(f"<p>{what}{more}</p>{shown}")
        if not parts:
            parts.append(f"<p>{len(self.table):,} rows, nothing changed</p>")
        return f"<div>{''.join(parts)}</div>"

    def _not_followed(self, label: Hashable) -> list[str]:
        """Returns a sentence on the unknown cells that may have changed in one row, if any."""
        if not self.factual.index.is_unique:
            return []
        unknown = self.blocked.loc[self.blocked["row"] == label, "unknown"].unique()
        return [f"unknown, not followed: {', '.join(unknown)}"] if len(unknown) else []

    def save(self, folder: str | Path) -> Path:
        """Writes the answer into a folder: tables, provenance, and one PNG a row.

        The tables are `factual.csv`, `counterfactual.csv`, `changes.csv` and `blocked.csv`. Every
        PNG says in its metadata that it is synthetic, from which model, and what was asked of its
        own patient. Each file is complete or absent; what a larger answer left in the folder goes.
        `provenance.json` is taken away first and written last, so where it stands the rest is its
        own.

        Returns:
            The folder.

        Raises:
            CxrCausalError: If there is a file of the folder's name.
        """
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise CxrCausalError(f"{str(folder)!r} is a file; give a folder")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "provenance.json").unlink(missing_ok=True)
        for ending in ("png", "dcm"):  # DICOM, which `data` writes beside them
            for stale in folder.glob(f"counterfactual_{'[0-9]' * 6}.{ending}"):
                stale.unlink()
        tables = {
            "factual": self.factual,
            "counterfactual": self.table,
            "changes": self.changes(),
            "blocked": self.blocked,
        }
        for name, table in tables.items():
            with atomic_path(folder / f"{name}.csv") as beside:
                table.to_csv(beside)
        if self.images is not None:
            for position, image in enumerate(self.images):
                save_synthetic(
                    image,
                    folder / f"counterfactual_{position:06d}.png",
                    self.provenance_of(position),
                )
        with atomic_path(folder / "provenance.json") as beside:
            beside.write_text(json.dumps(self.provenance, indent=1) + "\n", encoding="utf-8")
        return folder

    def provenance_of(self, position: int) -> dict[str, Any]:
        """Returns the provenance of one image: of values by row its own, no other patient's.

        Arguments:
            position: The position of the image in `images`.
        """
        row = position // self._samples
        do = self.provenance["do"]
        own = {k: v[row] if isinstance(v, list) else v for k, v in do.items()}
        return {**self.provenance, "do": own}

    def __repr__(self) -> str:
        """Says the question and the size of the answer."""
        what = "metadata" if self.images is None else f"radiographs {tuple(self.images.shape)}"
        return f"Counterfactual(do={self.provenance['do']}, {len(self.table)} rows, {what})"


def save_synthetic(image: Tensor, path: Path, provenance: Mapping[str, Any]) -> None:
    """Writes a generated radiograph (channel, height, width) as a PNG that says that it is."""
    with atomic_path(path) as beside:
        beside.write_bytes(synthetic_png(image, provenance))


def synthetic_png(image: Tensor, provenance: Mapping[str, Any]) -> bytes:
    """Returns a generated radiograph (channel, height, width) as a PNG that says that it is."""
    pixels = (image.clamp(0, 1) * 255).round().byte().cpu().numpy()
    pixels = pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)
    info, file = PngInfo(), io.BytesIO()
    info.add_text("Synthetic", "generated image, not a patient's radiograph; not for diagnosis")
    info.add_text("Provenance", json.dumps(provenance))
    PillowImage.fromarray(pixels).save(file, format="png", pnginfo=info)
    return file.getvalue()
