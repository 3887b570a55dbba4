"""Which version this is, and of what it is made."""

import contextlib
import importlib.metadata
import platform

__all__ = ["__version__", "package_versions", "show_versions"]

__version__ = "0.1.0"

_PARTS = (
    "torch", "zuko", "networkx", "pyro-ppl", "torchdiffeq", "numpy", "pandas", "scipy", "einops",
    "pydicom", "safetensors", "matplotlib", "pillow", "jaxtyping",
)  # fmt: skip


def package_versions() -> dict[str, str]:
    """Returns the versions of Python, cxrcausal and every required package that is installed."""
    versions = {"python": platform.python_version(), "cxrcausal": __version__}
    for part in _PARTS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[part] = importlib.metadata.version(part)
    return versions


def show_versions() -> str:
    """Returns the versions of cxrcausal, Python and every required package, one per line."""
    versions = package_versions()
    lines = [
        f"cxrcausal {versions['cxrcausal']}",
        f"python {versions['python']} on {platform.system()}",
    ]
    for part in _PARTS:
        lines.append(
            f"{part} {versions[part]}" if part in versions else f"{part} is not installed"
        )
    return "\n".join(lines)
