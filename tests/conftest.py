"""Fixtures that every test may ask for."""

import os
from pathlib import Path

import pytest
from synthetic_data import write_synthetic_data


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real films and tables; tests that need it are skipped where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("CXRCAUSAL_DATA", default))
    if not (folder / "metadata").is_dir():
        pytest.skip(f"real data are not at {folder}; set CXRCAUSAL_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def synthetic_data(tmp_path_factory) -> Path:
    """A folder of synthetic patients, laid out as the real data are."""
    return write_synthetic_data(tmp_path_factory.mktemp("synthetic") / "data")


@pytest.fixture(scope="session", params=["synthetic", "real"])
def any_data(request) -> Path:
    """The folder of synthetic patients, then that of real ones where it is present."""
    return request.getfixturevalue(
        {"synthetic": "synthetic_data", "real": "shared_data"}[request.param]
    )
