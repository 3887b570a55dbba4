"""The phantom as a joint model, and some patients of it."""

import pytest
from audited import COUNT, SIZE

from cxrcausal.counterfactual import CounterfactualModel
from cxrcausal.data import phantom
from cxrcausal.data.phantom import PhantomMechanism, phantom_scm


@pytest.fixture(scope="module")
def model() -> CounterfactualModel:
    return CounterfactualModel(phantom_scm(), PhantomMechanism(SIZE), name="phantom")


@pytest.fixture(scope="module")
def study():
    """Phantoms, pixels held in [0, 1] as a file would."""
    found = phantom.sample(COUNT, seed=3, size=SIZE)
    return found.images.clamp(0, 1), found.table
