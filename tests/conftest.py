"""Fixtures that every test may ask for."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real films and tables; tests that need it are skipped where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("CXRCAUSAL_DATA", default))
    if not (folder / "metadata").is_dir():
        pytest.skip(f"real data are not at {folder}; set CXRCAUSAL_DATA to their folder")
    return folder
