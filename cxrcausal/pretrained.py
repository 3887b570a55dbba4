"""The trained models that ship with the package, by name."""

from pathlib import Path

from cxrcausal.counterfactual import CounterfactualModel
from cxrcausal.errors import CheckpointError, nearest, summarise
from cxrcausal.image import load_image_mechanism
from cxrcausal.scm import FlowSCM
from cxrcausal.shipped import shipped_folder

__all__ = ["list_pretrained", "load_pretrained", "pretrained_folder"]


def list_pretrained() -> tuple[str, ...]:
    """Returns the names of the shipped models."""
    folders = shipped_folder("generative").iterdir()
    return tuple(sorted(f.name for f in folders if (f / "scm.json").is_file()))


def pretrained_folder(name: str | Path) -> Path:
    """Returns the folder of a shipped model by name, or a folder that is given.

    Raises:
        CheckpointError: If there is neither; names the nearest.
    """
    if str(name) in list_pretrained():
        return shipped_folder("generative") / str(name)
    folder = Path(name)
    if not folder.is_dir():
        raise CheckpointError(
            f"there is no model {str(name)!r}{nearest(name, list_pretrained()) or '.'} "
            f"Shipped: {summarise(list_pretrained(), 20)}; or give the folder of a saved model"
        )
    return folder


def load_pretrained(name: str | Path, *, device: str = "cpu") -> CounterfactualModel:
    """Returns a shipped model by name, or one saved in a folder.

    Loading reads JSON and safetensors alone: no code of the checkpoint is run.

    Arguments:
        name: One of `list_pretrained()`, or a folder that `CounterfactualModel.save` wrote.
        device: Where the image mechanism runs: `auto` (a GPU if there is one), `cpu`, `cuda:0`, …

    Raises:
        CxrCausalError: If there is no such device here.
        CheckpointError: If there is no such model (names the nearest), or its folder is damaged.
    """
    folder = pretrained_folder(name)
    scm = FlowSCM.load(folder)
    # Half of an image model is refused there, and not taken for a model of metadata alone.
    has_image = any((folder / name).exists() for name in ("image.json", "image.safetensors"))
    image = load_image_mechanism(folder, scm.graph) if has_image else None
    return CounterfactualModel(scm, image, name=folder.name).to(device)
