"""Where a network runs, by name: one meaning of `auto` for every part of the package."""

import torch

from cxrcausal.errors import CxrCausalError

__all__ = ["resolve_device"]


def resolve_device(device: str | torch.device) -> torch.device:
    """Returns the device of that name; `auto` is the first GPU if there is one, else the CPU.

    Raises:
        CxrCausalError: If there is no such device here.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return torch.device("cuda:0" if gpus else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise CxrCausalError(
            f"device {device!r} is not known; allowed: auto, cpu, cuda, cuda:0, …"
        ) from error
    if found.type == "cuda" and (found.index or 0) >= gpus:
        raise CxrCausalError(
            f"device {str(device)!r} is not here: {gpus} GPU(s) can be used; ask for auto or cpu"
        )
    return found
