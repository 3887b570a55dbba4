"""Finds the graphs and generative recipes that ship with the package, in a wheel or in a checkout.

A wheel carries the repository's `graphs/` and `generative/` inside the package
(`cxrcausal/shipped/`); an editable install or a clone has them beside it. This is the one place
that knows both.
"""

from pathlib import Path
from typing import Literal

__all__ = ["shipped_folder"]

PACKAGE = Path(__file__).resolve().parent


def shipped_folder(name: Literal["graphs", "generative"]) -> Path:
    """Returns the folder of the shipped `graphs` or `generative` files.

    Raises:
        FileNotFoundError: If neither the wheel's nor the checkout's folder exists.
    """
    for folder in (PACKAGE / "shipped" / name, PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"the shipped folder {name!r} is neither inside the package ({PACKAGE / 'shipped'}) nor "
        f"beside it ({PACKAGE.parent}); reinstall cxrcausal"
    )
