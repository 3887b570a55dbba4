"""Arguments as a user gives them: made usable, or refused before any work."""

import dataclasses
import json
from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.errors import ImageError, InterventionError

if TYPE_CHECKING:
    from cxrcausal.image.guidance import Guidance

__all__ = ["as_images", "check_count", "guidance_record", "plain_value"]


def as_images(images: object) -> Any:  # noqa: ANN401
    """Returns a numpy array of floats as a float32 tensor, and tensors without their history.

    Anything else is left as it is, for the image mechanism to refuse.
    """
    if isinstance(images, np.ndarray) and images.dtype.kind == "f":
        return torch.from_numpy(
            np.array(images, np.float32, order="C")
        )  # a copy: it may be read-only
    if isinstance(images, np.ndarray):
        raise ImageError(f"images are {images.dtype}; they must be floats in [0, 1]")
    return images.detach() if isinstance(images, Tensor) else images


def check_count(count: object, name: str) -> None:
    """Refuses what is not a whole number of at least one.

    Raises:
        ImageError: Says the name and what was found.
    """
    if not isinstance(count, Integral) or isinstance(count, bool) or count < 1:
        raise ImageError(f"{name} is {count!r}; it must be a whole number, at least 1")


def guidance_record(guidance: "Guidance | None") -> dict[str, Any]:
    """Returns a guidance as plain values, for provenance.

    Raises:
        InterventionError: If it is not one.
    """
    if guidance is None:
        return {"form": "none"}
    if not dataclasses.is_dataclass(guidance) or isinstance(guidance, type):
        raise InterventionError(
            f"guidance is {guidance!r}; give a Guidance, as cxrcausal.Guidance('nested', "
            f"intervened=2.0), or None"
        )
    return dataclasses.asdict(guidance)


def plain_value(value: object, index: pd.Index) -> Any:  # noqa: ANN401
    """Returns an intervention's value as JSON holds it; one per row is a list in rows' order."""
    if isinstance(value, pd.Series) and value.index.is_unique:
        value = value.reindex(index)
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray | pd.Series | Sequence) and not isinstance(value, str):
        return [plain_value(v, index) for v in np.asarray(value).tolist()]
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    try:
        json.dumps(value)
    except TypeError:
        return str(value)
    return value
