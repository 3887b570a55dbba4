r"""How much of the radiograph a counterfactual keeps: PSNR, SSIM, feature distance, minimality.

The smallest change that shows what was asked is the one to prefer. How far an image moved is said
in pixels, in structure, and in the features of a predictor; and whether it moved no further than
it had to, by its distance from the radiograph beside those of real radiographs of other patients:
a minimal counterfactual is further away than images of the old level need be, and nearer than
images of the new level are (counterfactual latent divergence, lower is better):

.. math:: \log\big(e^{P(S_* \le d)} + e^{P(S \ge d)}\big)

with d the distance from radiograph to counterfactual, S and S* those to real images of the old and
of the new level. It lies between log 2, which says that everything of the new level is further
away and everything of the old one nearer, and 1 + log 2.

References:
    | Image Quality Assessment: From Error Visibility to Structural Similarity
    | (Wang et al., 2004), https://doi.org/10.1109/TIP.2003.819861
    | Diffusion Causal Models for Counterfactual Estimation (Sanchez and Tsaftaris, 2022),
    | https://arxiv.org/abs/2202.10166
    | Benchmarking Counterfactual Image Generation (Melistas et al., 2024; minimality),
    | https://arxiv.org/abs/2403.20287
"""

from typing import final

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from cxrcausal.bootstrap import Interval, PatientBootstrap, weighted_mean
from cxrcausal.evaluation.predictor import Predictor
from cxrcausal.evaluation.question import Question
from cxrcausal.shapes import Features, Image

__all__ = ["Closeness", "peak_signal_to_noise", "structural_similarity"]

_WINDOW, _SIGMA = 11, 1.5  # of SSIM, as published
_LUMINANCE, _CONTRAST = 0.01**2, 0.03**2  # its constants, for images in [0, 1]


def peak_signal_to_noise(first: Image, second: Image) -> np.ndarray:
    """Returns the peak signal-to-noise ratio of each pair of images in [0, 1], dB (images,).

    Arguments:
        first: Images (images, channel, height, width).
        second: The images that each is held against, of the same shape.

    Example:
        >>> x = torch.zeros(1, 1, 8, 8)
        >>> peak_signal_to_noise(x, x + 0.1).round(3).tolist()  # an error of a tenth throughout
        [20.0]
    """
    error = (first - second).double().square().flatten(1).mean(dim=1)
    return (-10 * error.log10()).numpy()


def structural_similarity(first: Image, second: Image) -> np.ndarray:
    """Returns SSIM of each pair of images in [0, 1] (images,); 1 is the same image.

    Means, variances and covariance are those of an 11×11 Gaussian window of deviation 1.5, where
    it lies wholly inside the image; images must be at least as large.

    Arguments:
        first: Images (images, channel, height, width).
        second: The images that each is held against, of the same shape.
    """
    x, y = first.double().flatten(0, 1)[:, None], second.double().flatten(0, 1)[:, None]
    offset = torch.arange(_WINDOW, dtype=torch.float64) - _WINDOW // 2
    line = torch.exp(-offset.square() / (2 * _SIGMA**2))
    window = (line / line.sum())[None, :] * (line / line.sum())[:, None]

    def local(values: Tensor) -> Tensor:
        return F.conv2d(values, window[None, None])

    mx, my = local(x), local(y)
    vx, vy = local(x * x) - mx**2, local(y * y) - my**2
    covariance = local(x * y) - mx * my
    top = (2 * mx * my + _LUMINANCE) * (2 * covariance + _CONTRAST)
    ratio = top / ((mx**2 + my**2 + _LUMINANCE) * (vx + vy + _CONTRAST))
    return ratio.flatten(1).mean(dim=1).view(len(first), -1).mean(dim=1).numpy()


@final
class Closeness:
    """Measures how near counterfactuals stay to their radiographs, one more reader of `soundness`.

    Arguments:
        predictor: Distances are taken in its features, each scaled to its spread.
        images: The radiographs.
        table: Their metadata, row by row.
        groups: The column of patients.
    """

    def __init__(
        self,
        predictor: Predictor,
        images: Image,
        table: pd.DataFrame,
        groups: str = "patient_id",
    ) -> None:
        self.predictor, self.images = predictor, images
        self.table, self.patients = table, table[groups].to_numpy(object)
        features = predictor.embed(images)
        self.spread = features.std(dim=0).clamp(min=1e-8)
        self.features: Features = features / self.spread

    def measure(
        self, question: Question, world: Image, bootstrap: PatientBootstrap
    ) -> dict[str, Interval]:
        """Returns `PSNR`, `SSIM`, `feature distance` (1: to another patient), `minimality`.

        Arguments:
            question: What was asked, and of which radiographs.
            world: The counterfactuals (images, channel, height, width), others are not looked at.
            bootstrap: The patients of all radiographs.
        """
        at = np.flatnonzero(~np.isnan(question.asked))
        rows = torch.from_numpy(at)
        answer = self.predictor.embed(world[rows]) / self.spread
        moved = (answer - self.features[rows]).norm(dim=1).double().numpy()
        apart = torch.cdist(self.features[rows], self.features).double().numpy()
        other = self.patients[at][:, None] != self.patients[None, :]
        typical = np.where(other, apart, np.nan)
        found = {
            "PSNR": peak_signal_to_noise(world[rows], self.images[rows]),
            "SSIM": structural_similarity(world[rows], self.images[rows]),
            "feature distance": moved / np.nanmean(typical, axis=1),
        }
        if question.levels is not None:
            found["minimality"] = self._divergence(question, at, moved, typical)
        out = {}
        for name, values in found.items():
            whole = np.full(len(self.table), np.nan)
            whole[at] = np.where(np.isfinite(values), values, np.nan)
            out[name] = bootstrap.interval(weighted_mean(whole))
        return out

    def _divergence(
        self, question: Question, at: np.ndarray, moved: np.ndarray, apart: np.ndarray
    ) -> np.ndarray:
        """Returns the counterfactual latent divergence of each radiograph, (asked,)."""
        old = self.table[question.variable].astype(object).to_numpy()
        new = question.table[question.variable].astype(object).to_numpy()
        known = ~np.isnan(apart)
        of_new = known & (old[None, :] == new[at][:, None])
        of_old = known & (old[None, :] == old[at][:, None])
        with np.errstate(invalid="ignore"):
            nearer = ((apart <= moved[:, None]) & of_new).sum(axis=1) / of_new.sum(axis=1)
            further = ((apart >= moved[:, None]) & of_old).sum(axis=1) / of_old.sum(axis=1)
        return np.log(np.exp(nearer) + np.exp(further))
