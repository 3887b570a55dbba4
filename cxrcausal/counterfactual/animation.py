"""Counterfactuals as a moving picture: one patient, an intervention that grows.

The noise stays, so what moves is what the intervention moves.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import final

from PIL import Image as PillowImage
from PIL import ImageDraw
from torch import Tensor

from cxrcausal.errors import ImageError
from cxrcausal.files import atomic_path

__all__ = ["save_animation"]

SAYS = b"generated images, which are no patient's radiographs; not for diagnosis"
_LINE = 16


@final
class _Frame:
    """A radiograph enlarged, its label and the word *synthetic* below."""

    def __init__(self, image: Tensor, label: str, width: int) -> None:
        pixels = (image[0].clamp(0, 1) * 255).round().byte().cpu().numpy()
        grey = PillowImage.fromarray(pixels).resize((width, width), PillowImage.Resampling.BICUBIC)
        self.picture = PillowImage.new("L", (width, width + _LINE), 255)
        self.picture.paste(grey, (0, 0))
        draw = ImageDraw.Draw(self.picture)
        draw.text((4, width + 2), label, fill=0)
        draw.text((width - 4, width + 2), "synthetic", fill=110, anchor="ra")


def save_animation(
    images: Tensor,
    labels: Sequence[str],
    path: str | os.PathLike,
    *,
    width: int = 256,
    seconds: float = 0.12,
    hold: float = 1.0,
) -> Path:
    """Writes radiographs as an animated GIF that runs forward and back, for ever.

    The file says in its comment, and every frame in its caption, that what it shows was generated.

    Arguments:
        images: Grey radiographs (frames, 1, height, width) in [0, 1].
        labels: What stands below each frame.
        path: The file; its ending is `.gif`.
        width: Width of a frame in pixels.
        seconds: How long a frame is shown.
        hold: How long the first and the last one are.

    Raises:
        ImageError: If there is no frame, a frame has colours, labels are too few or too many, or
            the file is no GIF.
    """
    path = Path(path)
    if path.suffix.lower() != ".gif":
        raise ImageError(f"an animation is written as .gif; found {path.name!r}")
    if images.ndim != 4 or images.shape[1] != 1 or not len(images):
        raise ImageError(f"frames are (frames, 1, height, width); found {tuple(images.shape)}")
    if len(labels) != len(images):
        raise ImageError(f"{len(images)} frames have {len(labels)} labels")
    frames = [
        _Frame(image, label, width).picture for image, label in zip(images, labels, strict=True)
    ]
    order = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    ends = {0, len(frames) - 1}
    milliseconds = [int(1000 * (hold if i in ends else seconds)) for i in order]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as beside:
        frames[0].save(
            beside,
            format="GIF",
            save_all=True,
            append_images=[frames[i] for i in order[1:]],
            duration=milliseconds,
            loop=0,
            comment=SAYS,
            optimize=True,
        )
    return path
