"""Training that begins from the weights of another model instead of from random ones."""

from pathlib import Path
from typing import Any

from cxrcausal.errors import CheckpointError, summarise
from cxrcausal.image.checkpoint import read_image_checkpoint
from cxrcausal.image.loading import ImageFlow
from cxrcausal.image.mechanism import RectifiedFlow

__all__ = ["warm_start"]


def warm_start(mechanism: ImageFlow, folder: str | Path) -> dict[str, Any]:
    """Gives a flow the network weights of a saved model, and returns what is known of those.

    What the saved network lacks stays as it is: a part that is zero at initialisation, such as
    maps by place, leaves the saved flow unchanged until training moves it. Its transport stays
    behind, being of the noise of the old weights.

    Arguments:
        mechanism: The flow, under the same graph; of a `WaveletFlow` the flow of the detail.
        folder: What `save_image_mechanism` wrote.

    Returns:
        The saved model's recipe by name, and its training record.

    Raises:
        CheckpointError: As `read_image_checkpoint`, or if a saved tensor has no place in this
            network; names the first.
    """
    flow = mechanism if isinstance(mechanism, RectifiedFlow) else mechanism.detail
    kept = read_image_checkpoint(folder, mechanism.graph)
    weights = {k: v.float() for k, v in kept.weights.items() if not k.startswith("transport.")}
    own = {k: tuple(v.shape) for k, v in flow.state_dict().items()}
    strange = [
        f"{name} {tuple(value.shape)} (here {own.get(name, 'absent')})"
        for name, value in weights.items()
        if own.get(name) != tuple(value.shape)
    ]
    if strange:
        raise CheckpointError(
            f"{kept.file} cannot start a training of recipe {mechanism.recipe.name!r}: "
            f"{summarise(strange)}"
        )
    flow.load_state_dict(weights, strict=False)
    return {"recipe": kept.recipe.name, **kept.training}
