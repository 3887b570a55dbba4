"""A classifier, whatever it is, as a function from radiographs to a table of scores."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from cxrcausal.errors import ImageError, OptionError, summarise
from cxrcausal.shapes import Image

__all__ = ["Classifier", "Scorer", "torchxrayvision"]

Classifier = Callable[[Tensor], Any]
"""A `torch.nn.Module` or a function, from radiographs (batch, channel, height, width) in [0, 1] to
scores: a tensor or an array (batch,) or (batch, outputs), or a table with the outputs' names."""

_XRV_NAMES = {"Effusion": "pleural_effusion", "Pleural_Thickening": "pleural_other"}
"""torchxrayvision's names that are not the graph's in other letters."""


def torchxrayvision(network: nn.Module) -> Classifier:
    """Returns a classifier of torchxrayvision as one that `audit` takes.

    The package's networks read grey values from -1024 to 1024 and have an output for each of their
    `pathologies`, those that were not trained under an empty name. Give `audit` the resolution
    that the network was trained at (224 for its DenseNets, 512 for its ResNet).

    References:
        | TorchXRayVision: A Library of Chest X-ray Datasets and Models
        | (Cohen et al., 2022), https://arxiv.org/abs/2111.00595

    Arguments:
        network: One of its networks, `torchxrayvision.models.DenseNet(weights=...)` say.

    Returns:
        From radiographs (batch, 1, height, width) in [0, 1] to a table of scores under the graph's
        names (`Effusion` is `pleural_effusion`), other findings under torchxrayvision's own.

    Raises:
        OptionError: If the network names no pathologies, or two of its outputs the same.
    """
    named = [str(name) for name in getattr(network, "pathologies", ())]
    kept = [i for i, name in enumerate(named) if name]
    if not kept:
        raise OptionError(
            f"{type(network).__name__} has no `pathologies`, the names of its outputs; give its "
            "scores by a function of your own"
        )
    outputs = [_XRV_NAMES.get(named[i], named[i].lower().replace(" ", "_")) for i in kept]
    if len(set(outputs)) < len(outputs):
        raise OptionError(f"outputs bear the same name: {summarise(outputs, 30)}")

    def score(images: Image) -> pd.DataFrame:
        with _evaluating(network):
            found = network((2 * images.to(_device(network)) - 1) * 1024)
        return pd.DataFrame(found[:, kept].detach().float().cpu().numpy(), columns=outputs)

    return score


@final
class Scorer:
    """Scores radiographs by a classifier, in batches, without gradients and in evaluation mode.

    Arguments:
        classifier: A module or a function; a module is called where its parameters live, and left
            in the mode in which it was found.
        outputs: The names of its outputs; those of its table, or `score`, if left out.
        batch_size: The number of radiographs that it is given at a time.
        name: How it is called in refusals.

    Raises:
        OptionError: If it cannot be called.
    """

    def __init__(
        self,
        classifier: Classifier,
        outputs: Sequence[str] | None = None,
        *,
        batch_size: int = 64,
        name: str = "classifier",
    ) -> None:
        if not callable(classifier):
            raise OptionError(
                f"{name} is a {type(classifier).__name__}; give a torch.nn.Module or a function "
                "from radiographs (batch, channel, height, width) to scores (batch, outputs)"
            )
        self.classifier, self.batch_size, self.name = classifier, batch_size, name
        self.outputs = None if outputs is None else self._named(outputs)

    def __call__(self, images: Image) -> np.ndarray:
        """Returns the scores of radiographs, (images, outputs) in float64.

        Raises:
            ImageError: If it gives scores of another number of rows or outputs than it should, or
                what is no finite number.
        """
        with _evaluating(self.classifier), torch.no_grad():
            return np.concatenate([self._scores(part) for part in images.split(self.batch_size)])

    def _named(self, outputs: Iterable[object]) -> tuple[str, ...]:
        """Returns the names of outputs, each of which says one thing."""
        names = tuple(map(str, outputs))
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise OptionError(f"{self.name} has several outputs named {summarise(sorted(twice))}")
        return names

    def _scores(self, images: Image) -> np.ndarray:
        # A copy: a classifier that normalises in place would change what is compared with it.
        found = self.classifier(images.to(_device(self.classifier), copy=True))
        if self.outputs is None and isinstance(found, pd.DataFrame):
            self.outputs = self._named(found.columns)
        if isinstance(found, Mapping):
            raise ImageError(
                f"{self.name} gives a {type(found).__name__} with {summarise(found)}; wrap it in "
                "a function that returns one tensor of scores"
            )
        if np.iscomplexobj(found) or (isinstance(found, Tensor) and found.is_complex()):
            raise ImageError(f"{self.name} gives complex numbers; scores are real ones")
        scores = found.detach().cpu().float() if isinstance(found, Tensor) else found
        values = np.asarray(scores, np.float64)
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 2 or len(values) != len(images):
            raise ImageError(
                f"{self.name} gives scores {values.shape} of {len(images)} radiographs; allowed "
                f"are ({len(images)},) and ({len(images)}, outputs)"
            )
        if self.outputs is None:
            count = values.shape[1]
            self.outputs = ("score",) if count == 1 else tuple(f"score {i}" for i in range(count))
        names = self.outputs
        if values.shape[1] != len(names):
            raise ImageError(
                f"{self.name} has {values.shape[1]} outputs; {len(names)} were named: "
                f"{summarise(names)}"
            )
        if not np.isfinite(values).all():
            row, output = np.argwhere(~np.isfinite(values))[0]
            raise ImageError(
                f"{self.name} scores a radiograph {values[row, output]} in {names[output]!r}; "
                "scores must be finite numbers"
            )
        return values


@contextmanager
def _evaluating(classifier: Classifier) -> Iterator[None]:
    """Puts a module into evaluation mode, and each of its parts back as it was."""
    if not isinstance(classifier, nn.Module):
        yield
        return
    modes = [(module, module.training) for module in classifier.modules()]
    classifier.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _device(classifier: Classifier) -> torch.device:
    """Returns where a module's first parameter lives; the CPU if it has none."""
    first = next(classifier.parameters(), None) if isinstance(classifier, nn.Module) else None
    return torch.device("cpu") if first is None else first.device
