"""Figures that say, in the file itself, that what they show was generated.

Importing this imports matplotlib, so whoever draws imports it when they draw.
"""

import os
from pathlib import Path
from typing import IO, Any, final

from matplotlib.figure import Figure

from cxrcausal.errors import ImageError, nearest
from cxrcausal.files import atomic_path

__all__ = ["SyntheticFigure"]

_SAYS = "shows generated images, which are no patient's radiographs; not for diagnosis"
_KEYS = {"png": "Synthetic", "pdf": "Subject", "svg": "Description"}
"""Where each format can say it: PNG in a text chunk of any name, others in their own fields."""


@final
class SyntheticFigure(Figure):
    """A figure of generated radiographs; what `savefig` writes says so."""

    def savefig(
        self,
        fname: str | os.PathLike | IO,
        *,
        transparent: bool | None = None,
        **options: Any,  # noqa: ANN401
    ) -> None:
        """Writes the figure as PNG, PDF or SVG, with a note in the file's metadata.

        Arguments:
            fname: The file, whose ending says the format (PNG if it has none), or a binary stream.
            transparent: Whether the background is transparent, as matplotlib's.
            options: The options of matplotlib's `savefig`: `dpi`, `format`, `metadata`, …

        Raises:
            ImageError: If the format is another one, which could not say that this is synthetic.
        """
        path = Path(fname) if isinstance(fname, str | os.PathLike) else None
        ending = "png" if path is None else path.suffix.lstrip(".")
        kind = str(options.pop("format", None) or ending or "png").lower()
        if kind not in _KEYS:
            raise ImageError(
                f"a figure of generated radiographs cannot be written as {kind!r}"
                f"{nearest(kind, _KEYS) or '.'} Allowed, since they can say that it is synthetic: "
                f"{', '.join(_KEYS)}"
            )
        metadata = {**(options.pop("metadata", None) or {}), _KEYS[kind]: _SAYS}
        options |= {"format": kind, "metadata": metadata, "transparent": transparent}
        if path is None:
            super().savefig(fname, **options)
        else:
            with atomic_path(path) as beside:
                super().savefig(beside, **options)
