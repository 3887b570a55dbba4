"""Where a network runs, and in which precision: one meaning of `auto` for the whole package."""

import time

import torch

from cxrcausal.errors import CxrCausalError

__all__ = ["has_fast_bfloat16", "resolve_device"]

MATMUL = 768
FASTER = 1.5


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


def has_fast_bfloat16(device: str | torch.device) -> bool:
    """Says whether matrices are multiplied faster in bfloat16 than in float32 on this device.

    A GPU says so itself. Of a CPU it is measured, in some hundredths of a second: processors with
    AMX multiply several times faster in bfloat16, others emulate it and are many times slower.

    Arguments:
        device: A device or its name, as `resolve_device` takes it.
    """
    device = resolve_device(device)
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu" or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    return FASTER * _seconds(torch.bfloat16) < _seconds(torch.float32)


def _seconds(dtype: torch.dtype) -> float:
    """Returns the shortest time of a matrix product on the CPU, of five."""
    matrix = torch.ones(MATMUL, MATMUL, dtype=dtype)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        matrix @ matrix
        times.append(time.perf_counter() - start)
    return min(times)
