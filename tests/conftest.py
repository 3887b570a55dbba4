"""Fixtures that every test may ask for."""

import os
from pathlib import Path

import pytest
import torch
from synthetic_data import write_synthetic_data


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real radiographs and tables; tests that need it are skipped where it is
    absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("CXRCAUSAL_DATA", default))
    if not (folder / "metadata").is_dir():
        pytest.skip(f"real data are not at {folder}; set CXRCAUSAL_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def synthetic_data(tmp_path_factory) -> Path:
    """A folder of synthetic patients, laid out as the real data are."""
    return write_synthetic_data(tmp_path_factory.mktemp("synthetic") / "data")


@pytest.fixture(
    scope="session", params=["synthetic", pytest.param("real", marks=pytest.mark.slow)]
)
def any_data(request) -> Path:
    """The folder of synthetic patients; among the slow tests that of real ones too."""
    return request.getfixturevalue(
        {"synthetic": "synthetic_data", "real": "shared_data"}[request.param]
    )


@pytest.fixture(scope="session", autouse=True)
def one_thread_per_worker() -> None:
    """Workers side by side share the cores; more threads than cores only wait for each other."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start
        torch.set_num_threads(1)
