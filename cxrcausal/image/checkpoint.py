"""Weights with the recipe, the graph and the data that made them: safetensors and JSON, never code.

A folder holds `image.safetensors` and `image.json`. Each is written beside its place and renamed, so each
is whole; the JSON comes last and holds the weights' SHA-256, so a mixture of two saves is refused.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from cxrcausal.errors import CheckpointError, CxrCausalError, GraphError, summarise
from cxrcausal.files import atomic_path, sha256_of
from cxrcausal.graph import CausalGraph
from cxrcausal.image.mechanism import RectifiedFlow
from cxrcausal.image.recipe import ImageRecipe

__all__ = ["FORMAT_VERSION", "load_image_mechanism", "save_image_mechanism"]

FORMAT_VERSION = 1

_WEIGHTS, _RECORD = "image.safetensors", "image.json"


def save_image_mechanism(
    mechanism: RectifiedFlow,
    folder: str | Path,
    *,
    training: dict[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Writes a mechanism to `folder`, and returns the folder.

    Arguments:
        mechanism: What to write.
        folder: Made if absent.
        training: What is to be known of its training: images shown, data fingerprint, date.
        dtype: The type of the stored weights; `torch.float16` halves them.
    """
    folder = Path(folder)
    weights = {k: v.detach().to("cpu", dtype) for k, v in mechanism.state_dict().items()}
    record = {
        "format_version": FORMAT_VERSION,
        "kind": "RectifiedFlow",
        "graph": mechanism.graph.to_yaml(),
        "graph_fingerprint": mechanism.graph.fingerprint,
        "recipe": mechanism.recipe.to_dict(),
        "observed": mechanism.observed,
        "training": training or {},
        "torch": torch.__version__,
    }
    with atomic_path(folder / _WEIGHTS) as path:
        save_file({k: v.contiguous() for k, v in weights.items()}, path)
        record["tensors_sha256"] = sha256_of(path)
    with atomic_path(folder / _RECORD) as path:
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return folder


def load_image_mechanism(folder: str | Path, graph: CausalGraph | None = None) -> RectifiedFlow:
    """Returns the mechanism stored in `folder`, in float32, in evaluation mode.

    Arguments:
        folder: What `save_image_mechanism` wrote.
        graph: The graph it must belong to; its own if left out.

    Raises:
        CheckpointError: If a file is absent or damaged, the format is newer than this package knows,
            or the checkpoint belongs to another graph; names the file and key.
    """
    folder = Path(folder)
    for name in (_RECORD, _WEIGHTS):  # safetensors does not say which file it lacks
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} holds no image model: {name} is absent")
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        weights = load_file(folder / _WEIGHTS)
        digest = sha256_of(folder / _WEIGHTS)
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        raise CheckpointError(f"the image checkpoint in {folder} is damaged: {error}") from error
    keys = (
        "format_version",
        "kind",
        "graph",
        "graph_fingerprint",
        "recipe",
        "observed",
        "tensors_sha256",
    )
    if isinstance(record, dict) and "seen" in record:  # as files of 0.1 call it
        record.setdefault("observed", record["seen"])
    missing = [k for k in keys if not isinstance(record, dict) or k not in record]
    if missing:
        raise CheckpointError(f"{folder / _RECORD} lacks {summarise(missing)}")
    if record["format_version"] != FORMAT_VERSION or record["kind"] != "RectifiedFlow":
        raise CheckpointError(
            f"{folder / _RECORD} has format {record['format_version']!r} of "
            f"{record['kind']!r}; this cxrcausal reads format {FORMAT_VERSION} of 'RectifiedFlow'"
        )
    if record["tensors_sha256"] != digest:
        raise CheckpointError(
            f"{folder / _WEIGHTS} has SHA-256 {digest[:16]}…, but {_RECORD} was written beside "
            f"{str(record['tensors_sha256'])[:16]}…: the two are of different saves, or one is damaged"
        )
    for key, kind in {"graph": str, "recipe": dict, "observed": dict}.items():
        if not isinstance(record[key], kind):
            raise CheckpointError(
                f"{folder / _RECORD}: key {key!r} is {record[key]!r:.60}; expected {kind.__name__}"
            )
    try:
        own = CausalGraph.from_yaml(record["graph"])
    except GraphError as error:
        raise CheckpointError(
            f"{folder / _RECORD}: key 'graph' is not a causal graph: {error}"
        ) from error
    if own.fingerprint != record["graph_fingerprint"]:
        raise CheckpointError(
            f"{folder / _RECORD}: graph has fingerprint {own.fingerprint}, but "
            f"graph_fingerprint says {record['graph_fingerprint']}"
        )
    if graph is not None and graph.fingerprint != own.fingerprint:
        raise CheckpointError(
            f"the image checkpoint in {folder} belongs to graph {own.name!r} ({own.fingerprint}), "
            f"not to {graph.name!r} ({graph.fingerprint})"
        )
    try:
        recipe = ImageRecipe.from_dict(record["recipe"], "recipe")
        mechanism = RectifiedFlow(graph or own, recipe, record["observed"])
    except CxrCausalError as error:
        raise CheckpointError(
            f"{folder / _RECORD} describes no image mechanism: {error}"
        ) from error
    expected = {k: tuple(v.shape) for k, v in mechanism.state_dict().items()}
    found = {k: tuple(v.shape) for k, v in weights.items()}
    wrong = sorted(k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k))
    if wrong:
        raise CheckpointError(
            f"{folder / _WEIGHTS} does not fit its recipe; at fault: {summarise(wrong)}"
        )
    mechanism.load_state_dict({k: v.float() for k, v in weights.items()})
    return mechanism.eval().requires_grad_(False)
