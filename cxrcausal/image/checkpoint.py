"""Weights with the recipe, graph and data that made them: safetensors and JSON, never code.

A folder holds `image.safetensors` and `image.json`. Each is written beside its place and renamed,
so each is whole; the JSON comes last and holds the weights' SHA-256, so a save that died is no
save yet, and a mixture of two is refused.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from cxrcausal.checkpoint import entry, read_record, read_tensors, write_checkpoint
from cxrcausal.errors import CheckpointError, CxrCausalError, GraphError
from cxrcausal.graph import CausalGraph
from cxrcausal.image.recipe import ImageRecipe

if TYPE_CHECKING:
    from cxrcausal.image.mechanism import RectifiedFlow

__all__ = ["FORMAT_VERSION", "ImageCheckpoint", "read_image_checkpoint", "save_image_mechanism"]

FORMAT_VERSION = 1

KINDS = ("RectifiedFlow", "WaveletFlow")
"""What a folder may hold: a flow, or one of the detail over a coarse model in a folder within."""

_NAME = "image"


def save_image_mechanism(
    mechanism: "RectifiedFlow",
    folder: str | Path,
    *,
    kind: str = "RectifiedFlow",
    training: dict[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Writes a mechanism to `folder`, and returns the folder.

    Arguments:
        mechanism: What to write.
        folder: Made if absent.
        kind: What it is, or is a part of: one of `KINDS`.
        training: What is to be known of its training: images shown, data fingerprint, date; its
            own `provenance` if left out.
        dtype: The type of the stored weights; `torch.float16` halves them.
    """
    record = {
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "graph": mechanism.graph.to_yaml(),
        "graph_fingerprint": mechanism.graph.fingerprint,
        "recipe": mechanism.recipe.to_dict(),
        "observed": mechanism.observed,
        "training": mechanism.provenance if training is None else training,
        "torch": torch.__version__,
    }
    if mechanism.transport is not None:
        record["transport"] = mechanism.transport.to_dict()
    weights = {k: v.detach().to("cpu", dtype) for k, v in mechanism.state_dict().items()}
    return write_checkpoint(folder, _NAME, record, weights)


@final
@dataclass(frozen=True)
class ImageCheckpoint:
    """What a folder holds of an image mechanism.

    Arguments:
        file: The weights' file, for errors.
        graph: The causal graph.
        recipe: As trained.
        observed: What training saw of each attribute.
        weights: By name, as stored.
        transport: What describes the transport at the noise end; None where there is none.
        training: What was written of the training.
        kind: One of `KINDS`.
    """

    file: Path
    graph: CausalGraph
    recipe: ImageRecipe
    observed: dict[str, Any]
    weights: dict[str, Tensor]
    transport: dict[str, Any] | None = None
    training: dict[str, Any] = field(default_factory=dict)
    kind: str = KINDS[0]


def read_image_checkpoint(folder: str | Path, graph: CausalGraph | None = None) -> ImageCheckpoint:
    """Returns what `save_image_mechanism` wrote.

    Arguments:
        folder: Where it was saved.
        graph: The graph it must belong to; its own if left out.

    Raises:
        CheckpointError: If a file is absent or damaged, the format is newer than this package
            knows, or the checkpoint belongs to another graph; names the file and key.
    """
    folder = Path(folder)
    file = folder / f"{_NAME}.json"
    for name in (f"{_NAME}.json", f"{_NAME}.safetensors"):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} holds no image model: {name} is absent")
    record = read_record(file, FORMAT_VERSION)
    kind = entry(file, record, "kind")
    if kind not in KINDS:
        raise CheckpointError(f"{file}: key 'kind' is {kind!r}; expected {' or '.join(KINDS)}")
    if "seen" in record:  # as files of 0.1 call it
        record.setdefault("observed", record["seen"])
    text, fingerprint = entry(file, record, "graph", str), entry(file, record, "graph_fingerprint")
    written, observed = entry(file, record, "recipe", dict), entry(file, record, "observed", dict)
    transport = entry(file, record, "transport", dict) if "transport" in record else None
    training = entry(file, record, "training", dict) if "training" in record else {}
    weights = read_tensors(folder / f"{_NAME}.safetensors", record)
    try:
        own = CausalGraph.from_yaml(text)
    except GraphError as error:
        raise CheckpointError(f"{file}: key 'graph' is not a causal graph: {error}") from error
    if own.fingerprint != fingerprint:
        raise CheckpointError(
            f"{file}: graph has fingerprint {own.fingerprint}, but "
            f"graph_fingerprint says {fingerprint}"
        )
    if graph is not None and graph.fingerprint != own.fingerprint:
        raise CheckpointError(
            f"the image checkpoint in {folder} belongs to graph {own.name!r} ({own.fingerprint}), "
            f"not to {graph.name!r} ({graph.fingerprint})"
        )
    try:
        recipe = ImageRecipe.from_dict(written, "recipe")
    except CxrCausalError as error:
        raise CheckpointError(f"{file} describes no image mechanism: {error}") from error
    return ImageCheckpoint(
        file.with_suffix(".safetensors"),
        graph or own,
        recipe,
        observed,
        weights,
        transport,
        training,
        kind,
    )
