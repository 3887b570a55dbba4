"""Tensors spelled once, by their role; the tests check every annotated call against these.

`batch` counts patients, `attributes` the parents of the image in the graph's order, `tokens`
patches.
"""

from jaxtyping import Bool, Float, Int, UInt
from torch import Tensor

__all__ = [
    "Attributes",
    "Context",
    "Embedding",
    "Features",
    "FineImage",
    "Image",
    "Keep",
    "Level",
    "Noise",
    "StoredImage",
    "Patches",
    "Time",
    "Tokens",
    "Velocity",
]

Image = Float[Tensor, "batch channel height width"]
"""A radiograph in [0, 1], lungs dark (MONOCHROME2), or the same in the flow's own scale."""

FineImage = Float[Tensor, "batch channel fine_height fine_width"]
"""The same radiograph finer than a model paints it, as a classifier reads it, in [0, 1]."""

StoredImage = UInt[Tensor, "batch channel height width"]
"""A radiograph's grey values as they are stored, 8 or 16 bits over the same scale."""

Noise = Float[Tensor, "batch channel height width"]
"""The exogenous noise of an image: what the flow starts from, standard normal in every pixel."""

Velocity = Float[Tensor, "batch channel height width"]
"""dx/dt along the flow, in units of the flow's own scale per unit of flow time."""

Context = Float[Tensor, "batch context height width"]
"""An image that is given: what a flow of detail reads beside the detail."""

Attributes = Float[Tensor, "batch attributes"]
"""The image's parents: a continuous value in its unit, or the index of a level; NaN is unknown."""

Keep = Bool[Tensor, "batch attributes"]
"""Which parents the network is conditioned on; the others are *null*, which is not unknown."""

Time = Float[Tensor, "batch"]
"""Flow time: 0 is noise, 1 is the image."""

Features = Float[Tensor, "batch feature"]
"""What a predictor sees in an image, before it says anything about it."""

Tokens = Float[Tensor, "batch tokens width"]
Patches = Float[Tensor, "batch tokens features"]
"""What stands at each patch and is no token: its pixels, its frequencies, a map."""

Embedding = Float[Tensor, "batch width"]
Level = Int[Tensor, "batch attributes"]
