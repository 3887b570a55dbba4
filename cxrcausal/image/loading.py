"""Image mechanisms, built from a recipe or loaded from a folder."""

from collections.abc import Callable
from pathlib import Path

from cxrcausal.errors import CheckpointError, CxrCausalError, summarise
from cxrcausal.graph import CausalGraph
from cxrcausal.image.checkpoint import read_image_checkpoint
from cxrcausal.image.mechanism import RectifiedFlow
from cxrcausal.image.recipe import ImageRecipe
from cxrcausal.image.transport import NoiseTransport
from cxrcausal.image.wavelet import COARSE, WaveletFlow

__all__ = ["ImageFlow", "build_image_mechanism", "load_image_mechanism"]

ImageFlow = RectifiedFlow | WaveletFlow
"""The image mechanisms of this package."""


def build_image_mechanism(
    recipe: ImageRecipe, graph: CausalGraph, folder: Callable[[str], Path] = Path
) -> ImageFlow:
    """Returns the mechanism that a recipe declares, untrained.

    Arguments:
        recipe: The recipe; a `coarse` model that it names is loaded.
        graph: The causal graph.
        folder: From the name of the coarse model to its folder.

    Raises:
        ImageError: As `RectifiedFlow`.
        RecipeError: As `RectifiedFlow` and `WaveletFlow`.
        CheckpointError: If the coarse model cannot be loaded.
    """
    flow = RectifiedFlow(graph, recipe)
    if not recipe.coarse:
        return flow
    return WaveletFlow(load_image_mechanism(folder(recipe.coarse), graph), flow)


def load_image_mechanism(folder: str | Path, graph: CausalGraph | None = None) -> ImageFlow:
    """Returns the mechanism stored in `folder`, in float32, in evaluation mode.

    Arguments:
        folder: What `save` of a mechanism wrote.
        graph: The graph it must belong to; its own if left out.

    Raises:
        CheckpointError: As `read_image_checkpoint`, or if the weights do not fit the recipe.
    """
    kept = read_image_checkpoint(folder, graph)
    try:
        flow = RectifiedFlow(kept.graph, kept.recipe, kept.observed)
        flow.provenance = kept.training
        if kept.transport is not None:
            flow.transport = NoiseTransport.from_dict(
                flow.attributes, flow.image_shape, kept.transport
            )
    except CxrCausalError as error:
        raise CheckpointError(
            f"{kept.file.with_suffix('.json')} describes no image mechanism: {error}"
        ) from error
    expected = {k: tuple(v.shape) for k, v in flow.state_dict().items()}
    found = {k: tuple(v.shape) for k, v in kept.weights.items()}
    wrong = sorted(k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k))
    if wrong:
        raise CheckpointError(f"{kept.file} does not fit its recipe; at fault: {summarise(wrong)}")
    flow.load_state_dict({k: v.float() for k, v in kept.weights.items()})
    mechanism: ImageFlow = flow
    if kept.kind == WaveletFlow.__name__:
        coarse = load_image_mechanism(Path(folder) / COARSE, kept.graph)
        try:
            mechanism = WaveletFlow(coarse, flow)
        except CxrCausalError as error:
            raise CheckpointError(
                f"{kept.file} does not fit its coarse model {coarse.recipe.name!r}: {error}"
            ) from error
    return mechanism.eval().requires_grad_(False)
