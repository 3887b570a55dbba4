r"""The shapes that a phantom is made of, seen from the tube: thickness, edges, lines.

Positions are in half image sides: x from -1 (left of the image, the patient's right in a frontal
view) to 1, y from -1 (top) to 1. Every parameter is a tensor (batch, 1, 1), a pixel grid (height,
width); what a shape gives is (batch, height, width). A beam of parallel rays crosses an ellipsoid
in a chord, so a shape's attenuation is its coefficient times that chord (Beer and Lambert).
"""

import torch
from torch import Tensor

__all__ = ["chord", "edge", "grid", "segment", "stroke"]


def grid(size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Returns x and y (height, width) of the pixels' centres."""
    line = (torch.arange(size, dtype=like.dtype, device=like.device) + 0.5) * 2 / size - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    return x, y


def chord(
    x: Tensor,
    y: Tensor,
    centre: tuple[Tensor | float, Tensor | float],
    radii: tuple[Tensor | float, Tensor | float],
    tilt: Tensor | float = 0.0,
    power: float = 2.0,
) -> Tensor:
    """Returns the thickness of an ellipsoid along the beam, 1 at its centre and 0 outside.

    Arguments:
        x: The pixels' x.
        y: Their y.
        centre: Of the ellipsoid.
        radii: Its half axes in the image.
        tilt: The angle of the first axis, clockwise, in radians.
        power: 2 for an ellipsoid; more for a shape with fuller corners.
    """
    dx, dy = x - centre[0], y - centre[1]
    angle = torch.as_tensor(tilt)
    cos, sin = angle.cos(), angle.sin()
    along, across = dx * cos + dy * sin, dy * cos - dx * sin
    r = (along / radii[0]).abs() ** power + (across / radii[1]).abs() ** power
    return (1 - r).clamp(min=0).sqrt()


def edge(distance: Tensor, width: Tensor | float) -> Tensor:
    """Returns 1 well inside (positive distance), 0 well outside, over a rim of that width."""
    return torch.sigmoid(distance / width)


def stroke(distance: Tensor, width: Tensor | float) -> Tensor:
    """Returns a line's profile: 1 on it, falling off as a Gaussian of that width."""
    return torch.exp(-0.5 * (distance / width).square())


def segment(
    x: Tensor,
    y: Tensor,
    start: tuple[Tensor | float, Tensor | float],
    end: tuple[Tensor | float, Tensor | float],
) -> Tensor:
    """Returns the distance to a straight line between two points."""
    ax, ay = x - start[0], y - start[1]
    bx, by = torch.as_tensor(end[0] - start[0]), torch.as_tensor(end[1] - start[1])
    share = ((ax * bx + ay * by) / (bx * bx + by * by)).clamp(0, 1)
    return ((ax - share * bx).square() + (ay - share * by).square()).sqrt()
