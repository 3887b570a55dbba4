r"""The shapes that a phantom is made of, seen from the tube: thickness, edges, lines.

Positions are in half image sides: x from -1 (left of the image, the patient's right in a frontal
view) to 1, y from -1 (top) to 1. Every parameter is a tensor (batch, 1, 1), x is (1, width) and y
(height, 1): what depends on one of them alone stays small, and a shape is (batch, height, width).
A beam of parallel rays crosses an ellipsoid in a chord, so a shape's attenuation is its
coefficient times that chord (Beer and Lambert).
"""

import math

import torch
from torch import Tensor

__all__ = ["chord", "edge", "grid", "segment", "stroke", "whole_power"]


def grid(size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Returns x (1, width) and y (height, 1) of the pixels' centres."""
    line = (torch.arange(size, dtype=like.dtype, device=like.device) + 0.5) * 2 / size - 1
    return line[None, :], line[:, None]


def chord(
    x: Tensor,
    y: Tensor,
    centre: tuple[Tensor | float, Tensor | float],
    radii: tuple[Tensor | float, Tensor | float],
    tilt: float = 0.0,
    power: int = 2,
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
    along, across = x - centre[0], y - centre[1]
    if tilt:
        cos, sin = math.cos(tilt), math.sin(tilt)
        along, across = along * cos + across * sin, across * cos - along * sin
    r = whole_power(along / radii[0], power) + whole_power(across / radii[1], power)
    return (1 - r).clamp(min=0).sqrt()


def whole_power(x: Tensor, power: int) -> Tensor:
    """Returns |x| to the power of 2, 3 or 4, without the logarithm that a real power takes."""
    square = x.square()
    if power == 2:
        return square
    return square * x.abs() if power == 3 else square.square()


def edge(distance: Tensor, width: Tensor | float) -> Tensor:
    """Returns 1 well inside (positive distance), 0 well outside, over a rim of that width."""
    return torch.sigmoid(distance / width)


def stroke(distance: Tensor, width: Tensor | float) -> Tensor:
    """Returns a line's profile: 1 on it, falling off as a Gaussian of that width."""
    # Far away it is 1e-13 rather than a denormal number, which costs thirty times as much.
    return torch.exp((-0.5 * (distance / width).square()).clamp(min=-30))


def segment(
    x: Tensor,
    y: Tensor,
    start: tuple[Tensor | float, Tensor | float],
    end: tuple[Tensor | float, Tensor | float],
) -> Tensor:
    """Returns the distance to a straight line between two points."""
    ax, ay = x - start[0], y - start[1]
    bx, by = end[0] - start[0], end[1] - start[1]
    length = bx * bx + by * by
    share = (ax * (bx / length) + ay * (by / length)).clamp(0, 1)
    return ((ax - share * bx).square() + (ay - share * by).square()).sqrt()
