"""Phantom patients and their radiographs, factual and counterfactual."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import pandas as pd
from torch import Tensor

from cxrcausal.data.phantom.mechanism import PhantomMechanism
from cxrcausal.data.phantom.metadata import phantom_scm
from cxrcausal.randomness import as_count, as_seed, label_words
from cxrcausal.scm import FlowSCM
from cxrcausal.scm.exogenous import Exogenous

__all__ = ["VERSION", "Noise", "Study", "counterfactual", "sample"]

VERSION = "1"
"""Changes whenever a seed gives other patients or other images; results name it."""


@final
@dataclass(frozen=True)
class Noise:
    """The exogenous noise of some phantom patients: the same in every world.

    Arguments:
        scm: The SCM that it belongs to.
        metadata: Of their metadata.
        image: Of their radiographs (patients, 1, size, size): anatomy and grain.
    """

    scm: FlowSCM = field(repr=False)
    metadata: Exogenous = field(repr=False)
    image: Tensor = field(repr=False)


@final
@dataclass(frozen=True)
class Study:
    """Phantom patients in one world.

    Arguments:
        images: Radiographs (patients, 1, size, size), lungs dark, all but exceptional grain in
            [0, 1].
        table: Their metadata, all known, with a `patient_id` each.
        noise: What decided both; `counterfactual` replays it.
    """

    images: Tensor = field(repr=False)
    table: pd.DataFrame = field(repr=False)
    noise: Noise = field(repr=False)


def sample(n: int, *, seed: int = 0, size: int = 64, do: Mapping[str, Any] | None = None) -> Study:
    """Returns `n` phantom patients.

    Arguments:
        n: The number of patients.
        seed: Decides all of them, with `VERSION`.
        size: Height and width of the radiographs.
        do: What is set, in the metadata and so in the images; findings follow.

    Raises:
        OptionError: If `n` or the seed is no whole number.
        ImageError: If the size is below 32.
    """
    n, seed = as_count(n, "n", least=0), as_seed(seed)
    scm, mechanism = phantom_scm(), PhantomMechanism(size)
    factual = scm.sample(n, seed=seed)
    labels = label_words(factual.index)
    noise = Noise(scm, scm.abduct(factual, seed=seed), mechanism.prior(labels, seed))
    return counterfactual(noise, do)


def counterfactual(noise: Noise, do: Mapping[str, Any] | None = None) -> Study:
    """Returns the same patients in the world in which `do` is set: the truth, image included.

    Arguments:
        noise: From `sample`.
        do: Interventions on metadata, as `FlowSCM.predict`; none if left out.

    Raises:
        InterventionError: As `FlowSCM.predict`.
    """
    mechanism = PhantomMechanism(noise.image.shape[-1])
    table = noise.scm.predict(noise.metadata, do)
    images = mechanism.predict(noise.image, mechanism.encode(table)[0])
    people = [f"phantom-{noise.metadata.seed}-{label}" for label in table.index]
    return Study(images, table.assign(patient_id=people), noise)
