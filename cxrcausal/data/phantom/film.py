r"""From attenuation to a radiograph: Beer and Lambert, the detector's window, quantum noise.

Of :math:`N_0` quanta :math:`N_0 e^{-p}` arrive behind an attenuation :math:`p`. Counting them
scatters :math:`-\log N` by :math:`e^{p/2} / \sqrt{N_0}`, which the window carries to grey levels:
dense parts are noisier. The grain never falls below a floor, so that noise and image determine
each other.
"""

import torch
from torch import Tensor

from cxrcausal.data.phantom.anatomy import Body

__all__ = ["FLOOR", "develop"]

LOW, HIGH = 0.08, 0.92
"""The grey levels between which a window's response lies: noise stays within [0, 1]."""
FLOOR = 0.004
GRAIN = 0.008
"""Standard deviation of the grain in grey levels, where the window is steepest and p is 1."""
CONTRAST = {
    "MIMIC-CXR": (3.0, 0.70), "CheXpert-Plus": (3.4, 0.74), "PadChest": (3.2, 0.64),
    "BRAX": (2.7, 0.70), "NIH": (3.2, 0.70), "VinDr-CXR": (3.7, 0.70), "ReXGradient": (2.9, 0.76),
}  # fmt: skip
"""How steep a source's window is, and the attenuation in its middle."""


def develop(attenuation: Tensor, body: Body) -> tuple[Tensor, Tensor]:
    """Returns the radiograph without grain and the grain's standard deviation, pixel by pixel."""
    windows = [CONTRAST[name] for name in body.attributes["dataset"].levels]
    steep, middle = attenuation.new_tensor(windows)[body.parents["dataset"].long()].unbind(-1)
    response = torch.sigmoid(steep * (attenuation - middle))
    slope = 4 * response * (1 - response) * steep / 3.6
    grain = FLOOR + GRAIN * slope * torch.exp((attenuation.clamp(-1, 3) - 1) / 2)
    return LOW + (HIGH - LOW) * response, grain
