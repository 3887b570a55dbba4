r"""Are the counterfactual images sound? Composition, effectiveness and reversibility as figures.

Three axioms that every counterfactual obeys (Galles and Pearl, 1998) become figures:
*composition*, abducting and predicting under unchanged parents gives the radiograph back;
*effectiveness*, what was set can be read from the image; *reversibility*, there and back is the
radiograph again. Effectiveness is read by a predictor trained on real radiographs, as a share of
the change that it finds between real ones whose other parents are alike.

References:
    | Axiomatic characterizations of causal counterfactuals (Galles and Pearl, 1998),
    | https://doi.org/10.1023/A:1018811121386
    | Measuring axiomatic soundness of counterfactual image models (Monteiro et al., 2023),
    | https://arxiv.org/abs/2303.01274
"""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from cxrcausal.bootstrap import Interval, PatientBootstrap, Statistic, weighted_mean
from cxrcausal.counterfactual.image_mechanism import ImageMechanism
from cxrcausal.image.guidance import Groups, Guidance
from cxrcausal.image.solver import Solver
from cxrcausal.shapes import Attributes, Image, Noise

__all__ = [
    "Effect",
    "RoundTrip",
    "effectiveness",
    "groups_of",
    "mean_change",
    "paint",
    "round_trip",
]

_BATCH = 32  # small batches stay in cache: on a CPU they are the fastest


@final
@dataclass(frozen=True)
class RoundTrip:
    """What comes back when a radiograph is abducted and predicted under unchanged parents.

    Arguments:
        evaluations: Velocity evaluations of one round trip, both directions together.
        noise: The noise of the first abduction.
        images: The radiographs that came back from it.
        mae: Mean absolute error to the original in [0, 1], (rounds, radiographs); row n - 1 after
            n rounds.
    """

    evaluations: int
    noise: Noise
    images: Image
    mae: np.ndarray


def round_trip(
    mechanism: ImageMechanism,
    images: Image,
    parents: Attributes,
    *,
    solver: Solver | None = None,
    rounds: int = 1,
    batch_size: int = _BATCH,
) -> RoundTrip:
    """Abducts and predicts under unchanged parents, from the noise alone, `rounds` times in a row.

    Arguments:
        mechanism: The mechanism.
        images: Radiographs in [0, 1].
        parents: Their parents, from `encode`.
        solver: How to integrate; the mechanism's own if left out.
        rounds: How often; each round starts from what the last one gave.
        batch_size: Radiographs at a time.
    """
    counter = _Evaluations(mechanism)
    first_noise, first_images, errors = [], [], []
    for x, pa in zip(images.split(batch_size), parents.split(batch_size), strict=True):
        back, error = x, []
        for n in range(rounds):
            noise = mechanism.abduct(back, pa, solver=solver)
            back = mechanism.predict(noise, pa, solver=solver).cpu()
            error.append((back - x).abs().flatten(1).mean(dim=1))
            if n == 0:
                first_noise.append(noise.cpu())
                first_images.append(back)
        errors.append(torch.stack(error))
    evaluations = counter.stop() // (rounds * len(errors))
    mae = torch.cat(errors, dim=1).double().numpy()
    return RoundTrip(evaluations, torch.cat(first_noise), torch.cat(first_images), mae)


def groups_of(factual: Attributes, parents: Attributes, intervened: Tensor) -> Groups:
    """Returns the groups of an intervention: set, changed otherwise, and the rest.

    Arguments:
        factual: The parents in this world.
        parents: The parents in the other.
        intervened: Which were set, (images, attributes) bool.
    """
    same = (factual == parents) | (factual.isnan() & parents.isnan())
    descendants = ~same & ~intervened
    return Groups(intervened, descendants, ~(intervened | descendants))


def paint(
    mechanism: ImageMechanism,
    noise: Noise,
    factual: Attributes,
    parents: Attributes,
    intervened: Tensor,
    guidance: Guidance,
    *,
    solver: Solver | None = None,
    batch_size: int = _BATCH,
) -> Image:
    """Returns the images that this noise gives under `parents`, guided by what changed.

    Arguments:
        mechanism: The mechanism.
        noise: From abduction.
        factual: The parents in this world.
        parents: The parents in the other.
        intervened: Which attributes were set, (images, attributes) bool. They are guided as such
            even where their value is the factual one; all false is the null intervention,
            unguided.
        guidance: Form and weights.
        solver: How to integrate; the mechanism's own if left out.
        batch_size: Radiographs at a time.
    """
    split = groups_of(factual, parents, intervened)
    out = []
    for part in torch.arange(len(noise)).split(batch_size):
        groups = Groups(*(group[part] for group in split))
        world = mechanism.predict(
            noise[part], parents[part], guidance=guidance, groups=groups, solver=solver
        )
        out.append(world.cpu())
    return torch.cat(out)


@final
@dataclass(frozen=True)
class Effect:
    """What one question did to one score, as fractions of what real radiographs show.

    Arguments:
        shift: Mean change of the score in the asked direction over the real one; 1 is all of it.
        moved: Share of radiographs whose score moved the asked way.
        reached: Share of radiographs whose score ends on the asked side of the threshold (for a
            continuous variable: that moved by at least half of the real change).
        crossed: The same among radiographs that began on the other side.
    """

    shift: Interval
    moved: Interval
    reached: Interval
    crossed: Interval


def effectiveness(
    before: np.ndarray,
    after: np.ndarray,
    asked: np.ndarray,
    real: Statistic,
    bootstrap: PatientBootstrap,
    threshold: float | None = None,
) -> Effect:
    """Returns how far a score moved, in the direction that was asked.

    Arguments:
        before: The score of the radiographs, (images,).
        after: The score of the counterfactuals.
        asked: The asked change, from `Question`; NaN where it was not asked.
        real: The mean change in the asked direction that real radiographs show, resampled with the
            rest: `Standardised.change`.
        bootstrap: The patients of the radiographs.
        threshold: The score that separates two levels; None for a continuous variable.
    """
    sign = np.sign(asked)
    change = np.where(np.isnan(asked), np.nan, sign * (after - before))
    if threshold is None:
        ends = change / real(np.ones((1, len(asked)))) >= 0.5
        began = np.ones(len(asked), bool)
    else:
        ends = sign * (after - threshold) > 0
        began = sign * (before - threshold) <= 0
    known, mean = ~np.isnan(asked), mean_change(before, after, asked)
    return Effect(
        shift=bootstrap.interval(lambda weights: mean(weights) / real(weights)),
        moved=_share(change > 0, known, bootstrap),
        reached=_share(ends, known, bootstrap),
        crossed=_share(ends, known & began, bootstrap),
    )


def mean_change(before: np.ndarray, after: np.ndarray, asked: np.ndarray) -> Statistic:
    """Returns the statistic: the mean change in the asked direction, in the score's own unit.

    Arguments:
        before: The score of the radiographs, (images,).
        after: The score of the counterfactuals.
        asked: The asked change; NaN where it was not asked.
    """
    return weighted_mean(np.where(np.isnan(asked), np.nan, np.sign(asked) * (after - before)))


class _Evaluations:
    """Counts the velocity evaluations of a mechanism that has a network, by a forward hook."""

    def __init__(self, mechanism: ImageMechanism) -> None:
        self.count = 0
        network = getattr(mechanism, "network", None)
        self.handle = None
        if isinstance(network, torch.nn.Module):
            self.handle = network.register_forward_hook(self._add)

    def _add(self, *_: object) -> None:
        self.count += 1

    def stop(self) -> int:
        if self.handle is not None:
            self.handle.remove()
        return self.count


def _share(hit: np.ndarray, among: np.ndarray, bootstrap: PatientBootstrap) -> Interval:
    return bootstrap.interval(weighted_mean(np.where(among, hit.astype(np.float64), np.nan)))
