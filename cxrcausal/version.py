"""Which version this is, and of what it is made."""

import importlib.metadata
import platform

__all__ = ["__version__", "show_versions"]

__version__ = "0.1.0"

_PARTS = (
    "torch", "zuko", "networkx", "pyro-ppl", "torchdiffeq", "numpy", "pandas", "scipy", "einops",
    "pydicom", "safetensors", "matplotlib", "pillow", "jaxtyping",
)  # fmt: skip


def show_versions() -> str:
    """Returns the versions of cxrcausal, Python and every required package, one per line, for a report."""
    lines = [
        f"cxrcausal {__version__}",
        f"python {platform.python_version()} on {platform.system()}",
    ]
    for part in _PARTS:
        try:
            lines.append(f"{part} {importlib.metadata.version(part)}")
        except importlib.metadata.PackageNotFoundError:
            lines.append(f"{part} is not installed")
    return "\n".join(lines)
